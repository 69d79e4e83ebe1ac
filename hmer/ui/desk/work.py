"""What the desk's panels do with the store. Knows no gradio."""

import base64
import contextlib
import html
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from annotations import Annotation, AnnotationStore, Reason, Refusal, Selection, Status
from annotations.intake import Found, pictures_in
from hmer import latex
from hmer.errors import BadImage, ConfigError, LatexError, StoreError
from hmer.metrics import token_edits
from hmer.ui.services import STANDARD, Seen, Services

OPEN = (Status.PENDING, Status.DRAFT)
DISAGREEING = "most disagreeing"
SECOND = "second opinion"
ORDERS = ("least confident", "newest", "random", DISAGREEING, SECOND)
QUEUE_LENGTH = 500
COUNTED = 5_000  # of the newest corrections, for what is worked out from each of them
COMPARED = 5_000  # of the newest that two checkpoints read differently, the most different are found
SHOWN_PX = 900  # pictures are shown no larger; the store keeps them as they are
READ_AT_ONCE = 16


@dataclass(frozen=True)
class Queue:
    """The numbers of the annotations to look at, and where one stands; `second` asks for further opinions.

    `typed` holds by number what was typed and not saved, so that looking elsewhere loses nothing. `seen` is the
    annotation that is on the page and when it had last been changed. `shown`: those that were on the page at all.
    """

    ids: tuple[int, ...] = ()
    position: int = 0
    second: bool = False
    typed: Mapping[int, str] = field(default_factory=dict)
    seen: tuple[int, datetime] | None = None
    shown: frozenset[int] = frozenset()

    def moved(self, steps: int) -> "Queue":
        """Some steps on or back, at most just behind the last."""
        return replace(self, position=min(max(self.position + steps, 0), len(self.ids)), seen=None)

    def shows(self, annotation: Annotation) -> bool:
        """Whether this is what is on the page, unchanged; of a second opinion, the first may change."""
        if self.seen is None:
            return True
        number, changed = self.seen
        return number == annotation.id and (self.second or changed == annotation.updated_at)

    def keeping(self, number: int, text: str) -> "Queue":
        """With what stands in the field of the annotation that the page shows."""
        return replace(self, typed={**self.typed, number: text}) if number in self.ids else self

    def without(self, annotation_id: int) -> "Queue":
        """With nothing unsaved of an annotation: what is in the store counts again."""
        return replace(self, typed={number: text for number, text in self.typed.items() if number != annotation_id})


def queue(store: AnnotationStore, order: str, by: str, checkpoints: tuple[str, str] | None = None) -> Queue:
    """What waits for `by`, in one of ORDERS. Raises ConfigError or StoreError.

    The most disagreeing come by the share of differing tokens between two checkpoints' readings. A second opinion is
    asked on what others have corrected and `by` has not.
    """
    waiting = Selection(statuses=OPEN)
    if order == SECOND:
        if not by:
            raise ConfigError("Give your name first: a second opinion is somebody's.")
        return Queue(tuple(store.without_opinion_of(by, QUEUE_LENGTH)), second=True)
    if order == DISAGREEING:
        if checkpoints is None or not all(checkpoints) or checkpoints[0] == checkpoints[1]:
            raise ConfigError("Choose two different checkpoints whose readings are to be compared.")
        rows = store.disagreeing(*checkpoints, waiting, limit=COMPARED)
        rows.sort(key=lambda row: -_difference(row[1], row[2]))
        return Queue(tuple(row[0] for row in rows)[:QUEUE_LENGTH])
    return Queue(tuple(store.ids(waiting, order=order, limit=QUEUE_LENGTH)))


def _difference(one: str, other: str) -> float:
    first, second = latex.split(one), latex.split(other)
    return token_edits(first, second) / max(len(first), len(second), 1)


def current(store: AnnotationStore, at: Queue) -> tuple[Queue, Annotation | None]:
    """The annotation at the queue's place. None at the end.

    What was deleted meanwhile is passed over, and what others have decided on before it was shown here.
    """
    while at.position < len(at.ids):
        with contextlib.suppress(StoreError):
            annotation = store.get(at.ids[at.position])
            if at.second or annotation.status in OPEN or annotation.id in at.shown:
                return at, annotation
        at = replace(at, ids=at.ids[: at.position] + at.ids[at.position + 1 :])
    return at, None


def proposal(annotation: Annotation, *, second: bool = False) -> str:
    """The LaTeX to start from: the correction so far, or the prediction; a second opinion sees no other's."""
    if annotation.correction is not None and not second:
        return annotation.correction
    return annotation.prediction.latex if annotation.prediction else ""


def decide(
    store: AnnotationStore,
    annotation_id: int,
    status: Status,
    *,
    text: str | None = None,
    reason: Reason | None = None,
    by: str = "",
    second: bool = False,
) -> Annotation:
    """Save a decision on an annotation, `text` being its LaTeX; a second opinion is an annotation of its own.

    There is one of each person: who thinks better of it changes what is there. Raises ConfigError, LatexError or StoreError, and then nothing has changed.
    """
    if status is Status.DRAFT and text is not None and not text.strip():
        text = None  # nothing typed yet
    if second:
        if not by:
            raise ConfigError("Give your name: a second opinion is somebody's.")
        first = store.get(annotation_id)
        own = store.ids(Selection(picture=first.image_sha256, annotator=by), order="newest", limit=1)
        if not own:
            return store.add(
                store.image(annotation_id), prediction=first.prediction, correction=text, status=status, reason=reason,
                annotator=by, source=first.source,
            ).annotation  # fmt: skip
        (annotation_id,) = own
    if text is not None:
        return store.update_correction(annotation_id, text, status=status, reason=reason, by=by)
    return store.set_status(annotation_id, status, reason=reason, by=by)


