"""Radical signs in other boxes."""

import numpy as np
import pytest

from hmer.datasets.layout import Hand
from hmer.datasets.radicals import bar_start, radical
from hmer.ink import bounds

SIGN = (np.array([(0, 6), (1, 5), (3, 10), (5, 0), (12, 0)], np.float32),)


def test_the_bar_grows_and_the_hook_does_not() -> None:
    assert bar_start(SIGN) == pytest.approx(5.6, abs=0.2)
    wide = radical(SIGN, 3.0, (10.0, 20.0, 60.0, 30.0))
    assert wide is not None
    assert bounds(wide) == pytest.approx((10.0, 20.0, 60.0, 30.0))
    assert bar_start(wide) == pytest.approx(3.0, abs=1.0)
    assert wide[0][3, 0] < 10 + 3.0  # the corner
    assert bar_start((np.array([(0, 0), (9, 0)], np.float32),)) is None  # a mere bar
    assert radical(SIGN, 60.0, (0.0, 0.0, 50.0, 10.0)) is None


def test_what_stands_under_a_written_root_is_right_of_its_hook() -> None:
    square = (np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)], np.float32),)
    tokens = [r"\sqrt", "{", *"abcdef", "}"]
    for seed in range(10):
        box = Hand(lambda token: SIGN if token == r"\sqrt" else square, np.random.default_rng(seed)).write(tokens)
        placed = dict(box.placed)
        start = bar_start(placed[0])
        assert start is not None
        first = min(float(stroke[:, 0].min()) for place, strokes in box.placed if place for stroke in strokes)
        assert first > bounds(placed[0])[0] + start - 0.35
