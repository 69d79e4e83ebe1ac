"""One annotation as a row of text fields, the same in every file format, and back.

latex       the normal form, tokens separated by spaces: what a model trains on
writer      the annotator
split       train or held_out, fixed by the formula
source, status, reason
created_at  ISO 8601, with its zone
typed       what was typed, where it differs from `latex` and the format can hold it
prediction  the prediction that it corrects, as JSON
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from annotations.pictures import ImageLike
from annotations.records import Alternative, Annotation, Prediction, Reason, Saved, Status
from annotations.rows import Label
from annotations.store import AnnotationStore
from annotations.strokes import Strokes
from hmer.errors import DatasetError, LatexError

FIELDS = ("latex", "writer", "split", "source", "status", "reason", "created_at", "typed", "prediction")
TRAIN, HELD_OUT = "train", "held_out"


def split_of(label_sha256: str, held_out_share: float) -> str:
    """The split of a formula: fixed by its normalised label, whoever wrote it and whatever else is exported.

    A formula held out at one share is held out at every larger one.
    """
    return HELD_OUT if int(label_sha256[:16], 16) < held_out_share * 16**16 else TRAIN


def to_fields(annotation: Annotation, held_out_share: float) -> dict[str, str]:
    """The fields of an annotation that has a correction."""
    assert annotation.tokens is not None and annotation.label_sha256 is not None and annotation.correction is not None
    latex = " ".join(annotation.tokens)
    return {
        "latex": latex,
        "writer": annotation.annotator,
        "split": split_of(annotation.label_sha256, held_out_share),
        "source": annotation.source,
        "status": str(annotation.status),
        "reason": annotation.reason or "",
        "created_at": annotation.created_at.isoformat(),
        "typed": "" if annotation.correction == latex else annotation.correction,
        "prediction": "" if annotation.prediction is None else json.dumps(_prediction_fields(annotation.prediction)),
    }


@dataclass(frozen=True)
class Entry:
    """One row of a file that is imported: its name for messages, picture, fields and strokes."""

    name: str
    image: ImageLike
    fields: Mapping[str, str]
    strokes: Strokes | None = field(default=None, repr=False)


def save(
    store: AnnotationStore, entry: Entry, *, status: Status | None, annotator: str = "", source: str = ""
) -> Saved:
    """Save a row; `status` None takes the row's own, or accepted; annotator and source are for rows without.

    Raises DatasetError, BadImage, BadInk, LatexError or StoreError, and then nothing was saved.
    """
    fields = entry.fields
    latex = fields.get("latex") or fields.get("text", "")
    wanted = status or Status.of(fields.get("status") or Status.ACCEPTED)
    why = fields.get("reason") if wanted is Status.REJECTED else None
    made = fields.get("created_at")
    return store.add(
        entry.image,
        prediction=_read_prediction(fields.get("prediction")),
        correction=_typed(latex, fields.get("typed")),
        status=wanted,
        reason=Reason.of(why) if why else None,
        annotator=fields.get("writer") or annotator,
        source=fields.get("source") or source,
        strokes=entry.strokes,
        created_at=_read_time(made) if made else None,
    )


def _typed(latex: str, typed: str | None) -> str:
    """What was typed, unless somebody has changed the LaTeX since."""
    if typed:
        try:
            if Label(typed).sha256 == Label(latex).sha256:
                return typed
        except LatexError:
            pass
    return latex


def _read_time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:  # the latter: no year in UTC
        raise DatasetError(f"{text[:40]!r} is not a time such as 2026-11-30T18:00:00+00:00.") from error


def _prediction_fields(prediction: Prediction) -> dict[str, Any]:
    return {
        "latex": prediction.latex,
        "checkpoint": prediction.checkpoint,
        "tokens": prediction.tokens,
        "confidence": prediction.confidence,
        "alternatives": [{"latex": other.latex, "confidence": other.confidence} for other in prediction.alternatives],
        "decoding": prediction.decoding,
        "made_at": None if prediction.made_at is None else prediction.made_at.isoformat(),
    }


def _read_prediction(text: str | None) -> Prediction | None:
    if not text:
        return None
    try:
        value = json.loads(text)
        return Prediction(
            latex=str(value["latex"]),
            checkpoint=str(value["checkpoint"]),
            tokens=tuple(str(token) for token in value.get("tokens", ())),
            confidence=value.get("confidence"),
            alternatives=tuple(
                Alternative(str(other["latex"]), other.get("confidence")) for other in value.get("alternatives", ())
            ),
            decoding=dict(value.get("decoding", {})),
            made_at=_read_time(str(value["made_at"])) if value.get("made_at") else None,
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DatasetError(f"prediction: is not what an export writes ({error}).") from error
