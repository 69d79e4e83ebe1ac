"""The app on a Hugging Face Space: strangers use it, so what they draw stays theirs and nothing lasts unasked.

Corrections live in the memory of the visit, can be downloaded, and go to a dataset repository only if the owner named
one (HMER_DATASET, HMER_DATASET_LICENCE, and HF_TOKEN as a secret) and the visitor agreed.
"""

import atexit
import html
import os
import shutil
import tempfile
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr
import numpy as np
import numpy.typing as npt
from gradio.context import LocalContext

from annotations import AnnotationStore, Prediction, Saved, Status, write_dataset
from annotations.strokes import Strokes
from hmer import cards, publish
from hmer.checkpoint import bundled, resolve
from hmer.config import AUTOMATIC, check
from hmer.errors import CheckpointError, LimitError
from hmer.routing import available
from hmer.together import Together
from hmer.ui.contributions import Contribution, Contributions
from hmer.ui.messages import explained
from hmer.ui.options import AppOptions
from hmer.ui.services import CheckpointChoice, Recognizers, Seen, Services

KEEP_UPLOADS_S = 600
VISITORS = 300
MOST_CORRECTIONS, MOST_CORRECTION_BYTES = 50, 5_000_000  # of a visitor
PICTURES_A_MINUTE, PICTURES_A_MINUTE_OF_ALL = 30, 120
SAVES_A_MINUTE, SAVES_A_MINUTE_OF_ALL = 15, 60

HEADER = """<header class="hm-header"><h1>hmer</h1>
<p>Mathematics to LaTeX, handwritten or printed. What you draw or upload is read and then forgotten.</p></header>"""


# --- functions --------------------------------------------------------------------------------------------


def session() -> str:
    """The visit that the present request belongs to; empty where there is none."""
    request = LocalContext.request.get(None)
    return (request.session_hash or "") if request is not None else ""


@dataclass
class Visitor:
    """What one visit holds: corrections in memory, whether they may be given away, and when pictures were read."""

    store: AnnotationStore = field(default_factory=lambda: AnnotationStore("sqlite://"))
    download: Path | None = None  # the folder of the last one
    correction_bytes: int = 0
    agreed: bool = False
    read_at: deque[float] = field(default_factory=deque)
    saved_at: deque[float] = field(default_factory=deque)

    def close(self) -> None:
        """Let go of everything."""
        self.store.close()
        self.drop_download()

    def drop_download(self) -> None:
        """Delete what was made for a download."""
        if self.download is not None:
            shutil.rmtree(self.download, ignore_errors=True)


class BundledRecognizers(Recognizers):
    """Only what comes with the app: a visitor names no folder of this computer, and nothing to fetch."""

    def together(self, reference: str) -> Together:
        """Where the requests for a bundled checkpoint meet. Raises CheckpointError."""
        if reference not in bundled() and not (reference == AUTOMATIC and available()):
            raise CheckpointError(f"No checkpoint {reference!r} here: there are {', '.join(bundled())}.")
        return super().together(reference)


