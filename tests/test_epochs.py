"""Scheduled sampling, patience and the table of epochs, against values worked out by hand."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from test_models import batch_of
from toys import FORMULAS, VOCABULARY, narrow

from hmer.config import TrainConfig
from hmer.epochs import EPOCH_HEADER, Patience, epoch_row, sampling_share
from hmer.models import build
from hmer.models.attention import LstmModel
from hmer.trainer import LOG, Trainer


def lstm(**settings: Any) -> TrainConfig:
    return TrainConfig(model=narrow("cnn_lstm"), **settings)


def test_the_share_of_own_tokens() -> None:
    linear = lstm(scheduled_sampling="linear", sampling_share=0.5)
    assert [sampling_share(linear, progress) for progress in (0.0, 0.5, 1.0, 1.1)] == [0.0, 0.25, 0.5, 0.5]
    sigmoid = lstm(scheduled_sampling="inverse_sigmoid", sampling_share=0.5)
    for progress in (0.0, 0.3, 1.0):
        truth = 12 / (12 + math.exp(100 * progress / 12))
        assert sampling_share(sigmoid, progress) == pytest.approx(0.5 * (1 - truth))
    assert sampling_share(sigmoid, 0.0) < 0.04 and sampling_share(sigmoid, 1.0) > 0.49
    assert sampling_share(lstm(), 0.5) == 0.0


def test_own_tokens_are_fed_with_that_share() -> None:
    torch.manual_seed(0)
    model = build(narrow("cnn_lstm"), VOCABULARY).train()
    assert isinstance(model, LstmModel)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    batch = batch_of(list(FORMULAS), owners=False)
    truth = float(model.loss(batch).total.detach())
    fed: list[torch.Tensor] = []
    advance = model._advance

    def spy(embedded: torch.Tensor, *rest: Any) -> Any:
        fed.append(embedded.detach())
        return advance(embedded, *rest)

    model._advance = spy  # type: ignore[method-assign]
    model.sampling = 1.0
    always = float(model.loss(batch).total.detach())
    assert always != pytest.approx(truth, abs=1e-6)
    # The first step has the start, every further one the likeliest token of the step before: here the same for all rows.
    known = model.embedding.weight.detach()
    tokens = [[int((known == row).all(1).nonzero()[0, 0]) for row in step] for step in fed]
    assert set(tokens[0]) == {1}
    state, encoded = None, model.encode(batch.images, batch.sizes)
    last = torch.ones(len(FORMULAS), dtype=torch.long)
    state = model._initial_state(encoded)
    for step in tokens[:-1]:
        assert step == last.tolist()
        features, state = advance(model.embedding(last), state, encoded, 1)
        last = model.out(features).argmax(-1)
    model.sampling = 0.0
    assert float(model.loss(batch).total.detach()) == pytest.approx(truth, abs=1e-6)
    model.eval()
    model.sampling = 1.0
    assert float(model.loss(batch).total.detach()) == pytest.approx(truth, abs=1e-5)


def test_patience() -> None:
    """Losses 3 2 2 2 2 1 1: with patience 2 the rate is halved at the third that is no lower."""
    config = TrainConfig(schedule="plateau", plateau_patience=2, plateau_factor=0.5, early_stop=4)
    patience = Patience()
    seen = []
    for loss in (3.0, 2.0, 2.0, 2.5, 2.0, 1.0, 1.0, 2.0, 2.0, 2.0):
        patience.see(loss, config)
        seen.append((patience.best, patience.since, patience.scale, patience.lost(config)))
    assert [scale for _, _, scale, _ in seen] == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert [since for _, since, _, _ in seen] == [0, 0, 1, 2, 3, 0, 1, 2, 3, 4]
    assert [lost for *_, lost in seen] == [False] * 9 + [True]
    never = dataclasses.replace(config, schedule="constant", early_stop=0)
    patience = Patience()
    for _ in range(10):
        patience.see(1.0, never)
    assert patience.scale == 1.0 and not patience.lost(never)


def test_the_table_of_epochs_is_the_published_one() -> None:
    line = {
        "epoch": 25, "validation_loss": 1.5663, "validation_token_accuracy": 0.6256, "validation_bleu": 15.39,
        "validation_levenshtein_similarity": 0.2829,
    }  # fmt: skip
    assert EPOCH_HEADER.split() == ["epoch", "loss", "token", "accuracy", "BLEU", "Levenshtein", "similarity"]
    assert epoch_row(line).split() == ["25.00", "1.5663", "0.6256", "0.1539", "0.2829"]
    del line["validation_token_accuracy"]
    assert epoch_row(line).split() == ["25.00", "1.5663", "-", "0.1539", "0.2829"]


@pytest.fixture
def config(toy_data: Path, tmp_path: Path) -> TrainConfig:
    """Two epochs of the toy data's sixteen items."""
    return TrainConfig(
        train=(str(toy_data),), validation=str(toy_data), out=str(tmp_path / "run"), epochs=2, batch_size=4, workers=0,
        pool_batches=1, log_steps=100, evaluate_limit=1, warmup_steps=0, threads=1, model=narrow("cnn_lstm"),
        optimizer="adam", schedule="plateau", plateau_patience=0, scheduled_sampling="linear", clip_norm=0.0,
        average_decay=0.0,
    )  # fmt: skip


def lines_of(config: TrainConfig) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(config.out) / LOG).read_text(encoding="utf-8").splitlines()]


def test_each_epoch_ends_with_a_validation(config: TrainConfig) -> None:
    trainer = Trainer(config)
    assert isinstance(trainer.optimizer, torch.optim.Adam)
    trainer.fit()
    lines = lines_of(config)
    assert [line["epoch"] for line in lines] == [1.0, 2.0]
    assert [line["samples"] for line in lines] == [16, 32]
    for line in lines:
        assert {
            "validation_loss",
            "validation_token_accuracy",
            "validation_bleu",
            "validation_levenshtein_similarity",
        } <= set(line)
        assert epoch_row(line)
    assert trainer.model.sampling == pytest.approx(0.25 * 28 / 32)


def test_a_run_that_no_longer_learns_ends_early_and_slows_down_before(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(config, epochs=9, early_stop=3, learning_rate=0.001)
    trainer = Trainer(config)
    see = Patience.see
    monkeypatch.setattr(Patience, "see", lambda self, loss, config: see(self, 1.0, config))
    trainer.fit()
    assert [line["epoch"] for line in lines_of(config)] == [1.0, 2.0, 3.0, 4.0]
    assert trainer.patience == Patience(best=1.0, since=3, waited=0, scale=0.125)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.001 * 0.25)
    resumed = Trainer(config, resume=True)
    assert resumed.patience == trainer.patience
    resumed.fit()
    assert resumed.step == trainer.step


def test_a_run_that_an_older_version_saved_goes_on(config: TrainConfig) -> None:
    trainer = Trainer(config)
    trainer.save()
    path = Path(config.out) / "resume.pt"
    saved = torch.load(path, weights_only=True)
    del saved["patience"]
    torch.save(saved, path)
    assert Trainer(config, resume=True).patience == Patience()
