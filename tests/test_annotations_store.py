"""The annotation store: whole rows in and out, one row for one annotation, nothing torn, plain refusals."""

import io
import multiprocessing
import os
import re
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, func, select
from sqlalchemy.schema import CreateIndex, CreateTable

from annotations import Alternative, Annotation, AnnotationStore, Prediction, Selection, Status, models
from annotations.models import Base
from annotations.pictures import ImageLike, make_picture
from hmer.errors import BadImage, ConfigError, HmerError, LatexError, StoreError
from hmer.home import data_home, store_url
from hmer.latex import normalise

PREDICTION = Prediction(
    latex="x^2",
    checkpoint="handwritten",
    tokens=("x", "^", "{", "2", "}"),
    confidence=0.75,
    alternatives=(Alternative("x_2", 0.125), Alternative("X^2")),
    decoding={"strategy": "beam", "beam_width": 10, "seed": None},
)


def rows_in(store: AnnotationStore) -> dict[str, int]:
    """How many rows every table holds."""
    with store._database.transaction() as session:
        return {
            table.__tablename__: session.scalar(select(func.count()).select_from(table)) or 0
            for table in (models.Image, models.Prediction, models.Annotation, models.Change)
        }


def picture(seed: int = 0) -> PIL.Image.Image:
    grey = np.random.default_rng(seed).integers(0, 256, (6, 9), dtype=np.uint8)
    return PIL.Image.fromarray(grey)


def encoded(image: PIL.Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


# --- what is saved ---


def test_a_save_keeps_the_whole_row(store: AnnotationStore) -> None:
    before = datetime.now(UTC)
    saved = store.add(
        picture(),
        prediction=PREDICTION,
        correction="x ^y",
        status="accepted",
        annotator="Ada",
        source="sketchpad",
    )
    row = saved.annotation
    assert saved.created
    assert row == Annotation(
        id=1,
        image_sha256=make_picture(picture()).sha256,
        width_px=9,
        height_px=6,
        prediction=PREDICTION,
        correction="x ^y",
        tokens=("x", "^", "{", "y", "}"),
        label_sha256=row.label_sha256,
        status=Status.ACCEPTED,
        annotator="Ada",
        source="sketchpad",
        created_at=row.created_at,
        updated_at=row.created_at,
    )
    assert before <= row.created_at <= datetime.now(UTC)
    assert row.created_at.tzinfo is UTC
    assert store.get(1) == row
    assert store.find() == [row]
    assert np.array_equal(np.asarray(store.image(1)), np.asarray(picture()))


def test_another_process_reads_the_same_row(sqlite_store: AnnotationStore, tmp_path: Path) -> None:
    row = sqlite_store.add(picture(), prediction=PREDICTION, correction="x").annotation
    program = "import sys; from annotations import AnnotationStore; print(AnnotationStore(sys.argv[1]).get(1))"
    root = Path(__file__).parent.parent
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    printed = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "annotations.db")],
        cwd=elsewhere,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip() == str(row)
    assert printed.stderr == ""  # migrations do not talk


def test_the_same_annotation_is_one_row(store: AnnotationStore) -> None:
    first = store.add(picture(), correction="x^2", status="accepted").annotation
    again = store.add(encoded(picture(), "BMP"), correction=r"x ^ {2}", status="rejected", source="other")
    assert (again.created, again.annotation) == (False, first)
    assert store.add(picture(), correction="x^3").created
    assert store.add(picture(1), correction="x^2").created
    assert store.add(picture(), correction="x^2", annotator="Ada").created
    assert store.add(picture()).created
    assert not store.add(picture()).created
    assert store.count() == 5


def test_a_prediction_is_kept_once_for_all_its_annotations(store: AnnotationStore) -> None:
    for correction in ("x", "y"):
        saved = store.add(picture(), prediction=PREDICTION, correction=correction)
        assert saved.annotation.prediction == PREDICTION
    store.add(picture(), prediction=Prediction("x^2", "other"), correction="z")
    assert [prediction.checkpoint for prediction in store.predictions(1)] == ["handwritten", "other"]
    assert rows_in(store) == {"image": 1, "prediction": 2, "annotation": 3, "change": 3}


