"""Upgrading old stores, the history with undo, reasons, several annotators, searching, near duplicates, strokes."""

import io
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotations import Alternative, AnnotationStore, Prediction, Reason, Saved, Selection, Status, write_annotations
from annotations.export import split_of
from annotations.fingerprint import BITS, NEAR_BITS, Known, fingerprint
from annotations.strokes import from_inkml, ink_of, make_strokes, to_inkml
from hmer.errors import BadInk, LatexError, StoreError
from hmer.ink import draw, parse_inkml

FILES = Path(__file__).parent / "files"
REGRESSION = Path(__file__).parent.parent / "hmer" / "checkpoints" / "handwritten" / "regression"


def picture(seed: int = 0) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    return np.random.default_rng(seed).integers(0, 256, (6, 9), dtype=np.uint8)


# --- upgrading ---


def test_a_store_of_the_first_schema_is_upgraded(tmp_path: Path) -> None:
    shutil.copyfile(FILES / "annotations-0001.db", tmp_path / "old.db")
    with sqlite3.connect(tmp_path / "old.db") as old:
        before = old.execute("SELECT id, correction, status, annotator, source, created_at FROM annotation").fetchall()
    assert len(before) == 5
    seen = Prediction(
        "x^2", "handwritten", ("x", "^", "{", "2", "}"), 0.75, (Alternative("x_2", 0.125), Alternative("X^2")),
        {"strategy": "beam", "beam_width": 10},
    )  # fmt: skip
    with AnnotationStore(tmp_path / "old.db") as store:
        rows = store.find(order="oldest")
        assert [
            (
                row.id,
                row.correction,
                str(row.status),
                row.annotator,
                row.source,
                f"{row.created_at:%Y-%m-%d %H:%M:%S.%f}",
            )
            for row in rows
        ] == before
        assert [row.prediction for row in rows] == [seen, seen, None, seen, None]
        assert [row.reason for row in rows] == [None] * 5
        assert np.array_equal(np.asarray(store.image(1)), picture(0))
        assert store.history() == []
        assert store.add(picture(7), correction="n").annotation.id == 7  # 6 was given, and deleted
        # The pictures of before are found by their writing, too.
        again = store.add(np.asarray(store.image(5).resize((240, 80))), correction="y").annotation
        assert [(row.id, row.annotator) for row, _ in store.near(again.id)] == [(5, "Zoë")]
        store.set_status(3, "rejected", reason="illegible")
        store.check()
    with AnnotationStore(tmp_path / "old.db") as store:  # a second time there is nothing to do
        assert store.get(3).reason is Reason.ILLEGIBLE


def test_a_backup_of_the_first_schema_can_be_restored(tmp_path: Path) -> None:
    with AnnotationStore(tmp_path / "new.db") as store:
        store.restore(FILES / "annotations-0001.db")
        assert store.count() == 5
        assert store.update_correction(4, "z", by="Ada").annotator == "Ada"


# --- history ---


def test_every_change_is_remembered_and_can_be_undone_step_by_step(store: AnnotationStore) -> None:
    first = store.add(picture(), correction="x", annotator="Ada", source="pad").annotation
    steps: list[Callable[[], object]] = [
        lambda: store.update_correction(first.id, "x^2", status="accepted", by="Bob"),
        lambda: store.set_status(first.id, "rejected", reason="bad crop", by="Bob"),
        lambda: store.set_status(first.id, "pending", by="Cleo"),
        lambda: store.delete(first.id, by="Bob"),
    ]
    states = [first]
    for step in steps:
        step()
        states += store.find()
    history = store.history(first.id)
    assert [(change.annotator, change.summary) for change in history] == [
        ("Bob", "deleted"),
        ("Cleo", "status: rejected -> pending, reason: bad crop -> none"),
        ("Bob", "status: accepted -> rejected, reason: none -> bad crop"),
        ("Bob", "correction: x -> x^2, status: pending -> accepted"),
        ("Ada", "added"),
    ]
    assert all(change.made_at.tzinfo is UTC for change in history)
    assert store.find() == []
    for change, state in zip(history, reversed(states), strict=False):
        undone = store.undo(change.id, by="Eve")
        assert undone is not None
        assert replace(undone, updated_at=state.updated_at) == state
        assert store.find() == [undone]
    assert store.undo(history[-1].id) is None  # undoing the adding
    assert store.find() == []
    assert [change.undoes for change in store.history(first.id)[:5]] == [change.id for change in reversed(history)]
    assert store.history(first.id)[1].summary.startswith("undone, so correction: x^2 -> x")
    redone = store.undo(store.history(first.id)[0].id)
    assert redone is not None
    assert redone.correction == "x"


