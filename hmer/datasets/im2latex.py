r"""IM2LaTeX-100k (Deng et al. 2017): its formula lists as they were typeset, and its folders as dataset folders."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from hmer import latex
from hmer.datasets.folder import IMAGE_SUFFIXES, write_labels
from hmer.errors import DatasetError, LatexError

_BOLD = re.compile(r"\\mathrm \{ \\boldmath ~ ([^{}]*?)(?: ~)? \}")


def as_typeset(formula: str) -> str:
    r"""A formula of the normalised lists, spelt so that TeX gives the original picture.

    The lists hold what a parser made of the authors' source: `\dots`, which are low dots without amsmath, and
    `\mathrm { \boldmath ~ x ~ }` for a bold symbol in a text.
    """
    formula = re.sub(r"\\dots(?![A-Za-z])", r"\\ldots", formula)
    return _BOLD.sub(r"\\boldsymbol { \1 }", formula)


@dataclass(frozen=True)
class Im2LatexResult:
    """How many pictures were taken over, and what was left out and why."""

    count: int
    refused: tuple[tuple[str, str], ...]


def prepare_im2latex(formulas: Path, split: Path, images: Path, out: Path) -> Im2LatexResult:
    """One split of the published layout as dataset folder `out`, with copies of its pictures.

    `formulas`: a formula a line; `split`: lines of a picture's name (with or without .png) and the number of its formula,
    counted from 0, in either order, and further words that are passed over. Raises DatasetError.
    """
    if out.exists() and any(out.iterdir()):
        raise DatasetError(f"{out}: is not empty; choose a new folder.")
    lines = _lines(formulas, "latin-1")  # as published; only comments hold anything but ASCII
    entries = _entries(split, len(lines))
    rows: list[tuple[str, str]] = []
    refused: list[tuple[str, str]] = []
    taken: set[str] = set()
    for name, number in entries:
        formula = as_typeset(" ".join(lines[number].split()))
        picture = _picture(images, name)
        if picture is None:
            refused.append((name, "there is no such picture"))
        elif picture.name in taken:
            refused.append((name, "stands twice in the list"))
        else:
            try:
                latex.normalise(formula)
            except LatexError as error:
                refused.append((name, f"line {number + 1} of {formulas.name}: {error}"))
                continue
            taken.add(picture.name)
            out.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, out / picture.name)
            rows.append((picture.name, formula))
    if not rows:
        first = f" ({refused[0][0]}: {refused[0][1]})" if refused else ""
        raise DatasetError(f"{split}: none of its pictures can be used{first}; check the folders.")
    write_labels(out, rows, ("file", "latex"))
    return Im2LatexResult(len(rows), tuple(refused))


def _lines(path: Path, encoding: str) -> list[str]:
    try:
        # The published list has carriage returns inside of lines: line breaks are \n alone.
        return path.read_bytes().decode(encoding).split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}).") from error


def _entries(split: Path, formulas: int) -> list[tuple[str, int]]:
    """(name of the picture, number of the formula); which word is the number is told from all lines together."""
    rows = [line.split() for line in _lines(split, "utf-8") if line.strip()]
    if not rows or any(len(row) < 2 for row in rows):
        raise DatasetError(f"{split}: expected lines of a picture's name and a line number.")
    for number, name in ((1, 0), (0, 1)):
        if all(_is_number(row[number], formulas) for row in rows):
            return [(row[name], int(row[number])) for row in rows]
    wrong = next((row for row in rows if not any(_is_number(word, formulas) for word in row[:2])), rows[0])
    raise DatasetError(
        f"{split}: {' '.join(wrong)[:60]!r} names no line of the {formulas} formulas; expected a picture's name and a line number."
    )


def _is_number(word: str, formulas: int) -> bool:
    return word.isascii() and word.isdigit() and int(word) < formulas


def _picture(images: Path, name: str) -> Path | None:
    """The file of that name in the folder itself; None if there is none."""
    if Path(name).name != name:
        return None
    candidates = [name] if Path(name).suffix.lower() in IMAGE_SUFFIXES else [name + suffix for suffix in IMAGE_SUFFIXES]
    return next((images / candidate for candidate in candidates if (images / candidate).is_file()), None)
