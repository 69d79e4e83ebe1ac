"""scripts/push.py and scripts/pull.py: what travels, what stays, and the way back, against a Hub on this computer."""

import io
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import PIL.Image
import PIL.PngImagePlugin
import pytest
import torch
from hub_server import WRITE_TOKEN, Fault, HubServer
from toys import VOCABULARY, narrow, picture_of, write_dataset

from annotations import AnnotationStore
from hmer import cards, checkpoint, publish
from hmer.checkpoint import CARD, CONFIG, WEIGHTS, CheckpointConfig, save
from hmer.command_line import run
from hmer.datasets.folder import read_rows
from hmer.datasets.imagefolder import read_imagefolder, write_imagefolder
from hmer.errors import DatasetError, HubError
from hmer.models import build
from scripts import manage_annotations, pull, push

ONE = [("1", 0, 0, 1, 1)]
TWO = [("2", 0, 0, 1, 1)]
PARENT_CARD = "---\nlicense: cc-by-nc-sa-3.0\n---\n# parent\n"


def make(folder: Path, *, parent: str = "", card: str = "", seed: int = 0) -> Path:
    torch.manual_seed(seed)
    config = CheckpointConfig(folder.name, VOCABULARY.words, model=narrow("transformer"), parent=parent)
    return save(folder, build(config.model, VOCABULARY), config, card=card)


@pytest.fixture
def mine(data_folder: Path, hub_server: HubServer, tmp_path: Path) -> Path:
    """A fine-tuned checkpoint `mine` whose parent was pulled, with one picture of the parent's and one of its own."""
    parent = make(tmp_path / "parent", card=PARENT_CARD)
    write_dataset(parent / "replay", {"1": ONE})
    files = {path.relative_to(parent).as_posix(): path.read_bytes() for path in parent.rglob("*") if path.is_file()}
    hub_server.create("model", "bob/parent", files)
    pulled = checkpoint.pull("hf://bob/parent")
    folder = make(data_folder / "checkpoints" / "mine", parent=checkpoint.identify(pulled), seed=1)
    shutil.copytree(parent / "replay", folder / "replay")
    shutil.copyfile(write_dataset(tmp_path / "own", {"2": TWO}) / "0_0.png", folder / "replay" / "face.png")
    (folder / "replay" / "labels.tsv").write_text("file\tlatex\twriter\n0_0.png\t1\tBob\nface.png\t2\tAda Lovelace\n")
    (folder / "resume.pt").write_bytes(b"optimiser")
    return folder


