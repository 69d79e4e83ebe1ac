"""Annotations out of the store: a dataset folder, a Hugging Face image folder, CSV or JSON lines.

    dataset      a folder: labels.tsv and pictures, as all training and measuring reads it
    imagefolder  a folder: metadata.jsonl and pictures, as `datasets.load_dataset("imagefolder")` reads it
    csv          the same with metadata.csv
    jsonl        one file, a line an annotation, the picture in it as base64 of a PNG

All hold the fields of annotations.fields. Pen strokes stand beside the picture as InkML, named in the column `ink`;
in JSON lines as lists of points [x, y, t]. A cell of the CSV that a spreadsheet would take for a formula begins with an
apostrophe, which importing takes away again.
"""

import base64
import csv
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from annotations.fields import FIELDS, HELD_OUT, split_of, to_fields
from annotations.records import Annotation, Selection, Status
from annotations.store import AnnotationStore
from annotations.strokes import to_inkml, to_json
from hmer.datasets.folder import LABELS, write_labels
from hmer.errors import ConfigError, DatasetError

METADATA_JSONL, METADATA_CSV = "metadata.jsonl", "metadata.csv"
DATASET, IMAGEFOLDER, CSV, JSONL = "dataset", "imagefolder", "csv", "jsonl"

Rows = Sequence[dict[str, str]]

__all__ = ["FORMATS", "ExportCounts", "Taken", "split_of", "write_annotations", "write_corrections", "write_dataset"]


@dataclass(frozen=True)
class ExportCounts:
    """What was written: `rows`, in two splits, and the `images` that they share."""

    rows: int
    images: int
    train: int
    held_out: int


@dataclass(frozen=True)
class Taken:
    """How many corrections there are to learn from, and the checkpoints whose answers' corrections were left out."""

    rows: int
    left_out: tuple[str, ...]


def write_corrections(
    store: AnnotationStore,
    folder: str | Path,
    *,
    not_for: Callable[[Iterable[str]], Iterable[str]] | None,
    held_out_share: float,
    annotator: str | None = None,
    source: str | None = None,
    since: datetime | None = None,
) -> Taken:
    """Write the accepted corrections that a checkpoint is to learn from as a dataset folder.

    `not_for` picks from the checkpoints that read those pictures the ones whose corrections it is not to learn from; None: all
    are for it. Raises ConfigError where none is left, and as `write_dataset` does.
    """
    others = tuple(not_for(store.names()["checkpoint"])) if not_for else ()
    counts = write_dataset(
        store,
        folder,
        annotator=annotator,
        source=source,
        since=since,
        not_read_by=others,
        held_out_share=held_out_share,
    )
    if not counts.rows:
        raise ConfigError("There are no accepted corrections of that kind to learn from.")
    return Taken(counts.rows, others)


def write_dataset(
    store: AnnotationStore,
    folder: str | Path,
    *,
    statuses: Iterable[Status | str] = (Status.ACCEPTED,),
    annotator: str | None = None,
    source: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    not_read_by: Sequence[str] = (),
    held_out_share: float = 0.0,
    overwrite: bool = False,
) -> ExportCounts:
    """Write the selected annotations that have a correction as a dataset folder; see `write_annotations`.

    `since` is of the last change: a picture of last month that is corrected now is a correction of now.
    """
    selection = Selection(
        tuple(statuses), annotator, source, until=until, changed_since=since, not_read_by=tuple(not_read_by)
    )
    return write_annotations(
        store, folder, DATASET, selection=selection, held_out_share=held_out_share, overwrite=overwrite
    )


def write_annotations(
    store: AnnotationStore,
    path: str | Path,
    kind: str,
    *,
    selection: Selection,
    held_out_share: float = 0.0,
    overwrite: bool = False,
) -> ExportCounts:
    """Write the selected annotations that have a correction to a folder or file, complete or not at all.

    `kind` is one of FORMATS. `held_out_share` of the formulas, chosen by `split_of`, get the split "held_out", all
    others "train". With `overwrite` an earlier export is replaced. Raises ConfigError, DatasetError or StoreError.
    """
    if kind not in FORMATS:
        raise ConfigError(f"There is no format {kind!r}; choose from {', '.join(FORMATS)}.")
    path = Path(path).absolute()
    if not 0 <= held_out_share <= 1:
        raise DatasetError(f"The held-out share is a number from 0 to 1, not {held_out_share}.")
    _check_free(path, overwrite, is_file=kind == JSONL)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            counts = FORMATS[kind](store, selection, held_out_share, unfinished)
            _put_in_place(unfinished, path)
        finally:
            _remove(unfinished)
    except OSError as error:
        raise DatasetError(f"The export to {path} cannot be written: {error.strerror}.") from error
    return counts


