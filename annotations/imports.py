"""Annotations into the store: every format of annotations.export, CROHME's ink, and pictures beside .tex files.

dataset      a folder with labels.tsv          imagefolder  a folder with metadata.jsonl
csv          a folder with metadata.csv        jsonl        a file, a line an annotation
crohme       .inkml files anywhere below a folder, each with its truth in it
pairs        pictures anywhere below a folder, each with a .tex file of the same name
"""

import base64
import binascii
import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from annotations.export import CSV, DATASET, IMAGEFOLDER, JSONL, METADATA_CSV, METADATA_JSONL, unquoted
from annotations.fields import Entry, save
from annotations.records import Status
from annotations.store import AnnotationStore
from annotations.strokes import from_inkml, make_strokes
from hmer.datasets.crohme_truths import repair_truth
from hmer.datasets.folder import IMAGE_SUFFIXES, LABELS, SUFFIXES, read_rows
from hmer.errors import BadImage, BadInk, ConfigError, DatasetError, LatexError, StoreError
from hmer.ink import draw, parse_inkml

AUTO, CROHME, PAIRS = "auto", "crohme", "pairs"
MAX_FILE_BYTES = 100_000_000
MAX_LINE_CHARS = 200_000_000  # a line of JSON holds a picture

_BODY = re.compile(r"\\begin\s*\{document\}(.*?)\\end\s*\{document\}", re.DOTALL)


