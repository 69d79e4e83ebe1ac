"""The measurements: their statistics by hand, and each of them on a few real formulas."""

import dataclasses
import gzip
import json
import shutil
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from toys import FORMULAS, GLYPHS, Place, ink_of, write_dataset

from hmer import checkpoint
from hmer.benchmarks import recurring
from hmer.benchmarks.calibration import (
    brier,
    calibration,
    crosswise,
    expected_calibration_error,
    perfect_error,
    risk_coverage,
    risk_coverage_area,
)
from hmer.benchmarks.newsymbols import parted, read_drawings
from hmer.benchmarks.personalise import foreseeable_edits, personalise
from hmer.benchmarks.robustness import BOUNDS, alike, cut_symbols, robustness
from hmer.bootstrap import interval
from hmer.calibration import calibrated, fit_calibration
from hmer.datasets.batches import symbol_positions
from hmer.datasets.folder import Item, read_dataset, read_rows, write_labels
from hmer.errors import ConfigError, DatasetError
from hmer.ink import Ink, read_inkml
from hmer.precision import precision
from hmer.recognizer import Recognition, Recognizer
from scripts import benchmark, plot

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def ink_data() -> Path:
    return checkpoint.resolve("handwritten") / "replay"


def test_an_interval_of_a_mean() -> None:
    assert interval([0.5] * 20) == (0.5, 0.5)
    random = np.random.default_rng(0)
    values = random.normal(1.0, 2.0, 400)
    low, high = interval(values)
    assert low == pytest.approx(values.mean() - 1.96 * 0.1 * values.std() / 2, abs=0.03)
    assert high == pytest.approx(values.mean() + 1.96 * 0.1 * values.std() / 2, abs=0.03)
    assert interval(values) == (low, high)  # the same draws every time
    assert all(map(np.isnan, interval([])))


def test_calibration_by_hand() -> None:
    confidence, right = np.array([0.9, 0.8, 0.3, 0.2]), np.array([1.0, 0.0, 1.0, 0.0])
    assert brier(confidence, right) == pytest.approx((0.01 + 0.64 + 0.49 + 0.04) / 4)
    # Two bins of two: means 0.25 and 0.85, half right in each.
    assert expected_calibration_error(confidence, right, bins=2) == pytest.approx((2 * 0.25 + 2 * 0.35) / 4)
    coverage, risk = risk_coverage(confidence, right)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk.tolist() == pytest.approx([0.0, 0.5, 1 / 3, 0.5])
    assert risk_coverage_area(confidence, right) == pytest.approx((0.5 + 1 / 3 + 0.5) / 4)


def test_a_calibrated_model_is_told_from_one_that_is_not() -> None:
    random = np.random.default_rng(1)
    log_probs = -random.exponential(1.0, 600)
    right = random.random(600) < np.exp(log_probs)
    evidence = [(value,) for value in log_probs.tolist()]
    figures = calibration(evidence, right.tolist())
    assert figures["n"] == 600
    assert not figures["distinguishable_from_perfect"]
    assert figures["brier_interval"][0] < figures["brier"] < figures["brier_interval"][1]
    confidence = crosswise(evidence, right.tolist())
    _, bound = perfect_error(confidence)
    assert expected_calibration_error(np.sqrt(confidence), right.astype(float)) > bound  # far too sure


def test_evidence_that_tells_more_is_weighed_more() -> None:
    random = np.random.default_rng(2)
    first, second = -random.exponential(1.0, 2_000), -random.exponential(1.0, 2_000)
    right = random.random(2_000) < 1 / (1 + np.exp(-(2.0 * second + 1.5)))
    evidence = list(zip(first.tolist(), second.tolist(), strict=True))
    slope, other, offset = fit_calibration(evidence, right.tolist())
    assert abs(slope) < 0.2 and other == pytest.approx(2.0, abs=0.4) and offset == pytest.approx(1.5, abs=0.3)
    assert calibrated((-1.0, -100.0), (0.0, 2.0, 1.5)) < 1e-20


