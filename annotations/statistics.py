"""What the store says about the recogniser and about the annotators: accuracy, confusions, agreement."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import Levenshtein

from annotations.records import Annotation, Status
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


def compared(annotation: Annotation) -> tuple[list[str], list[str]] | None:
    """The tokens of the correction and of the prediction that it is about, comparable; None without both."""
    if annotation.tokens is None or annotation.prediction is None or annotation.status is not Status.ACCEPTED:
        return None
    return _comparable(" ".join(annotation.tokens)), _comparable(annotation.prediction.latex)


def accuracy_by_day(annotations: Iterable[Annotation]) -> list[Day]:
    """How often the first reading was right, day by day and checkpoint by checkpoint, oldest first.

    Every prediction was stored before its correction existed, hence before any training on it.
    """
    total: Counter[tuple[date, str]] = Counter()
    right: Counter[tuple[date, str]] = Counter()
    for annotation in annotations:
        pair = compared(annotation)
        if pair is None or annotation.prediction is None:
            continue
        key = (annotation.created_at.date(), annotation.prediction.checkpoint)
        total[key] += 1
        right[key] += pair[0] == pair[1]
    return [Day(day, checkpoint, total[day, checkpoint], right[day, checkpoint]) for day, checkpoint in sorted(total)]


def confusions(annotations: Iterable[Annotation]) -> Counter[tuple[str, str]]:
    """How often a symbol (first) was read as another (second); NOTHING where one was left out or made up."""
    found: Counter[tuple[str, str]] = Counter()
    for annotation in annotations:
        pair = compared(annotation)
        if pair is not None:
            found.update(_differences(*pair))
    return found


def weakness(annotations: Iterable[Annotation]) -> dict[str, float]:
    """The share of times that each symbol was misread, by symbol, drawn towards 0.5 where it was seen seldom."""
    seen: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for annotation in annotations:
        pair = compared(annotation)
        if pair is not None:
            seen.update(pair[0])
            wrong.update(truth for truth, _ in _differences(*pair) if truth != NOTHING)
    return {symbol: (wrong[symbol] + 1) / (count + 2) for symbol, count in seen.items()}


def agreement(groups: Iterable[Sequence[Annotation]]) -> Agreement:
    """How far the annotators agree, from `AnnotationStore.by_several`; of each annotator the newest correction."""
    pictures = agreeing = edits = tokens = 0
    for group in groups:
        answers = [row.tokens or () for row in {row.annotator: row for row in group}.values()]
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
