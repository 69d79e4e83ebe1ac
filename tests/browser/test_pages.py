"""A page with several formulas: split, adjusted, read, taken into the correction, downloaded."""

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from playwright.sync_api import Page, expect

from hmer.errors import BadImage
from hmer.recognizer import Recognizer
from hmer.regions import Region, find_regions
from hmer.routing import load
from hmer.ui.draw_and_upload import examples
from hmer.ui.pages import HEADERS, Answer, region_of, shown, table, taken
from scripts.screenshots import open_app
from tests.browser.conftest import App


def test_a_page_becomes_rows(sheet: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no")
    sheets, rows, problems = taken([str(sheet), str(broken)], split=True)
    assert [row[:2] for row in rows] == [[True, "page.png"]] * 3
    assert [str(problem)[:11] for problem in problems] == ["broken.png:"]
    assert len(taken([str(sheet)], split=False)[1]) == 1
    (tmp_path / "other").mkdir()
    other = shutil.copy(sheet, tmp_path / "other" / sheet.name)
    assert [one.name for one in taken([str(sheet), str(other)], split=True)[0]] == [sheet.name, f"{sheet.name} (2)"]
    html = shown(sheets, rows, "page.png")
    assert html.count('aria-pressed="true"') == 3 + 1  # and what a new one is made of
    rows[1][0] = False
    region = region_of(rows[1])
    html = shown(sheets, rows, "page.png")
    assert f'aria-pressed="false" data-box="{region.left},{region.top},{region.right},{region.bottom}"' in html
    assert shown(sheets, rows, "other.png") == ""
    rows[0][2] = "wide"  # typed a moment ago
    assert "Region 1" not in shown(sheets, rows, "page.png").partition("<template>")[0]
    for wrong in ("wide", None, float("nan"), 1e9):
        with pytest.raises(BadImage, match="numbers of pixels"):
            region_of([True, "page.png", wrong, 0, 1, 1, "", ""])


@pytest.mark.slow
def test_split_leave_out_read_take_download(page: Page, app: App, sheet: Path) -> None:
    open_app(page, app.url)
    page.click("#hm-input button[role=tab]:has-text('Pages')")
    page.set_input_files("#hm-pages input[type=file]", sheet)
    boxes = page.locator("#hm-regions [role=gridcell] input[type=checkbox]")
    expect(boxes).to_have_count(3)
    page.locator(".hm-region").nth(1).click()
    expect(boxes.nth(1)).not_to_be_checked()
    page.click("#hm-read-regions")
    expect(page.locator("#hm-table")).to_be_visible()
    with page.expect_download() as saved:
        page.click("#hm-table")
    rows = list(csv.DictReader(io.StringIO(saved.value.path().read_text(encoding="utf-8"))))
    recognizer = load(app.checkpoint)
    right = [recognizer.recognize([examples()[index]])[0].latex for index in (0, 2)]
    assert [row["latex"] for row in rows] == right
    page.locator("#hm-regions [role=gridcell]").get_by_text(right[1], exact=True).first.click()
    expect(page.locator("#hm-correction textarea")).to_have_value(right[1])


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    page.mouse.move(*end)
    page.mouse.up()


@pytest.mark.slow
def test_edges_are_dragged_and_regions_drawn(page: Page, app: App, sheet: Path) -> None:
    open_app(page, app.url)
    page.click("#hm-input button[role=tab]:has-text('Pages')")
    page.set_input_files("#hm-pages input[type=file]", sheet)
    regions = page.locator(".hm-sheet > .hm-region")
    expect(regions).to_have_count(3)
    picture = page.locator(".hm-sheet img").bounding_box()
    middle = regions.nth(1).bounding_box()
    assert picture is not None and middle is not None
    scale = 1000 / picture["width"]
    before = [int(number) for number in (regions.nth(1).get_attribute("data-box") or "").split(",")]

    def numbers() -> list[int]:
        """Of the second region, as the table has them."""
        cells = page.locator("#hm-regions [role=gridcell]")
        return [int(cells.nth(len(HEADERS) + place).inner_text()) for place in range(2, 6)]

    x, y = middle["x"], middle["y"]
    right, bottom = x + middle["width"], y + middle["height"]
    drag(page, (x - 4, y + middle["height"] / 2), (x + 36, y + middle["height"] / 2 + 30))  # the left edge
    page.wait_for_function(
        "(old) => !document.querySelector('#hm-regions').innerText.includes(old)", arg=str(before[0])
    )
    after = numbers()
    assert after[0] == pytest.approx(before[0] + 40 * scale, abs=2)
    assert after[1:] == before[1:]
    drag(page, (right + 4, bottom + 4), (right + 24, bottom + 14))  # the corner
    expect(regions.nth(1)).not_to_have_attribute("data-box", ",".join(map(str, after)))
    page.wait_for_function(
        "(old) => !document.querySelector('#hm-regions').innerText.includes(old)", arg=str(before[3])
    )
    assert numbers() == pytest.approx([after[0], before[1], before[2] + 20 * scale, before[3] + 10 * scale], abs=2)
    assert [regions.nth(place).get_attribute("aria-pressed") for place in range(3)] == [
        "true"
    ] * 3  # a drag is no click

    boxes = page.locator("#hm-regions [role=gridcell] input[type=checkbox]")
    drag(page, (picture["x"] + 5, picture["y"] + 5), (picture["x"] + picture["width"] - 5, picture["y"] + 30))
    expect(boxes).to_have_count(4)
    expect(regions).to_have_count(4)
    regions.nth(3).press("Enter")
    expect(boxes.nth(3)).not_to_be_checked()
    regions.nth(0).press("Enter")
    expect(boxes.nth(0)).not_to_be_checked()
    page.click("#hm-read-regions")
    expect(page.locator("#hm-table")).to_be_visible()
    with page.expect_download() as saved:
        page.click("#hm-table")
    rows = list(csv.DictReader(io.StringIO(saved.value.path().read_text(encoding="utf-8"))))
    assert [int(row["left"]) for row in rows] == [after[0], find_regions(np.asarray(PIL.Image.open(sheet)))[2].left]


def test_the_table_is_harmless_in_a_spreadsheet(sheet: Path) -> None:
    from hmer.config import Decoding
    from hmer.ui.services import Seen

    answer = Recognizer.load("handwritten").recognize([examples()[0]])[0]
    seen = Seen(b"", answer, Decoding(), "handwritten")
    line = table([Answer(Region(1, 2, 3, 4), "=cmd()", seen)]).splitlines()[1]
    assert line.startswith("'=cmd(),1,2,3,4,")
