"""The annotation store: every save, look-up and change of what people corrected. All queries are here.

Each call is one transaction: either all of it is in the database afterwards or nothing.
"""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import PIL.Image
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, aliased

from annotations import models
from annotations.database import Database
from annotations.fingerprint import Known
from annotations.pictures import ImageLike, make_picture, open_picture
from annotations.records import Annotation, Change, Prediction, Reading, Reason, Saved, Selection, Status
from annotations.rows import (
    ORDERS,
    Label,
    annotation_of,
    change_of,
    check_prediction,
    checked_name,
    conditions,
    image_row,
    open_annotation,
    own_decision,
    prediction_of,
    prediction_row,
    put_label,
    put_state,
    reading_of,
    same_annotation,
    same_state,
    split_tokens,
    state_of,
)
from annotations.strokes import Strokes, make_strokes, to_json
from hmer.errors import StoreError

T = TypeVar("T")

_ANYTHING = Selection()
_AT_ONCE = 500  # rows that one statement names


class AnnotationStore:
    """Annotations in an SQL database, brought to the current schema when it is opened.

    `where` is a path (of an SQLite file, made when missing) or an SQLAlchemy URL. With `create` off a store
    that is not there yet is an error. Safe to share between threads. Raises StoreError.
    """

    def __init__(self, where: str | Path, *, create: bool = True, busy_timeout_s: float = 10.0) -> None:
        self._database = Database(where, create=create, busy_timeout_s=busy_timeout_s)
        self.name = self._database.name
        self._lock = threading.Lock()
        self._known = Known()

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
        self._database.close()

    # --- saving -------------------------------------------------------------------------------------------

    def add(
        self,
        image: ImageLike,
        *,
        prediction: Prediction | None = None,
        correction: str | None = None,
        status: Status | str = Status.PENDING,
        reason: Reason | str | None = None,
        annotator: str = "",
        source: str = "",
        strokes: Strokes | None = None,
        created_at: datetime | None = None,
        complete: bool = False,
        amend: bool = False,
    ) -> Saved:
        """Save a picture with what was predicted and what it should have been.

        The same pixels with the same normalised correction (or none) by the same annotator are saved once:
        the second time the first annotation comes back as it is, with `created` False. With `complete` a decision is
        meant: that annotation gets the status, and so does one of the annotator (or unsigned) that was still open,
        being a draft or without LaTeX, instead of a second one beside it; with `amend` also what the annotator accepted
        for this picture before, from the same source: who saves again means to mend it. `strokes` are kept beside the picture;
        `created_at` is for what was made elsewhere, otherwise now. Raises BadImage, BadInk, LatexError (ill-formed
        correction, unless it is a draft) or StoreError, and then nothing is saved.
        """
        status = Status.of(status)
        why = _reason_for(status, reason)
        label = None if correction is None else Label(correction, draft=status is Status.DRAFT)
        if status is Status.ACCEPTED and label is None:
            raise StoreError("An annotation cannot be accepted without LaTeX; give the correction too.")
        annotator, source = checked_name(annotator, "annotator"), checked_name(source, "source")
        if prediction is not None:
            check_prediction(prediction)
        written = None if strokes is None else to_json(make_strokes(strokes))
        picture = make_picture(image)

        def save(session: Session) -> Saved:
            label_sha256 = label.sha256 if label else ""
            now = datetime.now(UTC)
            kept = session.get(models.Image, picture.sha256)
            if kept is None:
                kept = image_row(picture, now)
                session.add(kept)
                session.flush()  # the prediction refers to it by key alone
            if written is not None and kept.strokes is None:
                kept.strokes = written
            read = None if prediction is None else _find_or_add(session, picture.sha256, prediction, now)
            if read is not None:
                session.add(read)  # kept whatever becomes of the annotation: checkpoints are compared by it
            same = session.scalar(
                same_annotation(picture.sha256, label_sha256, annotator).with_for_update(of=models.Annotation)
            )
            if complete and label is not None and (same is None or same.status != status):
                waiting = open_annotation(picture.sha256, annotator).with_for_update(of=models.Annotation)
                open_one = same or session.scalar(waiting)
                if open_one is None and amend:
                    earlier = own_decision(picture.sha256, annotator, source)
                    open_one = session.scalar(earlier.with_for_update(of=models.Annotation))
                if open_one is not None:
                    before = state_of(open_one)
                    if read is not None and (open_one.correction is None or open_one.prediction is None):
                        open_one.prediction = read
                    put_label(open_one, correction, label)
                    open_one.status, open_one.reason, open_one.annotator = status.value, why, annotator
                    open_one.updated_at = now
                    session.flush()
                    _remember(session, picture.sha256, open_one.id, annotator, before, state_of(open_one))
                    return Saved(annotation_of(open_one), created=False, completed=True)
            if same is not None:
                return Saved(annotation_of(same), created=False)
            made = now if created_at is None else created_at.astimezone(UTC)
            row = models.Annotation(
                image=kept,
                prediction=read,
                correction=correction,
                tokens=label.tokens if label else None,
                label_sha256=label_sha256,
                status=status.value,
                reason=why,
                annotator=annotator,
                source=source,
                created_at=made,
                updated_at=made,
            )
            session.add(row)
            session.flush()
            _remember(session, row.image_sha256, row.id, annotator, None, state_of(row))
            return Saved(annotation_of(row), created=True)

        return self._database.write(save)

    def update_correction(
        self,
        annotation_id: int,
        correction: str,
        *,
        status: Status | str | None = None,
        reason: Reason | str | None = None,
        by: str = "",
    ) -> Annotation:
        """Replace the correction, and the status too if one is given, as `by`, who signs it if nobody has.

        Where another annotation already says the same, one that had no correction yet, or was a draft, is joined with
        it: the other one comes back. Raises LatexError for LaTeX that is ill-formed and not to be a draft, and
        StoreError when there is no such annotation or when one with a correction would become a duplicate; the old
        correction then stays.
        """
        wanted = None if status is None else Status.of(status)
        label = Label(correction, draft=wanted is Status.DRAFT)

        def join(session: Session, row: models.Annotation) -> models.Annotation:
            same = session.scalar(same_annotation(row.image_sha256, label.sha256, row.annotator or by))
            if same is None or same is row:
                return row
            if row.correction is not None and row.status != Status.DRAFT:
                raise StoreError(
                    f"Annotation {same.id} already gives this picture the same LaTeX; delete one of the two."
                )
            _remember(session, row.image_sha256, row.id, by, state_of(row), None)
            session.delete(row)
            return same

        def correct(session: Session, row: models.Annotation) -> None:
            row.annotator = row.annotator or by
            put_label(row, correction, label)
            if wanted is not None:
                row.status, row.reason = wanted.value, _reason_for(wanted, reason)

        return self._change(annotation_id, by, correct, join)

    def set_status(
        self, annotation_id: int, status: Status | str, *, reason: Reason | str | None = None, by: str = ""
    ) -> Annotation:
        """Change the status, and the reason for rejecting, as `by`, who signs it if nobody has.

        Raises StoreError for an unknown annotation and for accepting without LaTeX.
        """
        wanted = Status.of(status)
        why = _reason_for(wanted, reason)

        def update(session: Session, row: models.Annotation) -> None:
            if wanted is Status.ACCEPTED and row.tokens is None:
                raise StoreError(f"Annotation {row.id} cannot be accepted without LaTeX; correct it first.")
            row.status, row.reason = wanted.value, why
            if not row.annotator and session.scalar(same_annotation(row.image_sha256, row.label_sha256, by)) is None:
                row.annotator = by

        return self._change(annotation_id, by, update)

    def delete(self, annotation_id: int, *, by: str = "") -> None:
        """Remove an annotation; its history and its picture stay, so that `undo` can bring it back."""
        by = checked_name(by, "annotator")

        def remove(session: Session) -> None:
            row = _existing(session, annotation_id, lock=True)
            _remember(session, row.image_sha256, row.id, by, state_of(row), None)
            session.delete(row)

        self._database.write(remove)

    def add_prediction(self, annotation_id: int, prediction: Prediction) -> Annotation:
        """Keep what a further checkpoint read in an annotation's picture.

        While there is no correction, the annotation is then about this prediction. Raises StoreError.
        """
        check_prediction(prediction)

        def update(session: Session) -> Annotation:
            row = _existing(session, annotation_id, lock=True)
            kept = _find_or_add(session, row.image_sha256, prediction, datetime.now(UTC))
            session.add(kept)
            if row.correction is None:
                row.prediction = kept
            session.flush()
            return annotation_of(row)

        return self._database.write(update)

    def purge(self, annotation_id: int) -> int:
        """Erase a picture for good: with every annotation of it, its strokes, its predictions and its history.

        Gives the number of annotations erased. What stood in an SQLite file is overwritten; backups and exports
        made before still hold it.
        """

        def erase(session: Session) -> int:
            sha256 = _image_of(session, annotation_id)
            of_image = models.Annotation.image_sha256 == sha256
            count = session.scalar(select(func.count()).select_from(models.Annotation).where(of_image)) or 0
            # The order of the references; the rest goes by ON DELETE CASCADE.
            for table, condition in ((models.Annotation, of_image), (models.Image, models.Image.sha256 == sha256)):
                session.execute(delete(table).where(condition), execution_options={"synchronize_session": False})
            return count

        count = self._database.write(erase)
        self._database.empty_log()
        return count

    # --- history ------------------------------------------------------------------------------------------

    def history(self, annotation_id: int | None = None, *, limit: int | None = None) -> list[Change]:
        """The changes of one annotation, or of all, the newest first; also of deleted ones."""
        query = select(models.Change).order_by(models.Change.id.desc()).limit(limit)
        if annotation_id is not None:
            query = query.where(models.Change.annotation_id == annotation_id)
        with self._database.transaction() as session:
            return [change_of(row) for row in session.scalars(query)]

    def last_change(self, by: str) -> Change | None:
        """The newest change by a person that is no undoing and has not been undone: what `undo` would take next.

        That a picture was taken in is nobody's decision and is left out: who undoes does not mean what came meanwhile.
        """
        later = aliased(models.Change)
        query = (
            select(models.Change)
            .where(models.Change.annotator == by, models.Change.undoes.is_(None))
            .where(~select(later.id).where(later.undoes == models.Change.id).exists())
            .order_by(models.Change.id.desc())
            .execution_options(yield_per=100)
        )
        with self._database.transaction() as session:
            decisions = (row for row in session.scalars(query) if row.before is not None or not _waits(row.after))
            row = next(decisions, None)
            return None if row is None else change_of(row)

    def undo(self, change_id: int, *, by: str = "") -> Annotation | None:
        """Take a change back: the annotation as it was before, or None where it was not there.

        Undoing is itself a change. Raises StoreError when there is no such change or when the annotation has been
        changed since.
        """
        by = checked_name(by, "annotator")

        def revert(session: Session) -> Annotation | None:
            change = session.get(models.Change, change_id)
            if change is None:
                raise StoreError(f"There is no change {change_id}; its picture may have been purged.")
            row = session.get(models.Annotation, change.annotation_id, with_for_update=_THE_ROW)
            if not same_state(row, change.after):
                raise StoreError(f"Annotation {change.annotation_id} was changed since; undo the later change first.")
            before = change.before
            if before is not None:
                same = session.scalar(same_annotation(change.image_sha256, before["label_sha256"], before["annotator"]))
                if same is not None and same is not row:
                    raise StoreError(f"Annotation {same.id} says the same by now; delete it first.")
            now = datetime.now(UTC)
            if before is None:
                session.delete(row)
            elif row is None:
                row = models.Annotation(id=change.annotation_id, image_sha256=change.image_sha256, updated_at=now)
                put_state(row, before)
                session.add(row)
            else:
                put_state(row, before)
                row.updated_at = now
            _remember(session, change.image_sha256, change.annotation_id, by, change.after, before, change.id)
            session.flush()
            if before is None or row is None:
                return None
            session.refresh(row)
            return annotation_of(row)

        return self._database.write(revert)

    # --- looking up ---------------------------------------------------------------------------------------

    def get(self, annotation_id: int) -> Annotation:
        """The annotation of that number; raises StoreError if there is none."""
        with self._database.transaction() as session:
            return annotation_of(_existing(session, annotation_id))

    def find(
        self,
        selection: Selection = _ANYTHING,
        *,
        order: str = "newest",
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Annotation]:
        """The selected annotations, `order` being one of ORDERS; `limit` and `offset` cut out a page."""
        chosen = select(models.Annotation.id).where(*conditions(selection)).order_by(*_order(order))
        with self._database.transaction() as session:
            # Numbers first: sorting would drag along what is joined to each row.
            numbers = session.scalars(chosen.limit(limit).offset(offset)).all()
            found: dict[int, models.Annotation] = {}
            for start in range(0, len(numbers), _AT_ONCE):
                some = models.Annotation.id.in_(numbers[start : start + _AT_ONCE])
                found |= {row.id: row for row in session.scalars(select(models.Annotation).where(some))}
            return [annotation_of(found[number]) for number in numbers]

    def count(self, selection: Selection = _ANYTHING) -> int:
        """How many annotations are selected."""
        query = select(func.count()).select_from(models.Annotation).where(*conditions(selection))
        with self._database.transaction() as session:
            return session.scalar(query) or 0

    def count_by_status(self, selection: Selection = _ANYTHING) -> dict[Status, int]:
        """How many selected annotations have each status; every status is a key."""
        status = models.Annotation.status
        query = select(status, func.count()).where(*conditions(selection)).group_by(status)
        with self._database.transaction() as session:
            counted = {name: count for name, count in session.execute(query)}  # noqa: C416 - a Row is no pair to mypy
        return {status: counted.get(status.value, 0) for status in Status}

    def image(self, annotation_id: int) -> PIL.Image.Image:
        """The picture of an annotation, upright and without metadata."""
        with self._database.transaction() as session:
            content = _existing(session, annotation_id).image.content
        return open_picture(content)

    def predictions(self, annotation_id: int) -> list[Prediction]:
        """Everything that was read in an annotation's picture, by whatever checkpoint, oldest first."""
        with self._database.transaction() as session:
            sha256 = _existing(session, annotation_id).image_sha256
            of_image = select(models.Prediction).where(models.Prediction.image_sha256 == sha256)
            return [prediction_of(row) for row in session.scalars(of_image.order_by(models.Prediction.id))]

    def strokes(self, annotation_id: int) -> Strokes | None:
        """The pen strokes of an annotation's picture; None where none were recorded."""
        with self._database.transaction() as session:
            written = _existing(session, annotation_id).image.strokes
        return _strokes(written)

    def holds(self, image: ImageLike) -> bool:
        """Whether there is an annotation of exactly these pixels. Raises BadImage."""
        query = select(models.Annotation.id).where(models.Annotation.image_sha256 == make_picture(image).sha256)
        with self._database.transaction() as session:
            return session.scalar(query.limit(1)) is not None

    def near(self, annotation_id: int) -> list[tuple[Annotation, int]]:
        """Annotations of other pictures that show the same writing, the nearest first.

        The number is how many of the fingerprint's bits differ, at most `fingerprint.NEAR_BITS`.
        """
        with self._database.transaction() as session:
            image = _existing(session, annotation_id).image
            if not image.fingerprint:
                return []
            near = self._fingerprints(session).near(image.fingerprint)
            # A list of names may be longer than a statement takes: one statement a picture, of few.
            return [
                (annotation_of(row), bits)
                for sha256, bits in near
                if sha256 != image.sha256
                for row in session.scalars(select(models.Annotation).where(models.Annotation.image_sha256 == sha256))
            ]

    def _fingerprints(self, session: Session) -> Known:
        """Those of all pictures. Kept, since there may be many: only what came since is read, unless some are gone."""
        table = models.Image
        rows = select(table.created_at, table.fingerprint, table.sha256).order_by(table.created_at)
        with self._lock:
            count, newest = session.execute(select(func.count(), func.max(table.created_at)).select_from(table)).one()
            if self._known.newest is not None and len(self._known) < count:
                since = rows.where(table.created_at > self._known.newest)
                self._known.add([(row[0], row[1], row[2]) for row in session.execute(since)])
            if (len(self._known), self._known.newest) != (count, newest):  # purged, restored, or saved by another clock
                self._known = Known()
                self._known.add([(row[0], row[1], row[2]) for row in session.execute(rows)])
            return self._known

    def disagreeing(
        self, first: str, second: str, selection: Selection = _ANYTHING, limit: int | None = None
    ) -> list[tuple[int, str, str]]:
        """Number and the two readings of the selected annotations that two checkpoints read differently, newest first."""
        one, two = aliased(models.Prediction), aliased(models.Prediction)
        query = (
            select(models.Annotation.id, one.latex, two.latex)
            .join(one, one.image_sha256 == models.Annotation.image_sha256)
            .join(two, two.image_sha256 == models.Annotation.image_sha256)
            .where(one.checkpoint == first, two.checkpoint == second, one.latex != two.latex)
            .where(*conditions(selection))
            .order_by(models.Annotation.id.desc(), one.id, two.id)
            .limit(limit)
        )
        with self._database.transaction() as session:  # of several readings by one checkpoint, the newest
            return list({row[0]: (row[0], row[1], row[2]) for row in session.execute(query)}.values())

    def unread(self, checkpoint: str, selection: Selection = _ANYTHING) -> list[int]:
        """The numbers of the selected annotations whose picture a checkpoint has not read, oldest first."""
        read = select(models.Prediction.id).where(
            models.Prediction.image_sha256 == models.Annotation.image_sha256,
            models.Prediction.checkpoint == checkpoint,
        )
        query = select(models.Annotation.id).where(~read.exists(), *conditions(selection))
        with self._database.transaction() as session:
            return list(session.scalars(query.order_by(*ORDERS["oldest"])))

    def names(self) -> dict[str, list[str]]:
        """Every annotator, source and checkpoint that occurs, sorted, under these three words."""
        columns = {
            "annotator": models.Annotation.annotator,
            "source": models.Annotation.source,
            "checkpoint": models.Prediction.checkpoint,
        }
        with self._database.transaction() as session:
            return {name: sorted(session.scalars(select(column).distinct())) for name, column in columns.items()}

    def by_several(self, limit: int | None = None) -> list[dict[str, tuple[str, ...]]]:
        """The accepted corrections of every picture that more than one annotator has corrected: tokens by annotator.

        Of each annotator the newest counts, and of the pictures the newest `limit`. What is still a draft, or waits,
        is nobody's answer yet.
        """
        table = models.Annotation
        accepted = table.status == Status.ACCEPTED.value
        shared = (
            select(table.image_sha256)
            .where(accepted)
            .group_by(table.image_sha256)
            .having(func.count(table.annotator.distinct()) > 1)
            .order_by(func.max(table.id).desc())
            .limit(limit)
            .subquery()
        )
        query = (
            select(table.image_sha256, table.annotator, table.tokens)
            .join(shared, shared.c.image_sha256 == table.image_sha256)
            .where(accepted)
            .order_by(*ORDERS["oldest"])
        )
        groups: defaultdict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
        with self._database.transaction() as session:
            for row in session.execute(query):
                groups[row.image_sha256][row.annotator] = split_tokens(row.tokens)
        return list(groups.values())

    def readings(self, limit: int | None = None) -> list[Reading]:
        """The accepted corrections beside what was read before, the newest first."""
        table = models.Annotation
        query = (
            select(
                table.tokens,
                models.Prediction.latex,
                models.Prediction.checkpoint,
                func.coalesce(models.Prediction.created_at, table.created_at).label("created_at"),
            )
            .outerjoin(table.prediction)
            .where(table.status == Status.ACCEPTED.value)
            .order_by(*ORDERS["newest"])
            .limit(limit)
        )
        with self._database.transaction() as session:
            return [reading_of(row) for row in session.execute(query)]

    def count_by_annotator(self, selection: Selection = _ANYTHING) -> dict[str, int]:
        """How many selected annotations each annotator has, most first."""
        name = models.Annotation.annotator
        count = func.count()
        query = select(name, count).where(*conditions(selection)).group_by(name).order_by(count.desc(), name)
        with self._database.transaction() as session:
            return {row[0]: row[1] for row in session.execute(query)}

    def without_opinion_of(self, annotator: str, limit: int | None = None) -> list[int]:
        """The numbers of what others have accepted and `annotator` has not looked at, one a picture, oldest first."""
        theirs, mine = models.Annotation, aliased(models.Annotation)
        looked_at = select(mine.id).where(mine.image_sha256 == theirs.image_sha256, mine.annotator == annotator)
        newest = func.max(theirs.id)
        query = (
            select(newest)
            .where(theirs.status == Status.ACCEPTED.value, theirs.annotator != annotator, ~looked_at.exists())
            .group_by(theirs.image_sha256)
            .order_by(newest)
            .limit(limit)
        )
        with self._database.transaction() as session:
            return list(session.scalars(query))

    def ids(self, selection: Selection, *, order: str, limit: int | None = None) -> list[int]:
        """As `find`, the numbers alone."""
        query = select(models.Annotation.id).where(*conditions(selection)).order_by(*_order(order)).limit(limit)
        with self._database.transaction() as session:
            return list(session.scalars(query))

    def corrected(self, selection: Selection = _ANYTHING) -> Iterator[tuple[Annotation, bytes]]:
        """The selected annotations that have a well-formed correction, oldest first, each with its picture's PNG bytes.

        One consistent view of the database, read piece by piece: do not save from inside the loop.
        """
        return ((annotation, content) for annotation, content, _ in self.corrected_with_strokes(selection))

    def corrected_with_strokes(
        self, selection: Selection = _ANYTHING
    ) -> Iterator[tuple[Annotation, bytes, Strokes | None]]:
        """As `corrected`, with the pen strokes where there are any."""
        query = (
            select(models.Annotation, models.Image.content, models.Image.strokes)
            .join(models.Annotation.image)
            .where(models.Annotation.tokens.is_not(None), *conditions(selection))
            .order_by(*ORDERS["oldest"])
            .execution_options(yield_per=100)
        )
        with self._database.transaction() as session:
            for row, content, written in session.execute(query):
                yield annotation_of(row), content, _strokes(written)

    # --- backup -------------------------------------------------------------------------------------------

    def backup(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write a copy of the whole store to one SQLite file, while the store stays in use.

        Raises StoreError where a file stands there and `overwrite` is off, and for a store on a database server (which
        has tools of its own).
        """
        self._database.backup(path, overwrite=overwrite)

    def restore(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Replace the whole store by a backup, which is checked and brought to the current schema first.

        Raises StoreError when the store holds annotations and `overwrite` is off, and when the file is no
        sound backup; the store is then as before.
        """
        held = self.count()
        if held and not overwrite:
            raise StoreError(
                f"The annotation store {self.name} holds {held} annotations, which restoring would replace; "
                "back it up, then ask for overwriting."
            )
        self._database.restore(path)

    def check(self) -> None:
        """Read an SQLite store from end to end; raises StoreError when it is damaged."""
        self._database.check()

    # --- machinery ----------------------------------------------------------------------------------------

    def _change(
        self,
        annotation_id: int,
        by: str,
        change_row: Callable[[Session, models.Annotation], None],
        stand_in: Callable[[Session, models.Annotation], models.Annotation] | None = None,
    ) -> Annotation:
        """Change an annotation, or the one that stands in for it, and remember what it was."""
        by = checked_name(by, "annotator")

        def change(session: Session) -> Annotation:
            row = _existing(session, annotation_id, lock=True)
            if stand_in is not None:
                row = stand_in(session, row)
            before = state_of(row)
            change_row(session, row)
            row.updated_at = datetime.now(UTC)
            if state_of(row) != before:
                _remember(session, row.image_sha256, row.id, by, before, state_of(row))
            return annotation_of(row)

        return self._database.write(change)


# --- inside a transaction ---------------------------------------------------------------------------------

_THE_ROW = {"of": models.Annotation}  # locked alone: PostgreSQL cannot lock what an outer join adds


def _existing(session: Session, annotation_id: int, *, lock: bool = False) -> models.Annotation:
    row = session.get(models.Annotation, annotation_id, with_for_update=_THE_ROW if lock else None)
    if row is None:
        raise StoreError(f"There is no annotation {annotation_id}; it may have been deleted.")
    return row


def _order(name: str) -> tuple[Any, ...]:
    if name not in ORDERS:
        raise StoreError(f"There is no order {name!r}; choose from {', '.join(ORDERS)}.")
    return ORDERS[name]


def _image_of(session: Session, annotation_id: int) -> str:
    """The picture of an annotation, also of a deleted one."""
    row = session.get(models.Annotation, annotation_id)
    if row is not None:
        return row.image_sha256
    known = select(models.Change.image_sha256).where(models.Change.annotation_id == annotation_id).limit(1)
    sha256 = session.scalar(known)
    if sha256 is None:
        raise StoreError(f"There is no annotation {annotation_id}; it may have been purged.")
    return sha256


def _find_or_add(session: Session, image_sha256: str, prediction: Prediction, now: datetime) -> models.Prediction:
    """The row of this prediction: one that says the same of the same picture is shared."""
    alike = select(models.Prediction).where(
        models.Prediction.image_sha256 == image_sha256,
        models.Prediction.checkpoint == prediction.checkpoint,
        models.Prediction.latex == prediction.latex,
    )
    for row in session.scalars(alike):
        if prediction_of(row) == prediction:
            return row
    return prediction_row(image_sha256, prediction, now)


def _remember(
    session: Session,
    image_sha256: str,
    annotation_id: int,
    by: str,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    undoes: int | None = None,
) -> None:
    session.add(
        models.Change(
            image_sha256=image_sha256, annotation_id=annotation_id, annotator=by,
            before=before, after=after, undoes=undoes, made_at=datetime.now(UTC),
        )
    )  # fmt: skip


def _waits(state: dict[str, Any] | None) -> bool:
    """Whether an annotation in that state is a picture that nobody has said anything of."""
    return state is not None and state["status"] == Status.PENDING.value and state["correction"] is None


def _reason_for(status: Status, reason: Reason | str | None) -> str | None:
    if reason is None:
        return None
    if status is not Status.REJECTED:
        raise StoreError(f"A reason says why a picture was rejected; one that is {status} takes none.")
    return Reason.of(reason).value


def _strokes(written: str | None) -> Strokes | None:
    return None if written is None else make_strokes(json.loads(written))
