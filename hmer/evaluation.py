"""evaluate(): what a checkpoint makes of labelled pictures, by every measure; and what it holds likely when told the truth."""

import dataclasses
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmer import latex
from hmer.batch import Batch, Seen, of_like_size
from hmer.bootstrap import Values, interval
from hmer.config import Decoding
from hmer.datasets.batches import Sample, collate
from hmer.datasets.folder import Item
from hmer.errors import HmerError
from hmer.image import Grey
from hmer.metrics import Scores, by_length, by_structure, by_symbol, confusions, score, token_edits, without
from hmer.recognizer import Recognition, Recognizer


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Scores over all items; those that could be read, the answers beside them, and what could not be read."""

    scores: Scores
    items: tuple[Item, ...]
    recognitions: tuple[Recognition, ...]
    problems: tuple[str, ...]
    seconds_per_image: float
    lengths: dict[str, dict[str, float]]
    valid_latex: float
    forced: "Forced | None"
    unread: tuple[Item, ...] = ()
    ignore: tuple[str, ...] = ()

    @property
    def truths(self) -> list[list[str]]:
        """What was compared, without the tokens that are ignored: of the items, then of what could not be read."""
        return [without(item.tokens, self.ignore) for item in (*self.items, *self.unread)]

    @property
    def predictions(self) -> list[list[str]]:
        """As `truths`; nothing for what could not be read."""
        return [*(without(answer.tokens, self.ignore) for answer in self.recognitions), *([] for _ in self.unread)]

    @property
    def right(self) -> list[bool]:
        """Whether each of `recognitions` is right."""
        return [truth == said for truth, said in zip(self.truths, self.predictions, strict=True)][: len(self.items)]

    @property
    def token_accuracy(self) -> float | None:
        """Next tokens that are right under teacher forcing; None if it was not measured, or there are none (CTC)."""
        return self.forced.correct / self.forced.count if self.forced and self.forced.count else None

    @property
    def loss(self) -> float | None:
        """Negative log-likelihood a token; None if it was not measured."""
        return -self.forced.log_likelihood / self.forced.tokens if self.forced and self.forced.tokens else None

    def outcomes(self) -> dict[Path, "Outcome"]:
        """How each item was read, by its file."""
        every = zip((*self.items, *self.unread), self.truths, self.predictions, strict=True)
        return {item.path: Outcome(truth == said, token_edits(truth, said), len(truth)) for item, truth, said in every}

    def figures(self) -> dict[str, Any]:
        """Every figure by the name that evaluate.py's JSON gives it."""
        scores = dataclasses.asdict(self.scores)
        return {
            **scores,
            "word_error_rate": scores["token_error_rate"],
            "token_accuracy": self.token_accuracy,
            "valid_latex": self.valid_latex,
            "rendered_match": None,
            "seconds_per_image": self.seconds_per_image,
            "by_length": self.lengths,
            "by_structure": by_structure(self.truths, self.predictions),
            "by_symbol": by_symbol(self.truths, self.predictions),
            "confusions": confusions(self.truths, self.predictions),
        }


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Of one item: whether the answer is the truth, the edits between them, the tokens of the truth."""

    right: bool
    edits: int
    tokens: int


@dataclasses.dataclass(frozen=True)
class Forced:
    """Sums under teacher forcing, and which captions are right; see `hmer.models.base.Loss`."""

    correct: int = 0
    count: int = 0
    log_likelihood: float = 0.0
    tokens: int = 0
    right: tuple[bool, ...] = ()

    def __add__(self, other: "Forced") -> "Forced":
        ours, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return Forced(*(one + two for one, two in zip(ours, theirs, strict=True)))


def compared(ours: Evaluation, theirs: Evaluation) -> dict[str, Any]:
    """Ours against another checkpoint's answers on the same items, paired: for JSON, with 95 % intervals over the items.

    won, lost: right with ours only, with theirs only. gain: of ExpRate. token_error_rate_change: ours minus theirs.
    """
    mine, other = ours.outcomes(), theirs.outcomes()
    pairs = [(mine[path], other[path]) for path in mine if path in other]
    gains = np.array([float(one.right) - float(two.right) for one, two in pairs])
    edits = np.array([(one.edits - two.edits, one.tokens) for one, two in pairs], float).reshape(-1, 2)

    def change(rows: Values) -> float:
        return float(rows[:, 0].sum() / max(rows[:, 1].sum(), 1.0))

    return {
        "n": len(pairs), "won": int((gains > 0).sum()), "lost": int((gains < 0).sum()),
        "exprate": float(np.mean([two.right for _, two in pairs])) if pairs else 0.0,
        "gain": float(gains.mean()) if pairs else 0.0, "gain_interval": list(interval(gains)),
        "token_error_rate_change": change(edits), "token_error_rate_interval": list(interval(edits, change)),
    }  # fmt: skip


def evaluate(
    recognizer: Recognizer,
    items: Sequence[Item],
    decoding: Decoding | None = None,
    *,
    ignore: Sequence[str] = (),
    teacher_forcing: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Read every item as a user's picture would be and compare with its caption.

    Tokens in `ignore` are dropped from both sides first; `teacher_forcing` measures the token accuracy too. An item
    that cannot be read counts as an empty answer and is named in `problems`.
    """
    pictures, kept, unread, problems = [], [], [], []
    started = time.perf_counter()
    for item in items:
        try:
            pictures.append(recognizer.read(item.path))
            kept.append(item)
        except HmerError as error:
            unread.append(item)
            problems.append(f"{item.path.name}: {error}")
    answers = recognizer.recognize_prepared(pictures, decoding, progress)
    seconds = time.perf_counter() - started
    forced = teacher_forced(recognizer, pictures, kept) if teacher_forcing else None
    return _evaluation(kept, answers, unread, problems, seconds, forced, ignore)


