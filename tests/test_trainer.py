"""One loop: it learns, writes what it promises, resumes where it stopped, and survives a bad step."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import FORMULAS, VOCABULARY, narrow, write_dataset

from hmer.checkpoint import load
from hmer.config import AugmentConfig, ModelConfig, TrainConfig
from hmer.datasets.batches import BatchStream, Source, batches_of
from hmer.datasets.folder import read_dataset
from hmer.errors import CheckpointError, DatasetError
from hmer.evaluation import evaluate
from hmer.image import ImageConfig
from hmer.recognizer import Recognizer
from hmer.several import Processes
from hmer.trainer import LOG, RESUME, Trainer, _Average, fit, learning_rate


@pytest.fixture
def config(toy_data: Path, tmp_path: Path) -> TrainConfig:
    """Six steps on the toy data."""
    return TrainConfig(
        train=(str(toy_data),), validation=str(toy_data), out=str(tmp_path / "run"), steps=6, batch_size=4, workers=0,
        pool_batches=1, log_steps=2, evaluate_limit=4, warmup_steps=2, threads=1, model=narrow("transformer"),
    )  # fmt: skip


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / LOG).read_text(encoding="utf-8").splitlines()]


SCHEDULES = [
    ({}, 0, 0.0, 0.1),  # warm-up: one of ten steps
    ({}, 4, 0.0, 0.5),
    ({}, 9, 0.0, 1.0),
    ({}, 500, 0.5, 1.0),
    ({}, 500, 0.8, 1.0),
    ({}, 500, 0.9, 0.5),
    ({}, 500, 1.0, 0.0),
    ({"decay_share": 0.0}, 500, 0.99, 1.0),
    ({"schedule": "constant"}, 500, 0.99, 1.0),
    ({"schedule": "cosine"}, 500, 0.0, 1.0),
    ({"schedule": "cosine"}, 500, 0.5, 0.5),
    ({"schedule": "cosine"}, 500, 1.0, 0.0),
    ({"warmup_steps": 0}, 0, 0.0, 1.0),
]


@pytest.mark.parametrize(("settings", "step", "progress", "share"), SCHEDULES)
def test_learning_rate(settings: dict[str, Any], step: int, progress: float, share: float) -> None:
    config = TrainConfig(learning_rate=0.01, **({"warmup_steps": 10} | settings))
    assert learning_rate(config, step, progress) == pytest.approx(0.01 * share)


def test_a_batch_of_every_folder_a_step(config: TrainConfig, toy_data: Path, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "other", dict(list(FORMULAS.items())[:1]))
    config = dataclasses.replace(config, train=(str(toy_data), str(other)), every_folder=True, steps=2, validation="")
    trainer = Trainer(config)
    step = next(trainer._batches())
    assert [len(batch.lengths) for batch in step] == [4, 4]
    only = tuple(trainer.model.vocabulary.encode(trainer.train_items[1][0].tokens))
    assert {tuple(row[:length]) for row, length in zip(step[1].tokens.tolist(), step[1].lengths, strict=True)} == {only}
    trainer.fit()
    assert (trainer.step, trainer.samples) == (2, 16)

    trainer.config = dataclasses.replace(config, train_weights=(1.0, 0.5))
    assert [len(batch.lengths) for batch in next(trainer._batches())] == [4, 2]
    trainer.config = dataclasses.replace(config, train_weights=(1.0,))
    with pytest.raises(DatasetError, match="1 numbers for 2 folders"):
        trainer._batches()


def test_the_average_follows_quickly_at_first(config: TrainConfig) -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(layer.weight)
    average = _Average(layer, 0.9)
    torch.nn.init.ones_(layer.weight)
    average.update(layer)
    keep = 2 / 11
    assert float(average.state["weight"]) == pytest.approx(1 - keep)
    average.update(layer)
    assert float(average.state["weight"]) == pytest.approx(1 - keep * 3 / 12)


def test_a_run_writes_what_it_promises(config: TrainConfig) -> None:
    reports: list[dict[str, Any]] = []
    best = fit(config, report=reports.append)
    run = Path(config.out)
    assert best == run / "best"
    assert {RESUME, LOG, "best", "last"} <= {path.name for path in run.iterdir()}
    lines = lines_of(run)
    assert lines == json.loads(json.dumps(reports))
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [2, 4, 6]
    assert [line["samples"] for line in steps] == [8, 16, 24]
    assert all(math.isfinite(line["loss"]) and 0 <= line["token_accuracy"] <= 1 for line in steps)
    assert {"token", "attention", "symbol", "learning_rate", "samples_per_second", "left"} <= set(steps[0])
    # The time between two lines is that of their steps, not of a validation that lies between.
    hours = steps[2]["hours"] - steps[1]["hours"]
    assert 8 / steps[2]["samples_per_second"] == pytest.approx(hours * 3600, abs=0.5)
    (validation,) = [line for line in lines if "validation_exprate" in line]
    assert validation["validation_n"] == 4
    for name in ("best", "last"):
        checkpoint = load(run / name)
        assert checkpoint.config.name == "run"
        assert checkpoint.config.vocabulary == VOCABULARY.words
        assert checkpoint.config.model == config.model
        assert checkpoint.config.created
    card = (run / "best" / "README.md").read_text(encoding="utf-8")
    assert "6 steps, 24 samples" in card and '"batch_size": 4' in card


def test_without_validation_the_last_is_the_result(config: TrainConfig) -> None:
    assert fit(dataclasses.replace(config, validation="")) == Path(config.out) / "last"


def test_the_checkpoint_is_the_average_of_the_weights(config: TrainConfig) -> None:
    config = dataclasses.replace(config, validation="", steps=3, log_steps=10)
    trainer = Trainer(config)
    trainer.fit()
    loaded = load(Path(config.out) / "last").model.state_dict()
    for name, value in trainer.average.state.items():
        assert torch.equal(loaded[name], value.half().to(value.dtype) if value.is_floating_point() else value)
    plain = Trainer(dataclasses.replace(config, out=config.out + "-plain", average_decay=0.0))
    plain.fit()
    for name, value in plain.model.state_dict().items():
        assert torch.equal(plain.averaged().model.state_dict()[name], value)


def test_a_stopped_run_goes_on_where_it_was(config: TrainConfig) -> None:
    run = Path(config.out)
    first = Trainer(config)
    first.fit(cancelled=lambda: first.step >= 3)
    assert first.step == 3

    second = Trainer(config, resume=True)
    assert (second.step, second.samples, second.best) == (3, 12, first.best)
    assert second.seconds == pytest.approx(first.seconds)
    assert second.average.count == 3
    for name, value in first.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], value)
        assert torch.equal(second.average.state[name], first.average.state[name])
    moments = [list(part.optimizer.state_dict()["state"].values()) for part in (first, second)]
    assert len(moments[0]) == len(list(first.model.parameters()))
    for before, after in zip(*moments, strict=True):
        assert torch.equal(before["exp_avg"], after["exp_avg"])
        assert float(after["step"]) == 3
    second.fit()
    assert (second.step, second.samples) == (6, 24)
    steps = [line["step"] for line in lines_of(run) if "loss" in line]
    assert steps == [2, 4, 6]
    done = Trainer(config, resume=True)
    done.fit()
    assert done.step == 6


def test_a_run_that_is_interrupted_can_go_on(config: TrainConfig) -> None:
    first = Trainer(config)

    def press_ctrl_c() -> bool:
        if first.step >= 3:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        first.fit(cancelled=press_ctrl_c)
    assert Trainer(config, resume=True).step == 3


def test_what_cannot_be_resumed_says_why(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing to resume"):
        Trainer(config, resume=True)
    Trainer(config).save()
    with pytest.raises(CheckpointError, match="holds a run already"):
        Trainer(config)
    other = dataclasses.replace(config, model=narrow("cnn_lstm"))
    with pytest.raises(CheckpointError, match="another model or other tokens"):
        Trainer(other, resume=True)
    fewer = write_dataset(tmp_path / "fewer", {"1": FORMULAS["1"]})
    with pytest.raises(CheckpointError, match="another model or other tokens"):
        Trainer(dataclasses.replace(config, train=(str(fewer),)), resume=True)
    (Path(config.out) / RESUME).write_bytes(b"not a saved run")
    with pytest.raises(CheckpointError, match="damaged"):
        Trainer(config, resume=True)


def test_a_step_that_is_not_finite_is_left_out(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(dataclasses.replace(config, validation=""))
    original = type(trainer.model).loss

    def broken(model: Any, batch: Any) -> Any:
        loss = original(model, batch)
        if trainer.step in (1, 2):
            loss.total = loss.total * float("inf" if trainer.step == 1 else "nan")
        return loss

    monkeypatch.setattr(type(trainer.model), "loss", broken)
    trainer.fit()
    assert trainer.step == 6
    assert trainer.average.count == 4
    assert all(bool(value.isfinite().all()) for value in trainer.model.state_dict().values())


def test_a_scaler_lowers_its_scale_where_a_step_overflows(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with fp16 on a GPU: steps 1 and 2 overflow, so the scale is halved twice."""

    class Scaled(Processes):
        def __init__(self, config: TrainConfig) -> None:
            super().__init__(config)
            self.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)

    monkeypatch.setattr("hmer.trainer.Processes", Scaled)
    trainer = Trainer(dataclasses.replace(config, validation=""))
    original = type(trainer.model).loss

    def overflowing(model: Any, batch: Any) -> Any:
        loss = original(model, batch)
        loss.total = loss.total * (float("inf") if trainer.step in (1, 2) else 1.0)
        return loss

    monkeypatch.setattr(type(trainer.model), "loss", overflowing)
    trainer.fit()
    assert (trainer.step, trainer.average.count) == (6, 4)
    assert trainer.accelerator.scaler.get_scale() == 2.0
    assert all(bool(value.isfinite().all()) for value in trainer.model.state_dict().values())
    assert Trainer(trainer.config, resume=True).accelerator.scaler.get_scale() == 2.0


