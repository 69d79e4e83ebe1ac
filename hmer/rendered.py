"""Whether two formulas look the same when typeset, though their tokens differ."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.mathtext import MathTextParser

from hmer import latex, tex
from hmer.dvi import Piece
from hmer.image import Grey
from hmer.metrics import Tokens

_DARK = 128
SAME_UP_TO = 0.01  # share of the dark pixels that may differ
ALIKE_PT = 0.6  # less than a pixel at 100 dpi


def typeset(tokens: Tokens, dpi: int = 100) -> npt.NDArray[np.uint8] | None:
    """The formula as pixels, by matplotlib's own typesetting; None for what that does not know (matrices, say)."""
    text = latex.pretty(tokens)
    try:
        parsed = MathTextParser("agg").parse(f"${text}$", dpi=dpi)
    except (ValueError, RuntimeError, RecursionError):
        return None
    return np.asarray(parsed.image, np.uint8)


def typeset_all(formulas: Sequence[Tokens]) -> list[npt.NDArray[np.uint8] | None]:
    """Each formula as pixels, None for what cannot be typeset: by TeX where it is installed, else by matplotlib."""
    if not tex.is_installed():
        return [typeset(tokens) for tokens in formulas]
    pictures = tex.typeset([tex.Job(" ".join(tokens)) for tokens in formulas])
    return [None if isinstance(picture, tex.Failure) else picture for picture in pictures]


def rendered_match(truths: Sequence[Tokens], predictions: Sequence[Tokens]) -> float:
    """The share of predictions that look as their truth: all pixels equal, cropped to the ink.

    Where one of both cannot be typeset, the tokens must be equal.
    """
    different = [
        (list(truth), list(prediction))
        for truth, prediction in zip(truths, predictions, strict=True)
        if list(truth) != list(prediction)
    ]
    pictures = typeset_all([formula for pair in different for formula in pair])
    same = len(truths) - len(different)
    for one, other in zip(pictures[::2], pictures[1::2], strict=True):
        same += one is not None and other is not None and np.array_equal(one, other)
    return same / max(len(truths), 1)


def difference(one: Grey, other: Grey, shift_px: int = 2) -> float:
    """The share of dark pixels, of the picture that has more, that differ after the best shift; 1.0 if more differ.

    Both (H, W) uint8, cropped, dark on white; a pixel is dark below 128.
    """
    height = max(one.shape[0], other.shape[0]) + 2 * shift_px
    width = max(one.shape[1], other.shape[1]) + 2 * shift_px
    fixed = _placed(one < _DARK, height, width, shift_px, shift_px)
    dark = max(int(np.count_nonzero(one < _DARK)), int(np.count_nonzero(other < _DARK)), 1)
    fewest = dark
    for down in range(2 * shift_px + 1):
        for right in range(2 * shift_px + 1):
            moved = _placed(other < _DARK, height, width, down, right)
            fewest = min(fewest, int(np.count_nonzero(fixed != moved)))
            if not fewest:
                return 0.0
    return fewest / dark


def _placed(dark: npt.NDArray[np.bool_], height: int, width: int, down: int, right: int) -> npt.NDArray[np.bool_]:
    canvas = np.zeros((height, width), np.bool_)
    canvas[down : down + dark.shape[0], right : right + dark.shape[1]] = dark
    return canvas


def looks_the_same(one: Grey, other: Grey) -> bool:
    """Whether at most 1 % of the dark pixels differ after the best shift by up to 2 px."""
    return difference(one, other) <= SAME_UP_TO


def set_alike(one: Sequence[Piece], other: Sequence[Piece]) -> bool:
    """Whether TeX put the same glyphs in the same places, within ALIKE_PT of where they stand from the first of them.

    Pixels can differ all the same: where something stands in a box of its own, its place is rounded otherwise.
    """
    parts = [sorted(pieces, key=lambda piece: (piece.what, piece.left, piece.baseline)) for pieces in (one, other)]
    if not one or [piece.what for piece in parts[0]] != [piece.what for piece in parts[1]]:
        return False
    places = (
        np.array([[(piece.left, piece.baseline) for piece in pieces] for pieces in parts]) * 72.27
    )  # points an inch
    places -= places.min(axis=1, keepdims=True)
    return bool(np.abs(places[0] - places[1]).max() <= ALIKE_PT)