def test_what_was_changed_since_is_not_undone(store: AnnotationStore) -> None:
    row = store.add(picture(), correction="x", annotator="Ada").annotation
    store.update_correction(row.id, "y", by="Ada")
    mine = store.last_change("Ada")
    assert mine is not None
    later = store.update_correction(row.id, "z", by="Bob")
    with pytest.raises(StoreError, match="was changed since"):
        store.undo(mine.id, by="Ada")
    assert store.find() == [later]


def test_undoing_never_makes_a_duplicate(store: AnnotationStore) -> None:
    row = store.add(picture(), correction="x", annotator="Ada").annotation
    store.delete(row.id, by="Ada")
    same = store.add(picture(), correction="x", annotator="Ada").annotation
    deleted = store.history(row.id)[0]
    with pytest.raises(StoreError, match=f"Annotation {same.id} says the same by now"):
        store.undo(deleted.id)
    assert store.find() == [same]


def test_the_last_change_goes_back_person_by_person(store: AnnotationStore) -> None:
    for seed in range(2):
        store.add(picture(seed), correction="x", annotator="Ada")
    store.set_status(1, "skipped", by="Bob")
    taken = []
    while (change := store.last_change("Ada")) is not None and change.annotation_id != 1:
        taken.append(change.annotation_id)
        store.undo(change.id, by="Ada")
    assert taken == [2]
    assert [row.id for row in store.find()] == [1]
    assert store.last_change("nobody") is None


def test_nothing_changed_is_nothing_remembered(store: AnnotationStore) -> None:
    row = store.add(picture(), correction="x").annotation
    store.set_status(row.id, "pending")
    store.add(picture(), correction="x")
    assert len(store.history()) == 1


# --- reviewing ---


def test_reasons_belong_to_the_rejected(store: AnnotationStore) -> None:
    row = store.add(picture(), status="rejected", reason="several").annotation
    assert (row.status, row.reason) == (Status.REJECTED, Reason.SEVERAL)
    assert store.set_status(row.id, "rejected").reason is None
    assert store.set_status(row.id, "rejected", reason=Reason.NOT_A_FORMULA).reason == "not a formula"
    assert store.set_status(row.id, "skipped").reason is None
    with pytest.raises(StoreError, match="one that is skipped takes none"):
        store.set_status(row.id, "skipped", reason="illegible")
    with pytest.raises(StoreError, match="no reason 'ugly'; choose from illegible, not a formula, several, bad crop"):
        store.set_status(row.id, "rejected", reason="ugly")
    assert store.get(row.id).status is Status.SKIPPED


def test_a_queued_picture_becomes_the_annotation_of_who_corrects_it(store: AnnotationStore) -> None:
    queued = store.add(picture(), source="batch").annotation
    done = store.update_correction(queued.id, "x", status="accepted", by="Ada")
    assert (done.id, done.annotator, done.source) == (queued.id, "Ada", "batch")
    assert store.update_correction(queued.id, "y", by="Bob").annotator == "Ada"


def test_a_queued_picture_that_was_corrected_elsewhere_is_joined(store: AnnotationStore) -> None:
    queued = store.add(picture(), source="batch").annotation
    elsewhere = store.add(picture(), correction="x", annotator="Ada", status="draft").annotation
    joined = store.update_correction(queued.id, " x ", status="accepted", by="Ada")
    assert (joined.id, joined.status) == (elsewhere.id, Status.ACCEPTED)
    assert store.find() == [joined]
    assert store.history(queued.id)[0].summary == "deleted"
    assert store.history(elsewhere.id)[0].summary == "correction: x ->  x , status: draft -> accepted"


