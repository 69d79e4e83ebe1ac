"""The app in a real browser: draw, read, mend, save; upload; settings; phone; the API beside it."""

import io
from pathlib import Path

import PIL.Image
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from playwright.sync_api import Page, expect

from annotations import Annotation, AnnotationStore
from hmer.recognizer import Recognizer
from hmer.routing import load
from hmer.ui.draw_and_upload import examples
from scripts.screenshots import TWO_PLUS_THREE, draw, open_app, recognize_drawing, running_app
from tests.browser.conftest import App

CORRECTION = "#hm-correction textarea"


@pytest.fixture(scope="session")
def recognizer(app: App) -> Recognizer:
    return load(app.checkpoint)


def saved(app: App) -> list[tuple[Annotation, bytes]]:
    with AnnotationStore(app.store, create=False) as store:
        return list(store.corrected())


def upload(page: Page, file: Path | dict[str, object]) -> None:
    page.click("#hm-input button[role=tab]:has-text('Upload')")
    page.set_input_files("#hm-upload input[type=file]", file)  # type: ignore[arg-type]


def ink_px(image: bytes) -> int:
    return sum(PIL.Image.open(io.BytesIO(image)).convert("L").histogram()[:128])


def test_draw_read_mend_save(page: Page, app: App) -> None:
    before = len(saved(app))
    open_app(page, app.url)
    draw(page, TWO_PLUS_THREE)
    assert recognize_drawing(page) == "2+3"
    expect(page.locator("#hm-formula .katex-mathml")).to_contain_text("2+3")
    expect(page.locator(CORRECTION)).to_have_value("2+3")

    page.fill(CORRECTION, r"2 + \frac{3}{4")
    expect(page.locator("#hm-problem [role=alert]")).to_contain_text("character 13")
    expect(page.locator("#hm-problem mark")).to_have_text("{")
    expect(page.locator("#hm-preview .katex")).to_have_count(0)
    page.click("#hm-save")
    expect(page.locator(".toast-body")).to_contain_text("This { is never closed")
    expect(page.locator(CORRECTION)).to_have_value(r"2 + \frac{3}{4")
    assert len(saved(app)) == before

    page.fill(CORRECTION, "2 + 8")
    expect(page.locator("#hm-problem [role=alert]")).to_have_count(0)
    expect(page.locator("#hm-preview .katex-mathml")).to_contain_text("2+8")
    draw(page, [((0, 0), (200, 4)), ((0, 20), (200, 24))], at=(0.3, 0.7))  # after the answer: not what it is about
    page.click("#hm-save")
    expect(page.locator("#hm-tally")).to_contain_text("Saved.")
    expect(page.locator("#hm-count")).to_have_text(str(before + 1))

    (annotation, image), *_ = reversed(saved(app))
    assert annotation.correction == "2 + 8"
    assert annotation.tokens == ("2", "+", "8")
    assert annotation.status == "accepted"
    assert annotation.prediction is not None
    assert annotation.prediction.latex == "2+3"
    assert annotation.prediction.decoding["strategy"] == "beam"
    with AnnotationStore(app.store, create=False) as store:
        strokes = store.strokes(annotation.id)
    assert strokes is not None  # as they were when it was read
    assert len(strokes) == len(TWO_PLUS_THREE)
    once = ink_px(image)
    assert once > 500
    assert load(app.checkpoint).recognize([image])[0].latex == "2+3"

    assert recognize_drawing(page) != ""
    page.click("#hm-right")
    expect(page.locator("#hm-count")).to_have_text(str(before + 2))
    (second, image), *_ = reversed(saved(app))
    assert second.prediction is not None
    assert second.correction == second.prediction.latex
    assert ink_px(image) > 1.2 * once


def test_upload_is_read_as_everywhere_else(page: Page, app: App, recognizer: Recognizer) -> None:
    open_app(page, app.url)
    picture = examples()[0]
    upload(page, picture)
    expect(page.locator("#hm-facts .hm-pill")).to_be_visible()
    expected = recognizer.recognize([picture])[0].latex
    expect(page.locator("#hm-latex textarea")).to_have_value(expected)
    expect(page.locator("#hm-facts")).to_contain_text(recognizer.id)


@pytest.mark.slow
def test_where_it_looked_is_drawn_on_request(page: Page, app: App) -> None:
    open_app(page, app.url)
    page.click("#hm-looking button")
    page.click("#hm-look")
    expect(page.locator(".toast-body")).to_contain_text("Nothing was read yet")
    upload(page, examples()[0])
    expect(page.locator("#hm-facts .hm-pill")).to_be_visible()
    page.click("#hm-look")
    expect(page.locator("#hm-looks img")).to_be_visible()
    upload(page, examples()[1])  # another answer
    expect(page.locator("#hm-looks img")).to_have_count(0)


def test_broken_upload_says_why_and_loses_nothing(page: Page, app: App) -> None:
    open_app(page, app.url)
    page.fill(CORRECTION, "x+1")
    upload(page, {"name": "holiday.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\nbroken"})
    expect(page.get_by_text("is not a picture in a known format")).to_be_visible()
    expect(page.locator(CORRECTION)).to_have_value("x+1")


def test_blank_sheet_says_why(page: Page, app: App) -> None:
    open_app(page, app.url)
    page.click("#hm-recognize-drawing")
    expect(page.get_by_text("Nothing was drawn yet")).to_be_visible()