def test_changes(store: AnnotationStore) -> None:
    first = store.add(picture(), prediction=PREDICTION).annotation
    assert (first.correction, first.tokens, first.label_sha256, first.status) == (None, None, None, "pending")
    with pytest.raises(StoreError, match="without LaTeX"):
        store.set_status(first.id, "accepted")
    corrected = store.update_correction(first.id, "a_b", status="accepted")
    assert corrected == store.get(first.id)
    assert (corrected.correction, corrected.status) == ("a_b", Status.ACCEPTED)
    assert corrected.tokens == ("a", "_", "{", "b", "}")
    assert corrected.created_at == first.created_at < corrected.updated_at
    assert store.update_correction(first.id, "a_{b}").correction == "a_{b}"
    assert store.set_status(first.id, "rejected").status is Status.REJECTED
    other = store.add(picture(), correction="c").annotation
    with pytest.raises(StoreError, match="Annotation 1 already gives this picture the same LaTeX"):
        store.update_correction(other.id, "a_b")
    assert store.get(other.id) == other


def test_delete_can_be_undone_and_purge_cannot(store: AnnotationStore) -> None:
    first = store.add(picture(), prediction=PREDICTION, correction="x", annotator="Ada").annotation
    second = store.add(picture(), prediction=PREDICTION, correction="y").annotation
    store.delete(first.id, by="Bob")
    assert store.find() == [second]
    assert store.get(second.id).prediction == PREDICTION
    with pytest.raises(StoreError, match="There is no annotation 1"):
        store.delete(first.id)
    change = store.last_change("Bob")
    assert change is not None
    assert change.summary == "deleted"
    back = store.undo(change.id, by="Bob")
    assert back == replace(first, updated_at=back.updated_at)
    assert store.get(first.id) == back
    store.delete(first.id)
    assert store.add(picture(), correction="z").annotation.id == 3  # numbers are not given twice
    assert store.purge(first.id) == 2  # by a deleted annotation, too
    assert rows_in(store) == {"image": 0, "prediction": 0, "annotation": 0, "change": 0}
    with pytest.raises(StoreError, match="There is no annotation 1; it may have been purged"):
        store.purge(first.id)
    with pytest.raises(StoreError, match="There is no change"):
        store.undo(change.id)


def test_purging_leaves_nothing_in_the_files(sqlite_store: AnnotationStore, tmp_path: Path) -> None:
    kept = sqlite_store.add(picture(1), correction="x").annotation
    strokes = (((1.0, 2.0, 0.0), (31337.25, 4.0, 0.5)),)
    row = sqlite_store.add(
        picture(), prediction=PREDICTION, correction="s+e+c+r+e+t", annotator="Zarathustra", strokes=strokes
    ).annotation
    sqlite_store.update_correction(row.id, "s+e+c+r+e+t+s", by="Zarathustra")
    png = make_picture(picture()).content[40:-20]

    def written() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.iterdir())

    for trace in (png, b"s+e+c+r+e+t", b"Zarathustra", b"31337.25"):
        assert trace in written()
    assert sqlite_store.purge(row.id) == 1
    for trace in (png, b"s+e+c+r+e+t", b"Zarathustra", b"31337.25"):
        assert trace not in written()
    assert sqlite_store.find() == [kept]
    assert [change.annotation_id for change in sqlite_store.history()] == [kept.id]