def test_who_decides_on_an_unsigned_picture_signs_it(store: AnnotationStore) -> None:
    queued = store.add(picture()).annotation
    assert store.set_status(queued.id, "rejected", reason="illegible", by="Ada").annotator == "Ada"
    assert store.set_status(queued.id, "skipped", by="Bob").annotator == "Ada"
    again = store.add(picture()).annotation
    assert store.set_status(again.id, "skipped", by="Ada").annotator == ""  # Ada's is there already


def test_predictions_are_kept_by_checkpoint(store: AnnotationStore) -> None:
    old, new = Prediction("x", "old", ("x",), 0.5), Prediction("y", "new", ("y",), 0.25)
    queued = store.add(picture(0), prediction=old).annotation
    done = store.add(picture(1), prediction=old, correction="y").annotation
    assert store.unread("new") == [queued.id, done.id]
    assert store.unread("new", Selection(statuses=("accepted",))) == []
    assert store.add_prediction(queued.id, new).prediction == new
    assert store.add_prediction(done.id, new).prediction == old  # what the correction was about stays
    assert store.add_prediction(done.id, new).prediction == old
    assert store.predictions(done.id) == [old, new]
    assert [prediction.made_at is not None for prediction in store.predictions(done.id)] == [True, True]
    assert store.unread("new") == []
    assert store.disagreeing("old", "new") == [(done.id, "x", "y"), (queued.id, "x", "y")]
    assert store.disagreeing("old", "new", limit=1) == [(done.id, "x", "y")]
    assert store.disagreeing("old", "old") == []
    newer = Prediction("x", "new", ("x",), 0.75)
    store.add_prediction(queued.id, newer)
    assert store.disagreeing("old", "new", Selection(source=""))[:1] == [(done.id, "x", "y")]
    store.add(picture(1), prediction=newer, correction="y")  # saved once already: the reading is kept all the same
    assert store.predictions(done.id) == [old, new, newer]
    change = store.last_change("")
    assert change is not None  # a later reading is nobody's change, and does not stand in the way of undoing
    store.undo(change.id)


def test_pictures_of_several_annotators(store: AnnotationStore) -> None:
    def accept(seed: int, correction: str, annotator: str) -> None:
        store.add(picture(seed), correction=correction, annotator=annotator, status="accepted")

    for annotator, correction in (("Ada", "x"), ("Bob", "y"), ("Cleo", "X"), ("Bob", "x")):
        accept(0, correction, annotator)
    accept(1, "y", "Ada")
    store.add(picture(1), annotator="Bob")  # queued only
    accept(2, "y", "Ada")
    accept(2, "z", "Ada")
    accept(3, "y", "Ada")
    for status in ("draft", "pending", "rejected", "skipped"):  # nobody's answer, or not yet
        store.add(picture(3), correction=f"y_{{{len(status)}}}", annotator="Bob", status=status)
    answers = [{"Ada": ("x",), "Bob": ("x",), "Cleo": ("X",)}]
    assert store.by_several() == answers
    accept(3, "z", "Bob")
    assert store.by_several() == [*answers, {"Ada": ("y",), "Bob": ("z",)}]
    assert store.by_several(limit=1) == [{"Ada": ("y",), "Bob": ("z",)}]
    assert store.count_by_annotator(Selection(statuses="accepted")) == {"Ada": 5, "Bob": 3, "Cleo": 1}  # type: ignore[arg-type]
    assert store.names() == {"annotator": ["Ada", "Bob", "Cleo"], "source": [""], "checkpoint": []}


