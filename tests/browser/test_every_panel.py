"""Every panel, at two widths, light and dark, with a mouse and with fingers; and by keys alone.

One walk through the app and the desk for each kind of screen. At each stop the page must not scroll sideways, and axe
must find nothing serious; on the way no script may fail and no request leave the machine.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from annotations import Alternative, AnnotationStore, Prediction
from hmer.ui.draw_and_upload import examples
from scripts.screenshots import TWO_PLUS_THREE, draw, open_app, running_app
from tests.browser.conftest import CHECKPOINT, App, watched_page

# What gradio itself gets wrong and cannot be mended from here: (rule of axe, selector) with the reason.
GRADIO: dict[tuple[str, str], str] = {
    ("nested-interactive", "#hm-pages button.icon-button"): "it holds the field that takes the files",
}


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app with something in its store, so that no panel is empty."""
    home = tmp_path_factory.mktemp("used")
    readings = (("2+3", 0.3), (r"\frac{x+1}{2}", 0.5), (r"\sqrt{x+3}", 0.9))
    with AnnotationStore(home / "annotations.db") as store:
        for picture, (latex, sure) in zip(examples(), readings, strict=False):
            others = (Alternative(latex, sure), Alternative("x-1", 0.1))
            store.add(picture.read_bytes(), prediction=Prediction(latex, CHECKPOINT, (), sure, others), source="batch")
        for picture in examples()[3:]:
            read = Prediction("x", CHECKPOINT, (), 0.4, ())
            store.add(picture.read_bytes(), prediction=read, correction=r"\alpha_1", status="accepted", annotator="Ada")
    with running_app(home, CHECKPOINT) as url:
        yield App(url, home, CHECKPOINT)


@dataclass(frozen=True)
class Hand:
    """A mouse, or a finger."""

    page: Page
    touch: bool

    def press(self, place: str | Locator) -> None:
        """Click or tap the first of what is named."""
        target = (self.page.locator(place) if isinstance(place, str) else place).first
        target.tap() if self.touch else target.click()

    def draw(self, strokes: Sequence[Sequence[tuple[float, float]]], at: tuple[float, float]) -> None:
        """On the sketchpad; playwright's own finger only taps."""
        if not self.touch:
            draw(self.page, strokes, at)
            return
        box = self.page.locator("#hm-sketch canvas").first.bounding_box()
        assert box is not None
        left, top = box["x"] + at[0] * box["width"], box["y"] + at[1] * box["height"]
        screen = self.page.context.new_cdp_session(self.page)
        for stroke in strokes:
            for index, (x, y) in enumerate(stroke):
                points = [{"x": left + x, "y": top + y}]
                kind = "touchMove" if index else "touchStart"
                screen.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
            screen.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        screen.detach()


def through_the_app(page: Page, hand: Hand, sheet: Path) -> Iterator[str]:
    """One path through each panel of the first page; gives the name of each while it can be seen."""
    hand.draw(TWO_PLUS_THREE, at=(0.2, 0.4))
    hand.press("#hm-recognize-drawing")
    expect(page.locator("#hm-latex textarea")).to_have_value("2+3")
    expect(page.locator("#hm-preview .katex")).to_have_count(1)
    yield "draw"

    page.fill("#hm-correction textarea", r"2 + \frac{3}{4")
    expect(page.locator("#hm-problem [role=alert]")).to_be_visible()
    yield "an error in the correction"
    page.fill("#hm-correction textarea", r"2 + \heartsuit")
    hand.press("#hm-save")
    expect(page.locator("#hm-tally")).to_contain_text("Saved")
    hand.press("#hm-correction-symbols .hm-chip")
    expect(page.locator("#hm-correction-options .hm-options")).to_be_visible()
    yield "correction"

    hand.press("#hm-settings button")
    for way, shown in (("Sampling", "#hm-temperature"), ("Beam search", "#hm-beam-width")):
        hand.press(page.get_by_label(way))
        expect(page.locator(shown)).to_be_visible()
    yield "settings"
    hand.press("#hm-settings button")

    hand.press("#hm-input button[role=tab]:has-text('Upload')")
    page.set_input_files("#hm-upload input[type=file]", examples()[3])
    expect(page.locator("#hm-alternatives label").nth(1)).to_be_visible()
    expect(page.locator("#hm-upload img")).to_be_visible()
    yield "upload"

    hand.press("#hm-looking button")
    hand.press("#hm-look")
    expect(page.locator("#hm-looks img")).to_be_visible()
    yield "where it looked"
    hand.press("#hm-looking button")

    hand.press("#hm-input button[role=tab]:has-text('Pages')")
    page.set_input_files("#hm-pages input[type=file]", sheet)
    expect(page.locator("#hm-regions [role=gridcell] input[type=checkbox]")).to_have_count(3)
    hand.press("#hm-read-regions")
    expect(page.locator("#hm-table")).to_be_visible()
    yield "pages"

    for name, inside in (
        ("learn", "#hm-learn-start"),
        ("share", "#hm-push-show"),
        ("history", "#hm-history-list button"),
    ):
        hand.press(f"#hm-{name} button")
        expect(page.locator(inside).first).to_be_visible()
        if name == "share":
            hand.press("#hm-push-show")
            expect(page.locator(".toast-body").first).to_be_visible()
            expect(page.locator(".toast-body")).to_have_count(0)  # it goes by itself
        yield name
        hand.press(f"#hm-{name} button")


