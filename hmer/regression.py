"""The frozen regression set of a checkpoint: 500 formulas or more of everyone's writing, that it must not forget.

What checkpoints make of it is kept in the data folder: `KEY.json` the readings, `KEY.npz` where they looked, and
`seen-KEY.npz` what an encoder makes of the pictures, which fine-tuning leaves as it is.
"""

import dataclasses
import hashlib
import json
import logging
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from hmer.batch import Seen
from hmer.config import Decoding, to_dict
from hmer.datasets.folder import LABELS, read_dataset, read_rows, sample
from hmer.gate import Progress, Reader, Readings
from hmer.home import data_home
from hmer.precision import precision
from hmer.recognizer import Recognizer
from hmer.vocabulary import Vocabulary

log = logging.getLogger(__name__)

READING = 4  # to be raised when hmer reads the same picture otherwise: what was remembered is then read again
SEEN_KEPT = 4  # encoders, the last used; what each makes of a set is some 20 MB


class RegressionSet:
    """The frozen regression set of a checkpoint, and what checkpoints make of it, kept in the data folder."""

    def __init__(self, folder: Path, label_form: str, known: Vocabulary, limit: int = 0) -> None:
        self.folder = folder
        self.reader = Reader(sample(read_dataset(folder, label_form), limit), known)
        self.label_form = label_form
        self._hash = _hash_of(folder)

    def readings(self, recognizer: Recognizer, progress: Progress | None = None, *, keep: bool = True) -> Readings:
        """What a checkpoint makes of the set: as remembered, or read now (and remembered with `keep`)."""
        self.reader.see_with(recognizer)
        if not self.reader.seen:
            self.reader.seen = _read_seen(self._seen_path())
        known = _remembered(self._path(recognizer), len(self.reader.items))
        if known is not None:
            if not self.reader.looks:
                self.reader.looks = _read_looks(self._path(recognizer).with_suffix(".npz"))
            if progress is not None:
                progress(len(known))
            return known
        readings = self.reader.read(recognizer, progress=progress, count_edits=False)
        if keep:
            self.remember(recognizer, readings)
        return readings

    def remember(self, recognizer: Recognizer, readings: Readings) -> None:
        """Keep what a checkpoint made of the set, and what only saves time: each file written whole or not at all.

        Where there is no room for it, that is said and the set is read again the next time.
        """
        try:
            self._remember(recognizer, readings)
        except OSError as error:
            log.warning("What was made of the regression set cannot be kept (%s); it is read again next time.", error)

    def _remember(self, recognizer: Recognizer, readings: Readings) -> None:
        path, seen = self._path(recognizer), self._seen_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        with _replacing(path) as file:
            file.write(json.dumps(dataclasses.asdict(readings)).encode())
        with _replacing(path.with_suffix(".npz")) as file:
            _write_looks(file, self.reader.looks)
        if self.reader.seen and not seen.is_file():
            with _replacing(seen) as file:
                _write_seen(file, self.reader.seen)
            _keep_last_used(seen.parent)

    def _path(self, recognizer: Recognizer) -> Path:
        """Named by all that the figures depend on: checkpoint, set, label form, decoding, precision."""
        parts = (
            READING, recognizer.id, to_dict(recognizer.config.image), self._hash, self.label_form, to_dict(Decoding()),
            precision(), "forced", "".join(str(int(yes)) for yes in self.reader.comparable),
        )  # fmt: skip
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
        return data_home() / "regression" / f"{key}.json"

    def _seen_path(self) -> Path:
        """Named by the encoder, the set and how much of it there is."""
        parts = f"{READING} {self.reader.encoder} {self._hash} {len(self.reader.items)}"
        key = hashlib.sha256(parts.encode()).hexdigest()[:32]
        return data_home() / "regression" / f"seen-{key}.npz"


def _hash_of(folder: Path) -> str:
    """The content of a dataset folder."""
    digest = hashlib.sha256((folder / LABELS).read_bytes())
    for row in read_rows(folder):
        digest.update((folder / row["file"]).read_bytes())
    return digest.hexdigest()


def _keep_last_used(folder: Path) -> None:
    """Remove what was seen by encoders that were not used for long."""
    for path in sorted(folder.glob("seen-*.npz"), key=_last_used, reverse=True)[SEEN_KEPT:]:
        path.unlink(missing_ok=True)


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process removed it
        return 0.0


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` when it is complete."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        try:
            yield file
        except BaseException:
            Path(file.name).unlink()
            raise
    os.replace(file.name, path)


def _write_looks(file: IO[bytes], looks: Mapping[int, Tensor]) -> None:
    """All in one row of numbers, with the item, steps and cells of each."""
    shapes = np.array([(index, *look.shape) for index, look in looks.items()], np.int32).reshape(-1, 3)
    values = [look.half().flatten().numpy() for look in looks.values()]
    np.savez_compressed(file, shapes=shapes, values=np.concatenate([np.zeros(0, np.float16), *values]))


def _read_looks(path: Path) -> dict[int, Tensor]:
    """What `_write_looks` wrote; nothing where it is missing or damaged, since it only saves time."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            shapes, values = saved["shapes"].tolist(), torch.from_numpy(saved["values"])
        parts = torch.split(values, [steps * cells for _, steps, cells in shapes])
        return {index: part.view(steps, cells) for (index, steps, cells), part in zip(shapes, parts, strict=True)}
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, zipfile.BadZipFile) as error:
        log.debug("%s: %s", path, error)
        return {}


def _write_seen(file: IO[bytes], seen: Mapping[int, Seen]) -> None:
    """The cells of all in one array (N, C) and their places (N, 2), with the item and number of cells of each."""
    counts = np.array([(index, one.mask.shape[1]) for index, one in seen.items()], np.int32)
    cells = torch.cat([one.cells[0] for one in seen.values()])
    places = torch.cat([one.places[0] for one in seen.values()])
    np.savez(file, counts=counts, cells=cells.numpy(), places=places.numpy())


def _read_seen(path: Path) -> dict[int, Seen]:
    """What `_write_seen` wrote; nothing where it is missing or damaged, since it only saves time."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            counts = saved["counts"].tolist()
            sizes = [count for _, count in counts]
            cells, places = (torch.split(torch.from_numpy(saved[name]), sizes) for name in ("cells", "places"))
        with suppress(OSError):
            os.utime(path)  # see _keep_last_used
        found = zip(counts, cells, places, strict=True)
        return {
            index: Seen(one[None], torch.ones(1, count, dtype=torch.bool), place[None])
            for (index, count), one, place in found
        }
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, zipfile.BadZipFile) as error:
        log.debug("%s: %s", path, error)
        return {}


def _remembered(path: Path, count: int) -> Readings | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        known = Readings(
            tuple(None if edit is None else int(edit) for edit in values["edits"]),
            tuple(int(tokens) for tokens in values["tokens"]),
            float(values["log_likelihood"]), int(values["counted"]),
        )  # fmt: skip
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s is damaged (%s); the regression set is read anew.", path, error)
        return None
    return known if len(known.edits) == len(known.tokens) == count else None
