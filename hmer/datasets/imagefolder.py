"""Dataset folders in the form that the Hub shows and others load: imagefolder, a metadata.jsonl beside its pictures.

https://huggingface.co/docs/datasets/image_dataset#imagefolder
"""

import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
import PIL.ImageOps

from hmer.datasets.folder import IMAGE_SUFFIXES, read_rows, write_labels
from hmer.errors import DatasetError

METADATA = "metadata.jsonl"
SPLITS = {"train": "train", "held_out": "test"}  # a split of labels.tsv, and its folder
_MAX_METADATA_BYTES = 200_000_000
_TOKEN = re.compile(r"\\ |[^ ]+")  # tokens joined by spaces, one of which may be the control space


@dataclass(frozen=True)
class DatasetFacts:
    """What was written: rows by split, different formulas, and symbols with their numbers, the commonest first."""

    rows: Mapping[str, int]
    formulas: int
    symbols: Mapping[str, int]


def write_imagefolder(dataset: Path | str, out: Path | str) -> DatasetFacts:
    """Write the pictures of a dataset folder as imagefolder: pixels and LaTeX, and nothing that says who.

    A picture that two people read differently is written twice, under two names. Raises DatasetError.
    """
    dataset, out = Path(dataset), Path(out)
    lines: dict[str, list[str]] = {}
    written: set[tuple[str, str]] = set()
    copies: Counter[str] = Counter()
    symbols: Counter[str] = Counter()
    for row in read_rows(dataset):
        if (row["file"], row["latex"]) in written:
            continue
        written.add((row["file"], row["latex"]))
        source = dataset / row["file"]
        copies[row["file"]] += 1
        count = copies[row["file"]]
        folder = SPLITS.get(row.get("split") or "train", "train")
        name = f"{source.stem}{'' if count == 1 else f'-{count}'}.png"
        target = out / folder / name
        if target.exists():
            raise DatasetError(f"{row['file']!r}: another picture has the name {name} too; rename one of them.")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_bare(source, dataset))
        lines.setdefault(folder, []).append(json.dumps({"file_name": name, "latex": row["latex"]}, ensure_ascii=False))
        symbols.update(_TOKEN.findall(row["latex"]))
    if not lines:
        raise DatasetError(f"{dataset}: there is no picture to give away.")
    for folder, entries in lines.items():
        (out / folder / METADATA).write_text("\n".join(entries) + "\n", encoding="utf-8")
    return DatasetFacts(
        {folder: len(entries) for folder, entries in sorted(lines.items(), reverse=True)},
        len({latex for _, latex in written}),
        dict(sorted(symbols.items(), key=lambda item: (-item[1], item[0]))),
    )


def _bare(path: Path, dataset: Path) -> bytes:
    """A picture as PNG without anything but its pixels (no EXIF, no text, no profile)."""
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise DatasetError(f"{path.name!r}: only pictures can be pushed ({', '.join(IMAGE_SUFFIXES)}).")
    if not path.resolve().is_relative_to(dataset.resolve()):
        raise DatasetError(f"{path.name!r}: lies outside of the dataset folder.")
    try:
        with PIL.Image.open(path) as opened:
            picture = PIL.ImageOps.exif_transpose(opened)  # what turns it upright does not travel
            plain = picture if picture.mode in ("1", "L", "LA", "RGB", "RGBA", "I;16") else picture.convert("RGBA")
            bare = PIL.Image.frombytes(plain.mode, plain.size, plain.tobytes())
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise DatasetError(f"{path.name!r}: cannot be read as a picture ({error}).") from error
    encoded = io.BytesIO()
    bare.save(encoded, format="PNG")
    return encoded.getvalue()


def read_imagefolder(folder: Path | str, out: Path | str, *, source: str = "") -> int:
    """Write an imagefolder as dataset folder `out`, with copies of its pictures; gives the number of rows.

    Raises DatasetError, which names the line, for metadata that is malformed or names a file outside of the folder.
    """
    folder, out = Path(folder), Path(out)
    rows: list[tuple[str, str, str, str]] = []
    for metadata in sorted(folder.rglob(METADATA)):
        split = "held_out" if metadata.relative_to(folder).parts[0] == SPLITS["held_out"] else "train"
        if metadata.stat().st_size > _MAX_METADATA_BYTES:
            raise DatasetError(f"{metadata.relative_to(folder)}: too large to be read.")
        try:
            lines = metadata.read_text(encoding="utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise DatasetError(f"{metadata.relative_to(folder)}: is no UTF-8 text ({error}).") from error
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{metadata.relative_to(folder)}, line {number}"
            name, latex = _entry(line, where)
            path = metadata.parent / name
            if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
                raise DatasetError(f"{where}: there is no picture {name!r} beside it.")
            copy = f"{len(rows):06}{path.suffix.lower()}"
            out.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, out / copy)
            rows.append((copy, re.sub(r"[\t\r\n]+", " ", latex), split, source))
    if not rows:
        raise DatasetError(f"{folder}: holds no {METADATA} that names a picture.")
    write_labels(out, rows, ("file", "latex", "split", "source"))
    return len(rows)


def _entry(line: str, where: str) -> tuple[str, str]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where}: is no JSON ({error}).") from error
    name = entry.get("file_name") if isinstance(entry, Mapping) else None
    latex = entry.get("latex") if isinstance(entry, Mapping) else None
    if not isinstance(name, str) or not isinstance(latex, str) or "\0" in name:
        raise DatasetError(f"{where}: needs a file_name and its latex, both text.")
    return name, latex
