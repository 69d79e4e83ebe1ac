"""From corrections to a better checkpoint: train from the old one with its replay set mixed in, then the gate.

What is compared, old against new, is told in `hmer.gate`: corrections that were not trained on (by cross-validation
where few are held out), and the frozen regression set that travels with the checkpoint. A new checkpoint that does not
pass is not kept unless asked for; the old one stays as it is in any case.
"""

import contextlib
import copy
import dataclasses
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmer import checkpoint as checkpoints
from hmer.batch import Batch
from hmer.checkpoint import Checkpoint, CheckpointConfig
from hmer.config import AugmentConfig, TrainConfig
from hmer.datasets.batches import Source, collate
from hmer.datasets.folder import Item, read_dataset, write_labels
from hmer.errors import BadImage, BadInk, CheckpointError, DatasetError
from hmer.gate import REGRESSION, Comparison, Reader, Readings, RegressionSet, Verdict
from hmer.models.base import Model, with_ends
from hmer.models.ctc import CtcModel
from hmer.recognizer import Recognizer
from hmer.trainer import Trainer
from hmer.vocabulary import Vocabulary

log = logging.getLogger(__name__)

REPLAY = "replay"
ENOUGH_HELD_OUT = 50  # below, whether it improves is measured by cross-validation
BATCH_SIZE = 8
RATE = 5e-5
FOLD_STEPS = 0.5  # of the steps, for a part of the cross-validation
# How far to go from the parent to what training gave: the first that passes the gate is taken. See `blended`.
STRENGTHS = (1.0, 0.5)

Report = Callable[[str, float], None]  # what is being done, and the share of the whole that is done
Cancelled = Callable[[], bool]


@dataclass(frozen=True)
class FineTuned:
    """The folder of the new checkpoint (None: refused and not kept), what was new in its vocabulary, the verdict."""

    folder: Path | None
    new_tokens: tuple[str, ...]
    verdict: Verdict
    strength: float


