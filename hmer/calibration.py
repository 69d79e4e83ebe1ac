"""From the log-probability of an answer to the probability that it is right (Platt 1999, logistic calibration)."""

from collections.abc import Sequence

import torch


def fit_calibration(log_probs: Sequence[float], right: Sequence[bool]) -> tuple[float, float]:
    """Slope and offset of p = 1 / (1 + exp(-(slope * log_prob + offset))), by maximum likelihood.

    Targets are smoothed as Platt does, so that a perfect or hopeless set still gives finite numbers.
    """
    positives = sum(right)
    high, low = (positives + 1) / (positives + 2), 1 / (len(right) - positives + 2)
    x = torch.tensor(log_probs, dtype=torch.double).clamp(min=-60)
    target = torch.tensor([high if item else low for item in right], dtype=torch.double)
    parameters = torch.tensor([1.0, 0.0], dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = parameters[0] * x + parameters[1]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    slope, offset = parameters.detach().tolist()
    return slope, offset
