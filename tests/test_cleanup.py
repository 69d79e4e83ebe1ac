"""The clean-up step against a table made by hand, and its effect as S2 reports it."""

import pytest

from hmer.cleanup import CleanedUp, Effect, clean_up, effect, join
from hmer.latex import label_tokens
from hmer.predict import cleaned_up
from hmer.recognizer import Alternative, Recognition

TABLE = [
    ("x Right + Right y", "x + y"),
    (r"\frac Above { a } Below { b }", r"\frac { a } { b }"),
    ("{ a + b }", "a + b"),
    ("x ^ { 2 }", "x ^ { 2 }"),
    ("x Sup ^ { { 2 } }", "x ^ { 2 }"),
    (r"\sqrt Inside { x }", r"\sqrt { x }"),
    (r"\sqrt [ 3 ] { x } { y }", r"\sqrt [ 3 ] { x } y"),
    (r"\frac { a } { b } { c }", r"\frac { a } { b } c"),
    (r"\frac a { b } { c }", r"\frac a { b } c"),
    (r"\frac { \frac { 1 } { 2 } } { x _ { 1 } }", r"\frac { \frac { 1 } { 2 } } { x _ { 1 } }"),
    ("a } } + 1", "a + 1"),
    ("x ^ { 2 + { y", "x ^ 2 + y"),
    (r"\sum \limits _ { i } ^ { n } { i }", r"\sum \limits _ { i } ^ { n } i"),
    (r"\begin{array} { c c } a & { b } \end{array}", r"\begin{array} { c c } a & b \end{array}"),
    (r"\begin{array} Inside { l } { a } \end{array} { b }", r"\begin{array} { l } a \end{array} b"),
    (r"\begin{matrix} { c } \end{matrix}", r"\begin{matrix} c \end{matrix}"),
    ("{ } ^ { 2 } x", "{ } ^ { 2 } x"),
    ("{ } x ^ { 2 }", "x ^ { 2 }"),
    ("{ x } _ { 1 }", "x _ { 1 }"),
    ("{ { x ^ { 2 } } } Sup ^ { 3 }", "{ x ^ { 2 } } ^ { 3 }"),
    ("", ""),
]


@pytest.mark.parametrize(("tokens", "expected"), TABLE)
def test_clean_up(tokens: str, expected: str) -> None:
    cleaned = clean_up(tokens.split())
    assert cleaned == expected.split()
    assert clean_up(cleaned) == cleaned


@pytest.mark.parametrize("formula", [r"x^2+\frac{1}{y}", r"\sum_{i=1}^n a_i", r"\sqrt{x}", r"\hat{a}_1", "[a]"])
def test_the_words_of_the_relations_go(formula: str) -> None:
    assert clean_up(label_tokens(formula, "crohme_relations")) == label_tokens(formula, "crohme_symbols")


def test_spaced_tokens_are_joined() -> None:
    assert join([r"\frac", r"{", r"\alpha", r"x", r"}", r"{", r"2", r"}"]) == r"\frac{\alpha x}{2}"
    assert join([r"\alpha", r"+", r"\beta", r"1", r"a", r"b"]) == r"\alpha+\beta1ab"


def test_an_answer_is_cleaned_up() -> None:
    tokens = ("{", "x", "}", "Right", "+", r"\alpha", "Right", "y")
    answer = Recognition("", tokens, 0.5, (0.9,) * 8, (Alternative("", ("{", "x"), 1.0),), "toy", 0.0, -1.0)
    found = cleaned_up(answer)
    assert (found.latex, found.tokens, found.token_confidence) == (r"x+\alpha y", ("x", "+", r"\alpha", "y"), ())
    assert found.alternatives == (Alternative("x", ("x",), 1.0),)
    assert found.confidence == 0.5


def test_the_effect_on_short_and_long() -> None:
    """Lengths 1 2 5: the median is 2. Before: 3 edits in 3 tokens, 4 in 5; after: none, and 1 in 5."""
    truths = [["a"], ["b", "c"], ["x", "^", "{", "2", "}"]]
    predictions = [["a", "Right"], ["b", "Right", "c", "Right"], ["{", "x", "Right", "^", "{", "3", "Sup", "}"]]
    short, long = CleanedUp(2, pytest.approx(3 / 3), 0.0), CleanedUp(1, pytest.approx(4 / 5), pytest.approx(1 / 5))
    assert effect(truths, predictions) == Effect(2, short, long)
    assert effect([], []) == Effect(0, CleanedUp(0, 0.0, 0.0), CleanedUp(0, 0.0, 0.0))
