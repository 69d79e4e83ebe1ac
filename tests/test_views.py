"""Views: what is kept of a frozen encoder's work is what it would find again."""

import dataclasses
import itertools
from pathlib import Path

import pytest
import torch
from toys import FORMULAS, IMAGE, VOCABULARY, narrow, write_dataset

from hmer.batch import Seen
from hmer.config import AugmentConfig
from hmer.datasets.folder import Item, read_dataset
from hmer.errors import CheckpointError
from hmer.models import Model, build
from hmer.views import Views, batch_of, batches, once
from hmer.vocabulary import Vocabulary


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    return read_dataset(write_dataset(tmp_path / "data", FORMULAS), "crohme")


def views_of(model: Model, vocabulary: Vocabulary = VOCABULARY) -> Views:
    return Views(model, vocabulary, IMAGE, AugmentConfig())


def model_of(architecture: str) -> Model:
    torch.manual_seed(0)
    return build(narrow(architecture), VOCABULARY).eval()


def test_what_is_kept_changes_no_loss_and_no_gradient(items: list[Item]) -> None:
    model = model_of("transformer")
    model.exact_places = True
    model.encoder.requires_grad_(False)
    own = views_of(model).of(items, 2)
    assert [len(two) for two in own] == [2] * len(items)
    batch = batch_of([two[0] for two in own], VOCABULARY)
    assert batch.seen is not None and batch.looks is not None
    found = []
    for one in (batch, dataclasses.replace(batch, seen=None, looks=None)):
        model.zero_grad()
        loss = model.loss(one)
        loss.total.backward()  # type: ignore[no-untyped-call]
        found.append((loss, model.out.weight.grad))
    (with_it, gradient), (without, other) = found
    assert float(with_it.total.detach()) == pytest.approx(float(without.total.detach()), rel=1e-3)
    assert with_it.right == without.right
    assert gradient is not None and other is not None
    assert torch.allclose(gradient, other, atol=2e-3 * float(other.abs().max()))


