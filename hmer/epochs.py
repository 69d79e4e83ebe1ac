"""What a run does from one validation to the next: share of its own tokens, patience, and the table of its epochs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hmer.config import TrainConfig

_STEEPNESS = 12.0  # k of the inverse sigmoid, in percent of the run: half way down after 30 percent


def sampling_share(config: TrainConfig, progress: float) -> float:
    """The share of steps that are fed with the model's own last token, `progress` (0 to 1) through the run.

    Source: scheduled sampling, Bengio et al. 2015; linear, or the inverse sigmoid k / (k + exp(i / k)).
    """
    if config.scheduled_sampling == "none":
        return 0.0
    if config.scheduled_sampling == "linear":
        return config.sampling_share * min(progress, 1.0)
    truth = _STEEPNESS / (_STEEPNESS + math.exp(100 * min(progress, 1.0) / _STEEPNESS))
    return config.sampling_share * (1 - truth)


@dataclass
class Patience:
    """The lowest validation loss, how long ago it was, and what that made of the learning rate."""

    best: float = math.inf
    since: int = 0  # validations since the lowest loss
    waited: int = 0  # the same, since the rate was last lowered too
    scale: float = 1.0  # factor of the learning rate

    def see(self, loss: float, config: TrainConfig) -> None:
        """Take in the loss of a validation."""
        if loss < self.best:
            self.best, self.since, self.waited = loss, 0, 0
            return
        self.since += 1
        self.waited += 1
        if config.schedule == "plateau" and self.waited > config.plateau_patience:
            self.scale *= config.plateau_factor
            self.waited = 0

    def lost(self, config: TrainConfig) -> bool:
        """Whether the run should end early."""
        return 0 < config.early_stop <= self.since


EPOCH_HEADER = f"{'epoch':>7} {'loss':>8} {'token accuracy':>15} {'BLEU':>7} {'Levenshtein similarity':>23}"


def epoch_row(line: Mapping[str, Any]) -> str:
    """A validation of a run's log as a row under EPOCH_HEADER; BLEU from 0 to 1, as in published tables of this kind."""
    accuracy = line.get("validation_token_accuracy")
    return (
        f"{line['epoch']:>7.2f} {line['validation_loss']:>8.4f} {'-' if accuracy is None else f'{accuracy:.4f}':>15} "
        f"{line['validation_bleu'] / 100:>7.4f} {line['validation_levenshtein_similarity']:>23.4f}"
    )
