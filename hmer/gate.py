"""Whether a new checkpoint may take the place of the old one: on what it was to learn, and on what it must not forget.

Old and new read the same items. (a) Corrections that the new one was not trained on: it must improve there. (b) The
frozen regression set that travels with the checkpoint (`hmer.regression`): the paired bootstrap interval of the
difference in ExpRate must exclude a loss of more than one point.
"""

import dataclasses
import functools
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from hmer.batch import Seen
from hmer.bootstrap import interval
from hmer.config import to_dict
from hmer.datasets.folder import Item
from hmer.errors import HmerError
from hmer.evaluation import Forced, teacher_forced
from hmer.metrics import token_edits, without
from hmer.models import CtcModel
from hmer.precision import fastest, precision
from hmer.recognizer import Recognizer
from hmer.vocabulary import Vocabulary

log = logging.getLogger(__name__)

REGRESSION = "regression"
TOLERANCE = 0.01  # of ExpRate: the loss that the interval must exclude
ENOUGH = 500  # regression items
HOPE = 0.9  # share of it that a further try may be expected to lose
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Readings:
    """What a checkpoint made of some items, one entry an item in their order.

    edits: between the answer and the truth, 0 for a right one, None where it is wrong and nobody counted. tokens: of
    the truth. log_likelihood: the sum over `counted` tokens under teacher forcing, of the items that both checkpoints
    have all tokens for.
    """

    edits: tuple[int | None, ...] = ()
    tokens: tuple[int, ...] = ()
    log_likelihood: float = 0.0
    counted: int = 0

    def __add__(self, other: "Readings") -> "Readings":
        return Readings(
            self.edits + other.edits, self.tokens + other.tokens,
            self.log_likelihood + other.log_likelihood, self.counted + other.counted,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.edits)

    def of(self, indices: Sequence[int]) -> "Readings":
        """Of some of the items; their likelihood is not known apart."""
        return Readings(tuple(self.edits[index] for index in indices), tuple(self.tokens[index] for index in indices))

    @property
    def right(self) -> tuple[bool, ...]:
        """Whether each answer is the truth."""
        return tuple(edit == 0 for edit in self.edits)

    @property
    def exprate(self) -> float:
        """Share of right answers."""
        return sum(self.right) / max(len(self), 1)

    @property
    def token_error_rate(self) -> float | None:
        """Edits over tokens of the truths; None where they were not counted."""
        known = [edit for edit in self.edits if edit is not None]
        return sum(known) / max(sum(self.tokens), 1) if len(known) == len(self) else None

    @property
    def nll(self) -> float | None:
        """Negative log-likelihood a token under teacher forcing; None where no item could be counted."""
        return -self.log_likelihood / self.counted if self.counted else None


