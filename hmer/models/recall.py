"""Misreadings that were corrected more than once, known again by what their place in the picture looks like.

From three corrections a decoder learns to read somebody's g, that looks like a y, by moving the border between g and y for
everybody's. This moves nothing: it keeps what the encoder saw at the corrected places. Where the model would write y, not quite
sure of it, at a place that looks more like those than like any y among the examples that it has, it writes g.
Source: nearest neighbours beside a network (Khandelwal et al. 2020), here for corrected choices only.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hmer.config import RecallConfig

NEAR = 0.45  # likeness (cosine, whitened) below which a place has nothing to do with a corrected one
NO_RIVAL = 0.3  # likeness of a place to a token of which there is no example
DOUBT = 0.1  # what one nat counts, by which the model itself thinks the right token less likely


class Recall(nn.Module):
    """Corrected places (`keys`, with the `right` token and the one that was `wrong`), and examples of what the wrong ones
    mean when they are right (`rivals`, of the tokens `rival_of`). Made by `hmer.recall.recall_of`.
    """

    mean: Tensor  # (C,) and (C, C): from the features of a place to what likeness is measured on
    whitening: Tensor
    keys: Tensor  # (K, C), of length 1
    right: Tensor  # (K,), (K,) ids
    wrong: Tensor
    rivals: Tensor  # (R, C), of length 1
    rival_of: Tensor  # (R,) ids
    margin: Tensor  # (K,), how much must speak for it, see `evidence`; the same for all of a pair

    def __init__(self, config: RecallConfig, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("whitening", torch.eye(features))
        self.register_buffer("keys", torch.zeros(config.keys, features))
        self.register_buffer("rivals", torch.zeros(config.rivals, features))
        for name, count in (("right", config.keys), ("wrong", config.keys), ("rival_of", config.rivals)):
            self.register_buffer(name, torch.zeros(count, dtype=torch.long))
        self.register_buffer("margin", torch.zeros(config.keys))

    @property
    def config(self) -> RecallConfig:
        return RecallConfig(len(self.keys), len(self.rivals))

    def pairs(self) -> list[tuple[int, int]]:
        """The misreadings that are remembered: right and wrong token."""
        return list(dict.fromkeys(zip(self.right.tolist(), self.wrong.tolist(), strict=True)))

    def whitened(self, places: Tensor) -> Tensor:
        """Features (..., C) -> (..., C) of length 1, in which no direction says more than another."""
        return functional.normalize((places.float() - self.mean) @ self.whitening, dim=-1)

    def _keys_of(self, pair: tuple[int, int]) -> Tensor:
        return (self.right == pair[0]) & (self.wrong == pair[1])

    def evidence(self, seen: Tensor, scores: Tensor, pair: tuple[int, int], *, leave_one_out: bool = False) -> Tensor:
        """What speaks for the right token: whitened places (..., C) and scores (..., V) of the next token -> (...).

        How much more like the pair's corrected places than like its rivals it is, less the model's doubt; -1 or less where
        it is unlike them. `leave_one_out`: what is an example itself is not compared with itself.
        """
        near = (seen @ self.keys[self._keys_of(pair)].T).amax(-1)
        likeness = seen @ self.rivals[self.rival_of == pair[1]].T
        if leave_one_out:
            likeness = likeness.masked_fill(likeness > 1 - 1e-4, -1.0)
        rival = likeness.amax(-1) if likeness.shape[-1] else torch.full_like(near, NO_RIVAL)
        doubt = (scores[..., pair[1]] - scores[..., pair[0]]).float().clamp(min=0)
        return torch.where(near > NEAR, near - rival, -1.0) - DOUBT * doubt

    def forward(self, scores: Tensor, places: Tensor) -> Tensor:
        """Scores of the next tokens (..., V) at places with these features (..., C), two of them exchanged where known."""
        seen = self.whitened(places)
        for right, wrong in self.pairs():
            one, other = scores[..., right], scores[..., wrong]
            margin = self.margin[self._keys_of((right, wrong))].amax()
            known = (other > one) & (self.evidence(seen, scores, (right, wrong)) > margin)
            if bool(known.any()):
                scores = scores.clone()
                scores[..., right] = torch.where(known, other, one)
                scores[..., wrong] = torch.where(known, one, other)
        return scores
