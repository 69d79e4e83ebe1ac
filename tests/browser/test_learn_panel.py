"""The panel that learns: a real fine-tuning of the real checkpoint, while the app goes on reading."""

import time

import pytest
from playwright.sync_api import Page, expect

from annotations import AnnotationStore
from hmer.ui.draw_and_upload import examples
from scripts.screenshots import open_app
from tests.browser.conftest import App


def open_panel(page: Page, app: App, name: str) -> None:
    """With three corrections by bob, and some by ada, of which only bob's are chosen."""
    with AnnotationStore(app.store) as store:
        for picture in examples()[:3]:
            store.add(picture.read_bytes(), correction="2 + 3", status="accepted", annotator="ada", source="test")
            store.add(picture.read_bytes(), correction=r"\heartsuit", status="accepted", annotator="bob", source="test")
    open_app(page, app.url)
    page.locator("#hm-learn button").first.click()
    page.click("#hm-learn-annotator input")
    page.get_by_role("option", name="bob", exact=True).click()
    page.fill("#hm-learn-name input, #hm-learn-name textarea", name)


@pytest.mark.slow  # a process that imports everything anew
def test_it_can_be_cancelled(page: Page, app: App) -> None:
    open_panel(page, app, "never")
    page.click("#hm-learn-start")
    expect(page.locator("#hm-learn-log")).to_contain_text("3 corrections to learn from")
    expect(page.locator("#hm-learn-start")).to_be_disabled()
    page.click("#hm-learn-cancel")
    expect(page.locator("#hm-learn-log")).to_contain_text("ancelled; nothing was changed.", timeout=90_000)
    expect(page.locator("#hm-learn-start")).to_be_enabled()
    assert not (app.home / "checkpoints" / "never").exists()
    page.fill("#hm-learn-name input, #hm-learn-name textarea", "../never")
    page.click("#hm-learn-start")
    expect(page.locator(".toast-body")).to_contain_text("is no name for a checkpoint")


@pytest.mark.slow  # minutes
def test_learn_and_use_it_at_once(page: Page, app: App) -> None:
    open_panel(page, app, "hearts")
    page.check("#hm-learn-force input")
    page.click("#hm-learn-start")
    expect(page.locator("#hm-learn-log")).to_contain_text("3 corrections to learn from")
    expect(page.locator("#hm-learn-bar")).to_contain_text("learning", timeout=60_000)
    expect(page.locator("#hm-learn-start")).to_be_disabled()

    page.locator("#hm-examples button").first.click()  # read meanwhile
    began = time.monotonic()
    expect(page.locator("#hm-facts .hm-pill")).to_be_visible()
    assert time.monotonic() - began < 10  # of a page drawn by software beside it; the answer itself is far quicker

    expect(page.locator("#hm-learn-log")).to_contain_text("hearts can be chosen", timeout=900_000)  # beside other tests
    expect(page.locator("#hm-learn-log")).to_contain_text(r"new symbols: \heartsuit")
    page.locator("#hm-settings button").first.click()
    expect(page.locator("#hm-checkpoint input")).to_have_value("hearts (fine-tuned)")
    expect(page.locator("#hm-learn-start")).to_be_enabled()
    page.locator("#hm-examples button").nth(1).click()
    expect(page.locator("#hm-facts")).to_contain_text("hearts-")
