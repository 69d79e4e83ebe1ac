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
    """

    latex: str
    checkpoint: str
    tokens: tuple[str, ...] = ()
    confidence: float | None = None
    alternatives: tuple[Alternative, ...] = ()
    decoding: Mapping[str, Any] = field(default_factory=dict)

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

    `correction` is the LaTeX as typed and `tokens` its normal form; both are None while there is none.
    `annotator` and `source` are empty when unknown. Times are in UTC.
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


@dataclass(frozen=True)
class Saved:
    """The outcome of a save: `created` is False when the very same annotation was there already."""

    annotation: Annotation
    created: bool


@dataclass(frozen=True)
class Selection:
    """Which annotations: None means any. `since` is included, `until` is not; both are times of creation.

    A time without a zone is local time.
    """

    statuses: tuple[Status | str, ...] | None = None
    annotator: str | None = None
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        given: object = self.statuses
        if isinstance(given, str):  # a lone name would be taken apart into letters
            object.__setattr__(self, "statuses", (given,))
        if self.statuses is not None:
            object.__setattr__(self, "statuses", tuple(Status.of(name) for name in self.statuses))
        for bound in ("since", "until"):
            time = getattr(self, bound)
            if time is not None:
                object.__setattr__(self, bound, time.astimezone(UTC))


def _probability(confidence: float | None) -> float | None:
    """A plain float, whatever array library it comes from; raises StoreError unless from 0 to 1."""
    if confidence is None:
        return None
    if not 0 <= confidence <= 1:
        raise StoreError(f"A confidence is a probability from 0 to 1, not {confidence}.")
    return float(confidence)
