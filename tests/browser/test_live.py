"""Recognised as one draws; keys; pasting; the history that stays in the browser; doubtful tokens."""

import base64
import io

import PIL.Image
import pytest
from playwright.sync_api import Page, expect

from hmer.recognizer import Recognition
from hmer.routing import load
from hmer.ui.answer import doubts
from hmer.ui.draw_and_upload import examples
from hmer.ui.history import thumbnail
from scripts.screenshots import TWO_PLUS_THREE, draw, open_app
from tests.browser.conftest import App

LATEX = "#hm-latex textarea"
CORRECTION = "#hm-correction textarea"
FRESH = "#hm-answer:not(.hm-stale)"

# What the page shows as the answer, and for which version of the drawing, noted at every change of the page.
WATCH = """() => {
  window.seen = [];
  const look = () => {
    const stale = document.querySelector('#hm-answer').classList.contains('hm-stale');
    const latex = document.querySelector('#hm-latex textarea').value;
    if (!stale && latex) window.seen.push([window.hmerLive.version(), latex]);
  };
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
}"""


@pytest.mark.slow
def test_an_answer_without_a_click_and_never_an_older_one(page: Page, app: App) -> None:
    open_app(page, app.url)
    page.evaluate(WATCH)
    for stroke in TWO_PLUS_THREE:  # fast, one after the other, with answers on their way in between
        draw(page, [stroke])
        page.wait_for_timeout(350)
    page.wait_for_selector(FRESH)
    expect(page.locator(LATEX)).to_have_value("2+3")
    last = page.evaluate("window.hmerLive.version()")
    shown = page.evaluate("window.seen")
    assert [latex for version, latex in shown if version == last]
    assert {latex for version, latex in shown if version == last} == {"2+3"}

    page.keyboard.press("Control+z")  # the 3
    page.wait_for_selector("#hm-answer.hm-stale", state="attached")
    page.wait_for_selector(FRESH)
    assert page.input_value(LATEX) != "2+3"
    page.keyboard.press("Control+Shift+z")
    page.wait_for_selector("#hm-answer.hm-stale", state="attached")
    page.wait_for_selector(FRESH)
    expect(page.locator(LATEX)).to_have_value("2+3")


@pytest.mark.slow
def test_what_was_typed_is_not_written_over_and_the_switch_turns_it_off(page: Page, app: App) -> None:
    open_app(page, app.url)
    draw(page, TWO_PLUS_THREE)
    expect(page.locator(LATEX)).to_have_value("2+3")
    page.fill(CORRECTION, "2+8")
    draw(page, [((0, 0), (200, 4))], at=(0.3, 0.7))
    page.wait_for_timeout(2500)
    assert page.input_value(LATEX) == "2+3"
    assert page.input_value(CORRECTION) == "2+8"

    page.reload()
    page.wait_for_selector('#hm-sketch button[aria-label="Brush"].highlight')
    page.uncheck("#hm-live input")
    draw(page, TWO_PLUS_THREE)
    page.wait_for_timeout(2500)
    assert page.input_value(LATEX) == ""
    page.check("#hm-live input")
    expect(page.locator(LATEX)).to_have_value("2+3")


def test_what_was_typed_between_two_answers_stays(page: Page, app: App) -> None:
    open_app(page, app.url)
    version = page.evaluate("() => window.hmerLive.sent()")
    page.evaluate("() => window.hmerLive.sent()")  # the drawing was asked about as it was drawn and by a click
    assert page.evaluate("(version) => window.hmerLive.answered(version, '2+3')", version) == "2+3"
    page.evaluate("() => { window.hmerLive.over(); window.hmerLive.over(); }")  # answered, and not yet written
    page.fill(CORRECTION, "2+8")
    assert page.evaluate("(version) => window.hmerLive.answered(version, '2+3')", version) == "2+8"


