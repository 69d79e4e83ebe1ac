"""The magnifier of small print: what is given to it, how it learns, and that nothing else changes it."""

import copy
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from toys import VOCABULARY, narrow, trained_on

from hmer.checkpoint import Checkpoint, CheckpointConfig, load, save
from hmer.config import AugmentConfig, ImageConfig, MagnifierConfig, ModelConfig, TrainConfig
from hmer.datasets.batches import Source, collate
from hmer.datasets.folder import Item, write_labels
from hmer.errors import CheckpointError, ConfigError, DatasetError
from hmer.finetune import _let_learn
from hmer.image import Grey, prepare
from hmer.magnify import (
    MagnifierTraining,
    Print,
    difference,
    drawings,
    example,
    magnifying,
    seen_apart,
    train_magnifier,
)
from hmer.models import Model, build
from hmer.models.encoders import ConvEncoder
from hmer.models.magnifier import Magnifier
from hmer.recognizer import Recognizer, whole_picture
from hmer.trainer import Trainer
from hmer.views import Views
from scripts.train_magnifier import main

SMALL = MagnifierConfig(channels=16, blocks=2)


def line(text: str, size_px: float = 20) -> Grey:
    """Print on a picture that it nearly fills, its capitals about so high."""
    scale = size_px / 21
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_COMPLEX, scale, 1)
    picture = np.full((height + below + 20, width + 20), 255, np.uint8)
    cv2.putText(picture, text, (10, height + 10), cv2.FONT_HERSHEY_COMPLEX, scale, 0.0, 1, cv2.LINE_AA)
    return picture


def reduced(picture: Grey, factor: float) -> Grey:
    return np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)


def fresh() -> Magnifier:
    torch.manual_seed(1)
    return Magnifier(SMALL)


