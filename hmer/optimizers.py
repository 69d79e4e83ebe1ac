"""Optimisers that torch does not have in the form that our models need."""

import math
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor

from hmer.precision import computes_bf16

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of the quintic iteration; Jordan et al. 2024
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal for the groups marked `orthogonal` (matrices and kernels), AdamW for the others.

    Every direction of a weight then moves alike, however small its gradient. Updates are scaled to the size of
    AdamW's, so that rates and weight decay mean the same for all groups. torch.optim.Muon takes no kernels.
    Sources: Jordan et al. 2024 (Muon); Liu et al. 2025, "Muon is scalable for LLM training" (the scale).
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.98),
    ) -> None:
        super().__init__(
            groups, {"lr": lr, "momentum": momentum, "betas": betas, "weight_decay": 0.0, "orthogonal": False}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            update = self._orthogonal if group["orthogonal"] else self._adam
            for parameter in group["params"]:
                if parameter.grad is not None:
                    change = update(parameter, group)
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(change, alpha=-group["lr"])

    def _orthogonal(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        state, gradient = self.state[parameter], cast(Tensor, parameter.grad)
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(gradient, 1 - group["momentum"])
        ahead = torch.lerp(gradient, state["momentum"], group["momentum"])
        rows = ahead.flatten(1)
        return orthogonalised(rows).mul_(0.2 * math.sqrt(max(rows.shape))).view_as(parameter)

    def _adam(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        state, gradient = self.state[parameter], cast(Tensor, parameter.grad)
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        first, second = group["betas"]
        count = float(state["step"])
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        scale = (state["square"] / (1 - second**count)).sqrt_().add_(1e-8)
        change: Tensor = state["mean"] / (1 - first**count) / scale
        return change


def orthogonalised(matrix: Tensor) -> Tensor:
    """The nearest matrix with all singular values about one (between 0.7 and 1.2), by Newton and Schulz: the same shape."""
    a, b, c = NEWTON_SCHULZ
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    x: Tensor = wide / (wide.norm() + 1e-7)
    if x.is_cuda or computes_bf16():
        x = x.bfloat16()  # exact enough
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x if wide is matrix else x.T).to(matrix.dtype)