def test_a_picture_is_looked_at_once(items: list[Item], monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("transformer")
    views = views_of(model)
    first = views.of(items, 2)
    monkeypatch.setattr(model, "see", None)  # would fail if it looked again
    assert views.of(items[:3], 1) == first[:3]
    with pytest.raises(TypeError):
        views.of(items[:1], 3)


def test_a_picture_that_two_read_differently_has_views_of_either(items: list[Item]) -> None:
    other = dataclasses.replace(items[0], tokens=items[1].tokens)
    own, others = views_of(model_of("transformer")).of([items[0], other], 2)
    assert {view.tokens for view in own} == {items[0].tokens}
    assert {view.tokens for view in others} == {items[1].tokens}


def test_taken_apart_and_joined_in_another_order() -> None:
    mask = torch.tensor([[True] * 20, [True] * 5 + [False] * 15])
    cells = torch.randn(2, 20, 4) * mask[..., None]
    seen = Seen(cells.half().float(), mask, torch.randint(0, 50, (2, 20, 2)) * mask[..., None])
    first, second = seen.apart()
    assert (first.mask.shape, second.mask.shape) == ((1, 20), (1, 5))
    again = Seen.joined([second, first])
    assert again.mask.shape == (2, 32)  # rounded up
    for name in ("cells", "mask", "places"):
        assert torch.equal(getattr(again, name)[:, :20], getattr(seen, name).flip(0))
    assert not again.mask[:, 20:].any()


def test_every_item_in_turn_in_one_of_its_views(items: list[Item]) -> None:
    own = views_of(model_of("transformer")).of(items[:8], 3)
    stream = batches(own, 2, VOCABULARY, seed=1)
    drawn = [tuple(row[row > 0].tolist()) for batch in itertools.islice(stream, 8) for row in batch.tokens]
    assert sorted(drawn) == sorted([tuple(VOCABULARY.encode(item.tokens)) for item in items[:8]] * 2)
    assert sum(len(batch.tokens) for batch in once(own, 5, VOCABULARY)) == 24
    assert list(batches([], 2, VOCABULARY, seed=1)) == []


def test_the_vocabulary_may_grow_between(items: list[Item]) -> None:
    model = model_of("transformer")
    grown = VOCABULARY.grown(["\\Gamma"])
    new = dataclasses.replace(items[0], tokens=("\\Gamma",))
    views = views_of(model, grown)
    (known,), (unknown,) = views.of(items[1:2], 1), views.of([new], 1)
    assert known[0].looks is not None and unknown[0].looks is None  # the model cannot be made to write it yet
    beside, also_new = views_of(model, grown).of([items[1], new], 1)
    assert beside[0].looks is not None and beside[0].features is not None and also_new[0].looks is None
    larger = grown.grown(["\\Xi"])
    model.grow_vocabulary(["\\Gamma", "\\Xi"])
    batch = batch_of([*known, *unknown], larger)
    assert batch.tokens[1, 0] == larger.encode(["\\Gamma"])[0]
    assert batch.seen is not None and batch.looks is None
    assert torch.isfinite(model.loss(batch).total)


@pytest.mark.parametrize("architecture", ["cnn_lstm", "transformer"])
def test_what_the_model_said_is_an_anchor(architecture: str, items: list[Item]) -> None:
    model = model_of(architecture)
    own = views_of(model).of([item for item in items if item.path.suffix == ".png"], 1)
    (batch,) = itertools.islice(batches(own, 4, VOCABULARY, seed=0, anchored=True), 1)
    assert batch.anchor is not None and batch.anchor.shape[0] == 4
    loss = model.loss(batch)
    assert set(loss.terms) == {"anchor"} and float(loss.total.detach()) == pytest.approx(0.0, abs=1e-4)
    with torch.no_grad():
        model.out.bias[5] += 1.0
    assert float(model.loss(batch).total.detach()) > 0.01
    model.grow_vocabulary(["\\Gamma"])
    assert float(model.loss(batch).total.detach()) > 0.01  # the new token takes its part from the old ones
    assert batch_of([own[0][0]], VOCABULARY).anchor is None  # unless it is asked for


def test_an_anchor_of_segmented_and_other_pictures(tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = dataclasses.replace(narrow("transformer"), bidirectional=True)
    model = build(settings, VOCABULARY).eval()
    model.exact_places = True
    items = read_dataset(write_dataset(tmp_path / "data", FORMULAS, repeats=2, suffix="mixed"), "crohme")
    own = views_of(model).of(items, 1)
    found = set()
    for batch in itertools.islice(batches(own, 2, VOCABULARY, seed=0, anchored=True), 12):
        assert batch.anchor is not None
        found.add((batch.owners is not None, len(batch.anchor) // 2))
        assert float(model.loss(batch).total.detach()) == pytest.approx(0.0, abs=1e-3)
    assert found == {(True, 2), (False, 2)}
    (segmented,), (other,) = own[1], own[0]
    assert segmented.sample.owners is not None and other.log_probs is not None
    one_way = dataclasses.replace(other, log_probs=other.log_probs[:1])
    batch = batch_of([segmented, one_way], VOCABULARY, anchored=True)
    assert batch.anchor is not None and len(batch.anchor) == 2
    assert float(model.loss(batch).total.detach()) == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("architecture", ["cnn_lstm", "crnn_ctc"])
def test_a_model_that_keeps_nothing_looks_for_itself(architecture: str, items: list[Item]) -> None:
    model = model_of(architecture)
    batch = next(once(views_of(model).of(items, 1), 3, VOCABULARY))
    assert batch.seen is None and torch.isfinite(model.loss(batch).total)


def test_what_cannot_be_read_is_named_and_left_out(items: list[Item], caplog: pytest.LogCaptureFixture) -> None:
    items[2].path.write_bytes(b"no picture")
    assert len(views_of(model_of("transformer")).of(items, 1)) == len(items) - 1
    assert items[2].path.name in caplog.text


def test_it_tells_how_far_it_is_and_can_be_stopped(items: list[Item]) -> None:
    said: list[int] = []
    views = views_of(model_of("transformer"))
    views.of(items, 2, said.append)
    assert said == sorted(said) and said[-1] == 2 * len(items)

    def stop(done: int) -> None:
        raise CheckpointError("stopped")

    with pytest.raises(CheckpointError, match="stopped"):
        views_of(model_of("transformer")).of(items, 1, stop)
