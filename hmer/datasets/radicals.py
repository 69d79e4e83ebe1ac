"""Radical signs in other boxes: the bar grows with what stands under it, the hook before it does not."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hmer.ink import Stroke, bounds

Box = tuple[float, float, float, float]  # left, top, right, bottom


def bar_start(strokes: Sequence[Stroke]) -> float | None:
    """Where the bar of a radical sign begins, from its left edge on; None where the strokes look like no such sign."""
    left, top, right, bottom = bounds(strokes)
    points = np.concatenate([_dense(stroke) for stroke in strokes])
    high = bottom - top
    # The upstroke comes into the highest fifth a little before the bar begins.
    start = float(points[points[:, 1] <= top + 0.2 * high][:, 0].min()) - left + 0.1 * high
    return start if 0.02 * (right - left) < start < 0.9 * (right - left) else None


def radical(strokes: Sequence[Stroke], hook: float, box: Box) -> list[Stroke] | None:
    """A radical sign that fills the box, its bar beginning `hook` behind the left edge; None as `bar_start`."""
    start = bar_start(strokes)
    left, top, right, bottom = bounds(strokes)
    new_left, new_top, new_right, new_bottom = box
    if start is None or not 0 < hook < new_right - new_left:
        return None
    x_from, x_to = np.array([0.0, start, right - left]), np.array([0.0, hook, new_right - new_left])
    high = (new_bottom - new_top) / max(bottom - top, 1e-6)
    return [
        np.stack(
            [np.interp(stroke[:, 0] - left, x_from, x_to) + new_left, (stroke[:, 1] - top) * high + new_top], axis=1
        ).astype(np.float32)
        for stroke in strokes
    ]


def _dense(stroke: Stroke) -> npt.NDArray[np.float64]:
    """The points of a stroke and eight between every two."""
    if len(stroke) < 2:
        return np.asarray(stroke, np.float64)
    steps = np.linspace(0, 1, 9)[:, None, None]
    return np.asarray(stroke[:-1] + (stroke[1:] - stroke[:-1]) * steps, np.float64).reshape(-1, 2)