def test_readings_are_what_was_read_before(store: AnnotationStore) -> None:
    first = store.add(picture(0), prediction=Prediction("x", "c"), correction="y", status="accepted").annotation
    store.add(picture(1), correction=r"a\ b", status="accepted")
    store.add(picture(2), prediction=Prediction("x", "c"), correction="y")
    assert [(row.tokens, row.latex, row.checkpoint) for row in store.readings()] == [
        (("a", "~", "b"), None, None), (("y",), "x", "c"),
    ]  # fmt: skip
    assert store.readings(limit=2)[1].created_at == first.created_at
    store.add_prediction(first.id, Prediction("z", "new"))
    anew = store.readings()[1]
    assert anew.latex == "x" or anew.created_at > first.created_at  # when it was read, not when the picture came
    assert len(store.readings(limit=1)) == 1


def test_whose_opinion_is_still_wanted(store: AnnotationStore) -> None:
    for seed, annotator, status in (
        (0, "Ada", "accepted"),
        (1, "Ada", "pending"),
        (2, "Bob", "accepted"),
        (3, "", "accepted"),
    ):
        store.add(picture(seed), correction="x", annotator=annotator, status=status)
    again = store.add(picture(0), correction="y", annotator="Cleo", status="accepted").annotation
    assert store.without_opinion_of("Bob") == [4, again.id]
    assert store.without_opinion_of("Ada", limit=1) == [3]
    store.add(picture(3), correction="x", annotator="Ada", status="draft")
    assert store.without_opinion_of("Ada") == [3]


# --- drafts, and decisions on what was open ---


@pytest.mark.parametrize("typed", [r"\frac{1}{", "x^", "}", "x + ", r"\nosuchcommand", "'; DROP TABLE image; --"])
def test_a_draft_keeps_whatever_was_typed(typed: str, store: AnnotationStore, tmp_path: Path) -> None:
    row = store.add(picture(0), prediction=Prediction("x", "c")).annotation
    kept = store.update_correction(row.id, typed, status="draft", by="Ada")
    assert (store.get(row.id).correction, kept.status, kept.annotator) == (typed, Status.DRAFT, "Ada")
    added = store.add(picture(1), correction=typed, status="draft").annotation
    assert store.get(added.id).correction == typed
    if kept.tokens is None:
        with pytest.raises(LatexError):
            store.update_correction(row.id, typed, status="accepted")
        with pytest.raises(StoreError, match="cannot be accepted without LaTeX"):
            store.set_status(row.id, "accepted")
        assert list(store.corrected()) == []  # nothing to train on, nothing to export
        assert write_annotations(store, tmp_path / "out", "jsonl", selection=Selection()).rows == 0
    assert [item.id for item in store.find(Selection(latex=typed[:3]))] == [added.id, row.id]
    done = store.update_correction(row.id, "x + 1", status="accepted", by="Ada")
    assert (done.correction, done.tokens) == ("x + 1", ("x", "+", "1"))
    (change, *_) = store.history(row.id)
    store.undo(change.id)
    assert store.get(row.id).correction == typed


def test_a_draft_that_becomes_what_is_there_already_is_joined(store: AnnotationStore) -> None:
    done = store.add(picture(0), correction="x", status="accepted", annotator="Ada").annotation
    draft = store.add(picture(0), correction="x +", status="draft", annotator="Ada").annotation
    assert store.update_correction(draft.id, "x", status="accepted", by="Ada").id == done.id
    assert [row.id for row in store.find()] == [done.id]


@pytest.mark.parametrize(
    ("status", "correction", "annotator"),
    [("pending", None, ""), ("draft", "x +", "Ada"), ("draft", "x", ""), ("pending", "x", "Ada"), ("rejected", "x", "Ada"),
     ("skipped", "x", "Ada")],
)  # fmt: skip
def test_a_decision_completes_what_was_open(
    status: str, correction: str | None, annotator: str, store: AnnotationStore
) -> None:
    seen = Prediction("x", "new")
    first = store.add(
        picture(0), prediction=Prediction("q", "old"), correction=correction, status=status, annotator=annotator
    ).annotation
    saved = store.add(
        picture(0), prediction=seen, correction="x", status="accepted", annotator="Ada", complete=True
    )  # fmt: skip
    assert (saved.created, saved.completed, saved.annotation.id) == (False, True, first.id)
    (row,) = store.find()
    assert (row.correction, row.tokens, row.status, row.annotator, row.reason) == (
        "x", ("x",), Status.ACCEPTED, "Ada", None,
    )  # fmt: skip
    assert row.prediction == (seen if correction is None else Prediction("q", "old"))
    again = store.add(picture(0), prediction=seen, correction="x", status="accepted", annotator="Ada", complete=True)
    assert (again.created, again.completed) == (False, False)
    change = store.last_change("Ada")
    assert change is not None
    store.undo(change.id)
    assert (str(store.get(first.id).status), store.get(first.id).correction) == (status, correction)


