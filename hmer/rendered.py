"""Whether two formulas look the same when typeset, though their tokens differ."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.mathtext import MathTextParser

from hmer import latex
from hmer.metrics import Tokens


def typeset(tokens: Tokens, dpi: int = 100) -> npt.NDArray[np.uint8] | None:
    """The formula as pixels, by matplotlib's own typesetting; None for what that does not know (matrices, say)."""
    text = latex.pretty(tokens)
    try:
        parsed = MathTextParser("agg").parse(f"${text}$", dpi=dpi)
    except (ValueError, RuntimeError, RecursionError):
        return None
    return np.asarray(parsed.image, np.uint8)


def rendered_match(truths: Sequence[Tokens], predictions: Sequence[Tokens]) -> float:
    """The share of predictions that look as their truth: all pixels equal.

    Where one of both cannot be typeset, the tokens must be equal.
    """
    same = 0
    for truth, prediction in zip(truths, predictions, strict=True):
        if list(truth) == list(prediction):
            same += 1
            continue
        one, other = typeset(truth), typeset(prediction)
        same += one is not None and other is not None and np.array_equal(one, other)
    return same / max(len(truths), 1)