def test_what_is_alike_alone() -> None:
    assert alike("0", "o") and alike("x", "x") and alike("-", "\\frac") and alike("|", "1")
    assert not alike("0", "8") and not alike("a", "A")


def test_cut_symbols_are_single_or_side_by_side(ink_data: Path) -> None:
    inks = [read_inkml(path) for path in sorted(ink_data.glob("*.inkml"))[:80]]
    cuts = cut_symbols(inks, 60)
    assert [len(labels) for labels, _ in cuts] == [1] * 30 + [2] * 30
    for labels, ink in cuts:
        assert len(ink.strokes) >= len(labels)
    assert cut_symbols(inks, 60)[7][0] == cuts[7][0]


def test_what_corrections_could_have_foretold() -> None:
    first = [("x+1", "x+l"), ("ab", "ab")]
    later = [
        ("1+1", "l+y"),  # the same error again; the same symbol otherwise
        ("b", "6"),  # was written, and well read
        ("cd", "e"),  # never seen; one is left out
    ]
    assert foreseeable_edits(first, later) == {"edits": 5, "replaced": 4, "written": 3, "misread": 2, "repeated": 1}
    assert set(foreseeable_edits([], []).values()) == {0}


def test_personalise_counts_writers_and_corrections(
    toy_checkpoint: Path, data_folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = Path(shutil.copytree(toy_checkpoint, tmp_path / "toy"))
    write_dataset(parent / "regression", FORMULAS)
    data = write_dataset(tmp_path / "data", dict(list(FORMULAS.items())[:2]), repeats=24)
    rows = [(row["file"], row["latex"], "ada" if index % 2 else "bob") for index, row in enumerate(read_rows(data))]
    write_labels(
        data, [*rows[:-5], *((file, latex, "eve") for file, latex, _ in rows[-5:])], ("file", "latex", "writer")
    )
    monkeypatch.setattr("hmer.finetune.steps_for", lambda corrections: 1)
    monkeypatch.setattr("hmer.finetune.folds_for", lambda corrections: 2)
    monkeypatch.setattr("hmer.finetune.TRIES", 1)
    out = tmp_path / "figures.json"
    command = ["personalise", "--checkpoint", str(parent), "--data", str(data), "--force", "--json", str(out)]

    # Stopped at the second writer and in the middle of a line: the first is not measured again.
    def stopped(writer: str, count: int, line: object) -> None:
        if writer == "bob":
            raise KeyboardInterrupt

    items = read_dataset(data, "crohme")
    journal = out.with_suffix(".jsonl")
    counts = (0, 5, 10, 15)
    with pytest.raises(KeyboardInterrupt):
        personalise(str(parent), items, counts=counts, force=True, threads=1, journal=journal, report=stopped)
    with journal.open("a", encoding="utf-8") as file:
        file.write('{"key": "0a')
    assert benchmark.main(command) == 0
    assert "bob" in (said := capsys.readouterr().out) and "ada" not in said
    assert not journal.exists()  # asked again, all is measured again
    with pytest.raises(ConfigError, match="at most 15"):
        benchmark.main([*command, "--counts", "20"])
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures["writers"] == 2  # eve has too few
    for name in ("token_error_rate_by_corrections", "exprate_by_corrections", "regression_by_corrections"):
        assert list(figures[name]) == list(figures["intervals"][name]) == ["0", "5", "10", "15"]
    assert figures["seconds_per_finetune"] > 0
    assert list(figures["accepted_by_corrections"]) == ["5", "10", "15"]
    assert figures["fall_by_corrections"]["0"] == {
        "mean": 0.0, "interval": [0.0, 0.0], "relative": 0.0, "relative_interval": [0.0, 0.0], "worse": 0
    }  # fmt: skip
    assert list(figures["foreseeable_by_corrections"]) == ["5", "10", "15"]
    assert plot.main(["learning", str(out), "--out", str(tmp_path / "curves.png")]) == 0
    assert (tmp_path / "curves.png").stat().st_size > 5_000
    (tmp_path / "none.json").write_text("{}")
    with pytest.raises(ConfigError, match="is no JSON file of benchmark.py personalise"):
        plot.main(["learning", str(tmp_path / "none.json"), "--out", str(tmp_path / "no.png")])


def test_new_symbols_are_taught_by_some_and_drawn_by_others(
    toy_checkpoint: Path, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"label": label, "writer": f"w{number % 9}", "strokes": [[[x * 50 + number, y * 50] for x, y in stroke] for stroke in GLYPHS[glyph]]}
        for label, glyph in (("K", "x"), ("Z", "2"), ("1", "1"))
        for number in range(18)
    ]  # fmt: skip
    path = tmp_path / "drawings.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    taught, unseen = parted(read_drawings(path, ["K", "Z"]), 5, 3)
    assert [one.label for one in taught] == ["K"] * 5 + ["Z"] * 5 and len(unseen) == 6
    for label in "KZ":
        teachers = {one.writer for one in taught if one.label == label}
        assert len(teachers) == 5 and not teachers & {one.writer for one in unseen if one.label == label}
    monkeypatch.setattr("hmer.finetune.steps_for", lambda corrections: 1)
    monkeypatch.setattr("hmer.finetune.folds_for", lambda corrections: 2)
    monkeypatch.setattr("hmer.finetune.TRIES", 1)
    out = tmp_path / "figures.json"
    common = ["newsymbols", "--checkpoint", str(toy_checkpoint), "--data", str(path), "--corrections", "5"]
    assert benchmark.main([*common, "--symbols", "K", "Z", "--json", str(out)]) == 0
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures["corrections"] == 10 and figures["n"] == 8 and set(figures["read_by_symbol"]) == {"K", "Z"}
    assert figures["gate"]["regression"] is None
    with pytest.raises(ConfigError, match="knows 1 already"):
        benchmark.main([*common, "--symbols", "1", "Z"])
    with pytest.raises(DatasetError, match="too few"):
        parted(taught, 5, 3)


