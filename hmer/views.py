"""Pictures as a frozen encoder sees them: each distorted in a few ways, looked at once, learnt from many times.

Four fifths of the time in which a formula is read under teacher forcing are the encoder's. Where the encoder does not
change, as in fine-tuning, its work is done once for a view, whatever number of steps and trainings take it up again.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hmer.batch import Batch, Seen, of_like_size
from hmer.config import AugmentConfig, ImageConfig
from hmer.datasets.batches import Sample, Source, collate
from hmer.datasets.folder import Item
from hmer.errors import BadImage, BadInk
from hmer.evaluation import looks_apart, looks_joined
from hmer.models.base import Model
from hmer.precision import fastest
from hmer.vocabulary import Vocabulary

log = logging.getLogger(__name__)

POOL = 4  # batches that are drawn together and sorted, so that captions of like length share one


@dataclass(frozen=True)
class View:
    """A distorted picture with its caption, and what the model made of it before it learnt more.

    seen, looks: as in `Batch`, of one picture; None where the model has to find out for itself. log_probs (D, L + 1, V):
    of the next tokens in D directions, for `Batch.anchor`; features (L + 1, C): see `Loss`. None for CTC and for captions that
    it could not write.
    """

    sample: Sample
    tokens: tuple[str, ...]
    seen: Seen | None = None
    looks: Tensor | None = None
    log_probs: Tensor | None = None
    features: Tensor | None = None


class Views:
    """Views of items through the encoder of one model, kept for as long as this is. An item that cannot be read has none."""

    def __init__(
        self, model: Model, vocabulary: Vocabulary, image: ImageConfig, augment: AugmentConfig, seed: int = 0
    ) -> None:
        self.model, self.vocabulary, self.image, self.augment = model, vocabulary, image, augment
        self._random = np.random.default_rng(seed)
        # Two annotators may read one picture differently.
        self._known: dict[tuple[Path, tuple[str, ...]], list[View]] = {}

    def of(self, items: Sequence[Item], count: int, progress: Callable[[int], None] | None = None) -> list[list[View]]:
        """At least `count` views of each item. `progress` is told how many were looked at, after each batch."""
        source = Source(items, self.vocabulary, self.image, self.augment, self.model.magnifier)
        drawn: list[tuple[Item, Sample]] = []
        for index, item in enumerate(items):
            own = self._known.setdefault((item.path, item.tokens), [])
            try:
                drawn += [(item, source.sample(index, self._random)) for _ in range(count - len(own))]
            except (BadImage, BadInk) as error:
                log.warning("left out: %s", error)
        done = 0
        for new in (False, True):  # apart: of captions that it could not write the model says nothing
            some = [one for one in drawn if self._is_new(one[1]) == new]
            for group in of_like_size([sample.pixels.shape for _, sample in some]):
                parts = [some[index] for index in group]
                found = self._look([(sample, item.tokens) for item, sample in parts], new=new)
                for (item, _), view in zip(parts, found, strict=True):
                    self._known[item.path, item.tokens].append(view)
                done += len(group)
                if progress is not None:
                    progress(done)
        return [own for own in (self._known[item.path, item.tokens] for item in items) if own]

    def _is_new(self, sample: Sample) -> bool:
        """Whether the caption holds a token that the model's vocabulary lacks."""
        return max(sample.ids, default=0) >= len(self.model.vocabulary)

    @torch.no_grad()
    def _look(self, pictures: Sequence[tuple[Sample, tuple[str, ...]]], *, new: bool) -> list[View]:
        batch = collate([sample for sample, _ in pictures]).to(next(self.model.parameters()).device)
        views = [View(sample, tokens) for sample, tokens in pictures]
        training = self.model.training
        self.model.eval()
        try:
            with fastest():
                batch.seen = self.model.see(batch.images, batch.sizes)
                loss = None if new else self.model.loss(batch)
        finally:
            self.model.train(training)
        if batch.seen is not None:
            parts = batch.seen.to(torch.device("cpu")).apart()
            views = [dataclasses.replace(view, seen=part) for view, part in zip(views, parts, strict=True)]
        if loss is not None and loss.looks is not None:
            looks = looks_apart(loss.looks, batch.lengths)
            views = [dataclasses.replace(view, looks=look) for view, look in zip(views, looks, strict=True)]
        if loss is not None and loss.log_probs is not None:
            said = loss.log_probs.cpu().half().view(-1, len(views), *loss.log_probs.shape[1:])
            views = [
                dataclasses.replace(view, log_probs=said[:, row, : length + 1].clone())
                for row, (view, length) in enumerate(zip(views, batch.lengths.tolist(), strict=True))
            ]
        if loss is not None and loss.features is not None:
            places = loss.features.float().cpu()
            views = [
                dataclasses.replace(view, features=own[: length + 1].clone())
                for view, own, length in zip(views, places, batch.lengths.tolist(), strict=True)
            ]
        return views


def batch_of(views: Sequence[View], vocabulary: Vocabulary, *, anchored: bool = False) -> Batch:
    """Views as a batch, with the ids of this vocabulary, which may be a larger one.

    `anchored`: the model is to go on saying what it said, in the directions that are known of all.
    """
    samples = [dataclasses.replace(view.sample, ids=tuple(vocabulary.encode(view.tokens))) for view in views]
    batch = collate(samples)
    seen = [view.seen for view in views if view.seen is not None]
    batch.seen = Seen.joined(seen) if seen else None
    looks = [view.looks for view in views if view.looks is not None]
    batch.looks = looks_joined(looks) if len(looks) == len(views) else None
    said = [view.log_probs for view in views if view.log_probs is not None]
    if anchored and len(said) == len(views):
        # Unsegmented writing may have been read in one direction only.
        directions, longest = min(map(len, said)), max(one.shape[1] for one in said)
        padded = [functional.pad(one[:directions], (0, 0, 0, longest - one.shape[1])) for one in said]
        batch.anchor = torch.stack(padded, 1).flatten(0, 1).float()
    return batch


def once(views: Sequence[Sequence[View]], size: int, vocabulary: Vocabulary) -> Iterator[Batch]:
    """Batches of all views of all items, captions of like length together."""
    ordered = sorted((view for own in views for view in own), key=lambda view: len(view.tokens))
    for place in range(0, len(ordered), size):
        yield batch_of(ordered[place : place + size], vocabulary)


def batches(
    views: Sequence[Sequence[View]], size: int, vocabulary: Vocabulary, seed: int, *, anchored: bool = False
) -> Iterator[Batch]:
    """Batches without end: every item in turn, in one of its views; none if there are no views."""
    random = np.random.default_rng(seed)
    order: list[int] = []
    while views:
        pool: list[View] = []
        while len(pool) < POOL * size:
            order = order or random.permutation(len(views)).tolist()
            own = views[order.pop()]
            pool.append(own[int(random.integers(len(own)))])
        pool.sort(key=lambda view: len(view.tokens))
        for place in random.permutation(POOL).tolist():
            yield batch_of(pool[place * size : (place + 1) * size], vocabulary, anchored=anchored)