def test_example_and_settings_that_apply(page: Page, app: App) -> None:
    open_app(page, app.url)
    page.locator("#hm-settings button").first.click()
    expect(page.locator("#hm-beam-width")).to_be_visible()
    for name in ("#hm-temperature", "#hm-seed"):
        expect(page.locator(name)).to_have_count(0)
    page.get_by_label("Sampling").check()
    expect(page.locator("#hm-temperature")).to_be_visible()
    expect(page.locator("#hm-seed")).to_be_visible()
    expect(page.locator("#hm-beam-width")).to_have_count(0)
    page.get_by_label("Beam search").check()
    expect(page.locator("#hm-beam-width")).to_be_visible()
    expect(page.locator("#hm-temperature")).to_have_count(0)

    page.locator("#hm-examples button").nth(1).click()
    expect(page.locator("#hm-facts .hm-pill")).to_be_visible()
    readings = page.locator("#hm-alternatives label")
    expect(readings.nth(1)).to_be_visible()
    readings.nth(1).click()
    chosen, _, share = readings.nth(1).inner_text().strip().rpartition("·")
    assert share.strip().endswith("%")
    expect(page.locator(CORRECTION)).to_have_value(chosen.strip())


@pytest.mark.slow
def test_hostile_text_stays_text(page: Page, app: App) -> None:
    open_app(page, app.url)
    page.fill(CORRECTION, r"\text{<img src=x onerror=alert(1)>} <b>")
    expect(page.locator("#hm-preview .katex-mathml")).to_contain_text("onerror")
    assert page.locator("#hm-preview img, #hm-preview b").count() == 0
    page.fill(CORRECTION, "}<script>alert(1)</script><img src=x onerror=alert(1)>")
    expect(page.locator("#hm-problem pre")).to_contain_text("<script>")
    assert page.locator("#hm-problem img, #hm-problem script").count() == 0


def test_phone_has_no_sideways_scroll(phone: Page, app: App) -> None:
    open_app(phone, app.url)
    draw(phone, TWO_PLUS_THREE[1:3], at=(0.2, 0.4))
    assert recognize_drawing(phone) == "+"
    phone.fill(CORRECTION, "+".join(f"x_{{{index}}}" for index in range(60)))
    expect(phone.locator("#hm-preview .katex")).to_have_count(1)
    phone.locator("#hm-settings button").first.click()
    expect(phone.locator("#hm-checkpoint")).to_be_visible()
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390


def test_api_gives_what_the_recognizer_gives(app: App, recognizer: Recognizer) -> None:
    client = Client(app.url, verbose=False)
    picture = examples()[2]
    here = recognizer.recognize([picture])[0]
    there = client.predict(image=handle_file(str(picture)), api_name="/recognize")
    assert (there["latex"], there["tokens"]) == (here.latex, list(here.tokens))
    assert there["checkpoint"] == recognizer.id
    assert there["confidence"] == pytest.approx(here.confidence, abs=1e-3)
    assert set(there) >= {"token_confidence", "alternatives", "seconds", "finished"}

    beam = client.predict(image=handle_file(str(picture)), strategy="beam", beam_width=3, api_name="/recognize")
    assert len(beam["alternatives"]) > 1

    pictures = [handle_file(str(picture)), handle_file(__file__)]
    good, bad = client.predict(images=pictures, api_name="/recognize_batch")
    assert good["latex"] == here.latex
    assert set(bad) == {"error"}

    done = client.predict(
        image=handle_file(str(picture)), correction=r"\sqrt{x+3}", prediction=there, annotator="ada",
        api_name="/save_correction",
    )  # fmt: skip
    with AnnotationStore(app.store, create=False) as store:
        annotation = store.get(done["id"])
    assert annotation.correction == r"\sqrt{x+3}"
    assert annotation.annotator == "ada"
    assert annotation.prediction is not None
    assert annotation.prediction.latex == here.latex

    listed = client.predict(api_name="/list_checkpoints")
    assert listed[0]["reference"] == app.checkpoint


@pytest.mark.slow
def test_with_a_login_the_annotator_is_the_login(app: App, tmp_path: Path) -> None:
    picture = handle_file(str(examples()[2]))
    with running_app(tmp_path, app.checkpoint, "--auth", "ada:secret") as url:
        client = Client(url, auth=("ada", "secret"), verbose=False)
        client.predict(image=picture, correction="x", annotator="Somebody Else", api_name="/save_correction")
    with AnnotationStore(tmp_path / "annotations.db", create=False) as store:
        assert [row.annotator for row in store.find()] == ["ada"]


def test_api_refuses_in_words_and_reads_no_other_files(app: App) -> None:
    client = Client(app.url, verbose=False)
    picture = handle_file(str(examples()[0]))
    with pytest.raises(AppError, match=r"beam_width"):
        client.predict(image=picture, beam_width=1000, api_name="/recognize")
    with pytest.raises(AppError, match="No checkpoint"):
        client.predict(image=picture, checkpoint="nope", api_name="/recognize")
    with pytest.raises(AppError, match="uploaded file"):
        client.predict(image={"path": str(examples()[0])}, api_name="/recognize")
    named = set(client.view_api(return_format="dict", print_info=False)["named_endpoints"])  # type: ignore[call-overload, index]
    assert named == {"/recognize", "/recognize_batch", "/save_correction", "/list_checkpoints"}
