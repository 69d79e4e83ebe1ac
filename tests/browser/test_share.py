"""The panel that pulls and pushes checkpoints, and the app as visitors of a Space see it."""

import contextlib
import json
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from hub_server import WRITE_TOKEN, Fault, HubServer
from playwright.sync_api import Browser, Page, expect

from hmer.ui.draw_and_upload import examples
from scripts.screenshots import open_app
from tests.browser.conftest import App
from tests.test_space import deploy

CARD = b"---\nlicense: cc-by-4.0\ntags: [hmer]\n---\n# offered\n"


@pytest.fixture
def _logged_in() -> Iterator[None]:
    """The client's own login, as `hf auth login` leaves it."""
    token = Path(os.environ["HF_HOME"]) / "token"
    token.write_text(WRITE_TOKEN)
    yield
    token.unlink()


@pytest.fixture
def checkpoint_files(toy_checkpoint: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in toy_checkpoint.iterdir() if path.is_file()}


@pytest.mark.usefixtures("_logged_in")
@pytest.mark.slow
def test_list_pull_and_push(
    page: Page, app: App, hub_server: HubServer, toy_checkpoint: Path, checkpoint_files: dict[str, bytes]
) -> None:
    hub_server.create("model", "bob/offered", {**checkpoint_files, "README.md": CARD})
    mine = app.home / "checkpoints" / "toy"
    shutil.copytree(toy_checkpoint, mine)
    client = Client(app.url, verbose=False)
    picture = handle_file(str(examples()[0]))
    with pytest.raises(AppError, match="was not pulled yet"):
        client.predict(image=picture, checkpoint="hf://bob/offered", api_name="/recognize")
    assert hub_server.requests == []

    open_app(page, app.url)
    page.locator("#hm-share button").first.click()
    page.fill("#hm-reference textarea, #hm-reference input", "hf://bob/none")
    page.click("#hm-pull")
    expect(page.locator(".toast-body")).to_contain_text("there is none, or it is private")
    page.fill("#hm-owner textarea, #hm-owner input", "bob")
    page.click("#hm-list-offers")
    page.get_by_text("hf://bob/offered · cc-by-4.0").click()
    expect(page.locator("#hm-reference textarea, #hm-reference input")).to_have_value("hf://bob/offered")
    page.click("#hm-pull")
    expect(page.locator("#hm-pulled")).to_contain_text("hf://bob/offered is here")
    answer = client.predict(image=picture, checkpoint="hf://bob/offered", api_name="/recognize")
    assert answer["checkpoint"].startswith("toy-")
    page.locator("#hm-settings button").first.click()
    page.click("#hm-checkpoint input")
    expect(page.get_by_role("option", name="hf://bob/offered (pulled)")).to_be_visible()
    page.keyboard.press("Escape")

    expect(page.locator("#hm-push")).to_be_disabled()
    page.click("#hm-push-name input")
    page.get_by_role("option", name="toy", exact=True).click()
    page.fill("#hm-push-to textarea, #hm-push-to input", "ada/toy")
    page.click("#hm-push-show")
    expect(page.locator(".toast-body").last).to_contain_text("No licence: the card names none")
    page.click("#hm-push-licence input")
    page.get_by_role("option", name="cc-by-sa-4.0").click()
    page.click("#hm-push-show")
    expect(page.locator("#hm-pushed")).to_contain_text("travels, under cc-by-sa-4.0")
    expect(page.locator("#hm-pushed")).to_contain_text("model.safetensors")
    expect(page.locator("#hm-pushed")).to_contain_text("hf://ada/toy is made anew")
    assert ("model", "ada/toy") not in hub_server.repos
    page.click("#hm-push")
    expect(page.locator("#hm-pushed")).to_contain_text("Pushed as hf://ada/toy@v1: 3 files sent")
    assert hub_server.files("model", "ada/toy")["model.safetensors"] == (mine / "model.safetensors").read_bytes()
    assert hub_server.repos["model", "ada/toy"].private
    assert WRITE_TOKEN not in page.content()
    shutil.rmtree(mine)