@pytest.mark.slow
def test_a_picture_pasted_anywhere_is_read(page: Page, app: App) -> None:
    open_app(page, app.url)
    paste = """(encoded) => {
      const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
      const held = new DataTransfer();
      held.items.add(new File([bytes], 'pasted.png', { type: 'image/png' }));
      document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData: held, bubbles: true, cancelable: true }));
    }"""
    recognizer = load(app.checkpoint)
    for picture in examples()[:2]:  # the second takes the place of the first
        page.evaluate(paste, base64.b64encode(picture.read_bytes()).decode())
        expect(page.locator(LATEX)).to_have_value(recognizer.recognize([picture])[0].latex)
    old = page.input_value(LATEX)
    page.click("#hm-crop")
    box = page.locator(".hm-crop").bounding_box()
    assert box is not None
    page.mouse.move(box["x"], box["y"])
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"], box["y"] + 0.42 * box["height"], steps=3)  # above the bar of a fraction
    page.mouse.up()
    page.wait_for_function("(old) => document.querySelector('#hm-latex textarea').value !== old", arg=old)
    assert "frac" in old and "frac" not in page.input_value(LATEX)
    page.click("#hm-turn-left")
    page.wait_for_function(
        "(old) => document.querySelector('#hm-latex textarea').value !== old", arg=page.input_value(LATEX)
    )


@pytest.mark.slow
def test_history_stays_in_the_browser_and_can_be_forgotten(page: Page, app: App) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_app(page, app.url)
    for index in (0, 1):
        before = page.input_value(LATEX)
        page.locator("#hm-examples button").nth(index).click()
        page.wait_for_function(
            "(old) => ![old, ''].includes(document.querySelector('#hm-latex textarea').value)", arg=before
        )
    latest = page.input_value(LATEX)
    page.reload()
    page.wait_for_selector("#hm-sketch canvas")
    page.click("#hm-history button")
    entries = page.locator("#hm-history-list button")
    expect(entries).to_have_count(2)
    expect(entries.first.locator("code")).to_have_text(latest)
    assert page.evaluate("document.querySelector('#hm-history-list img').naturalWidth") > 20
    entries.first.click()
    expect(page.locator("#hm-copied")).to_have_text("Copied as LaTeX.")
    assert page.evaluate("navigator.clipboard.readText()") == latest
    page.click("#hm-history-clear")
    expect(entries).to_have_count(0)
    assert page.evaluate("localStorage.getItem('hmer-history')") is None


@pytest.mark.slow
def test_hostile_history_stays_text(page: Page, app: App) -> None:
    open_app(page, app.url)
    page.evaluate("""localStorage.setItem('hmer-history',
        JSON.stringify([{latex: '<img src=x onerror=alert(1)>', image: 'javascript:alert(1)'}]))""")
    page.reload()
    page.wait_for_selector("#hm-sketch canvas")
    page.click("#hm-history button")
    entry = page.locator("#hm-history-list button")
    expect(entry.locator("code")).to_have_text("<img src=x onerror=alert(1)>")
    assert entry.locator("img").get_attribute("src") is None


def test_a_thumbnail_shows_the_ink() -> None:
    canvas = PIL.Image.new("RGBA", (800, 480), (255, 255, 255, 0))
    canvas.paste((0, 0, 0, 255), (300, 200, 400, 240))
    encoded = io.BytesIO()
    canvas.save(encoded, format="PNG")
    small = thumbnail(encoded.getvalue())
    assert max(small.size) <= 220
    assert small.width / small.height == pytest.approx(2.5, rel=0.1)
    assert small.getpixel((small.width // 2, small.height // 2)) == 0


def test_doubtful_tokens_are_marked() -> None:
    def answer(*sure: float) -> Recognition:
        return Recognition("", ("x", "<", r"\beta")[: len(sure)], 0.5, sure, (), "toy-1", 0.1, -1.0)

    assert doubts(answer(0.99, 0.9, 0.8)) == ""
    assert doubts(answer()) == ""
    shown = doubts(answer(0.99, 0.6, 0.1))
    assert shown.count("<mark") == 2
    assert 'class="hm-fair" title="60% sure">&lt;<small>60%' in shown
    assert 'class="hm-low" title="10% sure">\\beta<small>10%' in shown


@pytest.mark.slow
def test_where_it_looked_for_one_token(page: Page, app: App) -> None:
    open_app(page, app.url)
    page.locator("#hm-examples button").nth(1).click()
    expect(page.locator("#hm-facts .hm-pill")).to_be_visible()
    page.click("#hm-looking button")
    page.click("#hm-look")
    expect(page.locator("#hm-looks img")).to_be_visible()
    everything = page.locator("#hm-looks img").get_attribute("src")
    page.click("#hm-look-token input")
    page.get_by_role("option", name="1: ").first.click()
    page.wait_for_function(
        "(old) => ![old, null].includes(document.querySelector('#hm-looks img')?.getAttribute('src') ?? null)",
        arg=everything,
    )
