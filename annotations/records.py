"""What goes into the annotation store and comes out of it: frozen values, free of any database session."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from hmer.errors import StoreError


class Status(StrEnum):
    """How far an annotation has come; only accepted ones are trained on."""

    DRAFT = "draft"  # still being worked on
    PENDING = "pending"  # waits for a correction, or for a review of it
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    SKIPPED = "skipped"

    @classmethod
    def of(cls, name: "str | Status") -> "Status":
        """The status of that name; raises StoreError with the known names."""
        try:
            return cls(name)
        except ValueError:
            raise StoreError(f"There is no status {name!r}; choose from {', '.join(cls)}.") from None


class Reason(StrEnum):
    """Why a picture was rejected."""

    ILLEGIBLE = "illegible"
    NOT_A_FORMULA = "not a formula"
    SEVERAL = "several"  # several formulas in one picture
    BAD_CROP = "bad crop"

    @classmethod
    def of(cls, name: "str | Reason") -> "Reason":
        """The reason of that name; raises StoreError with the known names."""
        try:
            return cls(name)
        except ValueError:
            raise StoreError(f"There is no reason {name!r}; choose from {', '.join(cls)}.") from None


@dataclass(frozen=True)
class Alternative:
    """Another reading of the same picture."""

    latex: str
    confidence: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "confidence", _probability(self.confidence))


@dataclass(frozen=True)
class Prediction:
    """What a checkpoint read in a picture, and how it was asked.

    `tokens` are the label tokens, `latex` the string for people, `confidence` a probability from 0 to 1,
    `checkpoint` the checkpoint's reference, `decoding` the fields of the decoding settings as JSON values.
    `made_at` is set by the store; predictions that differ in nothing else are equal.
    """

    latex: str
    checkpoint: str
    tokens: tuple[str, ...] = ()
    confidence: float | None = None
    alternatives: tuple[Alternative, ...] = ()
    decoding: Mapping[str, Any] = field(default_factory=dict)
    made_at: datetime | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "confidence", _probability(self.confidence))
        object.__setattr__(self, "tokens", tuple(self.tokens))
        object.__setattr__(self, "alternatives", tuple(self.alternatives))
        try:  # as it will be read back: tuples as lists
            decoding = json.loads(json.dumps(dict(self.decoding), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise StoreError(f"Decoding settings must be JSON values: {error}.") from error
        object.__setattr__(self, "decoding", decoding)


@dataclass(frozen=True)
class Annotation:
    """One picture with what was predicted and what somebody says it is.

    `correction` is the LaTeX as typed and `tokens` its normal form; both are None while there is none, and `tokens`
    also while a draft is not well-formed.
    `prediction` is the one that the correction is about. `annotator` and `source` are empty when unknown. Times are
    in UTC.
    """

    id: int
    image_sha256: str
    width_px: int
    height_px: int
    prediction: Prediction | None
    correction: str | None
    tokens: tuple[str, ...] | None
    label_sha256: str | None
    status: Status
    annotator: str
    source: str
    created_at: datetime
    updated_at: datetime
    reason: Reason | None = None  # of a rejected one


@dataclass(frozen=True)
class Reading:
    """An accepted correction's tokens beside the LaTeX that a checkpoint had read before; None where none had.

    created_at: when it was read, which may be long after the picture came; without a reading, when it came.
    """

    tokens: tuple[str, ...]
    latex: str | None
    checkpoint: str | None
    created_at: datetime


@dataclass(frozen=True)
class Change:
    """One step in the history of an annotation, by `annotator`; `undoes` names the change that it takes back.

    `before` and `after` are the annotation's correction, status, reason, annotator, source and so on; None where the
    annotation was not there.
    """

    id: int
    annotation_id: int
    annotator: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    undoes: int | None
    made_at: datetime

    @property
    def summary(self) -> str:
        """What happened, in a few words."""
        if self.before is None:
            what = "added"
        elif self.after is None:
            what = "deleted"
        else:
            names = ("correction", "status", "reason", "annotator")
            what = ", ".join(
                f"{name}: {self.before[name] or 'none'} -> {self.after[name] or 'none'}"
                for name in names
                if self.before[name] != self.after[name]
            )
        return what if self.undoes is None else f"undone, so {what}"


@dataclass(frozen=True)
class Saved:
    """The outcome of a save: `created` is False when the annotation was there already.

    `completed`: it was there, open or decided otherwise, and is now accepted.
    """

    annotation: Annotation
    created: bool
    completed: bool = False


@dataclass(frozen=True)
class Selection:
    """Which annotations: None means any. `since` is included, `until` is not; both are times of creation, and
    `changed_since` is of the last change.

    A time without a zone is local time. `latex` is looked for in what was typed, in its normal form and in the
    prediction; `symbol` is one token of the normal form. Capitals matter in both. `picture` is an `image_sha256`.
    `not_read_by`: ids of checkpoints; what was corrected beside an answer of theirs is left out.
    """

    statuses: tuple[Status | str, ...] | None = None
    annotator: str | None = None
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    latex: str | None = None
    symbol: str | None = None
    picture: str | None = None
    changed_since: datetime | None = None
    not_read_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given: object = self.statuses
        if isinstance(given, str):  # a lone name would be taken apart into letters
            object.__setattr__(self, "statuses", (given,))
        if self.statuses is not None:
            object.__setattr__(self, "statuses", tuple(Status.of(name) for name in self.statuses))
        for bound in ("since", "until", "changed_since"):
            time = getattr(self, bound)
            if time is not None:
                object.__setattr__(self, bound, _in_utc(time))


def _in_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except (OverflowError, OSError, ValueError) as error:  # the last years of the calendar, or before the first
        raise StoreError(f"{time:%Y-%m-%d} is no day that anything here was made on.") from error


def _probability(confidence: float | None) -> float | None:
    """A plain float, whatever array library it comes from; raises StoreError unless from 0 to 1."""
    if confidence is None:
        return None
    if not 0 <= confidence <= 1:
        raise StoreError(f"A confidence is a probability from 0 to 1, not {confidence}.")
    return float(confidence)
