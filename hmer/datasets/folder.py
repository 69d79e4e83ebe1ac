"""A dataset is a folder with labels.tsv: `file<TAB>latex` and optional further columns, files relative to it."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hmer import latex
from hmer.errors import DatasetError, LatexError
from hmer.places import PLACES, are_places

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
SUFFIXES = (*IMAGE_SUFFIXES, ".inkml")
LABELS = "labels.tsv"


@dataclass(frozen=True)
class Item:
    """One labelled picture or ink file: its tokens in a label form, and whatever the other columns say.

    `places` as `hmer.places.read_places` reads them; empty where the label stands in another form there.
    """

    path: Path
    tokens: tuple[str, ...]
    writer: str = ""
    split: str = ""
    source: str = ""
    places: str = ""


def read_rows(folder: Path | str) -> list[dict[str, str]]:
    """The rows of labels.tsv by column name. Raises DatasetError that names the line."""
    labels = Path(folder) / LABELS
    try:
        text = labels.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DatasetError(f"{folder}: no {LABELS} there; a dataset is a folder that holds one.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{labels}: cannot be read as UTF-8 text ({error}).") from error
    lines = text.split("\n")
    header = lines[0].rstrip("\r").split("\t")
    if header[:2] != ["file", "latex"]:
        raise DatasetError(f"{labels}, line 1: must begin with 'file<TAB>latex', found {lines[0][:60]!r}.")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        fields = line.rstrip("\r").split("\t")
        if len(fields) != len(header):
            raise DatasetError(f"{labels}, line {number}: {len(fields)} fields where the header names {len(header)}.")
        rows.append(dict(zip(header, fields, strict=True)))
    return rows


def read_dataset(folder: Path | str, label_form: str, problems: list[str] | None = None) -> list[Item]:
    """The items of a dataset folder, labels reduced to `label_form`.

    An item that cannot be used (file missing or outside the folder, unknown kind, LaTeX not well-formed) is named
    in `problems` when a list is given, and otherwise raises DatasetError.
    """
    folder = Path(folder)
    items = []
    for row in read_rows(folder):
        try:
            items.append(_item(folder, row, label_form))
        except DatasetError as error:
            if problems is None:
                raise
            problems.append(str(error))
    if not items:
        raise DatasetError(f"{folder}: {LABELS} names no usable file.")
    return items


def _item(folder: Path, row: dict[str, str], label_form: str) -> Item:
    name = row["file"]
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DatasetError(f"{folder}: {name!r} points outside the folder.")
    if path.suffix.lower() not in SUFFIXES:
        raise DatasetError(f"{folder}: {name!r} is not one of {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise DatasetError(f"{folder}: {name!r} is listed in {LABELS} and not there.")
    try:
        tokens = tuple(latex.label_tokens(row["latex"], label_form))
    except LatexError as error:
        raise DatasetError(f"{folder}: the LaTeX of {name!r} is not well-formed: {error}") from error
    if not tokens:
        raise DatasetError(f"{folder}: the LaTeX of {name!r}, {row['latex'][:80]!r}, shows nothing.")
    places = row.get(PLACES, "") if tokens == tuple(row["latex"].split()) else ""
    if not are_places(places, len(tokens)):
        raise DatasetError(f"{folder}: the places of {name!r} are not token:left,top,right,bottom: {places[:60]!r}.")
    return Item(path, tokens, row.get("writer", ""), row.get("split", ""), row.get("source", ""), places)


def write_labels(folder: Path | str, rows: Iterable[Sequence[str]], columns: Sequence[str]) -> None:
    """Write labels.tsv. Raises DatasetError on a field with a tab or a line break."""
    lines = ["\t".join(columns)]
    for row in rows:
        if any(character in field for field in row for character in "\t\n\r"):
            raise DatasetError(f"{row[0]!r}: a field of {LABELS} cannot hold a tab or a line break.")
        lines.append("\t".join(row))
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / LABELS).write_text("\n".join(lines) + "\n", encoding="utf-8")


def sample(items: Sequence[Item], limit: int, seed: int = 0) -> list[Item]:
    """At most `limit` items (0: all), drawn without replacement in a fixed way, in their old order."""
    if not limit or limit >= len(items):
        return list(items)
    chosen = sorted(random.Random(seed).sample(range(len(items)), limit))
    return [items[index] for index in chosen]
