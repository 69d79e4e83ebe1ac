"""Composed formulas: well-formed, of the wanted lengths, the same for the same seed, never one of the excluded."""

from pathlib import Path

import numpy as np
import pytest

from hmer import latex
from hmer.datasets.compose import Composer
from hmer.datasets.formula_lists import MAX_TOKENS, Part, key_of, read_formulas, usable_parts
from hmer.datasets.spacing import spaced, strewn
from hmer.errors import DatasetError
from hmer.latex_symbols import SPACES

FORMULAS = [r"x^2 + y^2 = 1", r"\frac{a}{b}", r"f(x) = \int_0^1 t\,dt", r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}",
            r"\alpha_i \leq \beta", r"E = mc^2", r"\lim_{n \to \infty} a_n", r"\text{if } x > 0"]  # fmt: skip
PARTS = usable_parts([("books" if place < 5 else "notes", formula) for place, formula in enumerate(FORMULAS)])


def test_what_is_composed_is_well_formed_and_of_displayed_lengths() -> None:
    composer, random = Composer(PARTS, cap=1.0), np.random.default_rng(0)
    made = [composer.make(random)[0] for _ in range(300)]
    for tokens in made:
        assert tuple(latex.normalise(" ".join(tokens))) == tokens
        assert latex.label_tokens(" ".join(tokens), "printed")
    lengths = sorted(map(len, made))
    assert lengths[-1] <= MAX_TOKENS
    assert 25 <= lengths[150] <= 80
    for wanted in (
        r"\begin{cases}",
        r"\begin{aligned}",
        r"\begin{array}",
        r"\begin{pmatrix}",
        r"\left",
        r"\quad",
        r"\mathrm",
        r"\stackrel",
        ";",
    ):
        assert any(wanted in tokens for tokens in made), wanted


def test_exponents_can_be_as_long_as_terms() -> None:
    composer, random = Composer(PARTS, cap=1.0), np.random.default_rng(5)
    lengths = []
    for _ in range(300):
        tokens, _ = composer.make(random)
        starts = [here + 2 for here, token in enumerate(tokens[:-1]) if token == "^"]
        lengths += [tokens.index("}", start) - start for start in starts]
    assert 0.02 < np.mean(np.array(lengths) >= 6) < 0.2  # to the first brace at least


def test_the_same_seed_composes_the_same() -> None:
    one, two = (
        [Composer(parts, cap=1.0).make(np.random.default_rng((3, place))) for place in range(20)]
        for parts in (PARTS, list(reversed(PARTS)))
    )
    assert one == two
    assert Composer(PARTS, cap=1.0).make(np.random.default_rng((4, 0))) != one[0]


def test_a_source_has_no_more_than_its_share() -> None:
    parts = [
        Part((letter,), "large" if place < 20 else f"small{place % 5}")
        for place, letter in enumerate("abcdefghijklmnopqrstuvwxyz")
    ]
    shares = Composer(parts, cap=0.25).shares
    assert shares.max() == pytest.approx(0.25)
    assert shares.sum() == pytest.approx(1)


def test_excluded_formulas_and_broken_ones_are_no_parts() -> None:
    formulas = [("", formula) for formula in (r"x^{2}", "a+b", r"\frac{a}", "c")]
    assert [part.tokens for part in usable_parts(formulas, [r"{x}^2\,", r"\broken"])] == [("a", "+", "b"), ("c",)]
    assert key_of(r"\left( x \right)") == key_of("(x)")


def test_a_list_is_read_with_and_without_sources(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a\tx + 1\n\ny ^ 2\n", encoding="utf-8")
    assert read_formulas(tmp_path / "list.txt") == [("a", "x + 1"), ("", "y ^ 2")]
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    for name in ("empty.txt", "missing.txt"):
        with pytest.raises(DatasetError, match=name):
            read_formulas(tmp_path / name)
    with pytest.raises(DatasetError, match="No formula"):
        Composer([])


def test_an_author_puts_one_kind_of_space_at_the_same_places() -> None:
    tokens = [
        r"-",
        r"a",
        r"_",
        r"{",
        r"i",
        r"+",
        r"j",
        r"}",
        r"=",
        r"\frac",
        r"{",
        r"b",
        r"+",
        r"c",
        r"}",
        r"{",
        r"d",
        r"^",
        r"{",
        r"-",
        r"1",
        r"}",
        r"}",
        r"f",
        r"(",
        r"x",
        r")",
        r"+",
        r"\mathrm",
        r"{",
        r"a",
        r"d",
        r"}",
        r"(",
        r"y",
        r")",
        r",",
        r"z",
    ]
    gaps = {r"\,", "~", r"\;", r"\:", r"\!"}
    shares, kinds, places = [], [], set()
    for seed in range(200):
        written_by = spaced(tokens, np.random.default_rng(seed))
        assert [token for token in written_by if token not in gaps] == tokens
        written = " ".join(written_by)
        assert r"{ i + j }" in written and r"{ - 1 }" in written and r"\mathrm { a d }" in written
        assert written_by[:2] == ["-", "a"]  # a sign that stands before nothing is no operation
        found = [token for token in written_by if token in gaps]
        shares.append(len(found))
        kinds.append(len(set(found)))
        places.update(written_by[here - 1] for here, token in enumerate(written_by) if token in gaps)
    assert np.mean(np.array(kinds) <= 1) > 0.6
    assert min(shares) == 0 and max(shares) >= 8
    assert {"=", "+", "}", ")", ","} <= places


def test_strewn_spaces_stand_in_rows_and_change_nothing_else() -> None:
    formula = r"\left ( \frac { a + b } { c } \right ) ^ { i j } = \sqrt [ 3 ] { x } \bigl [ \mathrm { L } _ { m n } \sum \limits _ { k } y _ { k } \bigr ]"
    tokens = formula.split()
    kinds = set()
    for seed in range(60):
        made = strewn(tokens, np.random.default_rng(seed))
        spaces = [token for token in made if token in SPACES]
        kinds |= set(spaces)
        assert [token for token in made if token not in SPACES] == tokens
        assert latex.normalise(" ".join(made))
        for place, token in enumerate(made):
            if token in SPACES:
                assert made[place - 1] not in (r"\left", r"\right", r"\sqrt", r"\bigl", r"\bigr", "^", "_")
                assert made[place + 1] not in ("{", "}", "^", "_", r"\limits")
    assert kinds == {r"\,", "~", r"\;", r"\:", r"\!", r"\quad", r"\qquad"}
