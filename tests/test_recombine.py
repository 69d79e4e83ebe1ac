"""Formulas made from others' ink: their captions are LaTeX, and say what was drawn."""

from pathlib import Path

import numpy as np
import pytest

from hmer import checkpoint
from hmer.config import AugmentConfig, ImageConfig
from hmer.datasets.batches import Source, symbol_positions, with_dots_joined
from hmer.datasets.folder import read_dataset
from hmer.datasets.recombine import Formula, Recombiner, fitted, group_end, parts
from hmer.ink import Ink, Symbol, bounds, symbol_size
from hmer.latex import label_tokens
from hmer.vocabulary import UNWRITTEN, Vocabulary


def line(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, np.float32)


def fraction() -> Formula:
    """x over 2, as strokes."""
    strokes = (
        line((2, 0), (8, 10)), line((8, 0), (2, 10)), line((0, 20), (10, 20)), line((2, 30), (8, 30), (2, 40), (8, 40))
    )  # fmt: skip
    symbols = (Symbol("x", (0, 1)), Symbol("-", (2,)), Symbol("2", (3,)))
    return Formula(("\\frac", "{", "x", "}", "{", "2", "}"), Ink(strokes, symbols), (2, 0, 5))


@pytest.fixture(scope="module")
def source() -> Source:
    """The replay set of the bundled checkpoint: real handwriting, segmented."""
    items = read_dataset(checkpoint.resolve("handwritten") / "replay", "crohme")[:150]
    vocabulary = Vocabulary(sorted({token for item in items for token in item.tokens}))
    return Source(items, vocabulary, ImageConfig(), AugmentConfig(recombine=1.0))


PARTS = [
    ("x", ["x"]),
    ("x + 1", ["x", "+", "1"]),
    ("x _ { i } ^ { 2 } y", ["x _ { i } ^ { 2 }", "y"]),
    ("\\frac { 1 } { x ^ { 2 } } = a", ["\\frac { 1 } { x ^ { 2 } }", "=", "a"]),
    ("\\sum \\limits _ { i } i", ["\\sum \\limits _ { i }", "i"]),
    ("\\sqrt [ 3 ] { x } [ y ]", ["\\sqrt [ 3 ] { x }", "[", "y", "]"]),
    (
        "A = \\begin{matrix} a & \\begin{matrix} b \\end{matrix} \\\\ c \\end{matrix} ^ { 2 }",
        [
            "A",
            "=",
            "\\begin{matrix} a & \\begin{matrix} b \\end{matrix} \\\\ c \\end{matrix} ^ { 2 }",
        ],
    ),
]


@pytest.mark.parametrize(("caption", "expected"), PARTS)
def test_parts_of_a_line(caption: str, expected: list[str]) -> None:
    tokens = caption.split()
    assert [" ".join(tokens[begin:end]) for begin, end in parts(tokens, 0, len(tokens))] == expected


def test_group_end() -> None:
    assert group_end(["{", "a", "{", "b", "}", "}", "c"], 0) == 6
    assert group_end(["{", "a"], 0) == 2  # unbalanced: to the end


def test_only_what_is_known_wholly_is_used() -> None:
    whole = fraction()
    assert whole.complete
    unknown = Formula(whole.tokens, whole.ink, (2, 0, -1))
    unclaimed = Formula(whole.tokens, Ink((*whole.ink.strokes, line((50, 0), (50, 9))), whole.ink.symbols), (2, 0, 5))
    assert not unknown.complete and not unclaimed.complete
    assert len(Recombiner([whole, unknown, unclaimed])) == 1


def test_the_index_of_a_root_needs_no_brackets_to_be_whole() -> None:
    strokes = (line((0, 6), (3, 10), (5, 0), (12, 0)), line((0, 0), (1, 2)), line((7, 2), (9, 8)))
    symbols = (Symbol("\\sqrt", (0,)), Symbol("3", (1,)), Symbol("x", (2,)))
    tokens = ("\\sqrt", "[", "3", "]", "{", "x", "}")
    assert Formula(tokens, Ink(strokes, symbols), (0, 2, 5)).complete


