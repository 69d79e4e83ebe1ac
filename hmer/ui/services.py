"""What the panels ask for: recognition, the annotation store, the list of checkpoints. Knows no gradio."""

import os
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from annotations import Alternative, AnnotationStore, Prediction, Saved, Selection, Status
from annotations.strokes import Strokes
from hmer import latex
from hmer.checkpoint import WEIGHTS, bundled, fine_tuned, pulled, resolve
from hmer.config import AUTOMATIC, Decoding, to_dict
from hmer.errors import CheckpointError, LatexError
from hmer.home import store_url
from hmer.looks import looks
from hmer.recognizer import Recognition, Recognizer
from hmer.routing import READERS, Automatic, available, plain, reader_of
from hmer.together import Together
from hmer.ui.options import AppOptions
from hmer.vocabulary import UNWRITTEN

LOADED_CHECKPOINTS = 3  # how many are kept in memory
# A person who has to mend what is wrong is better served by the better answer, and by others to choose from.
STANDARD = Decoding(strategy="beam", beam_width=10)
CONCURRENT_REQUESTS = 32  # for one picture each: so many may meet in a batch (see hmer.together)


@dataclass(frozen=True)
class Seen:
    """One picture that was read, with how it was asked and what came out: what a correction is about.

    `image` is the encoded picture that was recognised, whatever has been drawn since.
    """

    image: bytes = field(repr=False)
    recognition: Recognition
    decoding: Decoding
    reference: str
    strokes: Strokes | None = field(default=None, repr=False)

    @property
    def prediction(self) -> Prediction:
        """The answer as the annotation store keeps it."""
        answer = self.recognition
        return Prediction(
            latex=answer.latex,
            checkpoint=answer.checkpoint,
            tokens=answer.tokens,
            confidence=answer.confidence,
            alternatives=tuple(Alternative(other.latex, other.probability) for other in answer.alternatives),
            decoding=to_dict(self.decoding),
        )


def seen_by(image: bytes, recognition: Recognition, decoding: Decoding, reference: str) -> Seen:
    """One picture that was read; for AUTOMATIC the reference is that of the checkpoint whose answer it is."""
    return Seen(
        image, recognition, decoding, reader_of(recognition.checkpoint) if reference == AUTOMATIC else reference
    )


@dataclass(frozen=True)
class CheckpointChoice:
    """What can be chosen by its reference; `kind` is bundled, fine-tuned, pulled or folder, or says what automatic is."""

    reference: str
    kind: str


class Recognizers:
    """Loaded checkpoints by reference, the most recently used kept; `at_once` batches are read side by side.

    Safe to share between threads.
    """

    def __init__(self, limit: int = LOADED_CHECKPOINTS, at_once: int = 1) -> None:
        self._limit = limit
        self._workers = ThreadPoolExecutor(at_once, thread_name_prefix="hmer-reads")
        self._lock = threading.Lock()
        self._loaded: OrderedDict[tuple[Path, int], Together] = OrderedDict()
        self._automatic: Together | None = None

    def get(self, reference: str) -> Recognizer:
        """The recogniser of a checkpoint. Raises CheckpointError."""
        return self.together(reference).recognizer

    def together(self, reference: str) -> Together:
        """Where the requests for a checkpoint meet; it is loaded again when its weights have changed.

        Raises CheckpointError.

        One on the Hub must have been pulled: no request to the app makes it fetch something.
        """
        if reference == AUTOMATIC:
            return self._surer()
        folder = resolve(reference, fetch=False).resolve()
        try:
            key = (folder, (folder / WEIGHTS).stat().st_mtime_ns)
        except OSError as error:
            raise CheckpointError(f"{folder}: has no {WEIGHTS} that can be read; choose another.") from error
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = Together(Recognizer.load(folder), self._workers)
            self._loaded.move_to_end(key)
            while len(self._loaded) > self._limit:
                self._loaded.popitem(last=False)
            return self._loaded[key]

    def _surer(self) -> Together:
        readers = {name: self.get(name) for name in READERS}
        with self._lock:
            if self._automatic is None or list(readers.values()) != _readers(self._automatic):
                self._automatic = Together(Automatic(readers), self._workers)
            return self._automatic


def _readers(together: Together) -> list[Recognizer]:
    return list(together.recognizer.readers.values()) if isinstance(together.recognizer, Automatic) else []


