"""From corrections to a better checkpoint: train from the old one with its replay set mixed in, then compare.

The new checkpoint knows its parent. What is compared, old against new on the same items: the held-out corrections,
and the frozen regression set that travels with the checkpoint.
"""

import contextlib
import dataclasses
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmer import checkpoint as checkpoints
from hmer.batch import Batch
from hmer.config import AugmentConfig, TrainConfig
from hmer.datasets.batches import Source, collate
from hmer.datasets.folder import Item, read_dataset, sample, write_labels
from hmer.errors import BadImage, BadInk, CheckpointError, DatasetError
from hmer.metrics import Scores
from hmer.models.base import Model, with_ends
from hmer.models.ctc import CtcModel
from hmer.recognizer import Recognizer
from hmer.trainer import Trainer, evaluate
from hmer.vocabulary import Vocabulary

log = logging.getLogger(__name__)

REPLAY, REGRESSION = "replay", "regression"


@dataclass(frozen=True)
class Comparison:
    """Old against new on one set of items; None where the set is empty."""

    name: str
    before: Scores
    after: Scores


@dataclass(frozen=True)
class FineTuned:
    """The folder of the new checkpoint, what was new in its vocabulary, and the comparisons."""

    folder: Path
    new_tokens: tuple[str, ...]
    comparisons: tuple[Comparison, ...]


def steps_for(corrections: int) -> int:
    """Optimiser steps that suit a number of corrections: enough to learn ten, no more than minutes for hundreds."""
    return int(min(40 + corrections, 300))


@torch.no_grad()
def imprint(model: Model, batches: Iterable[Batch], tokens: Iterable[str]) -> None:
    """Give the output rows of new tokens the direction of the states from which they ought to be written.

    The bias makes a new token as likely there as its best rival, which the training then decides; elsewhere it stays
    unlikely. Learning the rows from nothing would take a rate or a number of steps that harms all others.
    Source: weight imprinting (Qi, Brown and Lowe 2018).
    """
    wanted: dict[int, list[Tensor]] = {model.vocabulary.encode([token])[0]: [] for token in tokens}
    states: list[Tensor] = []
    handle = model.out.register_forward_pre_hook(lambda module, inputs: states.append(inputs[0]))
    training, both = model.training, model.bidirectional
    model.eval()
    model.bidirectional = False
    try:
        for batch in batches:
            model.loss(batch)
            _, targets = with_ends(batch.tokens, batch.lengths, reverse=False)
            for index, found in wanted.items():
                found.append(states[-1][targets == index])
            states.clear()
    finally:
        handle.remove()
        model.bidirectional = both
        model.train(training)
    weight, bias = model.out.weight, model.out.bias
    old = min(wanted, default=len(weight))
    size = weight[:old].norm(dim=1).mean()
    for index, found in wanted.items():
        seen = torch.cat(found) if found else weight[:0]
        if len(seen):
            weight[index] = seen.mean(0) / seen.mean(0).norm() * size
            rival = (seen @ weight[:old].T + bias[:old]).amax(1)
            bias[index] = (rival - seen @ weight[index]).mean()