def through_the_desk(page: Page, hand: Hand, picture: Path) -> Iterator[str]:
    """The same for the tabs of the desk."""

    def tab(name: str) -> None:
        place = page.locator(f"#hm-desk button[role=tab]:has-text('{name}')")
        if not place.count():  # on a narrow page, in a menu
            hand.press("#hm-desk button[aria-label='More tabs']")
            place = page.locator(f"#hm-desk .overflow-dropdown button:has-text('{name}')")
        hand.press(place)

    hand.press("#hm-q-start")
    expect(page.locator("#hm-q-picture img.hm-picture").first).to_be_visible()
    hand.press("#hm-q-text-symbols .hm-chip")
    expect(page.locator("#hm-q-text-options .hm-options")).to_be_visible()
    yield "queue"
    tab("Grid")
    hand.press("#hm-g-fetch")
    expect(page.locator(".hm-cell .katex").first).to_be_visible()
    yield "grid"
    tab("Take in")
    page.set_input_files("#hm-i-files input[type=file]", picture)
    expect(page.locator("#hm-i-files .file-preview")).to_be_visible()
    hand.press("#hm-i-start")
    expect(page.locator("#hm-i-told")).to_contain_text("known")
    yield "take in"
    tab("Browse")
    hand.press("#hm-b-search")
    hand.press(page.locator("#hm-b-table [role=gridcell]").nth(5))
    expect(page.locator("#hm-b-about")).to_be_visible()
    yield "browse"
    tab("Write this")
    hand.press("#hm-w-other")
    expect(page.locator("#hm-w-formula .katex")).to_have_count(1)
    yield "write this"
    tab("Charts")
    hand.press("#hm-c-refresh")
    expect(page.locator("#hm-c-confused canvas, #hm-c-confused svg.marks").first).to_be_visible()
    yield "charts"


