"""InkML is read with its segmentation or refused with a reason; strokes are drawn where they are."""

from pathlib import Path

import numpy as np
import pytest
from toys import FORMULAS, GLYPHS, ink_of, inkml_of

from hmer.errors import BadInk
from hmer.ink import Ink, bounds, draw, parse_inkml, rasterize, read_inkml, symbol_size, symbol_token, write_inkml

CROHME = """<?xml version="1.0" encoding="utf-8"?>
<ink xmlns="http://www.w3.org/2003/InkML">
  <traceFormat><channel name="X" type="decimal"/><channel name="Y" type="decimal"/></traceFormat>
  <annotation type="truth">$x^2$</annotation>
  <annotation type="writer">w7</annotation>
  <annotationXML type="truth" encoding="Content-MathML">
    <math xmlns="http://www.w3.org/1998/Math/MathML"><msup><mi xml:id="A">x</mi><mn xml:id="B">2</mn></msup></math>
  </annotationXML>
  <trace id="0">10 10 0, 20 20 5, 3e1 30.5 7</trace>
  <trace id="1">30 10, 10 30</trace>
  <trace id="2">-35 .5</trace>
  <trace id="3"> </trace>
  <traceGroup xml:id="4"><annotation type="truth">Segmentation</annotation>
    <traceGroup xml:id="6"><annotation type="truth">2</annotation><traceView traceDataRef="2"/><annotationXML href="B"/></traceGroup>
    <traceGroup xml:id="5"><annotation type="truth">x</annotation>
      <traceView traceDataRef="1"/><traceView traceDataRef="0"/><traceView traceDataRef="99"/><annotationXML href="A"/></traceGroup>
  </traceGroup>
</ink>"""


def test_everything_in_an_inkml_file() -> None:
    ink = parse_inkml(CROHME.encode())
    assert [stroke.tolist() for stroke in ink.strokes] == [
        [[10, 10], [20, 20], [30, 30.5]], [[30, 10], [10, 30]], [[-35, 0.5]]
    ]  # fmt: skip
    assert [(symbol.label, symbol.strokes) for symbol in ink.symbols] == [
        ("x", (1, 0)),
        ("2", (2,)),
    ]  # as in the caption
    assert (ink.truth, ink.writer) == ("$x^2$", "w7")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    for number, (caption, places) in enumerate(FORMULAS.items()):
        ink = ink_of(places)
        path = tmp_path / f"{number}.inkml"
        path.write_text(inkml_of(ink, caption), encoding="utf-8")
        read = read_inkml(path)
        assert (read.symbols, read.truth, read.writer) == (ink.symbols, f"${caption}$", "toy")
        for stroke, original in zip(read.strokes, ink.strokes, strict=True):
            assert stroke == pytest.approx(original, abs=0.006)


@pytest.mark.parametrize("caption", FORMULAS)
def test_compact_files_keep_strokes_and_symbols(caption: str, tmp_path: Path) -> None:
    made = ink_of(FORMULAS[caption], size=3.0)
    ink = Ink((*made.strokes, np.full((3, 2), 7.0, np.float32)), made.symbols, truth=caption, writer="w & <7>")
    write_inkml(ink, tmp_path / "compact.inkml", resolution=64.0)
    read = read_inkml(tmp_path / "compact.inkml")
    assert (read.symbols, read.truth, read.writer) == (ink.symbols, caption, "w & <7>")
    left, top, _, _ = bounds(ink.strokes)
    for stroke, original in zip(read.strokes, ink.strokes, strict=True):
        expected = (original - (left, top)) * (64.0 / symbol_size(ink))
        assert stroke[[0, -1]] == pytest.approx(expected[[0, -1]], abs=0.51)
        assert len(stroke) <= len(original)
        # What was left out lies on the lines between what was kept.
        canvas = rasterize([stroke], thickness_px=5.0, margin_px=20, jagged=True)
        corner = 20 + 3 - np.minimum(stroke.min(axis=0), 1e9)
        for x, y in np.round(expected + corner).astype(int):
            assert canvas[y, x] == 0


def inkml(body: str) -> str:
    return f'<ink xmlns="http://www.w3.org/2003/InkML">{body}</ink>'


BOMB = '<!DOCTYPE ink [<!ENTITY a "1 1,"><!ENTITY b "&a;&a;">]><ink><trace>&b;</trace></ink>'
BAD = [
    (b"", "not well-formed"),
    (b"\x89PNG\r\n\x1a\n", "not well-formed"),
    (b"<ink><trace>1 2", "not well-formed"),
    (b'<?xml version="1.0" encoding="klingon"?><ink/>', "not well-formed"),
    (BOMB.encode(), "declares XML entities"),
    (BOMB.encode("utf-16"), "declares XML entities"),
    (b'<!DOCTYPE ink SYSTEM "file:///etc/passwd"><ink><trace>1 2</trace></ink>', "declares XML entities"),
    (inkml("").encode(), "holds no stroke"),
    (inkml("<trace> , </trace>").encode(), "holds no stroke"),
    (inkml("<trace>1 2, 3</trace>").encode(), "the point '3'; expected 'x y'"),
    (inkml("<trace>1 two</trace>").encode(), "the point '1 two'"),
    (inkml("<trace>nan 2</trace>").encode(), "the point 'nan 2'"),
    (inkml("<trace>1e40 2</trace>").encode(), "beyond any writing surface"),
    (inkml("<trace>1e400 2</trace>").encode(), "beyond any writing surface"),
    (inkml("<trace>2e9 2</trace>").encode(), "beyond any writing surface"),
    (inkml(f"<trace>{'1 2,' * 500_001}</trace>").encode(), "more than 500000 points"),
]


