"""The annotation store: every save, look-up and change of what people corrected. The only SQL is here.

Each call is one transaction: either all of it is in the database afterwards or nothing.
"""

import contextlib
import hashlib
import io
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import alembic.command
import alembic.util
import PIL.Image
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, ColumnElement, create_engine, delete, func, make_url, select
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from annotations import models, sqlite
from annotations.pictures import ImageLike, Picture, make_picture
from annotations.records import Alternative, Annotation, Prediction, Saved, Selection, Status
from hmer.errors import LatexError, StoreError
from hmer.latex import normalise

ORDERS = {
    "newest": (models.Annotation.created_at.desc(), models.Annotation.id.desc()),
    "oldest": (models.Annotation.created_at, models.Annotation.id),
}

T = TypeVar("T")

_ANYTHING = Selection()
_TOKEN = re.compile(r"\\ |[^ ]+")  # tokens joined by spaces, one of which may be the control space
_NOT_IN_A_NAME = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # breaks labels.tsv
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # no text in UTF-8, or none for PostgreSQL


class AnnotationStore:
    """Annotations in an SQL database, brought to the current schema when it is opened.

    `where` is a path (of an SQLite file, made when missing) or an SQLAlchemy URL. With `create` off a store
    that is not there yet is an error. Safe to share between threads. Raises StoreError.
    """

    def __init__(self, where: str | Path, *, create: bool = True, busy_timeout_s: float = 10.0) -> None:
        self._url = _parse_url(where)
        self.name = self._url.render_as_string(hide_password=True)
        self._file = _sqlite_file(self._url)
        self._busy_timeout_s = busy_timeout_s
        if self._file is not None:
            self.name = str(self._file)
            self._make_room_for(self._file, create)
        settings: dict[str, Any] = {}
        if self._url.get_backend_name() == "sqlite":
            settings["connect_args"] = {"timeout": busy_timeout_s, "check_same_thread": False}
            if self._file is None:  # in memory: one connection is the database, so threads take turns
                settings |= {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0}
        try:
            self._engine = create_engine(self._url, **settings)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise StoreError(
                f"The annotation store {self.name} cannot be used: {error}. "
                "Install the driver for that database (pip install 'hmer[postgres]') or give a path."
            ) from error
        if self._url.get_backend_name() == "sqlite":
            sqlite.prepare_engine(self._engine)
        self._writer = self._engine.execution_options(**{sqlite.WRITE: True})
        try:
            self._upgrade(create)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the store must not be used afterwards."""
        self._engine.dispose()

    # --- saving -------------------------------------------------------------------------------------------

    def add(
        self,
        image: ImageLike,
        *,
        prediction: Prediction | None = None,
        correction: str | None = None,
        status: Status | str = Status.PENDING,
        annotator: str = "",
        source: str = "",
    ) -> Saved:
        """Save a picture with what was predicted and what it should have been.

        The same pixels with the same normalised correction (or none) by the same annotator are saved once:
        the second time the first annotation comes back as it is, with `created` False. Raises BadImage,
        LatexError (ill-formed correction) or StoreError, and then nothing is saved.
        """
        status = Status.of(status)
        label = None if correction is None else _label(correction)
        if status is Status.ACCEPTED and label is None:
            raise StoreError("An annotation cannot be accepted without LaTeX; give the correction too.")
        annotator, source = _name(annotator, "annotator"), _name(source, "source")
        if prediction is not None:
            _check_prediction(prediction)
        picture = make_picture(image)

        def save(session: Session) -> Saved:
            label_sha256 = label.sha256 if label else ""
            same = session.scalar(_same(picture.sha256, label_sha256, annotator))
            if same is not None:
                return Saved(_annotation(same), created=False)
            now = datetime.now(UTC)
            kept = session.get(models.Image, picture.sha256)
            if kept is None:
                kept = _image_row(picture, now)
                session.add(kept)
                session.flush()  # the prediction refers to it by key alone
            row = models.Annotation(
                image=kept,
                prediction=None if prediction is None else _find_or_add(session, picture, prediction, now),
                correction=correction,
                tokens=label.tokens if label else None,
                label_sha256=label_sha256,
                status=status.value,
                annotator=annotator,
                source=source,
                created_at=now,
                updated_at=now,
            )
            session.add(row)
            session.flush()
            return Saved(_annotation(row), created=True)

        return self._write(save)

    def update_correction(
        self, annotation_id: int, correction: str, *, status: Status | str | None = None
    ) -> Annotation:
        """Replace the correction, and the status too if one is given.

        Raises LatexError for ill-formed LaTeX, and StoreError when there is no such annotation or when
        another one already says the same; the old correction then stays.
        """
        label = _label(correction)
        wanted = None if status is None else Status.of(status)

        def update(session: Session) -> Annotation:
            row = _existing(session, annotation_id)
            same = session.scalar(_same(row.image_sha256, label.sha256, row.annotator))
            if same is not None and same is not row:
                raise StoreError(
                    f"Annotation {same.id} already gives this picture the same LaTeX; delete one of the two."
                )
            row.correction, row.tokens, row.label_sha256 = correction, label.tokens, label.sha256
            row.status = row.status if wanted is None else wanted.value
            row.updated_at = datetime.now(UTC)
            return _annotation(row)

        return self._write(update)

    def set_status(self, annotation_id: int, status: Status | str) -> Annotation:
        """Change the status; raises StoreError for an unknown annotation and for accepting without LaTeX."""
        wanted = Status.of(status)

        def update(session: Session) -> Annotation:
            row = _existing(session, annotation_id)
            if wanted is Status.ACCEPTED and row.correction is None:
                raise StoreError(f"Annotation {row.id} cannot be accepted without LaTeX; correct it first.")
            row.status, row.updated_at = wanted.value, datetime.now(UTC)
            return _annotation(row)

        return self._write(update)

    def delete(self, annotation_id: int) -> None:
        """Remove an annotation, and its picture and predictions when no other annotation needs them."""

        def remove(session: Session) -> None:
            row = _existing(session, annotation_id)
            sha256 = row.image_sha256
            session.delete(row)
            session.flush()
            needed = select(models.Annotation.id).where(models.Annotation.image_sha256 == sha256).exists()
            session.execute(
                delete(models.Image).where(models.Image.sha256 == sha256, ~needed),
                execution_options={"synchronize_session": False},
            )

        self._write(remove)

    # --- looking up ---------------------------------------------------------------------------------------

    def get(self, annotation_id: int) -> Annotation:
        """The annotation of that number; raises StoreError if there is none."""
        with self._transaction() as session:
            return _annotation(_existing(session, annotation_id))

    def find(
        self,
        selection: Selection = _ANYTHING,
        *,
        order: str = "newest",
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Annotation]:
        """The selected annotations, `order` being one of ORDERS; `limit` and `offset` cut out a page."""
        if order not in ORDERS:
            raise StoreError(f"There is no order {order!r}; choose from {', '.join(ORDERS)}.")
        query = select(models.Annotation).where(*_conditions(selection)).order_by(*ORDERS[order])
        with self._transaction() as session:
            return [_annotation(row) for row in session.scalars(query.limit(limit).offset(offset))]

    def count(self, selection: Selection = _ANYTHING) -> int:
        """How many annotations are selected."""
        query = select(func.count()).select_from(models.Annotation).where(*_conditions(selection))
        with self._transaction() as session:
            return session.scalar(query) or 0

    def count_by_status(self, selection: Selection = _ANYTHING) -> dict[Status, int]:
        """How many selected annotations have each status; every status is a key."""
        status = models.Annotation.status
        query = select(status, func.count()).where(*_conditions(selection)).group_by(status)
        with self._transaction() as session:
            counted = {name: count for name, count in session.execute(query)}  # noqa: C416 - a Row is no pair to mypy
        return {status: counted.get(status.value, 0) for status in Status}

    def image(self, annotation_id: int) -> PIL.Image.Image:
        """The picture of an annotation, upright and without metadata."""
        with self._transaction() as session:
            content = _existing(session, annotation_id).image.content
        picture = PIL.Image.open(io.BytesIO(content))
        picture.load()
        return picture

    def corrected(self, selection: Selection = _ANYTHING) -> Iterator[tuple[Annotation, bytes]]:
        """The selected annotations that have a correction, oldest first, each with its picture's PNG bytes.

        One consistent view of the database, read piece by piece: do not save from inside the loop.
        """
        query = (
            select(models.Annotation, models.Image.content)
            .join(models.Annotation.image)
            .where(models.Annotation.correction.is_not(None), *_conditions(selection))
            .order_by(*ORDERS["oldest"])
            .execution_options(yield_per=100)
        )
        with self._transaction() as session:
            for row, content in session.execute(query):
                yield _annotation(row), content

    # --- backup -------------------------------------------------------------------------------------------

    def backup(self, path: str | Path) -> None:
        """Write a copy of the whole store to one SQLite file, while the store stays in use.

        Raises StoreError, also for a store on a database server (which has tools of its own).
        """
        path = Path(path).absolute()
        with self._raw_connection() as connection, _explained(f"backup {path}"):
            sqlite.copy_to_file(connection, path)

    def restore(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Replace the whole store by a backup, which is checked and brought to the current schema first.

        Raises StoreError when the store holds annotations and `overwrite` is off, and when the file is no
        sound backup; the store is then as before.
        """
        path = Path(path).absolute()
        held = self.count()
        if held and not overwrite:
            raise StoreError(
                f"The annotation store {self.name} holds {held} annotations, which restoring would replace; "
                "back it up, then ask for overwriting."
            )
        if not path.is_file():
            raise StoreError(f"There is no backup at {path}; check the path.")
        with tempfile.TemporaryDirectory() as folder:
            copied = Path(folder) / path.name  # the backup itself stays as it is
            with _explained(f"backup {path}"), contextlib.closing(sqlite3.connect(path)) as kept:
                sqlite.copy_to_file(kept, copied)
            with AnnotationStore(copied, create=False) as source:
                source.check()
                with source._raw_connection() as content, self._raw_connection() as connection:
                    sqlite.copy(content, connection)

    def check(self) -> None:
        """Read an SQLite store from end to end; raises StoreError when it is damaged."""
        with self._raw_connection() as connection:
            faults = [fault for (fault,) in connection.execute("PRAGMA quick_check")]
        if faults != ["ok"]:
            raise StoreError(f"The annotation store {self.name} is damaged ({faults[0]}); restore a backup.")

    # --- machinery ----------------------------------------------------------------------------------------

    def _write(self, work: Callable[[Session], T]) -> T:
        """Do the work in a writing transaction, again if somebody else saved the same meanwhile."""
        attempts = 3
        for attempt in range(attempts):
            try:
                with self._transaction(write=True) as session:
                    return work(session)
            except IntegrityError as error:
                if attempt == attempts - 1:
                    raise StoreError(
                        f"The annotation store {self.name} refused ({error.orig}). Nothing was saved."
                    ) from error
        raise AssertionError("unreachable")

    @contextlib.contextmanager
    def _transaction(self, *, write: bool = False) -> Iterator[Session]:
        with _explained(f"annotation store {self.name}", nothing_saved=write):
            engine = self._writer if write else self._engine
            with Session(engine, expire_on_commit=False) as session, session.begin():
                yield session

    @contextlib.contextmanager
    def _raw_connection(self) -> Iterator[sqlite3.Connection]:
        if self._url.get_backend_name() != "sqlite":
            raise StoreError(
                f"The annotation store {self.name} is no SQLite file; use its server's own backup (pg_dump)."
            )
        with (
            _explained(f"annotation store {self.name}"),
            contextlib.closing(self._engine.raw_connection()) as pooled,
        ):
            yield pooled.driver_connection  # type: ignore[misc]

    def _make_room_for(self, file: Path, create: bool) -> None:
        if not create and not file.exists():
            raise StoreError(f"There is no annotation store at {file}; check the path.")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The folder {file.parent} for the annotation store cannot be made ({error.strerror}); "
                "choose a folder that you can write to."
            ) from error

    def _upgrade(self, create: bool) -> None:
        """Bring the schema up to date in one transaction, and do nothing when it is."""
        migrations = Config()
        # Config reads % as the start of a reference.
        folder = str(Path(__file__).parent / "migrations").replace("%", "%%")
        migrations.set_main_option("script_location", folder)
        script = ScriptDirectory.from_config(migrations)
        with _explained(f"annotation store {self.name}"):
            if self._url.get_backend_name() == "sqlite":
                with self._raw_connection() as raw:
                    sqlite.use_wal(raw, self._busy_timeout_s)
            with self._engine.begin() as connection:
                revision = MigrationContext.configure(connection).get_current_revision()
            if revision == script.get_current_head():
                return
            if revision is None and not create:
                raise StoreError(f"{self.name} is not an annotation store; check the path.")
            with self._writer.begin() as connection:
                migrations.attributes["connection"] = connection
                try:
                    alembic.command.upgrade(migrations, "head")
                except alembic.util.CommandError as error:
                    raise StoreError(
                        f"The annotation store {self.name} was written by a newer version of hmer "
                        f"(schema {revision}); update hmer."
                    ) from error


