"""Starting the app: what it refuses, in one line each."""

import inspect
import socket
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest

import app
from hmer.config import Decoding
from hmer.errors import LatexError
from hmer.ui.api import endpoints
from hmer.ui.messages import place_of
from hmer.ui.options import AppOptions
from tests.browser.conftest import CHECKPOINT


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HMER_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--port", "0"], "--port: 0 is outside"),
        (["--auth", "ada"], "user:password"),
        (["--checkpoint", "nope"], "No checkpoint 'nope'"),
        (["--checkpoint", CHECKPOINT, "--store", "/dev/null/x.db"], "cannot be made"),
    ],
)
def test_refuses_in_one_line(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(flags) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_port_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert app.main(["--checkpoint", CHECKPOINT, "--port", str(taken.getsockname()[1])]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "try another --port" in line


def test_help_is_quick() -> None:
    started = time.perf_counter()
    text = subprocess.run([sys.executable, app.__file__, "--help"], check=True, capture_output=True, text=True).stdout
    assert all(f"--{item.name}" in text for item in fields(AppOptions))
    assert time.perf_counter() - started < 3


def test_endpoints_take_the_fields_of_decoding() -> None:
    class NoServices:
        options = AppOptions()

    for name in ("recognize", "recognize_batch"):
        parameters = inspect.signature(endpoints(NoServices())[name]).parameters  # type: ignore[arg-type]
        defaults = {item.name: item.default for item in fields(Decoding)}
        assert list(parameters)[2:] == list(defaults)
        assert {key: parameters[key].default for key in defaults} == defaults


@pytest.mark.parametrize(
    ("text", "start", "end", "excerpt"),
    [
        ("a}b", 1, 2, "a<mark>}</mark>b\n ^"),
        ("<b>", 0, 1, "<mark>&lt;</mark>b&gt;\n^"),
        ("x\ny{z", 3, 4, "y<mark>{</mark>z\n ^"),
        ("", 0, 0, "<mark></mark>\n^"),
        ("x" * 50 + "}", 50, 51, "…" + "x" * 24 + "<mark>}</mark>\n" + " " * 25 + "^"),
    ],
)
def test_place_of_an_error(text: str, start: int, end: int, excerpt: str) -> None:
    assert f">{excerpt}</pre>" in place_of(LatexError("Wrong.", start, end), text)
