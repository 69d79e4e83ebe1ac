r"""What a condition (zoom, pen, paper, photograph) costs, on the same formulas as without it."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hmer.bootstrap import interval
from hmer.conditions import CONDITIONS, PICTURE_CONDITIONS, Pixels
from hmer.config import Decoding, check
from hmer.datasets.folder import Item
from hmer.errors import HmerError
from hmer.image import read_image
from hmer.ink import Ink, Symbol, draw, read_inkml
from hmer.metrics import without
from hmer.recognizer import Recognizer

# A condition fails when the interval of its loss of ExpRate lies wholly above this.
BOUND = 0.03
BOUNDS = {"ruled-paper": 0.05, "squared-paper": 0.05, "phone-photo": 0.05, "jpeg-30": 0.05}

# Classes that nobody can tell apart without their neighbours; any of a line counts as right for the others.
ALIKE = (
    "0 o O", "1 | l I", "c C (", "s S", "v V", "w W", "x X \\times", "z Z", "p P", "k K", "u U", "y Y", "m M",
    "- \\frac", ". \\cdot", ", \\prime", "9 q",
)  # fmt: skip


def robustness(
    recognizer: Recognizer,
    items: Sequence[Item],
    decoding: Decoding | None = None,
    *,
    ignore: Sequence[str] = (),
    conditions: Sequence[str] = (),
    seed: int = 0,
    report: Callable[[str, dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """For every condition (none named: all) n, exprate, loss against `plain` with its interval, and whether it passed.

    Ink is drawn anew under each condition, pictures are changed; items are all of one kind. A picture that is refused counts
    as read wrongly.
    """
    draw_as = _ways(items)
    unknown = [name for name in conditions if name not in draw_as]
    check(not unknown, f"{', '.join(unknown)}: no condition of such items; known are {', '.join(draw_as)}.")
    truths = [without(item.tokens, ignore) for item in items]
    right: dict[str, list[bool]] = {}
    results: dict[str, Any] = {}
    for name in ("plain", *(name for name in conditions or draw_as if name != "plain")):
        random = np.random.default_rng(seed)
        pictures = [draw_as[name](place, random) for place in range(len(items))]
        answers = read_all(recognizer, pictures, decoding)
        right[name] = [without(answer, ignore) == truth for answer, truth in zip(answers, truths, strict=True)]
        losses = [float(plain) - float(here) for plain, here in zip(right["plain"], right[name], strict=True)]
        low, high = interval(losses)
        bound = BOUNDS.get(name, BOUND)
        results[name] = {
            "n": len(items), "exprate": float(np.mean(right[name])), "loss": float(np.mean(losses)),
            "loss_interval": [low, high], "bound": bound, "passed": low <= bound,
        }  # fmt: skip
        if report is not None:
            report(name, results[name])
    return results


def _ways(items: Sequence[Item]) -> dict[str, Callable[[int, np.random.Generator], Pixels]]:
    """By condition: from the place of an item and a random generator to its picture."""
    if all(item.path.suffix.lower() == ".inkml" for item in items):
        inks = [read_inkml(item.path) for item in items]
        return {
            name: functools.partial(lambda way, place, random: way(inks[place], random), way)
            for name, way in CONDITIONS.items()
        }
    greys = [read_image(item.path) for item in items]
    return {
        name: functools.partial(lambda way, place, random: way(greys[place], random), way)
        for name, way in PICTURE_CONDITIONS.items()
    }


def read_all(recognizer: Recognizer, pictures: Sequence[Pixels], decoding: Decoding | None) -> list[tuple[str, ...]]:
    """The tokens read from each picture; none from one that is refused."""
    prepared, places = [], []
    for place, picture in enumerate(pictures):
        try:
            prepared.append(recognizer.read(picture))
            places.append(place)
        except HmerError:
            continue
    answers: list[tuple[str, ...]] = [()] * len(pictures)
    for place, answer in zip(places, recognizer.recognize_prepared(prepared, decoding), strict=True):
        answers[place] = answer.tokens
    return answers


def alike(truth: str, read: str) -> bool:
    """Whether one symbol, alone, may be read as the other."""
    return truth == read or any({truth, read} <= set(line.split()) for line in ALIKE)


def cut_symbols(inks: Sequence[Ink], count: int, seed: int = 0) -> list[tuple[tuple[str, ...], Ink]]:
    """`count` single symbols and pairs of neighbours from segmented ink, half each: labels, and their strokes.

    Neighbours are symbols that follow each other, on one line and of like height, so that no script is among them.
    """
    random = np.random.default_rng(seed)
    singles = [((symbol.label,), _part(ink, [symbol])) for ink in inks for symbol in ink.symbols]
    pairs = [
        ((one.label, other.label), _part(ink, [one, other]))
        for ink in inks
        for one, other in zip(ink.symbols, ink.symbols[1:], strict=False)
        if _side_by_side(ink, one, other)
    ]
    chosen = []
    for cuts, share in ((singles, count - count // 2), (pairs, count // 2)):
        order = random.permutation(len(cuts))[:share]
        chosen += [cuts[index] for index in order]
    return chosen


def symbols_right(recognizer: Recognizer, cuts: Sequence[tuple[tuple[str, ...], Ink]]) -> dict[str, Any]:
    """Share of cut symbols and pairs that are read right, classes that are alike taken as one.

    Empty for ink that does not say which strokes form which symbol.
    """
    answers = read_all(recognizer, [draw(ink) for _, ink in cuts], None)
    right = [
        len(answer) == len(labels) and all(map(alike, labels, answer))
        for (labels, _), answer in zip(cuts, answers, strict=True)
    ]
    figures: dict[str, Any] = {}
    for name, length in (("single_symbols", 1), ("pairs", 2)):
        part = [float(good) for good, (labels, _) in zip(right, cuts, strict=True) if len(labels) == length]
        if part:
            figures[name] = {"n": len(part), "right": float(np.mean(part)), "interval": list(interval(part))}
    return figures


def _part(ink: Ink, symbols: Sequence[Symbol]) -> Ink:
    return Ink(tuple(ink.strokes[index] for symbol in symbols for index in symbol.strokes))


def _box(ink: Ink, symbol: Symbol) -> tuple[float, float, float, float]:
    points = np.concatenate([ink.strokes[index] for index in symbol.strokes])
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def _side_by_side(ink: Ink, one: Symbol, other: Symbol) -> bool:
    """Whether the second follows the first on its line; letters and digits only, whose heights say so."""
    if not all(len(symbol.label) == 1 and symbol.label.isalnum() for symbol in (one, other)):
        return False
    left, right = _box(ink, one), _box(ink, other)
    heights = left[3] - left[1], right[3] - right[1]
    middles = (left[1] + left[3]) / 2, (right[1] + right[3]) / 2
    level = abs(middles[0] - middles[1]) < 0.25 * max(heights) and max(heights) < 1.8 * min(heights)
    return level and right[0] > (left[0] + left[2]) / 2
