"""Make the pictures of the app in docs/ by using it in a real browser: a drawing, a page of formulas, the desk.

python scripts/screenshots.py
python scripts/screenshots.py --out docs --checkpoint handwritten

Each run starts an app of its own with an empty data folder. Needs a Chromium, of the system or playwright's own.
"""

import argparse
import contextlib
import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

import PIL.Image
from playwright.sync_api import Browser, FilePayload, Page, sync_playwright

from hmer.ui.options import DEFAULT_CHECKPOINT

# Without a graphics card the sketchpad is drawn by the processor: this way of doing so takes a third of the time.
BROWSER_FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "hmer" / "ui" / "examples").glob("*.png"))
START_TIMEOUT_S = 300.0
PAGE_TIMEOUT_MS = 60_000
Point = tuple[float, float]
Stroke = Sequence[Point]

# 2 + 3 as a hand writes it, symbols about 80 px high; the origin is the left upper corner of the writing.
# Few points: where a browser renders without a graphics card, every move takes a good part of a second.
TWO_PLUS_THREE: tuple[Stroke, ...] = (
    ((3, 20), (9, 8), (22, 1), (38, 2), (49, 11), (50, 25), (42, 42), (24, 62), (5, 78), (30, 77), (57, 76)),
    ((88, 42), (136, 40)),
    ((112, 17), (111, 66)),
    ((172, 9), (183, 2), (198, 1), (210, 9), (209, 22), (199, 33), (186, 38), (202, 42), (213, 52), (213, 66), (203, 77), (187, 81), (170, 75)),
)  # fmt: skip


def find_chromium() -> str | None:
    """The system's Chromium or Chrome; None leaves it to playwright's own."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def launch_browser(chromium: object) -> Browser:
    """Start `playwright.chromium`; raises playwright's error when there is no browser."""
    return chromium.launch(executable_path=find_chromium(), args=BROWSER_FLAGS)  # type: ignore[attr-defined, no-any-return]


