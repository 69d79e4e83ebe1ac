"""Where tokens stand in typeset pictures: marks, DVI files, boxes, and what a model is shown of them."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from hmer import tex
from hmer.augment import Moved, distort_picture, worn
from hmer.config import AugmentConfig, ImageConfig, ModelConfig
from hmer.datasets.batches import Sample, Source, box_owners, collate, looked_for
from hmer.datasets.folder import read_dataset, write_labels
from hmer.dvi import SCALED_POINTS, Piece, mark, read_pages
from hmer.errors import BadImage, DatasetError, RenderError
from hmer.models import build
from hmer.places import are_places, boxes_of, marked, read_places, write_places
from hmer.tex import Drawing, Job
from hmer.vocabulary import Vocabulary

needs_tex = pytest.mark.skipif(not tex.is_installed(), reason=f"latex and dvipng are not here; {tex.INSTALL}")

IMAGE = ImageConfig(writing_px=16.0)


def spelt(latex: str) -> str | None:
    """`marked`, with marks that are easier to read: <1 and >."""
    found = marked(latex.split())
    if found is None:
        return None
    for number in range(40):
        found = found.replace(mark(number), f"<{number} ")
    return found.replace(r"\special{hmer:}", ">")


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        ("x + 1", "<0 x><1 +><2 1>"),
        ("x _ { i } ^ { 2 }", "<0 x_{<3 i>}^{<7 2>}>"),
        (r"\sum \limits _ { n } a", r"<0 \sum \limits _{<4 n>}><6 a>"),
        (r"\frac { a } { b } \, c", r"<0 \frac {<2 a>}{<5 b>}>\,<8 c>"),
        (r"\sqrt [ 3 ] { x }", r"<0 \sqrt [<2 3>]{<5 x>}>"),
        (r"\left ( x \right ) ^ { 2 }", r"<1 \left (><2 x><4 \right )^{<7 2>}>"),
        (r"\mathrm { e f } _ { k }", r"\mathrm {<2 e><3 f>}_{<7 k>}"),
        (r"\boldsymbol { v } + \bar { x }", r"<2 \boldsymbol {v}><4 +><5 \bar {<7 x>}>"),
        (r"\boldsymbol { v w }", None),
        (
            r"\begin{array} { l l } a & b \\ c & d \end{array} ^ { 2 }",
            r"<0 \begin{array}{ll}<5 a>&<7 b>\\<9 c>&<11 d>\end{array}^{<15 2>}>",
        ),
        (r"\text { i f ~ x }", r"\text {<2 i><3 f>~<5 x>}"),
        (r"a \atop b", None),
        (r"\frac { a", None),
    ],
)
def test_marks_stand_around_what_can_be_seen(latex: str, expected: str | None) -> None:
    assert spelt(latex) == expected


def dvi(*commands: bytes) -> bytes:
    """A DVI file with one page of these commands."""
    preamble = struct.pack(">BBiiiB", 247, 2, 25400000, 473628672, 1000, 3) + b"tex"
    return preamble + b"\x8b" + bytes(44) + b"".join(commands) + b"\x8c" + b"\xf8"


def test_rules_moves_and_marks_are_read_in_their_order() -> None:
    point = round(SCALED_POINTS / 72.27)
    rule = struct.pack(">Bii", 132, 2 * point, 5 * point)
    pages = read_pages(
        dvi(
            b"\xef\x06hmer:7", rule, b"\xef\x05hmer:", b"\x8d", struct.pack(">Bi", 160, 10 * point), rule, b"\x8e", rule,
            struct.pack(">Bii", 132, 0, point), b"\xef\x03abc",
        )
    )  # fmt: skip
    ((first, second, third),) = pages
    assert [piece.mark for piece in (first, second, third)] == [7, -1, -1]
    assert [round(piece.left * 72.27, 3) for piece in (first, second, third)] == [0, 5, 5]
    assert [round(piece.top * 72.27, 3) for piece in (first, second, third)] == [-2, 8, -2]
    assert round(third.right * 72.27, 3) == 10 and third.what == ("", 0)


@pytest.mark.parametrize("damaged", [b"", b"no DVI file", dvi(b"\xff"), dvi(b"\x8e"), dvi(b"x")[:70], dvi(b"x")])
def test_damaged_dvi_files_are_refused(damaged: bytes) -> None:
    with pytest.raises(RenderError, match="cannot be read"):
        read_pages(damaged)


def piece(what: str, left: float, right: float, owner: int = -1) -> Piece:
    return Piece((what, 65), left, -0.1, right, 0.0, 0.0, 0.14, owner)


def test_boxes_lie_in_the_middle_of_the_ink() -> None:
    plain = [piece("a", 1.0, 1.1), piece("b", 1.2, 1.3)]
    both = [piece("a", 1.0, 1.1, 0), piece("b", 1.25, 1.35, 2)]
    found = boxes_of(plain, both, ["x", "{", r"\hat"], (22, 62), 200)
    assert found is not None
    np.testing.assert_allclose(found[0], [0, 1, 1, 21, 21], atol=1e-4)
    np.testing.assert_allclose(found[1], [2, 41, 1, 61, 21 - 0.44 * 0.14 * 200], atol=1e-4)  # an accent stands high
    assert boxes_of(plain, [both[0], piece("f", 1, 2, 2)], ["x"] * 3, (22, 62), 200) is None
    assert boxes_of(plain, both, ["x"] * 3, (22, 162), 200) is None
    assert boxes_of([], [], [], (9, 9), 200) is None


def test_places_come_back_from_labels(tmp_path: Path) -> None:
    boxes = np.array([[0, 1.5, 2.5, 10.2, 12.0], [3, -0.4, 2, 4, 9]], np.float32)
    field = write_places(boxes)
    assert field == "0:1,2,11,12 3:-1,2,4,9" and write_places(None) == "" and read_places("") is None
    found = read_places(field)
    assert found is not None and found.tolist() == [[0, 1, 2, 11, 12], [3, -1, 2, 4, 9]]
    assert are_places(field, 4) and are_places("", 1)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 20), np.uint8))
    for bad in ("9:1,2,3,4", "0:1,2,3", "0:1,2,3,4 ", "x", "0:1,2,3,4,5", "0:1,2,3,4  0:1,2,3,4"):
        write_labels(tmp_path, [("a.png", "x", bad)], ("file", "latex", "places"))
        with pytest.raises(DatasetError, match="places"):
            read_dataset(tmp_path, "printed")


SQUARES = np.full((60, 140), 255, np.uint8)  # of three sizes, far enough apart
BOXES = np.array([[0, 10, 20, 30, 40], [1, 55, 28, 67, 40], [2, 95, 16, 119, 40]], np.float32)
for _, left, top, right, bottom in BOXES.astype(int).tolist():
    SQUARES[top:bottom, left:right] = 0


def centres(moved: Moved) -> tuple[np.ndarray, np.ndarray]:
    """Where the squares' middles are to be, and where there are middles of ink."""
    assert moved.matrix is not None
    middles = np.column_stack([BOXES[:, [1, 3]].mean(1), BOXES[:, [2, 4]].mean(1)])
    count, _, stats, found = cv2.connectedComponentsWithStats((moved.pixels < 128).astype(np.uint8))
    large = [index for index in range(1, count) if stats[index, cv2.CC_STAT_AREA] > 9]
    return middles @ moved.matrix[:, :2].T + moved.matrix[:, 2], found[large]


