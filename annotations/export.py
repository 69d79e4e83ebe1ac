"""Annotations as a dataset folder: labels.tsv and pictures, as all training and measuring reads it."""

import shutil
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from annotations.records import Selection, Status
from annotations.store import AnnotationStore
from hmer.datasets.folder import LABELS, write_labels
from hmer.errors import DatasetError

COLUMNS = ("file", "latex", "writer", "split", "source")
TRAIN, HELD_OUT = "train", "held_out"


@dataclass(frozen=True)
class ExportCounts:
    """What was written: `rows` of labels.tsv, in two splits, and the `images` that they share."""

    rows: int
    images: int
    train: int
    held_out: int


def write_dataset(
    store: AnnotationStore,
    folder: str | Path,
    *,
    statuses: Iterable[Status | str] = (Status.ACCEPTED,),
    annotator: str | None = None,
    source: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    held_out_share: float = 0.0,
    overwrite: bool = False,
) -> ExportCounts:
    """Write the selected annotations that have a correction as a dataset folder, complete or not at all.

    `held_out_share` of the formulas, chosen by `split_of`, get the split "held_out", all others "train". With
    `overwrite` an earlier dataset folder is replaced. Raises DatasetError or StoreError.
    """
    folder = Path(folder).absolute()
    selection = Selection(tuple(statuses), annotator, source, since, until)
    if not 0 <= held_out_share <= 1:
        raise DatasetError(f"The held-out share is a number from 0 to 1, not {held_out_share}.")
    _check_free(folder, overwrite)
    unfinished = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        try:
            unfinished.mkdir(parents=True)
            counts = _write(store, selection, held_out_share, unfinished)
            _put_in_place(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise DatasetError(f"The dataset folder {folder} cannot be written: {error.strerror}.") from error
    return counts


def split_of(label_sha256: str, held_out_share: float) -> str:
    """The split of a formula: fixed by its normalised label, whoever wrote it and whatever else is exported.

    A formula held out at one share is held out at every larger one.
    """
    return HELD_OUT if int(label_sha256[:16], 16) < held_out_share * 16**16 else TRAIN


def _check_free(folder: Path, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DatasetError(f"{folder} is a file; name a folder.")
    if not any(folder.iterdir()):
        return
    if not overwrite:
        raise DatasetError(f"The folder {folder} is not empty; choose another or ask for overwriting.")
    if not (folder / LABELS).is_file():  # never wipe a folder of something else
        raise DatasetError(f"{folder} is no dataset folder (it has no {LABELS}); choose another.")


def _write(store: AnnotationStore, selection: Selection, held_out_share: float, folder: Path) -> ExportCounts:
    rows: list[tuple[str, ...]] = []
    images: set[str] = set()
    for annotation, content in store.corrected(selection):
        # corrected() gives only what has a label
        assert annotation.tokens is not None and annotation.label_sha256 is not None
        file = f"{annotation.image_sha256}.png"
        if file not in images:
            (folder / file).write_bytes(content)
            images.add(file)
        split = split_of(annotation.label_sha256, held_out_share)
        rows.append((file, " ".join(annotation.tokens), annotation.annotator, split, annotation.source))
    write_labels(folder, rows, COLUMNS)
    held_out = sum(row[3] == HELD_OUT for row in rows)
    return ExportCounts(len(rows), len(images), len(rows) - held_out, held_out)


def _put_in_place(unfinished: Path, folder: Path) -> None:
    if not folder.exists():
        unfinished.rename(folder)
        return
    replaced = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    folder.rename(replaced)
    try:
        unfinished.rename(folder)
    except OSError:
        replaced.rename(folder)
        raise
    shutil.rmtree(replaced)
