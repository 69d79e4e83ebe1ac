"""Out and in again by every format: the same rows and no duplicates; CROHME's ink and .tex pairs; damaged files."""

import base64
import csv
import io
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotations import (
    Alternative,
    Annotation,
    AnnotationStore,
    ImportCounts,
    Prediction,
    Reason,
    Selection,
    Status,
    import_annotations,
    write_annotations,
)
from annotations.export import FORMATS, quoted, unquoted
from annotations.imports import READERS
from annotations.pictures import make_picture
from annotations.strokes import Strokes, from_inkml, make_strokes, to_inkml
from hmer.datasets.folder import read_dataset
from hmer.errors import ConfigError, DatasetError, StoreError
from hmer.ink import draw, parse_inkml

ALL = Selection()


def picture(seed: int) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    return np.random.default_rng(seed).integers(0, 256, (6, 9), dtype=np.uint8)


def png(seed: int) -> bytes:
    return make_picture(picture(seed)).content


# --- round trips ---

NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=12)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
NUMBERS = st.floats(-1e6, 1e6)
TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
FORMULAS = st.lists(
    st.sampled_from(["x", "^2", r"\frac ab", r"\{", " + ", "\n", r"\sqrt[3]{y}", r"\ ", "% c\n", r'\text{"a, b"}', "=1"]),
    min_size=1, max_size=4,
).flatmap(lambda parts: st.sampled_from(["z", "-1", "+z", "=z", "@"]).map(lambda first: first + "{}".join(parts)))  # fmt: skip
PREDICTIONS = st.builds(
    Prediction,
    latex=TEXTS,
    checkpoint=NAMES,
    tokens=st.lists(st.sampled_from(["x", "^", "{", "}", r"\alpha", "\\ "]), max_size=4).map(tuple),
    confidence=st.none() | st.floats(0, 1),
    alternatives=st.lists(st.builds(Alternative, TEXTS, st.none() | st.floats(0, 1)), max_size=2).map(tuple),
    decoding=st.dictionaries(TEXTS, st.none() | st.integers(-9, 9) | TEXTS, max_size=2),
)
STROKES = st.lists(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=3), min_size=1, max_size=2)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "image": st.integers(0, 3),
            "correction": FORMULAS,
            "prediction": st.none() | PREDICTIONS,
            "status": st.sampled_from(list(Status)),
            "reason": st.none() | st.sampled_from(list(Reason)),
            "annotator": NAMES,
            "source": NAMES,
            "strokes": st.none() | STROKES,
            "created_at": TIMES,
        }
    ),
    max_size=5,
)


def content(store: AnnotationStore, *, typed: bool = True) -> list[tuple[object, ...]]:
    """All that a round trip has to keep."""

    def key(row: Annotation) -> tuple[object, ...]:
        return (row.created_at, row.image_sha256, row.label_sha256, row.annotator)

    return [
        (
            *key(row), row.tokens, row.correction if typed else None, row.status, row.reason, row.source, row.prediction,
            None if row.prediction is None else row.prediction.made_at, store.strokes(row.id),
        )
        for row in sorted(store.find(), key=key)  # type: ignore[type-var]
    ]  # fmt: skip


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=ROWS)
def test_import_gives_the_same_rows_back_and_no_duplicates(kind: str, rows: list[dict[str, Any]]) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        AnnotationStore("sqlite://") as store,
        AnnotationStore("sqlite://") as other,
    ):
        for row in rows:
            row = dict(row)
            image = picture(row.pop("image"))
            if row["status"] is not Status.REJECTED:
                row["reason"] = None
            store.add(image, **row)
        out = Path(folder) / "out"
        count = store.count()
        assert write_annotations(store, out, kind, selection=ALL, held_out_share=0.5).rows == count
        assert import_annotations(other, out) == ImportCounts(count, count, 0, ())
        typed = kind != "dataset"  # which has no room for line breaks
        assert content(other, typed=typed) == content(store, typed=typed)
        for again in (other, store):
            assert import_annotations(again, out) == ImportCounts(count, 0, count, ())
        assert content(other, typed=typed) == content(store, typed=typed)