def test_what_others_say_or_wait_for_is_not_completed(store: AnnotationStore) -> None:
    kept = [
        store.add(picture(0), correction="y", status="draft", annotator="Bob").annotation,
        store.add(picture(0), correction="z", status="pending").annotation,  # imported, to be reviewed
        store.add(picture(0), correction="w", status="accepted", annotator="Ada").annotation,
    ]
    assert store.add(picture(0), correction="x", status="accepted", annotator="Ada", complete=True).created
    assert [store.get(row.id) for row in kept] == kept
    assert not store.add(picture(0), correction="z", status="accepted").completed  # an import changes nothing
    assert str(store.get(kept[1].id).status) == "pending"


def test_who_saves_again_mends_what_was_saved(store: AnnotationStore) -> None:
    def save(correction: str, annotator: str = "Ada", source: str = "app") -> Saved:
        return store.add(
            picture(0), correction=correction, status="accepted", annotator=annotator, source=source,
            complete=True, amend=True,
        )  # fmt: skip

    first = save("x+1")
    others = [save("x+3", "Bob").annotation, save("x+4", source="desk").annotation]
    second = save("x+2")
    assert (second.annotation.id, second.created, second.completed) == (first.annotation.id, False, True)
    assert [row.correction for row in store.find(Selection(annotator="Ada", source="app"))] == ["x+2"]
    assert [store.get(row.id) for row in others] == others
    change = store.last_change("Ada")
    assert change is not None
    store.undo(change.id, by="Ada")
    assert store.get(first.annotation.id).correction == "x+1"


def test_a_picture_that_came_meanwhile_is_not_undone(store: AnnotationStore) -> None:
    for seed in range(3):
        store.add(picture(seed), source="scans.zip")
    store.set_status(2, "skipped")
    store.add(picture(4), source="scans.zip")
    change = store.last_change("")
    assert change is not None and change.annotation_id == 2
    store.undo(change.id)
    assert store.last_change("") is None and store.count() == 4


# --- searching ---


def test_search_by_latex_and_symbol(store: AnnotationStore) -> None:
    rows = [
        store.add(picture(0), correction=r"\frac 1{2}+\alpha", status="accepted").annotation,
        store.add(picture(1), correction=r"a \ b").annotation,
        store.add(picture(2), prediction=Prediction(r"\alpha_1", "c")).annotation,
        store.add(picture(3), correction=r"A% note", annotator="100%_").annotation,
    ]

    def ids(**terms: str) -> list[int]:
        return [row.id for row in store.find(Selection(**terms), order="oldest")]  # type: ignore[arg-type]

    assert ids(latex=r"\frac{1}{2}") == [rows[0].id]  # in its normal form
    assert ids(latex=r"\frac 1") == [rows[0].id]  # as it was typed
    assert ids(latex=r"\alpha") == [rows[0].id, rows[2].id]
    assert ids(latex="note") == [rows[3].id]
    assert ids(latex="a") == [rows[index].id for index in (0, 1, 2)]
    assert ids(latex="%") == [rows[3].id]
    assert ids(latex="_") == [rows[2].id]
    assert ids(symbol="a") == [rows[1].id]
    assert ids(symbol="A") == [rows[3].id]
    assert ids(symbol="~") == [rows[1].id]
    assert ids(symbol=r"\alpha", latex="2") == [rows[0].id]
    assert ids(latex="'; DROP TABLE annotation; --") == []
    assert ids(latex="\0\ud800", symbol="\0") == []
    assert ids(annotator="100%_") == [rows[3].id]