def test_find_and_count(store: AnnotationStore) -> None:
    rows = [
        store.add(picture(0), correction="a", status="accepted", annotator="Ada", source="pad").annotation,
        store.add(picture(1), correction="b", status="accepted", annotator="Bob", source="pad").annotation,
        store.add(picture(2), correction="c", status="draft", annotator="Ada", source="file").annotation,
        store.add(picture(3)).annotation,
    ]
    moment = timedelta(microseconds=1)
    cases: list[tuple[Selection, list[int]]] = [
        (Selection(), [3, 2, 1, 0]),
        (Selection(("accepted",)), [1, 0]),
        (Selection((Status.DRAFT, "pending")), [3, 2]),
        (Selection(()), []),
        (Selection(annotator="Ada"), [2, 0]),
        (Selection(annotator=""), [3]),
        (Selection(source="pad", annotator="Ada"), [0]),
        (Selection(since=rows[2].created_at), [3, 2]),
        (Selection(since=rows[2].created_at + moment), [3]),
        (Selection(until=rows[2].created_at), [1, 0]),
        (Selection(until=rows[2].created_at + moment), [2, 1, 0]),
        (Selection(latex="b"), [1]),
        (Selection(latex="A"), []),
        (Selection(latex="%"), []),
    ]
    for selection, expected in cases:
        assert store.find(selection) == [rows[index] for index in expected], selection
        assert store.find(selection, order="oldest") == [rows[index] for index in reversed(expected)]
        assert store.count(selection) == len(expected)
    assert store.find(limit=2, offset=1) == [rows[2], rows[1]]
    assert store.find(offset=3) == [rows[0]]
    assert store.count_by_status() == {"draft": 1, "pending": 1, "accepted": 2, "rejected": 0, "skipped": 0}
    assert [row for row, _ in store.corrected(Selection(annotator="Ada"))] == [rows[0], rows[2]]


def test_times_without_a_zone_are_local() -> None:
    assert Selection(since=datetime(2026, 1, 2)).since == datetime(2026, 1, 2).astimezone()


# --- pictures ---


def test_metadata_is_dropped_and_orientation_applied(sqlite_store: AnnotationStore, tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    exif[0x010F] = "SECRETCAMERA"
    exif.get_ifd(0x8825)[29] = "2026:11:22"  # GPS
    exif.get_ifd(0x8825)[18] = "SECRETPLACE"
    photo = encoded(picture().convert("RGB"), "JPEG", exif=exif, comment=b"SECRETCOMMENT", quality=100)
    assert b"SECRETPLACE" in photo
    row = sqlite_store.add(photo, correction="x").annotation
    sqlite_store.close()
    assert (row.width_px, row.height_px) == (6, 9)
    ((_, content),) = AnnotationStore(tmp_path / "annotations.db").corrected()
    kept = PIL.Image.open(io.BytesIO(content))
    assert (kept.format, kept.size, kept.info, dict(kept.getexif())) == ("PNG", (6, 9), {}, {})
    assert b"SECRET" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    turned = PIL.Image.open(io.BytesIO(photo)).convert("L").transpose(PIL.Image.Transpose.ROTATE_270)
    assert np.array_equal(np.asarray(kept), np.asarray(turned))


def test_png_text_and_colour_profile_are_dropped() -> None:
    image = picture()
    image.info |= {"icc_profile": b"SECRET", "exif": b"damaged SECRET", "comment": "SECRET"}
    assert make_picture(image) == make_picture(picture())


GREY = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)


@pytest.mark.parametrize(
    ("image", "mode"),
    [
        (GREY, "L"),
        (GREY[:, :, None], "L"),
        (np.stack([GREY] * 3, axis=2), "L"),
        (np.dstack([GREY, GREY, GREY, np.full_like(GREY, 255)]), "L"),
        (np.dstack([GREY, GREY[::-1]]), "LA"),
        (COLOUR, "RGB"),
        (np.dstack([COLOUR, GREY]), "RGBA"),
        (GREY > 100, "L"),
        (GREY / 255, "L"),
        (GREY.astype(np.uint16) * 256, "I;16"),
        (PIL.Image.fromarray(GREY > 100), "L"),
        (PIL.Image.fromarray(COLOUR).convert("CMYK"), "RGB"),
        (PIL.Image.fromarray(COLOUR).quantize(8), "RGB"),
        (PIL.Image.fromarray(GREY.astype(np.int32) * 200), "I;16"),
    ],
)
def test_every_kind_of_picture_is_kept_without_loss(image: ImageLike, mode: str) -> None:
    kept = make_picture(image)
    opened = PIL.Image.open(io.BytesIO(kept.content))
    assert (opened.mode, opened.size, kept.width_px, kept.height_px) == (mode, (6, 4), 6, 4)
    assert make_picture(kept.content) == kept == make_picture(opened)
    if isinstance(image, np.ndarray) and image.dtype == np.uint8:
        shown = PIL.Image.fromarray(np.squeeze(image)).convert("RGBA")
        assert np.array_equal(np.asarray(opened.convert("RGBA")), np.asarray(shown))