@contextmanager
def clock_of(steps: int, settings: MagnifierTraining) -> Iterator[None]:
    """Training that lasts so many steps, however busy the machine is."""
    ticks = itertools.count(step=60 * settings.minutes / steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hmer.magnify.time", SimpleNamespace(monotonic=lambda: next(ticks)))
        yield


@pytest.fixture(scope="module")
def learnt() -> Magnifier:
    """After some seconds of training on a few lines."""
    pictures = [Print.of(line(text)) for text in ("A b c o E a e R + s", "x = 2 (n + 1) k", "0 1 2 3 4 5 6 7 8 9")]
    magnifier = fresh()
    settings = MagnifierTraining(learning_rate=4e-3, seed=1)
    with clock_of(300, settings):
        train_magnifier(magnifier, [picture for picture in pictures if picture], settings)
    return magnifier


def test_it_begins_as_the_usual_enlargement() -> None:
    small = reduced(line("A b c"), 0.31)
    large = Magnifier(SMALL).magnified(small)
    assert large.shape == (2 * small.shape[0], 2 * small.shape[1])
    usual = cv2.resize(small, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    assert np.abs(large.astype(int) - usual).max() <= 2


def test_it_learns_to_draw_what_was_made_smaller(learnt: Magnifier) -> None:
    unseen = Print.of(line("B a 3 = (x + o) e"))
    assert unseen is not None
    random = np.random.default_rng(2)
    examples = [example(unseen, random) for _ in range(40)]
    with torch.inference_mode():
        before, after = (
            float(difference(drawings(model, examples), examples)) for model in (Magnifier(SMALL).eval(), learnt)
        )
    assert after < 0.8 * before


def test_what_the_reader_sees_counts_too() -> None:
    picture = Print.of(line("x + 1 = 2"))
    assert picture is not None
    random = np.random.default_rng(3)
    examples = [example(picture, random) for _ in range(4)]
    wanted = torch.stack([255 - torch.from_numpy(one.large) for one in examples]).float()[:, None] / 255
    model = build(narrow("transformer"), VOCABULARY).eval()
    encoder = model.encoder
    assert isinstance(encoder, ConvEncoder)
    with torch.no_grad():
        assert float(seen_apart(encoder, 16.0, wanted, examples)) == pytest.approx(0, abs=1e-6)
    drawn = drawings(Magnifier(SMALL).requires_grad_(False), examples)
    with torch.no_grad():
        apart = seen_apart(encoder, 16.0, drawn, examples)
    assert 0 < float(apart) < 2
    reader = Checkpoint(model, CheckpointConfig("toy", VOCABULARY.words, model=model.config), "toy")
    settings = MagnifierTraining(pixels_share=0.0, features=1.0, learning_rate=4e-3)
    before = copy.deepcopy(model.state_dict())
    after = fresh()
    with clock_of(12, settings):
        train_magnifier(after, [picture], settings, reader=reader)
    with torch.no_grad():
        assert float(seen_apart(encoder, 16.0, drawings(after, examples), examples)) < float(apart)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_examples_show_the_same_place_in_two_sizes() -> None:
    picture = Print.of(line("A b c o E a e R + s"))
    assert picture is not None
    random = np.random.default_rng(1)
    for _ in range(30):
        made = example(picture, random)
        small, large = made.small, made.large
        assert large.shape == (2 * small.shape[0], 2 * small.shape[1]) == (40, 128)
        again = cv2.resize(large, (64, 20), interpolation=cv2.INTER_AREA)
        assert np.abs(again.astype(int) - small).mean() < 8
    assert Print.of(reduced(line("A b c"), 0.15)) is None


def test_only_small_print_is_magnified_and_stands_where_it_stood(learnt: Magnifier) -> None:
    config = ImageConfig()
    small = cv2.copyMakeBorder(
        reduced(line("A b c o E a e R + s", 42), 0.1), 30, 9, 17, 40, cv2.BORDER_CONSTANT, value=255.0
    )
    small = np.asarray(small, np.uint8)
    plain, magnified = prepare(small, config), prepare(small, config, magnifier=learnt)
    assert not np.array_equal(plain.pixels, magnified.pixels)
    assert magnified.scale == pytest.approx(plain.scale, rel=0.25)
    for axis, corner in ((0, "left"), (1, "top")):
        inked = [np.flatnonzero((found.pixels < 128).any(axis=axis))[0] for found in (plain, magnified)]
        ends = [
            place / found.scale + getattr(found, corner) for place, found in zip(inked, (plain, magnified), strict=True)
        ]
        assert ends[0] == pytest.approx(ends[1], abs=1)
    large = line("A b c", 30)
    assert np.array_equal(prepare(large, config).pixels, prepare(large, config, magnifier=learnt).pixels)
    # A page of it would be too large to read anyway.
    page = np.tile(small, (1, 30))
    wide = replace(config, max_area_px=60_000, max_side_px=9_000)
    assert np.array_equal(prepare(page, wide).pixels, prepare(page, wide, magnifier=learnt).pixels)


def test_what_it_wipes_out_is_read_as_it_is() -> None:
    class Eraser:
        def takes(self, size_px: float) -> bool:
            return True

        def magnified(self, grey: Grey) -> Grey:
            return np.full((2 * grey.shape[0], 2 * grey.shape[1]), 255, np.uint8)

    speck = reduced(line("A"), 0.2)
    assert np.array_equal(
        prepare(speck, ImageConfig()).pixels, prepare(speck, ImageConfig(), magnifier=Eraser()).pixels
    )


def model_with(magnifier: Magnifier) -> Model:
    model = build(narrow("transformer"), VOCABULARY)
    config = CheckpointConfig("toy", VOCABULARY.words, model=model.config)
    return magnifying(Checkpoint(model, config, "toy"), magnifier).model


def test_a_checkpoint_carries_it_and_reads_with_it(learnt: Magnifier, tmp_path: Path) -> None:
    model = model_with(learnt)
    config = CheckpointConfig("toy", VOCABULARY.words, model=model.config)
    again = load(save(tmp_path / "toy", model, config))
    assert again.model.magnifier is not None
    kept, was = again.model.magnifier.state_dict(), learnt.state_dict()
    assert all(torch.allclose(kept[name], value, atol=1e-3) for name, value in was.items())
    small = reduced(line("x + 1 = 2", 42), 0.1)
    reader = Recognizer(again)
    expected = prepare(whole_picture(small), config.image, magnifier=again.model.magnifier).pixels
    assert np.array_equal(reader.read(small), expected)
    other = magnifying(again, Magnifier(MagnifierConfig(channels=8, blocks=1)))
    assert other.config.model.magnifier.channels == 8
    assert other.model.magnifier is not None
    assert torch.equal(other.model.out.weight, again.model.out.weight)


def test_learning_sees_pictures_as_reading_does(learnt: Magnifier, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "small.png"), reduced(line("x + 1 = 2", 42), 0.1))
    item = Item(tmp_path / "small.png", ("x", "+", "1"))
    model = model_with(learnt)
    reader = Recognizer(Checkpoint(model, CheckpointConfig("toy", VOCABULARY.words, model=model.config), "toy"))
    config = reader.config.image
    for augment in (AugmentConfig(), AugmentConfig(print=1.0)):
        source = Source([item], VOCABULARY, config, augment, learnt)
        assert np.array_equal(source.sample(0, None).pixels, reader.read(item.path))
    seen = {
        Source([item], VOCABULARY, config, AugmentConfig(print=1.0), magnifier)
        .sample(0, np.random.default_rng(4))
        .pixels.tobytes()
        for magnifier in (None, learnt)
    }
    assert len(seen) == 2
    unmoved = AugmentConfig(strokes=0.0, pixels=0.0)
    view = Views(model, VOCABULARY, config, unmoved).of([item], 1)[0][0]
    assert np.array_equal(view.sample.pixels, reader.read(item.path))


def test_neither_fine_tuning_nor_training_on_changes_it(learnt: Magnifier, toy_data: Path, tmp_path: Path) -> None:
    model = model_with(learnt)
    for new_symbols in (False, True):
        _let_learn(model, new_symbols=new_symbols)
        assert model.magnifier is not None
        assert not any(parameter.requires_grad for parameter in model.magnifier.parameters())
    start = save(tmp_path / "start", model, CheckpointConfig("toy", VOCABULARY.words, model=model.config))
    before = copy.deepcopy(load(start).model)
    after = trained_on(start, toy_data, tmp_path / "run")
    assert before.magnifier is not None
    assert after.magnifier is not None
    kept = after.magnifier.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in before.magnifier.state_dict().items())
    assert not torch.equal(before.out.weight, after.out.weight)