@contextlib.contextmanager
def _explained(what: str, *, nothing_saved: bool = False) -> Iterator[None]:
    """Turn what the database raises into a StoreError that a person can act on."""
    try:
        yield
    except IntegrityError:
        raise
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        cause = getattr(error, "orig", None) or error
        why = sqlite.reason(cause) or f"cannot be used ({' '.join(str(cause).split())})"
        raise StoreError(f"The {what} {why}.{' Nothing was saved.' if nothing_saved else ''}") from error


# --- between rows and records -----------------------------------------------------------------------------


class _Label:
    """A correction's normal form: tokens joined by spaces, and a short name for it."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = " ".join(tokens)
        self.sha256 = hashlib.sha256(self.tokens.encode()).hexdigest()


def _label(correction: str) -> _Label:
    unstorable = _UNSTORABLE.search(correction)
    if unstorable:
        raise LatexError("A character that cannot be stored stands here; remove it.", *unstorable.span())
    tokens = normalise(correction)
    if not tokens:
        raise LatexError("There is no LaTeX here; type the formula.", 0, len(correction))
    return _Label(tokens)


def _name(text: str, what: str) -> str:
    """A name fit for one field of a table of text."""
    if len(text) > models.NAME_CHARS:
        raise StoreError(f"The {what} has {len(text)} characters; at most {models.NAME_CHARS} are kept.")
    if _NOT_IN_A_NAME.search(text):
        raise StoreError(f"The {what} {text!r} holds a line break or control character; use one plain line.")
    return text


def _check_prediction(prediction: Prediction) -> None:
    _name(prediction.checkpoint, "checkpoint")
    others = (other.latex for other in prediction.alternatives)
    if any(_UNSTORABLE.search(text) for text in (prediction.latex, *prediction.tokens, *others)):
        raise StoreError("The prediction holds a character that cannot be stored; read the picture again.")


def _split(tokens: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(tokens))


def _same(image_sha256: str, label_sha256: str, annotator: str) -> Any:
    return select(models.Annotation).where(
        models.Annotation.image_sha256 == image_sha256,
        models.Annotation.label_sha256 == label_sha256,
        models.Annotation.annotator == annotator,
    )


def _existing(session: Session, annotation_id: int) -> models.Annotation:
    row = session.get(models.Annotation, annotation_id)
    if row is None:
        raise StoreError(f"There is no annotation {annotation_id}; it may have been deleted.")
    return row


def _conditions(selection: Selection) -> list[ColumnElement[bool]]:
    table = models.Annotation
    conditions: list[ColumnElement[bool]] = []
    if selection.statuses is not None:
        conditions.append(table.status.in_([str(status) for status in selection.statuses]))
    if selection.annotator is not None:
        conditions.append(table.annotator == selection.annotator)
    if selection.source is not None:
        conditions.append(table.source == selection.source)
    if selection.since is not None:
        conditions.append(table.created_at >= selection.since)
    if selection.until is not None:
        conditions.append(table.created_at < selection.until)
    return conditions


def _image_row(picture: Picture, now: datetime) -> models.Image:
    return models.Image(
        sha256=picture.sha256,
        media_type=picture.media_type,
        width_px=picture.width_px,
        height_px=picture.height_px,
        content=picture.content,
        created_at=now,
    )


def _find_or_add(session: Session, picture: Picture, prediction: Prediction, now: datetime) -> models.Prediction:
    """The row of this prediction: one that says the same of the same picture is shared."""
    alike = select(models.Prediction).where(
        models.Prediction.image_sha256 == picture.sha256,
        models.Prediction.checkpoint == prediction.checkpoint,
        models.Prediction.latex == prediction.latex,
    )
    for row in session.scalars(alike):
        if _prediction(row) == prediction:
            return row
    return models.Prediction(
        image_sha256=picture.sha256,
        checkpoint=prediction.checkpoint,
        tokens=" ".join(prediction.tokens),
        latex=prediction.latex,
        confidence=prediction.confidence,
        alternatives=[{"latex": other.latex, "confidence": other.confidence} for other in prediction.alternatives],
        decoding=dict(prediction.decoding),
        created_at=now,
    )


def _prediction(row: models.Prediction) -> Prediction:
    return Prediction(
        latex=row.latex,
        checkpoint=row.checkpoint,
        tokens=_split(row.tokens),
        confidence=row.confidence,
        alternatives=tuple(Alternative(other["latex"], other["confidence"]) for other in row.alternatives),
        decoding=row.decoding,
    )


def _annotation(row: models.Annotation) -> Annotation:
    return Annotation(
        id=row.id,
        image_sha256=row.image_sha256,
        width_px=row.image.width_px,
        height_px=row.image.height_px,
        prediction=None if row.prediction is None else _prediction(row.prediction),
        correction=row.correction,
        tokens=None if row.tokens is None else _split(row.tokens),
        label_sha256=row.label_sha256 or None,
        status=Status(row.status),
        annotator=row.annotator,
        source=row.source,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _parse_url(where: str | Path) -> URL:
    if isinstance(where, str) and "://" in where:
        try:
            return make_url(where)
        except ArgumentError as error:
            raise StoreError(f"{where!r} is not an SQLAlchemy URL; give one, or a path.") from error
    return URL.create("sqlite", database=str(Path(where).expanduser().absolute()))


def _sqlite_file(url: URL) -> Path | None:
    """The file of an SQLite database; None for one in memory, one named by a URI, and other databases."""
    name = url.database
    if url.get_backend_name() != "sqlite" or not name or name == ":memory:" or name.startswith("file:"):
        return None
    return Path(name).absolute()