def test_a_palette_with_transparency_keeps_it() -> None:
    clear = PIL.Image.fromarray(np.dstack([COLOUR, np.where(GREY > 100, 255, 0)]).astype(np.uint8))
    kept = PIL.Image.open(io.BytesIO(make_picture(encoded(clear.quantize(8), "PNG")).content))
    assert kept.mode == "RGBA"
    assert np.array_equal(np.asarray(kept.getchannel("A")) > 0, GREY > 100)


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"not a picture",
        encoded(picture(), "PNG")[:-30],
        encoded(picture(), "PNG").replace(b"IDAT", b"IDAX"),
        np.zeros((0, 5), np.uint8),
        np.zeros(5, np.uint8),
        np.zeros((3, 3, 7), np.uint8),
        np.zeros((3, 3), np.int64),
        np.full((3, 3), np.nan),
        np.full((3, 3), 255.0),
        np.broadcast_to(np.uint8(0), (9_000, 9_000)),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
    ],
    ids=range(12),
)
def test_what_is_no_picture_is_refused(image: ImageLike, store: AnnotationStore) -> None:
    with pytest.raises(BadImage) as raised:
        store.add(image, correction="x")
    assert str(raised.value).endswith(".")
    assert store.count() == 0


# --- text ---

HOSTILE = {
    "sql": r"x'); DROP TABLE annotation; --",
    "html": "<script>alert(1)</script>",
    "controls": "x\t\r\n\x0b\x1b[31m\u2028\u202e y",
    "emoji": "\\text{👩‍👩‍👧 \U0001f9ee é̂}",
    "long": "x+" * 10_000 + "x",
    "percent": r"\%s \%(x)s {0} :name",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_stored_as_it_is_or_refused(text: str, store: AnnotationStore) -> None:
    seen = Prediction(text, "c", tokens=(), alternatives=(Alternative(text),), decoding={text: [text]})
    row = store.add(picture(), prediction=seen, correction="x").annotation
    assert store.get(row.id).prediction == seen
    try:
        tokens = normalise(text)
    except LatexError:
        with pytest.raises(LatexError):
            store.update_correction(row.id, text)
        assert store.find() == [row]
    else:
        assert store.update_correction(row.id, text).correction == text
        assert (store.get(row.id).correction, store.get(row.id).tokens) == (text, tuple(tokens))
    assert store.count() == 1


@pytest.mark.parametrize("name", ["Ada'); DROP TABLE annotation; --", "<b>Ada</b>", "Ada 👩‍🔬", "%s :a", "阿達"])
def test_hostile_names_are_kept(name: str, store: AnnotationStore) -> None:
    row = store.add(picture(), correction="x", annotator=name, source=name).annotation
    assert store.find(Selection(annotator=name, source=name)) == [row]
    assert (row.annotator, row.source) == (name, name)


@pytest.mark.parametrize("name", ["a\tb", "a\nb", "a\x1b[31m", "a\0", "a\u2028b", "\ud800", "a" * 201])
@pytest.mark.parametrize("field", ["annotator", "source"])
def test_names_that_break_a_table_are_refused(field: str, name: str, store: AnnotationStore) -> None:
    with pytest.raises(StoreError, match=field):
        store.add(picture(), correction="x", **{field: name})  # type: ignore[arg-type]
    assert store.count() == 0


@pytest.mark.parametrize("latex", [r"\frac{a}{b", "x}", "", "  ", "x^", "a\0b", "a\ud800"])
def test_ill_formed_latex_is_refused_and_nothing_saved(latex: str, store: AnnotationStore) -> None:
    with pytest.raises(LatexError):
        store.add(picture(), prediction=PREDICTION, correction=latex, status="accepted")
    assert store.count() == 0
    row = store.add(picture(), correction="x").annotation
    with pytest.raises(LatexError):
        store.update_correction(row.id, latex)
    assert store.find() == [row]


def test_the_place_of_an_unstorable_character_is_named(store: AnnotationStore) -> None:
    with pytest.raises(LatexError) as raised:
        store.add(picture(), correction="a+\0b")
    assert (raised.value.start, raised.value.end) == (2, 3)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(correction=st.text(max_size=30), annotator=st.text(max_size=30))
def test_any_text_comes_back_or_is_refused(store: AnnotationStore, correction: str, annotator: str) -> None:
    before = store.count()
    try:
        row = store.add(picture(), correction=correction, annotator=annotator).annotation
    except (LatexError, StoreError):
        assert store.count() == before
    else:
        assert store.get(row.id) == row
        assert row.annotator == annotator
        assert row.tokens == tuple(normalise(correction))


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (lambda store: store.add(picture(), status="done"), "no status 'done'; choose from draft, pending"),
        (lambda store: store.add(picture(), status="accepted"), "cannot be accepted without LaTeX"),
        (
            lambda store: store.find(order="alphabetical"),
            "no order 'alphabetical'; choose from newest, oldest, least confident, most confident, random",
        ),
        (lambda store: store.get(7), "There is no annotation 7"),
        (lambda store: store.image(7), "There is no annotation 7"),
        (lambda store: store.update_correction(7, "x"), "There is no annotation 7"),
        (lambda store: store.set_status(7, "draft"), "There is no annotation 7"),
        (lambda store: Prediction("x", "c", confidence=1.5), "probability from 0 to 1, not 1.5"),
        (lambda store: Alternative("x", float("nan")), "probability from 0 to 1, not nan"),
        (lambda store: Prediction("x", "c", decoding={"a": object()}), "must be JSON values"),
        (lambda store: store.add(picture(), prediction=Prediction("x\0", "c")), "cannot be stored"),
        (lambda store: store.add(picture(), prediction=Prediction("x", "c" * 300)), "checkpoint has 300"),
    ],
    ids=range(12),
)
def test_refusals(refused, message: str, store: AnnotationStore) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(StoreError, match=message):
        refused(store)
    assert store.count() == 0


