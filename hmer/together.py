"""Recognitions that arrive together are computed together."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from hmer.config import Decoding
from hmer.image import Grey
from hmer.memory import give_back
from hmer.recognizer import Recognition, Recognizer

BATCH = 16


@dataclass(eq=False)
class _Job:
    picture: Grey = field(repr=False)
    decoding: Decoding
    answer: Recognition | None = None
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)


class Together:
    """One picture at a time from many threads: what comes while the model is busy goes in one batch afterwards.

    Nothing waits for company. `at_once` is how many batches may be computed side by side.
    """

    def __init__(self, recognizer: Recognizer, at_once: int = 1) -> None:
        self.recognizer = recognizer
        self._running = threading.Semaphore(at_once)
        self._guard = threading.Lock()
        self._waiting: list[_Job] = []
        self.batches = 0  # how many were computed

    def recognize(self, picture: Grey, decoding: Decoding) -> Recognition:
        """The answer for a picture that `Recognizer.read` gave. Raises as `Recognizer.recognize_prepared` does."""
        job = _Job(picture, decoding)
        with self._guard:
            self._waiting.append(job)
        with self._running:
            batch = self._batch_with(job)
            if batch:
                self._run(batch)
                give_back()
        job.done.wait()  # where another thread has it
        if job.error is not None:
            raise job.error
        assert job.answer is not None
        return job.answer

    def _batch_with(self, job: _Job) -> list[_Job]:
        """A job and those that wait with the same settings; empty if another batch had it already."""
        with self._guard:
            if job not in self._waiting:
                return []
            batch = [job]
            if job.decoding.strategy != "sample":  # what is drawn by chance must not hang on the company
                alike = (other for other in self._waiting if other is not job and other.decoding == job.decoding)
                batch += [other for other, _ in zip(alike, range(BATCH - 1), strict=False)]
            self._waiting = [other for other in self._waiting if other not in batch]
            self.batches += 1
            return batch

    def _run(self, batch: Sequence[_Job]) -> None:
        try:
            answers = self.recognizer.recognize_prepared([job.picture for job in batch], batch[0].decoding)
            for job, answer in zip(batch, answers, strict=True):
                job.answer = answer
                job.done.set()
        except Exception as error:  # handed to whom it concerns
            if len(batch) == 1:
                batch[0].error = error
                batch[0].done.set()
            else:  # one picture must not spoil the others' answers
                for job in batch:
                    self._run([job])
