"""What was corrected more than once is known again, and nothing else changes."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import FORMULAS, IMAGE, VOCABULARY, narrow, write_dataset

from hmer.batch import Batch
from hmer.checkpoint import CheckpointConfig, load, save
from hmer.config import AugmentConfig, RecallConfig
from hmer.datasets.batches import collate
from hmer.datasets.folder import Item, read_dataset
from hmer.models import build
from hmer.models.base import with_ends
from hmer.models.recall import DOUBT, NO_RIVAL, Recall
from hmer.models.transformer import TransformerModel
from hmer.recall import FEWEST, LEAST_MARGIN, UNPROVEN, Recollection, habits, recall_of
from hmer.views import View, Views

FEATURES = 4
UNIT = torch.eye(FEATURES)


def remembering() -> Recall:
    """0 was read as 1 at places like the first direction; 1s look like the second. 2 was read as 3, and nothing is known of 3s."""
    recall = Recall(RecallConfig(2, 1), FEATURES)
    recall.keys.copy_(UNIT[[0, 2]])
    recall.right.copy_(torch.tensor([0, 2]))
    recall.wrong.copy_(torch.tensor([1, 3]))
    recall.rivals.copy_(UNIT[[1]])
    recall.rival_of.copy_(torch.tensor([1]))
    recall.margin.fill_(0.1)
    return recall


@pytest.mark.parametrize(
    ("place", "scores", "expected"),
    [
        ([1.0, 0.0, 0.0, 0.0], [1.0, 5.0, 2.0, 0.0], [5.0, 1.0, 2.0, 0.0]),  # as it was when it was corrected
        ([1.0, 0.8, 0.0, 0.0], [1.0, 1.2, 2.0, 0.0], [1.2, 1.0, 2.0, 0.0]),  # more like it than like a 1, by 0.16
        ([1.0, 0.8, 0.0, 0.0], [1.0, 5.0, 2.0, 0.0], None),  # the same, but the model is too sure
        ([1.0, 0.95, 0.0, 0.0], [1.0, 1.2, 2.0, 0.0], None),  # by 0.04 only
        ([0.0, 1.0, 0.0, 0.0], [1.0, 5.0, 2.0, 0.0], None),  # a 1
        ([0.3, 0.0, 0.0, 1.0], [1.0, 5.0, 2.0, 0.0], None),  # like nothing that is known
        ([1.0, 0.0, 0.0, 0.0], [6.0, 5.0, 2.0, 0.0], None),  # the model got it right by itself
        ([0.0, 0.0, 1.0, 0.0], [1.0, 5.0, 2.0, 3.0], [1.0, 5.0, 3.0, 2.0]),  # the other misreading
    ],
)
def test_two_scores_are_exchanged_where_it_is_known(
    place: list[float], scores: list[float], expected: list[float] | None
) -> None:
    given = torch.tensor(scores).expand(2, 3, 4)
    found = remembering()(given, torch.tensor(place).expand(2, 3, FEATURES))
    assert torch.equal(found, torch.tensor(expected or scores).expand(2, 3, 4))
    assert torch.equal(given, torch.tensor(scores).expand(2, 3, 4))


def test_evidence() -> None:
    recall = remembering()
    seen = torch.cat([UNIT, torch.tensor([[0.8, 0.6, 0.0, 0.0]])])
    scores = torch.zeros(5, 4)
    assert recall.evidence(seen, scores, (0, 1)).tolist() == pytest.approx([1.0, -1.0, -1.0, -1.0, 0.2])
    assert recall.evidence(seen[:3], scores[:3], (2, 3)).tolist() == pytest.approx([-1.0, -1.0, 1.0 - NO_RIVAL])
    scores[:, 1] = 2.0
    assert recall.evidence(seen[4:], scores[4:], (0, 1)).tolist() == pytest.approx([0.2 - 2 * DOUBT], abs=1e-6)
    scores[:, 0] = 3.0
    recall.rivals[0] = seen[4]
    assert recall.evidence(seen[4:], scores[4:], (0, 1), leave_one_out=True).tolist() == pytest.approx([1.8])


def test_it_must_be_surer_the_weaker_it_is_to_be() -> None:
    many = tuple(0.5 - 0.1 * place for place in range(60))  # of which none, one and two may be lost
    recollection = Recollection(remembering(), {1: many, 3: many[:19]})
    margins = [recollection.at(strength).margin.tolist() for strength in (0.0, 0.5, 0.6, 1.0)]
    assert margins == [pytest.approx([first, 0.5]) for first in (0.5, 0.4, 0.3, 0.3)]
    assert recollection.recall.margin.tolist() == pytest.approx([0.1, 0.1])
    assert Recollection(remembering(), {3: (-1.0,) * FEWEST}).at(1.0).margin.tolist() == pytest.approx(
        [0.1, LEAST_MARGIN]
    )


def test_it_must_be_surer_where_little_tells_what_may_be_lost() -> None:
    margins = Recollection(remembering(), {1: (), 3: (0.4, -1.0)}).at(1.0).margin.tolist()
    assert margins == pytest.approx([UNPROVEN, 0.4])


def view(truth: str, read: str) -> View:
    ids = VOCABULARY.encode(read.split())
    log_probs = torch.full((1, len(ids) + 1, len(VOCABULARY)), -9.0)
    for step, index in enumerate(ids):
        log_probs[0, step, index] = 0.0
    no_picture: Any = None  # only what was said of it counts
    return View(no_picture, tuple(truth.split()), log_probs=log_probs)


def test_a_habit_is_a_misreading_in_more_than_one_correction() -> None:
    one, zero = VOCABULARY.encode(["1", "0"])
    once = [view("1 + x", "0 + x"), view("1 + x", "0 + x")]  # two views of one correction
    assert habits([once], VOCABULARY) == []
    assert habits([once, [view("1", "0")]], VOCABULARY) == [(one, zero)]
    structure = [[view("x ^ { 2 }", "x _ { 2 }")], [view("x ^ { 2 }", "x _ { 2 }")]]
    assert habits(structure, VOCABULARY) == []
    assert habits([[dataclasses.replace(once[0], log_probs=None)]] * 2, VOCABULARY) == []


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    return read_dataset(write_dataset(tmp_path / "data", FORMULAS), "crohme")


def model_that_reads(wrong: str) -> TransformerModel:
    """One that has learnt nothing, and writes the same everywhere."""
    torch.manual_seed(0)
    model = build(narrow("transformer"), VOCABULARY)
    assert isinstance(model, TransformerModel)
    with torch.no_grad():
        model.out.bias[VOCABULARY.encode([wrong])[0]] += 50.0
    return model.eval()


def views_of(model: TransformerModel) -> Views:
    return Views(model, VOCABULARY, IMAGE, AugmentConfig())


def test_corrections_are_known_again_from_their_places(items: list[Item], tmp_path: Path) -> None:
    model = model_that_reads("1")
    corrected = [item for item in items if "x" in item.tokens and "1" not in item.tokens]
    replay = [item for item in items if item not in corrected]
    views = views_of(model)
    own = views.of(corrected, 2)
    found = recall_of(model, own, habits(own, VOCABULARY), views.of(replay, 1))
    assert found is not None
    x, one = VOCABULARY.encode(["x", "1"])
    assert (x, one) in found.recall.pairs()
    assert set(found.recall.rival_of.tolist()) == {one}
    (known,) = found.evidence.values()
    assert list(known) == sorted(known, reverse=True)
    assert len(known) == sum(item.tokens.count("1") for item in replay)

    model.recall = found.at(1.0)
    model.recall.margin.fill_(-50.0)
    batch = collate([pictures[0].sample for pictures in own])
    batch.owners = batch.located = None
    _, targets = with_ends(batch.tokens, batch.lengths, reverse=False)
    now = model.loss(batch)
    assert now.log_probs is not None
    known = now.log_probs[: len(targets)].argmax(-1)[targets == x] == x
    assert bool(known.all())
    assert now.log_likelihood > _without_recall(model, batch)

    # It is kept with the weights, and decoding step by step says what teacher forcing says.
    config = CheckpointConfig(
        name="recalled",
        vocabulary=VOCABULARY.words,
        model=dataclasses.replace(model.config, recall=found.recall.config),
    )
    again = load(save(tmp_path / "recalled", model, config)).model
    assert isinstance(again, TransformerModel)
    assert again.recall is not None
    assert again.recall.pairs() == model.recall.pairs()
    assert again.loss(batch).right == now.right
    encoded = model.encode(batch.images, batch.sizes)
    step, state, ids = model.start(encoded, 1)
    with torch.no_grad():
        for place in range(3):
            log_probs, state = step(ids, state)
            torch.testing.assert_close(log_probs, now.log_probs[:, place], atol=2e-2, rtol=1e-2)
            ids = targets[:, place]
            if bool((ids <= 2).any()):
                break


def _without_recall(model: TransformerModel, batch: Batch) -> float:
    kept, model.recall = model.recall, None
    try:
        return model.loss(batch).log_likelihood
    finally:
        model.recall = kept


def test_what_was_known_before_stays_known(items: list[Item]) -> None:
    model = model_that_reads("1")
    views = views_of(model)
    own = views.of(items, 1)
    first = recall_of(model, own, habits(own, VOCABULARY), own)
    assert first is not None
    model.recall = first.at(1.0)
    nothing = recall_of(model, views_of(model).of(items[:1], 1), [], own)
    assert nothing is not None
    assert nothing.recall.pairs() == first.recall.pairs()
    assert torch.equal(nothing.recall.whitening, first.recall.whitening)


def test_a_model_that_does_not_say_where_it_looks_remembers_nothing(items: list[Item]) -> None:
    torch.manual_seed(0)
    model = build(narrow("cnn_lstm"), VOCABULARY).eval()
    views = Views(model, VOCABULARY, IMAGE, AugmentConfig())
    own = views.of(items, 1)
    assert recall_of(model, own, [(4, 5)], own) is None
