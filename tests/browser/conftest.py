"""A running app and a browser for the tests here. No browser is a failure, never a skip."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import PIL.Image
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from hmer.ui.draw_and_upload import examples
from hmer.ui.options import DEFAULT_CHECKPOINT
from scripts.screenshots import launch_browser, running_app

expect.set_options(timeout=30_000)  # two busy cores need their time

CHECKPOINT = os.environ.get("HMER_TEST_CHECKPOINT", DEFAULT_CHECKPOINT)


@dataclass(frozen=True)
class App:
    """A running app: its address, data folder and checkpoint."""

    url: str
    home: Path
    checkpoint: str

    @property
    def store(self) -> Path:
        return self.home / "annotations.db"


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """One app for all tests of this folder; what they save adds up."""
    home = tmp_path_factory.mktemp("home")
    with running_app(home, CHECKPOINT) as url:
        yield App(url, home, CHECKPOINT)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium, or playwright's own."""
    with sync_playwright() as playwright:
        started = launch_browser(playwright.chromium)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, app: App) -> Iterator[Page]:
    """A page at desktop size; afterwards no request may have left the machine and no script failed."""
    yield from watched_page(browser, app, 1280, 900)


@pytest.fixture
def phone(browser: Browser, app: App) -> Iterator[Page]:
    """A page at the width of a phone, in the dark; watched as `page` is."""
    yield from watched_page(browser, app, 390, 844, color_scheme="dark", has_touch=True)


def watched_page(browser: Browser, app: App, width: int, height: int, **options: object) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": width, "height": height}, **options)  # type: ignore[arg-type]
    page = context.new_page()
    elsewhere: list[str] = []
    failures: list[str] = []
    home = urlsplit(app.url).netloc

    def check_request(url: str) -> None:
        if urlsplit(url).scheme not in ("blob", "data") and urlsplit(url).netloc != home:
            elsewhere.append(url)

    page.on("request", lambda request: check_request(request.url))
    page.on("websocket", lambda socket: check_request(socket.url))
    page.on("pageerror", lambda error: failures.append(str(error)))
    yield page
    context.close()
    assert elsewhere == []
    assert failures == []


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    """Three of the examples on one page."""
    page = PIL.Image.new("L", (1000, 1100), 255)
    for index, picture in enumerate(examples()[:3]):
        page.paste(PIL.Image.open(picture).convert("L"), (60, 60 + 360 * index))
    target = tmp_path / "page.png"
    page.save(target)
    return target