class Answers:
    """A recogniser that gives what it is told to, one after the other."""

    def __init__(self, *answers: str) -> None:
        self.answers = iter(answers)

    def recognize(self, pictures: list[object]) -> list[Recognition]:
        return [Recognition("", tuple(next(self.answers).split()), 0.5, (), (), "", 0.0, 0.0) for _ in pictures]


def written(caption: str, places: list[Place] | None = None) -> recurring.Written:
    ink, tokens = ink_of(places or FORMULAS[caption]), tuple(caption.split())
    return recurring.Written(Item(Path("a.inkml"), tokens), ink, tuple(symbol_positions(tokens, ink)))


def test_an_error_is_one_symbol_taken_for_another() -> None:
    formulas = [written(caption) for caption in ("1 + x", "x - 2", "2 = x", "x ^ { 2 }", "x _ { 0 }", "0 + 0 + 1")]
    answers = Answers("1 + y", "x - z", "2 = x", "x _ { 2 }", "x _ { 0 } 1", "1 + 1 + 1")
    found = list(recurring.misreadings(answers, formulas, ()))  # type: ignore[arg-type]
    assert [(one.token, one.read_as, one.position) for one in found] == [("x", "y", 2), ("2", "z", 2)]


@pytest.mark.parametrize(("caption", "at"), [("2 = x", slice(3, 5)), ("x ^ { 2 }", slice(0, 2))])
def test_a_misread_symbol_is_shown_in_the_place_of_another(
    caption: str, at: slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurring, "_picture", lambda ink, random: ink)
    hand = [dataclasses.replace(symbol, label="x") for symbol in ink_of([(r"\Delta", 0, 0, 1, 1)]).symbols]
    triangle = dataclasses.replace(ink_of([(r"\Delta", 0, 0, 1, 1)]), symbols=tuple(hand))
    error = recurring.Misreading(recurring.Written(Item(Path("b.inkml"), ("x",)), triangle, (0,)), 0, "y")
    other = written(caption)
    shown = cast(Ink, recurring.shown_in(error, other, 0)).strokes
    box = np.concatenate(other.ink.strokes[at])
    for stroke in shown[at]:  # of an x two, both of which are now the triangle
        assert len(stroke) == len(triangle.strokes[0])
        assert (stroke.min(0) + stroke.max(0)) / 2 == pytest.approx((box.min(0) + box.max(0)) / 2, abs=0.1)
    kept = [index for index in range(len(shown)) if not at.start <= index < at.stop]
    assert all((shown[index] == other.ink.strokes[index]).all() for index in kept)


