"""The README's ways to ask a running app from a program do what it says."""

import json
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

from hmer.routing import load
from hmer.ui.draw_and_upload import examples
from tests.browser.conftest import App

README = Path(__file__).resolve().parents[2] / "README.md"


def test_curl_as_in_the_readme(app: App, tmp_path: Path) -> None:
    script = re.search(r"((?:    .*\n)*    curl -sN .*\n)", README.read_text(encoding="utf-8"))
    assert script is not None
    shutil.copyfile(examples()[0], tmp_path / "formula.png")
    commands = textwrap.dedent(script[1]).replace("http://127.0.0.1:7860/", app.url)
    done = subprocess.run(["/bin/sh", "-e", "-c", commands], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (data,) = re.findall(r"event: complete\ndata: (.*)", done.stdout)
    (answer,) = json.loads(data)
    assert answer["latex"] == load(app.checkpoint).recognize([examples()[0]])[0].latex


@pytest.mark.slow
def test_gradio_client_as_in_the_readme(app: App, tmp_path: Path) -> None:
    code = re.search(r"(    from gradio_client import .*\n(?:    .*\n)+)", README.read_text(encoding="utf-8"))
    assert code is not None
    program = (
        textwrap.dedent(code[1]).replace("http://127.0.0.1:7860", app.url).replace("formula.png", str(examples()[0]))
    )
    printed: list[tuple[object, ...]] = []
    exec(program, {"print": lambda *words: printed.append(words)})  # our own README
    ((latex, confidence),) = (words for words in printed if len(words) == 2)
    assert latex == load(app.checkpoint).recognize([examples()[0]])[0].latex
    assert 0 < float(str(confidence)) < 1
