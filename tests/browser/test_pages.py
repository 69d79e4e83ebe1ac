"""A page with several formulas: split, adjusted, read, taken into the correction, downloaded."""

import csv
import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from playwright.sync_api import Page, expect

from hmer.errors import BadImage
from hmer.recognizer import Recognizer
from hmer.regions import Region, find_regions
from hmer.ui.draw_and_upload import examples
from hmer.ui.pages import Answer, drawn, region_of, table, taken, toggled
from scripts.screenshots import open_app
from tests.browser.conftest import App


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    """Three of the examples on one page."""
    page = PIL.Image.new("L", (1000, 1100), 255)
    for index, picture in enumerate(examples()[:3]):
        page.paste(PIL.Image.open(picture).convert("L"), (60, 60 + 360 * index))
    target = tmp_path / "page.png"
    page.save(target)
    return target


def test_a_page_becomes_rows(sheet: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no")
    sheets, rows, problems = taken([str(sheet), str(broken)], split=True)
    assert [row[:2] for row in rows] == [[True, "page.png"]] * 3
    assert [str(problem)[:11] for problem in problems] == ["broken.png:"]
    assert len(taken([str(sheet)], split=False)[1]) == 1
    region = region_of(rows[1])
    off = toggled(rows, "page.png", (region.left + region.right) / 2, (region.top + region.bottom) / 2)
    assert [row[0] for row in off] == [True, False, True]
    assert toggled(rows, "other.png", region.left + 1, region.top + 1) == rows
    before, after = drawn(sheets, rows, "page.png"), drawn(sheets, off, "page.png")
    assert before is not None and after is not None and not np.array_equal(before, after)
    assert drawn(sheets, rows, "other.png") is None
    for wrong in ("wide", None, float("nan"), 1e9):
        with pytest.raises(BadImage, match="numbers of pixels"):
            region_of([True, "page.png", wrong, 0, 1, 1, "", ""])


@pytest.mark.slow
def test_split_leave_out_read_take_download(page: Page, app: App, sheet: Path) -> None:
    open_app(page, app.url)
    page.click("#hm-input button[role=tab]:has-text('Pages')")
    page.set_input_files("#hm-pages input[type=file]", sheet)
    boxes = page.locator("#hm-regions input[type=checkbox]")
    expect(boxes).to_have_count(3)
    picture = page.locator("#hm-page-picture img").bounding_box()
    assert picture is not None
    with PIL.Image.open(sheet) as opened:
        middle = find_regions(np.asarray(opened))[1]
        scale = picture["width"] / opened.width
    page.mouse.click(
        picture["x"] + scale * (middle.left + middle.right) / 2, picture["y"] + scale * (middle.top + middle.bottom) / 2
    )
    expect(boxes.nth(1)).not_to_be_checked()
    page.click("#hm-read-regions")
    expect(page.locator("#hm-table")).to_be_visible()
    with page.expect_download() as saved:
        page.click("#hm-table")
    rows = list(csv.DictReader(io.StringIO(saved.value.path().read_text(encoding="utf-8"))))
    recognizer = Recognizer.load(app.checkpoint)
    right = [recognizer.recognize([examples()[index]])[0].latex for index in (0, 2)]
    assert [row["latex"] for row in rows] == right
    page.locator("#hm-regions").get_by_text(right[1], exact=True).first.click()
    expect(page.locator("#hm-correction textarea")).to_have_value(right[1])


def test_the_table_is_harmless_in_a_spreadsheet(sheet: Path) -> None:
    from hmer.config import Decoding
    from hmer.ui.services import Seen

    answer = Recognizer.load("handwritten").recognize([examples()[0]])[0]
    seen = Seen(b"", answer, Decoding(), "handwritten")
    line = table([Answer(Region(1, 2, 3, 4), "=cmd()", seen)]).splitlines()[1]
    assert line.startswith("'=cmd(),1,2,3,4,")