@dataclass(frozen=True)
class Refusal:
    """A row that could not be used, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class ImportCounts:
    """What became of the rows: `created`, `known` (in the store already) or `refused`, with reasons."""

    rows: int
    created: int
    known: int
    refused: tuple[Refusal, ...]


def import_dataset(
    store: AnnotationStore,
    folder: str | Path,
    *,
    status: Status | str | None = None,
    annotator: str = "",
    source: str = "",
) -> ImportCounts:
    """Save every row of a dataset folder; see `import_annotations`."""
    return import_annotations(store, folder, DATASET, status=status, annotator=annotator, source=source)


def import_annotations(
    store: AnnotationStore,
    path: str | Path,
    kind: str = AUTO,
    *,
    status: Status | str | None = None,
    annotator: str = "",
    source: str = "",
) -> ImportCounts:
    """Save every row of a folder or file; one whose picture or LaTeX is bad is named in the result.

    `kind` is one of READERS, or auto, which tells by what is there. Rows keep their status unless one is given, and
    are accepted where they name none; `annotator` and `source` are for rows that name none. Rows are saved one by
    one: repeating an import that was stopped saves the rest. Raises ConfigError or DatasetError when nothing can be
    read, and StoreError when the store fails.
    """
    path = Path(path).absolute()
    if kind != AUTO and kind not in READERS:
        raise ConfigError(f"There is no format {kind!r}; choose from {AUTO}, {', '.join(READERS)}.")
    given = None if status is None else Status.of(status)
    rows = created = 0
    refused: list[Refusal] = []
    for name, read in READERS[kind if kind != AUTO else _kind_of(path)](path):
        rows += 1
        try:
            entry = read()
        except (BadImage, BadInk, LatexError, DatasetError) as error:
            refused.append(Refusal(name, str(error)))
            continue
        try:
            created += save(store, entry, status=given, annotator=annotator, source=source).created
        except (BadImage, BadInk, LatexError, DatasetError) as error:
            refused.append(Refusal(name, str(error)))
        except StoreError as error:
            # Refused by the database (which has a cause): the others would be, too. Otherwise it is this row's fault.
            if error.__cause__ is not None:
                raise
            refused.append(Refusal(name, str(error)))
    return ImportCounts(rows, created, rows - created - len(refused), tuple(refused))


# --- the formats: a name for messages and what reads the row ------------------------------------------------

Reading = tuple[str, Callable[[], Entry]]


def _read_dataset(folder: Path) -> Iterator[Reading]:
    for row in read_rows(folder):
        yield row["file"], partial(_from_folder, folder, row["file"], row)


def _read_imagefolder(folder: Path) -> Iterator[Reading]:
    for number, row in _json_objects(folder / METADATA_JSONL):
        name = row.get("file_name", "")
        yield name or f"line {number}", partial(_from_folder, folder, name, row)


def _read_csv(folder: Path) -> Iterator[Reading]:
    path = folder / METADATA_CSV
    usual = csv.field_size_limit(MAX_LINE_CHARS)
    try:
        with path.open(encoding="utf-8-sig", newline="") as table:
            reader = csv.DictReader(table, strict=True)
            if "file_name" not in (reader.fieldnames or ()):
                raise DatasetError(f"{path}: the first line names no column file_name.")
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read as CSV in UTF-8 ({error}).") from error
    finally:
        csv.field_size_limit(usual)
    for row in rows:
        fields = {name: unquoted(text) for name, text in row.items() if name is not None and text is not None}
        name = fields.get("file_name", "")
        yield name, partial(_from_folder, folder, name, fields)


def _read_jsonl(path: Path) -> Iterator[Reading]:
    for number, row in _json_objects(path):
        yield f"line {number}", partial(_from_json, row)


def _read_crohme(folder: Path) -> Iterator[Reading]:
    for path in _files(folder, (".inkml",)):
        name = path.relative_to(folder).as_posix()
        yield name, partial(_from_folder, folder, name, {})


def _read_pairs(folder: Path) -> Iterator[Reading]:
    pictures = {path.with_suffix(""): path for path in _files(folder, IMAGE_SUFFIXES)}
    sources = {path.with_suffix(""): path for path in _files(folder, (".tex",))}
    for stem in sorted({*pictures, *sources}):
        name = (pictures.get(stem) or sources[stem]).relative_to(folder).as_posix()
        yield name, partial(_from_pair, folder, pictures.get(stem), sources.get(stem))


READERS: dict[str, Callable[[Path], Iterator[Reading]]] = {
    DATASET: _read_dataset,
    IMAGEFOLDER: _read_imagefolder,
    CSV: _read_csv,
    JSONL: _read_jsonl,
    CROHME: _read_crohme,
    PAIRS: _read_pairs,
}
_TABLES = {LABELS: DATASET, METADATA_JSONL: IMAGEFOLDER, METADATA_CSV: CSV}


def _kind_of(path: Path) -> str:
    """The format of what lies at a path. Raises DatasetError."""
    if path.is_file():
        return JSONL
    if not path.is_dir():
        raise DatasetError(f"There is nothing at {path}; check the path.")
    for table, kind in _TABLES.items():
        if (path / table).is_file():
            return kind
    for suffix, kind in ((".inkml", CROHME), (".tex", PAIRS)):
        if next(_files(path, (suffix,)), None) is not None:
            return kind
    raise DatasetError(
        f"{path}: holds none of {', '.join(_TABLES)}, no .inkml and no .tex file; there is nothing to import."
    )


# --- rows ---------------------------------------------------------------------------------------------------


def _from_folder(folder: Path, name: str, fields: Mapping[str, str]) -> Entry:
    """A row whose picture, or ink instead of one, is a file of the folder."""
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise DatasetError(f"Only pictures and ink can be imported ({', '.join(SUFFIXES)}); convert it.")
    content = _read_inside(folder, name)
    if suffix != ".inkml":
        beside = fields.get("ink")
        return Entry(name, content, fields, from_inkml(_read_inside(folder, beside), beside) if beside else None)
    ink = parse_inkml(content, Path(name).name)
    latex = fields.get("latex") or repair_truth(ink.truth or "")
    writer = fields.get("writer") or " ".join(ink.writer.split())
    return Entry(name, draw(ink), {**fields, "latex": latex, "writer": writer}, from_inkml(content))


def _from_pair(folder: Path, picture: Path | None, source: Path | None) -> Entry:
    if picture is None or source is None:
        missing = ".tex file" if source is None else "picture"
        raise DatasetError(f"There is no {missing} of the same name beside it.")
    try:
        text = _read_inside(folder, source.relative_to(folder).as_posix()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError("The .tex file is not UTF-8; save it as UTF-8.") from error
    body = _BODY.search(text)
    name = picture.relative_to(folder).as_posix()
    return Entry(name, _read_inside(folder, name), {"latex": (body[1] if body else text).strip()})


def _from_json(row: Mapping[str, str]) -> Entry:
    try:
        content = base64.b64decode(row["image"].removeprefix("data:image/png;base64,"), validate=True)
    except KeyError as error:
        raise DatasetError("There is no field `image`.") from error
    except (binascii.Error, ValueError) as error:
        raise DatasetError("The field `image` is not base64.") from error
    written = row.get("strokes")
    try:
        strokes = make_strokes(json.loads(written)) if written else None
    except (ValueError, RecursionError) as error:
        raise DatasetError("The field `strokes` is not a list of strokes.") from error
    return Entry("", content, row, strokes)


def _json_objects(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and objects, every value as text. Raises DatasetError that names the line."""
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE_CHARS), ""), start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise DatasetError(f"{path}, line {number}: is not JSON ({error}).") from error
                if not isinstance(row, dict):
                    raise DatasetError(f"{path}, line {number}: is not a JSON object.")
                yield number, {name: _as_text(value) for name, value in row.items() if value is not None}
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as UTF-8 text ({error}).") from error


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    if not folder.is_dir():
        raise DatasetError(f"There is no folder {folder}; check the path.")
    return (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in suffixes and path.is_file())


def _read_inside(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise DatasetError("The file lies outside of the folder; move it in.")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DatasetError(f"The file is larger than {MAX_FILE_BYTES // 1_000_000} MB, which no formula is.")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise DatasetError("The file is missing or cannot be read.") from error