def test_what_was_typed_survives_a_table_where_it_can(store: AnnotationStore, tmp_path: Path) -> None:
    store.add(picture(0), correction=" x ^2", status="accepted")
    store.add(picture(1), correction="x\n^2", status="accepted")
    write_annotations(store, tmp_path / "data", "dataset", selection=ALL)
    with AnnotationStore(tmp_path / "other.db") as other:
        import_annotations(other, tmp_path / "data")
        assert [row.correction for row in other.find(order="oldest")] == [" x ^2", "x ^ { 2 }"]
        # Somebody mends the LaTeX in the table: that is what counts.
        labels = tmp_path / "data" / "labels.tsv"
        labels.write_text(labels.read_text().replace("x ^ { 2 }", "y"))
    with AnnotationStore(tmp_path / "third.db") as third:
        import_annotations(third, tmp_path / "data")
        assert [row.correction for row in third.find(order="oldest")] == ["y", "y"]


def test_an_image_folder_is_what_hugging_face_reads(store: AnnotationStore, tmp_path: Path) -> None:
    row = store.add(picture(0), correction="x", status="accepted", annotator="Ada").annotation
    for kind, table in (("imagefolder", "metadata.jsonl"), ("csv", "metadata.csv")):
        write_annotations(store, tmp_path / kind, kind, selection=ALL)
        assert {path.name for path in (tmp_path / kind).iterdir()} == {table, f"{row.image_sha256}.png"}
    (line,) = (tmp_path / "imagefolder" / "metadata.jsonl").read_text().splitlines()
    fields = json.loads(line)
    assert (fields["file_name"], fields["latex"], fields["writer"]) == (f"{row.image_sha256}.png", "x", "Ada")
    assert all(isinstance(value, str) for value in fields.values())
    header, _ = (tmp_path / "csv" / "metadata.csv").read_text().splitlines()
    assert header.startswith("file_name,latex,writer,split,source,status")


def test_image_folders_of_others(store: AnnotationStore, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(0))
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "x^2"}\n\n{"file_name": "b.png"}\n{}\n')
    counts = import_annotations(store, tmp_path, annotator="Ada", status="pending")
    assert (counts.rows, counts.created) == (3, 1)
    assert [refusal.file for refusal in counts.refused] == ["b.png", "line 4"]
    (row,) = store.find()
    assert (row.correction, row.annotator, row.status) == ("x^2", "Ada", Status.PENDING)


@settings(max_examples=200)
@given(st.text(alphabet="'=+-@\t\r\nx1", max_size=6))
def test_no_cell_is_computed_and_every_cell_comes_back(text: str) -> None:
    cell = quoted(text)
    assert not cell.startswith(tuple("=+-@\t\r\n"))
    assert unquoted(cell) == text


def test_line_breaks_in_cells_come_back(store: AnnotationStore, tmp_path: Path) -> None:
    for seed, end in enumerate(("\r", "\n", "\r\n")):
        store.add(picture(seed), correction=f"x{end}+1", status="accepted")
    write_annotations(store, tmp_path / "out", "csv", selection=Selection())
    with AnnotationStore(tmp_path / "other.db") as other:
        assert import_annotations(other, tmp_path / "out").created == 3
        assert sorted(str(row.correction) for row in other.find()) == sorted(
            str(row.correction) for row in store.find()
        )


def test_a_spreadsheet_computes_nothing_of_the_csv(store: AnnotationStore, tmp_path: Path) -> None:
    evil = "=HYPERLINK(1)"
    store.add(picture(0), correction="-1", status="accepted", annotator=evil, source="@SUM(1)")
    store.add(picture(1), correction="+x", status="accepted", annotator="'=1", source="plain")
    write_annotations(store, tmp_path / "out", "csv", selection=Selection())
    with (tmp_path / "out" / "metadata.csv").open(newline="") as table:
        cells = [cell for row in csv.reader(table) for cell in row]
    assert {"'- 1", f"'{evil}", "'@SUM(1)", "'+ x", "''=1", "plain"} <= set(cells)
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    with AnnotationStore(tmp_path / "other.db") as other:
        assert import_annotations(other, tmp_path / "out").created == 2
        assert {(row.correction, row.annotator, row.source) for row in other.find()} == {
            (row.correction, row.annotator, row.source) for row in store.find()
        }


def test_a_spreadsheet_may_write_the_csv(store: AnnotationStore, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(0))
    (tmp_path / "metadata.csv").write_bytes(b'\xef\xbb\xbffile_name,latex\r\na.png,"\\text{a, ""b""}"\r\n')
    assert import_annotations(store, tmp_path).created == 1
    assert store.find()[0].correction == r'\text{a, "b"}'