def _evaluation(
    items: Sequence[Item],
    answers: Sequence[Recognition],
    unread: Sequence[Item],
    problems: Sequence[str],
    seconds: float,
    forced: Forced | None,
    ignore: Sequence[str],
) -> Evaluation:
    """Every figure of answers to items, and of what could not be read."""
    truths = [without(item.tokens, ignore) for item in (*items, *unread)]
    predictions = [*(without(answer.tokens, ignore) for answer in answers), *([] for _ in unread)]
    count = max(len(truths), 1)
    return Evaluation(
        scores=score(truths, predictions),
        items=tuple(items),
        recognitions=tuple(answers),
        problems=tuple(problems),
        seconds_per_image=seconds / count,
        lengths=by_length(truths, predictions),
        valid_latex=sum(latex.is_valid(answer.latex) for answer in answers) / count,
        forced=forced,
        unread=tuple(unread),
        ignore=tuple(ignore),
    )


def merged(parts: Sequence[Evaluation], ignore: Sequence[str] = ()) -> Evaluation:
    """One evaluation of what several processes have read; seconds are those of all together."""
    return _evaluation(
        [item for part in parts for item in part.items],
        [answer for part in parts for answer in part.recognitions],
        [item for part in parts for item in part.unread],
        [problem for part in parts for problem in part.problems],
        sum(part.seconds_per_image * part.scores.n for part in parts),
        sum((part.forced or Forced() for part in parts), Forced()),
        ignore,
    )


@torch.inference_mode()
def teacher_forced(
    recognizer: Recognizer,
    pictures: Sequence[Grey],
    items: Sequence[Item],
    progress: Callable[[int], None] | None = None,
    looks: dict[int, Tensor] | None = None,
    seen: dict[int, Seen] | None = None,
) -> Forced:
    """Next tokens that are right and their likelihood; a token that the checkpoint lacks is wrong.

    Items with such a token are scored up to it. `progress` is told how many are done, after each batch. `looks`, by the
    item's index, is filled with where the model looks at each step (L + 1, T); a model much like it, given the same
    pictures in the same size, is quicker with them. `seen` likewise, with what its encoder makes of the pictures: for a
    model that has the very same encoder.
    """
    vocabulary = recognizer.model.vocabulary
    sums = Forced()
    order: list[int] = []
    for group in of_like_size([picture.shape for picture in pictures]):
        samples, wholly = [], []
        unknown = 0
        for index in group:
            tokens = items[index].tokens
            known = list(itertools.takewhile(lambda token: token in vocabulary, tokens))
            unknown += len(tokens) - len(known)
            wholly.append(len(known) == len(tokens))
            samples.append(Sample(pictures[index], tuple(vocabulary.encode(known)), None))
        batch = collate(samples)
        if looks is not None and all(index in looks for index in group):
            batch.looks = looks_joined([looks[index] for index in group])
        if seen is not None:
            batch.seen = _seen(recognizer, batch, group, seen)
        loss = recognizer.model.loss(batch.to(recognizer.device))
        if looks is not None and loss.looks is not None:
            looks.update(zip(group, looks_apart(loss.looks, batch.lengths), strict=True))
        count = loss.count + unknown if loss.count else 0
        right = tuple(one and two for one, two in zip(loss.right, wholly, strict=False))  # none of CTC
        sums += Forced(loss.correct, count, loss.log_likelihood, loss.tokens, right)
        order += group
        if progress is not None:
            progress(len(order))
    if not sums.right:
        return sums
    by_item = dict(zip(order, sums.right, strict=True))
    return dataclasses.replace(sums, right=tuple(by_item[index] for index in range(len(items))))


def _seen(recognizer: Recognizer, batch: Batch, group: Sequence[int], known: dict[int, Seen]) -> Seen | None:
    """What the encoder makes of a batch, as it is `known` for each picture, or found and then known."""
    if not all(index in known for index in group):
        found = recognizer.model.see(batch.images.to(recognizer.device), batch.sizes.to(recognizer.device))
        if found is None:
            return None
        known.update(zip(group, found.to(torch.device("cpu")).apart(), strict=True))
    return Seen.joined([known[index] for index in group])


def looks_apart(looks: Tensor, lengths: Tensor) -> list[Tensor]:
    """What `Loss.looks` says of each picture by itself, in half precision: to be kept."""
    parts = []
    for found, length in zip(looks.cpu(), lengths.tolist(), strict=True):
        steps = found[: length + 1]
        parts.append(steps[:, : int(steps.any(0).nonzero().max()) + 1].to(torch.float16, copy=True))
    return parts


def looks_joined(looks: Sequence[Tensor]) -> Tensor:
    """(L, T) each -> (B, longest L, longest T), zeros behind."""
    padded = torch.zeros(len(looks), *(max(look.shape[side] for look in looks) for side in (0, 1)))
    for index, look in enumerate(looks):
        padded[index, : look.shape[0], : look.shape[1]] = look
    return padded
