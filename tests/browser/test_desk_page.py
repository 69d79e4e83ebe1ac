"""The correction desk in a real browser."""

import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from playwright.sync_api import Browser, Page, expect

from annotations import Alternative, AnnotationStore, Prediction
from hmer.ui.draw_and_upload import examples
from scripts.screenshots import PAGE_TIMEOUT_MS, open_app, running_app
from tests.browser.conftest import CHECKPOINT, App, watched_page

TEXT = "#hm-q-text textarea"


@pytest.fixture(scope="module")
def desk_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app of its own: what waits in its store is what these tests put there."""
    home = tmp_path_factory.mktemp("desk")
    with running_app(home, CHECKPOINT) as url:
        yield App(url, home, CHECKPOINT)


@pytest.fixture
def store(desk_app: App) -> Iterator[AnnotationStore]:
    with AnnotationStore(desk_app.store) as opened:
        for row in opened.find():
            opened.purge(row.id)
        yield opened


@pytest.fixture
def desk(browser: Browser, desk_app: App) -> Iterator[Page]:
    for page in watched_page(browser, desk_app, 1280, 900):
        page.set_default_timeout(PAGE_TIMEOUT_MS)
        expect.set_options(timeout=PAGE_TIMEOUT_MS / 2)  # what waits here is a store and a browser, on a busy machine
        page.goto(f"{desk_app.url}desk")
        page.wait_for_selector("#hm-q-start")
        page.wait_for_function("window.hmerDesk === true")
        yield page


def picture(number: int, scale: float = 1.0) -> PIL.Image.Image:
    image = PIL.Image.open(examples()[number]).convert("L")
    return image.resize((round(image.width * scale), round(image.height * scale)))


def wait_in_queue(store: AnnotationStore) -> list[int]:
    """Three pictures with readings, the surest last."""
    readings = [("x+1", 0.3), ("y", 0.5), (r"\alpha", 0.9)]
    return [
        store.add(
            picture(number), source="batch",
            prediction=Prediction(latex, "handwritten", (), sure, (Alternative(latex, sure), Alternative("x-1", 0.1))),
        ).annotation.id
        for number, (latex, sure) in enumerate(readings)
    ]  # fmt: skip


def shows(page: Page, number: int) -> None:
    expect(page.locator("#hm-q-facts")).to_have_attribute("data-id", str(number))


def test_the_queue_by_keys(desk: Page, store: AnnotationStore) -> None:
    ids = wait_in_queue(store)
    desk.fill("#hm-desk-name input, #hm-desk-name textarea", "Ada")
    desk.click("#hm-q-start")
    shows(desk, ids[0])
    expect(desk.locator(TEXT)).to_have_value("x+1")
    expect(desk.locator("#hm-q-formula .katex")).to_have_count(1)
    expect(desk.locator("#hm-q-picture img.hm-picture")).to_have_count(1)
    desk.locator("#hm-q-place").click()

    desk.keyboard.press("2")  # the other reading
    expect(desk.locator(TEXT)).to_have_value("x-1")
    desk.keyboard.press("e")
    desk.keyboard.press("End")
    desk.keyboard.type("a}")  # letters are letters in the field
    expect(desk.locator("#hm-q-problem [role=alert]")).to_contain_text("character 5")
    desk.keyboard.press("Control+Enter")
    expect(desk.locator(".toast-body")).to_be_visible()
    expect(desk.locator(TEXT)).to_have_value("x-1a}")  # nothing typed is lost
    assert str(store.get(ids[0]).status) == "pending"
    desk.keyboard.press("Backspace")
    expect(desk.locator("#hm-q-problem [role=alert]")).to_have_count(0)
    desk.keyboard.press("Control+Enter")
    shows(desk, ids[1])
    first = store.get(ids[0])
    assert (first.correction, str(first.status), first.annotator, first.source) == ("x-1a", "accepted", "Ada", "batch")
    assert first.prediction is not None

    desk.keyboard.press("Escape")
    desk.keyboard.press("v")
    shows(desk, ids[2])
    assert (str(store.get(ids[1]).status), store.get(ids[1]).reason) == ("rejected", "several")
    desk.keyboard.press("a")
    expect(desk.locator("#hm-q-picture .hm-empty")).to_be_visible()
    assert (store.get(ids[2]).correction, str(store.get(ids[2]).status)) == (r"\alpha", "accepted")
    desk.keyboard.press("u")
    shows(desk, ids[2])
    assert str(store.get(ids[2]).status) == "pending"
    desk.keyboard.press("ArrowLeft")
    shows(desk, ids[1])
    desk.keyboard.press("ArrowRight")
    shows(desk, ids[2])
    desk.keyboard.press("s")
    expect(desk.locator("#hm-q-waiting")).to_have_text("0")
    assert str(store.get(ids[2]).status) == "skipped"


@pytest.mark.slow
def test_keys_that_follow_at_once_save_nothing_under_the_next_item(desk: Page, store: AnnotationStore) -> None:
    ids = wait_in_queue(store)
    desk.click("#hm-q-start")
    shows(desk, ids[0])
    desk.locator("#hm-q-place").click()
    desk.evaluate(
        """() => ['a', 's', 'a'].forEach((key) =>
             document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true })))"""
    )
    shows(desk, ids[1])
    expect(desk.locator(TEXT)).to_have_value("y")
    desk.wait_for_timeout(1500)  # all three have been answered
    rows = [store.get(number) for number in ids]
    assert [str(row.status) for row in rows] == ["accepted", "pending", "pending"]
    assert [row.correction for row in rows] == ["x+1", None, None]
    desk.keyboard.press("a")
    shows(desk, ids[2])
    assert store.get(ids[1]).correction == "y"


def test_a_symbol_is_clicked_and_replaced(desk: Page, store: AnnotationStore) -> None:
    (number,) = wait_in_queue(store)[:1]
    desk.click("#hm-q-start")
    shows(desk, number)
    chips = desk.locator("#hm-q-text-symbols .hm-chip")
    expect(chips).to_have_text(["x", "+", "1"])
    chips.nth(1).click()
    options = desk.locator("#hm-q-text-options button")
    expect(options.first).to_be_visible()
    expect(chips.nth(1)).to_have_attribute("aria-pressed", "true")
    chosen = options.first.get_attribute("data-latex")
    assert chosen and chosen != "x+1"
    desk.keyboard.press("1")  # the first of them
    expect(desk.locator(TEXT)).to_have_value(chosen)
    expect(options).to_have_count(0)
    expect(desk.locator("#hm-q-formula .katex")).to_have_count(1)
    desk.locator("#hm-q-place").click()
    desk.keyboard.press("a")
    shows(desk, number + 1)
    assert store.get(number).correction == chosen


@pytest.mark.slow
def test_a_draft_of_anything_comes_back(desk: Page, store: AnnotationStore) -> None:
    ids = wait_in_queue(store)
    desk.click("#hm-q-start")
    shows(desk, ids[0])
    desk.fill(TEXT, r"\frac{x}{")
    desk.click("#hm-q-draft")
    shows(desk, ids[1])
    assert (store.get(ids[0]).correction, str(store.get(ids[0]).status)) == (r"\frac{x}{", "draft")
    desk.click("#hm-q-previous")
    expect(desk.locator(TEXT)).to_have_value(r"\frac{x}{")
    expect(desk.locator("#hm-q-problem [role=alert]")).to_be_visible()


@pytest.mark.slow
def test_filters_are_cleared_at_once(desk: Page, store: AnnotationStore) -> None:
    for index, person in enumerate(("", "Ada")):
        store.add(picture(index), correction="x", annotator=person)
    tab(desk, "Browse")
    desk.fill("#hm-b-since input, #hm-b-since textarea", "2000-01-01")
    desk.click("#hm-b-annotator input")
    desk.get_by_role("option", name="Ada").click()  # who came after the app was started
    desk.click("#hm-b-search")
    expect(desk.locator("#hm-b-count")).to_have_text("1")
    desk.fill("#hm-b-until input, #hm-b-until textarea", "1999-01-01")
    desk.press("#hm-b-until input, #hm-b-until textarea", "Enter")
    expect(desk.locator(".toast-body").last).to_contain_text("is no span of time")
    desk.click("#hm-b-clear")
    expect(desk.locator("#hm-b-count")).to_have_text("2")
    expect(desk.locator("#hm-b-since input, #hm-b-since textarea")).to_have_value("")
    expect(desk.locator("#hm-b-annotator input")).to_have_value("any")


@pytest.mark.slow
def test_symbols_are_put_where_the_cursor_is(desk: Page, store: AnnotationStore) -> None:
    wait_in_queue(store)
    desk.click("#hm-q-start")
    expect(desk.locator(TEXT)).to_have_value("x+1")
    desk.focus(TEXT)
    desk.keyboard.press("Home")
    desk.click(r'#hm-q-palette button[data-insert="\\alpha"]')
    expect(desk.locator(TEXT)).to_have_value(r"\alpha x+1")
    desk.click(r'#hm-q-palette button[data-insert="\\sqrt{}"]')
    desk.keyboard.type("2")
    expect(desk.locator(TEXT)).to_have_value(r"\alpha \sqrt{2}x+1")


@pytest.mark.slow  # it waits for the lock as long as the app does
def test_a_locked_store_says_so_and_keeps_what_was_typed(desk: Page, desk_app: App, store: AnnotationStore) -> None:
    ids = wait_in_queue(store)
    desk.click("#hm-q-start")
    shows(desk, ids[0])
    desk.fill(TEXT, "x+2")
    lock = sqlite3.connect(desk_app.store, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        desk.click("#hm-q-accept")
        expect(desk.locator(".toast-body")).to_contain_text("in use by another program")
        expect(desk.locator(".toast-body")).to_contain_text("Nothing was saved")
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    expect(desk.locator(TEXT)).to_have_value("x+2")
    desk.click("#hm-q-accept")
    shows(desk, ids[1])
    assert store.get(ids[0]).correction == "x+2"


@pytest.mark.slow
def test_near_duplicates_are_shown(desk: Page, store: AnnotationStore) -> None:
    store.add(picture(0, 1.5), correction="x < 1", status="accepted")
    wait_in_queue(store)
    desk.click("#hm-q-start")
    expect(desk.locator(".hm-near figure")).to_have_count(1)
    expect(desk.locator(".hm-near code")).to_have_text("x < 1")


def tab(page: Page, name: str) -> None:
    page.click(f"#hm-desk button[role=tab]:has-text('{name}')")


def test_the_grid_accepts_all_but_the_marked(desk: Page, store: AnnotationStore) -> None:
    ids = wait_in_queue(store)
    tab(desk, "Grid")
    desk.click("#hm-g-fetch")
    expect(desk.locator(".hm-cell img.hm-picture")).to_have_count(3)
    expect(desk.locator(".hm-cell .katex")).to_have_count(3)
    desk.keyboard.press("2")
    expect(desk.locator("#hm-g-mark-1 input")).to_be_checked()
    desk.keyboard.press("Control+Enter")
    expect(desk.locator("#hm-g-said")).to_contain_text("2 accepted, 1 left")
    assert [str(store.get(number).status) for number in ids] == ["accepted", "pending", "accepted"]
    desk.click("#hm-g-undo")
    expect(desk.locator("#hm-g-said")).to_contain_text("2 taken back")
    assert {str(store.get(number).status) for number in ids} == {"pending"}


def test_many_files_are_taken_in(desk: Page, store: AnnotationStore, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.write(examples()[0], "a/first.png")
        archive.writestr("notes.txt", "x")
    tab(desk, "Take in")
    desk.set_input_files("#hm-i-files input[type=file]", [tmp_path / "some.zip", examples()[1]])
    expect(desk.locator("#hm-i-files")).to_contain_text("some")
    desk.click("#hm-i-start")
    expect(desk.locator("#hm-i-told")).to_contain_text("2 read and waiting")
    expect(desk.locator("#hm-i-told")).to_contain_text("notes.txt: Only pictures")
    assert [(str(row.status), row.source, row.prediction is not None) for row in store.find()] == [
        ("pending", "batch", True)
    ] * 2
    tab(desk, "Queue")
    desk.click("#hm-q-start")
    expect(desk.locator("#hm-q-place")).to_have_text("1 of 2")
    # The uploads are gone; the examples of the first page, one of which was among them, are not.
    open_app(desk, desk.url.removesuffix("desk"))
    expect(desk.locator("#hm-examples img")).to_have_count(len(examples()))
    desk.wait_for_function("[...document.querySelectorAll('#hm-examples img')].every((one) => one.naturalWidth > 0)")


def test_browse_edit_delete_undo_erase(desk: Page, store: AnnotationStore) -> None:
    rows = [store.add(picture(index), correction=text).annotation for index, text in enumerate(("x", r"\alpha_1"))]
    tab(desk, "Browse")
    desk.fill("#hm-b-symbol input, #hm-b-symbol textarea", r"\alpha")
    desk.click("#hm-b-search")
    expect(desk.locator("#hm-b-count")).to_have_text("1")
    desk.locator("#hm-b-table [role=gridcell]").nth(5).click()
    expect(desk.locator("#hm-b-about")).to_have_attribute("data-id", str(rows[1].id))
    expect(desk.locator("#hm-b-text textarea")).to_have_value(r"\alpha_1")
    desk.fill("#hm-b-text textarea", r"\beta_1 \alpha")
    desk.click("#hm-b-save")
    expect(desk.locator("#hm-b-about")).to_contain_text(r"correction: \alpha_1 -> \beta_1 \alpha")
    assert store.get(rows[1].id).correction == r"\beta_1 \alpha"
    desk.click("#hm-b-delete")
    expect(desk.locator("#hm-b-nothing")).to_contain_text("is deleted")
    expect(desk.locator("#hm-b-count")).to_have_text("0")
    assert store.count() == 1
    desk.click("#hm-b-undo")
    expect(desk.locator("#hm-b-about")).to_have_attribute("data-id", str(rows[1].id))
    assert store.get(rows[1].id).correction == r"\beta_1 \alpha"
    desk.click("#hm-b-purge")
    expect(desk.locator(".toast-body").last).to_contain_text("tick the box")
    assert store.count() == 2
    desk.check("#hm-b-sure input")
    desk.click("#hm-b-purge")
    expect(desk.locator("#hm-b-nothing")).to_contain_text("Erased")
    assert [row.id for row in store.find()] == [rows[0].id]
    assert store.history(rows[1].id) == []


@pytest.mark.slow
def test_write_this_keeps_the_drawing_and_its_strokes(desk: Page, store: AnnotationStore) -> None:
    tab(desk, "Write this")
    desk.click("#hm-w-other")
    expect(desk.locator("#hm-w-formula .katex")).to_have_count(1)
    formula = desk.input_value("#hm-w-text textarea, #hm-w-text input")
    desk.wait_for_selector('#hm-write button[aria-label="Brush"].highlight')

    def write(strokes: int) -> None:
        desk.locator("#hm-write").scroll_into_view_if_needed()
        box = desk.locator("#hm-write canvas").first.bounding_box()
        assert box is not None
        for stroke in range(strokes):
            for step, (x, y) in enumerate(((200, 150), (360, 190))):
                desk.mouse.move(box["x"] + x, box["y"] + y + 60 * stroke)
                if step == 0:
                    desk.mouse.down()
            desk.mouse.up()

    write(2)
    desk.click("#hm-w-save")
    expect(desk.locator("#hm-w-said")).to_contain_text("Saved as")
    (row,) = store.find()
    assert (row.correction, row.source, str(row.status)) == (formula, "write this", "accepted")
    strokes = store.strokes(row.id)
    assert strokes is not None
    assert len(strokes) == 2
    ink = np.asarray(store.image(row.id)) < 128
    for x, y, _ in (point for stroke in strokes for point in stroke):
        assert ink[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3].any()
    times = [t for stroke in strokes for _, _, t in stroke]
    assert times == sorted(times)
    assert times[-1] > 0

    desk.wait_for_selector('#hm-write button[aria-label="Brush"].highlight')
    write(1)  # on a clean sheet
    desk.click("#hm-w-save")
    expect(desk.locator("#hm-w-said")).to_contain_text(f"No. {row.id + 1}")
    second = store.strokes(row.id + 1)
    assert second is not None
    assert len(second) == 1


@pytest.mark.slow
def test_charts_are_drawn_without_the_internet(desk: Page, store: AnnotationStore) -> None:
    for number, truth in enumerate(("x", "y", "x+1")):
        store.add(picture(number), prediction=Prediction("x", "handwritten"), correction=truth, status="accepted")
    tab(desk, "Charts")
    desk.click("#hm-c-refresh")
    expect(desk.locator("#hm-c-accepted")).to_have_text("3")
    expect(desk.locator("#hm-c-accuracy canvas, #hm-c-accuracy svg.marks").first).to_be_visible()
    expect(desk.locator("#hm-c-confused canvas, #hm-c-confused svg.marks").first).to_be_visible()


@pytest.mark.slow
def test_hostile_text_in_the_store_stays_text(desk: Page, store: AnnotationStore) -> None:
    script = "<img src=x onerror='window.broken=1'><script>window.broken=1</script>"
    for number, latex in enumerate((script, rf"\text{{{script}}}")):
        read = Prediction(latex, script, (script,), 0.4, (Alternative(latex, 0.4), Alternative(script, 0.3)))
        store.add(picture(number), prediction=read, source=script, annotator=script)
    text = rf"\text{{{script}}}"
    store.add(
        picture(2),
        prediction=Prediction("x", script),
        correction=text,
        status="accepted",
        annotator=script,
        source=script,
    )
    desk.click("#hm-q-start")
    expect(desk.locator("#hm-q-facts")).to_contain_text("<img src=x")
    for name, press, shown in (
        ("Grid", "#hm-g-fetch", ".hm-cell .katex"), ("Browse", "#hm-b-search", "#hm-b-table [role=gridcell]"),
        ("Charts", "#hm-c-refresh", "#hm-c-accepted"),
    ):  # fmt: skip
        tab(desk, name)
        desk.click(press)
        expect(desk.locator(shown).first).to_be_visible()
        if name == "Browse":
            desk.locator("#hm-b-table [role=gridcell]").nth(5).click()
            expect(desk.locator("#hm-b-about")).to_contain_text("<img src=x")
    desk.wait_for_timeout(500)
    assert desk.evaluate("window.broken") is None
    assert desk.locator("img[src='x'], img[onerror]").count() == 0