def test_json_lines_of_others(store: AnnotationStore, tmp_path: Path) -> None:
    image = base64.b64encode(png(0)).decode()
    buffer = io.BytesIO()
    PIL.Image.fromarray(picture(1)).save(buffer, "BMP")
    lines = [
        {"image": f"data:image/png;base64,{image}", "latex": "x", "strokes": [[[1, 2], [3, 4, 5]]], "score": 3},
        {"image": base64.b64encode(buffer.getvalue()).decode(), "latex": "y", "writer": None},
        {"image": image, "latex": "{"},
        {"image": image, "latex": "x", "status": "done"},
        {"image": image, "latex": "x", "created_at": "yesterday"},
        {"image": image, "latex": "x", "prediction": "[1"},
        {"image": image, "latex": "x", "prediction": {"latex": "x", "checkpoint": "c", "confidence": 7}},
        {"image": image, "latex": "x", "strokes": "{}"},
        {"image": image, "latex": "x", "writer": "a\nb"},
        {"image": "?", "latex": "x"},
        {"latex": "x"},
        {"image": image},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    counts = import_annotations(store, path)
    assert (counts.rows, counts.created) == (12, 2)
    assert [refusal.file for refusal in counts.refused] == [f"line {number}" for number in range(3, 13)]
    assert all(refusal.reason.endswith(".") for refusal in counts.refused)
    assert store.strokes(1) == (((1.0, 2.0, 0.0), (3.0, 4.0, 5.0)),)


# --- ink and pairs ---

INKML = b"""<ink xmlns="http://www.w3.org/2003/InkML">
<annotation type="truth">$x \\lt2$</annotation><annotation type="writer">w1</annotation>
<trace id="0">10 10, 30 30</trace><trace id="1">30 10, 10 30</trace>
</ink>"""


def test_crohme_ink_is_drawn_and_kept(store: AnnotationStore, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.inkml").write_bytes(INKML)
    (tmp_path / "b.inkml").write_bytes(INKML.replace(b"$x \\lt2$", b""))
    (tmp_path / "c.inkml").write_bytes(b"<ink>")
    counts = import_annotations(store, tmp_path, source="crohme")
    assert (counts.rows, counts.created) == (3, 1)
    assert [refusal.file for refusal in counts.refused] == ["b.inkml", "c.inkml"]
    (row,) = store.find()
    assert (row.tokens, row.annotator, row.source) == (("x", "<", "2"), "w1", "crohme")
    assert np.array_equal(np.asarray(store.image(row.id)), draw(parse_inkml(INKML)))
    assert store.strokes(row.id) == make_strokes([[[10, 10], [30, 30]], [[30, 10], [10, 30]]])
    assert import_annotations(store, tmp_path).known == 1


def test_a_dataset_folder_may_hold_ink(store: AnnotationStore, tmp_path: Path) -> None:
    (tmp_path / "a.inkml").write_bytes(INKML)
    (tmp_path / "labels.tsv").write_text("file\tlatex\na.inkml\ty\n")
    assert import_annotations(store, tmp_path).created == 1
    assert (store.find()[0].tokens, store.strokes(1) is not None) == (("y",), True)


def test_strokes_are_exported_as_inkml_with_times(store: AnnotationStore, tmp_path: Path) -> None:
    strokes: Strokes = make_strokes([[[1, 2, 0], [30.5, 4, 0.25]], [[9, 9, 1]]])
    row = store.add(picture(0), correction="x < y", annotator="Ada", status="accepted", strokes=strokes).annotation
    write_annotations(store, tmp_path / "data", "dataset", selection=ALL)
    written = (tmp_path / "data" / f"{row.image_sha256}.inkml").read_bytes()
    assert from_inkml(written) == strokes
    ink = parse_inkml(written)
    assert (ink.truth, ink.writer) == ("x < y", "Ada")
    (item,) = read_dataset(tmp_path / "data", "full")  # training reads on: pictures, not the ink beside them
    assert item.path.suffix == ".png"
    assert from_inkml(to_inkml(strokes).replace(b'units="s"', b'units="ms"'))[0][1] == (30.5, 4.0, 0.0)


def test_pictures_beside_tex_files(store: AnnotationStore, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.png").write_bytes(png(0))
    (tmp_path / "deep" / "a.tex").write_text("% measured\n\\[ x^2 \\]\n")
    (tmp_path / "b.PNG").write_bytes(png(1))
    (tmp_path / "b.tex").write_text("\\documentclass{article}\n\\begin{document}$$y$$\\end{document}\n")
    (tmp_path / "c.png").write_bytes(png(2))
    (tmp_path / "d.tex").write_text("z")
    (tmp_path / "e.png").write_bytes(png(3))
    (tmp_path / "e.tex").write_bytes(b"\xff")
    counts = import_annotations(store, tmp_path)
    assert {row.tokens for row in store.find()} == {("x", "^", "{", "2", "}"), ("y",)}
    assert [(refusal.file, refusal.reason) for refusal in counts.refused] == [
        ("c.png", "There is no .tex file of the same name beside it."),
        ("d.tex", "There is no picture of the same name beside it."),
        ("e.png", "The .tex file is not UTF-8; save it as UTF-8."),
    ]


# --- what cannot be read ---


def test_nothing_to_import_says_so(store: AnnotationStore, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds none of labels.tsv, metadata.jsonl, metadata.csv"):
        import_annotations(store, tmp_path)
    with pytest.raises(DatasetError, match="nothing at"):
        import_annotations(store, tmp_path / "missing")
    with pytest.raises(ConfigError, match="choose from auto, dataset"):
        import_annotations(store, tmp_path, "xml")
    for kind in READERS:
        if kind not in ("crohme", "pairs"):
            with pytest.raises(DatasetError):
                import_annotations(store, tmp_path, kind)


@pytest.mark.parametrize("damaged", [b"{", b"[]\n", b"\xff\n", b"3\n", b'{"a": ' + b"[" * 100_000])
def test_damaged_json_lines_are_refused_with_the_line(damaged: bytes, store: AnnotationStore, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(damaged)
    with pytest.raises(DatasetError, match=r"line 1|UTF-8"):
        import_annotations(store, tmp_path / "rows.jsonl")


@pytest.mark.parametrize("damaged", [b"", b"a,b\n", b'file_name,latex\n"a', b"\xff"])
def test_damaged_csv_is_refused(damaged: bytes, store: AnnotationStore, tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_bytes(damaged)
    with pytest.raises(DatasetError, match=r"metadata\.csv"):
        import_annotations(store, tmp_path)


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+05:00", "soon"])
def test_an_impossible_time_is_its_rows_fault(time: str, store: AnnotationStore, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(0))
    rows = [{"created_at": time}, {"prediction": json.dumps({"latex": "x", "checkpoint": "c", "made_at": time})}, {}]
    lines = (json.dumps({**row, "file_name": "a.png", "latex": "x"}) + "\n" for row in rows)
    (tmp_path / "metadata.jsonl").write_text("".join(lines))
    counts = import_annotations(store, tmp_path)
    assert (counts.created, len(counts.refused)) == (1, 2)
    assert all("is not a time" in refusal.reason for refusal in counts.refused)


def test_no_row_reaches_outside_of_its_folder(store: AnnotationStore, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(png(0))
    (folder / "a.png").write_bytes(png(1))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    rows = [{"file_name": "../secret.png"}, {"file_name": str(tmp_path / "secret.png")}, {"file_name": "link.png"}]
    rows.append({"file_name": "a.png", "ink": "../secret.inkml"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps({**row, "latex": "x"}) + "\n" for row in rows))
    counts = import_annotations(store, folder)
    assert [refusal.reason for refusal in counts.refused] == ["The file lies outside of the folder; move it in."] * 4
    assert store.count() == 0


def test_a_failing_store_stops_the_import(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"image": base64.b64encode(png(0)).decode(), "latex": "x"}) + "\n")
    with AnnotationStore(tmp_path / "a.db", busy_timeout_s=0.1) as store, AnnotationStore(tmp_path / "a.db") as other:
        with other._database._raw_connection() as lock:
            lock.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="in use by another program"):
                import_annotations(store, tmp_path / "rows.jsonl")
            lock.execute("ROLLBACK")
        assert import_annotations(store, tmp_path / "rows.jsonl").created == 1


def test_an_export_replaces_only_an_export(store: AnnotationStore, tmp_path: Path) -> None:
    store.add(picture(0), correction="x")
    (tmp_path / "rows.jsonl").write_text("old")
    with pytest.raises(DatasetError, match="exists"):
        write_annotations(store, tmp_path / "rows.jsonl", "jsonl", selection=ALL)
    with pytest.raises(DatasetError, match="is a folder"):
        write_annotations(store, tmp_path, "jsonl", selection=ALL, overwrite=True)
    assert write_annotations(store, tmp_path / "rows.jsonl", "jsonl", selection=ALL, overwrite=True).rows == 1
    write_annotations(store, tmp_path / "data", "csv", selection=ALL)
    write_annotations(store, tmp_path / "data", "dataset", selection=ALL, overwrite=True)
    assert {path.suffix for path in (tmp_path / "data").iterdir()} == {".tsv", ".png"}
    assert {path.name for path in tmp_path.iterdir()} >= {"rows.jsonl", "data"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
