"""The tables of the annotation store.

    image  1 --- n  prediction     what each checkpoint read in the picture
      1  1              1
      |  |              |
      |  n              n
      |  annotation --- +          what a person says it is, beside the prediction that the person saw
      n
    change                         who made, changed or removed an annotation: what it was and what it became

A change here needs a new file in migrations/versions; a test compares the two.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

NAME_CHARS = 200  # a bound for annotator, source and checkpoint; PostgreSQL cannot index much more


class UtcDateTime(TypeDecorator[datetime]):
    """Times with a zone, kept in UTC: SQLite would drop the zone and hand back a naive time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The declarative base; its naming rule lets later migrations find a constraint by name."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Image(Base):
    """A picture, once, however often it was handed in; `sha256` is over its pixels, not over its encoding."""

    __tablename__ = "image"
    # Holds all that near duplicates are looked for by: the table's rows carry the pictures.
    __table_args__ = (Index(None, "created_at", "fingerprint", "sha256"),)

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    media_type: Mapped[str] = mapped_column(String(64))
    width_px: Mapped[int]
    height_px: Mapped[int]
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    fingerprint: Mapped[str] = mapped_column(String(64), server_default="")  # annotations.fingerprint
    strokes: Mapped[str | None] = mapped_column(Text, deferred=True)  # annotations.strokes, as JSON


class Prediction(Base):
    """What one checkpoint read in a picture."""

    __tablename__ = "prediction"
    __table_args__ = (CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    image_sha256: Mapped[str] = mapped_column(ForeignKey("image.sha256", ondelete="CASCADE"), index=True)
    checkpoint: Mapped[str] = mapped_column(String(NAME_CHARS))
    tokens: Mapped[str] = mapped_column(Text)  # separated by spaces
    latex: Mapped[str] = mapped_column(Text)
    confidence: Mapped[float | None]
    alternatives: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    decoding: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Annotation(Base):
    """What somebody says a picture is.

    `label_sha256` is over the normalised tokens and empty while there is no correction. It makes an equal
    annotation the same row (NULLs would not), stays short enough to index, and fixes the held-out share.
    """

    __tablename__ = "annotation"
    __table_args__ = (
        UniqueConstraint("image_sha256", "label_sha256", "annotator"),
        CheckConstraint(
            "status IN ('draft', 'pending', 'accepted', 'rejected', 'skipped')",
            name="status",
        ),
        CheckConstraint("status <> 'accepted' OR correction IS NOT NULL", name="accepted_has_correction"),
        CheckConstraint("(correction IS NULL) = (label_sha256 = '')", name="label_of_correction"),
        Index(None, "status", "created_at"),
        Index(None, "created_at", "id"),
        {"sqlite_autoincrement": True},  # an id is never given twice, so a stale one cannot meet another row
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    image_sha256: Mapped[str] = mapped_column(ForeignKey("image.sha256"))
    prediction_id: Mapped[int | None] = mapped_column(ForeignKey("prediction.id", ondelete="SET NULL"), index=True)
    correction: Mapped[str | None] = mapped_column(Text)  # as typed
    tokens: Mapped[str | None] = mapped_column(Text)  # its normal form, separated by spaces
    label_sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))
    annotator: Mapped[str] = mapped_column(String(NAME_CHARS))
    source: Mapped[str] = mapped_column(String(NAME_CHARS))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    reason: Mapped[str | None] = mapped_column(
        String(32), CheckConstraint("reason IS NULL OR status = 'rejected'", name="reason")
    )

    image: Mapped[Image] = relationship(lazy="joined", innerjoin=True)
    prediction: Mapped[Prediction | None] = relationship(lazy="joined")


class Change(Base):
    """One step in the history of an annotation, which may be gone: no key leads to it, and purging takes both.

    `before` and `after` hold the annotation's columns; None where it was not there.
    """

    __tablename__ = "change"
    __table_args__ = (
        CheckConstraint("before IS NOT NULL OR after IS NOT NULL", name="changes_something"),
        Index(None, "annotator", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    image_sha256: Mapped[str] = mapped_column(ForeignKey("image.sha256", ondelete="CASCADE"), index=True)
    annotation_id: Mapped[int] = mapped_column(index=True)
    annotator: Mapped[str] = mapped_column(String(NAME_CHARS))  # who did it
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    undoes: Mapped[int | None] = mapped_column(ForeignKey("change.id", ondelete="CASCADE"), index=True)
    made_at: Mapped[datetime] = mapped_column(UtcDateTime)
