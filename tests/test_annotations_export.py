"""Export to a dataset folder and back: the contract to the letter, whole or not at all, no formula twice."""

import os
import random
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from annotations import AnnotationStore, ExportCounts, ImportCounts, import_dataset, write_dataset
from annotations.export import split_of
from annotations.records import Prediction, Selection
from hmer.errors import DatasetError, StoreError
from hmer.latex import normalise


@pytest.fixture
def store(tmp_path: Path) -> AnnotationStore:
    return AnnotationStore(tmp_path / "store" / "annotations.db")


def picture(seed: int = 0) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8))


def rows_of(store: AnnotationStore) -> list[tuple[object, ...]]:
    """What a round trip keeps: picture, label, annotator, source, status, and the order."""
    rows = store.find(order="oldest")
    return [(row.image_sha256, row.tokens, row.annotator, row.source, row.status) for row in rows]


def fill(store: AnnotationStore) -> None:
    store.add(picture(0), correction="x^2", status="accepted", annotator="Ada", source="sketchpad")
    store.add(picture(1), correction=r"\alpha+ 1", status="accepted")
    store.add(picture(0), correction="x_2", status="accepted", annotator="Bob 👩‍🔬", source="<b>'; --")
    store.add(picture(2), correction="y", status="rejected")
    store.add(picture(3))


def test_the_folder_keeps_the_contract(store: AnnotationStore, tmp_path: Path) -> None:
    fill(store)
    counts = write_dataset(store, tmp_path / "new" / "data")
    first, second = (store.find(order="oldest")[index].image_sha256 for index in (0, 1))
    assert counts == ExportCounts(rows=3, images=2, train=3, held_out=0)
    times = [row.created_at.isoformat() for row in store.find(order="oldest")]
    assert (tmp_path / "new" / "data" / "labels.tsv").read_text(encoding="utf-8") == (
        "file\tlatex\twriter\tsplit\tsource\tstatus\treason\tcreated_at\ttyped\tprediction\tink\n"
        f"{first}.png\tx ^ {{ 2 }}\tAda\ttrain\tsketchpad\taccepted\t\t{times[0]}\tx^2\t\t\n"
        f"{second}.png\t\\alpha + 1\t\ttrain\t\taccepted\t\t{times[1]}\t\\alpha+ 1\t\t\n"
        f"{first}.png\tx _ {{ 2 }}\tBob 👩‍🔬\ttrain\t<b>'; --\taccepted\t\t{times[2]}\tx_2\t\t\n"
    )
    assert {path.name for path in (tmp_path / "new" / "data").iterdir()} == {
        "labels.tsv",
        f"{first}.png",
        f"{second}.png",
    }
    kept = PIL.Image.open(tmp_path / "new" / "data" / f"{first}.png")
    assert np.array_equal(np.asarray(kept), np.asarray(picture(0)))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["data"]  # nothing unfinished stays


def test_only_what_was_asked_for(store: AnnotationStore, tmp_path: Path) -> None:
    fill(store)
    last = store.find()[0]
    for number, (filters, expected) in enumerate(
        [
            ({"annotator": "Ada"}, 1),
            ({"source": "sketchpad"}, 1),
            ({"statuses": ("accepted", "rejected")}, 4),
            ({"statuses": ("pending",)}, 0),  # without a correction there is nothing to write
            ({"since": last.created_at}, 0),
            ({"since": datetime.now(UTC)}, 0),
            ({"until": last.created_at}, 3),
        ]
    ):
        counts = write_dataset(store, tmp_path / str(number), **filters)  # type: ignore[arg-type]
        labels = (tmp_path / str(number) / "labels.tsv").read_text(encoding="utf-8")
        assert (counts.rows, labels.count("\n")) == (expected, expected + 1), filters
    read = Prediction("z", "printed-0123456789")
    store.add(picture(9), prediction=read, correction="z", status="accepted")
    rest = write_dataset(store, tmp_path / "rest", not_read_by=["printed-0123456789", "another"]).rows
    assert (rest, write_dataset(store, tmp_path / "all").rows) == (3, 4)
    before = datetime.now(UTC)
    store.update_correction(store.find(Selection(statuses=("accepted",)))[-1].id, "x + y + z")
    assert write_dataset(store, tmp_path / "changed", since=before).rows == 1  # what is taken in long ago, mended now


def test_import_gives_the_same_rows_and_no_duplicates(store: AnnotationStore, tmp_path: Path) -> None:
    fill(store)
    write_dataset(store, tmp_path / "data", held_out_share=0.5)
    other = AnnotationStore(tmp_path / "other.db")
    assert import_dataset(other, tmp_path / "data") == ImportCounts(rows=3, created=3, known=0, refused=())
    assert rows_of(other) == rows_of(store)[:3]
    assert import_dataset(other, tmp_path / "data") == ImportCounts(rows=3, created=0, known=3, refused=())
    assert import_dataset(store, tmp_path / "data") == ImportCounts(rows=3, created=0, known=3, refused=())
    write_dataset(other, tmp_path / "again", held_out_share=0.5)
    labels = [(tmp_path / name / "labels.tsv").read_bytes() for name in ("data", "again")]
    assert labels[0] == labels[1]


