"""The measurements: their statistics by hand, and each of them on a few real formulas."""

import json
from pathlib import Path

import numpy as np
import pytest
from toys import FORMULAS, write_dataset

from hmer import checkpoint
from hmer.benchmarks.bootstrap import interval
from hmer.benchmarks.calibration import (
    brier,
    calibration,
    crosswise,
    expected_calibration_error,
    perfect_error,
    risk_coverage,
    risk_coverage_area,
)
from hmer.benchmarks.robustness import BOUNDS, alike, cut_symbols, robustness
from hmer.datasets.folder import read_dataset, read_rows, write_labels
from hmer.errors import ConfigError
from hmer.ink import read_inkml
from hmer.recognizer import Recognizer
from scripts import benchmark

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
    figures = calibration(log_probs.tolist(), right.tolist())
    assert figures["n"] == 600
    assert not figures["distinguishable_from_perfect"]
    assert figures["brier_interval"][0] < figures["brier"] < figures["brier_interval"][1]
    confidence = crosswise(log_probs.tolist(), right.tolist())
    _, bound = perfect_error(confidence)
    assert expected_calibration_error(np.sqrt(confidence), right.astype(float)) > bound  # far too sure


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


def test_personalise_counts_writers_and_corrections(
    toy_checkpoint: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_dataset(tmp_path / "data", dict(list(FORMULAS.items())[:2]), repeats=24)
    rows = [(row["file"], row["latex"], "ada" if index % 2 else "bob") for index, row in enumerate(read_rows(data))]
    write_labels(
        data, [*rows[:-5], *((file, latex, "eve") for file, latex, _ in rows[-5:])], ("file", "latex", "writer")
    )
    monkeypatch.setattr("hmer.finetune.steps_for", lambda corrections: 1)
    out = tmp_path / "figures.json"
    assert benchmark.main(
        ["personalise", "--checkpoint", str(toy_checkpoint), "--data", str(data), "--json", str(out)]
    ) == 0  # fmt: skip
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures["writers"] == 2  # eve has too few
    for name in ("token_error_rate_by_corrections", "exprate_by_corrections"):
        assert list(figures[name]) == list(figures["intervals"][name]) == ["0", "5", "10", "15"]
    assert figures["regression_by_corrections"] == {}  # the toy carries no regression set
    assert list(figures["seconds_per_finetune"]) == ["5", "10", "15"]
    assert figures["fall_by_corrections"]["0"] == {"mean": 0.0, "interval": [0.0, 0.0], "worse": 0}
    assert "ada" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["speed", "robustness", "calibration"])
def test_each_measures_and_writes(name: str, ink_data: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "figures.json"
    common = ["--data", str(ink_data), "--limit", "4" if name != "calibration" else "30", "--json", str(out)]
    assert benchmark.main([name, *common, *(["--symbol_count", "6"] if name == "robustness" else [])]) == 0
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures["checkpoint"].startswith("handwritten")
    if name == "speed":
        assert 0 < figures["median_ms"] <= figures["p95_ms"] and figures["load_s"] > 0
    elif name == "robustness":
        assert len(figures["conditions"]) == 15
        assert figures["conditions"]["plain"]["loss"] == 0.0
        assert {line["bound"] for line in figures["conditions"].values()} == {0.03, 0.05}
        assert set(BOUNDS) <= set(figures["conditions"])
        assert figures["symbols"]["single_symbols"]["n"] == 3
    else:
        assert figures["n"] == 30 and 0 <= figures["brier"] <= 1
    assert "checkpoint" in capsys.readouterr().out


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
