"""Make the pictures of the app in docs/ by using it: draw, recognise, mend, in a real browser.

python scripts/screenshots.py
python scripts/screenshots.py --out docs --checkpoint handwritten

Each run starts an app of its own with an empty data folder. Needs a Chromium, of the system or playwright's own.
"""

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

from playwright.sync_api import Browser, Page, sync_playwright

from hmer.ui.options import DEFAULT_CHECKPOINT

# Without a graphics card the sketchpad is drawn by the processor: this way of doing so takes a third of the time.
BROWSER_FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

ROOT = Path(__file__).parent.parent
START_TIMEOUT_S = 120.0
PAGE_TIMEOUT_MS = 60_000
SHOTS = {
    "desktop-light": (1280, 860, "light"),
    "desktop-dark": (1280, 860, "dark"),
    "phone": (390, 844, "light"),
}

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
    box = page.locator("#hm-sketch canvas").first.bounding_box()
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
    """Press Recognise, wait for a new answer and give its LaTeX."""
    page.evaluate("document.querySelector('#hm-facts .hm-facts')?.remove()")
    page.click("#hm-recognize-drawing")
    page.wait_for_selector("#hm-facts .hm-pill")
    return page.input_value("#hm-latex textarea")


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
        for name, (width, height, scheme) in SHOTS.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            open_app(page, url)
            draw(page, TWO_PLUS_THREE, at=(0.2, 0.4) if name == "phone" else (0.35, 0.4))
            print(f"{name}: read {recognize_drawing(page)}")
            page.wait_for_selector("#hm-preview .katex")
            page.mouse.move(2, 2)
            page.wait_for_timeout(800)  # transitions of the buttons
            page.screenshot(path=arguments.out / f"{name}.png", full_page=True)
            page.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