@pytest.mark.slow
def test_a_pull_is_watched_and_cancelled(
    page: Page, app: App, hub_server: HubServer, toy_checkpoint: Path, checkpoint_files: dict[str, bytes]
) -> None:
    large = {**checkpoint_files, "replay/labels.tsv": b"file\tlatex\n"}
    large |= {f"replay/{number}.png": bytes(20_000 + number) for number in range(60)}
    hub_server.create("model", "bob/large", large)
    hub_server.faults.append(Fault(r"GET .*resolve.*png", sleep_s=1.0, times=1000))
    open_app(page, app.url)
    page.locator("#hm-share button").first.click()
    expect(page.locator("#hm-stop-pull")).to_be_hidden()
    page.fill("#hm-reference textarea, #hm-reference input", "hf://bob/large")
    page.click("#hm-pull")
    expect(page.locator("#hm-pulled")).to_contain_text(re.compile(r"0\.[3-9] of 1\.\d MB"))
    page.click("#hm-stop-pull")
    expect(page.locator("#hm-pulled")).to_contain_text("Stopped. Begin again to go on")
    expect(page.locator("#hm-stop-pull")).to_be_hidden()
    assert not list((app.home / "hub").glob("models--bob--large/refs/*"))
    hub_server.faults.clear()
    there = len(hub_server.asked("resolve.*png"))
    page.click("#hm-pull")
    expect(page.locator("#hm-pulled")).to_contain_text("hf://bob/large is here")
    assert 0 < there < 60
    assert len(hub_server.asked("resolve.*png")) < 60 + there  # it went on


@contextlib.contextmanager
def visit(browser: Browser, url: str, width: int, height: int) -> Iterator[Page]:
    """A page of a Space; what gradio's page fetches there from elsewhere (its fonts, the Space's header) is held back."""
    context = browser.new_context(viewport={"width": width, "height": height})
    context.route(re.compile(r"https?://(?!127\.0\.0\.1)"), lambda route: route.abort())
    yield context.new_page()
    context.close()


@pytest.mark.slow
def test_a_visit_to_a_space(browser: Browser, hub_server: HubServer, tmp_path: Path) -> None:
    staged = deploy.stage(tmp_path / "staged")
    settings = {
        "HMER_DATASET": "ada/given", "HMER_DATASET_LICENCE": "cc-by-4.0", "HF_TOKEN": WRITE_TOKEN,
        "HF_ENDPOINT": os.environ["HF_ENDPOINT"], "HF_HUB_DISABLE_XET": "1",
    }  # fmt: skip
    with deploy.running(staged, Path(sys.executable), **settings) as url:
        with visit(browser, url, 1280, 900) as page:
            open_app(page, url)
            assert page.locator("#hm-share").count() == 0
            expect(page.locator("#hm-consent")).to_contain_text("kept in the data set ada/given")
            expect(page.locator("#hm-consent input")).not_to_be_checked()
            page.locator("#hm-examples button").first.click()
            expect(page.locator("#hm-facts .hm-pill")).to_be_visible()
            page.fill("#hm-correction textarea", "2 + 3")
            page.click("#hm-save")
            expect(page.locator("#hm-tally")).to_contain_text("Saved. 1 correction held for this visit only")
            page.click("#hm-prepare-download")
            with page.expect_download() as download:
                page.click("#hm-download a")
            with zipfile.ZipFile(download.value.path()) as zipped:
                assert b"\t2 + 3\t" in zipped.read("labels.tsv")
            page.locator("#hm-terms button").first.click()
            expect(page.locator("#hm-terms")).to_contain_text("non-commercial use")
            assert hub_server.requests == []

            page.check("#hm-consent input")
            page.fill("#hm-correction textarea", "2 + 4")
            page.click("#hm-save")
            expect(page.locator("#hm-count")).to_have_text("2")

        with visit(browser, url, 390, 844) as page:
            open_app(page, url)
            expect(page.locator("#hm-count")).to_have_text("0")  # another visit
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert deploy.ask(url, staged)
        too_large = httpx2.post(f"{url}gradio_api/upload", files={"files": ("a.png", bytes(6_000_000))})
        assert too_large.status_code == 413
        client = Client(url, verbose=False)
        with pytest.raises(AppError, match="here: there are handwritten"):
            client.predict(image=handle_file(str(examples()[0])), checkpoint="/etc", api_name="/recognize")
    # What waited was sent when the Space was stopped: what was agreed to, and no more.
    given = hub_server.files("dataset", "ada/given")
    (metadata,) = [given[path] for path in given if path.endswith("metadata.jsonl")]
    assert [json.loads(line)["latex"] for line in metadata.splitlines()] == ["2 + 4"]
