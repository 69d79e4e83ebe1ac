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
    table = [line.split("\t")[:7] for line in (tmp_path / "data" / "labels.tsv").read_text().splitlines()]
    assert table == [
        ["file", "latex", "writer", "split", "source", "status", "reason"],
        [f"{names[0]}.png", "x ^ { 2 }", "Ada", "held_out", "pad", "accepted", ""],
        [f"{names[1]}.png", "y", "Bob", "held_out", "", "accepted", ""],
    ]
    assert main(["export", "data"]) == 1
    assert "data is not empty" in capsys.readouterr().err
    assert main(["export", "data", "--overwrite", "--annotator", "Ada", "--status", "draft", "accepted"]) == 0
    assert main(["import", "data", "--store", "other.db", "--status", "pending"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 rows: 2 saved, 0 known already, 0 refused"
    with AnnotationStore(tmp_path / "other.db") as other:
        assert [(row.correction, row.annotator, row.status) for row in other.find(order="oldest")] == [
            ("x ^2", "Ada", "pending"),
            ("z", "Ada", "pending"),
        ]
    with (tmp_path / "data" / "labels.tsv").open("a") as labels:
        labels.write("missing.png\tx" + 9 * "\t" + "\n")
    assert main(["import", "data", "--store", "sqlite:///other.db"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "3 rows: 0 saved, 2 known already, 1 refused\n"
    assert printed.err == "missing.png: The file is missing or cannot be read.\n"


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
    for command in ("list", "import", "export", "backup", "restore", "history", "undo", "purge"):
        with pytest.raises(SystemExit) as raised:
            main([command, "--help"])
        assert raised.value.code == 0
        assert "--store" in capsys.readouterr().out


def test_flags_are_not_abbreviated(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for abbreviated in (["list", "--annot", "Ada"], ["export", "data", "--over"], ["list", "--sto", "x.db"]):
        with pytest.raises(SystemExit) as raised:
            main(abbreviated)
        assert raised.value.code == 2
    assert "usage: manage_annotations.py" in capsys.readouterr().err


def test_search(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--symbol", "2"]) == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()[2:]] == ["1"]
    assert main(["list", "--latex", "y"]) == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()[2:]] == ["2"]


@pytest.mark.parametrize("kind", ["dataset", "imagefolder", "csv", "jsonl"])
def test_every_format_goes_out_and_in(kind: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "out", "--format", kind, "--status", "draft", "accepted"]) == 0
    assert main(["import", "out", "--store", "other.db"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 rows: 3 saved, 0 known already, 0 refused"
    with AnnotationStore("other.db") as other:
        assert [str(row.status) for row in other.find(order="oldest")] == ["accepted", "accepted", "draft"]
    assert main(["export", "out", "--format", kind]) == 1
    assert main(["export", "out", "--format", kind, "--overwrite"]) == 0


def test_an_unknown_format_lists_the_known(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "out", "--format", "xml"]) == 1
    assert main(["import", "out", "--format", "xml"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "There is no format 'xml'; choose from dataset, imagefolder, csv, jsonl.",
        "There is no format 'xml'; choose from auto, dataset, imagefolder, csv, jsonl, crohme, pairs.",
    ]


def test_history_undo_and_purge(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with AnnotationStore(home / "annotations.db") as store:
        store.update_correction(1, "x\n^3", by="Bob")
        (change, _) = store.history(1)
    assert main(["history", "1"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(row[0], *row[2:]) for row in rows] == [
        (str(change.id), "1", "Bob", "correction: x ^2 -> x ^3"),
        ("1", "1", "Ada", "added"),
    ]
    assert main(["undo", str(change.id), "--by", "Eve"]) == 0
    assert main(["undo", "999"]) == 1
    assert main(["history", "--limit", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("undone, so correction: x ^3 -> x ^2")
    assert main(["purge", "1"]) == 0
    assert capsys.readouterr().out.startswith("1 picture and 1 annotations erased")
    assert main(["history", "1"]) == 0
    assert capsys.readouterr().out == ""
