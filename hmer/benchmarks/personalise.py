"""How much better a person's writing is read after some corrections, and what that costs on everyone else's."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hmer import __version__
from hmer.benchmarks.journal import Journal
from hmer.bootstrap import interval
from hmer.config import check
from hmer.datasets.folder import Item, write_labels
from hmer.errors import DatasetError
from hmer.evaluation import evaluate
from hmer.finetune import fine_tune
from hmer.gate import Reader, Readings
from hmer.ink import draw, read_inkml
from hmer.metrics import align, token_edits
from hmer.recognizer import Recognizer

COUNTS = (0, 5, 10, 15)
FEWEST = 20  # formulas of a writer who takes part
TESTED_FROM = 15  # the formulas of a writer from this index on are what is read
Line = dict[str, float]
Answers = Sequence[tuple[Sequence[str], Sequence[str]]]  # truth and answer of each formula


def writers_of(items: Sequence[Item], count: int) -> dict[str, list[Item]]:
    """The first `count` (0: all) writers by name who have enough formulas, each with them in their order."""
    by_writer: dict[str, list[Item]] = {}
    for item in items:
        if item.writer:
            by_writer.setdefault(item.writer, []).append(item)
    chosen = sorted(writer for writer, own in by_writer.items() if len(own) >= FEWEST)[: count or None]
    return {writer: by_writer[writer] for writer in chosen}


def write_pictures(items: Sequence[Item], folder: Path) -> Path:
    """A dataset folder as the store exports it: pictures, ink drawn plainly, and no segmentation to learn from."""
    folder.mkdir(parents=True)
    rows = []
    for index, item in enumerate(items):
        ink = item.path.suffix.lower() == ".inkml"
        name = f"{index:04}.png" if ink else f"{index:04}{item.path.suffix.lower()}"
        if ink:
            cv2.imwrite(str(folder / name), draw(read_inkml(item.path)))
        else:
            (folder / name).write_bytes(item.path.read_bytes())
        rows.append((name, " ".join(item.tokens)))
    write_labels(folder, rows, ("file", "latex"))
    return folder


def personalise(
    reference: str,
    items: Sequence[Item],
    *,
    writers: int = 0,
    counts: Sequence[int] = COUNTS,
    ignore: Sequence[str] = (),
    regression_limit: int = 0,
    force: bool = False,
    threads: int = 0,
    journal: Path | None = None,
    report: Callable[[str, int, Line], None] | None = None,
) -> dict[str, Any]:
    """Fine-tune for each writer on the first formulas as a person would, and read those from the 16th on.

    Where the gate refuses a checkpoint, the old one stays in use and is what is measured; with `force` the refused
    one is. Keyed by the number of corrections, as text: token_error_rate_by_corrections and exprate_by_corrections
    over all formulas of the test parts, regression_by_corrections (ExpRate on the checkpoint's regression set, mean
    over writers), each with its bootstrap interval over writers under `intervals`. seconds_per_finetune: mean wall
    clock, cross-validation and gate included. foreseeable_by_corrections: sums of `foreseeable_edits`. `journal` keeps
    what each writer gave, and what is known there is not measured again. Raises DatasetError when no writer has enough
    formulas.
    """
    check(max(counts) <= TESTED_FROM, f"--counts: at most {TESTED_FROM}; the formulas after them are read.")
    chosen = writers_of(items, writers)
    if not chosen:
        raise DatasetError(f"No writer has {FEWEST} formulas; labels.tsv needs a column `writer`.")
    old = Recognizer.load(reference)

    def corrected(own: Sequence[Item], count: int, reader: Reader) -> Line:
        with tempfile.TemporaryDirectory(prefix="hmer-personalise-") as working:
            data = write_pictures(own[:count], Path(working) / "corrections")
            began = time.perf_counter()
            result = fine_tune(
                reference, data, Path(working) / "personal",
                threads=threads, regression_limit=regression_limit, force=force,
            )  # fmt: skip
            seconds = time.perf_counter() - began
            line = _line(reader.read(old if result.folder is None else Recognizer.load(result.folder)))
        line |= {"seconds": seconds, "accepted": float(result.verdict.accepted), "strength": result.strength}
        if result.verdict.regression is not None:
            regression = result.verdict.regression
            line["regression"] = (regression.before if result.folder is None else regression.after).exprate
            line["regression_before"] = regression.before.exprate
        return line

    def measured(writer: str, own: Sequence[Item], count: int) -> Line:
        reader = Reader(own[TESTED_FROM:], old.model.vocabulary, ignore=ignore)
        line = corrected(own, count, reader) if count else _line(reader.read(old))
        if report is not None:
            report(writer, count, line)
        return line

    # A writer's first formulas decide alone, so that other counts can be measured later, or were before.
    known = Journal(journal, [__version__, old.id, list(ignore), regression_limit, force])
    rows: dict[int, list[Line]] = {count: [] for count in sorted(set(counts))}
    for writer, own in chosen.items():
        labels = [item.tokens for item in own]
        for count in rows:  # 0 first, if at all
            line = known.once([writer, labels, count], partial(measured, writer, own, count))
            rows[count].append(line)
            if "regression_before" in line and 0 in rows:
                rows[0][-1]["regression"] = line["regression_before"]
    figures = _figures(old.id, list(chosen), rows)
    figures["foreseeable_by_corrections"] = _foreseeable(old, list(chosen.values()), counts, ignore)
    return figures


def _foreseeable(
    old: Recognizer, writers: Sequence[Sequence[Item]], counts: Sequence[int], ignore: Sequence[str]
) -> dict[str, dict[str, int]]:
    """For each number of corrections, the sums of `foreseeable_edits` over the writers."""
    sums = {count: Counter[str]() for count in counts if count}
    for own in writers:
        read = evaluate(old, own, ignore=ignore)
        paths = [item.path for item in (*read.items, *read.unread)]
        pairs = dict(zip(paths, zip(read.truths, read.predictions, strict=True), strict=True))
        answers = [pairs[item.path] for item in own]
        for count, total in sums.items():
            total.update(foreseeable_edits(answers[:count], answers[TESTED_FROM:]))
    return {str(count): dict(total) for count, total in sums.items()}


def foreseeable_edits(first: Answers, later: Answers) -> dict[str, int]:
    """How much of what goes wrong later the first formulas could teach, whatever learns from them.

    edits: between truths and answers. replaced: one token by another. Of these, written: the right token occurs in the
    first formulas; misread: there it was misread, or put for another, at least once; repeated: there it was read as
    the very same wrong one.
    """
    written = {token for truth, _ in first for token in truth}
    pairs = set(_replaced(first))
    misread = {token for pair in pairs for token in pair}
    wrong = _replaced(later)
    return {
        "edits": sum(token_edits(truth, answer) for truth, answer in later),
        "replaced": len(wrong),
        "written": sum(right in written for right, _ in wrong),
        "misread": sum(right in misread for right, _ in wrong),
        "repeated": sum(pair in pairs for pair in wrong),
    }


def _replaced(answers: Answers) -> list[tuple[str, str]]:
    """Right tokens beside the wrong ones that were read in their place."""
    aligned = [pair for truth, answer in answers for pair in align(truth, answer)]
    return [pair for pair in aligned if all(pair) and pair[0] != pair[1]]


def _line(readings: Readings) -> Line:
    return {
        "edits": sum(edit or 0 for edit in readings.edits), "tokens": sum(readings.tokens),
        "right": sum(readings.right), "n": len(readings),
    }  # fmt: skip


def _ratio(top: str, bottom: str, lines: Sequence[Line]) -> tuple[float, list[float]]:
    """Sum over sum, and its interval over writers."""
    values = np.array([[line[top], line[bottom]] for line in lines])
    low, high = interval(values, lambda drawn: float(drawn[:, 0].sum() / drawn[:, 1].sum()))
    return float(values[:, 0].sum() / values[:, 1].sum()), [low, high]


def _figures(checkpoint: str, writers: list[str], rows: dict[int, list[Line]]) -> dict[str, Any]:
    figures: dict[str, Any] = {"checkpoint": checkpoint, "writers": len(writers), "intervals": {}}
    for name, top, bottom in (
        ("token_error_rate_by_corrections", "edits", "tokens"),
        ("exprate_by_corrections", "right", "n"),
    ):
        ratios = {str(count): _ratio(top, bottom, lines) for count, lines in rows.items()}
        figures[name] = {count: value for count, (value, _) in ratios.items()}
        figures["intervals"][name] = {count: bounds for count, (_, bounds) in ratios.items()}
    regression = _column(rows, "regression")
    figures["regression_by_corrections"] = {count: float(np.mean(own)) for count, own in regression.items()}
    figures["intervals"]["regression_by_corrections"] = {
        count: list(interval(own)) for count, own in regression.items()
    }
    seconds = _column(rows, "seconds")
    figures["seconds_per_finetune"] = float(np.mean([value for own in seconds.values() for value in own]))
    figures["seconds_by_corrections"] = {count: float(np.mean(own)) for count, own in seconds.items()}
    figures["accepted_by_corrections"] = {count: int(sum(own)) for count, own in _column(rows, "accepted").items()}
    # The same writers before and after: how far the token error rate fell, and for how many it rose.
    base = rows[min(rows)]
    figures["fall_by_corrections"] = {str(count): _fall(base, lines) for count, lines in rows.items()}
    return figures


def _column(rows: dict[int, list[Line]], name: str) -> dict[str, list[float]]:
    found = {str(count): [line[name] for line in lines if name in line] for count, lines in rows.items()}
    return {count: own for count, own in found.items() if own}


def _fall(before: Sequence[Line], after: Sequence[Line]) -> dict[str, Any]:
    """Of the token error rate: the mean over writers, and relative over all formulas, with intervals over writers."""
    falls = [
        then["edits"] / then["tokens"] - now["edits"] / now["tokens"] for then, now in zip(before, after, strict=True)
    ]
    pairs = np.array([[then["edits"], now["edits"]] for then, now in zip(before, after, strict=True)], float)

    def relative(drawn: np.ndarray[Any, np.dtype[np.float64]]) -> float:
        return float(1 - drawn[:, 1].sum() / max(drawn[:, 0].sum(), 1))

    return {
        "mean": float(np.mean(falls)), "interval": list(interval(falls)),
        "relative": relative(pairs), "relative_interval": list(interval(pairs, relative)),
        "worse": sum(fall < 0 for fall in falls),
    }  # fmt: skip
