"""The formula on its way into a document: copied, said so, and saved as a picture."""

import io
from xml.etree import ElementTree

import PIL.Image
import pytest
from playwright.sync_api import Page, expect

from hmer.export import mathml
from scripts.screenshots import open_app
from tests.browser.conftest import App

CORRECTION = "#hm-correction textarea"


def clipboard(page: Page) -> str:
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


def test_copies_the_formula_as_it_stands(page: Page, app: App) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_app(page, app.url)
    page.click("#hm-copy-latex")
    expect(page.locator("#hm-copied")).to_have_text("There is no formula yet.")
    page.fill(CORRECTION, r"\frac{a}{b} ")
    page.click("#hm-copy-mathml")  # at once, before the server can have prepared it
    expect(page.locator("#hm-copied")).to_have_text("Copied as MathML.")
    assert clipboard(page) == mathml(r"\frac{a}{b}")
    page.click("#hm-copy-inline")
    expect(page.locator("#hm-copied")).to_have_text("Copied as LaTeX in a line.")
    assert clipboard(page) == r"$\frac{a}{b}$"
    page.fill(CORRECTION, r"\frac{a}{b")
    page.click("#hm-copy-latex")
    expect(page.locator("#hm-copied")).to_contain_text("not well-formed")
    assert clipboard(page) == r"$\frac{a}{b}$"


@pytest.mark.slow
def test_copies_and_saves_pictures(page: Page, app: App) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_app(page, app.url)
    page.fill(CORRECTION, r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}")
    page.click("#hm-copy-picture")
    expect(page.locator("#hm-copied")).to_have_text("Copied as a picture.")
    kinds = page.evaluate("navigator.clipboard.read().then((items) => items.flatMap((item) => item.types))")
    assert kinds == ["image/png"]
    with page.expect_download() as saved:
        page.click("#hm-save-png")
    assert saved.value.suggested_filename == "formula.png"
    picture = PIL.Image.open(io.BytesIO(saved.value.path().read_bytes()))
    assert picture.format == "PNG"
    with page.expect_download() as saved:
        page.click("#hm-save-svg")
    assert saved.value.suggested_filename == "formula.svg"
    assert ElementTree.fromstring(saved.value.path().read_text(encoding="utf-8")).tag.endswith("svg")
    page.fill(CORRECTION, r"\frac{a")
    page.click("#hm-save-svg")
    expect(page.locator(".toast-body")).to_contain_text("never closed")
