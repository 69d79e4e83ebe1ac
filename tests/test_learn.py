"""Fine-tuning beside the app: a real process, its progress, and what waits being read anew."""

import multiprocessing
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from toys import DELTA, FORMULAS, picture_of, write_dataset

from annotations import Selection
from hmer import checkpoint
from hmer.errors import ConfigError
from hmer.ui import learn
from hmer.ui.options import AppOptions
from hmer.ui.services import Services
from hmer.ui.training import State, Training, Wish, read_anew, suggested_name


@pytest.fixture
def services(toy_checkpoint: Path, data_folder: Path) -> Iterator[Services]:
    """An app whose only checkpoint is a toy with small replay and regression sets; corrections by two people."""
    parent = Path(shutil.copytree(toy_checkpoint, data_folder / "checkpoints" / "toy"))
    write_dataset(parent / "replay", FORMULAS)
    write_dataset(parent / "regression", FORMULAS)
    opened = Services(AppOptions(checkpoint="toy"))
    for number, (caption, places) in enumerate((FORMULAS | DELTA).items()):
        by = "ada" if number % 2 else "bob"
        opened.store.add(picture_of(places, size=30), correction=caption, status="accepted", annotator=by)
    yield opened
    opened.close()


@pytest.mark.slow  # a process that imports everything anew
def test_it_learns_in_a_process_and_what_waits_is_read_anew(services: Services, data_folder: Path) -> None:
    waiting = services.store.add(picture_of(FORMULAS["1"], size=50)).annotation
    training = Training(services)
    training.prepare("toy")
    training.start(Wish("toy", "mine-1", force=True))  # ends what is under way for it
    assert training._preparation is not None
    training._preparation.join(60)
    assert training._preparation.exitcode not in (None, 0)
    with pytest.raises(ConfigError, match="is under way"):
        training.start(Wish("toy", "mine-2"))
    state = training.wait(300)  # at the lowest priority beside whatever else this computer does
    assert not state.running and state.learnt == "mine-1", state.log
    assert state.log[0] == f"{len(FORMULAS | DELTA)} corrections to learn from toy"
    assert any(line.startswith("regression set") for line in state.log)
    new = checkpoint.load("mine-1")
    assert new.config.parent == checkpoint.load("toy").id
    choices = [choice.reference for choice in services.checkpoints()]
    assert choices[0] == "toy" and "mine-1" in choices
    assert "1 waiting pictures were read anew by mine-1" in state.log
    prediction = services.store.get(waiting.id).prediction
    assert prediction is not None and prediction.checkpoint == new.id
    assert list(read_anew(services, "mine-1")) == []
    assert suggested_name() == "mine-2"
    assert 'aria-valuenow="40"' in learn.bar(State(running=True, what="learning", share=0.4))
    assert "mine-1 can be chosen" in learn.told(state)


def test_what_cannot_begin_says_why(services: Services) -> None:
    training = Training(services)
    for wish, problem in (
        (Wish("toy", "../x"), "is no name"),
        (Wish("toy", "toy"), "already"),
        (Wish("toy", "new", annotator="eve"), "no accepted corrections of that kind"),
    ):
        with pytest.raises(ConfigError, match=problem):
            training.start(wish)
        assert not training.state.running
    annotators, _ = learn.filters(services)
    assert [value for _, value in annotators.choices] == ["", "ada", "bob"]


@pytest.mark.slow
def test_what_a_first_fine_tuning_begins_with_is_done_beforehand(services: Services, data_folder: Path) -> None:
    training = Training(services)
    training.prepare("toy")
    (process,) = multiprocessing.active_children()
    training.prepare("toy")  # once
    assert multiprocessing.active_children() == [process]
    process.join(300)
    kept = {path.suffix for path in (data_folder / "regression").iterdir()}
    assert process.exitcode == 0 and kept == {".json", ".npz"}
    for annotation in services.store.find(Selection()):
        services.store.delete(annotation.id)
    Training(services).prepare("toy")  # nothing to learn
    training.prepare("gone")  # is nobody's concern
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_cancelled_or_killed_nothing_is_left(services: Services, data_folder: Path) -> None:
    training = Training(services)
    training.start(Wish("toy", "mine"))
    training.cancel()
    state = training.wait(120)
    assert not state.running and not state.learnt and "ancelled; nothing was changed." in state.log[-1]
    training.start(Wish("toy", "mine"))
    assert training._process is not None
    training._process.kill()
    state = training.wait(120)
    assert "crashed (exit code -9)" in state.log[-1]
    assert list((data_folder / "checkpoints").iterdir()) == [data_folder / "checkpoints" / "toy"]
    assert services.store.count(Selection()) == len(FORMULAS | DELTA)


def test_reading_anew_goes_on_where_it_was_stopped(services: Services) -> None:
    for size in (40, 50, 60):
        services.store.add(picture_of(FORMULAS["1"], size=size))
    steps = read_anew(services, "toy")
    assert next(steps) == (1, 3)
    steps.close()  # type: ignore[attr-defined]
    assert list(read_anew(services, "toy")) == [(1, 2), (2, 2)]
    assert State(running=True, learnt="mine-1").can_stop