def test_a_formula_stands_on_one_side_only(store: AnnotationStore, tmp_path: Path) -> None:
    for seed in range(40):
        number = seed % 20
        spelling = f"x ^{number % 10}+{number}" if seed < 20 else f"x^{{{number % 10}}} + {number}"
        store.add(picture(seed), correction=spelling, status="accepted", annotator=f"{seed % 3}")
    sides: dict[str, dict[str, set[str]]] = {}
    for share in (0.0, 0.2, 0.5, 1.0):
        counts = write_dataset(store, tmp_path / str(share), held_out_share=share)
        split: dict[str, set[str]] = {"train": set(), "held_out": set()}
        lines = (tmp_path / str(share) / "labels.tsv").read_text(encoding="utf-8").splitlines()[1:]
        for line in lines:
            _, latex, _, side, *_ = line.split("\t")
            split[side].add(latex)
        assert len(split["train"]) + len(split["held_out"]) == 20
        assert not split["train"] & split["held_out"]
        assert counts == ExportCounts(40, 40, 2 * len(split["train"]), 2 * len(split["held_out"]))
        sides[str(share)] = split
    assert not sides["0.0"]["held_out"]
    assert not sides["1.0"]["train"]
    assert sides["0.2"]["held_out"] < sides["0.5"]["held_out"]


def test_the_held_out_share_is_about_what_was_asked() -> None:
    names = [random.Random(seed).randbytes(32).hex() for seed in range(2000)]
    assert 330 < sum(split_of(name, 0.2) == "held_out" for name in names) < 470  # four deviations


def test_a_full_folder_is_not_overwritten(store: AnnotationStore, tmp_path: Path) -> None:
    fill(store)
    folder = tmp_path / "data"
    folder.mkdir()
    assert write_dataset(store, folder).rows == 3  # empty is free
    labels = (folder / "labels.tsv").read_bytes()
    (folder / "old.png").touch()
    store.add(picture(5), correction="z", status="accepted")
    with pytest.raises(DatasetError, match="is not empty"):
        write_dataset(store, folder)
    assert (folder / "labels.tsv").read_bytes() == labels
    assert write_dataset(store, folder, overwrite=True).rows == 4
    assert not (folder / "old.png").exists()
    home = tmp_path / "home"
    home.mkdir()
    (home / "letter.txt").write_text("dear")
    with pytest.raises(DatasetError, match="no dataset folder"):
        write_dataset(store, home, overwrite=True)
    with pytest.raises(DatasetError, match="is a file"):
        write_dataset(store, home / "letter.txt", overwrite=True)
    with pytest.raises(DatasetError, match="cannot be written"):
        write_dataset(store, home / "letter.txt" / "data")
    assert [path.name for path in home.iterdir()] == ["letter.txt"]


def test_an_export_that_fails_leaves_the_old_folder(
    store: AnnotationStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    (tmp_path / "out").mkdir()
    write_dataset(store, tmp_path / "out" / "data")
    labels = (tmp_path / "out" / "data" / "labels.tsv").read_bytes()

    def full(path: Path, content: bytes) -> int:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_bytes", full)
    for folder, overwrite in ((tmp_path / "out" / "data", True), (tmp_path / "out" / "other", False)):
        with pytest.raises(DatasetError, match="No space left"):
            write_dataset(store, folder, overwrite=overwrite)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["data"]
    assert (tmp_path / "out" / "data" / "labels.tsv").read_bytes() == labels


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_an_impossible_share_is_refused(share: float, store: AnnotationStore, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="from 0 to 1"):
        write_dataset(store, tmp_path / "data", held_out_share=share)


def test_an_unknown_status_is_refused(store: AnnotationStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no status 'done'"):
        write_dataset(store, tmp_path / "data", statuses=("done",))


# --- folders from elsewhere ---


def test_bad_rows_are_named_and_the_others_saved(store: AnnotationStore, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    picture(0).save(folder / "good.PNG")
    picture(1).save(folder / "deep" / "good.bmp")
    picture(2).save(tmp_path / "outside.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (folder / "ink.inkml").touch()
    (folder / "labels.tsv").write_bytes(
        b"file\tlatex\twriter\r\n"  # as Windows writes it
        b"good.PNG\tx^2\tAda\r\n"
        b"broken.png\tx\t\r\n"
        b"missing.png\tx\t\r\n"
        b"../outside.png\tx\t\r\n"
        b"ink.inkml\tx\t\r\n"
        b"good.PNG\t{x\t\r\n"
        b"deep/good.bmp\ty\t\r\n"
    )
    counts = import_dataset(store, folder, status="pending", annotator="unknown", source="elsewhere")
    assert (counts.rows, counts.created, counts.known) == (7, 2, 0)
    assert [refusal.file for refusal in counts.refused] == [
        "broken.png",
        "missing.png",
        "../outside.png",
        "ink.inkml",
        "good.PNG",
    ]
    assert [refusal.reason for refusal in counts.refused][1:3] == [
        "The file is missing or cannot be read.",
        "The file lies outside of the folder; move it in.",
    ]
    assert [row[1:] for row in rows_of(store)] == [
        (tuple(normalise("x^2")), "Ada", "elsewhere", "pending"),
        (("y",), "unknown", "elsewhere", "pending"),
    ]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "no labels.tsv there"),
        (b"", "line 1"),
        (b"latex\tfile\n", "line 1"),
        (b"file\tlatex\na.png\tx\ty\n", "line 2: 3 fields"),
        (b"file\tlatex\n\xff\tx\n", "UTF-8"),
    ],
)
def test_a_malformed_table_is_refused_whole(
    labels: bytes | None, message: str, store: AnnotationStore, tmp_path: Path
) -> None:
    picture().save(tmp_path / "a.png")
    if labels is not None:
        (tmp_path / "labels.tsv").write_bytes(labels)
    with pytest.raises(DatasetError, match=message):
        import_dataset(store, tmp_path)
    assert store.count() == 0
