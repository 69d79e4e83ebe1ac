"""How long one formula takes, and what loading costs."""

import resource
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hmer.config import Decoding
from hmer.datasets.folder import Item
from hmer.recognizer import Recognizer


def speed(recognizer: Recognizer, items: Sequence[Item], decoding: Decoding, *, threads: int) -> dict[str, Any]:
    """Milliseconds a formula, one after the other, from file to LaTeX; the first is read twice, to warm up."""
    torch.set_num_threads(threads)
    recognizer.recognize([items[0].path], decoding)
    milliseconds = [_timed(recognizer, item.path, decoding) for item in items]
    return {
        "checkpoint": recognizer.id,
        "n": len(items),
        "threads": threads,
        "strategy": decoding.strategy,
        "median_ms": statistics.median(milliseconds),
        "p95_ms": sorted(milliseconds)[int(0.95 * (len(milliseconds) - 1))],
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _timed(recognizer: Recognizer, path: Path, decoding: Decoding) -> float:
    begin = time.perf_counter()
    recognizer.recognize([path], decoding)
    return (time.perf_counter() - begin) * 1000
