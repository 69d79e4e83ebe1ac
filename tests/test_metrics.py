"""Every figure against values worked out by hand."""

import dataclasses
import math

import pytest

from hmer.metrics import Scores, align, by_length, by_structure, by_symbol, confusions, score, structures, token_edits

# truth, prediction, token edits, character edits, characters of both
PAIRS = [
    ("x ^ { 2 }", "x ^ { 2 }", 0, 0, 5, 5),
    ("\\frac { a } { b }", "\\frac { a } { c }", 1, 1, 11, 11),
    ("\\alpha + 1", "a + 1", 1, 5, 8, 3),
    ("a b", "b a", 2, 2, 2, 2),
    ("1 + 2 + 3 + 4", "", 7, 7, 7, 0),
    ("y", "y y y y", 3, 3, 1, 4),
]
TRUTHS = [truth.split() for truth, *_ in PAIRS]
PREDICTIONS = [prediction.split() for _, prediction, *_ in PAIRS]


@pytest.mark.parametrize(("truth", "prediction", "edits"), [pair[:3] for pair in PAIRS])
def test_token_edits(truth: str, prediction: str, edits: int) -> None:
    assert token_edits(truth.split(), prediction.split()) == edits
    assert token_edits(prediction.split(), truth.split()) == edits


def test_every_figure_of_a_set() -> None:
    found = score(TRUTHS, PREDICTIONS)
    assert found.n == 6
    assert found.exprate == pytest.approx(1 / 6)
    assert found.le1 == pytest.approx(3 / 6)
    assert found.le2 == pytest.approx(4 / 6)
    assert found.token_error_rate == pytest.approx((0 + 1 + 1 + 2 + 7 + 3) / (5 + 7 + 3 + 2 + 7 + 1))
    assert found.character_error_rate == pytest.approx((0 + 1 + 5 + 2 + 7 + 3) / (5 + 11 + 8 + 2 + 7 + 1))
    assert found.edit_distance_mean == pytest.approx(18 / 6)
    similarities = [1, 1 - 1 / 11, 1 - 5 / 8, 1 - 2 / 2, 1 - 7 / 7, 1 - 3 / 4]
    assert found.levenshtein_similarity == pytest.approx(sum(similarities) / 6)


def test_bleu() -> None:
    """Two sentences, 9 tokens each side; matches of 1 to 4 tokens: 8/9, 4/7, 2/5, 1/3."""
    truths = ["a b c d e".split(), "p q r s".split()]  # noqa: SIM905
    predictions = ["a b c d x".split(), "p q s r".split()]  # noqa: SIM905
    precisions = [8 / 9, (3 + 1) / 7, (2 + 0) / 5, 1 / 3]
    expected = 100 * math.prod(precisions) ** 0.25
    assert score(truths, predictions).bleu == pytest.approx(expected)


def test_bleu_of_what_is_shorter_is_punished() -> None:
    truth, prediction = "a b c d e f g h".split(), "a b c d".split()  # noqa: SIM905
    assert score([truth], [prediction]).bleu == pytest.approx(100 * math.exp(1 - 8 / 4))


def test_all_right_and_all_wrong() -> None:
    right = score(TRUTHS, TRUTHS)
    assert dataclasses.replace(right, bleu=100.0) == Scores(6, 1.0, 1.0, 1.0, 0.0, 0.0, 100.0, 1.0, 0.0)
    assert right.bleu == pytest.approx(100)
    wrong = score([["a", "b", "c"]], [[]])
    assert wrong == Scores(1, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 3.0)


