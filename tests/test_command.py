"""The command `hmer`: what it starts, the clipboard, and that an installed one needs no clone."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import copykitten
import PIL.Image
import pytest

from hmer import clipboard
from hmer.errors import BadImage, ConfigError
from hmer.export import mathml
from hmer.recognizer import Recognizer
from hmer.ui.command import main
from hmer.ui.draw_and_upload import examples

ROOT = Path(__file__).resolve().parent.parent
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The system's clipboard with an example in it, as far as this process sees; what is written to it."""
    picture = PIL.Image.open(examples()[0]).convert("RGBA")
    texts: list[str] = []
    monkeypatch.setattr(copykitten, "paste_image", lambda: (picture.tobytes(), *picture.size))
    monkeypatch.setattr(clipboard, "write_text", texts.append)
    return texts


def test_says_how_it_is_used(capsys: Capture) -> None:
    assert main([]) == 0
    assert "hmer predict" in capsys.readouterr().out
    assert main(["draw"]) == 2
    assert "usage" in capsys.readouterr().err
    assert main(["app", "--port", "0"]) == 1
    assert "--port: 0 is outside" in capsys.readouterr().err


def test_reads_the_clipboard_and_answers_there(copied: list[str], capsys: Capture) -> None:
    formula = Recognizer.load("handwritten").recognize([examples()[0]])[0].latex
    assert main(["--clipboard"]) == 0
    assert capsys.readouterr().out == f"{formula}\n"
    assert main(["predict", "--clipboard", "--form", "mathml"]) == 0
    assert copied == [formula, mathml(formula)]
    capsys.readouterr()
    assert main(["predict", "--clipboard", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["latex"] == formula


def test_files_or_the_clipboard(capsys: Capture) -> None:
    for arguments in (["predict"], ["predict", "x.png", "--clipboard"]):
        assert main(arguments) == 1
        assert "one of the two" in capsys.readouterr().err


def test_a_file_in_another_form(capsys: Capture) -> None:
    picture = str(examples()[0])
    formula = Recognizer.load("handwritten").recognize([picture])[0].latex
    assert main(["predict", picture, "--form", "inline"]) == 0
    assert capsys.readouterr().out == f"{picture}\t${formula}$\n"


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        ("Clipboard was never initialized.", ConfigError, "no clipboard here"),
        ("The clipboard contents were not available", BadImage, "holds no picture"),
    ],
)
def test_says_what_the_clipboard_lacks(
    said: str, kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise copykitten.CopykittenError(said)

    monkeypatch.setattr(copykitten, "paste_image", refuse)
    with pytest.raises(kind, match=message):
        clipboard.read_picture()


def test_a_clipboard_that_takes_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipboard, "_PATIENCE_S", 0.2)
    monkeypatch.setattr(copykitten, "paste", lambda: "something else")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="did not take"):
        clipboard.write_text("x")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy: a build leaves its traces beside the sources."""
    copy, built = tmp_path_factory.mktemp("source") / "hmer", tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", "build", "*.egg-info", "runs", "tests", "docs")
    shutil.copytree(ROOT, copy, ignore=ignored)
    pip(copy, "wheel", ".", "--no-deps", "--no-build-isolation", "--wheel-dir", str(built))
    (found,) = built.glob("hmer-*.whl")
    return found


def pip(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_wheel_holds_what_the_command_needs(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    here = {"hmer/checkpoints", "hmer/configs", "hmer/ui/assets", "hmer/ui/examples", "annotations/migrations"}
    needed = {
        path.relative_to(ROOT).as_posix()
        for folder in here
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert len(needed) > 100
    assert needed <= names
    assert not [name for name in names if name.startswith(("tests/", "scripts/", "spaces/"))]
    entry = next(name for name in names if name.endswith("entry_points.txt"))
    assert "hmer = hmer.ui.command:main" in zipfile.ZipFile(wheel).read(entry).decode()


@pytest.mark.slow
def test_an_installed_command_reads_without_the_clone(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    pip(tmp_path, "install", "--no-deps", "--no-index", "--target", str(site), str(wheel))
    shutil.copyfile(examples()[0], tmp_path / "formula.png")
    environment = {**os.environ, "PYTHONPATH": str(site), "HMER_HOME": str(tmp_path / "home")}

    def hmer(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(site / "bin" / "hmer"), *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    done = hmer("predict", "formula.png")
    formula = Recognizer.load("handwritten").recognize([examples()[0]])[0].latex
    assert (done.returncode, done.stdout) == (0, f"formula.png\t{formula}\n"), done.stderr
    assert hmer("app", "--help").returncode == 0
    where = [sys.executable, "-c", "import hmer, annotations; print(hmer.__file__, annotations.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert all(Path(path).is_relative_to(site) for path in found.split())