def test_where_a_point_of_worn_print_lies_is_known() -> None:
    known = 0
    for seed in range(80):
        random = np.random.default_rng(seed)
        try:
            moved = worn(SQUARES, random, 1.0, SQUARES, 0.5) if seed % 2 else distort_picture(
                SQUARES, IMAGE, AugmentConfig(print=1.0, scale=0.2, small_print=0.5), random, SQUARES
            )  # fmt: skip
        except BadImage:  # it has mistaken specks for letters
            continue
        if moved.matrix is None:
            continue
        expected, found = centres(moved)
        size = 20 * np.sqrt(abs(np.linalg.det(moved.matrix[:, :2])))
        nearest = np.linalg.norm(expected[:, None] - found[None], axis=2).min(axis=1)
        assert np.median(nearest) < 0.12 * size + 0.8, seed  # one may touch text at the edge
        known += 1
    assert known > 60


def test_the_darkest_spot_says_whose_a_cell_is() -> None:
    owners = box_owners(BOXES[:2], np.eye(2, 3), SQUARES[:56, :136])
    assert owners.shape == (7, 17)
    assert set(owners[3, 2:3]) == {1} and set(owners[4, 7:8]) == {2}
    assert set(owners[2:5, 12:14].ravel()) == {-1}  # ink in no box
    assert owners[0].max() == owners[0].min() == 0