def test_nothing_to_score() -> None:
    assert score([], []) == Scores(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    empty = score([[]], [[]])
    assert (empty.n, empty.exprate, empty.token_error_rate, empty.levenshtein_similarity) == (1, 1.0, 0.0, 1.0)
    assert score([[]], [["a"]]).token_error_rate == 1.0


def test_as_many_truths_as_predictions() -> None:
    with pytest.raises(ValueError, match="1 truths and 2 predictions"):
        score([["a"]], [["a"], ["b"]])


def test_by_length() -> None:
    lengths = [1, 7, 8, 14, 15, 30, 31, 60, 61, 200]
    truths = [["a"] * length for length in lengths]
    predictions = [["a"] * length if place % 2 else ["b"] * length for place, length in enumerate(lengths)]
    table = by_length(truths, predictions)
    assert list(table) == ["1-7", "8-14", "15-30", "31-60", "61+"]
    assert all(group["n"] == 2 and group["exprate"] == 0.5 for group in table.values())
    assert [group["token_error_rate"] for group in table.values()] == pytest.approx(
        [1 / 8, 8 / 22, 15 / 45, 31 / 91, 61 / 261]
    )
    assert by_length([], [])["61+"] == {"n": 0, "exprate": 0.0, "token_error_rate": 0.0}


STRUCTURES = [
    ("a + b", ["plain"]),
    ("x ^ { 2 }", ["scripts"]),
    (r"\frac { a } { b _ { 1 } }", ["fractions", "scripts"]),
    (r"\sqrt { x }", ["roots"]),
    (r"\sum \limits _ { i } i", ["scripts", "big_operators"]),
    (r"\int x", ["big_operators"]),
    (r"\lim \limits _ { n } \max n", ["scripts"]),
    (r"\begin{array} { c c } a & b \\ c & d \end{array}", ["matrices"]),
    ("", ["plain"]),
]


@pytest.mark.parametrize(("formula", "expected"), STRUCTURES)
def test_structures(formula: str, expected: list[str]) -> None:
    assert structures(formula.split()) == expected


MATRIX = r"\begin{matrix} a & b \\ c & d ^ { 2 } \end{matrix}"  # 13 tokens


def test_by_structure() -> None:
    truths = [formula.split() for formula, _ in STRUCTURES[:5]] + [MATRIX.split()] * 2
    predictions = [truth if place != 2 else truth[:-1] for place, truth in enumerate(truths)]
    predictions[-1] = MATRIX.replace("&", "").split()  # two left out
    table = by_structure(truths, predictions)
    assert list(table) == ["plain", "scripts", "fractions", "roots", "big_operators", "matrices"]
    assert [group["n"] for group in table.values()] == [1, 5, 1, 1, 1, 2]
    assert [group["exprate"] for group in table.values()] == [1, pytest.approx(3 / 5), 0, 1, 1, 1 / 2]
    # Scripts: 5, 11, 7 and twice 13 tokens, one left out, and two.
    assert table["scripts"]["token_error_rate"] == pytest.approx((1 + 2) / (5 + 11 + 7 + 13 + 13))
    assert table["fractions"]["token_error_rate"] == pytest.approx(1 / 11)
    assert table["matrices"]["token_error_rate"] == pytest.approx(2 / 26)


def test_alignment() -> None:
    assert align(list("abc"), list("axc")) == [("a", "a"), ("b", "x"), ("c", "c")]
    assert align(list("abc"), list("ac")) == [("a", "a"), ("b", ""), ("c", "c")]
    assert align(list("ac"), list("abc")) == [("a", "a"), ("", "b"), ("c", "c")]
    assert align([], ["x"]) == [("", "x")]


def test_by_symbol_and_confusions() -> None:
    truths = [list("aab"), list("ba"), list("a")]
    predictions = [list("axb"), list("b"), list("aa")]
    table = by_symbol(truths, predictions)
    assert list(table) == ["a", "b", "x"]
    assert table["a"] == {"n": 4, "predicted": 3, "recall": 2 / 4, "precision": 2 / 3}
    assert table["b"] == {"n": 2, "predicted": 2, "recall": 1.0, "precision": 1.0}
    assert table["x"] == {"n": 0, "predicted": 1, "recall": 0.0, "precision": 0.0}
    assert confusions(truths, predictions) == [
        {"truth": "", "prediction": "a", "count": 1},
        {"truth": "a", "prediction": "", "count": 1},
        {"truth": "a", "prediction": "x", "count": 1},
    ]
    twice = confusions([*truths, ["a"]], [*predictions, ["x"]])
    assert twice[0] == {"truth": "a", "prediction": "x", "count": 2}
