"""A checkpoint is loaded strictly, or refused with a reason; it is written whole, or not at all."""

import json
import os
import pickle
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from toys import VOCABULARY, narrow

from hmer import checkpoint
from hmer.checkpoint import CheckpointConfig, free_place, load, parameters, read_config, resolve, save
from hmer.config import ConfigError, ModelConfig
from hmer.errors import CheckpointError
from hmer.home import data_home
from hmer.models import MODELS, build
from hmer.vocabulary import Vocabulary


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of its own."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HMER_HOME", str(home))
    return home


@pytest.fixture
def folder(toy_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the toy checkpoint, to be damaged."""
    return Path(shutil.copytree(toy_checkpoint, tmp_path / "copy"))


def test_what_is_of_another_line(toy_checkpoint: Path) -> None:
    handwritten, printed = (checkpoint.identify(resolve(name)) for name in ("handwritten", "printed"))
    for name, parent in (("mine", handwritten), ("page", printed), ("orphan", "gone-0123456789")):
        child = Path(shutil.copytree(toy_checkpoint, data_home() / "checkpoints" / name))
        change_config(child, name=name, parent=parent)
    mine, page, orphan = (checkpoint.identify(resolve(name)) for name in ("mine", "page", "orphan"))
    old = "printed-0123456789"  # of an earlier release
    ids = [handwritten, printed, mine, page, orphan, old, "named by hand"]
    assert checkpoint.of_other_lines("handwritten", ids) == [printed, page, old]
    assert checkpoint.of_other_lines("mine", ids) == [printed, page, old]
    assert checkpoint.of_other_lines(resolve("page"), ids) == [handwritten, mine]
    assert checkpoint.of_other_lines("orphan", ids) == []  # of no line that is known


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / checkpoint.CONFIG
    values = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(values), encoding="utf-8")


def change_weights(folder: Path, **changes: torch.Tensor | None) -> None:
    path = folder / checkpoint.WEIGHTS
    weights = load_file(path) | changes
    save_file({name: value for name, value in weights.items() if value is not None}, path)


def toy(seed: int = 0) -> tuple[torch.nn.Module, CheckpointConfig]:
    torch.manual_seed(seed)
    config = CheckpointConfig("toy", VOCABULARY.words, model=narrow("cnn_lstm"))
    return build(config.model, VOCABULARY), config


@pytest.mark.parametrize("architecture", sorted(MODELS))
def test_round_trip(architecture: str, tmp_path: Path) -> None:
    config = CheckpointConfig(
        "toy", VOCABULARY.words, model=narrow(architecture), calibration=(1.5, -0.25), beam_calibration=(0.5, 2.0, 1.0), parent="older-12", created="2026-01-01"
    )  # fmt: skip
    model = build(config.model, VOCABULARY)
    out = save(tmp_path / "new" / "toy", model, config, card="# A toy\n")
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert (out / "README.md").read_text(encoding="utf-8") == "# A toy\n"
    assert [path.name for path in out.parent.iterdir()] == ["toy"]
    loaded = load(out)
    assert loaded.config == config
    assert loaded.folder == out
    assert loaded.id.startswith("toy-") and loaded.id == load(out).id
    assert loaded.model.vocabulary == VOCABULARY
    assert not loaded.model.training
    for name, value in model.state_dict().items():
        expected = value.half().to(value.dtype) if value.is_floating_point() else value
        assert torch.equal(loaded.model.state_dict()[name], expected)


def test_other_weights_have_another_id(tmp_path: Path) -> None:
    ids = {load(save(tmp_path / str(seed), *toy(seed))).id for seed in range(2)}
    assert len(ids) == 2


def test_values_that_half_precision_cannot_hold_are_kept(tmp_path: Path) -> None:
    model, config = toy()
    model.encoder.stem[2].running_var[0] = 1e6  # type: ignore[union-attr, index, operator]
    loaded = load(save(tmp_path / "large", model, config)).model
    assert float(loaded.state_dict()["encoder.stem.2.running_var"][0]) == 1e6


def test_weights_that_are_not_numbers_are_not_saved(tmp_path: Path) -> None:
    model, config = toy()
    with torch.no_grad():
        model.out.bias[0] = float("nan")  # type: ignore[union-attr, index, operator]
    with pytest.raises(CheckpointError, match="out.bias holds values that are not numbers"):
        save(tmp_path / "bad", model, config)
    assert not list(tmp_path.iterdir())


DAMAGED_CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"colour": 3}, "unknown setting colour; known are .*vocabulary"),
    ({"model": {"architecture": "transformer", "depth": 3}}, "config.json.model: unknown setting depth"),
    ({"model": {"architecture": "resnet"}}, "Unknown architecture 'resnet'; known are cnn_lstm, crnn_ctc, transformer"),
    ({"vocabulary": "abc"}, "config.json.vocabulary: expected a list"),
    ({"vocabulary": ["a", "a"]}, "a token stands twice"),
    ({"vocabulary": []}, "from 1 to 20,000"),
    ({"vocabulary": [f"t{number}" for number in range(20_001)]}, "from 1 to 20,000"),
    ({"label_form": "latin"}, "label_form: 'latin' is not one of crohme"),
    ({"calibration": [1.0]}, "slopes and offset"),
    ({"beam_calibration": [1.0, 2.0]}, "two slopes and offset"),
    ({"beam_calibration": [1.0, 2.0, float("inf")]}, "finite"),
    ({"calibration": [1.0, float("nan")]}, "finite"),
    ({"image": {"version": 2}}, "update hmer"),
    ({"model": {"decoder_width": 8192, "decoder_feedforward": 8192, "decoder_layers": 64}}, "asks for about [0-9,]+ parameters"),
    ({"model": {"encoder_channels": [8192, 8192], "encoder_blocks": [64, 64]}}, "asks for about"),
    ({"model": {"decoder_layers": 8000}}, "decoder_layers"),
    ({"model": {"decoder_width": 10**12}}, "from 1 to 8192"),
    ({"name": 7}, "config.json.name: expected str"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), DAMAGED_CONFIGS, ids=[message for _, message in DAMAGED_CONFIGS])
def test_a_damaged_configuration_is_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    change_config(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        load(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[1]", "expected settings by name"),
        ("[" * 100_000, "cannot be read"),
        ("{}", "missing"),
        (json.dumps({"name": "x" * 2_000_001}), "larger than any configuration"),
        (b"\xff\xfe{}", "cannot be read"),
    ],
    ids=["cut off", "list", "deep", "empty", "huge", "not text"],
)
def test_a_configuration_that_is_none_is_refused(folder: Path, text: str | bytes, message: str) -> None:
    (folder / checkpoint.CONFIG).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_weights_that_do_not_fit_are_refused(folder: Path) -> None:
    path = folder / checkpoint.WEIGHTS
    original = path.read_bytes()
    damages: list[tuple[dict[str, torch.Tensor | None], str]] = [
        ({"out.bias": None}, r"does not fit its configuration \(missing \['out.bias'\], unexpected none\)"),
        ({"extra": torch.zeros(1)}, r"missing none, unexpected \['extra'\]"),
        ({"out.bias": torch.zeros(3)}, r"out.bias has shape \[3\], its configuration asks for \[\d+\]"),
        ({"out.bias": torch.full((len(VOCABULARY),), float("nan"))}, "out.bias holds values that are not numbers"),
        ({"out.bias": torch.full((len(VOCABULARY),), float("inf"))}, "out.bias holds values that are not numbers"),
    ]
    for changes, message in damages:
        path.write_bytes(original)
        change_weights(folder, **changes)
        with pytest.raises(CheckpointError, match=message):
            load(folder)


def test_weights_that_are_no_safetensors_are_refused(folder: Path) -> None:
    path = folder / checkpoint.WEIGHTS
    for content in (b"", b"PK\x03\x04 something else", path.read_bytes()[:1000]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
            load(folder)
    path.unlink()
    with pytest.raises(CheckpointError, match=checkpoint.WEIGHTS):
        load(folder)


class _Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_checkpoint_is_executed(folder: Path, tmp_path: Path) -> None:
    trap = pickle.dumps(_Trap(tmp_path / "sprung"))
    for name in ("pytorch_model.bin", "model.pt", "model.pkl", "model.safetensors.bin"):
        (folder / name).write_bytes(trap)
    load(folder)
    (folder / checkpoint.WEIGHTS).write_bytes(trap)
    with pytest.raises(CheckpointError):
        load(folder)
    (folder / checkpoint.WEIGHTS).unlink()
    with pytest.raises(CheckpointError):
        load(folder)
    assert not (tmp_path / "sprung").exists()


def test_an_existing_folder_is_not_overwritten_unless_said(tmp_path: Path) -> None:
    out = save(tmp_path / "toy", *toy(1))
    before = load(out).id
    with pytest.raises(CheckpointError, match="exists already; choose another name"):
        save(out, *toy(2))
    assert load(out).id == before
    (out / "leftover").touch()
    save(out, *toy(2), overwrite=True)
    assert load(out).id != before
    assert not (out / "leftover").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]
    (tmp_path / "empty").mkdir()
    assert load(save(tmp_path / "empty", *toy(1))).id == before
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="is a file"):
        save(tmp_path / "file", *toy(1))


def test_a_vocabulary_that_is_not_the_models_is_refused(tmp_path: Path) -> None:
    model, config = toy()
    model.grow_vocabulary(["\\Delta"])  # type: ignore[operator]
    with pytest.raises(CheckpointError, match="vocabulary of the model and of the configuration differ"):
        save(tmp_path / "toy", model, config)  # type: ignore[arg-type]


@pytest.mark.parametrize("broken", ["save_file", "_replace"])
def test_a_failure_in_the_middle_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    out = save(tmp_path / "toy", *toy(1))
    before = load(out).id

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, broken, fail)
    with pytest.raises(CheckpointError, match="No space left on device.*nothing was changed"):
        save(out, *toy(2), overwrite=True)
    assert load(out).id == before
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_a_failure_of_the_last_step_puts_the_old_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = save(tmp_path / "toy", *toy(1))
    before = load(out).id
    rename = os.rename

    def fail_into_place(source: Any, target: Any) -> None:
        if Path(target) == out and "-old-" not in str(source):
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_into_place)
    with pytest.raises(CheckpointError, match="Input/output error"):
        save(out, *toy(2), overwrite=True)
    assert load(out).id == before


class Killed(BaseException):
    """What nothing here catches: as if the process had ended."""


@pytest.mark.parametrize("found_by", ["name", "folder", "list", "save"])
def test_killed_between_the_two_renames_the_old_one_comes_back(
    found_by: str, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = toy(0), toy(1)
    folder = save(home / "checkpoints" / "mine", old[0], old[1])
    identity = checkpoint.identify(folder)
    rename, left = os.rename, [1]

    def rename_once(source: Path, target: Path) -> None:
        if not left:
            raise Killed
        left.pop()
        rename(source, target)

    monkeypatch.setattr(checkpoint.os, "rename", rename_once)
    with pytest.raises(Killed):
        save(folder, new[0], new[1], overwrite=True)
    monkeypatch.setattr(checkpoint.os, "rename", rename)
    assert not folder.exists()
    if found_by == "save":
        save(folder, new[0], new[1], overwrite=True)
        assert checkpoint.identify(folder) != identity
    else:
        found = {
            "name": lambda: resolve("mine"), "folder": lambda: load(folder).folder,
            "list": lambda: checkpoint.fine_tuned()["mine"],
        }[found_by]()  # fmt: skip
        assert found == folder
        assert load(folder).id == identity
        assert "saving it was interrupted" in caplog.text
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]


def test_a_save_that_is_at_it_is_not_disturbed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_LOCK_TIMEOUT_S", 0.2)
    old, new = toy(0), toy(1)
    folder = save(home / "checkpoints" / "mine", old[0], old[1])
    rename, listed = os.rename, []

    def rename_and_look(source: Path, target: Path) -> None:
        if Path(target) == folder:  # the moment without either
            looking = threading.Thread(target=lambda: listed.append(checkpoint.fine_tuned()))
            looking.start()
            looking.join()
        rename(source, target)

    monkeypatch.setattr(checkpoint.os, "rename", rename_and_look)
    save(folder, new[0], new[1], overwrite=True)
    assert listed == [{}]
    assert checkpoint.identify(folder) == checkpoint.identify(checkpoint.fine_tuned()["mine"])
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]


def test_what_fine_tuning_needs_travels_along(folder: Path, tmp_path: Path) -> None:
    for name in ("replay", "regression"):
        (folder / name).mkdir()
        (folder / name / "labels.tsv").write_text("file\tlatex\n", encoding="utf-8")
    (folder / "NOTICE").write_text("terms\n", encoding="utf-8")
    (folder / "secret").touch()
    out = save(tmp_path / "child", *toy(), extra=folder)
    names = ["NOTICE", "README.md", "config.json", "model.safetensors", "regression", "replay"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert (out / "replay" / "labels.tsv").is_file()


def test_references(toy_checkpoint: Path, home: Path, tmp_path: Path) -> None:
    assert resolve(toy_checkpoint) == resolve(str(toy_checkpoint)) == toy_checkpoint
    with pytest.raises(CheckpointError, match="No checkpoint 'nothing': known are .*; or give a checkpoint folder"):
        resolve("nothing")
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        resolve(tmp_path)
    shutil.copytree(toy_checkpoint, home / "checkpoints" / "mine")
    shutil.copytree(toy_checkpoint, home / "checkpoints" / ".mine-unfinished")
    assert resolve("mine") == home / "checkpoints" / "mine"
    assert list(checkpoint.fine_tuned()) == ["mine"]
    with pytest.raises(CheckpointError, match=r"known are ([^;]*\W)?mine\b"):
        resolve("their")
    assert load("mine").config.name == "toy"
    with pytest.raises(CheckpointError):
        resolve("~nobody-at-all/toy")


def test_what_is_refused_is_refused_when_built_too() -> None:
    with pytest.raises(ConfigError, match="slopes and offset"):
        CheckpointConfig("x", ("a",), calibration=(1.0, 2.0, 3.0, 4.0))


def test_reading_the_configuration_alone(toy_checkpoint: Path, tmp_path: Path) -> None:
    assert read_config(toy_checkpoint).vocabulary == VOCABULARY.words
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_config(tmp_path)


@pytest.mark.parametrize("architecture", sorted(MODELS))
def test_the_estimate_of_the_size_is_near(architecture: str) -> None:
    for sizes in (
        {},
        {"decoder_width": 512, "encoder_blocks": (4, 12)},
        {"decoder_layers": 8, "encoder_channels": (96, 256)},
    ):
        model = ModelConfig(architecture=architecture, **sizes)  # type: ignore[arg-type]
        config = CheckpointConfig("x", tuple(f"t{number}" for number in range(500)), model=model)
        exact = parameters(build(config.model, Vocabulary(config.vocabulary)))
        assert exact * 0.7 < checkpoint._parameters_about(config) < exact * 5


@pytest.mark.parametrize("name", ["handwritten", "automatic", "", "../out", ".hidden", "hf:x", "a" * 101, "mine"])
def test_a_new_checkpoint_has_a_name_of_its_own(name: str, data_folder: Path) -> None:
    (data_home() / "checkpoints" / "mine").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"is no name for a checkpoint|There is a checkpoint"):
        free_place(name)
    assert free_place("mine-2") == data_home() / "checkpoints" / "mine-2"