def serious(page: Page) -> list[str]:
    """What axe finds that keeps somebody from using the page, a line each."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{rule['id']}: {', '.join(map(str, node['target']))}: {node['html'][:160]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
        if not any(known == rule["id"] and _matches(page, node, selector) for known, selector in GRADIO)
    ]


def _matches(page: Page, node: dict[str, Any], selector: str) -> bool:
    target = node["target"][0]
    return bool(
        page.evaluate(
            "([target, known]) => document.querySelector(target)?.matches(known) ?? false", [target, selector]
        )
    )


SETTLED = """() => document.getAnimations().every((one) => one.playState !== 'running'
  || one.effect.getComputedTiming().endTime === Infinity)"""


@pytest.mark.slow
@pytest.mark.parametrize("touch", [False, True], ids=["mouse", "touch"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_panel(browser: Browser, used: App, sheet: Path, width: int, touch: bool) -> None:
    problems: list[str] = []

    def check(page: Page, stop: str) -> None:
        for scheme in ("dark", "light"):  # the page follows at once
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.wait_for_function("(dark) => document.body.classList.contains('dark') === dark", arg=scheme == "dark")
            page.wait_for_timeout(300)
            page.wait_for_function(SETTLED)  # colours change slowly
            wide = page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                problems.append(f"{stop}, {scheme}: {wide} px wide")
            if not touch:  # the same page, and axe takes its time
                problems.extend(f"{stop}, {scheme}: {line}" for line in serious(page))

    for page in watched_page(browser, used, width, 900, has_touch=touch):
        page.on(
            "console",
            lambda said: problems.append(f"console: {said.text} {said.location}") if said.type == "error" else None,
        )
        open_app(page, used.url)
        for stop in through_the_app(page, Hand(page, touch), sheet):
            check(page, stop)
        page.goto(f"{used.url}desk")
        page.wait_for_function("window.hmerDesk === true")
        for stop in through_the_desk(page, Hand(page, touch), examples()[0]):
            check(page, stop)
    assert not problems, "\n".join(problems)


# --- keys alone -------------------------------------------------------------------------------------------

WALK = """() => {
  const at = document.activeElement;
  return at && at !== document.body ? (window.hmerWalked ??= new Set()).add(at).size : 0;
}"""
LEFT_OUT = """() => [...document.querySelectorAll(
    'button, input:not([type=hidden]), textarea, select, a[href], [tabindex]:not([tabindex="-1"])')]
  .filter((item) => !item.disabled && item.checkVisibility({ visibilityProperty: true }) && item.getClientRects().length
    && item.tabIndex >= 0 && !window.hmerWalked.has(item)
    && !(item.type === 'radio' && [...window.hmerWalked].some((other) => other.name === item.name)))
  .map((item) => `${item.closest('[id^=hm-]')?.id}: ${item.outerHTML.slice(0, 120)}`)"""


def walk(page: Page) -> list[str]:
    """Press Tab until nothing new gets the focus; what can be used and never got it."""
    page.evaluate("() => { window.hmerWalked = new Set(); document.activeElement.blur(); }")
    count, still = 0, 0
    while still < 3:
        page.keyboard.press("Tab")
        seen = page.evaluate(WALK)
        count, still = max(count, seen), 0 if seen > count else still + 1
    left_out: list[str] = page.evaluate(LEFT_OUT)
    assert count > 10  # the barest tab has that many
    return left_out


@pytest.mark.slow
def test_keys_alone_reach_everything(browser: Browser, used: App, sheet: Path) -> None:
    def by_key(place: Locator) -> None:
        place.first.focus()
        page.keyboard.press("Enter")

    for page in watched_page(browser, used, 1280, 900):
        open_app(page, used.url)
        for accordion in ("settings", "learn", "share", "looking", "history"):
            by_key(page.locator(f"#hm-{accordion} button"))
        expect(page.locator("#hm-history-clear")).to_be_visible()
        page.fill("#hm-correction textarea", "x+1")
        expect(page.locator("#hm-correction-symbols .hm-chip")).to_have_count(3)
        assert walk(page) == []
        by_key(page.get_by_role("tab", name="Upload"))
        expect(page.locator("#hm-turn-left")).to_be_visible()
        assert walk(page) == []
        by_key(page.get_by_role("tab", name="Pages"))
        page.set_input_files("#hm-pages input[type=file]", sheet)
        expect(page.locator("#hm-regions [role=gridcell] input[type=checkbox]")).to_have_count(3)
        assert walk(page) == []
        expect(page.locator(".toast-body")).to_have_count(0)  # walking past asks for nothing
        page.goto(f"{used.url}desk")
        page.wait_for_function("window.hmerDesk === true")
        for name in ("Queue", "Grid", "Take in", "Browse", "Write this", "Charts"):
            by_key(page.get_by_role("tab", name=name))
            expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
            if name == "Write this":
                expect(page.locator('#hm-write button[aria-label="Brush"]')).to_be_visible()  # the sheet comes later
            assert walk(page) == []
