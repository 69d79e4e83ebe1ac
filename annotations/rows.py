"""Between the tables' rows and the records that leave the store, and from a Selection to conditions. No session here."""

import contextlib
import hashlib
import re
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select

from annotations import models
from annotations.fingerprint import fingerprint
from annotations.pictures import Picture
from annotations.records import Alternative, Annotation, Change, Prediction, Reading, Reason, Selection, Status
from hmer.errors import LatexError, StoreError
from hmer.latex import normalise

_TOKEN = re.compile(r"\\ |[^ ]+")  # tokens joined by spaces, one of which may be the control space
_NOT_IN_A_NAME = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # breaks labels.tsv
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # no text in UTF-8, or none for PostgreSQL

# The confidence and the LaTeX of the prediction that an annotation is about.
_SEEN = models.Prediction.id == models.Annotation.prediction_id
CONFIDENCE = select(models.Prediction.confidence).where(_SEEN).correlate(models.Annotation).scalar_subquery()
_READER = select(models.Prediction.checkpoint).where(_SEEN).correlate(models.Annotation).scalar_subquery()
_PREDICTED = select(models.Prediction.latex).where(_SEEN).correlate(models.Annotation).scalar_subquery()

ORDERS: dict[str, tuple[Any, ...]] = {
    "newest": (models.Annotation.created_at.desc(), models.Annotation.id.desc()),
    "oldest": (models.Annotation.created_at, models.Annotation.id),
    "least confident": (CONFIDENCE.nulls_first(), models.Annotation.id),
    "most confident": (CONFIDENCE.desc().nulls_last(), models.Annotation.id),
    "random": (func.random(),),
}


class Label:
    """A correction's normal form: tokens joined by spaces, and a short name for it. Raises LatexError.

    A draft keeps whatever was typed: what is not well-formed yet has no tokens and is known by its text.
    """

    tokens: str | None

    def __init__(self, correction: str, *, draft: bool = False) -> None:
        unstorable = _UNSTORABLE.search(correction)
        if unstorable:
            raise LatexError("A character that cannot be stored stands here; remove it.", *unstorable.span())
        try:
            tokens = normalise(correction)
            if not tokens:
                raise LatexError("There is no LaTeX here; type the formula.", 0, len(correction))
            self.tokens = " ".join(tokens)
        except LatexError:
            if not draft or not correction.strip():
                raise
            self.tokens = None
        self.sha256 = hashlib.sha256((self.tokens or correction).encode()).hexdigest()


def checked_name(text: str, what: str) -> str:
    """A name fit for one field of a table of text. Raises StoreError."""
    if len(text) > models.NAME_CHARS:
        raise StoreError(f"The {what} has {len(text)} characters; at most {models.NAME_CHARS} are kept.")
    if _NOT_IN_A_NAME.search(text):
        raise StoreError(f"The {what} {text!r} holds a line break or control character; use one plain line.")
    return text


def check_prediction(prediction: Prediction) -> None:
    """Raises StoreError for a prediction that cannot be kept."""
    checked_name(prediction.checkpoint, "checkpoint")
    others = (other.latex for other in prediction.alternatives)
    if any(_UNSTORABLE.search(text) for text in (prediction.latex, *prediction.tokens, *others)):
        raise StoreError("The prediction holds a character that cannot be stored; read the picture again.")


def conditions(selection: Selection) -> list[ColumnElement[bool]]:
    """What a selected annotation fulfils."""
    table = models.Annotation
    found: list[ColumnElement[bool]] = []
    if selection.statuses is not None:
        found.append(table.status.in_([str(status) for status in selection.statuses]))
    if selection.picture is not None:
        found.append(table.image_sha256 == selection.picture)
    if selection.annotator is not None:
        found.append(table.annotator == _storable(selection.annotator))
    if selection.source is not None:
        found.append(table.source == _storable(selection.source))
    if selection.since is not None:
        found.append(table.created_at >= selection.since)
    if selection.changed_since is not None:
        found.append(table.updated_at >= selection.changed_since)
    if selection.until is not None:
        found.append(table.created_at < selection.until)
    if selection.latex is not None:
        text = _storable(selection.latex)
        places = [_contains(table.correction, text), _contains(_PREDICTED, text)]
        with contextlib.suppress(LatexError):  # a piece of a formula is found where it was typed so
            places.append(_contains(" " + table.tokens + " ", f" {' '.join(normalise(text))} "))
        found.append(or_(*places))
    if selection.symbol is not None:
        found.append(_contains(" " + table.tokens + " ", f" {_storable(selection.symbol)} "))
    if selection.not_read_by:
        found.append(func.coalesce(_READER, "").not_in(selection.not_read_by))
    return found