def test_the_least_confident_come_first(store: AnnotationStore) -> None:
    for seed, confidence in enumerate((0.5, None, 0.125, 0.9)):
        store.add(picture(seed), prediction=Prediction("x", "c", confidence=confidence))
    store.add(picture(9))
    assert [row.id for row in store.find(order="least confident")] == [2, 5, 3, 1, 4]
    assert [row.id for row in store.find(order="most confident")] == [4, 1, 3, 2, 5]
    assert sorted(row.id for row in store.find(order="random")) == [1, 2, 3, 4, 5]
    store_orders = {tuple(row.id for row in store.find(order="random")) for _ in range(20)}
    assert len(store_orders) > 1


# --- near duplicates ---


def writing(number: int) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    return np.asarray(PIL.Image.open(sorted(REGRESSION.glob("*.png"))[number]).convert("L"))


def as_jpeg(grey: "np.ndarray[tuple[int, int], np.dtype[np.uint8]]") -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(grey).convert("RGB").save(buffer, "JPEG", quality=60)
    return buffer.getvalue()


def test_near_duplicates_are_shown_and_other_writing_is_not(store: AnnotationStore) -> None:
    first = store.add(writing(0), correction="x").annotation
    for number in range(1, 25):
        store.add(writing(number), correction="x")
    assert store.near(first.id) == []
    grey = writing(0)
    copies = [
        as_jpeg(grey),
        cv2.resize(grey, None, fx=1.5, fy=1.5, interpolation=cv2.INTER_AREA),
        np.pad(grey, ((30, 0), (5, 60)), constant_values=255),
        255 - grey,
    ]
    made = [store.add(copy, correction="x").annotation.id for copy in copies]  # type: ignore[arg-type]
    near = store.near(first.id)
    assert {row.id for row, _ in near} == set(made)
    assert [bits for _, bits in near] == sorted(bits for _, bits in near)
    assert max(bits for _, bits in near) <= NEAR_BITS


def test_a_blank_picture_is_near_to_none(store: AnnotationStore) -> None:
    rows = [store.add(np.full((5, side), 255, np.uint8), correction="x").annotation for side in (5, 6)]
    assert store.near(rows[0].id) == []


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "I;16"])
def test_every_kind_of_picture_has_the_same_fingerprint(mode: str) -> None:
    grey = np.where(writing(3) < 128, np.uint8(0), np.uint8(255))
    image = PIL.Image.fromarray(grey)
    shown = PIL.Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    assert len(fingerprint(image)) == BITS // 4
    assert fingerprint(shown) == fingerprint(image)


@given(st.binary(min_size=32, max_size=32), st.lists(st.sets(st.integers(0, BITS - 1), max_size=80), max_size=6))
@settings(max_examples=50, deadline=None)
def test_the_near_ones_differ_in_few_bits(one: bytes, flips: list[set[int]]) -> None:
    known = Known()
    for number, flip in enumerate(flips):
        other = int.from_bytes(one) ^ sum(1 << bit for bit in flip)
        known.add([(datetime.now(UTC), other.to_bytes(32).hex(), f"{number}")])
    assert len(known) == len(flips)
    near = sorted((len(flip), f"{number}") for number, flip in enumerate(flips) if len(flip) <= NEAR_BITS)
    assert known.near(one.hex()) == [(name, bits) for bits, name in near]


