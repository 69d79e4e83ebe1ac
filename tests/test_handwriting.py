"""Synthetic handwriting: symbols, layout, and the dataset folder that comes of them."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmer.checkpoint import resolve
from hmer.datasets.batches import symbol_positions
from hmer.datasets.folder import read_dataset
from hmer.datasets.handwriting import Composer, handwritten_tokens
from hmer.datasets.layout import Box, Hand
from hmer.datasets.symbols import SymbolBank, thinned
from hmer.errors import DatasetError, LatexError
from hmer.ink import Stroke, read_inkml
from hmer.vocabulary import UNWRITTEN
from scripts.compose_handwriting import main

SILENT = UNWRITTEN | {r"\begin{matrix}", r"\end{matrix}", r"\end{cases}"}  # of these nothing is drawn
FORMULAS = [
    "x^2+y_1=0", r"\frac{a+b}{2}", r"\sqrt{x}", r"\sum_{i=1}^n i", "f(x)", r"\overline{ab}", r"\hat{x}",
    r"\begin{pmatrix}1&0\\0&1\end{pmatrix}", r"a\in A\cup B", "Q+1",
]  # fmt: skip


def square(token: str) -> Sequence[Stroke]:
    return [np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)]


def extents(box: Box) -> dict[int, tuple[float, float, float, float]]:
    """left, top, right, bottom of each token's strokes."""
    found = {}
    for position, strokes in box.placed:
        points = np.concatenate(strokes)
        found[position] = (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())
    return found


def written(latex: str, seed: int = 0) -> tuple[list[str], dict[int, tuple[float, float, float, float]]]:
    tokens = handwritten_tokens(latex)
    assert tokens is not None
    return tokens, extents(Hand(square, np.random.default_rng(seed)).write(tokens))


@given(st.sampled_from(FORMULAS), st.integers(0, 1_000))
def test_every_written_token_has_strokes(latex: str, seed: int) -> None:
    tokens, places = written(latex, seed)
    assert sorted(places) == [index for index, token in enumerate(tokens) if token not in SILENT]


@given(st.integers(0, 1_000))
def test_parts_stand_where_they_belong(seed: int) -> None:
    tokens, places = written(r"x^{2}_{1}", seed)
    base, low, high = (places[tokens.index(token)] for token in ("x", "1", "2"))
    assert high[1] < base[1]
    assert low[3] > base[3]
    assert min(high[0], low[0]) > base[2] - 0.01
    tokens, places = written(r"\frac{a}{b}", seed)
    bar, above, below = (places[tokens.index(token)] for token in (r"\frac", "a", "b"))
    assert above[3] < bar[1] and bar[3] < below[1] and bar[0] <= above[0] and above[2] <= bar[2]
    tokens, places = written(r"\sqrt{a}", seed)
    root, inner = places[0], places[tokens.index("a")]
    assert root[0] < inner[0] and root[1] < inner[1] and root[2] > inner[2]
    tokens, places = written(r"\begin{pmatrix}a&b\\c&d\end{pmatrix}", seed)
    a, b, c, d = (places[tokens.index(token)] for token in "abcd")
    assert a[2] < b[0] and c[2] < d[0] and a[3] < c[1] and b[3] < d[1]
    assert places[0][2] < a[0] and places[len(tokens) - 1][0] > b[2]


def test_what_has_no_layout_is_refused() -> None:
    hand = Hand(square, np.random.default_rng(0))
    for tokens in (["}"], [r"\frac", "a"], [r"\begin{tabular}", "a", r"\end{tabular}"], [r"\begin{pmatrix}", "a"]):
        with pytest.raises(LatexError):
            hand.write(tokens)


def test_names_that_a_hand_does_not_tell_apart() -> None:
    assert handwritten_tokens(r"\varphi \leqslant \bigcup \epsilon") == [r"\phi", r"\leq", r"\cup", r"\varepsilon"]
    assert handwritten_tokens(r"\overline{x}\overline{xy}") == [
        r"\bar", "{", "x", "}", r"\overline", "{", "x", "y", "}",
    ]  # fmt: skip
    assert handwritten_tokens(r"\frac{") is None
    assert handwritten_tokens(r"f{}^{\prime}+{}_{n}C") == [*"f^{", r"\prime", *"}+_{n}C"]
    assert handwritten_tokens(r"\vec{r}{}^{2}") == [r"\vec", *"{r}^{2}"]
    assert handwritten_tokens(r"x^{2}{}^{3}") == [*"x^{2}{}^{3}"]
    assert handwritten_tokens(r"\hat{}^{2}") == [r"\hat", *"{}^{2}"]


def test_a_shape_is_thinned_to_its_middle() -> None:
    mask = np.zeros((60, 60), bool)
    mask[26:34, 5:55] = mask[5:55, 26:34] = True
    strokes = thinned(mask)
    points = np.concatenate(strokes) - 2  # of the border that thinning adds
    assert len(strokes) <= 4
    assert (np.abs(points - 29.5).min(axis=1) < 5).all()  # on one of the two bars' middles
    low, high = points.min(axis=0), points.max(axis=0)
    assert (low < 12).all() and (high > 48).all()


