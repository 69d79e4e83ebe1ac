"""The reader of the CROHME collections: a folder of InkML files becomes a dataset folder."""

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hmer import latex
from hmer.datasets.crohme_truths import repair_truth
from hmer.datasets.folder import write_labels
from hmer.errors import DatasetError, HmerError
from hmer.ink import read_inkml


@dataclass(frozen=True)
class Prepared:
    """How many formulas were written, how many held out, and which files were refused: (name, reason)."""

    count: int
    held_out: int
    refused: tuple[tuple[str, str], ...]


def prepare_crohme(
    folder: Path, out: Path, captions: Path | None = None, *, held_out: Path | None = None, share: float = 0.08
) -> Prepared:
    """Write a dataset folder from every .inkml file below `folder`, labels in the `crohme` form.

    The label is the file's own truth, or, where `captions` (name<TAB>latex, names without suffix) has one, that. What
    some writers wrote, about `share` of all, goes to a dataset folder `held_out` instead, where one is named.
    Raises DatasetError if a folder to write exists, nothing could be used, or no writer can be held out.
    """
    if held_out == out:
        raise DatasetError(f"{out}: what is held out needs a folder of its own.")
    for target in (out, held_out):
        if target is not None and target.exists():
            raise DatasetError(f"{target}: exists already; choose another folder.")
    if held_out is not None and not 0 < share < 1:
        raise DatasetError(f"A share of {share:g} cannot be held out; choose one between 0 and 1, such as 0.08.")
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
            rows.append((name, " ".join(tokens), " ".join(ink.writer.split())))
        if not rows:
            raise DatasetError(f"{folder}: no usable .inkml file below it ({len(refused)} refused).")
        apart = _some_writers([writer for _, _, writer in rows], share) if held_out is not None else frozenset()
        parts = {out: [row for row in rows if row[2] not in apart]}
        if held_out is not None:
            parts[held_out] = [row for row in rows if row[2] in apart]
        made = {target: temporary / str(number) for number, target in enumerate(parts)}
        for target, chosen in parts.items():
            for name, _, _ in chosen:
                (made[target] / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, made[target] / name)
            write_labels(made[target], chosen, ("file", "latex", "writer"))
        for target in parts:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(made[target], target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Prepared(len(parts[out]), len(rows) - len(parts[out]), tuple(refused))


def _some_writers(writers: Sequence[str], share: float) -> frozenset[str]:
    """Writers, drawn in a fixed way, of about `share` of the formulas; `writers` names each formula's.

    Who is not named stays with the rest: nobody knows whether those are others.
    """
    counts = Counter(writer for writer in writers if writer.lower() not in ("", "unknown"))
    order = sorted(counts)
    random.Random(0).shuffle(order)
    chosen: list[str] = []
    for writer in order:
        if sum(counts[other] for other in chosen) >= share * len(writers):
            break
        chosen.append(writer)
    if not chosen or len(chosen) == len(set(writers)):
        raise DatasetError(f"{len(counts)} writers are named there: too few to hold some out.")
    return frozenset(chosen)


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
