"""What the desk does with the store, and its panels' functions, without a browser."""

import io
import random
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest
from gradio.context import LocalContext

from annotations import AnnotationStore, Prediction, Reason, Refusal, Selection, Status
from annotations.intake import Found, Limits, pictures_in
from annotations.statistics import NOTHING, accuracy_by_day, agreement, confusions, pairs, weakness
from hmer import latex
from hmer.errors import BadImage, ConfigError, LatexError, StoreError
from hmer.recognizer import Recognizer, Replacement
from hmer.ui import api, symbols
from hmer.ui.desk import browse, charts, grid, intake, queue, work, write_this
from hmer.ui.desk.page import who
from hmer.ui.draw_and_upload import examples
from hmer.ui.options import AppOptions
from hmer.ui.services import Services


@pytest.fixture
def services(toy_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    monkeypatch.setenv("HMER_HOME", str(tmp_path))
    made = Services(AppOptions(checkpoint=str(toy_checkpoint)))
    yield made
    made.close()


PICTURE, TEXT = 2, 4  # among what the queue shows


def picture(seed: int = 0) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    return np.random.default_rng(seed).integers(0, 256, (20, 30), dtype=np.uint8)


def waiting(store: AnnotationStore, *readings: tuple[str, float | None]) -> list[int]:
    return [
        store.add(picture(seed), prediction=Prediction(latex, "toy", confidence=sure)).annotation.id
        for seed, (latex, sure) in enumerate(readings)
    ]


def decided(values: tuple[Any, ...], services: Services, status: Status, by: str, **what: Any) -> tuple[Any, ...]:
    """A button of the queue pressed on the page that shows `values`."""
    return queue.decided(values[0], values[1], services, status, by, **what)


# --- the queue ---


def test_orders_of_the_queue(store: AnnotationStore) -> None:
    ids = waiting(store, ("x", 0.5), ("y", 0.1), ("a+b", 0.9))
    store.add(picture(8), correction="d", status="draft")
    store.add(picture(9), correction="z", status="accepted", annotator="Bob")
    assert work.queue(store, "least confident", "").ids == (4, ids[1], ids[0], ids[2])
    assert work.queue(store, "newest", "").ids == (4, *reversed(ids))
    assert sorted(work.queue(store, "random", "").ids) == [*ids, 4]
    for number, other in zip(ids, ("x", "z", "a-b"), strict=True):
        store.add_prediction(number, Prediction(other, "other"))
    assert work.queue(store, work.DISAGREEING, "", ("toy", "other")).ids == (ids[1], ids[2])
    for wrong in (None, ("toy", "toy"), ("toy", "")):
        with pytest.raises(ConfigError, match="two different checkpoints"):
            work.queue(store, work.DISAGREEING, "", wrong)
    with pytest.raises(StoreError, match="no order 'best'"):
        work.queue(store, "best", "")


def test_decisions_and_undo(store: AnnotationStore) -> None:
    ids = waiting(store, ("x", 0.5), ("y", 0.1))
    work.decide(store, ids[0], Status.ACCEPTED, text="x^2", by="Ada")
    work.decide(store, ids[1], Status.REJECTED, reason=Reason.BAD_CROP, by="Ada")
    with pytest.raises(LatexError):
        work.decide(store, ids[1], Status.ACCEPTED, text="{", by="Ada")
    assert [store.get(number).status for number in ids] == ["accepted", "rejected"]
    assert (work.undo_last(store, "Ada"), work.undo_last(store, "Ada")) == (ids[1], ids[0])
    assert [store.get(number).status for number in ids] == ["pending", "pending"]
    with pytest.raises(StoreError, match="nothing of yours"):
        work.undo_last(store, "Ada")


def test_what_was_deleted_meanwhile_is_passed_over(services: Services) -> None:
    ids = waiting(services.store, ("x", 0.1), ("y", 0.2))
    at = work.queue(services.store, "least confident", "")
    services.store.delete(ids[0])
    values = decided(queue.shown(at, services), services, Status.SKIPPED, "Ada")
    assert services.store.get(ids[1]).status is Status.SKIPPED
    assert "Nothing more is waiting" in values[PICTURE]
    assert decided(values, services, Status.SKIPPED, "Ada")[PICTURE] == values[PICTURE]


def test_what_others_decided_on_before_it_was_shown_is_passed_over(services: Services) -> None:
    store = services.store
    ids = waiting(store, ("x", 0.1), ("y", 0.2), ("z", 0.3))
    page = queue.shown(work.queue(store, "least confident", ""), services)
    store.update_correction(ids[1], "a", status="accepted", by="Bob")
    page = decided(page, services, Status.ACCEPTED, "Ada", text="x")
    assert page[TEXT] == "z"
    back = queue.shown(page[0].moved(-1), services)
    assert back[TEXT] == "x"  # her own can be looked at again
    assert store.get(ids[1]).annotator == "Bob"


def test_undo_keeps_what_was_typed(services: Services) -> None:
    waiting(services.store, ("x", 0.1), ("y", 0.2))
    page = queue.shown(work.queue(services.store, "least confident", ""), services)
    page = decided(page, services, Status.ACCEPTED, "Ada", text="x")
    page = queue.undone(page[0].keeping(page[1], "y+1"), services, "Ada")
    assert page[TEXT] == "x"
    assert decided(page, services, Status.ACCEPTED, "Ada", text="x")[TEXT] == "y+1"


def test_nobody_decides_on_what_is_not_on_the_page(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(queue.gr, "Warning", said.append)
    store = services.store
    ids = waiting(store, ("x", 0.1), ("y", 0.2), ("z", 0.3))
    page = queue.shown(work.queue(store, "least confident", ""), services)
    store.update_correction(ids[0], "a", status="accepted", by="Bob")
    page = decided(page, services, Status.ACCEPTED, "Ada", text="b")
    assert (store.get(ids[0]).correction, store.get(ids[0]).annotator, page[TEXT]) == ("a", "Bob", "b")
    page = decided(page, services, Status.ACCEPTED, "Ada", text="b")  # seen now, and meant
    assert store.get(ids[0]).correction == "b"
    store.delete(ids[1])
    page = decided(page, services, Status.ACCEPTED, "Ada", text="y")
    assert (store.get(ids[2]).status, page[TEXT], len(said)) == (Status.PENDING, "z", 2)


def test_a_second_opinion_sees_no_other_and_is_its_own(services: Services) -> None:
    store = services.store
    for seed, person in enumerate(("Ada", "Ada", "Bob")):
        store.add(
            picture(seed),
            prediction=Prediction("r", "toy"),
            correction=f"x_{seed}",
            status="accepted",
            annotator=person,
        )
    at = work.queue(store, work.SECOND, "Bob")
    assert at == work.Queue((1, 2), second=True) or at == work.Queue((2, 1), second=True)
    values = queue.shown(at, services)
    assert values[TEXT] == "r"
    decided(values, services, Status.ACCEPTED, "Bob", text="x_0")
    decided(queue.shown(values[0].moved(1), services), services, Status.ACCEPTED, "Bob", text="y")
    assert store.count(Selection(annotator="Bob")) == 3
    assert work.queue(store, work.SECOND, "Bob").ids == ()
    result = agreement(store.by_several())
    assert (result.pictures, result.agreeing) == (2, 1)
    assert (result.share, result.token_edits) == (0.5, 5)
    with pytest.raises(ConfigError, match="Give your name"):
        work.queue(store, work.SECOND, "")


def test_a_key_that_came_too_soon_does_nothing(services: Services) -> None:
    store = services.store
    ids = waiting(store, ("x", 0.1), ("y", 0.2), ("z", 0.3))
    page = queue.shown(work.queue(store, "least confident", ""), services)
    after = decided(page, services, Status.ACCEPTED, "Ada", text="x + 1")
    # The page still shows the first when the next key is pressed; the server is at the second already.
    late = queue.decided(after[0], page[1], services, Status.ACCEPTED, "Ada", text="x + 1")
    assert [str(store.get(number).status) for number in ids] == ["accepted", "pending", "pending"]
    assert (late[0], late[TEXT]) == (after[0], "y")
    late = queue.decided(after[0], page[1], services, Status.SKIPPED, "Ada", reason=None)
    assert store.get(ids[1]).status is Status.PENDING
    # What stood in the field belongs to the item that the page showed.
    moved = queue.shown(after[0].keeping(page[1], "of the first").moved(1), services)
    assert moved[TEXT] == "z"
    assert moved[0].typed == {ids[0]: "of the first"}
    done = decided(late, services, Status.ACCEPTED, "Ada", text="y")
    assert store.get(ids[1]).correction == "y"
    end = decided(done, services, Status.ACCEPTED, "Ada", text="z")
    assert queue.decided(end[0], done[1], services, Status.REJECTED, "Ada", reason=None)[PICTURE] == end[PICTURE]
    assert store.get(ids[2]).status is Status.ACCEPTED


def test_a_draft_of_anything_stays_in_the_queue(services: Services) -> None:
    store = services.store
    (number,) = waiting(store, ("x", 0.1))
    page = queue.shown(work.queue(store, "newest", ""), services)
    decided(page, services, Status.DRAFT, "Ada", text=r"\frac{x}{")
    page = queue.shown(work.queue(store, "newest", ""), services)
    assert page[TEXT] == r"\frac{x}{"
    assert "alert" in page[6]  # what is wrong with it
    assert grid.shown(grid.Sheet(), services)[0].ids == ()  # nothing to accept as it stands
    assert r"\frac{x}{" in str(browse.opened(number, services))
    assert browse.found(browse.selection("", "", "draft", "", "", "", ""), 0, services)[0][0][5] == r"(\frac{x}{)"
    decided(page, services, Status.ACCEPTED, "Ada", text=r"\frac{x}{2}")
    assert store.get(number).status is Status.ACCEPTED
    (other,) = waiting(store, ("y", 0.1))
    assert work.decide(store, other, Status.DRAFT, text=" ", by="Ada").correction is None


def test_a_second_opinion_is_one_of_each_person(services: Services) -> None:
    store = services.store
    first = store.add(picture(), correction="x", status="accepted", annotator="Ada").annotation.id
    at = queue.shown(work.queue(store, work.SECOND, "Bob"), services)
    for status, text in ((Status.DRAFT, "y +"), (Status.ACCEPTED, "y"), (Status.ACCEPTED, "z")):
        decided(at, services, status, "Bob", text=text)
    (his,) = store.find(Selection(annotator="Bob"))
    assert (his.correction, his.status) == ("z", Status.ACCEPTED)
    assert agreement(store.by_several()).pictures == 1
    decided(at, services, Status.DRAFT, "Bob", text="x")  # not decided any more
    assert agreement(store.by_several()).pictures == 0
    decided(at, services, Status.REJECTED, "Bob", reason=Reason.ILLEGIBLE)
    assert [str(row.status) for row in store.find(order="oldest")] == ["accepted", "rejected"]
    assert store.get(first).correction == "x"


def test_saving_in_the_app_completes_what_waited(services: Services) -> None:
    (number,) = waiting(services.store, ("x", 0.3))
    saved = services.save(png(0), "x", prediction=Prediction("x", "toy"), annotator="")
    assert (saved.annotation.id, saved.annotation.status, saved.completed) == (number, Status.ACCEPTED, True)
    assert services.store.count() == 1
    assert work.queue(services.store, "newest", "").ids == ()


def test_whoever_logged_in_signs(services: Services, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(0))
    upload = {"path": str(tmp_path / "a.png"), "meta": {"_type": "gradio.FileData"}}
    save = api.endpoints(services)["save_correction"]

    class Request:
        username = "ada"

    token = LocalContext.request.set(Request())  # type: ignore[arg-type]
    try:
        first = save(upload, "x", annotator="Somebody Else")["id"]
    finally:
        LocalContext.request.reset(token)
    second = save(upload, "y", annotator="Bob")["id"]
    assert [services.store.get(number).annotator for number in (first, second)] == ["ada", "Bob"]


def test_who_shares_a_login_signs_with_a_name() -> None:
    request: Any = SimpleNamespace(username="lab")
    assert [who(name, request) for name in (" Ada  Byron", "", None)] == ["Ada Byron", "lab", "lab"]  # type: ignore[arg-type]
    assert who("", SimpleNamespace(username=None)) == ""  # type: ignore[arg-type]


def test_a_second_opinion_can_be_changed(services: Services) -> None:
    store = services.store
    first = store.add(picture(), correction="x", status="accepted", annotator="Ada").annotation.id
    at = work.queue(store, work.SECOND, "Bob")
    decided(queue.shown(at, services), services, Status.DRAFT, "Bob", text="y")
    decided(queue.shown(at, services), services, Status.ACCEPTED, "Bob", text="y")
    (his,) = store.find(Selection(annotator="Bob"))
    assert (his.status, his.correction) == (Status.ACCEPTED, "y")
    with pytest.raises(ConfigError, match="Give your name"):
        decided(queue.shown(at, services), services, Status.REJECTED, "", reason=Reason.ILLEGIBLE)
    assert store.get(first).status is Status.ACCEPTED


def test_the_page_gets_no_html_from_a_store(services: Services) -> None:
    evil = "<img src=x onerror=alert(1)>"
    row = services.store.add(
        picture(), prediction=Prediction(evil, evil), source=evil, annotator=evil, correction=r"\text{<b>}"
    ).annotation
    services.store.add(np.kron(picture(), np.ones((2, 2), np.uint8)), correction=r"\text{<b>}", annotator=evil)
    pages = [*queue.shown(work.Queue((row.id,)), services), *browse.opened(row.id, services)]
    for value in pages:
        if isinstance(value, str) and value != r"\text{<b>}":
            assert evil not in value
            assert "<b>" not in value.replace("<{}b>", "")


# --- symbols to click ---


class Fixed:
    """A recogniser that always holds the same tokens likely."""

    def __init__(self, form: str, *others: tuple[str, float]) -> None:
        self.config = SimpleNamespace(label_form=form)
        self.others = [Replacement(token, probability) for token, probability in others]
        self.asked: list[str] = []

    def read(self, source: object) -> object:
        return source

    def replacements(self, picture: object, tokens: list[str], count: int) -> list[list[Replacement]]:
        self.asked = list(tokens)
        return [self.others] * len(tokens)


def test_symbols_are_buttons_and_marks_are_not() -> None:
    shown = symbols.chips(r"x^2<\frac{1}{2}")
    assert [token for _, token in re.findall(r'data-place="(\d+)">([^<]*)<', shown)] == [
        "x", "^", "2", "&lt;", r"\frac", "1", "2",
    ]  # fmt: skip
    assert shown.count("hm-mark") == 6
    assert symbols.chips(r"\text{<b>}").count("<b>") == 0
    assert symbols.chips("{") == symbols.chips("") == ""


def test_what_a_symbol_might_be_makes_a_formula() -> None:
    model = Fixed("crohme", ("z", 0.5), ("}", 0.2), (r"\frac", 0.1), (r"\beta", 0.05), ("q", 1e-6))
    found = symbols.options(r"\mathrm{a} + x^2", 5, None, model)  # type: ignore[arg-type]
    assert latex.normalise(r"\mathrm{a} + x^2")[5] == "x"
    assert model.asked == latex.label_tokens(r"\mathrm{a} + x^2", "crohme")  # what the label form drops is not asked
    assert [(option.token, option.probability) for option in found] == [("z", 0.5), (r"\beta", 0.05), ("", None)]
    assert [option.formula for option in found] == [r"\mathrm{a}+z^2", r"\mathrm{a}+\beta^2", r"\mathrm{a}+^2"]
    *_, left_out = symbols.options("x+1", 1, None, model)  # type: ignore[arg-type]
    assert (left_out.token, left_out.probability, left_out.formula) == ("", None, "x1")
    page = symbols.offered("a < b", [symbols.Option("<", 0.004, "x<y")])
    assert 'data-for="a &lt; b"' in page and "0.4%" in page and "<code>&lt;</code>" in page
    assert "nothing else" in symbols.offered("x", [])
    with pytest.raises(LatexError):
        symbols.options("{", 0, None, model)  # type: ignore[arg-type]


def test_the_bundled_model_says_what_else(tmp_path: Path) -> None:
    recognizer = Recognizer.load("handwritten")
    source = examples()[0]
    (answer,) = recognizer.recognize([source])
    tokens = latex.normalise(answer.latex)
    found = symbols.options(answer.latex, 0, source, recognizer)
    assert all(latex.normalise(option.formula)[1:] == tokens[1:] for option in found if option.token)
    assert any(option.token for option in found)


# --- the grid ---


def test_all_but_the_marked_are_accepted(services: Services) -> None:
    ids = waiting(services.store, ("x", 0.5), ("y", 0.9), ("{", 0.95), ("z", 0.1))
    sheet, _, _, _, *cells = grid.shown(grid.Sheet(), services)
    assert sheet.ids == (ids[1], ids[0], ids[3])  # the surest first; what is ill-formed needs a hand
    assert len(cells) == 4 * grid.CELLS
    marks = [False, True, *[False] * (grid.CELLS - 2)]
    after, _, _, said, *_ = grid.accepted(sheet, grid.named(sheet), marks, services, "Ada")
    assert "2 accepted, 1 left" in said
    assert [str(services.store.get(number).status) for number in ids] == ["pending", "accepted", "pending", "accepted"]
    assert after.ids == ()  # the marked does not come again here, but in the queue
    assert ids[0] in work.queue(services.store, "newest", "").ids
    services.store.set_status(ids[2], "skipped", by="Ada")  # later and elsewhere: not this sheet's to undo
    back, *_ = grid.undone(after, services, "Ada")
    assert set(back.ids) == set(sheet.ids)
    assert services.store.get(ids[2]).status is Status.SKIPPED


def test_only_what_was_shown_is_accepted_and_undone(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(grid.gr, "Warning", said.append)
    store = services.store
    ids = waiting(store, ("x", 0.9), ("y", 0.8), ("z", 0.7))
    sheet, *_ = grid.shown(grid.Sheet(), services)
    store.set_status(ids[0], "rejected", reason="illegible", by="Bob")
    store.add_prediction(ids[1], Prediction("v", "newer"))
    after, *_ = grid.accepted(sheet, grid.named(sheet), [False] * grid.CELLS, services, "Ada")
    assert [str(store.get(number).status) for number in ids] == ["rejected", "pending", "accepted"]
    assert "2 could not be accepted" in said.pop()
    store.set_status(ids[2], "skipped", by="Bob")
    grid.undone(after, services, "Ada")
    assert store.get(ids[2]).status is Status.SKIPPED
    assert "1 could not be taken back" in said.pop()


def test_a_sheet_that_nobody_has_seen_is_not_accepted(services: Services) -> None:
    waiting(services.store, *((f"x_{number}", 0.5) for number in range(2 * grid.CELLS)))
    page = grid.shown(grid.Sheet(), services)
    marks = [False] * grid.CELLS
    after = grid.accepted(page[0], page[1], marks, services, "Ada")
    assert grid.accepted(after[0], page[1], marks, services, "Ada")[0].ids == after[0].ids  # pressed twice
    assert services.store.count(Selection(statuses=("accepted",))) == grid.CELLS


# --- taking in ---


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(picture(seed)).save(buffer, "PNG")
    return buffer.getvalue()


def test_files_folders_and_archives(tmp_path: Path) -> None:
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "a.png").write_bytes(png(0))
    (tmp_path / "folder" / ".hidden.png").write_bytes(png(1))
    (tmp_path / "folder" / "notes.txt").write_text("x")
    (tmp_path / "b.JPG").write_bytes(b"anything")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("../../evil.png", png(2))
        archive.writestr("__MACOSX/._a.png", b"clutter")
        archive.writestr("inner.zip", b"PK")
        archive.writestr("large.png", bytes(5_000))
    (tmp_path / "d.zip").write_bytes(b"PK no archive")
    found = list(
        pictures_in(
            [tmp_path / name for name in ("folder", "b.JPG", "c.zip", "d.zip", "e.png")], Limits(file_bytes=4_000)
        )
    )
    assert [item.name for item in found if isinstance(item, Found)] == ["deep/a.png", "b.JPG", "c.zip: ../../evil.png"]
    assert [item.file for item in found if isinstance(item, Refusal)] == [
        "notes.txt", "c.zip: inner.zip", "c.zip: large.png", "d.zip", "e.png",
    ]  # fmt: skip


def test_limits_hold_whatever_an_archive_claims(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(5):
            archive.writestr(f"{number}.png", bytes(1_000_000))
    assert (tmp_path / "bomb.zip").stat().st_size < 20_000
    kept = list(pictures_in([tmp_path / "bomb.zip"], Limits(total_bytes=2_500_000)))
    assert [type(item) for item in kept] == [Found, Found, Refusal]
    assert "second batch" in kept[-1].reason  # type: ignore[union-attr]
    kept = list(pictures_in([tmp_path / "bomb.zip"], Limits(files=3)))
    assert [type(item) for item in kept] == [Found, Found, Found, Refusal]


def test_limits_count_what_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(9):
            archive.writestr(f"{number}.png", bytes(1_000_000))
    kept = list(pictures_in([tmp_path / "bomb.zip"], Limits(file_bytes=500_000, total_bytes=1_200_000)))
    assert [type(item) for item in kept] == [Refusal] * 3
    assert "second batch" in kept[-1].reason  # type: ignore[union-attr]
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(9):
            archive.writestr(f"{number}.txt", b"")
    kept = list(pictures_in([tmp_path / "many.zip"], Limits(entries=4)))
    assert len(kept) == 5
    assert "More than 4 files" in kept[-1].reason  # type: ignore[union-attr]


def test_a_damaged_entry_spoils_no_other(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(10_000))
        archive.writestr("b.png", png(0))
    content = bytearray((tmp_path / "a.zip").read_bytes())
    start = content.index(b"a.png") + len("a.png")
    content[start : start + 4] = b"\xff" * 4  # no deflate stream begins so
    (tmp_path / "a.zip").write_bytes(content)
    damaged, sound = pictures_in([tmp_path / "a.zip"])
    assert isinstance(damaged, Refusal) and "damaged here" in damaged.reason
    assert isinstance(sound, Found)


def test_an_unknown_packing_is_no_encryption(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", png(0))
        archive.writestr("b.png", png(1))
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = 97  # the method of the first entry
    (tmp_path / "a.zip").write_bytes(content)
    unknown, sound = pictures_in([tmp_path / "a.zip"])
    assert isinstance(unknown, Refusal) and "unusual" in unknown.reason
    assert isinstance(sound, Found)


def test_an_encrypted_archive_says_so(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", png(0))
    content = bytearray((tmp_path / "a.zip").read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + flags] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    (refusal,) = pictures_in([tmp_path / "a.zip"])
    assert "encrypted" in refusal.reason  # type: ignore[union-attr]


def test_taking_in_reads_and_queues(services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG damaged")
    paths = [tmp_path / "damaged.png", *examples(), tmp_path / "missing.png"]
    monkeypatch.setattr(work, "READ_AT_ONCE", 2)
    reference = services.options.checkpoint
    stopped = work.take_in(services, paths, reference, source="lecture")
    first = next(stopped)
    assert (first.saved, [refusal.file for refusal in first.refused]) == (1, ["damaged.png"])
    stopped.close()
    assert services.store.count() == 1
    *_, done = work.take_in(services, paths, reference, source="lecture")
    assert (done.saved, done.known) == (len(examples()) - 1, 1)
    assert [refusal.file for refusal in done.refused] == ["damaged.png", "missing.png"]
    rows = services.store.find()
    assert {(row.status, row.source) for row in rows} == {(Status.PENDING, "lecture")}
    assert all(row.prediction is not None and row.prediction.checkpoint for row in rows)
    assert "<strong>2</strong> refused" in intake.told(done)


def test_uploads_are_gone_once_they_are_taken_in(services: Services, tmp_path: Path) -> None:
    upload = tmp_path / "photo.png"
    upload.write_bytes(examples()[0].read_bytes())
    said, last = intake.taken_in([str(upload)], None, services.options.checkpoint, " my\nphone ", services)
    assert said and "<strong>1</strong> read and waiting" in said
    assert last is None
    assert not upload.exists()
    assert services.store.find()[0].source == "my phone"
    with pytest.raises(BadImage, match="no files yet"):
        next(intake.taken_in(None, [], "toy", "", services))


def test_looking_elsewhere_loses_nothing_that_was_typed(services: Services) -> None:
    waiting(services.store, ("x", 0.1), ("y", 0.2))
    at = work.queue(services.store, "least confident", "")
    on = queue.shown(at.keeping(at.ids[0], "x + 2").moved(1), services)
    assert on[TEXT] == "y"
    assert queue.shown(on[0].moved(-1), services)[TEXT] == "x + 2"
    assert work.Queue().keeping(1, "x") == work.Queue()
    after = decided(
        queue.shown(at.keeping(at.ids[0], "x + 2"), services), services, Status.ACCEPTED, "Ada", text="x + 3"
    )
    assert queue.shown(after[0].moved(-1), services)[TEXT] == "x + 3"  # what was saved, not what was typed before


# --- browsing ---


def test_search_pages_and_edits(services: Services) -> None:
    store = services.store
    for seed in range(browse.PAGE + 3):
        store.add(picture(seed), correction=f"x_{{{seed}}}", status="accepted", annotator="Ada")
    every = browse.selection("", "", "any", "any", "any", "", "")
    rows, tally, page = browse.found(every, 7, services)
    assert (len(rows), page) == (3, 1)
    assert "28</span> found · page 2 of 2" in tally
    narrow = browse.selection(" x_{3} ", "", "accepted", "Ada", "any", "2000-01-01", "2100-01-01")
    ((number, _, status, annotator, _, shown),), _, _ = browse.found(narrow, 0, services)
    assert (number, status, annotator, shown) == (4, "accepted", "Ada", "x_3")
    today = f"{store.get(4).created_at.astimezone():%Y-%m-%d}"
    assert len(browse.found(browse.selection("", "4", "any", "any", "any", today, today), 0, services)[0]) == 3
    with pytest.raises(ConfigError, match="is not a time"):
        browse.selection("", "", "any", "any", "any", "yesterday", "")
    row = browse.saved(4, "y", "rejected", "illegible", services, "Bob")
    assert (row.correction, row.status, row.reason, row.annotator) == ("y", "rejected", "illegible", "Ada")
    with pytest.raises(ConfigError, match="Type the LaTeX"):
        browse.saved(4, " ", "accepted", None, services, "Bob")
    with pytest.raises(ConfigError, match="Choose a line"):
        browse.saved(0, "y", "accepted", None, services, "")


def test_what_somebody_changed_meanwhile_is_not_overwritten(services: Services) -> None:
    (number,) = waiting(services.store, ("x", 0.5))
    *_, seen = browse.opened(number, services)
    services.store.update_correction(number, "y", by="Bob")
    with pytest.raises(ConfigError, match="changed No. 1 meanwhile"):
        browse.saved(number, "z", "accepted", None, services, "Ada", seen=seen)
    with pytest.raises(ConfigError, match="meanwhile"):
        browse.check_open(number, services, seen)
    assert services.store.get(number).correction == "y"
    *_, seen = browse.opened(number, services)
    assert browse.saved(number, "z", "accepted", None, services, "Ada", seen=seen).correction == "z"


def test_filters_by_day_and_their_clearing(services: Services) -> None:
    store = services.store
    for seed, moment in enumerate(("2026-11-29T23:59:59.999999", "2026-11-30T00:00", "2026-11-30T23:59:59.999999")):
        made = datetime.fromisoformat(moment).astimezone()
        store.add(picture(seed), correction="x", created_at=made, annotator="Ada" if seed else "", status="accepted")

    def ids(annotator: str | None = "any", since: str = "", until: str = "") -> list[int]:
        chosen = browse.selection("", "", "any", annotator, "", since, until)  # type: ignore[arg-type]
        return [row[0] for row in browse.found(chosen, 0, services)[0]]

    assert ids(until="2026-11-29") == [1]
    assert ids(since="2026-11-30") == [3, 2]
    assert ids(since="2026-11-30", until="2026-11-30") == [3, 2]
    assert ids(since="2026-11-29T12:00", until="2026-11-30T12:00") == [2, 1]
    assert ids(until="9999-12-31") == ids(since="0002-01-01") == [3, 2, 1]
    for cleared in ("any", "", None, " "):
        assert ids(annotator=cleared) == [3, 2, 1]
    assert ids(annotator=browse.NOBODY) == [1]
    assert browse.choices(store.names()["annotator"]) == ["any", "(nobody)", "Ada"]
    with pytest.raises(ConfigError, match="is no span of time"):
        ids(since="2026-11-30", until="2026-11-29")
    with pytest.raises(StoreError, match="is no day"):
        ids(since="0001-01-01T00:00+14:00")


def test_a_reading_is_no_correction_until_it_is_accepted(services: Services) -> None:
    (number,) = waiting(services.store, ("x", 0.5))
    assert browse.saved(number, "x", "skipped", None, services, "Ada").correction is None
    assert browse.saved(number, "x", "accepted", None, services, "Ada").correction == "x"


# --- statistics ---


def test_accuracy_confusions_and_weakness(store: AnnotationStore) -> None:
    for seed, (read, truth) in enumerate([("x", "x"), ("x^2", "x^{2}"), ("x+1", "x+l"), ("y", "x y"), (r"\frac", "z")]):
        store.add(picture(seed), prediction=Prediction(read, "toy"), correction=truth, status="accepted")
    store.add(picture(8), prediction=Prediction("q", "toy"), correction="p", status="draft")
    store.add(picture(9), correction="p", status="accepted")
    rows = pairs(store.readings())
    (day,) = accuracy_by_day(rows)
    assert (day.checkpoint, day.total, day.right) == ("toy", 5, 2)
    assert confusions(rows) == {("l", "1"): 1, ("x", NOTHING): 1, ("z", r"\frac"): 1}
    weak = weakness(rows)
    assert weak["l"] == pytest.approx(2 / 3)
    assert weak["x"] == pytest.approx(2 / 6)
    assert weak["+"] == pytest.approx(1 / 3)


# --- writing and counting ---


def test_formulas_to_write_are_rich_in_weak_symbols() -> None:
    candidates = [("x", "+", "1"), ("y", "+", r"\beta"), ("x",), ("z", "^", "{", r"\beta", "}")]
    weak = {"x": 0.1, "+": 0.1, "1": 0.1, "y": 0.1, r"\beta": 0.9, "z": 0.8}
    chance = random.Random(0)
    best = [write_this.choose(candidates, weak, (), "", random.Random(seed)) for seed in range(30)]
    assert set(best) == {" ".join(tokens) for tokens in candidates}  # fewer than CHOICES: any may come
    many = candidates + [("x", "+", str(number)) for number in range(20)]
    weak |= dict.fromkeys(map(str, range(20)), 0.1)
    chosen = Counter(write_this.choose(many, weak, (), "", chance) for _ in range(200))
    assert {formula for formula, _ in chosen.most_common(2)} == {r"y + \beta", r"z ^ { \beta }"}
    assert write_this.choose(candidates[:2], weak, (), "x + 1", chance) == r"y + \beta"
    wanted = {write_this.choose(many, weak, ("7",), "", random.Random(seed)) for seed in range(50)}
    assert wanted == {"x + 7"}
    with pytest.raises(BadImage, match="no formula"):
        write_this.choose([("x",)], weak, (), "x", chance)


def test_a_symbol_that_occurs_nowhere_can_be_practised(services: Services) -> None:
    shown = {write_this.next_formula(services.options.checkpoint, r"\xi", "", services) for _ in range(20)}
    assert shown == {r"\xi", r"\xi=x", r"\xi+1"}


def test_a_drawing_is_saved_with_its_label(services: Services) -> None:
    sheet = np.full((480, 800, 4), 255, np.uint8)
    blank = {"background": None, "layers": [], "composite": sheet.copy()}
    with pytest.raises(BadImage, match="sheet is empty"):
        write_this.saved(blank, "", "x", services, "Ada")
    sheet[100:107, 50:207, :3] = 0
    drawn = {**blank, "composite": sheet}
    with pytest.raises(LatexError):
        write_this.saved(drawn, "", "{", services, "Ada")
    assert services.store.count() == 0
    assert "Saved</strong> as No. 1" in write_this.saved(drawn, "[[[3, 3, 0], [153, 3, 1]]]", "x", services, "Ada")
    row = services.store.get(1)
    assert (row.correction, str(row.status), row.annotator, row.source) == ("x", "accepted", "Ada", "write this")
    assert row.prediction is not None  # what was read, so that what it shows to be weak is known
    assert services.store.strokes(1) == (((53.0, 103.0, 0.0), (203.0, 103.0, 1.0)),)
    assert "Saved before" in write_this.saved(drawn, "no strokes", "x", services, "Ada")


def test_counts_and_charts(services: Services) -> None:
    empty = charts.shown(services)
    assert "0 of 0 decided" in empty[0]
    for person, truth in (("<b>", "x"), ("Bob", "y")):
        services.store.add(
            picture(), prediction=Prediction("x", "toy"), correction=truth, status="accepted", annotator=person
        )
    waiting(services.store, ("x", 0.5))
    numbers, accuracy, confused = charts.shown(services)
    assert "2 of 3 decided" in numbers
    assert "&lt;b&gt; 1" in numbers
    assert "1 pictures were corrected by several people; on 0 (0%)" in numbers
    assert accuracy[["checkpoint", "right (%)", "formulas"]].values.tolist() == [["toy", 50.0, 2]]
    assert confused.values.tolist() == [["y read as x", 1]]