# --- the database ---


def test_the_migrations_make_the_models(sqlite_store: AnnotationStore, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/annotations.db")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    models = sqlite3.connect(":memory:")
    for table in Base.metadata.sorted_tables:
        models.execute(str(CreateTable(table).compile(engine)))
        for index in table.indexes:
            models.execute(str(CreateIndex(index).compile(engine)))
    engine.dispose()

    def parts(database: sqlite3.Connection) -> dict[str, set[str]]:
        """Every table's columns and constraints, which SQLAlchemy and alembic write in different orders."""
        query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT IN ('alembic_version')"
        return {
            name: {" ".join(part.split()) for part in re.split(r",(?![^(]*\))", re.sub(r"^[^(]*\(|\)[^)]*$", "", sql))}
            for name, sql in database.execute(query)
        }

    with sqlite3.connect(tmp_path / "annotations.db") as migrated:
        assert parts(migrated) == parts(models)


def test_sqlite_is_set_up_for_several_programs(sqlite_store: AnnotationStore, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "annotations.db") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with sqlite_store._database._raw_connection() as connection:
        for setting, value in {"foreign_keys": 1, "secure_delete": 1, "busy_timeout": 10_000}.items():
            assert connection.execute(f"PRAGMA {setting}").fetchone() == (value,), setting


def test_folders_are_made_and_odd_names_work(tmp_path: Path) -> None:
    path = tmp_path / "a b" / "100%" / "c?d#é" / "annotations.db"
    with AnnotationStore(path) as store:
        store.add(picture(), correction="x")
    assert path.is_file()
    assert AnnotationStore(str(path)).count() == 1


def test_a_store_in_memory_serves_threads() -> None:
    store = AnnotationStore("sqlite://")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: store.add(picture(seed), correction="x"), range(8)))
    assert store.count() == 8