def test_near_duplicates_follow_what_others_save_and_purge(sqlite_store: AnnotationStore, tmp_path: Path) -> None:
    first = sqlite_store.add(writing(0), correction="x").annotation
    assert sqlite_store.near(first.id) == []
    with AnnotationStore(tmp_path / "annotations.db") as other:
        copy = other.add(np.pad(writing(0), 9, constant_values=255), correction="x").annotation
        assert [row.id for row, _ in sqlite_store.near(first.id)] == [copy.id]
        other.purge(copy.id)
        assert sqlite_store.near(first.id) == []
        gone = other.add(np.pad(writing(0), 8, constant_values=255), correction="x").annotation
        assert [row.id for row, _ in sqlite_store.near(first.id)] == [gone.id]
        other.purge(gone.id)
        kept = other.add(np.pad(writing(0), 7, constant_values=255), correction="x").annotation
        assert [row.id for row, _ in sqlite_store.near(first.id)] == [kept.id]  # as many as before, not the same
        other.purge(kept.id)
        for pad, moment in ((10, "2020-01-01"), (11, "2030-01-01"), (12, "2025-01-01")):  # clocks differ
            row = other.add(np.pad(writing(0), pad, constant_values=255), correction="x").annotation
            with other._database._writer.begin() as connection:
                connection.exec_driver_sql(
                    "UPDATE image SET created_at = ? WHERE sha256 = ?", (f"{moment} 00:00:00.000000", row.image_sha256)
                )
        assert len(sqlite_store.near(first.id)) == 3


# --- strokes ---

NUMBERS = st.floats(-1e6, 1e6)


@given(st.lists(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=4), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_strokes_are_written_as_inkml_that_reads_back(points: list[list[tuple[float, float, float]]]) -> None:
    strokes = make_strokes(points)
    written = to_inkml(strokes, truth="x < y", writer="Ada & Bob")
    assert from_inkml(written) == strokes
    ink = parse_inkml(written)
    assert (ink.truth, ink.writer) == ("x < y", "Ada & Bob")
    for mine, theirs in zip(ink_of(strokes).strokes, ink.strokes, strict=True):
        assert np.array_equal(mine, theirs)


def test_strokes_stand_beside_the_picture(store: AnnotationStore) -> None:
    strokes = make_strokes([[[1, 2], [30.5, 4, 0.25]], [], [[9, 9, 1]]])
    assert strokes == (((1.0, 2.0, 0.0), (30.5, 4.0, 0.25)), ((9.0, 9.0, 1.0),))
    row = store.add(draw(ink_of(strokes)), correction="x", strokes=strokes).annotation
    assert store.strokes(row.id) == strokes
    plain = store.add(picture(), correction="x").annotation
    assert store.strokes(plain.id) is None
    store.add(picture(), correction="x", strokes=strokes)  # the same annotation, now with its strokes
    assert store.strokes(plain.id) == strokes


@pytest.mark.parametrize(
    "value", ["", "ab", 3, None, [], [[]], [["x"]], [[[1]]], [[[1, float("nan")]]], [[[1, 2, 3, 4]]]]
)
def test_what_are_no_strokes_is_refused(value: object, store: AnnotationStore) -> None:
    with pytest.raises(BadInk):
        make_strokes(value)
    if value is not None:
        with pytest.raises(BadInk):
            store.add(picture(), correction="x", strokes=value)  # type: ignore[arg-type]
        assert store.count() == 0


# --- the rest ---


def test_what_was_made_elsewhere_keeps_its_time(store: AnnotationStore) -> None:
    made = datetime(2020, 2, 29, 12, tzinfo=UTC)
    row = store.add(picture(), correction="x", created_at=made).annotation
    assert (row.created_at, row.updated_at) == (made, made)
    assert store.find(Selection(until=datetime(2020, 3, 1, tzinfo=UTC))) == [row]


def test_the_split_hangs_on_the_normal_form_alone(store: AnnotationStore) -> None:
    first = store.add(picture(0), correction="x ^2", annotator="Ada").annotation
    second = store.add(picture(1), correction="x^{2}", annotator="Bob").annotation
    assert first.label_sha256 == second.label_sha256 is not None
    assert split_of(first.label_sha256, 0.5) == split_of(second.label_sha256 or "", 0.5)


def test_a_picture_is_known_by_its_pixels(store: AnnotationStore) -> None:
    store.add(picture(0))
    assert store.holds(PIL.Image.fromarray(picture(0)))
    assert not store.holds(picture(1))
