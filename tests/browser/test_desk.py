"""The correction desk in a real browser."""

import sqlite3
from collections.abc import Iterator

import PIL.Image
import pytest
from playwright.sync_api import Browser, Page, expect

from annotations import Alternative, AnnotationStore, Prediction
from hmer.ui.draw_and_upload import examples
from scripts.screenshots import PAGE_TIMEOUT_MS, running_app
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


def test_a_locked_store_says_so_and_keeps_what_was_typed(desk: Page, desk_app: App, store: AnnotationStore) -> None:
    ids = wait_in_queue(store)
    desk.click("#hm-q-start")
    desk.fill(TEXT, "x+2")
    lock = sqlite3.connect(desk_app.store, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        desk.click("#hm-q-accept")
        expect(desk.locator(".toast-body")).to_contain_text("in use by another program", timeout=30_000)
        expect(desk.locator(".toast-body")).to_contain_text("Nothing was saved")
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    expect(desk.locator(TEXT)).to_have_value("x+2")
    desk.click("#hm-q-accept")
    shows(desk, ids[1])
    assert store.get(ids[0]).correction == "x+2"


def test_near_duplicates_are_shown(desk: Page, store: AnnotationStore) -> None:
    store.add(picture(0, 1.5), correction="x < 1", status="accepted")
    wait_in_queue(store)
    desk.click("#hm-q-start")
    expect(desk.locator(".hm-near figure")).to_have_count(1)
    expect(desk.locator(".hm-near code")).to_have_text("x < 1")
