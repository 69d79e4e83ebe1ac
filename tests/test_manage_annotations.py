"""scripts/manage_annotations.py: every subcommand by its main(), its output, its exit status."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from annotations import AnnotationStore
from annotations.pictures import make_picture

SCRIPT = Path(__file__).parent.parent / "scripts" / "manage_annotations.py"


def _load() -> Callable[[Sequence[str]], int]:
    spec = importlib.util.spec_from_file_location("manage_annotations", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main  # type: ignore[no-any-return]


main = _load()


def picture(seed: int) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    return np.random.default_rng(seed).integers(0, 256, (5, 8), dtype=np.uint8)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with four annotations, and a working directory elsewhere."""
    monkeypatch.setenv("HMER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with AnnotationStore(tmp_path / "home" / "annotations.db") as store:
        store.add(picture(0), correction="x ^2", status="accepted", annotator="Ada", source="pad")
        store.add(picture(1), correction="y", status="accepted", annotator="Bob")
        store.add(picture(2), correction="z", status="draft", annotator="Ada")
        store.add(picture(3))
    return tmp_path / "home"


def test_list(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        f"4 annotations in {home / 'annotations.db'}",
        "1 draft, 1 pending, 2 accepted, 0 rejected, 0 skipped",
    ]
    rows = [line.split("\t") for line in lines[2:]]
    assert [(row[0], *row[2:]) for row in rows] == [
        ("4", "pending", "", ""),
        ("3", "draft", "Ada", "z"),
        ("2", "accepted", "Bob", "y"),
        ("1", "accepted", "Ada", "x^2"),
    ]
    assert main(["list", "--status", "accepted", "draft", "--annotator", "Ada", "--limit", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "1 draft, 0 pending, 1 accepted, 0 rejected, 0 skipped"
    assert len(lines) == 3


def test_export_and_import(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "data", "--held_out_share", "1"]) == 0
    assert capsys.readouterr().out == "2 annotations of 2 pictures in data: 0 to train on, 2 held out\n"
    names = [make_picture(picture(seed)).sha256 for seed in range(2)]
    assert (tmp_path / "data" / "labels.tsv").read_text() == (
        "file\tlatex\twriter\tsplit\tsource\n"
        f"{names[0]}.png\tx ^ {{ 2 }}\tAda\theld_out\tpad\n"
        f"{names[1]}.png\ty\tBob\theld_out\t\n"
    )
    assert main(["export", "data"]) == 1
    assert "data is not empty" in capsys.readouterr().err
    assert main(["export", "data", "--overwrite", "--annotator", "Ada", "--status", "draft", "accepted"]) == 0
    assert main(["import", "data", "--store", "other.db", "--status", "pending"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 rows: 2 saved, 0 known already, 0 refused"
    with AnnotationStore(tmp_path / "other.db") as other:
        assert [(row.correction, row.annotator, row.status) for row in other.find(order="oldest")] == [
            ("x ^ { 2 }", "Ada", "pending"),
            ("z", "Ada", "pending"),
        ]
    with (tmp_path / "data" / "labels.tsv").open("a") as labels:
        labels.write("missing.png\tx\t\t\t\n")
    assert main(["import", "data", "--store", "sqlite:///other.db"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "3 rows: 0 saved, 2 known already, 1 refused\n"
    assert printed.err == "missing.png: The picture is missing or cannot be read.\n"


def test_since(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "none", "--since", "2100-01-01"]) == 0
    assert main(["export", "all", "--since", "2000-01-01T12:00", "--until", "2100-01-01"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["0", "2"]
    assert main(["export", "other", "--since", "yesterday"]) == 1
    assert capsys.readouterr().err == ("'yesterday' is not a time; write it as 2026-11-30 or 2026-11-30T18:00.\n")


def test_backup_and_restore(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backup", "backup.db"]) == 0
    assert capsys.readouterr().out == "4 annotations backed up to backup.db\n"
    assert main(["restore", "backup.db"]) == 1
    assert "holds 4 annotations" in capsys.readouterr().err
    with AnnotationStore(home / "annotations.db") as store:
        store.delete(1)
    assert main(["restore", "backup.db", "--overwrite"]) == 0
    assert main(["restore", "backup.db", "--store", "fresh.db"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"4 annotations restored to {tmp_path / 'fresh.db'}"
    with AnnotationStore(home / "annotations.db") as store, AnnotationStore("fresh.db") as fresh:
        assert store.count() == 4
        assert store.find() == fresh.find()


@pytest.mark.parametrize("command", [["list"], ["export", "data"], ["backup", "backup.db"]])
def test_a_mistyped_store_is_not_begun(
    command: list[str], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--store", "mistyped.db"]) == 1
    assert capsys.readouterr().err == (f"There is no annotation store at {tmp_path / 'mistyped.db'}; check the path.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_damaged_store_gives_one_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "annotations.db").write_text("nonsense " * 1000)
    assert main(["list"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["export"], ["list", "--limit", "many"]])
def test_a_wrong_command_line_shows_the_usage(
    arguments: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert "usage: manage_annotations.py" in capsys.readouterr().err


def test_every_subcommand_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("list", "import", "export", "backup", "restore"):
        with pytest.raises(SystemExit) as raised:
            main([command, "--help"])
        assert raised.value.code == 0
        assert "--store" in capsys.readouterr().out