class SpaceServices(Services):
    """Services for strangers: state by visit, limits, and nothing on the disk. `visit` tells whose request it is."""

    def __init__(
        self, options: AppOptions, *, visit: Callable[[], str] = session, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(options)
        self.public = True
        self.recognizers = BundledRecognizers(at_once=options.concurrency)
        self.recognizers.get(options.checkpoint)
        self.contributions = configured_contributions()
        self._visit = visit
        self._clock = clock
        self._lock = threading.Lock()
        self._visitors: OrderedDict[str, Visitor] = OrderedDict()
        self._read_at: deque[float] = deque()
        self._saved_at: deque[float] = deque()
        atexit.register(self.close)

    @property
    def store(self) -> AnnotationStore:
        """The store of the visit that asks: whatever uses it, no visitor sees another's work. Else an empty one."""
        return self.visitor().store if self._visit() else self._nobodys_store

    @store.setter
    def store(self, opened: AnnotationStore) -> None:
        self._nobodys_store = opened

    def close(self) -> None:
        """Forget everybody; send what was given away and waits. Done at exit if not before."""
        atexit.unregister(self.close)
        for name in list(self._visitors):
            self.forget(name)
        if self.contributions is not None:
            self.contributions.close()
        self._nobodys_store.close()

    def visitor(self) -> Visitor:
        """The visitor who asks. Raises LimitError for a request that belongs to no visit."""
        name = self._visit()
        if not name:
            raise LimitError("This request belongs to no visit, so nothing can be saved for it.")
        with self._lock:
            known = self._visitors.pop(name, None) or Visitor()
            self._visitors[name] = known
            gone = [self._visitors.popitem(last=False)[1] for _ in range(len(self._visitors) - VISITORS)]
        for visitor in gone:
            visitor.close()
        return known

    def forget(self, name: str) -> None:
        """Drop what a visit holds."""
        with self._lock:
            visitor = self._visitors.pop(name, None)
        if visitor is not None:
            visitor.close()

    def admit(self, pictures: int) -> None:
        """Let so many pictures be read now. Raises LimitError when this visitor, or all together, ask for too much."""
        limits = [(self._read_at, PICTURES_A_MINUTE_OF_ALL, "pictures a minute are read for all visitors together")]
        if self._visit():
            limits.append((self.visitor().read_at, PICTURES_A_MINUTE, "pictures a minute are read for you"))
        self._count(pictures, limits)

    def _count(self, number: int, limits: Sequence[tuple[deque[float], int, str]]) -> None:
        """Note so many of something now in each list of times, unless one would hold more than its limit of a minute."""
        now = self._clock()
        with self._lock:
            for times, most, of_what in limits:
                while times and times[0] <= now - 60:
                    times.popleft()
                if len(times) + number > most:
                    then = "try again in a minute" if number <= most else "send fewer at once"
                    raise LimitError(f"At most {most} {of_what}; {then}.")
            for times, _, _ in limits:
                times.extend([now] * number)

    def looks(self, seen: Seen, token: int = -1) -> npt.NDArray[np.uint8]:
        """As in `Services`, and counted as a picture that is read. Raises LimitError too."""
        self.admit(1)
        return super().looks(seen, token)

    def save(
        self,
        image: bytes,
        correction: str,
        *,
        prediction: Prediction | None = None,
        annotator: str = "",
        strokes: Strokes | None = None,
    ) -> Saved:
        """Keep a correction for this visit, and give it away if the visitor agreed. Names are not kept.

        Raises LatexError, BadImage or LimitError, and then nothing was saved.
        """
        visitor = self.visitor()
        size = visitor.correction_bytes + len(image)
        if visitor.store.count() >= MOST_CORRECTIONS or size > MOST_CORRECTION_BYTES:
            raise LimitError(
                f"A visit holds at most {MOST_CORRECTIONS} corrections and {MOST_CORRECTION_BYTES // 1_000_000} MB of "
                "pictures: download yours, then reload the page to begin anew."
            )
        self._count(
            1,
            [
                (self._saved_at, SAVES_A_MINUTE_OF_ALL, "corrections a minute are saved for all visitors together"),
                (visitor.saved_at, SAVES_A_MINUTE, "corrections a minute are saved for you"),
            ],
        )
        saved = visitor.store.add(
            image, prediction=prediction, correction=correction, status=Status.ACCEPTED, source="space", strokes=strokes
        )
        if saved.created:
            stored = next(content for item, content in visitor.store.corrected() if item.id == saved.annotation.id)
            visitor.correction_bytes += len(stored)  # as PNG, which may be many times what was uploaded
            if visitor.agreed and self.contributions is not None:
                latex = " ".join(saved.annotation.tokens or ())
                self.contributions.add(Contribution(saved.annotation.image_sha256, stored, latex))
        return saved

    def accepted_count(self) -> int:
        """How many corrections this visit holds."""
        with self._lock:
            known = self._visitors.get(self._visit())
        return known.store.count() if known is not None else 0

    def kept_where(self) -> str:
        """Where corrections are kept, as the end of a sentence."""
        with self._lock:
            known = self._visitors.get(self._visit())
        if known is not None and known.agreed and self.contributions is not None:
            return f"held for this visit; those saved since you agreed also go to {self.contributions.repository.id}"
        return "held for this visit only; they are gone when you close the page"

    def checkpoints(self) -> list[CheckpointChoice]:
        """What can be chosen: the bundled ones, the default first."""
        return [choice for choice in super().checkpoints() if choice.reference in (AUTOMATIC, *bundled())]

    def zipped_corrections(self) -> Path:
        """This visit's corrections as a zipped dataset folder, deleted with the visit. Raises LimitError."""
        visitor = self.visitor()
        if not visitor.store.count():
            raise LimitError("There is nothing to download yet: save a correction first.")
        visitor.drop_download()  # or each press of the button would take its space on the disk
        visitor.download = Path(tempfile.mkdtemp(prefix="hmer-visit-"))
        folder = visitor.download / "corrections"
        write_dataset(visitor.store, folder)
        return Path(shutil.make_archive(str(folder), "zip", folder))


def configured_contributions() -> Contributions | None:
    """Where corrections go that visitors give away; None when the owner named no dataset repository.

    Raises ConfigError or HubError for settings that cannot be used.
    """
    named = os.environ.get("HMER_DATASET", "")
    if not named:
        return None
    licence = os.environ.get("HMER_DATASET_LICENCE", "")
    check(
        cards.conditions(licence) is not None,
        f"HMER_DATASET_LICENCE: {licence!r} is not known; visitors must be told one, such as cc-by-4.0.",
    )
    return Contributions(publish.destination(named, "dataset"), licence)


def consent_sentence(contributions: Contributions) -> str:
    """What a visitor agrees to."""
    return (
        f"I agree that the corrections which I save from now on, with their pictures, are kept in the data set "
        f"{contributions.repository.id} under the licence {contributions.licence}, to train recognisers. I wrote them "
        "myself or may give them away, and they name no person."
    )


def terms() -> str:
    """HTML: under which terms each checkpoint may be used."""
    parts = []
    for name in bundled():
        folder = resolve(name)
        notice = folder / "NOTICE"
        text = notice.read_text(encoding="utf-8") if notice.is_file() else ""
        licence = cards.licence_named_in(folder) or "no licence named"
        parts.append(
            f"<p>Weights <strong>{html.escape(name)}</strong>: {html.escape(licence)}</p>"
            f'<pre style="white-space: pre-wrap">{html.escape(text)}</pre>'
        )
    return "".join(parts)


# --- layout and wiring ------------------------------------------------------------------------------------


def panel(blocks: gr.Blocks, services: SpaceServices) -> None:
    """What happens with a visitor's work, a download of it, the terms of the weights; forgets who leaves."""
    given_to = services.contributions
    with gr.Column(elem_classes="hm-card"):
        gr.HTML("<h2>Your work</h2>", padding=False)
        gr.HTML(
            "<p>Nothing is kept without your consent. Pictures are deleted within minutes, corrections when you close "
            "the page.</p>",
            padding=False,
        )
        if given_to is not None:
            agreed = gr.Checkbox(False, label=consent_sentence(given_to), elem_id="hm-consent")
            agreed.change(
                _explained_setter(services), agreed, None,
                queue=False, show_progress="hidden", api_visibility="private",
            )  # fmt: skip
        prepare = gr.Button("Download my corrections", size="sm", elem_id="hm-prepare-download")
        archive = gr.File(visible=False, label="A dataset folder, zipped", elem_id="hm-download")

        @explained
        def download() -> gr.File:
            zipped = services.zipped_corrections()
            return gr.File(str(zipped), visible=True)

        prepare.click(download, None, archive, show_progress="hidden", api_visibility="private")
        named = (cards.licence_named_in(resolve(name)) or name for name in bundled())
        licences = ", ".join(dict.fromkeys(named))
        with gr.Accordion(f"Terms of the weights: {licences}", open=False, elem_id="hm-terms"):
            gr.HTML(terms(), padding=False)

    def leave(request: gr.Request) -> None:
        services.forget(request.session_hash or "")

    blocks.unload(leave)


def _explained_setter(services: SpaceServices) -> Callable[[bool], None]:
    @explained
    def set_consent(agreed: bool) -> None:
        services.visitor().agreed = bool(agreed)

    return set_consent
