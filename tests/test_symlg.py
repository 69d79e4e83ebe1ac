"""Symbol layout graphs of small formulas, sound and damaged."""

from pathlib import Path

import pytest

from hmer.errors import BadInk
from hmer.symlg import parse_symlg, read_symlg

GRAPHS = [
    ("O, x, x, 1.0, O", "x"),
    (
        "# comment\nO, a, x, 1.0, O\nO, b, 2, 1.0, OSup\nO, c, COMMA, 1.0, OR\nO, d, \\lt, 1.0, ORR\n\n"
        "EO, a, b, Sup, 1.0\nEO, a, c, Right, 1.0\nEO, c, d, Right, 1.0",
        "x ^ { 2 } , <",
    ),
    (
        "O, f, -, 1.0, O\nO, a, a, 1.0, OAbove\nO, b, b, 1.0, OBelow\nO, c, c, 1.0, OBelowR\n"
        "EO, f, a, Above, 1.0\nEO, f, b, Below, 1.0\nEO, b, c, Right, 1.0",
        r"\frac { a } { b c }",
    ),
    (
        "O, r, \\sqrt, 1.0, O\nO, n, 3, 1.0, OAbove\nO, x, x, 1.0, OInside\nO, y, y, 1.0, OInsideR\n"
        "EO, r, n, Above, 1.0\nEO, r, x, Inside, 1.0\nEO, x, y, Right, 1.0\nEO, r, y, Inside, 1.0",
        r"\sqrt [ 3 ] { x y }",
    ),
    (
        "O, s, \\sum, 1.0, O\nO, i, i, 1.0, OBelow\nO, n, n, 1.0, OAbove\n"
        "O, x, x, 1.0, OR\nO, k, k, 1.0, ORSub\n"
        "R, s, i, Below, 1.0\nR, s, n, Above, 1.0\nR, s, x, Right, 1.0\nR, x, k, Sub, 1.0",
        r"\sum \limits _ { i } ^ { n } x _ { k }",
    ),
    ("O, s, \\int, 1.0, O\nO, i, a, 1.0, OSub\nEO, s, i, Sub, 1.0", r"\int \limits _ { a }"),
    ("O, l, \\lim, 1.0, O\nO, i, a, 1.0, OB\nEO, l, i, B, 1.0", r"\lim \limits _ { a }"),
    ("O, l, \\log, 1.0, O\nO, i, a, 1.0, OSub\nEO, l, i, Sub, 1.0", r"\log _ { a }"),
    ("O, x, 7, 1.0, O\nO, c, COMMA, 1.0, OSub\nEO, x, c, Sub, 1.0", "7 ,"),
    ("O, x, x, 1.0, O\nO, AUTO_0, -, 1.0, O", "x"),
]


@pytest.mark.parametrize(("text", "tokens"), GRAPHS)
def test_graph_becomes_tokens(text: str, tokens: str, tmp_path: Path) -> None:
    assert " ".join(parse_symlg(text)) == tokens
    path = tmp_path / "formula.lg"
    path.write_text(text, encoding="utf-8")
    assert " ".join(read_symlg(path)) == tokens


CHAIN = "\n".join(f"O, {n}, x, 1.0, O" for n in range(100)) + "\n"
DAMAGED = [
    ("", "no symbol"),
    ("O, a, x, 1.0, O\nO, a, y, 1.0, O", "twice"),
    ("O, a, x, 1.0, O\nO, b, y, 1.0, O", "one first symbol, not 2"),
    ("O, a, x, 1.0, O\nEO, a, b, Right, 1.0", "no symbol b"),
    ("O, a, x, 1.0, O\nO, b, y, 1.0, O\nEO, a, b, Beside, 1.0", "'Beside' is none of"),
    ("O, a, x, 1.0, O\nO, b, y, 1.0, O\nEO, a, b, Inside, 1.0", "only roots"),
    ("O, a, x, 1.0, O\nO, b, y, 1.0, O\nEO, a, b, Above, 1.0", "over or under x"),
    (
        "O, a, x, 1.0, O\nO, b, y, 1.0, O\nO, c, y, 1.0, O\nEO, b, c, Right, 1.0\nEO, c, b, Right, 1.0",
        "circle",
    ),
    (
        "O, a, x, 1.0, O\nO, b, y, 1.0, O\nO, c, z, 1.0, O\nEO, a, b, Right, 1.0\nEO, a, c, Right, 1.0",
        "same place",
    ),
    ("what is this", "line 1"),
    (CHAIN + "\n".join(f"EO, {n}, {n + 1}, Sup, 1.0" for n in range(99)), "nested"),
]


@pytest.mark.parametrize(("text", "message"), DAMAGED)
def test_damaged_graph_is_refused(text: str, message: str) -> None:
    with pytest.raises(BadInk, match=message):
        parse_symlg(text, "formula.lg")


def test_a_long_line_of_symbols_is_read() -> None:
    text = CHAIN + "\n".join(f"EO, {n}, {n + 1}, Right, 1.0" for n in range(99))
    assert parse_symlg(text) == ["x"] * 100


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInk, match="cannot be opened"):
        read_symlg(tmp_path / "missing.lg")
    binary = tmp_path / "binary.lg"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInk, match="no text file"):
        read_symlg(binary)