def test_without_errors_there_is_nothing_to_correct(toy_checkpoint: Path, toy_data: Path) -> None:
    with pytest.raises(DatasetError, match="give ink with its segmentation"):
        benchmark.main(["recurring", "--checkpoint", str(toy_checkpoint), "--data", str(toy_data)])


@pytest.mark.parametrize("name", ["speed", "robustness", "calibration"])
def test_each_measures_and_writes(name: str, ink_data: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "figures.json"
    more = {"robustness": ["--symbol_count", "6"], "speed": ["--others"]}
    common = ["--data", str(ink_data), "--limit", "4" if name != "calibration" else "30", "--json", str(out)]
    assert benchmark.main([name, *common, *more.get(name, [])]) == 0
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures["checkpoint"].startswith("handwritten")
    if name == "speed":
        assert figures["load_s"] > 0
        assert [(line["strategy"], line["batch"]) for line in figures["formulas"]] == [
            ("greedy", 1), ("greedy", 16), ("beam", 1), ("beam", 16),
        ]  # fmt: skip
        assert all(0 < line["median_ms"] <= line["p95_ms"] for line in figures["formulas"])
        ways = ("", ", cached", *((", bf16", ", cached, bf16") if precision() == "bf16" else ()))
        others = [f"{name}{way}" for name in ("pix2tex's network", "CoMER-sized") for way in ways]
        assert [line["network"] for line in figures["networks"]] == ["hmer", *others]
        assert figures["networks"][0]["times_hmer"] == 1.0
    elif name == "robustness":
        assert len(figures["conditions"]) == 15
        assert figures["conditions"]["plain"]["loss"] == 0.0
        assert {line["bound"] for line in figures["conditions"].values()} == {0.03, 0.05}
        assert set(BOUNDS) <= set(figures["conditions"])
        assert figures["symbols"]["single_symbols"]["n"] == 3
    else:
        assert figures["n"] == 30 and 0 <= figures["brier"] <= 1
    assert "checkpoint" in capsys.readouterr().out


def test_figures_that_could_not_be_written_are_not_measured(ink_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make it first"):
        benchmark.main(["regions", "--data", str(ink_data), "--json", str(tmp_path / "none" / "figures.json")])


def test_robustness_of_pictures_changes_the_pictures(toy_checkpoint: Path, toy_data: Path) -> None:
    recognizer = Recognizer.load(toy_checkpoint)
    items = [item for item in read_dataset(toy_data, "crohme") if item.path.suffix == ".png"][:4]
    figures = robustness(recognizer, items, conditions=("zoom-2", "dark-mode", "photo-light"))
    assert list(figures) == ["plain", "zoom-2", "dark-mode", "photo-light"]
    assert all(
        line["n"] == 4 and line["loss"] == figures["plain"]["exprate"] - line["exprate"] for line in figures.values()
    )
    with pytest.raises(ConfigError, match=r"no condition.*zoom-0\.5"):
        robustness(recognizer, items, conditions=("thin",))