def test_eight_threads_lose_nothing(store: AnnotationStore) -> None:
    start = threading.Barrier(8)

    def save_ten(thread: int) -> list[int]:
        start.wait()
        return [
            store.add(picture(thread), correction=f"x_{{{i}}}", annotator=f"{thread}").annotation.id for i in range(10)
        ]

    with ThreadPoolExecutor(8) as pool:
        ids = [number for numbers in pool.map(save_ten, range(8)) for number in numbers]
    assert sorted(ids) == list(range(1, 81))
    assert {(row.annotator, row.correction) for row in store.find()} == {
        (f"{thread}", f"x_{{{i}}}") for thread in range(8) for i in range(10)
    }


def test_eight_threads_save_the_same_once(store: AnnotationStore) -> None:
    start = threading.Barrier(8)

    def save(_: int) -> bool:
        start.wait()
        return store.add(picture(), prediction=PREDICTION, correction="x").created

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(save, range(8))) == [False] * 7 + [True]
    assert store.count() == 1


def _open_and_save(path: Path, seed: int) -> None:
    with AnnotationStore(path) as store:
        store.add(picture(seed), correction="x")


def test_several_programs_may_begin_a_store_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    programs = [context.Process(target=_open_and_save, args=(tmp_path / "new.db", seed)) for seed in range(3)]
    for program in programs:
        program.start()
    for program in programs:
        program.join(60)
    assert [program.exitcode for program in programs] == [0, 0, 0]
    assert AnnotationStore(tmp_path / "new.db").count() == 3