def test_a_batch_is_drawn_again_as_it_is_drawn_now(learnt: Magnifier, tmp_path: Path) -> None:
    texts = {
        "small.png": (line("x + 1 = 2", 42), 0.1),
        "large.png": (line("x + 1", 30), 1.0),
        "2.png": (line("2", 42), 0.1),
    }
    for name, (picture, factor) in texts.items():
        cv2.imwrite(str(tmp_path / name), reduced(picture, factor))
    items = [Item(tmp_path / name, ("x", "+", "1")) for name in texts]
    source = Source(items, VOCABULARY, ImageConfig(), AugmentConfig(strokes=0.0), learnt)
    batch = collate([source.sample(index, None) for index in range(3)])
    assert batch.small_print is not None
    assert batch.small_print.rows.tolist() == [0, 2]
    with torch.no_grad():
        again, other = (magnifier.redrawn(batch.images, batch.small_print) for magnifier in (learnt, fresh()))
    apart, elsewhere = ((drawn - batch.images).abs().mean((1, 2, 3)) for drawn in (again, other))
    assert float(apart.max()) < 0.005  # shades are whole numbers there, and perhaps computed in bf16
    assert float(elsewhere[1]) == 0
    assert all(float(elsewhere[row]) > 3 * float(apart[row]) for row in (0, 2))
    assert batch.to(torch.device("cpu")).small_print is not None
    assert collate([source.sample(1, None)]).small_print is None