@contextlib.contextmanager
def running_app(home: Path, checkpoint: str, *flags: str) -> Iterator[str]:
    """An app on a free port with `home` as its data folder; gives its address, and ends it afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port), "--checkpoint", checkpoint, *flags]
    log = home / "app.log"
    with log.open("w") as output:
        process = subprocess.Popen(  # noqa: S603
            command, cwd=ROOT, env={**os.environ, "HMER_HOME": str(home)}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        give_up = time.monotonic() + START_TIMEOUT_S
        while "hmer is at" not in log.read_text():
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"The app did not start:\n{log.read_text()}")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(timeout=30)


def open_app(page: Page, url: str) -> None:
    """Load the page and wait until the pen is in the hand."""
    page.set_default_timeout(PAGE_TIMEOUT_MS)
    page.goto(url)
    page.wait_for_selector("#hm-sketch canvas")
    page.wait_for_selector('#hm-sketch button[aria-label="Brush"].highlight')


def draw(page: Page, strokes: Sequence[Stroke], at: Point = (0.35, 0.4)) -> None:
    """Draw with real mouse moves; `at` is where the writing begins, in shares of the sketchpad."""
    sheet = page.locator("#hm-sketch canvas").first
    sheet.scroll_into_view_if_needed()  # below it, a long list of readings may have been looked at
    box = sheet.bounding_box()
    if box is None:
        raise RuntimeError("The sketchpad cannot be seen.")
    left, top = box["x"] + at[0] * box["width"], box["y"] + at[1] * box["height"]
    for stroke in strokes:
        for index, (x, y) in enumerate(stroke):
            page.mouse.move(left + x, top + y)
            if index == 0:
                page.mouse.down()
        page.mouse.up()


def recognize_drawing(page: Page) -> str:
    """Press Recognise, wait for a new answer about the drawing as it is now, and give its LaTeX."""
    news = "#hm-news textarea"  # other for every answer, even one that is the same as before
    before = page.input_value(news)
    page.click("#hm-recognize-drawing")
    # An answer to a pause in the middle of the drawing may come before it; that one is shown as stale.
    page.wait_for_function(
        "([place, old]) => document.querySelector(place).value !== old && !document.querySelector('.hm-stale')",
        arg=[news, before],
    )
    page.wait_for_selector("#hm-facts .hm-pill")
    return page.input_value("#hm-latex textarea")


def show_drawing(page: Page, url: str) -> None:
    """A drawing and its answer."""
    open_app(page, url)
    narrow = page.viewport_size is not None and page.viewport_size["width"] < 640
    draw(page, TWO_PLUS_THREE, at=(0.2, 0.4) if narrow else (0.35, 0.4))
    print(f"read {recognize_drawing(page)}")
    page.wait_for_selector("#hm-preview .katex")


def show_pages(page: Page, url: str) -> None:
    """A page of formulas, split and read."""
    sheet = PIL.Image.new("L", (1400, 800), 255)
    for picture, place in zip(EXAMPLES, ((60, 60), (800, 40), (80, 330), (760, 300), (420, 560)), strict=False):
        formula = PIL.Image.open(picture).convert("L")
        formula.thumbnail((520, 220))
        sheet.paste(formula, place)
    encoded = io.BytesIO()
    sheet.save(encoded, format="PNG")
    open_app(page, url)
    page.click("#hm-input button[role=tab]:has-text('Pages')")
    upload: FilePayload = {"name": "page.png", "mimeType": "image/png", "buffer": encoded.getvalue()}
    page.set_input_files("#hm-pages input[type=file]", upload)
    page.locator(".hm-sheet > .hm-region").last.click()
    page.click("#hm-read-regions")
    page.wait_for_selector("#hm-table")


def show_desk(page: Page, url: str) -> None:
    """The queue of the desk, with what a symbol might be instead."""
    page.set_default_timeout(PAGE_TIMEOUT_MS)
    page.goto(f"{url}desk")
    page.wait_for_function("window.hmerDesk === true")
    page.click("#hm-desk button[role=tab]:has-text('Take in')")
    page.set_input_files("#hm-i-files input[type=file]", EXAMPLES)
    page.wait_for_selector("#hm-i-files .file-preview")
    page.click("#hm-i-start")
    page.wait_for_selector("#hm-i-told")
    page.click("#hm-desk button[role=tab]:has-text('Queue')")
    page.click("#hm-q-start")
    page.wait_for_selector("#hm-q-formula .katex")
    page.locator("#hm-q-text-symbols .hm-chip").nth(1).click()
    page.wait_for_selector("#hm-q-text-options button")


SHOTS: dict[str, tuple[Callable[[Page, str], None], int, int, Literal["light", "dark"]]] = {
    "desktop-light": (show_drawing, 1280, 860, "light"),
    "desktop-dark": (show_drawing, 1280, 860, "dark"),
    "phone": (show_drawing, 390, 844, "light"),
    "pages": (show_pages, 1280, 860, "light"),
    "desk": (show_desk, 1280, 860, "light"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Write one PNG a look; 1 when the app or the browser does not start."""
    parser = argparse.ArgumentParser(description="Make the pictures of the app in docs/.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder for the pictures")
    parser.add_argument("--checkpoint", default=DEFAULT_CHECKPOINT, help="checkpoint reference")
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="hmer-") as home,
        running_app(Path(home), arguments.checkpoint) as url,
        sync_playwright() as playwright,
        contextlib.closing(launch_browser(playwright.chromium)) as browser,
    ):
        for name, (show, width, height, scheme) in SHOTS.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            show(page, url)
            page.mouse.move(2, 2)
            page.wait_for_timeout(800)  # transitions of the buttons
            page.screenshot(path=arguments.out / f"{name}.png", full_page=True)
            print(f"{name}.png")
            page.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
