"""Intervals by resampling (Efron 1979): how far a mean could be off by the choice of the items."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

DRAWS = 4_000


def interval(
    values: Sequence[float] | Values,
    statistic: Callable[[Values], float] = lambda drawn: float(drawn.mean()),
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[float, float]:
    """The middle 95 % of a statistic over samples with replacement; for paired figures give the differences.

    `values` has one entry, or one row, for each item. (nan, nan) without items.
    """
    items = np.asarray(values, np.float64)
    if not len(items):
        return float("nan"), float("nan")
    random = np.random.default_rng(seed)
    drawn = [statistic(items[random.integers(len(items), size=len(items))]) for _ in range(draws)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)