class Reader:
    """Reads one list of items with several checkpoints; each picture is prepared once.

    `known`: the vocabulary of the old checkpoint; items with other tokens have no likelihood that could be compared.
    `looks`, by item: where the last checkpoint looked (see `teacher_forced`), from which the next one finds its own sooner.
    `seen`, by item: what its encoder made of the picture; the next one often has the same encoder (`encoder`, a hash).
    """

    def __init__(self, items: Sequence[Item], known: Vocabulary, *, ignore: Sequence[str] = ()) -> None:
        self.items = list(items)
        self.ignore = tuple(ignore)
        self.comparable = [not known.missing(item.tokens) for item in self.items]
        self.looks: dict[int, Tensor] = {}
        self.seen: dict[int, Seen] = {}
        self.encoder = ""
        self._pictures: dict[int, Any] = {}
        self._settings: Any = None

    def read(
        self,
        recognizer: Recognizer,
        indices: Sequence[int] | None = None,
        progress: Progress | None = None,
        *,
        count_edits: bool = True,
    ) -> Readings:
        """What the checkpoint makes of the items, or of those with the given indices. Greedy, in the faster precision.

        Without `count_edits` a model that writes token by token is only made to write the truth: it finds by itself
        what it then takes for likeliest at every token, and that is known in a third of the time. `ignore` has no part in it.
        """
        chosen = range(len(self.items)) if indices is None else indices
        decode = count_edits or isinstance(recognizer.model, CtcModel)
        with fastest():
            return self._read(recognizer, chosen, decode, progress)

    def _read(self, recognizer: Recognizer, chosen: Sequence[int], decode: bool, progress: Progress | None) -> Readings:
        items = [self.items[index] for index in chosen]
        pictures = [self._picture(recognizer, index) for index in chosen]
        readable = [place for place, picture in enumerate(pictures) if picture is not None]
        truths = [without(item.tokens, self.ignore) for item in items]
        edits: list[int | None] = [len(truth) for truth in truths]  # an unreadable picture has an empty answer
        forced = Forced()
        asked = readable
        if decode:
            answers = recognizer.recognize_prepared([pictures[place] for place in readable], progress=progress)
            asked = []
            for place, answer in zip(readable, answers, strict=True):
                edits[place] = token_edits(truths[place], without(answer.tokens, self.ignore))
                found = answer.finished and answer.tokens == items[place].tokens
                if found and self.comparable[chosen[place]] and not isinstance(recognizer.model, CtcModel):
                    # Who finds the truth by himself is as sure of it when he is made to write it.
                    forced += Forced(log_likelihood=answer.log_prob, tokens=len(answer.tokens) + 1)
                else:
                    asked.append(place)
        self.see_with(recognizer)
        for comparable in (True, False):
            places = [place for place in asked if self.comparable[chosen[place]] == comparable]
            if not places or (decode and not comparable):
                continue
            looks = {at: self.looks[chosen[place]] for at, place in enumerate(places) if chosen[place] in self.looks}
            seen = {at: self.seen[chosen[place]] for at, place in enumerate(places) if chosen[place] in self.seen}
            made = teacher_forced(
                recognizer, [pictures[place] for place in places], [items[place] for place in places],
                progress if not decode and comparable else None, looks, seen,
            )  # fmt: skip
            self.looks.update({chosen[places[at]]: look for at, look in looks.items()})
            self.seen.update({chosen[places[at]]: one for at, one in seen.items()})
            if comparable:
                forced += dataclasses.replace(made, right=())
            if not decode:
                for place, right in zip(places, made.right, strict=True):
                    edits[place] = 0 if right else None
        lengths = tuple(len(truth) for truth in truths)
        return Readings(tuple(edits), lengths, forced.log_likelihood, forced.tokens)

    def see_with(self, recognizer: Recognizer) -> None:
        """Forget what an encoder made of the pictures that is not the checkpoint's."""
        encoder = encoder_hash(recognizer)
        if encoder != self.encoder:
            self.encoder, self.seen = encoder, {}

    def _picture(self, recognizer: Recognizer, index: int) -> Any:
        """The prepared picture; None for one that cannot be read, which counts as an empty answer."""
        if self._settings != recognizer.config.image:
            self._settings, self._pictures = recognizer.config.image, {}
        if index not in self._pictures:
            try:
                self._pictures[index] = recognizer.read(self.items[index].path)
            except HmerError as error:
                log.warning("%s cannot be read: %s", self.items[index].path.name, error)
                self._pictures[index] = None
        return self._pictures[index]


def encoder_hash(recognizer: Recognizer) -> str:
    """Of all that decides what an encoder makes of a picture: its weights, how pictures are prepared, the precision."""
    digest = hashlib.sha256(json.dumps([to_dict(recognizer.config.image), precision()]).encode())
    for name, value in recognizer.model.encoder.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


@dataclass(frozen=True)
class Comparison:
    """Old against new on the same items."""

    name: str
    before: Readings
    after: Readings

    @functools.cached_property
    def interval(self) -> tuple[float, float]:
        """The paired bootstrap interval (95 %) of the gain in ExpRate; negative is a loss."""
        return interval(np.asarray(self.after.right, float) - np.asarray(self.before.right, float))

    @property
    def flips(self) -> float:
        """Share of the items that are right on one side only."""
        pairs = zip(self.before.right, self.after.right, strict=True)
        return sum(one != other for one, other in pairs) / max(len(self.before), 1)

    @property
    def improves(self) -> bool:
        """ExpRate is higher, or as high and each token likelier.

        The second decides where corrections are few: whole formulas seldom tip, and the likelihood sees every token.
        """
        if self.after.exprate != self.before.exprate:
            return self.after.exprate > self.before.exprate
        return self.after.nll is not None and self.before.nll is not None and self.after.nll < self.before.nll

    @property
    def keeps(self) -> bool:
        """Whether the interval excludes a loss of more than TOLERANCE."""
        return self.interval[0] >= -TOLERANCE

    def figures(self) -> dict[str, Any]:
        """Every figure of both, for JSON."""
        sides = {
            side: {"exprate": value.exprate, "token_error_rate": value.token_error_rate, "nll": value.nll}
            for side, value in (("before", self.before), ("after", self.after))
        }
        return {"n": len(self.before), **sides, "gain_interval": list(self.interval)}


