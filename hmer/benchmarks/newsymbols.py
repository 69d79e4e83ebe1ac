"""Symbols that training never saw: taught from a few drawings of several writers, read in those of others."""

import gzip
import itertools
import json
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hmer.bootstrap import interval
from hmer.config import Decoding
from hmer.datasets.folder import read_dataset, write_labels
from hmer.errors import ConfigError, DatasetError
from hmer.evaluation import evaluate
from hmer.finetune import fine_tune
from hmer.gate import Reader
from hmer.ink import Ink, draw
from hmer.recognizer import Recognizer
from hmer.vocabulary import Vocabulary

SYMBOLS = ("@", r"\$", r"\_", "`", '"')  # neither in the captions of CROHME nor in what is composed for training
_LATEX = {"$": r"\$", "_": r"\_"}  # of labels that mean something else in LaTeX


@dataclass(frozen=True)
class Drawing:
    """One isolated symbol."""

    label: str
    writer: str
    ink: Ink


def read_drawings(path: Path | str, symbols: Sequence[str]) -> list[Drawing]:
    """The drawings of some symbols in JSON lines (may be gzipped): label, writer, strokes as lists of [x, y], y downward.

    Raises DatasetError that names the line.
    """
    path = Path(path)
    found = []
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    row = json.loads(line)
                    label = _LATEX.get(str(row["label"]), str(row["label"]))
                    if label in symbols:
                        strokes = tuple(np.asarray(stroke, np.float32).reshape(-1, 2) for stroke in row["strokes"])
                        found.append(Drawing(label, str(row["writer"]), Ink(strokes)))
                except (ValueError, KeyError, TypeError) as error:
                    raise DatasetError(f"{path}, line {number}: is no drawing of a symbol ({error}).") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error}); give JSON lines, gzipped or not.") from error
    return found


def parted(drawings: Sequence[Drawing], corrections: int, tested: int) -> tuple[list[Drawing], list[Drawing]]:
    """Of each symbol so many drawings to teach it, and at most so many of other writers to test it.

    The writers come in a fixed random order, each giving one drawing to teach from at a time. Raises DatasetError.
    """
    taught: list[Drawing] = []
    unseen: list[Drawing] = []
    for label, own in itertools.groupby(sorted(drawings, key=lambda one: one.label), key=lambda one: one.label):
        by_writer: dict[str, list[Drawing]] = {}
        for drawing in own:
            by_writer.setdefault(drawing.writer, []).append(drawing)
        writers = sorted(by_writer)
        random.Random(label).shuffle(writers)
        chosen = [by_writer[writer][0] for writer in writers[:corrections]]
        rest = [drawing for writer in writers[corrections:] for drawing in by_writer[writer][:1]]
        if len(chosen) < corrections or not rest:
            raise DatasetError(
                f"{label}: {len(writers)} writers are too few to teach from {corrections} and test others."
            )
        taught += chosen
        unseen += rest[:tested]
    return taught, unseen


def newsymbols(
    reference: str,
    path: Path | str,
    *,
    symbols: Sequence[str] = SYMBOLS,
    corrections: int = 20,
    tested: int = 40,
    regression_limit: int = 0,
    threads: int = 0,
) -> dict[str, Any]:
    """Teach all symbols at once and read other writers' drawings of them.

    read: share of unseen drawings that are read greedily, by symbol and over all with its interval over drawings, and
    by beam search; the gate's verdict and figures; seconds of wall clock, gate included. Raises ConfigError if the
    checkpoint knows a symbol already, DatasetError.
    """
    old = Recognizer.load(reference)
    known = [symbol for symbol in symbols if symbol in old.model.vocabulary]
    if known:
        raise ConfigError(f"{reference} knows {' '.join(known)} already; choose symbols that it lacks.")
    taught, unseen = parted(read_drawings(path, symbols), corrections, tested)
    if {drawing.label for drawing in taught} != set(symbols):
        raise DatasetError(f"{path}: holds no drawings of some of {' '.join(symbols)}.")
    with tempfile.TemporaryDirectory(prefix="hmer-newsymbols-") as working:
        folder = Path(working)
        _write(taught, folder / "taught")
        _write(unseen, folder / "unseen")
        began = time.perf_counter()
        result = fine_tune(
            reference, folder / "taught", folder / "new",
            force=True, regression_limit=regression_limit, threads=threads,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        assert result.folder is not None
        new = Recognizer.load(result.folder)
        items = read_dataset(folder / "unseen", new.config.label_form)
        right = Reader(items, Vocabulary(old.config.vocabulary)).read(new).right
        searched = evaluate(new, items, Decoding(strategy="beam")).right
    by_symbol = {
        symbol: float(np.mean([yes for yes, item in zip(right, items, strict=True) if item.tokens == (symbol,)]))
        for symbol in symbols
    }
    return {
        "checkpoint": old.id, "corrections": len(taught), "writers": len({one.writer for one in taught}),
        "n": len(items), "read": float(np.mean(right)), "read_interval": list(interval(np.asarray(right, float))),
        "read_by_symbol": by_symbol, "read_by_beam_search": float(np.mean(searched)),
        "read_by_beam_search_interval": list(interval(np.asarray(searched, float))),
        "seconds": seconds, "strength": result.strength, "gate": result.verdict.figures(),
    }  # fmt: skip


def _write(drawings: Sequence[Drawing], folder: Path) -> None:
    folder.mkdir()
    rows = []
    for index, drawing in enumerate(drawings):
        cv2.imwrite(str(folder / f"{index:04}.png"), draw(drawing.ink))
        rows.append((f"{index:04}.png", drawing.label, drawing.writer))
    write_labels(folder, rows, ("file", "latex", "writer"))