def test_checkpoint_travels_without_corrections(
    mine: Path, hub_server: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push.main(["checkpoint", "mine", "--to", "ada/mine", "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert "travels, under cc-by-nc-sa-3.0" in said
    assert re.search(r"replay/ +\d\.\d kB  2 files", said)
    assert "1 files that came with no released checkpoint: corrections" in said
    assert "resume.pt                no part of a checkpoint" in said
    assert said.endswith("hf://ada/mine is made anew\nnothing was sent\n")
    assert ("model", "ada/mine") not in hub_server.repos

    assert push.main(["checkpoint", "mine", "--to", "ada/mine"]) == 0
    assert "use it as hf://ada/mine@v1" in capsys.readouterr().out
    assert hub_server.repos["model", "ada/mine"].private
    files = hub_server.files("model", "ada/mine")
    assert set(files) == {WEIGHTS, CONFIG, CARD, "replay/labels.tsv", "replay/0_0.png"}
    assert files["replay/labels.tsv"] == b"file\tlatex\n0_0.png\t1\n"
    assert files[WEIGHTS] == (mine / WEIGHTS).read_bytes()
    head = cards.metadata(files[CARD].decode())
    assert (head["license"], head["base_model"], head["pipeline_tag"]) == (
        "cc-by-nc-sa-3.0",
        "bob/parent",
        "image-to-text",
    )
    assert not any(b"Ada Lovelace" in content for content in files.values())

    assert push.main(["checkpoint", "mine", "--to", "ada/mine", "--include_correction_pictures"]) == 0
    files = hub_server.files("model", "ada/mine")
    assert files["replay/face.png"] == (mine / "replay" / "face.png").read_bytes()
    assert files["replay/labels.tsv"] == b"file\tlatex\n0_0.png\t1\nface.png\t2\n"
    assert hub_server.committed[-1] == {"file": ["replay/labels.tsv", "replay/face.png"]}
    assert set(hub_server.repos["model", "ada/mine"].tags) == {"v1", "v2"}

    assert pull.main(["hf://ada/mine@v1"]) == 0
    assert checkpoint.identify(mine) in capsys.readouterr().out
    assert set(checkpoint.known()) >= {"mine", "handwritten", "hf://bob/parent", "hf://ada/mine@v1"}


def test_what_is_removed_is_listed_first(
    mine: Path, hub_server: HubServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["checkpoint", "mine", "--to", "ada/mine"]
    push.main(command)
    (mine / "replay" / "labels.tsv").unlink()
    shutil.rmtree(mine / "replay")
    capsys.readouterr()
    assert push.main([*command, "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert "hf://ada/mine: 0 files new, 0 changed, 2 removed\n  removed   replay/ (2 files)\nnothing was sent" in said
    assert len(hub_server.committed) == 1
    assert push.main(command) == 0
    assert set(hub_server.files("model", "ada/mine")) == {WEIGHTS, CONFIG, CARD}

    hub_server.create("model", "ada/other", {"their.bin": b"x"})
    command[-1] = "ada/other"
    assert run(push.main, command) == 1
    said, failed = capsys.readouterr()
    assert "hmer did not make this repository: their.bin would be lost" in said
    assert "was not made by hmer" in failed
    assert push.main([*command, "--replace"]) == 0
    assert set(hub_server.files("model", "ada/other")) == {WEIGHTS, CONFIG, CARD}

    monkeypatch.delenv("HF_TOKEN")
    capsys.readouterr()
    assert push.main([*command, "--dry_run"]) == 0
    assert "what hf://ada/other holds now is not known: There is no token" in capsys.readouterr().out


def test_a_pull_removes_earlier_versions_but_a_parent(
    mine: Path, hub_server: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = checkpoint.resolve("hf://bob/parent")
    hub_server.commit("model", "bob/parent", {CARD: b"# second"})
    pull.main(["hf://bob/parent"])
    assert "removed" not in capsys.readouterr().out
    assert checkpoint.known()[f"hf://bob/parent@{parent.name}"] == parent  # `mine` comes from it
    assert publish.checkpoint_plan("mine").licence == "cc-by-nc-sa-3.0"
    second = checkpoint.resolve("hf://bob/parent")
    hub_server.commit("model", "bob/parent", {CARD: b"# third"})
    shutil.rmtree(mine)
    pull.main(["hf://bob/parent"])
    assert f"an earlier version was removed, commit {second.name}" in capsys.readouterr().out
    assert not second.exists()
    assert (checkpoint.resolve("hf://bob/parent") / CARD).read_text() == "# third"


def test_licences(mine: Path, hub_server: HubServer, data_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*flags: str) -> str:
        assert run(push.main, ["checkpoint", *flags, "--to", "ada/mine"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "mit is looser than the parent's cc-by-nc-sa-3.0" in refused("mine", "--licence", "mit")
    grandchild = make(data_folder / "checkpoints" / "grandchild", parent=checkpoint.identify(mine), seed=2)
    assert "looser than the parent's cc-by-nc-sa-3.0" in refused("grandchild", "--licence", "cc-by-4.0")
    orphan = make(data_folder / "checkpoints" / "orphan", parent="gone-0123456789", seed=3)
    assert "The parent gone-0123456789 is not on this computer" in refused("orphan", "--licence", "mit")
    assert "No licence: the card names none" in refused(str(make(data_folder / "x" / "alone", seed=4)))
    assert "mit is looser than the parent's cc-by-nc-sa-3.0" in refused("handwritten", "--licence", "mit")
    assert "mit is looser than the parent's cc-by-nc-sa-3.0" in refused("hf://bob/parent", "--licence", "mit")
    assert hub_server.asked("POST") == []

    assert publish.checkpoint_plan(grandchild).licence == "cc-by-nc-sa-3.0"
    assert publish.checkpoint_plan(orphan, parent_licence="mit").licence == "mit"
    assert publish.checkpoint_plan(mine, licence="cc-by-nc-sa-4.0").licence == "cc-by-nc-sa-4.0"


def test_figures_on_the_card(mine: Path, hub_server: HubServer, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    figures.write_text(json.dumps({"checkpoint": checkpoint.identify(mine), "data": "a/test", "n": 5, "exprate": 0.4}))
    push.main(["checkpoint", "mine", "--to", "ada/mine", "--evaluation", str(figures), "--datasets", "ada/ink"])
    head = cards.metadata(hub_server.files("model", "ada/mine")[CARD].decode())
    assert head["datasets"] == ["ada/ink"]
    assert head["model-index"][0]["results"][0]["metrics"] == [{"type": "exprate", "value": 0.4, "name": "ExpRate"}]
    figures.write_text(json.dumps({"checkpoint": "other-1", "data": "a/test", "n": 5, "exprate": 0.9}))
    with pytest.raises(HubError, match=r"measures other-1, this is mine-"):
        publish.checkpoint_plan(mine, evaluations=[figures])
    figures.write_text("[]")
    with pytest.raises(HubError, match="is no evaluation"):
        publish.checkpoint_plan(mine, evaluations=[figures])


def test_the_bundled_checkpoint_travels_whole(data_folder: Path) -> None:
    plan = publish.checkpoint_plan("handwritten")
    folder = checkpoint.resolve("handwritten")
    assert set(plan.files) == {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert plan.stays == {}
    assert plan.licence == "cc-by-nc-sa-3.0"


@pytest.mark.parametrize(
    ("to", "said"),
    [("mine", "names nothing"), ("hf://datasets/ada/mine", "give owner/name"), ("ada/mine@v1", "without a revision")],
)
def test_destinations(to: str, said: str) -> None:
    with pytest.raises(HubError, match=said):
        publish.destination(to, "model")


# --- data sets ------------------------------------------------------------------------------------------------


def photo(places: Sequence[object]) -> bytes:
    """A picture that says where it was taken and by whom."""
    picture = PIL.Image.fromarray(picture_of(places))  # type: ignore[arg-type]
    exif = PIL.Image.Exif()
    exif[0x013B] = "Ada Lovelace"
    said = PIL.PngImagePlugin.PngInfo()
    said.add_text("Author", "Ada Lovelace")
    encoded = io.BytesIO()
    picture.save(encoded, format="PNG", exif=exif, pnginfo=said)
    return encoded.getvalue()


@pytest.fixture
def store(data_folder: Path) -> Path:
    """A store with three accepted annotations of two pictures, and one that is not accepted."""
    path = data_folder / "annotations.db"
    with AnnotationStore(path) as opened:
        opened.add(photo(ONE), correction="1 + x", status="accepted", annotator="Ada Lovelace", source="Ada's phone")
        opened.add(photo(ONE), correction="1+x", status="accepted", annotator="Bob")
        opened.add(photo(TWO), correction=r"\frac{1}{2}", status="accepted", annotator="Ada Lovelace")
        opened.add(photo(TWO), correction="7", status="pending", annotator="Ada Lovelace")
    return path


def test_annotations_travel_without_names_and_come_back(
    store: Path, hub_server: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["annotations", "--to", "ada/ink", "--licence", "cc-by-4.0"]
    assert run(push.main, command) == 1
    assert "state that: I may give these pictures" in capsys.readouterr().err
    assert run(push.main, ["annotations", "--to", "ada/ink", "--rights"]) == 1
    assert "The licence '' is not known" in capsys.readouterr().err
    assert hub_server.requests == []

    assert push.main([*command, "--rights"]) == 0
    files = hub_server.files("dataset", "ada/ink")
    lines = [json.loads(line) for line in files.pop("train/metadata.jsonl").splitlines()]
    assert [line["latex"] for line in lines] == ["1 + x", r"\frac { 1 } { 2 }"]
    card = files.pop("README.md").decode()
    assert cards.metadata(card)["license"] == "cc-by-4.0"
    assert "| train | 2 |" in card
    assert "2 different formulas" in card
    assert "`1` 2" in card
    assert {f"train/{line['file_name']}" for line in lines} == set(files)
    for content in files.values():
        picture = PIL.Image.open(io.BytesIO(content))
        picture.load()
        assert not picture.getexif()
        assert picture.info == {}
        assert b"Ada" not in content and b"Lovelace" not in content

    with AnnotationStore(store) as opened:
        opened.add(photo([("x", 0, 0, 1, 1)]), correction="x", status="accepted")
    assert push.main([*command, "--rights"]) == 0
    assert len(hub_server.committed[-1]["file"]) == 2  # card and metadata
    assert len(hub_server.committed[-1]["lfsFile"]) == 1  # the new picture
    capsys.readouterr()

    other = tmp_path / "other.db"
    command = ["import", "hf://datasets/ada/ink", "--store", str(other), "--status", "pending"]
    assert manage_annotations.main(command) == 0
    assert "3 rows: 3 saved, 0 known already, 0 refused" in capsys.readouterr().out
    assert manage_annotations.main(command) == 0
    assert "3 rows: 0 saved, 3 known already" in capsys.readouterr().out
    with AnnotationStore(other) as opened, AnnotationStore(store) as first:
        here = {(item.image_sha256, item.tokens) for item in opened.find()}
        assert here < {(item.image_sha256, item.tokens) for item in first.find()}
        assert {item.source for item in opened.find()} == {"hf://datasets/ada/ink"}
        assert {item.annotator for item in opened.find()} == {""}


def test_a_picture_stays_upright_without_its_metadata(tmp_path: Path) -> None:
    turned = PIL.Image.Exif()
    turned[0x0112] = 6  # orientation: a quarter turn
    folder = tmp_path / "data"
    folder.mkdir()
    PIL.Image.new("L", (30, 10)).save(folder / "a.jpg", exif=turned)
    (folder / "labels.tsv").write_text("file\tlatex\na.jpg\t1\n")
    write_imagefolder(folder, tmp_path / "out")
    with PIL.Image.open(tmp_path / "out" / "train" / "a.png") as picture:
        assert picture.size == (10, 30) and not picture.getexif()


def test_two_readings_of_one_picture_and_a_test_split(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "set", {"1": ONE, "2": TWO})
    (dataset / "labels.tsv").write_text(
        "file\tlatex\twriter\tsplit\n0_0.png\t1\ta\ttrain\n0_0.png\tl\tb\ttrain\n1_0.png\t2\ta\theld_out\n"
    )
    facts = write_imagefolder(dataset, tmp_path / "out")
    assert (facts.rows, facts.formulas) == ({"train": 2, "test": 1}, 3)
    assert read_imagefolder(tmp_path / "out", tmp_path / "back") == 3
    rows = read_rows(tmp_path / "back")
    assert sorted((row["latex"], row["split"]) for row in rows) == [("1", "train"), ("2", "held_out"), ("l", "train")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: is no JSON"),
        ("[1]", "needs a file_name and its latex"),
        ('{"file_name": "a.png"}', "needs a file_name and its latex"),
        ('{"file_name": "../../labels.tsv", "latex": "x"}', "there is no picture"),
        ('{"file_name": "gone.png", "latex": "x"}', "there is no picture"),
    ],
)
def test_malformed_metadata_names_the_line(tmp_path: Path, line: str, said: str) -> None:
    write_imagefolder(write_dataset(tmp_path / "set", {"1": ONE}), tmp_path / "out")
    with (tmp_path / "out" / "train" / "metadata.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DatasetError, match=f"train/metadata.jsonl, line 2.*{said}" if "line" not in said else said):
        read_imagefolder(tmp_path / "out", tmp_path / "back")


@pytest.mark.parametrize("name", ["train/loader.py", "train/a.pkl", "data.parquet"])
def test_hostile_data_set(hub_server: HubServer, data_folder: Path, tmp_path: Path, name: str) -> None:
    metadata = b'{"file_name": "a.png", "latex": "x"}\n'
    hub_server.create(
        "dataset", "ada/ink", {"train/metadata.jsonl": metadata, "train/a.png": photo(ONE), name: b"import os"}
    )
    with pytest.raises(DatasetError, match=f"holds '{name}', which belongs to no imagefolder"):
        publish.pull_dataset("hf://datasets/ada/ink", tmp_path / "out")
    assert hub_server.asked("resolve") == []


def test_other_forms_are_refused(hub_server: HubServer, data_folder: Path, tmp_path: Path) -> None:
    hub_server.create("dataset", "ada/ink", {"README.md": b"# nothing"})
    with pytest.raises(DatasetError, match="is no imagefolder"):
        publish.pull_dataset("hf://datasets/ada/ink", tmp_path / "out")
    with pytest.raises(DatasetError, match="names a model"):
        publish.pull_dataset("hf://ada/ink", tmp_path / "out")


def test_pull_script(mine: Path, hub_server: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    push.main(["checkpoint", "mine", "--to", "ada/mine", "--public"])
    capsys.readouterr()
    assert pull.main(["--offers", "ada"]) == 0
    assert capsys.readouterr().out == "hf://ada/mine\t2026-11-22\tcc-by-nc-sa-3.0\tpublic\n"
    hub_server.faults.append(Fault("revision", 500))
    assert run(pull.main, ["hf://ada/mine"]) == 1
    assert capsys.readouterr().err == "hf://ada/mine: the Hub is in trouble (500); try again later.\n"


def test_nothing_says_the_token(
    mine: Path, hub_server: HubServer, capsys: pytest.CaptureFixture[str], data_folder: Path
) -> None:
    assert run(push.main, ["checkpoint", "mine", "--to", "ada/mine"]) == 0
    assert run(push.main, ["checkpoint", "mine", "--to", "bob/mine"]) == 1
    said = capsys.readouterr()
    assert WRITE_TOKEN not in said.out + said.err
    assert not any(WRITE_TOKEN.encode() in path.read_bytes() for path in data_folder.rglob("*") if path.is_file())
    assert not any(WRITE_TOKEN.encode() in data for data in hub_server.files("model", "ada/mine").values())
