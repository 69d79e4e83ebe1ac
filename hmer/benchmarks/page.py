"""What somebody waits for in the browser: until the page paints, until one can draw, until an answer stands there."""

import statistics
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TIMEOUT_MS = 60_000
PAUSE_MS = 1_000  # a person looks at an answer before asking for the next
_PEN = '#hm-sketch button[aria-label="Brush"].highlight'
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000"
_LARGEST = """new Promise((tell) => new PerformanceObserver((list) => tell(list.getEntries().at(-1).startTime / 1000))
  .observe({ type: 'largest-contentful-paint', buffered: true }))"""
# From the press to the frame in which another answer stands, on the page's own clock.
_ANSWER = """(index) => new Promise((tell) => {
  const field = document.querySelector('#hm-latex textarea');
  const before = field.value;
  const began = performance.now();
  document.querySelectorAll('#hm-examples button')[index].click();
  const look = () => (field.value !== before ? tell((performance.now() - began) / 1000) : requestAnimationFrame(look));
  look();
})"""


def page(browser: "Browser", url: str, *, loads: int = 5, answers: int = 5) -> dict[str, Any]:
    """Seconds of a running app in a browser: the first load of a visit, those that follow, and answers to the examples.

    `paint` is the first content on the screen, `largest` the largest piece of it, `usable` the pen in the hand. A visit
    before warms the server up. Of the loads and answers the median and the slowest.
    """
    visit = browser.new_context(viewport={"width": 1280, "height": 860})
    _load(visit.new_page(), url)
    visit.close()
    visit = browser.new_context(viewport={"width": 1280, "height": 860})  # with an empty cache
    opened = visit.new_page()
    first = _load(opened, url)
    later = [_load(opened, url) for _ in range(loads)]
    waits = []
    for index in range(answers + 1):
        waits.append(float(opened.evaluate(_ANSWER, index % 5)))
        opened.wait_for_timeout(PAUSE_MS)
    waits = waits[1:]
    visit.close()
    figures: dict[str, Any] = {f"first_{name}_s": value for name, value in first.items()}
    for name in first:
        values = [load[name] for load in later]
        figures |= {f"second_{name}_s": statistics.median(values), f"second_{name}_slowest_s": max(values)}
    return figures | {"answer_s": statistics.median(waits), "answer_slowest_s": max(waits)}


def _load(opened: "Page", url: str) -> dict[str, float]:
    opened.set_default_timeout(TIMEOUT_MS)
    began = time.monotonic()
    opened.goto(url)
    opened.wait_for_selector(_PEN)
    usable = time.monotonic() - began
    return {"paint": float(opened.evaluate(_PAINT)), "largest": float(opened.evaluate(_LARGEST)), "usable": usable}
