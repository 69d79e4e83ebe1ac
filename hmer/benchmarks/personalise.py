"""How much better a person's writing is read after some corrections, and what that costs on everyone else's."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmer import checkpoint as checkpoints
from hmer.benchmarks.bootstrap import interval
from hmer.datasets.folder import Item, read_dataset, sample
from hmer.errors import DatasetError
from hmer.finetune import REGRESSION, learn
from hmer.metrics import token_edits, without
from hmer.recognizer import Recognizer
from hmer.trainer import evaluate

COUNTS = (0, 5, 10, 15)
FEWEST = 20  # formulas of a writer who takes part


def writers_of(items: Sequence[Item], count: int) -> dict[str, list[Item]]:
    """The first `count` (0: all) writers by name who have enough formulas, each with them in their order."""
    by_writer: dict[str, list[Item]] = {}
    for item in items:
        if item.writer:
            by_writer.setdefault(item.writer, []).append(item)
    chosen = sorted(writer for writer, own in by_writer.items() if len(own) >= FEWEST)[: count or None]
    return {writer: by_writer[writer] for writer in chosen}


def personalise(
    reference: str,
    items: Sequence[Item],
    *,
    writers: int = 0,
    counts: Sequence[int] = COUNTS,
    ignore: Sequence[str] = (),
    regression_limit: int = 0,
    threads: int = 0,
    report: Callable[[str, int, dict[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Fine-tune for each writer on the first formulas, and read those from the 16th on.

    Keyed by the number of corrections, as text: token_error_rate_by_corrections and exprate_by_corrections over all
    formulas of the test parts, regression_by_corrections (ExpRate on the checkpoint's regression set, mean over
    writers), each with its bootstrap interval over writers under `intervals`; seconds_per_finetune.
    Raises DatasetError when no writer has enough formulas.
    """
    chosen = writers_of(items, writers)
    if not chosen:
        raise DatasetError(f"No writer has {FEWEST} formulas; labels.tsv needs a column `writer`.")
    parent = checkpoints.resolve(reference)
    old = Recognizer.load(reference)
    regression: list[Item] = []
    if (parent / REGRESSION).is_dir():
        regression = sample(read_dataset(parent / REGRESSION, old.config.label_form), regression_limit)
    before = evaluate(old, regression, ignore=ignore).scores.exprate if regression else None
    start = max(counts)
    rows: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
    for writer, own in chosen.items():
        for count in counts:
            line: dict[str, float] = {}
            recognizer = old
            with tempfile.TemporaryDirectory(prefix="hmer-personalise-") as working:
                if count:
                    began = time.perf_counter()
                    learn(reference, own[:count], Path(working) / "personal", threads=threads)
                    line["seconds"] = time.perf_counter() - began
                    recognizer = Recognizer.load(Path(working) / "personal")
            line |= _errors(recognizer, own[start:], ignore)
            if before is not None:
                scores = evaluate(recognizer, regression, ignore=ignore).scores if count else None
                line["regression"] = scores.exprate if scores is not None else before
            rows[count].append(line)
            if report is not None:
                report(writer, count, line)
    return _figures(old.id, list(chosen), rows)


def _errors(recognizer: Recognizer, items: Sequence[Item], ignore: Sequence[str]) -> dict[str, float]:
    evaluation = evaluate(recognizer, items, ignore=ignore)
    pairs = [
        (item.tokens, answer.tokens) for item, answer in zip(evaluation.items, evaluation.recognitions, strict=True)
    ]
    pairs += [(item.tokens, ()) for item in evaluation.unread]
    kept = [(without(truth, ignore), without(read, ignore)) for truth, read in pairs]
    edits = [token_edits(truth, read) for truth, read in kept]
    return {
        "edits": sum(edits), "tokens": sum(len(truth) for truth, _ in kept),
        "right": sum(edit == 0 for edit in edits), "n": len(edits),
    }  # fmt: skip


def _ratio(top: str, bottom: str, lines: Sequence[dict[str, float]]) -> tuple[float, list[float]]:
    """Sum over sum, and its interval over writers."""
    values = np.array([[line[top], line[bottom]] for line in lines])
    low, high = interval(values, lambda drawn: float(drawn[:, 0].sum() / drawn[:, 1].sum()))
    return float(values[:, 0].sum() / values[:, 1].sum()), [low, high]


def _figures(checkpoint: str, writers: list[str], rows: dict[int, list[dict[str, float]]]) -> dict[str, Any]:
    figures: dict[str, Any] = {"checkpoint": checkpoint, "writers": len(writers), "intervals": {}}
    for name, top, bottom in (
        ("token_error_rate_by_corrections", "edits", "tokens"),
        ("exprate_by_corrections", "right", "n"),
    ):
        ratios = {str(count): _ratio(top, bottom, lines) for count, lines in rows.items()}
        figures[name] = {count: value for count, (value, _) in ratios.items()}
        figures["intervals"][name] = {count: bounds for count, (_, bounds) in ratios.items()}
    regression = {
        str(count): [line["regression"] for line in lines if "regression" in line] for count, lines in rows.items()
    }
    figures["regression_by_corrections"] = {count: float(np.mean(own)) for count, own in regression.items() if own}
    figures["intervals"]["regression_by_corrections"] = {
        count: list(interval(own)) for count, own in regression.items() if own
    }
    seconds = {str(count): [line["seconds"] for line in lines if "seconds" in line] for count, lines in rows.items()}
    figures["seconds_per_finetune"] = {count: float(np.mean(own)) for count, own in seconds.items() if own}
    # The same writers before and after: how far each one's token error rate fell, and for how many it rose.
    base = [line["edits"] / line["tokens"] for line in rows[min(rows)]]
    figures["fall_by_corrections"] = {}
    for count, lines in rows.items():
        falls = [then - line["edits"] / line["tokens"] for then, line in zip(base, lines, strict=True)]
        figures["fall_by_corrections"][str(count)] = {
            "mean": float(np.mean(falls)), "interval": list(interval(falls)), "worse": sum(fall < 0 for fall in falls)
        }  # fmt: skip
    return figures
