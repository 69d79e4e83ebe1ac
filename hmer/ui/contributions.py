"""Corrections that visitors of a Space gave away, on their way to a dataset repository of its owner. Knows no gradio."""

import json
import logging
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hmer import cards, hub
from hmer.datasets.imagefolder import METADATA, DatasetFacts
from hmer.errors import HubError

log = logging.getLogger(__name__)

SEND_EVERY_S = 600.0
BATCH = 20  # sent at once when so many wait
MOST_WAITING = 500
STATEMENT = "each visitor agreed to it before saving, for what they had written or may give away."


@dataclass(frozen=True)
class Contribution:
    """A picture (PNG, nothing but pixels) and what it is."""

    sha256: str
    image: bytes = field(repr=False)
    latex: str


class Contributions:
    """Collects corrections and sends them in batches, each into a folder of its own; what fails is sent again later."""

    def __init__(self, repository: hub.Repository, licence: str, *, send_every_s: float = SEND_EVERY_S) -> None:
        self.repository = repository
        self.licence = licence
        self._send_every_s = send_every_s
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._waiting: list[Contribution] = []
        self._timer: threading.Timer | None = None

    def add(self, contribution: Contribution) -> None:
        """Take one in; it is sent within minutes. Beyond a bound, when the Hub fails for long, the oldest is dropped."""
        with self._lock:
            self._waiting = [*self._waiting, contribution][-MOST_WAITING:]
            soon = len(self._waiting) >= BATCH
        self._send_after(0.0 if soon else self._send_every_s)

    def waiting(self) -> int:
        """How many were not sent yet."""
        with self._lock:
            return len(self._waiting)

    def send(self) -> None:
        """Send what waits in one commit; what cannot be sent waits on."""
        with self._sending:
            with self._lock:
                self._timer = None  # this may be it: what comes from now on needs another
                batch, self._waiting = self._waiting, []
            if not batch:
                return
            try:
                self._commit(batch)
            except Exception as error:  # whatever it is, what visitors gave must not be lost with it
                told = error if isinstance(error, HubError) else f"{type(error).__name__}: {error}"
                log.warning("%d corrections wait on: %s", len(batch), told)
                with self._lock:
                    self._waiting = [*batch, *self._waiting][-MOST_WAITING:]
                self._send_after(self._send_every_s)

    def close(self) -> None:
        """Send what waits, once more."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        self.send()

    def _commit(self, batch: Sequence[Contribution]) -> None:
        folder = f"train/{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:8]}"
        files: dict[str, hub.Content] = {}
        lines = []
        for number, item in enumerate(batch):
            name = f"{item.sha256}-{number}.png"
            files[f"{folder}/{name}"] = item.image
            lines.append(json.dumps({"file_name": name, "latex": item.latex}, ensure_ascii=False))
        files[f"{folder}/{METADATA}"] = ("\n".join(lines) + "\n").encode()
        title = self.repository.id.partition("/")[2]
        nothing = DatasetFacts({}, 0, {})
        card = cards.dataset_card(nothing, title=title, licence=self.licence, statement=STATEMENT)
        hub.add(self.repository, files, f"{len(batch)} corrections of visitors", card=card)

    def _send_after(self, delay_s: float) -> None:
        with self._lock:
            if self._timer is not None:
                if delay_s:
                    return
                self._timer.cancel()
            self._timer = threading.Timer(delay_s, self.send)
            self._timer.daemon = True
            self._timer.start()