def _storable(text: str) -> str:
    """Text that may be asked for; what cannot be stored is looked for in vain."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _contains(text: Any, part: str) -> ColumnElement[bool]:
    """Whether a text holds a part, capitals told apart; LIKE and its wildcards differ between databases."""
    return func.replace(text, part, "") != text  # type: ignore[no-any-return]


def same_annotation(image_sha256: str, label_sha256: str, annotator: str) -> Select[models.Annotation]:
    """The annotation that would be joined with one of this picture, label and annotator."""
    return select(models.Annotation).where(
        models.Annotation.image_sha256 == image_sha256,
        models.Annotation.label_sha256 == label_sha256,
        models.Annotation.annotator == annotator,
    )


def open_annotation(image_sha256: str, annotator: str) -> Select[models.Annotation]:
    """What waits for this annotator's decision on a picture: a draft, or what has no correction yet; signed ones first."""
    table = models.Annotation
    open_statuses = [str(Status.DRAFT), str(Status.PENDING)]
    return (
        select(table)
        .where(table.image_sha256 == image_sha256, table.annotator.in_({annotator, ""}))
        .where(table.status.in_(open_statuses), or_(table.status == str(Status.DRAFT), table.correction.is_(None)))
        .order_by(table.annotator.desc(), table.id)
        .limit(1)
    )


def own_decision(image_sha256: str, annotator: str, source: str) -> Select[models.Annotation]:
    """What this annotator last accepted for a picture, from the same source."""
    table = models.Annotation
    return (
        select(table)
        .where(table.image_sha256 == image_sha256, table.annotator == annotator, table.source == source)
        .where(table.status == str(Status.ACCEPTED))
        .order_by(table.updated_at.desc(), table.id.desc())
        .limit(1)
    )


def put_label(row: models.Annotation, correction: str | None, label: Label) -> None:
    """Give an annotation its LaTeX."""
    row.correction, row.tokens, row.label_sha256 = correction, label.tokens, label.sha256


# --- to rows ----------------------------------------------------------------------------------------------


def image_row(picture: Picture, now: datetime) -> models.Image:
    """The row of a new picture."""
    return models.Image(
        sha256=picture.sha256,
        media_type=picture.media_type,
        width_px=picture.width_px,
        height_px=picture.height_px,
        content=picture.content,
        fingerprint=fingerprint(picture.open()),
        created_at=now,
    )


def prediction_row(image_sha256: str, prediction: Prediction, now: datetime) -> models.Prediction:
    """The row of a new prediction."""
    return models.Prediction(
        image_sha256=image_sha256,
        checkpoint=prediction.checkpoint,
        tokens=" ".join(prediction.tokens),
        latex=prediction.latex,
        confidence=prediction.confidence,
        alternatives=[{"latex": other.latex, "confidence": other.confidence} for other in prediction.alternatives],
        decoding=dict(prediction.decoding),
        created_at=prediction.made_at or now,
    )


_STATE = ("prediction_id", "correction", "tokens", "label_sha256", "status", "reason", "annotator", "source")


def state_of(row: models.Annotation) -> dict[str, Any]:
    """An annotation as the history keeps it: JSON values."""
    state: dict[str, Any] = {name: getattr(row, name) for name in _STATE}
    return {**state, "created_at": row.created_at.isoformat()}


def put_state(row: models.Annotation, state: dict[str, Any]) -> None:
    """Bring an annotation back to what the history says it was."""
    for name in _STATE:
        setattr(row, name, state[name])
    row.created_at = datetime.fromisoformat(state["created_at"])


def same_state(row: models.Annotation | None, state: dict[str, Any] | None) -> bool:
    """Whether nobody has changed an annotation since; what checkpoints predicted may have changed."""
    if row is None or state is None:
        return row is None and state is None
    return {**state_of(row), "prediction_id": None} == {**state, "prediction_id": None}


# --- from rows --------------------------------------------------------------------------------------------


def reading_of(row: Any) -> Reading:
    """The record of an accepted correction's tokens, the LaTeX read, its checkpoint, and when."""
    return Reading(split_tokens(row.tokens), row.latex, row.checkpoint, row.created_at)


def prediction_of(row: models.Prediction) -> Prediction:
    """The record of a prediction's row."""
    return Prediction(
        latex=row.latex,
        checkpoint=row.checkpoint,
        tokens=split_tokens(row.tokens),
        confidence=row.confidence,
        alternatives=tuple(Alternative(other["latex"], other["confidence"]) for other in row.alternatives),
        decoding=row.decoding,
        made_at=row.created_at,
    )


def annotation_of(row: models.Annotation) -> Annotation:
    """The record of an annotation's row."""
    return Annotation(
        id=row.id,
        image_sha256=row.image_sha256,
        width_px=row.image.width_px,
        height_px=row.image.height_px,
        prediction=None if row.prediction is None else prediction_of(row.prediction),
        correction=row.correction,
        tokens=None if row.tokens is None else split_tokens(row.tokens),
        label_sha256=row.label_sha256 or None,
        status=Status(row.status),
        annotator=row.annotator,
        source=row.source,
        created_at=row.created_at,
        updated_at=row.updated_at,
        reason=None if row.reason is None else Reason(row.reason),
    )


def change_of(row: models.Change) -> Change:
    """The record of a change's row."""
    return Change(row.id, row.annotation_id, row.annotator, row.before, row.after, row.undoes, row.made_at)


def split_tokens(tokens: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(tokens))
