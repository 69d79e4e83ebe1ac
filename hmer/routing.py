"""Handwriting or print: which checkpoint reads a picture when nobody says.

Both read it, and the answer whose tokens are the likelier on average counts, print only if it is so by a MARGIN, since both may
be as sure as they can be of few and plain symbols; one that ran on to its longest does not count.
The confidence of the whole answer tells less: of a long formula neither reader is sure. What the rule gets right is
measured by `scripts/benchmark.py routing`. A drawing needs no rule.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hmer.checkpoint import bundled
from hmer.config import AUTOMATIC, Decoding
from hmer.errors import BadImage
from hmer.image import Grey
from hmer.recognizer import Recognition, Recognizer, whole_picture

READERS = ("handwritten", "printed")  # the first reads what is drawn
MARGIN = 0.04  # of log-probability a token


def available() -> bool:
    """Whether there is a choice to be made."""
    return set(READERS) <= set(bundled())


def plain(reference: str) -> str:
    """A checkpoint reference as it is; for AUTOMATIC that of handwriting."""
    return READERS[0] if reference == AUTOMATIC else reference


def reader_of(checkpoint: str) -> str:
    """The bundled name in the id of a checkpoint that answered."""
    return checkpoint.rpartition("-")[0]


def load(reference: str | Path) -> Recognizer:
    """A recogniser by its checkpoint reference, or AUTOMATIC. Raises CheckpointError."""
    if reference == AUTOMATIC:
        return Automatic({name: Recognizer.load(name) for name in READERS})
    return Recognizer.load(reference)


class Automatic(Recognizer):
    """Several recognisers as one; apart from reading, it is the first of them. What `read` gives only it can use."""

    def __init__(self, readers: Mapping[str, Recognizer]) -> None:
        self.readers = dict(readers)
        super().__init__(next(iter(self.readers.values())).checkpoint)

    def read(self, source: Any) -> Any:
        """The picture as each reader wants it, or why it cannot be read. Raises BadImage or BadInk if none can."""
        whole = whole_picture(source)
        found: dict[str, Grey | BadImage] = {}
        for name, reader in self.readers.items():
            try:
                found[name] = reader.fitted(whole)
            except BadImage as error:
                found[name] = error
        problems = [picture for picture in found.values() if isinstance(picture, BadImage)]
        if len(problems) == len(found):
            raise problems[0]
        return found

    def recognize_prepared(
        self,
        pictures: Sequence[Any],
        decoding: Decoding | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Recognition]:
        """The surest answer for each picture that `read` gave; `seconds` is the time of all readers together."""
        answers: list[list[Recognition]] = [[] for _ in pictures]
        for name, reader in self.readers.items():
            mine = [index for index, found in enumerate(pictures) if not isinstance(found[name], BadImage)]
            read = reader.recognize_prepared([pictures[index][name] for index in mine], decoding)
            for index, answer in zip(mine, read, strict=True):
                answers[index].append(answer)
        if progress is not None:
            progress(len(pictures))
        return [surest(found) for found in answers]


def surest(answers: Sequence[Recognition]) -> Recognition:
    """The finished answer with the highest log-probability a token, the first preferred by MARGIN; with the time of all."""

    def sureness(index: int) -> tuple[bool, float]:
        answer = answers[index]
        return answer.finished, answer.log_prob / (len(answer.tokens) + 1) + (0.0 if index else MARGIN)

    best = answers[max(range(len(answers)), key=sureness)]
    return replace(best, seconds=sum(answer.seconds for answer in answers))