def test_dots_that_were_segmented_apart_are_one_symbol() -> None:
    strokes = tuple(line((x, 0), (x, 1)) for x in (0, 9, 12, 15, 24))
    symbols = tuple(Symbol(label, (place,)) for place, label in enumerate(["a", ".", ".", ".", "b"]))
    ink = Ink(strokes, symbols)
    joined = with_dots_joined(("a", "\\cdots", "b"), ink)
    assert [symbol.strokes for symbol in joined.symbols] == [(0,), (1, 2, 3), (4,)]
    assert symbol_positions(("a", "\\cdots", "b"), joined) == [0, 1, 2]
    assert with_dots_joined(("a", ".", ".", ".", "b"), ink) == ink


def test_a_division_written_as_a_slash_is_no_example() -> None:
    formula = fraction()
    tokens = tuple("\\div" if token == "x" else token for token in formula.tokens)
    assert "\\div" not in Recombiner([Formula(tokens, formula.ink, formula.positions)])._instances


def test_a_part_takes_its_ink_along() -> None:
    formula = fraction()
    random = np.random.default_rng(0)
    seen = {}
    for _ in range(60):
        part = Recombiner([formula]).part(formula, random)
        seen[" ".join(part.tokens)] = part
    assert set(seen) == {"\\frac { x } { 2 }", "x", "2"}
    assert seen["x"].positions == (0,)
    assert np.array_equal(seen["x"].ink.strokes[1], formula.ink.strokes[1])
    assert seen["2"].ink.symbols == (Symbol("2", (0,)),)


def test_what_is_made_is_latex_and_every_token_has_its_ink(source: Source) -> None:
    random = np.random.default_rng(1)
    made = [source.recombiner.make(random) for _ in range(400)]
    captions = {item.tokens for item in source.items}
    assert sum(formula.tokens not in captions for formula in made) > 250
    for formula in made:
        assert formula.complete
        assert all(np.isfinite(stroke).all() for stroke in formula.ink.strokes)
        assert tuple(label_tokens(" ".join(formula.tokens), "crohme")) == formula.tokens
    lengths = [len(formula.tokens) for formula in made]
    assert sum(length <= 7 for length in lengths) > 80 and max(lengths) > 20


def test_rewriting_keeps_the_layout(source: Source) -> None:
    random = np.random.default_rng(2)
    changed = 0
    for formula in source.recombiner.formulas[:40]:
        other = source.recombiner.rewritten(formula, random)
        changed += other.tokens != formula.tokens
        assert [token in UNWRITTEN for token in other.tokens] == [token in UNWRITTEN for token in formula.tokens]
        left, top, right, bottom = bounds(formula.ink.strokes)
        new = bounds(other.ink.strokes)
        room = 1.5 * symbol_size(formula.ink)
        assert np.abs(np.array(new) - np.array([left, top, right, bottom])).max() < room
    assert changed > 5


def test_joined_formulas_stand_side_by_side() -> None:
    formula = fraction()
    joined = Recombiner([formula]).joined(formula, formula, np.random.default_rng(0))
    assert joined.tokens == formula.tokens * 2  # nobody wrote an operator that could stand between
    assert joined.complete
    first, second = joined.ink.strokes[2], joined.ink.strokes[6]
    assert second[:, 0].min() > first[:, 0].max()
    assert second[0, 1] == pytest.approx(first[0, 1])


def test_a_relation_in_the_box_of_an_equals_sign_is_as_wide() -> None:
    equals = [line((0, 0), (10, 0)), line((0, 3), (10, 3))]
    (placed,) = fitted([line((0, 0), (10, 5), (0, 10))], equals, 1.0, 0.2, by_height=True)
    assert np.ptp(placed, axis=0).min() > 6


def test_a_sign_stays_about_as_large_as_it_was_written() -> None:
    plus = [line((0, 5), (10, 5)), line((5, 0), (5, 10))]
    for box in ([line((0, 0), (3, 2))], [line((0, 0), (60, 40))]):
        placed = np.concatenate(fitted(plus, box, 1.0, 0.2, by_height=True, near_scale=True))
        assert np.all((np.ptp(placed, axis=0) >= 6) & (np.ptp(placed, axis=0) <= 14))