def allowed_flips(n: int) -> float:
    """Share of n items that may flip, as many to the worse as to the better, with TOLERANCE still excluded.

    Their mean has a standard error of sqrt(share / n).
    """
    return n * (TOLERANCE / 1.96) ** 2


def passing_share(comparison: Comparison) -> float:
    """Share (0 to 1) of the way from old to new at which one may hope that a loss of TOLERANCE is excluded.

    A rule of thumb: at half the way 0.36 to 0.6 of the answers flip that flip at its end, and mostly fewer of them in
    excess to the worse; so the interval's width is taken to fall with the power 0.75 of the way, the loss with its square.
    """
    loss = comparison.before.exprate - comparison.after.exprate
    width = comparison.after.exprate - comparison.before.exprate - comparison.interval[0]
    shares = np.linspace(0, 1, 101)
    passing = shares[max(loss, 0.0) * shares**2 + width * shares**0.75 <= HOPE * TOLERANCE]
    return float(passing.max())


@dataclass(frozen=True)
class Verdict:
    """The two comparisons, either of which may be impossible (None), and what follows."""

    corrections: Comparison | None
    regression: Comparison | None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why not, in numbers; empty for an accepted one."""
        found = []
        if self.corrections is None:
            found.append("nothing could be held out, so whether it improves cannot be measured")
        elif not self.corrections.improves:
            before, after = self.corrections.before, self.corrections.after
            found.append(
                f"no better on {self.corrections.name}: ExpRate {before.exprate:.3f} -> {after.exprate:.3f}, "
                f"negative log-likelihood a token {_number(before.nll)} -> {_number(after.nll)}"
            )
        if self.regression is not None and not self.regression.keeps:
            low, high = self.regression.interval
            found.append(
                f"a loss of more than {TOLERANCE:.0%} of ExpRate on the regression set cannot be excluded: "
                f"gain {self.regression.after.exprate - self.regression.before.exprate:+.3f} "
                f"({low:+.3f} to {high:+.3f})"
            )
        return tuple(found)

    @property
    def accepted(self) -> bool:
        """Whether the new one may take the old one's place."""
        return not self.reasons

    @property
    def caution(self) -> str:
        """What the comparisons cannot tell; empty where they can."""
        if self.regression is None:
            return "The checkpoint carries no regression set: what it may have forgotten was not measured."
        count = len(self.regression.before)
        if count < ENOUGH:
            return f"The regression set has {count} items: what it may have forgotten shows with {ENOUGH} or more."
        return ""

    def table(self) -> str:
        """Before and after as text, a line a set, and what that cannot tell."""
        compared = table([item for item in (self.corrections, self.regression) if item is not None])
        return f"{compared}\n{self.caution}" if self.caution else compared

    def figures(self) -> dict[str, Any]:
        """Everything for JSON."""
        parts = {"corrections": self.corrections, REGRESSION: self.regression}
        return {
            "accepted": self.accepted, "reasons": list(self.reasons),
            **{name: None if part is None else part.figures() for name, part in parts.items()},
        }  # fmt: skip


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def table(comparisons: Sequence[Comparison]) -> str:
    """Before and after, a line a set: ExpRate with the interval of its gain, token error rate, likelihood."""
    lines = [f"{'':<34} {'n':>4} {'ExpRate':>16} {'gain, 95 %':>18} {'token error rate':>16} {'NLL a token':>16}"]
    for item in comparisons:
        pairs = [
            f"{_number(getattr(item.before, name))} -> {_number(getattr(item.after, name))}"
            for name in ("exprate", "token_error_rate", "nll")
        ]
        low, high = item.interval
        lines.append(
            f"{item.name:<34} {len(item.before):>4} {pairs[0]:>16} {f'{low:+.3f} to {high:+.3f}':>18} "
            f"{pairs[1]:>16} {pairs[2]:>16}"
        )
    return "\n".join(lines)