def learn(
    reference: str | Path,
    items: Sequence[Item],
    out: Path,
    *,
    steps: int = 0,
    seed: int = 0,
    threads: int = 0,
    report: Callable[[dict[str, Any]], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[str, ...]:
    """Write to `out` a checkpoint that has learnt the items; return the tokens that were new to it.

    `steps` 0 chooses by the number of items. Raises CheckpointError, also when it was cancelled.
    """
    parent = checkpoints.resolve(reference)
    config = checkpoints.read_config(parent)
    new_tokens = Vocabulary(config.vocabulary).missing(token for item in items for token in item.tokens)
    with tempfile.TemporaryDirectory(prefix="hmer-finetune-") as working:
        corrections = Path(working) / "corrections"
        _copy(items, corrections)
        folders = [str(corrections)]
        if (parent / REPLAY).is_dir():
            folders.append(str(parent / REPLAY))
        else:
            log.warning("%s carries no replay set: other writing may be forgotten.", parent)
        settings = TrainConfig(
            train=tuple(folders),
            every_folder=True,
            out=str(Path(working) / out.name),
            initial=str(parent),
            label_form=config.label_form,
            seed=seed,
            steps=steps or steps_for(len(items)),
            # Found by experiment (its table is in the card of `handwritten`): a rate much lower than in training, or
            # what the parent learnt while its rate fell is undone, and replay in every single step.
            batch_size=8,
            learning_rate=5e-5,
            warmup_steps=10,
            decay_share=0.5,
            weight_decay=0.0,
            average_decay=0.95,
            freeze_statistics=True,
            mixed_precision="auto",
            threads=threads,
            workers=0,
            pool_batches=4,
            save_minutes=60.0,
            log_steps=10,
            augment=AugmentConfig(),
        )
        trainer = Trainer(settings)
        if new_tokens and not isinstance(trainer.model, CtcModel):  # whose states are frames, not tokens
            imprint(trainer.model, _showing(new_tokens, items, trainer), new_tokens)
        trainer.fit(report, cancelled)
        if cancelled is not None and cancelled():
            raise CheckpointError("Fine-tuning was cancelled; nothing was changed.")
        trainer.base = dataclasses.replace(trainer.base, name=out.name, calibration=config.calibration)
        trainer.write_checkpoint(out)
    return tuple(new_tokens)


def fine_tune(
    reference: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    steps: int = 0,
    seed: int = 0,
    threads: int = 0,
    regression_limit: int = 0,
    report: Callable[[dict[str, Any]], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> FineTuned:
    """Fine-tune a checkpoint on a dataset folder and compare old and new.

    Rows whose `split` is `held_out` are kept from training and measured on; without such a column all are trained on.
    `steps` 0 chooses by the number of corrections. Raises DatasetError, CheckpointError, and CheckpointError too if
    `out` exists.
    """
    out = Path(out)
    if out.exists():
        raise CheckpointError(f"{out}: exists already; choose another folder, the old checkpoint stays as it is.")
    old = Recognizer.load(reference)
    form = old.config.label_form
    items = read_dataset(data, form)
    held_out = [item for item in items if item.split == "held_out"]
    train = [item for item in items if item.split != "held_out"]
    if not train:
        raise DatasetError(f"{data}: every row is held out; nothing is left to train on.")
    new_tokens = learn(
        reference, train, out, steps=steps, seed=seed, threads=threads, report=report, cancelled=cancelled
    )
    new = Recognizer.load(out)
    sets = [("held-out corrections", held_out), ("corrections trained on", train)]
    parent = checkpoints.resolve(reference)
    if (parent / REGRESSION).is_dir():
        sets.append(("regression set", sample(read_dataset(parent / REGRESSION, form), regression_limit)))
    comparisons = [
        Comparison(name, evaluate(old, chosen).scores, evaluate(new, chosen).scores) for name, chosen in sets if chosen
    ]
    return FineTuned(out, new_tokens, tuple(comparisons))


def _showing(tokens: Sequence[str], items: Sequence[Item], trainer: Trainer) -> Iterator[Batch]:
    """Every item in which one of the tokens stands (100 at most), distorted in a few ways: a batch an item."""
    random = np.random.default_rng(trainer.config.seed)
    chosen = [item for item in items if set(tokens) & set(item.tokens)][:100]
    source = Source(chosen, trainer.model.vocabulary, trainer.base.image, trainer.config.augment)
    for index in range(len(source)):
        samples = []
        for _ in range(4):
            with contextlib.suppress(BadImage, BadInk):  # named by the training itself
                samples.append(source.sample(index, random))
        if samples:
            yield collate(samples)


def _copy(items: Sequence[Item], folder: Path) -> None:
    """A dataset folder with copies of the items' files: a link out of a dataset folder is refused when it is read."""
    folder.mkdir()
    rows = []
    for index, item in enumerate(items):
        name = f"{index:06}{item.path.suffix.lower()}"
        shutil.copyfile(item.path, folder / name)
        rows.append((name, " ".join(item.tokens)))
    write_labels(folder, rows, ("file", "latex"))


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Before and after, a line a set."""
    lines = [f"{'':<24} {'n':>5} {'exprate':>17} {'token_error_rate':>19}"]
    for item in comparisons:
        rates = f"{item.before.exprate:.3f} -> {item.after.exprate:.3f}"
        errors = f"{item.before.token_error_rate:.3f} -> {item.after.token_error_rate:.3f}"
        lines.append(f"{item.name:<24} {item.before.n:>5} {rates:>17} {errors:>19}")
    return "\n".join(lines)