def steps_for(corrections: int) -> int:
    """Optimiser steps that suit a number of corrections: enough to learn ten, no more than minutes for hundreds."""
    return int(min(30 + corrections // 2, 150))


def folds_for(corrections: int) -> int:
    """Parts for cross-validation: more where there is little to train on."""
    return 3 if corrections < 30 else 2


class _Progress:
    """Adds up work, in pictures that pass through the model, and stops it when it is cancelled."""

    def __init__(self, total: float, report: Report | None, cancelled: Cancelled | None) -> None:
        self.total, self.report, self.cancelled = max(total, 1.0), report, cancelled
        self.done, self.name = 0.0, ""

    def begin(self, name: str) -> None:
        self.name = name
        self.to(self.done)

    def to(self, done: float) -> None:
        if self.cancelled is not None and self.cancelled():
            raise CheckpointError("Fine-tuning was cancelled; nothing was changed.")
        self.done = done
        if self.report is not None:
            self.report(self.name, min(self.done / self.total, 1.0))

    def reading(self) -> Callable[[int], None]:
        """For `Reader.read`, which tells how many are done so far."""
        before = self.done

        def show(count: int) -> None:
            self.to(before + count)

        return show


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


@dataclass(frozen=True)
class Learnt:
    """What training gave: the parent, the model with all that it learnt, its configuration and the card's text."""

    parent: Checkpoint
    model: Model
    config: CheckpointConfig
    card: str
    new_tokens: tuple[str, ...]

    def blended(self, strength: float) -> Model:
        """The model part of the way from the parent, 0 to 1; a new symbol's rows are as they were learnt.

        Between the two the new writing is still read, and less of the old is lost.
        Source: weight interpolation (Wortsman et al. 2022, WiSE-FT).
        """
        model = copy.deepcopy(self.model)
        state = model.state_dict()
        for name, old in self.parent.model.state_dict().items():
            if old.is_floating_point():
                rows = slice(None) if old.shape == state[name].shape else slice(len(old))
                state[name][rows] = old + (state[name][rows] - old) * strength
        return model

    def recognizer(self, strength: float) -> Recognizer:
        """It in memory, to measure it."""
        return Recognizer(Checkpoint(self.blended(strength).eval(), self.config, self.config.name))

    def save(self, folder: Path, strength: float, *, card: str = "", corrections: str = "", sets: bool = True) -> Path:
        """Write the checkpoint; with `sets` the parent's replay and regression sets travel along."""
        config = dataclasses.replace(
            self.config, name=folder.name, corrections=corrections,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )  # fmt: skip
        extra = self.parent.folder if sets else None
        return checkpoints.save(folder, self.blended(strength), config, card=self.card + card, extra=extra)


def train_on(
    parent: Path,
    items: Sequence[Item],
    name: str,
    *,
    steps: int,
    replay: bool = True,
    seed: int = 0,
    threads: int = 0,
    report: Callable[[dict[str, Any]], None] | None = None,
    cancelled: Cancelled | None = None,
) -> Learnt:
    """Train from the checkpoint in `parent` on the items; nothing is written. Raises CheckpointError, DatasetError."""
    config = checkpoints.read_config(parent)
    new_tokens = Vocabulary(config.vocabulary).missing(token for item in items for token in item.tokens)
    with tempfile.TemporaryDirectory(prefix="hmer-finetune-") as working:
        corrections = Path(working) / "corrections"
        _copy(items, corrections)
        folders = [str(corrections)]
        if replay and (parent / REPLAY).is_dir():
            folders.append(str(parent / REPLAY))
        settings = TrainConfig(
            train=tuple(folders),
            every_folder=True,
            out=str(Path(working) / name),
            initial=str(parent),
            label_form=config.label_form,
            seed=seed,
            steps=steps,
            # Found by experiment (its table is in the card of `handwritten`): a rate much lower than in training, or
            # what the parent learnt while its rate fell is undone, and replay in every single step.
            batch_size=BATCH_SIZE,
            learning_rate=RATE,
            warmup_steps=10,
            decay_share=0.5,
            weight_decay=0.0,
            average_decay=0.95,
            freeze_statistics=True,
            mixed_precision="auto",
            threads=threads,
            workers=0,
            pool_batches=4,
            save_minutes=0.0,
            log_steps=5,
            augment=AugmentConfig(),
        )
        trainer = Trainer(settings)
        if new_tokens and not isinstance(trainer.model, CtcModel):  # whose states are frames, not tokens
            imprint(trainer.model, _showing(new_tokens, items, trainer), new_tokens)
        trainer.fit(report, cancelled, bar=False)
        if cancelled is not None and cancelled():
            raise CheckpointError("Fine-tuning was cancelled; nothing was changed.")
        base = dataclasses.replace(trainer.base, calibration=config.calibration)
        return Learnt(checkpoints.load(parent), trainer.averaged().model, base, trainer.card(), tuple(new_tokens))


def learn(
    reference: str | Path, items: Sequence[Item], out: Path, *, steps: int = 0, seed: int = 0, threads: int = 0
) -> tuple[str, ...]:
    """Write to `out` a checkpoint that has learnt the items, unjudged; return the tokens that were new to it.

    `steps` 0 chooses by the number of items. Raises CheckpointError.
    """
    learnt = train_on(
        checkpoints.resolve(reference),
        items,
        out.name,
        steps=steps or steps_for(len(items)),
        seed=seed,
        threads=threads,
    )
    learnt.save(out, STRENGTHS[0])
    return learnt.new_tokens


def fine_tune(
    reference: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    steps: int = 0,
    seed: int = 0,
    threads: int = 0,
    regression_limit: int = 0,
    force: bool = False,
    report: Report | None = None,
    cancelled: Cancelled | None = None,
) -> FineTuned:
    """Fine-tune a checkpoint on a dataset folder, and let the gate decide; `force` keeps what it refuses.

    Rows whose `split` is `held_out` are kept from training and measured on if they are ENOUGH_HELD_OUT; else all rows
    are trained on, and measured on by cross-validation. `steps` 0 chooses by the number of corrections. `report` is
    told what is being done and the share of all work that is done.
    Raises DatasetError, CheckpointError, and CheckpointError too if `out` exists or it was cancelled.
    """
    out = Path(out)
    if out.exists():
        raise CheckpointError(f"{out}: exists already; choose another folder, the old checkpoint stays as it is.")
    if threads:
        torch.set_num_threads(threads)
    parent = checkpoints.resolve(reference)
    old = Recognizer.load(parent)
    known = old.model.vocabulary
    items = read_dataset(data, old.config.label_form)
    held_out = [item for item in items if item.split == "held_out"]
    crosswise = len(held_out) < ENOUGH_HELD_OUT
    train = items if crosswise else [item for item in items if item.split != "held_out"]
    if not train:
        raise DatasetError(f"{data}: every row is held out; nothing is left to train on.")
    if not (parent / REPLAY).is_dir():
        log.warning("%s carries no replay set: other writing may be forgotten.", parent)
    steps = steps or steps_for(len(train))
    folds = fold_indices(items, folds_for(len(items))) if crosswise else []
    regression = None
    if (parent / REGRESSION).is_dir():
        regression = RegressionSet(parent / REGRESSION, old.config.label_form, known, regression_limit)
    else:
        log.warning("%s carries no regression set: what it forgets is not measured.", parent)

    per_step = 3 * 2 * BATCH_SIZE  # a step costs as much as reading its pictures three times
    fold_steps = max(1, round(steps * FOLD_STEPS))
    work = steps * per_step + len(folds) * fold_steps * per_step
    work += 2 * len(items if crosswise else held_out) + 2 * (len(regression.reader.items) if regression else 0)
    progress = _Progress(work, report, cancelled)
    shared: dict[str, Any] = {"seed": seed, "threads": threads, "cancelled": cancelled}

    def trained(what: str, chosen: Sequence[Item], count: int) -> Learnt:
        progress.begin(what)
        start = progress.done

        def show(line: dict[str, Any]) -> None:
            progress.to(start + line["step"] * per_step)

        learnt = train_on(parent, chosen, out.name, steps=count, report=show, **shared)
        progress.to(start + count * per_step)
        return learnt

    learnt = trained("learning", train, steps)
    reader = Reader(items if crosswise else held_out, known)
    parts = [
        (
            trained(f"cross-validation, part {number} of {len(folds)}", [items[index] for index in rest], fold_steps),
            kept,
        )
        for number, (rest, kept) in enumerate(folds, start=1)
    ]
    order = [index for _, kept in folds for index in kept] if crosswise else list(range(len(held_out)))
    name = f"corrections, {len(folds)}-fold" if crosswise else "held-out corrections"
    progress.begin("comparing")
    before = reader.read(old, order, progress.reading()) if order else None
    was = regression.readings(old, progress.reading()) if regression else None
    tried: list[tuple[float, Verdict, Readings | None, str]] = []
    with tempfile.TemporaryDirectory(prefix="hmer-gate-") as working:
        for strength in STRENGTHS:
            candidate = Recognizer.load(learnt.save(Path(working) / str(strength) / out.name, strength, sets=False))
            improved = kept_up = None
            if before is not None:
                after = Readings()
                for part, kept in parts:
                    after += reader.read(part.recognizer(strength), kept, progress.reading())
                if not crosswise:
                    after = reader.read(candidate, order, progress.reading())
                improved = Comparison(name, before, after)
            now = None
            if regression is not None and was is not None:
                now = regression.readings(candidate, progress.reading(), keep=False)
                kept_up = Comparison("regression set", was, now)
            tried.append((strength, Verdict(improved, kept_up), now, candidate.id))
            if tried[-1][1].accepted:
                break
    strength, verdict, now, _ = tried[-1] if tried[-1][1].accepted else tried[0]
    folder = None
    if verdict.accepted or force:
        card = _card_part(verdict, old.id, corrections_hash(items), len(items), strength)
        folder = learnt.save(out, strength, card=card, corrections=corrections_hash(items))
        if regression is not None and now is not None:
            regression.remember(Recognizer.load(folder), now)
    progress.to(progress.total)
    return FineTuned(folder, learnt.new_tokens, verdict, strength)


def fold_indices(items: Sequence[Item], count: int) -> list[tuple[list[int], list[int]]]:
    """For each part of a cross-validation the indices to train on and those to measure on; none if there is too little.

    A formula is in one part with all its drawings, so that it cannot be known by heart. A symbol that stands alone is
    divided by drawing: a new one could not be learnt otherwise.
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault(item.tokens if len(item.tokens) > 1 else (item.tokens, index), []).append(index)
    ordered = sorted(
        groups.values(), key=lambda group: hashlib.sha256(" ".join(items[group[0]].tokens).encode()).digest()
    )
    count = min(count, len(ordered))
    if count < 2:
        return []
    parts = [[index for group in ordered[number::count] for index in group] for number in range(count)]
    return [([index for other in parts if other is not part for index in other], part) for part in parts]


def corrections_hash(items: Sequence[Item]) -> str:
    """A hash of pictures and labels, whatever their order and file names."""
    rows = sorted(f"{hashlib.sha256(item.path.read_bytes()).hexdigest()} {' '.join(item.tokens)}" for item in items)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _card_part(verdict: Verdict, parent: str, corrections: str, count: int, strength: float) -> str:
    """What the card says of where the checkpoint comes from, and of the gate."""
    said = "Accepted." if verdict.accepted else f"Not accepted, kept on demand: {'; '.join(verdict.reasons)}."
    return (
        f"\n## Gate\n\nFine-tuned from `{parent}` on {count} corrections (sha256 `{corrections}`), {strength:.0%} of the way "
        f"from the parent to what training gave.\n\n```\n{verdict.table()}\n```\n\n{said}\n"
    )


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