@pytest.mark.parametrize(("data", "message"), BAD, ids=[f"{data[:12]!r} {message}"[:60] for data, message in BAD])
def test_what_is_no_ink_is_refused_with_its_name(data: bytes, message: str) -> None:
    with pytest.raises(BadInk, match=f"^some.inkml: .*{message}"):
        parse_inkml(data, "some.inkml")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadInk, match="none.inkml: cannot be read"):
        read_inkml(tmp_path / "none.inkml")
    with pytest.raises(BadInk, match="cannot be read"):
        read_inkml(tmp_path)
    huge = tmp_path / "huge.inkml"
    with huge.open("wb") as file:
        file.truncate(20_000_001)
    with pytest.raises(BadInk, match="larger than 20 MB"):
        read_inkml(huge)


@pytest.mark.parametrize(
    ("label", "token"),
    [
        ("x", "x"),
        ("\\lt", "<"),
        ("COMMA", ","),
        ("{", "\\{"),
        ("'", "\\prime"),
        ("\\to", "\\rightarrow"),
        ("\\pi", "\\pi"),
    ],
)
def test_symbol_labels_are_caption_tokens(label: str, token: str) -> None:
    assert symbol_token(label) == token


def strokes_of(*points: list[tuple[float, float]]) -> tuple[np.ndarray, ...]:
    return tuple(np.array(stroke, np.float32) for stroke in points)


def test_bounds_and_the_usual_symbol() -> None:
    ink = ink_of(FORMULAS["\\frac { 1 } { x }"], size=40.0)  # the bar is 64 long
    assert bounds(ink.strokes) == pytest.approx((-8, 0, 56, 100), abs=0.01)
    assert symbol_size(ink) == pytest.approx(40, abs=0.01)
    assert symbol_size(Ink(strokes_of([(5, 5)]))) > 0
    dots = Ink(strokes_of([(0, 0)], [(600, 0)]))
    assert symbol_size(dots) == pytest.approx(10)  # dots alone do not blow the picture up


def test_a_line_is_drawn_where_it_is() -> None:
    picture = rasterize(strokes_of([(100, 50), (140, 50)]), thickness_px=3.0, margin_px=8, jagged=True)
    pad = 8 + 2
    assert picture.shape == (2 * pad + 1, 40 + 2 * pad + 1)
    assert picture.dtype == np.uint8
    rows, columns = np.nonzero(picture < 128)
    assert pad - rows.min() == rows.max() - pad == 1
    assert set(np.flatnonzero(picture[:, pad + 20] < 128)) == set(range(rows.min(), rows.max() + 1))
    assert abs(columns.min() - pad) <= 2 and abs(columns.max() - (pad + 40)) <= 2
    assert (picture[pad, pad : pad + 41] == 0).all()


@pytest.mark.parametrize(("asked", "drawn"), [(1.0, 1), (3.0, 3), (5.0, 5), (9.0, 9)])
def test_a_line_is_as_thick_as_asked(asked: float, drawn: int) -> None:
    picture = rasterize(strokes_of([(0, 50), (100, 50)]), thickness_px=asked, margin_px=10, jagged=True)
    assert (picture[:, 60] < 128).sum() == drawn


def test_a_dot_is_round_and_as_thick_as_the_pen() -> None:
    picture = rasterize(strokes_of([(3, 3), (3, 3)]), thickness_px=9.0)
    rows, columns = np.nonzero(picture < 128)
    assert 8 <= np.ptp(rows) + 1 <= 11 and np.ptp(rows) == np.ptp(columns)
    assert 50 <= len(rows) <= 95


def test_jagged_lines_have_no_grey() -> None:
    strokes = [stroke * 40 for stroke in strokes_of(*GLYPHS["x"])]
    assert set(np.unique(rasterize(strokes, jagged=True))) == {0, 255}
    assert len(np.unique(rasterize(strokes, jagged=False))) > 10
    thin, thick = (int((rasterize(strokes, thickness_px=width) < 128).sum()) for width in (2.0, 8.0))
    assert thick > 2.5 * thin


def test_drawing_scales_to_the_size_of_symbols() -> None:
    ink = ink_of(FORMULAS["1 + x"], size=500.0)
    height, width = draw(ink, symbol_px=40.0).shape
    assert height == pytest.approx(40 + 21, abs=2)
    assert width == pytest.approx(3.2 * 40 + 21, abs=2)
    far = Ink(strokes_of([(0, 0), (1, 1)], [(1e6, 0), (1e6 + 1, 1)]))
    assert max(draw(far).shape) <= 8_100


def test_a_picture_of_monstrous_size_is_refused() -> None:
    with pytest.raises(BadInk, match="too large to draw"):
        rasterize(strokes_of([(0, 0), (1e6, 1e6)]))
