"""What the store says about the recogniser and about the annotators: accuracy, confusions, agreement."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import Levenshtein

from annotations.records import Reading
from hmer import latex
from hmer.errors import LatexError

FORM = "crohme"  # readings are compared without what handwriting cannot show: spacing, fonts, sizes
NOTHING = "∅"  # stands for a symbol that is missing on one side
_BRACES = {"{", "}", NOTHING}  # a brace too many is seen in what it holds


@dataclass(frozen=True)
class Day:
    """The formulas of one day, and those of them that the checkpoint had read right before."""

    day: date
    checkpoint: str
    total: int
    right: int


@dataclass(frozen=True)
class Agreement:
    """Pictures that two or more people corrected, and those where all say the same."""

    pictures: int
    agreeing: int
    token_edits: int  # between the corrections of a picture, pair by pair
    tokens: int  # of the longer correction of each pair

    @property
    def share(self) -> float:
        """Of the pictures, those with one answer; 1 where there are none."""
        return self.agreeing / self.pictures if self.pictures else 1.0


@dataclass(frozen=True)
class Pair:
    """A correction and what had been read, as comparable tokens."""

    truth: list[str]
    read: list[str]
    day: date
    checkpoint: str


def pairs(readings: Iterable[Reading]) -> list[Pair]:
    """The readings (`AnnotationStore.readings`) that some checkpoint made, comparable."""
    return [
        Pair(
            latex.reduce(reading.tokens, FORM), _comparable(reading.latex), reading.created_at.date(),
            reading.checkpoint or "",
        )
        for reading in readings
        if reading.latex is not None
    ]  # fmt: skip


def accuracy_by_day(compared: Iterable[Pair]) -> list[Day]:
    """How often the first reading was right, day by day and checkpoint by checkpoint, oldest first.

    Every prediction was stored before its correction existed, hence before any training on it.
    """
    total: Counter[tuple[date, str]] = Counter()
    right: Counter[tuple[date, str]] = Counter()
    for pair in compared:
        key = (pair.day, pair.checkpoint)
        total[key] += 1
        right[key] += pair.truth == pair.read
    return [Day(day, checkpoint, total[day, checkpoint], right[day, checkpoint]) for day, checkpoint in sorted(total)]


def confusions(compared: Iterable[Pair]) -> Counter[tuple[str, str]]:
    """How often a symbol (first) was read as another (second); NOTHING where one was left out or made up."""
    found: Counter[tuple[str, str]] = Counter()
    for pair in compared:
        found.update(_differences(pair.truth, pair.read))
    return found


def weakness(compared: Iterable[Pair]) -> dict[str, float]:
    """The share of times that each symbol was misread, by symbol, drawn towards 0.5 where it was seen seldom."""
    seen: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for pair in compared:
        seen.update(pair.truth)
        wrong.update(truth for truth, _ in _differences(pair.truth, pair.read) if truth != NOTHING)
    return {symbol: (wrong[symbol] + 1) / (count + 2) for symbol, count in seen.items()}


def agreement(groups: Iterable[Mapping[str, Sequence[str]]]) -> Agreement:
    """How far the annotators agree, from `AnnotationStore.by_several`."""
    pictures = agreeing = edits = tokens = 0
    for group in groups:
        answers = [tuple(tokens) for tokens in group.values()]
        pictures += 1
        agreeing += len(set(answers)) == 1
        for index, one in enumerate(answers):
            for other in answers[index + 1 :]:
                edits += Levenshtein.distance(one, other)
                tokens += max(len(one), len(other))
    return Agreement(pictures, agreeing, edits, tokens)


def _comparable(formula: str) -> list[str]:
    try:
        return latex.label_tokens(formula, FORM)
    except LatexError:  # a reading need not be well-formed
        return latex.split(formula)


def _differences(truth: Sequence[str], read: Sequence[str]) -> list[tuple[str, str]]:
    changes = []
    for kind, at_truth, at_read in Levenshtein.editops(truth, read):
        old = NOTHING if kind == "insert" else truth[at_truth]
        new = NOTHING if kind == "delete" else read[at_read]
        if {old, new} - _BRACES:
            changes.append((old, new))
    return changes