def _check_free(path: Path, overwrite: bool, *, is_file: bool) -> None:
    if not path.exists():
        return
    if is_file:
        if not path.is_file():
            raise DatasetError(f"{path} is a folder; name a file.")
        if not overwrite:
            raise DatasetError(f"The file {path} exists; choose another or ask for overwriting.")
        return
    if not path.is_dir():
        raise DatasetError(f"{path} is a file; name a folder.")
    if not any(path.iterdir()):
        return
    if not overwrite:
        raise DatasetError(f"The folder {path} is not empty; choose another or ask for overwriting.")
    if not any((path / table).is_file() for table in (LABELS, METADATA_JSONL, METADATA_CSV)):
        # never wipe a folder of something else
        raise DatasetError(f"{path} is no dataset folder (it has no {LABELS}); choose another.")


def _put_in_place(unfinished: Path, path: Path) -> None:
    if not path.is_dir():
        os.replace(unfinished, path)
        return
    replaced = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    path.rename(replaced)
    try:
        unfinished.rename(path)
    except OSError:
        replaced.rename(path)
        raise
    shutil.rmtree(replaced)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


# --- the formats ------------------------------------------------------------------------------------------


def _folder_writer(
    write_table: Callable[[Path, Rows], None],
) -> Callable[[AnnotationStore, Selection, float, Path], ExportCounts]:
    """The writer of a folder of pictures, and a table of all fields that `write_table` writes."""

    def write(store: AnnotationStore, selection: Selection, held_out_share: float, folder: Path) -> ExportCounts:
        folder.mkdir()
        rows: list[dict[str, str]] = []
        written: set[str] = set()
        for annotation, content, strokes in store.corrected_with_strokes(selection):
            name = annotation.image_sha256
            if name not in written:
                (folder / f"{name}.png").write_bytes(content)
                written.add(name)
                if strokes is not None:
                    inkml = to_inkml(strokes, truth=_one_truth(annotation), writer=annotation.annotator)
                    (folder / f"{name}.inkml").write_bytes(inkml)
            ink = "" if strokes is None else f"{name}.inkml"
            rows.append({"file": f"{name}.png", **to_fields(annotation, held_out_share), "ink": ink})
        write_table(folder, rows)
        return _counts(rows, len(written))

    return write


def _one_truth(annotation: Annotation) -> str:
    return " ".join(annotation.tokens or ())


def _write_tsv(folder: Path, rows: Rows) -> None:
    """labels.tsv, which has no quoting: what was typed in several lines is left to its normal form."""

    def plain(text: str) -> str:
        return "" if any(character in text for character in "\t\n\r") else text

    columns = ("file", *FIELDS, "ink")
    write_labels(folder, ([*(plain(row[name]) for name in columns)] for row in rows), columns)


def _write_metadata_jsonl(folder: Path, rows: Rows) -> None:
    with (folder / METADATA_JSONL).open("w", encoding="utf-8", newline="\n") as table:
        for row in rows:
            table.write(_json_line({"file_name": row["file"], **row}))


def _write_metadata_csv(folder: Path, rows: Rows) -> None:
    with (folder / METADATA_CSV).open("w", encoding="utf-8", newline="") as table:
        # Python 3.11 quotes a line break in a cell only where the end of a line has it: both kinds, as RFC 4180 ends them.
        writer = csv.DictWriter(table, ("file_name", *FIELDS, "ink"), extrasaction="ignore", lineterminator="\r\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: quoted(text) for name, text in {"file_name": row["file"], **row}.items()})


_ACTIVE = re.compile(r"'*[=+\-@\t\r\n]")  # after any apostrophes, so that taking one away is exact


def quoted(text: str) -> str:
    """A cell that no spreadsheet computes."""
    return f"'{text}" if _ACTIVE.match(text) else text


def unquoted(text: str) -> str:
    """What `quoted` was given."""
    return text[1:] if text.startswith("'") and _ACTIVE.match(text) else text


def _write_jsonl(store: AnnotationStore, selection: Selection, held_out_share: float, path: Path) -> ExportCounts:
    rows: list[dict[str, str]] = []
    images: set[str] = set()
    with path.open("w", encoding="utf-8", newline="\n") as lines:
        for annotation, content, strokes in store.corrected_with_strokes(selection):
            row = to_fields(annotation, held_out_share)
            drawn = "" if strokes is None else to_json(strokes)
            lines.write(_json_line({"image": base64.b64encode(content).decode(), **row, "strokes": drawn}))
            rows.append({"split": row["split"]})
            images.add(annotation.image_sha256)
    return _counts(rows, len(images))


def _json_line(row: dict[str, str]) -> str:
    return json.dumps({name: text for name, text in row.items() if name != "file"}) + "\n"


def _counts(rows: Rows, images: int) -> ExportCounts:
    held_out = sum(row["split"] == HELD_OUT for row in rows)
    return ExportCounts(len(rows), images, len(rows) - held_out, held_out)


FORMATS: dict[str, Callable[[AnnotationStore, Selection, float, Path], ExportCounts]] = {
    DATASET: _folder_writer(_write_tsv),
    IMAGEFOLDER: _folder_writer(_write_metadata_jsonl),
    CSV: _folder_writer(_write_metadata_csv),
    JSONL: _write_jsonl,
}
