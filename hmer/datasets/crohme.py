"""The reader of the CROHME collections: a folder of InkML files becomes a dataset folder."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hmer import latex
from hmer.datasets.crohme_truths import repair_truth
from hmer.datasets.folder import write_labels
from hmer.errors import DatasetError, HmerError
from hmer.ink import read_inkml


@dataclass(frozen=True)
class Prepared:
    """How many formulas were written, and which files were refused: (name, reason)."""

    count: int
    refused: tuple[tuple[str, str], ...]


def prepare_crohme(folder: Path, out: Path, captions: Path | None = None) -> Prepared:
    """Write a dataset folder from every .inkml file below `folder`, labels in the `crohme` form.

    The label is the file's own truth, or, where `captions` (name<TAB>latex, names without suffix) has one, that.
    Raises DatasetError if `out` exists or nothing could be used.
    """
    if out.exists():
        raise DatasetError(f"{out}: exists already; choose another folder.")
    if not folder.is_dir():
        raise DatasetError(f"{folder}: is no folder.")
    published = _read_captions(captions) if captions is not None else {}
    rows, refused = [], []
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        for path, name in _ink_files(folder):
            try:
                if any(character in name for character in "\t\n\r"):
                    raise DatasetError("has a tab or a line break in its name")
                ink = read_inkml(path)
                truth = published.get(path.stem) or repair_truth(ink.truth or "")
                tokens = latex.label_tokens(truth, "crohme")
                if not tokens:
                    raise DatasetError("has no truth")
            except HmerError as error:
                refused.append((name, str(error)))
                continue
            target = temporary / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            rows.append((name, " ".join(tokens), " ".join(ink.writer.split())))
        if not rows:
            raise DatasetError(f"{folder}: no usable .inkml file below it ({len(refused)} refused).")
        write_labels(temporary, rows, ("file", "latex", "writer"))
        temporary.chmod(0o755)
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return Prepared(len(rows), tuple(refused))


def _ink_files(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*.inkml")):
        name = path.relative_to(folder).as_posix()
        if path.is_file():
            yield path, name


def _read_captions(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as UTF-8 text ({error}).") from error
    pairs = (line.split("\t", 1) for line in lines if "\t" in line)
    return {name.strip(): caption.strip() for name, caption in pairs}
