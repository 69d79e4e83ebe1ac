"""Fine-tuning beside the running app: a process of its own at low priority, so that the app keeps answering.

Knows no gradio. One at a time. What is accepted then reads what waits for correction anew, in the background.
"""

import contextlib
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from annotations import Selection, Status, write_corrections
from hmer import checkpoint
from hmer.config import check
from hmer.errors import HmerError
from hmer.ui.services import STANDARD, Seen, Services

log = logging.getLogger(__name__)

NICENESS = 10  # an answer goes first; what works beside it leaves a tenth at least
LEAST = 19  # what nobody waits for
HELD_OUT_SHARE = 0.2
PATIENCE_S = 20.0  # from the wish to cancel until the process is ended by force
LOG_LINES = 200


@dataclass(frozen=True)
class Wish:
    """What is to be learnt from which checkpoint, and the name of the new one; empty filters choose everything.

    all_readers: also what was corrected beside an answer of a checkpoint for something else, such as print.
    """

    checkpoint: str
    name: str
    annotator: str = ""
    source: str = ""
    since: datetime | None = None
    all_readers: bool = False
    force: bool = False


@dataclass(frozen=True)
class State:
    """How far it has come. `learnt` is the reference of a new checkpoint; `log` what was said so far."""

    running: bool = False
    what: str = ""
    share: float = 0.0
    log: tuple[str, ...] = ()
    learnt: str = ""
    number: int = 0  # of the run, from 1: tells an old outcome from a new one

    @property
    def can_stop(self) -> bool:
        """Whether there is something to cancel: learning, or what follows it, reading anew what waits."""
        return self.running


