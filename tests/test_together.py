"""Requests that arrive together are computed together, and each gets its own answer."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest
from toys import FORMULAS, picture_of

from hmer.benchmarks.load import load
from hmer.config import Decoding
from hmer.errors import ConfigError, DatasetError
from hmer.recognizer import Recognizer
from hmer.together import BATCH, Together
from hmer.ui.draw_and_upload import examples

GREEDY = Decoding(max_length=12)


@pytest.fixture(scope="module")
def recognizer(toy_checkpoint: Path) -> Recognizer:
    return Recognizer.load(toy_checkpoint)


class Held(Recognizer):
    """A recogniser that waits for a word before it computes; what was in each batch."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__(recognizer.checkpoint)
        self.go = threading.Event()
        self.sizes: list[int] = []

    def recognize_prepared(self, pictures, decoding=None, progress=None):  # type: ignore[no-untyped-def]
        self.go.wait(20)
        self.sizes.append(len(pictures))
        return super().recognize_prepared(pictures, decoding, progress)


def test_what_waits_goes_in_one_batch_and_each_gets_its_own(recognizer: Recognizer) -> None:
    held = Held(recognizer)
    together = Together(held)
    pictures = [held.read(picture_of(strokes)) for strokes in FORMULAS.values()][: BATCH - 1]
    alone = [recognizer.recognize_prepared([picture], GREEDY)[0].tokens for picture in pictures]
    with ThreadPoolExecutor(len(pictures)) as threads:
        futures = [threads.submit(together.recognize, pictures[0], GREEDY)]
        while not together.batches:  # the first is being computed
            time.sleep(0.01)
        futures += [threads.submit(together.recognize, picture, GREEDY) for picture in pictures[1:]]
        while len(together._waiting) < len(pictures) - 1:
            time.sleep(0.01)
        held.go.set()
        assert [future.result(20).tokens for future in futures] == alone
    assert held.sizes == [1, len(pictures) - 1]
    assert together.batches == 2


def test_only_the_same_settings_share_a_batch(recognizer: Recognizer) -> None:
    held = Held(recognizer)
    together = Together(held)
    picture = held.read(picture_of(next(iter(FORMULAS.values()))))
    sample = Decoding(strategy="sample", seed=3, max_length=12)
    settings = [GREEDY, GREEDY, Decoding(max_length=6), sample, sample]
    with ThreadPoolExecutor(len(settings)) as threads:
        futures = [threads.submit(together.recognize, picture, settings[0])]
        while not together.batches:
            time.sleep(0.01)
        futures += [threads.submit(together.recognize, picture, decoding) for decoding in settings[1:]]
        while len(together._waiting) < len(settings) - 1:
            time.sleep(0.01)
        held.go.set()
        answers = [future.result(20) for future in futures]
    assert answers[3].tokens == answers[4].tokens == recognizer.recognize_prepared([picture], sample)[0].tokens
    assert sum(held.sizes) == len(settings)
    assert held.sizes.count(1) >= 3


def test_as_many_threads_compute_as_there_are_workers_however_many_ask(recognizer: Recognizer) -> None:
    class Told(Recognizer):
        """Knows which threads computed."""

        threads: ClassVar[set[int]] = set()

        def recognize_prepared(self, pictures, decoding=None, progress=None):  # type: ignore[no-untyped-def]
            self.threads.add(threading.get_ident())
            return super().recognize_prepared(pictures, decoding, progress)

    picture = recognizer.read(picture_of(next(iter(FORMULAS.values()))))
    with ThreadPoolExecutor(2) as workers, ThreadPoolExecutor(8) as users:
        shared = [Together(Told(recognizer.checkpoint), workers) for _ in range(2)]
        for future in [users.submit(shared[index % 2].recognize, picture, GREEDY) for index in range(16)]:
            assert future.result(20).tokens
    assert len(Told.threads) <= 2


def test_an_error_reaches_whom_it_concerns(recognizer: Recognizer) -> None:
    together = Together(recognizer)
    picture = recognizer.read(picture_of(next(iter(FORMULAS.values()))))
    with pytest.raises(ConfigError, match="nonsense"):
        together.recognize(picture, Decoding(symbols="nonsense"))
    assert together.recognize(picture, GREEDY).tokens == recognizer.recognize_prepared([picture], GREEDY)[0].tokens


def test_load_needs_different_pictures() -> None:
    with pytest.raises(DatasetError, match="two different"):
        load([], checkpoint="handwritten")


@pytest.mark.slow
def test_several_users_get_their_own_answers() -> None:
    figures = load(examples(), checkpoint="handwritten", users=5, every_s=2.0, minutes=0.1)
    assert figures["n"] >= 10
    assert (figures["errors"], figures["wrong"]) == (0, 0), figures["first_error"]
    assert 0 < figures["median_s"] <= figures["p95_s"]