def test_a_step_in_bf16(config: TrainConfig) -> None:
    settings = dataclasses.replace(
        config, steps=1, mixed_precision="bf16", model=narrow("cnn_lstm"), validation="", device="cpu"
    )
    trainer = Trainer(settings)
    kinds: set[torch.dtype] = set()
    trainer.model.project.register_forward_hook(lambda _module, _given, out: kinds.add(out.dtype))
    before = trainer.model.out.weight.detach().clone()
    trainer.fit()
    assert kinds == {torch.bfloat16} and trainer.model.out.weight.dtype == torch.float32
    assert trainer.average.count == 1 and not torch.equal(trainer.model.out.weight, before)


def test_bad_data_is_refused_or_left_out(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No training data"):
        Trainer(TrainConfig())
    data = write_dataset(tmp_path / "data", {caption: FORMULAS[caption] for caption in ("1", "1 + x", "x - 2")})
    with (data / "labels.tsv").open("a", encoding="utf-8") as labels:
        labels.write("nothing.png\tx\n0_0.png\t{x\n")
    (data / "1_0.png").write_bytes(b"no picture")
    trainer = Trainer(dataclasses.replace(config, train=(str(data),), validation=""))
    assert len(trainer.problems) == 2
    trainer.fit()
    assert trainer.samples == 24  # the picture that cannot be read is replaced by others
    with pytest.raises(DatasetError, match="2 numbers for 1 folders"):
        fit(dataclasses.replace(config, out=config.out + "2", train_weights=(1.0, 2.0)))


def test_nothing_readable_is_an_error_and_no_endless_loop(config: TrainConfig, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", {"1": FORMULAS["1"]})
    (data / "0_0.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="cannot be read"):
        fit(dataclasses.replace(config, train=(str(data),), validation=""))


def test_training_from_a_checkpoint_keeps_its_settings_and_grows_it(
    config: TrainConfig, toy_checkpoint: Path, delta_data: Path
) -> None:
    settings = dataclasses.replace(
        config, initial=str(toy_checkpoint), train=(str(delta_data),), image=ImageConfig(writing_px=20.0),
        model=ModelConfig(), freeze_statistics=True, steps=2, validation="",
    )  # fmt: skip
    trainer = Trainer(settings)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items() if "running" in name}
    trainer.fit()
    assert all(torch.equal(trainer.model.state_dict()[name], value) for name, value in before.items())
    new = load(Path(config.out) / "last")
    assert new.config.vocabulary == (*VOCABULARY.words, "\\Delta")
    assert new.config.model == narrow("transformer")
    assert new.config.image == ImageConfig()
    assert new.config.parent == load(toy_checkpoint).id
    other = dataclasses.replace(
        settings, keep_settings=False, label_form="full", model=ModelConfig(bidirectional=False)
    )
    changed = Trainer(dataclasses.replace(other, out=config.out + "-changed")).base
    assert (changed.image.writing_px, changed.label_form) == (20.0, "full")
    assert changed.model == dataclasses.replace(narrow("transformer"), bidirectional=False)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_reproducible_and_weighted(toy_data: Path, delta_data: Path, workers: int) -> None:
    vocabulary = VOCABULARY.grown(["\\Delta"])
    sources = [
        Source(read_dataset(folder, "crohme"), vocabulary, ImageConfig(), AugmentConfig())
        for folder in (toy_data, delta_data)
    ]

    def some(seed: int) -> list[torch.Tensor]:
        stream = BatchStream(sources, (1.0, 3.0), 8, seed, 4)
        batches = batches_of(stream, workers)
        return [next(batches).tokens for _ in range(12)]

    first, again, other = some(1), some(1), some(2)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not all(one.shape == two.shape and torch.equal(one, two) for one, two in zip(first, other, strict=True))
    delta = vocabulary.encode(["\\Delta"])[0]
    rows = sum(len(tokens) for tokens in first)
    assert 0.55 < sum(bool((row == delta).any()) for tokens in first for row in tokens) / rows < 0.95


def test_evaluation_of_what_is_known(toy_checkpoint: Path, toy_data: Path, delta_data: Path, tmp_path: Path) -> None:
    recognizer = Recognizer.load(toy_checkpoint)
    items = read_dataset(toy_data, "crohme")
    told: list[int] = []
    evaluation = evaluate(recognizer, items, teacher_forcing=True, progress=told.append)
    assert told[-1] == len(items) == evaluation.scores.n
    assert evaluation.items == tuple(items)
    assert evaluation.token_accuracy is not None and 0 <= evaluation.token_accuracy <= 1
    # A token that the checkpoint lacks is wrong: no more than the end can be right of a caption that begins with one.
    unknown = evaluate(
        recognizer, [item for item in read_dataset(delta_data, "crohme") if len(item.tokens) == 1], teacher_forcing=True
    )
    assert unknown.token_accuracy is not None and unknown.token_accuracy <= 0.5
    assert evaluate(recognizer, []).scores.n == 0
    assert evaluate(recognizer, [], teacher_forcing=True).token_accuracy is None


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["cnn_lstm", "transformer"])
def test_the_loop_learns_the_toy_formulas(config: TrainConfig, toy_data: Path, architecture: str) -> None:
    """From PNG and InkML with all distortions to answers for the plain files."""
    settings = dataclasses.replace(
        config, steps=700, batch_size=16, learning_rate=4e-3, warmup_steps=20, average_decay=0.98, pool_batches=4,
        weight_decay=0.0, label_smoothing=0.0, evaluate_limit=0, model=narrow(architecture), log_steps=100,
        augment=AugmentConfig(strokes=0.5, pixels=0.5, scale=0.1),
    )  # fmt: skip
    best = fit(settings)
    assert evaluate(Recognizer.load(best), read_dataset(toy_data, "crohme")).scores.exprate == 1.0
