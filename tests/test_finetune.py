"""From corrections to a checkpoint that has learnt them and has not forgotten the rest."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from toys import DELTA, FORMULAS, VOCABULARY, narrow, write_dataset

from hmer.checkpoint import load, read_config
from hmer.config import AugmentConfig, ImageConfig, TrainConfig
from hmer.datasets.batches import Source, collate
from hmer.datasets.folder import LABELS, read_dataset, read_rows
from hmer.errors import CheckpointError, DatasetError
from hmer.finetune import Comparison, comparison_table, fine_tune, imprint, steps_for
from hmer.metrics import score
from hmer.recognizer import Recognizer
from hmer.trainer import evaluate, fit


@pytest.fixture
def parent(toy_checkpoint: Path, tmp_path: Path) -> Path:
    """The toy checkpoint with a replay and a regression set."""
    folder = Path(shutil.copytree(toy_checkpoint, tmp_path / "parent"))
    write_dataset(folder / "replay", FORMULAS)
    write_dataset(folder / "regression", dict(list(FORMULAS.items())[:3]))
    return folder


def hold_out(data: Path, names: tuple[str, ...]) -> Path:
    """The dataset with a split column."""
    rows = [
        f"{row['file']}\t{row['latex']}\t{'held_out' if row['file'] in names else 'train'}" for row in read_rows(data)
    ]
    (data / LABELS).write_text("\n".join(["file\tlatex\tsplit", *rows]) + "\n", encoding="utf-8")
    return data


def test_steps_by_the_number_of_corrections() -> None:
    assert [steps_for(count) for count in (1, 10, 100, 10_000)] == [41, 50, 140, 300]


def test_the_new_checkpoint_knows_its_parent_and_more_symbols(parent: Path, delta_data: Path, tmp_path: Path) -> None:
    data = hold_out(Path(shutil.copytree(delta_data, tmp_path / "data")), ("0_0.png", "1_0.png"))
    before = {path.relative_to(parent): path.read_bytes() for path in parent.rglob("*") if path.is_file()}
    result = fine_tune(parent, data, tmp_path / "out" / "child", steps=3, threads=1)
    assert result.folder == tmp_path / "out" / "child"
    assert result.new_tokens == ("\\Delta",)
    assert [(item.name, item.before.n, item.after.n) for item in result.comparisons] == [
        ("held-out corrections", 2, 2), ("corrections trained on", 4, 4), ("regression set", 3, 3)
    ]  # fmt: skip
    child = read_config(result.folder)
    assert child.name == "child"
    assert child.parent == load(parent).id
    assert child.vocabulary == (*VOCABULARY.words, "\\Delta")
    assert read_rows(result.folder / "replay") == read_rows(parent / "replay")
    assert read_rows(result.folder / "regression") == read_rows(parent / "regression")
    assert {path.relative_to(parent): path.read_bytes() for path in parent.rglob("*") if path.is_file()} == before


def test_a_new_token_is_imprinted_and_no_other_touched(toy_checkpoint: Path, delta_data: Path) -> None:
    model = load(toy_checkpoint).model
    model.grow_vocabulary(["\\Delta", "\\Gamma"])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    items = read_dataset(delta_data, "crohme")
    source = Source(items, model.vocabulary, ImageConfig(), AugmentConfig())
    batches = [collate([source.sample(index, None)]) for index in range(len(items))]
    loss = sum(float(model.loss(batch).total.detach()) for batch in batches)
    imprint(model, batches, ["\\Delta", "\\Gamma"])
    after = model.state_dict()
    (delta,) = model.vocabulary.encode(["\\Delta"])
    for name, value in before.items():
        rows = [row for row in range(len(value)) if row != delta] if name.startswith("out.") else slice(None)
        assert value.ndim == 0 or torch.equal(after[name][rows], value[rows]), name
    old = before["out.weight"][:delta].norm(dim=1).mean()
    assert float(after["out.weight"][delta].norm()) == pytest.approx(float(old), rel=1e-4)
    assert sum(float(model.loss(batch).total.detach()) for batch in batches) < loss


def test_without_a_replay_set_it_is_said(
    toy_checkpoint: Path, delta_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = fine_tune(toy_checkpoint, delta_data, tmp_path / "child", steps=1, threads=1)
    assert "carries no replay set" in caplog.text
    assert [item.name for item in result.comparisons] == ["corrections trained on"]


def test_what_is_refused(parent: Path, delta_data: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="exists already"):
        fine_tune(parent, delta_data, parent)
    data = hold_out(write_dataset(tmp_path / "data", {"1": FORMULAS["1"]}), ("0_0.png",))
    with pytest.raises(DatasetError, match="every row is held out"):
        fine_tune(parent, data, tmp_path / "child")
    with pytest.raises(CheckpointError, match="cancelled; nothing was changed"):
        fine_tune(parent, delta_data, tmp_path / "child", threads=1, cancelled=lambda: True)
    assert not (tmp_path / "child").exists()


def test_the_table_of_before_and_after() -> None:
    truths = [["a"], ["b"]]
    comparison = Comparison("held-out corrections", score(truths, [["x"], ["b"]]), score(truths, truths))
    header, line = comparison_table([comparison]).splitlines()
    assert header.split() == ["n", "exprate", "token_error_rate"]
    assert line.split() == ["held-out", "corrections", "2", "0.500", "->", "1.000", "0.500", "->", "0.000"]


@pytest.mark.slow
def test_a_new_symbol_is_learnt_and_nothing_forgotten(toy_data: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        train=(str(toy_data),), out=str(tmp_path / "run"), steps=700, batch_size=16, workers=0, threads=1,
        learning_rate=4e-3, warmup_steps=20, average_decay=0.98, pool_batches=4, weight_decay=0.0, label_smoothing=0.0,
        log_steps=100, model=dataclasses.replace(narrow("transformer"), decoder_width=64),
        augment=AugmentConfig(strokes=0.5, pixels=0.5, scale=0.1),
    )  # fmt: skip
    parent = fit(config)
    shutil.copytree(toy_data, parent / "replay")
    shutil.copytree(toy_data, parent / "regression")
    data = hold_out(write_dataset(tmp_path / "corrections", DELTA, repeats=6), ("0_1.png", "1_1.png"))
    # So small a network learns slowly at the rate that suits the bundled one.
    result = fine_tune(parent, data, tmp_path / "child", steps=500, threads=1)
    by_name = {item.name: item for item in result.comparisons}
    assert by_name["held-out corrections"].before.exprate == 0.0
    assert by_name["held-out corrections"].after.exprate == 1.0
    assert by_name["regression set"].after.exprate >= by_name["regression set"].before.exprate - 0.1
    new = Recognizer.load(result.folder)
    assert evaluate(new, read_dataset(data, "crohme")).scores.exprate >= 0.9