class Services:
    """Everything behind the panels of one running app. Raises CheckpointError or StoreError when built."""

    def __init__(self, options: AppOptions) -> None:
        self.options = options
        self.public = False  # whether strangers use it: see hmer.ui.space
        # Threads that work side by side on few cores slow each other down: share the cores out.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // options.concurrency))
        resolve(plain(options.checkpoint))  # what the app is started with may be fetched
        self.recognizers = Recognizers(at_once=options.concurrency)
        self.recognizers.get(options.checkpoint)
        self.store = AnnotationStore(options.store or store_url())

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def recognize(self, image: bytes, decoding: Decoding, reference: str, *, drawn: bool = False) -> Seen:
        """Read one encoded picture; one that was `drawn` is handwriting. Raises BadImage, CheckpointError or ConfigError."""
        self.admit(1)
        reference = plain(reference) if drawn else reference
        return seen_by(image, self._one(image, decoding, reference), decoding, reference)

    def recognize_all(self, sources: list[Any], decoding: Decoding, reference: str) -> list[Recognition]:
        """Read anything that `Recognizer` takes. Raises as it does."""
        self.admit(len(sources))
        if len(sources) == 1:
            return [self._one(sources[0], decoding, reference)]
        return self.recognizers.get(reference).recognize(sources, decoding)

    def _one(self, source: Any, decoding: Decoding, reference: str) -> Recognition:
        together = self.recognizers.together(reference)
        return together.recognize(together.recognizer.read(source), decoding)

    def looks(self, seen: Seen, token: int = -1) -> npt.NDArray[np.uint8]:
        """The picture once for each token of its answer, or for one of them, with where the model looked: (H, W, 3).

        Raises ConfigError for a model without attention, CheckpointError.
        """
        from hmer.plots import attention_pixels  # matplotlib: only for those who ask

        recognizer = self.recognizers.get(seen.reference)
        picture = recognizer.read(seen.image)
        found = looks(recognizer, picture, seen.recognition.tokens)
        return attention_pixels(picture, found[token : token + 1] if 0 <= token < len(found) else found)

    def save(
        self,
        image: bytes,
        correction: str,
        *,
        prediction: Prediction | None = None,
        annotator: str = "",
        strokes: Strokes | None = None,
    ) -> Saved:
        """Keep a picture with what was read and what it is, accepted for training, also where it waited for that.

        Saved again with other LaTeX, what was saved first is mended.

        Raises LatexError, BadImage or StoreError, and then nothing was saved.
        """
        return self.store.add(
            image, prediction=prediction, correction=correction, status=Status.ACCEPTED,
            annotator=annotator, source="app", strokes=strokes, complete=True, amend=True,
        )  # fmt: skip

    def admit(self, pictures: int) -> None:
        """Let so many pictures be read now; a public server raises LimitError when it is too much."""

    def kept_where(self) -> str:
        """Where corrections are kept, as the end of a sentence."""
        return f"saved on this computer, in {self.store.name}"

    def accepted_count(self) -> int:
        """How many corrections there are to learn from."""
        return self.store.count(Selection(statuses=(Status.ACCEPTED,)))

    def checkpoints(self) -> list[CheckpointChoice]:
        """What can be chosen, the one that the app was started with first."""
        choices = {name: CheckpointChoice(name, "pulled") for name in pulled()}
        choices |= {name: CheckpointChoice(name, "fine-tuned") for name in fine_tuned()}
        choices |= {name: CheckpointChoice(name, "bundled") for name in bundled()}
        if available():
            choices = {AUTOMATIC: CheckpointChoice(AUTOMATIC, f"the surer of {' and '.join(READERS)}"), **choices}
        first = self.options.checkpoint
        started = choices.pop(first, None) or CheckpointChoice(first, "folder")
        return [started, *choices.values()]

    def new_symbols(self, formula: str, reference: str) -> list[str]:
        """The tokens of a formula that a checkpoint cannot write yet; empty for one that is not well-formed."""
        recognizer = self.recognizers.get(reference)
        try:
            tokens = latex.label_tokens(formula, recognizer.config.label_form)
        except LatexError:
            return []
        return [token for token in recognizer.model.vocabulary.missing(tokens) if token not in UNWRITTEN]
