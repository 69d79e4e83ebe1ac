"""How long one formula takes, what loading costs, and how that compares with other networks."""

import itertools
import math
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from hmer.config import Decoding
from hmer.datasets.folder import Item
from hmer.image import Grey, pad
from hmer.precision import fastest, precision
from hmer.recognizer import Recognizer, whole_picture

SIDE_PX = 32  # what the others' pictures are padded to a multiple of
BATCH = 16
TURN = 10  # formulas that a network reads before the next has its turn


def speed(
    recognizer: Recognizer, items: Sequence[Item], decoding: Decoding, *, threads: Sequence[int] = (1,)
) -> dict[str, Any]:
    """Milliseconds a formula from file to LaTeX: one after the other and in batches, greedy and by beam search."""
    lines: list[dict[str, Any]] = []
    ways = (replace(decoding, strategy="greedy"), replace(decoding, strategy="beam"))
    for count, way, batch in itertools.product(threads, ways, (1, BATCH)):
        torch.set_num_threads(count)
        times = _timed(items, batch, partial(_read, recognizer, way))
        lines.append({"threads": count, "strategy": way.strategy, "batch": batch} | _summary(times))
    return {
        "checkpoint": recognizer.id,
        "n": len(items),
        "formulas": lines,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _read(recognizer: Recognizer, settings: Decoding, paths: Sequence[Any]) -> None:
    recognizer.recognize(paths, settings)


def _timed(items: Sequence[Item], batch: int, read: Callable[[list[Any]], Any]) -> list[float]:
    """Milliseconds a formula, for each batch; the first is read twice, to warm up."""
    paths = [item.path for item in items]
    read(list(paths[:batch]))
    times = []
    for start in range(0, len(paths), batch):
        part = list(paths[start : start + batch])
        begin = time.perf_counter()
        read(part)
        times.append((time.perf_counter() - begin) * 1000 / len(part))
    return times


def _summary(milliseconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(milliseconds)
    mean = statistics.fmean(ordered)
    return {
        "mean_ms": mean,
        "median_ms": statistics.median(ordered),
        "p95_ms": ordered[math.ceil(0.95 * len(ordered)) - 1],
    }


@torch.inference_mode()
def compare(recognizer: Recognizer, items: Sequence[Item], *, threads: Sequence[int] = (1,)) -> list[dict[str, Any]]:
    """Our network and others' (random weights) on the same pictures, forced to the same number of tokens.

    Each sees a picture at the size that it takes: ours scaled by its writing, the others' as it is, up to the
    672 x 192 px that pix2tex takes. Reading the file is left out. Ours encodes in bf16 where this machine is faster
    with it (`hmer.precision`); then the others are timed that way, too.
    """
    from hmer.benchmarks.networks import NETWORKS

    networks = {name: network().eval() for name, network in NETWORKS.items()}
    counts = [len(item.tokens) + 1 for item in items]
    ours = [recognizer.read(item.path) for item in items]
    whole = [_fitted(whole_picture(item.path)) for item in items]

    def forced(index: int) -> None:
        encoded = recognizer.encode([ours[index]])
        step, state, ids = recognizer.model.start(encoded, 1)
        for _ in range(counts[index]):
            scores, state = step(ids, state)
            ids = scores.argmax(-1)

    runs: dict[str, Callable[[int], Any]] = {"hmer": forced}
    for name, network in networks.items():
        for cached in (False, True):
            title = f"{name}, cached" if cached else name
            runs[title] = partial(_others, network, whole, counts, cached=cached)
        if precision() == "bf16":
            runs[f"{name}, bf16"] = fastest()(partial(_others, network, whole, counts, cached=False))
            runs[f"{name}, cached, bf16"] = fastest()(partial(_others, network, whole, counts, cached=True))
    lines = []
    for count in threads:
        torch.set_num_threads(count)
        times: dict[str, list[float]] = {name: [] for name in runs}
        # In turn, so that whatever else the machine does falls on all alike; some at a time, with one to warm up, since
        # nobody runs one network in the caches of another.
        for first in range(0, len(items), TURN):
            for name, run in runs.items():
                run(first)
                for index in range(first, min(first + TURN, len(items))):
                    begin = time.perf_counter()
                    run(index)
                    times[name].append((time.perf_counter() - begin) * 1000)
        for name, milliseconds in times.items():
            ratio = statistics.median(theirs / mine for theirs, mine in zip(milliseconds, times["hmer"], strict=True))
            lines.append({"network": name, "threads": count, "times_hmer": ratio} | _summary(milliseconds))
    return lines


def _others(
    network: torch.nn.Module, pictures: Sequence[torch.Tensor], counts: Sequence[int], index: int, *, cached: bool
) -> None:
    network(pictures[index], counts[index], cached=cached)


def _fitted(picture: Grey) -> torch.Tensor:
    """A picture as pix2tex takes it: at most 672 x 192 px, padded to multiples of 32: (1, 1, H, W)."""
    import cv2
    import numpy as np

    height, width = picture.shape
    scale = min(1.0, 672 / width, 192 / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    smaller = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    tall, wide = (-(-side // SIDE_PX) * SIDE_PX for side in smaller.shape)
    return pad([smaller], tall, wide)[0]
