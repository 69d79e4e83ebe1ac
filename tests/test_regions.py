"""Pages are split into their formulas, in reading order; PDF pages as pictures; bad pages say why."""

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from toys import FORMULAS, ink_of

from hmer.benchmarks.regions import LOOKS, matches, regions
from hmer.errors import BadImage, DatasetError
from hmer.image import read_image
from hmer.ink import draw
from hmer.regions import MAX_PAGES, Region, cut, find_regions, in_reading_order, read_pages

FORMULA = draw(ink_of(FORMULAS["1 + x"]), symbol_px=40)


def page_of(*places: tuple[int, int], size: tuple[int, int] = (600, 900)) -> np.ndarray:
    """A sheet with the same formula at each (left, top)."""
    page = np.full(size, 255, np.uint8)
    for left, top in places:
        tall, wide = FORMULA.shape
        page[top : top + tall, left : left + wide] = np.minimum(page[top : top + tall, left : left + wide], FORMULA)
    return page


def pdf_of(*pages: np.ndarray) -> bytes:
    pictures = [PIL.Image.fromarray(page) for page in pages]
    written = io.BytesIO()
    pictures[0].save(written, format="PDF", save_all=True, append_images=pictures[1:])
    return written.getvalue()


def test_formulas_apart_are_regions_in_reading_order() -> None:
    places = [(40, 40), (560, 60), (300, 400)]
    found = find_regions(page_of(*places))
    assert len(found) == 3
    for region, (left, top) in zip(found, places, strict=True):
        assert abs(region.left - left) < 15 and abs(region.top - top) < 15
        assert np.array_equal(cut(page_of(*places), region), cut(page_of((left, top)), region))


def test_pieces_of_one_formula_stay_together() -> None:
    page = np.full((500, 700), 255, np.uint8)
    symbol = FORMULA[:, : FORMULA.shape[1] // 4]
    tall, wide = symbol.shape
    for row, column in ((100, 200), (100, 280), (190, 200), (190, 280)):  # over and under a bar
        page[row : row + tall, column : column + wide] = symbol
    page[175:178, 180:340] = 0
    assert len(find_regions(page)) == 1


def test_order_of_lines_that_are_not_quite_level() -> None:
    one, other, below = Region(0, 10, 50, 40), Region(100, 5, 150, 36), Region(0, 90, 50, 120)
    assert in_reading_order([below, other, one]) == [one, other, below]
    tall, short = Region(62, 338, 513, 459), Region(648, 338, 866, 382)  # a fraction, and a line at its upper half
    assert in_reading_order([short, tall]) == [tall, short]


def test_most_formulas_of_composed_pages_are_found() -> None:
    inks = [ink_of(strokes) for name, strokes in FORMULAS.items() if len(name.split()) >= 3]
    figures = regions(inks, pages=len(LOOKS))
    assert figures["regions"] > 20
    assert figures["found"] >= 0.95
    with pytest.raises(DatasetError, match="no formulas"):
        regions([], pages=1)


def test_what_counts_as_found() -> None:
    truth = Region(0, 0, 100, 100)
    assert matches([Region(0, 0, 100, 90)], [truth]) == (1, 0)
    assert matches([Region(0, 0, 100, 50), Region(0, 50, 100, 100)], [truth]) == (0, 2)
    assert matches([], [truth]) == (0, 0)


def test_pages_of_a_pdf() -> None:
    blank = np.full((600, 900), 255, np.uint8)
    pages = read_pages(pdf_of(page_of((40, 40)), blank, page_of((40, 40), (40, 400))))
    assert {number: len(find_regions(page)) for number, page in pages.items()} == {1: 1, 3: 2}


def test_a_picture_is_one_page(tmp_path: Path) -> None:
    target = tmp_path / "page.png"
    PIL.Image.fromarray(255 - page_of((40, 40), (40, 400))).save(target)
    (page,) = read_pages(target).values()
    assert np.array_equal(page, read_image(target))
    assert len(find_regions(page)) == 2


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"%PDF-1.7\nbroken", "cannot be opened"),
        (b"no picture", "not a picture"),
        (pdf_of(np.full((60, 90), 255, np.uint8)), "blank"),
        (pdf_of(*[np.full((9, 9), 255, np.uint8)] * (MAX_PAGES + 1)), f"at most {MAX_PAGES}"),
    ],
    ids=["damaged", "other", "blank", "long"],
)
def test_bad_pages_say_why(data: bytes, said: str) -> None:
    with pytest.raises(BadImage, match=said):
        read_pages(data)


def test_a_region_beside_the_page_is_refused() -> None:
    page = page_of((40, 40))
    with pytest.raises(BadImage, match="not on the page"):
        cut(page, Region(2000, 0, 2100, 50))
    with pytest.raises(BadImage, match="blank"):
        find_regions(np.full((50, 50), 255, np.uint8))
    assert cut(page, Region(-50, -50, 5000, 5000), margin_px=0).shape == page.shape