def test_a_locked_store_says_so_and_readers_go_on(tmp_path: Path) -> None:
    store = AnnotationStore(tmp_path / "annotations.db", busy_timeout_s=0.1)
    row = store.add(picture(), correction="x").annotation
    other = sqlite3.connect(tmp_path / "annotations.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"annotations\.db is in use by another.*Nothing was saved\.$"):
        store.add(picture(1), prediction=PREDICTION, correction="y")
    assert AnnotationStore(tmp_path / "annotations.db", busy_timeout_s=0.1).find() == [row]
    other.execute("ROLLBACK")
    assert store.add(picture(1), prediction=PREDICTION, correction="y").created


def test_a_full_disk_says_so_and_nothing_is_torn(sqlite_store: AnnotationStore, tmp_path: Path) -> None:
    row = sqlite_store.add(picture(), correction="x").annotation
    with sqlite_store._database._raw_connection() as connection:  # the pool hands the same connection to the next call
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    noise = np.random.default_rng(0).integers(0, 256, (300, 300), dtype=np.uint8)
    with pytest.raises(StoreError, match=r"no room left on its disk.*Nothing was saved\.$"):
        sqlite_store.add(noise, prediction=PREDICTION, correction="y")
    assert sqlite_store.find() == [row]
    with sqlite3.connect(tmp_path / "annotations.db") as database:
        assert database.execute("SELECT count(*) FROM image").fetchone() == (1,)
        assert database.execute("SELECT count(*) FROM prediction").fetchone() == (0,)


def test_a_read_only_store_says_so(sqlite_store: AnnotationStore, tmp_path: Path) -> None:
    row = sqlite_store.add(picture(), correction="x").annotation
    sqlite_store.close()
    read_only = AnnotationStore(f"sqlite:///file:{tmp_path}/annotations.db?mode=ro&uri=true")
    with pytest.raises(StoreError, match="is read-only"):
        read_only.add(picture(1), correction="y")
    assert read_only.find() == [row]


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("these are the annotations " * 100)
    (tmp_path / "file").touch()
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE annotation (id INTEGER)")
    with AnnotationStore(tmp_path / "newer.db"), sqlite3.connect(tmp_path / "newer.db") as newer:
        newer.execute("UPDATE alembic_version SET version_num = '9999'")
    refused: dict[str | Path, str] = {
        tmp_path / "text.db": "text.db is not an annotation store",
        tmp_path / "file" / "a.db": "cannot be made",
        tmp_path: "cannot be opened",
        tmp_path / "other.db": "already exists",
        tmp_path / "newer.db": "written by a newer version of hmer",
        "nonsense://a:secret@b/c": r"nonsense://a:\*\*\*@b/c cannot be used",
        "://": "is not an SQLAlchemy URL",
    }
    for where, message in refused.items():
        with pytest.raises(StoreError, match=message) as raised:
            AnnotationStore(where)
        assert "secret" not in str(raised.value)
    for name in ("missing.db", "empty.db"):
        (tmp_path / "empty.db").touch()
        with pytest.raises(StoreError, match="no annotation store|not an annotation store"):
            AnnotationStore(tmp_path / name, create=False)
    assert not (tmp_path / "missing.db").exists()


# --- backup ---


def test_backup_and_restore(sqlite_store: AnnotationStore, tmp_path: Path) -> None:
    rows = [sqlite_store.add(picture(seed), prediction=PREDICTION, correction="x").annotation for seed in range(3)]
    sqlite_store.backup(tmp_path / "kept" / "backup.db")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["backup.db"]
    before = (tmp_path / "kept" / "backup.db").read_bytes()
    sqlite_store.add(picture(9), correction="later")
    with pytest.raises(StoreError, match="holds 4 annotations"):
        sqlite_store.restore(tmp_path / "kept" / "backup.db")
    assert sqlite_store.count() == 4
    sqlite_store.restore(tmp_path / "kept" / "backup.db", overwrite=True)
    assert sqlite_store.find(order="oldest") == rows
    assert np.array_equal(np.asarray(sqlite_store.image(3)), np.asarray(picture(2)))
    assert sqlite_store.add(picture(10), correction="y").created
    fresh = AnnotationStore(tmp_path / "fresh.db")
    fresh.restore(tmp_path / "kept" / "backup.db")
    assert fresh.find(order="oldest") == rows
    assert (tmp_path / "kept" / "backup.db").read_bytes() == before
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["backup.db"]


def test_a_backup_takes_nothings_place_unasked(sqlite_store: AnnotationStore, tmp_path: Path) -> None:
    sqlite_store.add(picture(), correction="x")
    taken = tmp_path / "thesis.tex"
    taken.write_text("years of work")
    with pytest.raises(StoreError, match="exists already"):
        sqlite_store.backup(taken)
    assert taken.read_text() == "years of work"
    file = Path(sqlite_store.name.removeprefix("sqlite:///"))
    for overwrite in (False, True):
        with pytest.raises(StoreError, match="the annotation store itself"):
            sqlite_store.backup(file, overwrite=overwrite)
    sqlite_store.backup(taken, overwrite=True)
    assert AnnotationStore(taken).count() == 1


def test_a_restore_that_fails_changes_nothing(sqlite_store: AnnotationStore, tmp_path: Path) -> None:
    row = sqlite_store.add(picture(), correction="x").annotation
    sqlite_store.backup(tmp_path / "backup.db")
    damaged = bytearray((tmp_path / "backup.db").read_bytes())
    damaged[4096:8192] = bytes(range(256)) * 16
    (tmp_path / "damaged.db").write_bytes(damaged)
    (tmp_path / "text.db").write_text("no database " * 100)
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE other (id INTEGER)")
    for name, message in {
        "missing.db": "There is no backup",
        "text.db": "not an annotation store",
        "damaged.db": "damaged",
        "other.db": "not an annotation store",
    }.items():
        with pytest.raises(StoreError, match=message):
            sqlite_store.restore(tmp_path / name, overwrite=True)
        assert sqlite_store.find() == [row]
    locking = AnnotationStore(tmp_path / "annotations.db", busy_timeout_s=0.1)
    other = sqlite3.connect(tmp_path / "annotations.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="in use by another program"):
        locking.restore(tmp_path / "backup.db", overwrite=True)
    other.execute("ROLLBACK")
    assert sqlite_store.find() == [row]


# --- where it lives ---


def test_the_store_lives_under_hmer_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HMER_HOME", str(tmp_path / "my data" / "50%?"))
    assert data_home() == tmp_path / "my data" / "50%?"
    with AnnotationStore(store_url()) as store:
        store.add(picture(), correction="x")
    assert (data_home() / "annotations.db").is_file()
    (tmp_path / "file").touch()
    monkeypatch.setenv("HMER_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="set HMER_HOME to a folder"):
        data_home()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setenv("HMER_HOME", str(tmp_path))
    with pytest.raises(HmerError, match="cannot be written to"):
        data_home()