def undo_last(store: AnnotationStore, by: str) -> int:
    """Take back the last change by a person and give the annotation's number. Raises StoreError."""
    change = store.last_change(by)
    if change is None:
        raise StoreError("There is nothing of yours to undo.")
    store.undo(change.id, by=by)
    return change.annotation_id


@dataclass(frozen=True)
class Page:
    """One sheet of the grid: annotations with a reading that can be accepted as it stands."""

    rows: tuple[Annotation, ...] = ()


def grid_page(store: AnnotationStore, size: int, passed: Sequence[int] = ()) -> Page:
    """The most confident ones that wait, but those in `passed`."""
    limit = size + len(passed) + 100
    while True:
        rows = store.find(Selection(statuses=OPEN), order="most confident", limit=limit)
        wanted = [
            row for row in rows if row.id not in passed and latex.is_valid(proposal(row)) and proposal(row).strip()
        ]
        if len(wanted) >= size or len(rows) < limit:
            return Page(tuple(wanted[:size]))
        limit *= 4  # the surest readings cannot be accepted as they stand


def accept_all(store: AnnotationStore, shown: Mapping[int, str], by: str) -> tuple[tuple[int, ...], dict[int, str]]:
    """Accept each, by number, as it was shown, one transaction each; which, and what went wrong with which others."""
    accepted, problems = [], {}
    for annotation_id, text in shown.items():
        try:
            row = store.get(annotation_id)
            if row.status not in OPEN or proposal(row) != text:
                raise StoreError("Somebody decided on it, or it was read anew, since it was shown.")
            decide(store, annotation_id, Status.ACCEPTED, text=text, by=by)
            accepted.append(annotation_id)
        except (StoreError, LatexError) as error:
            problems[annotation_id] = str(error)
    return tuple(accepted), problems


def undo_all(store: AnnotationStore, ids: Iterable[int], by: str) -> tuple[int, dict[int, str]]:
    """Take back the last change of each, if it is still `by`'s; how many, and what went wrong with which others."""
    undone, problems = 0, {}
    for annotation_id in ids:
        try:
            for change in store.history(annotation_id, limit=1):
                if change.annotator != by or change.undoes is not None:
                    raise StoreError("Somebody changed it since.")
                store.undo(change.id, by=by)
                undone += 1
        except StoreError as error:
            problems[annotation_id] = str(error)
    return undone, problems


@dataclass(frozen=True)
class TakenIn:
    """What became of many pictures: read and waiting, in the store before, or refused."""

    saved: int = 0
    known: int = 0
    refused: tuple[Refusal, ...] = ()


def take_in(services: Services, paths: Sequence[Path], reference: str, *, source: str = "batch") -> Iterator[TakenIn]:
    """Read pictures with a checkpoint and let them wait for correction, a few at a time: what became of them so far.

    What is saved stays saved when this is stopped, and sending the same files again takes in the rest. Raises
    CheckpointError, or StoreError when the store fails.
    """
    recognizer = services.recognizers.get(reference)
    done = TakenIn()
    for items in _some_at_once(pictures_in(paths)):
        prepared, usable = [], []
        refused = [item for item in items if isinstance(item, Refusal)]
        known = 0
        for item in items:
            if isinstance(item, Refusal):
                continue
            try:
                if services.store.holds(item.content):
                    known += 1
                else:
                    prepared.append(recognizer.read(item.content))
                    usable.append(item)
            except BadImage as error:
                refused.append(Refusal(item.name, str(error)))
        saved = 0
        for item, answer in zip(usable, recognizer.recognize_prepared(prepared, STANDARD), strict=True):
            prediction = Seen(item.content, answer, STANDARD, reference).prediction
            created = services.store.add(item.content, prediction=prediction, source=source).created
            saved, known = saved + created, known + (not created)  # the same picture twice in one batch
        done = TakenIn(done.saved + saved, done.known + known, (*done.refused, *refused))
        yield done


def _some_at_once(found: Iterator[Found | Refusal]) -> Iterator[list[Found | Refusal]]:
    while items := list(itertools.islice(found, READ_AT_ONCE)):
        yield items


def picture(store: AnnotationStore, annotation_id: int) -> str:
    """HTML of an annotation's picture, held in the page itself: no copy of it is left in a file."""
    image = store.image(annotation_id)
    if image.mode.startswith("I"):
        image = image.point(lambda level: level / 256).convert("L")
    image.thumbnail((SHOWN_PX, SHOWN_PX))
    encoded = io.BytesIO()
    image.save(encoded, format="PNG")
    data = base64.b64encode(encoded.getvalue()).decode()
    return f'<img class="hm-picture" alt="Picture {annotation_id}" src="data:image/png;base64,{data}">'


def near_by(store: AnnotationStore, annotation_id: int, limit: int = 4) -> str:
    """HTML that shows near duplicates, or nothing."""
    near = store.near(annotation_id)[:limit]
    if not near:
        return ""
    cells = "".join(
        f"<figure>{picture(store, row.id)}<figcaption>{row.id} · {row.status}"
        f"{f' · <code>{html.escape(row.correction)}</code>' if row.correction else ''}</figcaption></figure>"
        for row, _ in near
    )
    return f'<div class="hm-near"><p>The same writing was seen before:</p>{cells}</div>'