def test_it_learns_with_the_reader_when_it_is_told_to(learnt: Magnifier, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "small.png"), reduced(line("x + 1 = 2", 42), 0.1))
    write_labels(tmp_path, [("small.png", "x + 1 = 2")], ("file", "latex"))
    model = model_with(learnt)
    start = save(tmp_path / "start", model, CheckpointConfig("toy", VOCABULARY.words, model=model.config))
    before = load(start).model.magnifier
    augment = AugmentConfig(strokes=0.0)
    together = {"magnifier_rate": 0.5, "augment": augment, "optimizer": "muon"}
    after = trained_on(start, tmp_path, tmp_path / "run", **together).magnifier
    assert before is not None
    assert after is not None
    kept = after.state_dict()
    assert not any(torch.equal(kept[name], value) for name, value in before.state_dict().items())
    run = TrainConfig(
        train=(str(tmp_path),), out=str(tmp_path / "run"), initial=str(start), steps=3, batch_size=4, workers=0,
        pool_batches=1, threads=1, **together,
    )  # fmt: skip
    assert set(Trainer(replace(run, magnifier_rate=0.25), resume=True).rates) == {0.25, 1.0}
    with pytest.raises(CheckpointError, match="resume it with the settings"):
        Trainer(replace(run, magnifier_rate=0.0), resume=True)
    with pytest.raises(ConfigError, match="magnifier_rate"):
        TrainConfig(train=("a",), magnifier_rate=2.0)
    with pytest.raises(ConfigError, match="no magnifier to teach"):
        Trainer(replace(run, initial="", out=str(tmp_path / "none")))


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"train_magnifier\.py"):
        TrainConfig(train=("a",), model=ModelConfig(magnifier=SMALL))
    with pytest.raises(ConfigError, match="channels"):
        MagnifierConfig(channels=-1)
    with pytest.raises(DatasetError, match="No picture"):
        train_magnifier(fresh(), [])


def test_the_script_gives_a_checkpoint_its_magnifier(
    toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = tmp_path / "data", tmp_path / "magnifying"
    data.mkdir()
    for index in range(3):
        cv2.imwrite(str(data / f"{index}.png"), line("x + 1 = 2 x"))
    cv2.imwrite(str(data / "small.png"), reduced(line("x + 1"), 0.2))
    names = [*(f"{index}.png" for index in range(3)), "small.png"]
    write_labels(data, [(name, "x + 1") for name in names], ("file", "latex"))
    arguments = ["--checkpoint", str(toy_checkpoint), "--data", f'["{data}"]', "--channels", "8", "--blocks", "1"]
    arguments += ["--minutes", "0.02", "--held_out", "1", "--threads", "1"]
    assert main([*arguments, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "2 pictures, 1 held out" in printed
    assert "a pixel differs by 0.0" in printed
    made = load(out)
    assert made.config.model.magnifier.channels == 8
    assert made.config.parent == load(toy_checkpoint).id
    with pytest.raises(ConfigError, match="no magnifier"):
        main([*arguments, "--more", "--out", str(tmp_path / "more")])
    again = ["--checkpoint", str(out), *arguments[2:], "--more", "--out", str(tmp_path / "more")]
    assert main(again) == 0
    with pytest.raises(ConfigError, match="exists already"):
        main([*arguments, "--out", str(out)])

    def stop(share: float, apart: float) -> None:
        raise KeyboardInterrupt

    def interrupted(
        model: Magnifier, pictures: list[Print], settings: MagnifierTraining, *_: object, **named: Any
    ) -> None:
        train_magnifier(model, pictures, replace(settings, minutes=60), stop, **named)

    monkeypatch.setattr("hmer.magnify.REPORT_STEPS", 1)
    monkeypatch.setattr("scripts.train_magnifier.train_magnifier", interrupted)
    assert main([*again[:-1], str(tmp_path / "stopped")]) == 0
    assert "what was learnt so far is kept" in capsys.readouterr().out
    before, after = (found.model.magnifier for found in (made, load(tmp_path / "stopped")))
    assert before is not None
    assert after is not None
    assert not torch.equal(before.last.weight, after.last.weight)
