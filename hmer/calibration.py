"""From what is known of an answer to the probability that it is right (Platt 1999, logistic calibration)."""

import math
from collections.abc import Sequence

import torch

Evidence = tuple[float, ...]
LEAST = -60.0  # what is less likely than e^-60 counts as that


def evidence_of(log_prob: float, tokens: int) -> Evidence:
    """What confidence in a single answer is fitted on: its log-probability by its root, and its length.

    By the log-probability alone, answers of which a model is surest come out too doubtful, and long ones, which lose a
    little at every token, as well.
    """
    return (-math.sqrt(max(-log_prob, 0.0)), -math.log(tokens + 1))


def fit_calibration(evidence: Sequence[Evidence], right: Sequence[bool]) -> tuple[float, ...]:
    """Slopes and offset of p = 1 / (1 + exp(-(slopes * evidence + offset))), by maximum likelihood.

    `evidence` holds the same figures of each answer. Targets are smoothed as Platt does, so that a perfect or hopeless
    set still gives finite numbers.
    """
    positives = sum(right)
    high, low = (positives + 1) / (positives + 2), 1 / (len(right) - positives + 2)
    x = torch.tensor(evidence, dtype=torch.double).clamp(min=LEAST)
    target = torch.tensor([high if item else low for item in right], dtype=torch.double)
    parameters = torch.tensor([1.0] * x.shape[1] + [0.0], dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = x @ parameters[:-1] + parameters[-1]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return tuple(parameters.detach().tolist())


def calibrated(evidence: Evidence, calibration: Sequence[float]) -> float:
    """The probability of being right: `calibration` as `fit_calibration` gave it."""
    *slopes, offset = calibration
    logit = sum(slope * max(value, LEAST) for slope, value in zip(slopes, evidence, strict=True)) + offset
    return 1.0 / (1.0 + math.exp(-max(min(logit, 60.0), -60.0)))
