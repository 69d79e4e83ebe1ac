"""Training in several processes: one gradient, one clock, and every validation item read once.

`accelerate launch` starts the processes. Each draws its own samples; the gradient is that of one process with all
of them, because every term of the loss is divided by its count over all processes. Statistics of batch normalisation
stay those of each process' own part.
"""

from collections.abc import Sequence
from typing import Literal, TypeVar

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object
from torch import Tensor

from hmer.config import TrainConfig, check
from hmer.models.base import TERMS, Loss
from hmer.precision import faster_precision

ItemT = TypeVar("ItemT")


class Processes:
    """The processes that train together; a single one costs nothing."""

    def __init__(self, config: TrainConfig) -> None:
        # A head that is trained only where ink is segmented gets no gradient from other batches.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        # Left to itself, accelerate joins processes of processor cores to nothing: each would be the first of one.
        cores = config.device == "cpu" or not (torch.cuda.is_available() or torch.backends.mps.is_available())
        precision = chosen_precision(config, cores=cores)
        # Accelerate keeps one precision a process; an earlier run in this one may have had another.
        AcceleratorState._reset_state()
        self.accelerator = Accelerator(mixed_precision=precision, cpu=cores, kwargs_handlers=[unused])

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.accelerator.num_processes)

    @property
    def index(self) -> int:
        """The number of this one, from 0."""
        return int(self.accelerator.process_index)

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.index == 0

    def sums(self, *values: float) -> list[float]:
        """Each value summed over the processes."""
        if self.count == 1:
            return list(values)
        given = torch.tensor(values, dtype=torch.float32, device=self.accelerator.device)
        return [float(value) for value in self.accelerator.reduce(given, "sum")]

    def balanced(self, loss: Loss) -> Tensor:
        """What to call `backward` on, so that the averaged gradients are those of all samples in one batch."""
        if self.count == 1:
            return loss.total
        absent = loss.total.new_zeros(())
        own = [loss.terms[name].count.to(absent) if name in loss.terms else absent for name in TERMS]
        counts = dict(zip(TERMS, self.accelerator.reduce(torch.stack(own), "sum"), strict=True))
        parts = [term.sum * term.weight / counts[name].clamp(min=1) for name, term in loss.terms.items()]
        return torch.stack(parts).sum() * self.count

    def share(self, items: Sequence[ItemT]) -> Sequence[ItemT]:
        """The part of the items that this process reads; every item is in one part."""
        return items[self.index :: self.count]

    def gathered(self, value: ItemT) -> list[ItemT]:
        """The value of every process, in their order, on every process."""
        return [value] if self.count == 1 else list(gather_object([value]))


def chosen_precision(config: TrainConfig, *, cores: bool) -> Literal["no", "bf16", "fp16"]:
    """What to compute with, on processor cores or not. Raises ConfigError for fp16 on cores, which cannot scale its loss."""
    check(
        config.mixed_precision != "fp16" or not cores,
        "TrainConfig.mixed_precision: fp16 needs a GPU; on processor cores choose bf16, auto or no.",
    )
    if config.mixed_precision != "auto":
        return config.mixed_precision
    if cores:
        return faster_precision()
    there = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if there else "no"
