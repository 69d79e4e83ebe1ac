"""Which misreadings were corrected more than once, and how sure one must be to see one again; see `hmer.models.recall`."""

import copy
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hmer.config import RecallConfig
from hmer.models.base import Model
from hmer.models.recall import Recall
from hmer.views import View
from hmer.vocabulary import Vocabulary

HABIT = 2  # corrections from which a misreading is one; a single one says nothing of the next formula
# Of the replay tokens that look like it, so many may be lost at full strength, and no larger a share.
BUDGET, SHARE = 2, 0.05
MOST_KEYS, MOST_RIVALS = 512, 64  # in all, and of a token
SHRINKAGE = 0.3  # of the covariance, towards that of a sphere
LEAST_MARGIN = -0.6
FEWEST, UNPROVEN = 5, 0.3  # with fewer replay tokens to tell what may be lost, at least so much must speak for it

Pair = tuple[int, int]  # ids of the right and the wrong token


@dataclass(frozen=True)
class Recollection:
    """A Recall and, for each wrong token, how much speaks against replay tokens that are it indeed, the most first."""

    recall: Recall
    evidence: dict[int, tuple[float, ...]]

    def at(self, strength: float) -> Recall:
        """As sure as it must be to lose no more replay tokens than it may at that strength (0 to 1)."""
        recall = copy.deepcopy(self.recall)
        for wrong, known in self.evidence.items():
            lost = min(math.ceil(BUDGET * strength), int(SHARE * len(known)))
            margin = known[lost] if known else UNPROVEN
            recall.margin[recall.wrong == wrong] = max(margin, UNPROVEN if len(known) < FEWEST else LEAST_MARGIN)
        return recall


@dataclass(frozen=True)
class _Places:
    """Where symbols were read: features of the place (N, C), ids of the true symbols (N,), log-probabilities (N, V)."""

    features: Tensor
    targets: Tensor
    log_probs: Tensor

    @property
    def said(self) -> Tensor:
        """The likeliest ids (N,)."""
        return self.log_probs.argmax(-1)


def habits(views: Sequence[Sequence[View]], vocabulary: Vocabulary) -> list[Pair]:
    """Symbols that were read as another, as the views tell, in at least HABIT items."""
    found: defaultdict[Pair, set[int]] = defaultdict(set)
    for index, own in enumerate(views):
        for view in own:
            if view.log_probs is not None:
                read = view.log_probs[0].argmax(-1).tolist()
                for pair in zip(vocabulary.encode(view.tokens), read, strict=False):  # what is read has an end, too
                    found[pair].add(index)
    written = vocabulary.written
    return sorted(
        (right, wrong)
        for (right, wrong), items in found.items()
        if right != wrong and written[right] and written[wrong] and len(items) >= HABIT
    )


def recall_of(
    model: Model, corrections: Sequence[Sequence[View]], errors: Sequence[Pair], replay: Sequence[Sequence[View]]
) -> Recollection | None:
    """What is to be known again after these corrections, and what the model knew before; None if there is nothing.

    `model`: the parent, whose views these are. `errors`: the corrections' `habits`. `replay`: among them examples of what
    the wrong tokens look like when they are right.
    """
    before = model.recall
    if not errors and before is None:
        return None
    read, known = _places(corrections, model.vocabulary), _places(replay, model.vocabulary)
    if read is None or known is None:  # of what is new there is nothing to be known again; the rest stays as it is
        return None if before is None else Recollection(copy.deepcopy(before), {})
    corrected = torch.zeros_like(read.said, dtype=torch.bool)
    for right, wrong in errors:
        corrected |= (read.targets == right) & (read.said == wrong)

    recall = Recall(RecallConfig(), read.features.shape[-1])
    if before is None:
        recall.mean, recall.whitening = _whitening(known)
    else:
        recall.mean, recall.whitening = before.mean.clone(), before.whitening.clone()
    keys = [recall.whitened(read.features[corrected]), read.targets[corrected], read.said[corrected]]
    if before is not None:
        keys = [torch.cat(parts) for parts in zip(keys, (before.keys, before.right, before.wrong), strict=True)]
    if not len(keys[0]):
        return None
    recall.keys, recall.right, recall.wrong = (values[:MOST_KEYS] for values in keys)
    recall.margin = torch.zeros(len(recall.keys))
    examples = [(known.targets == wrong).nonzero()[:MOST_RIVALS, 0] for wrong in sorted(set(recall.wrong.tolist()))]
    rivals = torch.cat(examples)
    recall.rivals, recall.rival_of = recall.whitened(known.features[rivals]), known.targets[rivals]
    return Recollection(recall, _evidence(recall, known))


def _places(views: Sequence[Sequence[View]], vocabulary: Vocabulary) -> _Places | None:
    """The symbols of all views, as the model read them; None of a model that cannot tell where it looks."""
    written = torch.tensor(vocabulary.written)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for view in (view for own in views for view in own):
        if view.features is None or view.log_probs is None:
            continue
        targets = torch.tensor(vocabulary.encode(view.tokens))
        symbols = written[targets].nonzero()[:, 0]
        parts.append((view.features[symbols], targets[symbols], view.log_probs[0, symbols].float()))
    return _Places(*map(torch.cat, zip(*parts, strict=True))) if parts else None


def _whitening(known: _Places) -> tuple[Tensor, Tensor]:
    """The mean of all features, and the root of the inverse of their covariance within a token: (C,), (C, C)."""
    features, mean = known.features, known.features.mean(0)
    residuals = features.clone()
    for token in set(known.targets.tolist()):
        own = known.targets == token
        residuals[own] -= features[own].mean(0)
    covariance = residuals.T @ residuals / max(len(residuals) - 1, 1)
    sphere = torch.eye(len(covariance)) * covariance.diagonal().mean()
    values, vectors = torch.linalg.eigh((1 - SHRINKAGE) * covariance + SHRINKAGE * sphere)
    return mean, vectors / values.sqrt() @ vectors.T


def _evidence(recall: Recall, known: _Places) -> dict[int, tuple[float, ...]]:
    """For each wrong token, how much speaks for the right one at replay tokens that are it indeed and are read well."""
    seen = recall.whitened(known.features)
    well = known.said == known.targets
    found: dict[int, tuple[float, ...]] = {}
    for wrong in sorted(set(recall.wrong.tolist())):
        own = well & (known.targets == wrong)
        pairs = [pair for pair in recall.pairs() if pair[1] == wrong]
        speaks = [recall.evidence(seen[own], known.log_probs[own], pair, leave_one_out=True) for pair in pairs]
        found[wrong] = tuple(torch.stack(speaks).amax(0).sort(descending=True).values.tolist())
    return found
