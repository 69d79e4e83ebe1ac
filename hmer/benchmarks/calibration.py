"""Whether a confidence of 80 % is right four times in five, and whether the sure answers are the right ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hmer.bootstrap import interval
from hmer.calibration import Evidence, calibrated, fit_calibration

Values = npt.NDArray[np.float64]


def crosswise(evidence: Sequence[Evidence], right: Sequence[bool], folds: int = 10, seed: int = 0) -> Values:
    """The confidence of every answer by a calibration that was fitted on the others: (n,)."""
    order = np.random.default_rng(seed).permutation(len(right))
    confidence = np.zeros(len(right))
    for fold in range(folds):
        out = order[fold::folds]
        rest = np.setdiff1d(order, out)
        fitted = fit_calibration([evidence[index] for index in rest], [right[index] for index in rest])
        confidence[out] = [calibrated(evidence[index], fitted) for index in out]
    return confidence


def brier(confidence: Values, right: Values) -> float:
    """Mean squared difference of confidence and outcome (Brier 1950); 0 is best."""
    return float(np.mean((confidence - right) ** 2))


def expected_calibration_error(confidence: Values, right: Values, bins: int = 10) -> float:
    """Mean over bins of equal mass of |mean confidence - share right|, weighted by their counts (Naeini et al. 2015)."""
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [len(part) * abs(float(confidence[part].mean() - right[part].mean())) for part in parts]
    return float(sum(gaps) / max(len(right), 1))


def risk_coverage(confidence: Values, right: Values) -> tuple[Values, Values]:
    """Share of wrong answers among the surest, for every share of answers that is kept: coverage (n,), risk (n,)."""
    order = np.argsort(-confidence, kind="stable")
    kept = np.arange(1, len(right) + 1)
    return kept / len(right), np.cumsum(1 - right[order]) / kept


def risk_coverage_area(confidence: Values, right: Values) -> float:
    """Mean risk over all coverages (El-Yaniv and Wiener 2010); 0 is best."""
    return float(risk_coverage(confidence, right)[1].mean())


def perfect_error(confidence: Values, draws: int = 2_000, seed: int = 0) -> tuple[float, float]:
    """Mean and 95th percentile of the calibration error of a model whose confidence is exactly right, at this n."""
    random = np.random.default_rng(seed)
    errors = [
        expected_calibration_error(confidence, (random.random(len(confidence)) < confidence).astype(float))
        for _ in range(draws)
    ]
    return float(np.mean(errors)), float(np.quantile(errors, 0.95))


def calibration(evidence: Sequence[Evidence], right: Sequence[bool]) -> dict[str, Any]:
    """Every figure of a set of answers; confidence is fitted crosswise."""
    confidence = crosswise(evidence, right)
    outcome = np.asarray(right, float)
    rows = np.column_stack([confidence, outcome])
    floor, bound = perfect_error(confidence)
    error = expected_calibration_error(confidence, outcome)
    coverage, risk = risk_coverage(confidence, outcome)
    points = [round(share * len(right)) - 1 for share in (0.1, 0.25, 0.5, 0.75, 1.0)]
    return {
        "n": len(right),
        "exprate": float(outcome.mean()),
        "brier": brier(confidence, outcome),
        "brier_interval": list(interval(rows, lambda drawn: brier(drawn[:, 0], drawn[:, 1]))),
        "risk_coverage_area": risk_coverage_area(confidence, outcome),
        "risk_coverage_area_interval": list(
            interval(rows, lambda drawn: risk_coverage_area(drawn[:, 0], drawn[:, 1]), draws=1_000)
        ),
        "risk_at_coverage": {f"{coverage[point]:.2f}": float(risk[point]) for point in points if point >= 0},
        "expected_calibration_error": error,
        "perfect_model_error": floor,
        "perfect_model_error_95": bound,
        "distinguishable_from_perfect": error > bound,
    }