def test_what_has_no_ink_is_looked_for_at_the_next_that_has() -> None:
    vocabulary = Vocabulary(["x", r"\,", "{", "}", r"\mathbf"])
    ids = vocabulary.encode(["x", r"\,", r"\mathbf", "{", "x", "}", r"\,"])
    owners = np.array([[0, 1, -1, 5]], np.int16)
    assert looked_for(owners, ids, vocabulary.written) == (1, 5, 5, 0, 5, 0, 0)


def test_attention_is_guided_to_what_is_looked_for() -> None:
    torch.manual_seed(0)
    vocabulary = Vocabulary(["x", r"\,"])
    model = build(ModelConfig(architecture="transformer", decoder_width=32, encoder_channels=(16, 32)), vocabulary)
    ids = tuple(vocabulary.encode(["x", r"\,", "x"]))
    pixels = SQUARES[:56, :136]
    owners = box_owners(BOXES[[0, 2]], np.eye(2, 3), pixels)
    batch = collate([Sample(pixels, ids, owners, looked_for(owners, ids, vocabulary.written))])
    encoded = model.encode(batch.images, batch.sizes)
    for reverse in (False, True):
        owned = model._owned(batch, encoded, 4, (reverse,))[0]
        steps = [2, 1, 0] if reverse else [0, 1, 2]
        assert torch.equal(owned[steps[1]], owned[steps[2]]) and owned[steps[1]].any()
        assert owned[steps[0]].any() and not owned[3].any()
        assert not (owned[steps[0]] & owned[steps[1]]).any()


FORMULAS = (
    r"x _ { i } ^ { 2 } + \frac { a } { \sqrt { b } } = \left ( \sum _ { n = 1 } ^ { N } \hat { y } _ { n } \right )",
    r"\begin{array} { l l } a & \mathbf { v } \, b \\ c & \alpha \end{array}",
)


@needs_tex
def test_every_symbol_of_a_typeset_formula_has_its_place(tmp_path: Path) -> None:
    drawn = tex.draw([Job(formula, located=True) for formula in (*FORMULAS, r"\mathrm { f f } x")])
    assert all(isinstance(one, Drawing) for one in drawn)
    assert drawn[-1].places is None  # type: ignore[union-attr]  # marks part what TeX joins
    for formula, one in zip(FORMULAS, drawn, strict=False):
        assert isinstance(one, Drawing) and one.places is not None
        tokens, (height, width) = formula.split(), one.grey.shape
        inside = np.zeros(one.grey.shape, bool)
        for _, left, top, right, bottom in one.places:
            assert -8 <= left < right <= width + 8 and -8 <= top < bottom <= height + 8
            inside[max(0, int(top) - 2) : int(bottom) + 3, max(0, int(left) - 3) : int(right) + 4] = True
        assert inside[one.grey < 128].mean() > 0.99
        named = {tokens[int(token)] for token in one.places[:, 0]}
        invisible = {
            "{",
            "}",
            "_",
            "^",
            "&",
            r"\\",
            r"\,",
            r"\left",
            r"\right",
            r"\mathbf",
            "l",
            r"\end{array}",
            r"\begin{array}",
        }
        assert named == set(tokens) - invisible
        name = f"{len(tokens)}.png"
        cv2.imwrite(str(tmp_path / name), cv2.copyMakeBorder(one.grey, 9, 9, 9, 9, cv2.BORDER_CONSTANT, value=255.0))
        places = one.places + np.array([0, 9, 9, 9, 9], np.float32)
        write_labels(tmp_path, [(name, formula, write_places(places))], ("file", "latex", "places"))
        (item,) = read_dataset(tmp_path, "printed")
        sample = Source([item], Vocabulary(set(tokens)), IMAGE, AugmentConfig()).sample(0, None)
        assert sample.owners is not None and sample.looked_for is not None
        assert len(set(np.unique(sample.owners)) - {0, -1}) > 0.8 * len(set(one.places[:, 0]))
        assert (sample.owners == -1).sum() < 0.1 * (sample.owners > 0).sum()