class Training:
    """At most one fine-tuning at a time for one running app."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = threading.Lock()
        self._state = State()
        self._process: multiprocessing.process.BaseProcess | None = None
        self._stop: Event | None = None
        self._follower: threading.Thread | None = None
        self._prepared: set[str] = set()
        self._preparation: multiprocessing.process.BaseProcess | None = None

    @property
    def state(self) -> State:
        """As it is now."""
        with self._lock:
            return self._state

    def start(self, wish: Wish) -> None:
        """Take the accepted corrections out of the store and begin. Raises ConfigError, DatasetError or StoreError."""
        with self._lock:
            check(not self._state.running, "A fine-tuning is under way; wait for it or cancel it.")
            working = Path(tempfile.mkdtemp(prefix="hmer-learn-"))
            self._state = State(running=True, what="taking out the corrections", number=self._state.number + 1)
        try:
            out = checkpoint.free_place(wish.name.strip())
            parent = checkpoint.resolve(wish.checkpoint, fetch=False)
            taken = write_corrections(
                self._services.store, working / "corrections",
                not_for=None if wish.all_readers else partial(checkpoint.of_other_lines, parent),
                held_out_share=HELD_OUT_SHARE, annotator=wish.annotator or None, source=wish.source or None, since=wish.since,
            )  # fmt: skip
            self._say(f"{taken.rows} corrections to learn from {wish.checkpoint}")
            if taken.left_out:
                self._say(f"without those of what was read by {', '.join(taken.left_out)}")
            self._begin(wish, parent, working, out)
        except BaseException:
            shutil.rmtree(working, ignore_errors=True)
            self._set(running=False)
            raise

    def _begin(self, wish: Wish, parent: Path, working: Path, out: Path) -> None:
        if self._preparation is not None:
            self._preparation.terminate()  # the threads of both would wait for each other
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        receiver, sender = context.Pipe(duplex=False)
        self._stop = context.Event()
        work = (sender, self._stop, str(parent), str(working / "corrections"), str(out), wish.force)
        self._process = context.Process(target=_work, args=work, daemon=True, name="hmer-learn")
        self._process.start()
        sender.close()  # the process' own is now the only one: its end is the end of what is received
        self._follower = threading.Thread(target=self._follow, args=(receiver, working, out.name), daemon=True)
        self._follower.start()

    def prepare(self, reference: str) -> None:
        """Where there is something to learn, do beforehand what a first fine-tuning of that checkpoint would begin with.

        Once, in a process that gives way to everything. It only saves time: where it cannot be done, nothing is said.
        """
        with self._lock, contextlib.suppress(HmerError):
            if reference in self._prepared or self._services.accepted_count() == 0:
                return
            self._prepared.add(reference)
            parent = str(checkpoint.resolve(reference, fetch=False))
            context = multiprocessing.get_context("spawn")
            self._preparation = context.Process(target=_prepare, args=(parent,), daemon=True, name="hmer-prepare")
            self._preparation.start()

    def cancel(self) -> None:
        """Stop; nothing is left behind. A process that does not listen is ended. What was learnt already stays."""
        if self._stop is None or self._process is None or not self.state.can_stop:
            return
        self._set(what="cancelling")
        self._stop.set()
        if self.state.learnt:
            return
        timer = threading.Timer(PATIENCE_S, self._process.terminate)
        timer.daemon = True
        timer.start()

    def wait(self, timeout_s: float) -> State:
        """Wait until it has ended, reading anew included, or for so long."""
        if self._follower is not None:
            self._follower.join(timeout_s)
        return self.state

    def _set(self, **values: Any) -> None:
        with self._lock:
            self._state = replace(self._state, **values)

    def _say(self, line: str) -> None:
        with self._lock:
            self._state = replace(self._state, log=(*self._state.log, line)[-LOG_LINES:])

    def _follow(self, receiver: Connection, working: Path, name: str) -> None:
        """Take in what the process says, until it ends."""
        process = self._process
        assert process is not None
        ended, learnt = False, ""
        try:
            with contextlib.suppress(EOFError, OSError):
                while True:
                    kind, *values = receiver.recv()
                    if kind == "progress":
                        if not (self._stop and self._stop.is_set()):
                            self._set(what=values[0], share=values[1])
                    elif kind == "say":
                        self._say(values[0])
                    else:
                        ended, learnt = True, name if values[0] else ""
            process.join()
            if not ended:
                self._say(
                    "Cancelled; nothing was changed." if self._stop and self._stop.is_set()
                    else f"It crashed (exit code {process.exitcode}); nothing was changed. The terminal of the app says more."
                )  # fmt: skip
            if learnt:
                self._set(what="reading anew what waits", learnt=learnt)
                self._read_anew(learnt)
        finally:
            shutil.rmtree(working, ignore_errors=True)
            self._set(running=False)

    def _read_anew(self, reference: str) -> None:
        assert self._stop is not None
        count, total = 0, 0
        try:
            for count, total in read_anew(self._services, reference):
                if self._stop.is_set():
                    break
                self._set(share=count / total)
        except HmerError as error:
            self._say(f"What waits could not be read anew: {error}")
        else:
            if count:
                rest = f"; {total - count} were left" if count < total else ""
                self._say(f"{count} waiting pictures were read anew by {reference}{rest}")


def read_anew(services: Services, reference: str) -> Iterator[tuple[int, int]]:
    """Read what waits for correction with a checkpoint that has not read it yet; after each, how many of how many.

    One picture after the other: requests come between. Raises CheckpointError or StoreError.
    """
    recognizer = services.recognizers.get(reference)
    numbers = services.store.unread(recognizer.id, Selection(statuses=(Status.PENDING, Status.DRAFT)))
    for count, number in enumerate(numbers, start=1):
        try:
            (answer,) = recognizer.recognize([services.store.image(number)], STANDARD)
            services.store.add_prediction(number, Seen(b"", answer, STANDARD, reference).prediction)
        except HmerError as error:  # deleted meanwhile, or a picture that this checkpoint cannot read
            log.warning("annotation %d was not read anew: %s", number, error)
        yield count, len(numbers)


def suggested_name() -> str:
    """A name that is still free."""
    taken = checkpoint.known()
    return next(name for name in (f"mine-{number}" for number in range(1, 10_000)) if name not in taken)


# --- in the other process ---------------------------------------------------------------------------------


def _give_way(niceness: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        os.nice(niceness)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that temporary folders are removed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in the terminal is for the app, which ends this


def _prepare(parent: str) -> None:
    """Only to save time later: nobody is told how it goes."""
    _give_way(LEAST)
    import torch

    from hmer.finetune import prepare

    torch.set_num_threads(1)
    with contextlib.suppress(HmerError):
        prepare(parent)


def _work(sender: Connection, stop: Event, parent: str, data: str, out: str, force: bool) -> None:
    """Fine-tune, and say how it goes; ends by itself when nobody listens any more."""
    _give_way(NICENESS)
    handler = _ToThePipe(sender)
    logging.getLogger("hmer").addHandler(handler)
    from hmer.finetune import fine_tune

    def report(what: str, share: float) -> None:
        sender.send(("progress", what, share))

    try:
        result = fine_tune(parent, data, out, force=force, report=report, cancelled=stop.is_set)
    except HmerError as error:
        sender.send(("say", str(error)))
        sender.send(("end", False))
        return
    for line in _told(result):
        sender.send(("say", line))
    sender.send(("end", result.folder is not None))


def _told(result: Any) -> list[str]:
    lines = [f"new symbols: {' '.join(result.new_tokens)}"] if result.new_tokens else []
    lines += result.verdict.table().split("\n")
    lines += [f"refused: {reason}" for reason in result.verdict.reasons]
    if result.folder is None:
        return [*lines, "The old checkpoint stays in use; nothing was kept."]
    return [*lines, f"{result.folder.name} can be chosen; to go back, choose the checkpoint that you came from."]


class _ToThePipe(logging.Handler):
    """Warnings of the process, for the log in the page."""

    def __init__(self, sender: Connection) -> None:
        super().__init__(logging.WARNING)
        self._sender = sender

    def emit(self, record: logging.LogRecord) -> None:
        """Send it as a line."""
        self._sender.send(("say", record.getMessage()))