@pytest.fixture(scope="module")
def replay() -> Path:
    return resolve("handwritten") / "replay"


def test_composed_ink_matches_its_captions(replay: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    formulas, characters = tmp_path / "formulas.txt", tmp_path / "characters.jsonl.gz"
    formulas.write_text("\n".join(f"book\t{formula}" for formula in FORMULAS), encoding="utf-8")
    rows = [{"label": "Q", "writer": str(n), "strokes": [[[0, 0], [9, n]], [[5, 5], [9, 9]]]} for n in range(40)]
    with gzip.open(characters, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    drawings = tmp_path / "drawings"
    drawings.mkdir()
    (drawings / "union.txt").write_text("[[[0,0],[1,9],[5,9],[6,0]]]\n[[[0,0],[2,9],[6,0]]]\n", encoding="utf-8")
    out = tmp_path / "out"
    arguments = [
        str(formulas), "--ink", str([str(replay)]), "--characters", str(characters), "--drawings", str(drawings),
        "--out", str(out), "--count", "200", "--part", "train", "--matrices", "0.2",
    ]  # fmt: skip
    assert main(arguments) == 0
    assert "200 formulas" in capsys.readouterr().out
    items = read_dataset(out, "crohme")
    assert len(items) == 200
    used = {token for item in items for token in item.tokens}
    assert {"Q", r"\cup", r"\frac", r"\hbar"} <= used  # isolated, drawn, typed, and made of others
    assert sum(r"\\" in item.tokens for item in items) > 10  # the list has one matrix
    for item in items:
        ink = read_inkml(item.path)
        drawn = [index for index, token in enumerate(item.tokens) if token not in SILENT]
        assert len(ink.symbols) == len(drawn)
        assert sorted(symbol_positions(item.tokens, ink)) == drawn
    with pytest.raises(DatasetError, match="exists already"):
        main(arguments)


def test_half_a_letter_is_none(tmp_path: Path) -> None:
    file = tmp_path / "characters.jsonl.gz"
    line, cross = [[[0, 0], [5, 5.2], [9, 9]]], [[[0, 0], [9, 9]], [[0, 9], [9, 0]]]
    with gzip.open(file, "wt", encoding="utf-8") as lines:
        for label, strokes in (("X", line), ("X", cross), ("/", line), ("\\backslash", line)):
            lines.write(json.dumps({"label": label, "writer": "w", "strokes": strokes}) + "\n")
    bank = SymbolBank()
    bank.add_characters(file)
    assert {token: len(glyphs) for token, glyphs in bank.glyphs.items()} == {"X": 1, "/": 1, "\\setminus": 1}


def test_parts_share_no_writer_and_no_drawing(tmp_path: Path) -> None:
    file = tmp_path / "characters.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as lines:
        for number in range(200):
            bent = [[[0, 0], [1, 1], [0, 2]]]
            lines.write(json.dumps({"label": "D", "writer": f"w{number}", "strokes": bent}) + "\n")
    writers = []
    for part in ("train", "test"):
        bank = SymbolBank(part)
        bank.add_characters(file)
        writers.append({glyph.writer for glyph in bank.glyphs["D"]})
    assert not writers[0] & writers[1]
    assert len(writers[0] | writers[1]) == 200
    assert 20 < len(writers[1]) < 60


def test_formulas_that_are_excluded_are_not_written(replay: Path) -> None:
    bank = SymbolBank()
    bank.add_ink(replay)
    composer = Composer(bank, FORMULAS, longest=40, exclude=[["f", "(", "x", ")"]])
    assert ("f", "(", "x", ")") not in composer.formulas
    with pytest.raises(DatasetError, match="None of the formulas"):
        Composer(bank, [r"\sharp"], longest=40)


def test_a_formula_is_written_by_one_hand(replay: Path) -> None:
    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    sparse = SymbolBank()
    sparse.add_font(font)
    assert "Q" in sparse and "x" not in sparse
    bank = SymbolBank()
    bank.add_ink(replay)
    bank.add_font(font, whole=True)
    assert bank.writers(60) == ["DejaVuSans"]
    drawn = {glyph.writer: [len(stroke) for stroke in glyph.strokes] for glyph in bank.glyphs["x"]}["DejaVuSans"]

    def share(hands: float) -> float:
        """Of the letters x in a hundred formulas, those of the font."""
        composer = Composer(bank, FORMULAS, longest=40, hands=hands)
        random = np.random.default_rng(0)
        made = [ink for _, ink in (composer.make(random) for _ in range(100))]
        letters = [
            [len(ink.strokes[index]) for index in symbol.strokes]
            for ink in made
            for symbol in ink.symbols
            if symbol.label == "x"
        ]
        assert len(letters) > 5
        return letters.count(drawn) / len(letters)

    assert share(1.0) == 1.0
    assert share(0.0) < 0.5
