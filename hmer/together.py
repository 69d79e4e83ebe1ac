"""Recognitions that arrive together are computed together."""

import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
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

    Nothing waits for company. `workers` are the threads that compute, which several of these may share: as many batches
    are computed side by side. They are few and stay, since torch keeps memory for each thread that ever computed.
    """

    def __init__(self, recognizer: Recognizer, workers: Executor | None = None) -> None:
        self.recognizer = recognizer
        self._workers = workers or ThreadPoolExecutor(1, thread_name_prefix="hmer-reads")
        self._guard = threading.Lock()
        self._waiting: list[_Job] = []
        self.batches = 0  # how many were computed

    def recognize(self, picture: Grey, decoding: Decoding) -> Recognition:
        """The answer for a picture that `Recognizer.read` gave. Raises as `Recognizer.recognize_prepared` does."""
        job = _Job(picture, decoding)
        with self._guard:
            self._waiting.append(job)
        self._workers.submit(self._run_next)
        job.done.wait()
        if job.error is not None:
            raise job.error
        assert job.answer is not None
        return job.answer

    def _run_next(self) -> None:
        batch = self._next_batch()
        if batch:  # else another batch had the job
            self._run(batch)
            give_back()

    def _next_batch(self) -> list[_Job]:
        """The job that has waited longest and those that wait with the same settings."""
        with self._guard:
            if not self._waiting:
                return []
            decoding = self._waiting[0].decoding
            # What is drawn by chance must not hang on the company.
            size = 1 if decoding.strategy == "sample" else BATCH
            batch = list(itertools.islice((job for job in self._waiting if job.decoding == decoding), size))
            self._waiting = [job for job in self._waiting if job not in batch]
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
