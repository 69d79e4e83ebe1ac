"""What to compute with: half precision where a processor is made for it.

Processors with a matrix unit for bf16 (AMX) gain a factor of three in convolutions; others only emulate it.
"""

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch.nn import functional


def computes_bf16() -> bool:
    """Whether the processor has instructions for bf16, or torch would have to emulate it, which is many times slower."""
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return there and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def faster_precision() -> Literal["no", "bf16"]:
    """bf16 if a convolution like the encoder's is at least half as fast again with it on this machine, by trial."""
    if not computes_bf16():
        return "no"
    seconds = {}
    image = torch.randn(2, 128, 16, 64).contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(128, 128, 3, 3).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        for name, kind in (("no", torch.float32), ("bf16", torch.bfloat16)):
            x, weight = image.to(kind), kernel.to(kind)
            trials = []
            for _ in range(6):
                started = time.perf_counter()
                functional.conv2d(x, weight, padding=1)
                trials.append(time.perf_counter() - started)
            seconds[name] = min(trials)
    return "bf16" if seconds["bf16"] * 1.5 < seconds["no"] else "no"


precision = functools.cache(faster_precision)  # a trial, whose outcome may differ the next time


@contextmanager
def fastest() -> Iterator[None]:
    """Compute in bf16 on processor cores where this machine is faster with it; else as it is done around this."""
    if precision() != "bf16":
        yield
        return
    with torch.autocast("cpu", torch.bfloat16):
        yield