def test_a_long_bar_becomes_a_short_one_and_no_steeper() -> None:
    (placed,) = fitted([line((0, 0), (400, 30))], [line((0, 0), (20, 1))], 1.0, 1.0)
    assert np.ptp(placed, axis=0) == pytest.approx((20, 1.5), rel=0.01)
    (placed,) = fitted([line((0, 0), (20, 2))], [line((0, 0), (400, 1))], 1.0, 1.0)
    assert np.ptp(placed, axis=0) == pytest.approx((400, 2), rel=0.01)


@pytest.mark.parametrize(
    ("strokes", "box", "size"),
    [
        ([line((0, 0), (4, 8))], [line((100, 100), (110, 120))], (10, 20)),  # the same proportions
        ([line((0, 0), (4, 0))], [line((0, 0), (40, 0))], (40, 0)),  # a bar stays flat
        ([line((3, 3))], [line((0, 0), (10, 10))], (0, 0)),  # a point stays a point
        ([line((0, 0), (10, 10))], [line((0, 0), (40, 10))], (20 * np.exp(0.2), 20 * np.exp(-0.2))),  # little bent
    ],
)
def test_fitting(strokes: list[np.ndarray], box: list[np.ndarray], size: tuple[float, float]) -> None:
    (placed,) = fitted(strokes, box, 1.0, 0.2)
    assert np.ptp(placed, axis=0) == pytest.approx(size, abs=1e-3)
    middle = (np.concatenate(box).min(axis=0) + np.concatenate(box).max(axis=0)) / 2
    assert (placed.min(axis=0) + placed.max(axis=0)) / 2 == pytest.approx(middle, abs=1e-3)


def test_a_source_mixes_them_in_and_only_in_training(source: Source) -> None:
    random = np.random.default_rng(0)
    plain = source.sample(0, None)
    assert plain.ids == tuple(source.vocabulary.encode(source.items[0].tokens))
    samples = [source.sample(0, random) for _ in range(20)]
    assert len({sample.ids for sample in samples}) > 10
    for sample in samples:
        assert sample.owners is not None and sample.owners.max() <= len(sample.ids)


def test_without_segmentation_nothing_is_recombined(toy_data: Path) -> None:
    items = read_dataset(toy_data, "crohme")
    vocabulary = Vocabulary(sorted({token for item in items for token in item.tokens}))
    source = Source(items, vocabulary, ImageConfig(), AugmentConfig(recombine=1.0))
    sample = source.sample(0, np.random.default_rng(0))
    assert sample.ids == tuple(vocabulary.encode(items[0].tokens)) and sample.owners is None


def test_empty_braces_are_no_part() -> None:
    strokes = (line((0, 0), (0, 10)), line((5, 0), (8, 5)))
    formula = Formula(("f", "{", "}", "^", "{", "2", "}"), Ink(strokes, (Symbol("f", (0,)), Symbol("2", (1,)))), (0, 5))
    recombiner = Recombiner([formula])
    made = [recombiner.part(formula, np.random.default_rng(seed)) for seed in range(200)]
    assert all(part.ink.strokes for part in made)


def test_exchanged_bars_are_known_by_where_they_lie() -> None:
    tokens = [r"\frac", *"{a}{b}-c"]
    a, b, c = (line((x, y), (x + 4, y + 8)) for x, y in ((3, 0), (3, 20), (30, 10)))
    bar, minus = line((0, 14), (10, 14)), line((18, 40), (24, 40))
    for first, second, known in ((bar, minus, [0, 2, 5, 7, 8]), (minus, bar, [-1, 2, 5, -1, 8])):
        symbols = [Symbol(label, (place,)) for place, label in enumerate(("-", "a", "b", "-", "c"))]
        assert symbol_positions(tokens, Ink((first, a, b, second, c), tuple(symbols))) == known
