"""From corrections to a better checkpoint: train from the old one with its replay set mixed in, then the gate.

What is compared, old against new, is told in `hmer.gate`: corrections that were not trained on (by cross-validation
where few are held out), and the frozen regression set that travels with the checkpoint. A new checkpoint that does not
pass is not kept unless asked for; the old one stays as it is in any case.
"""

import copy
import dataclasses
import hashlib
import logging
import math
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from hmer import checkpoint as checkpoints
from hmer.checkpoint import Checkpoint, CheckpointConfig
from hmer.config import AugmentConfig, TrainConfig
from hmer.datasets.folder import Item, read_dataset, write_labels
from hmer.errors import CheckpointError, DatasetError, HmerError
from hmer.gate import REGRESSION, Comparison, Reader, Readings, Verdict, allowed_flips, passing_share
from hmer.imprint import imprint, rich_in_symbols
from hmer.models.base import Model
from hmer.models.ctc import CtcModel
from hmer.recall import Pair, Recollection, habits, recall_of
from hmer.recognizer import Recognizer
from hmer.regression import RegressionSet
from hmer.trainer import Trainer
from hmer.views import Views, batches, once
from hmer.vocabulary import Vocabulary

log = logging.getLogger(__name__)

REPLAY = "replay"
HELD_OUT = "held_out"  # the split of what is not to be trained on
ENOUGH_HELD_OUT = 50  # below, whether it improves is measured by cross-validation
LONE_HELD_OUT = 2  # of held-out symbols that stand alone, one drawing in so many is
BATCH_SIZE = 8
RATE, BRIDGE_RATE = 1e-4, 3e-4  # the second where only the model's bridge learns, which forgets little
ANCHOR = 20.0  # weight of saying of replay items what the parent says of them
FOLD_STEPS = 0.35  # share of the steps for a part of the cross-validation
STEP_WORK, READING_WORK = 6.0, 0.2  # what a step and a reading cost, where looking at a picture costs one
MOST_VIEWS, USES = 4, 2  # of a correction, each distorted otherwise; a view is learnt from so often at least
TRIES = 3  # of the gate, each nearer to the parent than the one before
TRUST = 10  # corrections that are worth half of the way
PILOT = 400  # regression items that the first strength is chosen by
SHOWN, OTHERS = 100, 160  # items that new symbols are imprinted from, and replay items that they must not be seen in

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
    return int(min(24 + corrections // 2, 150))


def most_strength(learnt: "Learnt", corrections: int) -> float:
    """How far from the parent so few corrections can be trusted: 0 to 1.

    Without a new symbol or a repeated error among them, much of what training took from them is chance; ten at half
    the way made a writer's other formulas likelier, at the whole way not.
    """
    if learnt.new_tokens or learnt.repeated:
        return 1.0
    return corrections / (corrections + TRUST)


def folds_for(corrections: int) -> int:
    """Parts for cross-validation: more where there is little to train on."""
    return 3 if corrections < 30 else 2


def views_for(corrections: int, steps: int) -> int:
    """In how many ways each correction is drawn: as many as are used, few of many."""
    return max(1, min(MOST_VIEWS, round(steps * BATCH_SIZE / (USES * max(corrections, 1)))))


def _training_work(corrections: int, steps: int) -> float:
    return corrections * views_for(corrections, steps) + steps * (BATCH_SIZE / USES + STEP_WORK)


class Progress:
    """Adds up work, in pictures that the encoder looks at, and stops it when it is cancelled."""

    def __init__(self, total: float = 1.0, report: Report | None = None, cancelled: Cancelled | None = None) -> None:
        self.total, self.report, self.cancelled = max(total, 1.0), report, cancelled
        self.done, self.name = 0.0, ""

    def begin(self, name: str) -> None:
        self.name = name
        self.to(self.done)

    def to(self, done: float) -> None:
        """So much is done. Raises CheckpointError when it is cancelled."""
        if self.cancelled is not None and self.cancelled():
            raise CheckpointError("Fine-tuning was cancelled; nothing was changed.")
        self.done = done
        if self.report is not None:
            self.report(self.name, min(self.done / self.total, 1.0))

    def end(self) -> None:
        """All is done, and too late to cancel."""
        self.cancelled = None
        self.to(self.total)

    def each(self, work: float = 1.0) -> Callable[[int], None]:
        """For what tells how many are done so far, each of which is so much work."""
        before = self.done

        def show(count: int) -> None:
            self.to(before + count * work)

        return show


@dataclass(frozen=True)
class Learnt:
    """What training gave: the model, the weights that it began with, its configuration and the card's text."""

    parent: Path
    start: dict[str, Tensor]
    model: Model
    config: CheckpointConfig
    card: str
    new_tokens: tuple[str, ...]
    recollection: Recollection | None = None
    repeated: bool = False  # an error, among these corrections; what the parent remembers is in `recollection`, too

    def blended(self, strength: float) -> Model:
        """The model part of the way, 0 to 1, from the parent (with rows imprinted for new symbols) to what it learnt.

        Between the two the new writing is still read, and less of the old is lost.
        Source: weight interpolation (Wortsman et al. 2022, WiSE-FT).
        """
        model = copy.deepcopy(self.model)
        state = model.state_dict()
        for name, old in self.start.items():
            if old.is_floating_point():
                state[name].lerp_(old, 1 - strength)
        if self.recollection is not None:
            model.recall = self.recollection.at(strength)
        return model

    def recognizer(self, strength: float) -> Recognizer:
        """It in memory, to measure it."""
        return Recognizer(Checkpoint(self.blended(strength).eval(), self.config, self.config.name))

    def save(
        self,
        folder: Path,
        strength: float,
        *,
        card: str = "",
        corrections: str = "",
        learnt_from: tuple[str, ...] = (),
        sets: bool = True,
    ) -> Path:
        """Write the checkpoint; with `sets` the parent's replay and regression sets travel along."""
        config = dataclasses.replace(
            self.config, name=folder.name, corrections=corrections, learnt_from=learnt_from,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )  # fmt: skip
        extra = self.parent if sets else None
        return checkpoints.save(folder, self.blended(strength), config, card=self.card + card, extra=extra)


def train_on(
    parent: Path,
    items: Sequence[Item],
    name: str,
    *,
    steps: int,
    seed: int = 0,
    threads: int = 0,
    views: Views | None = None,
    progress: Progress | None = None,
) -> Learnt:
    """Train from the checkpoint in `parent` on the items; nothing is written. Raises CheckpointError, DatasetError.

    `views`: of the parent, where some of the items were looked at before.
    """
    progress = progress or Progress()
    config = checkpoints.read_config(parent)
    new_tokens = Vocabulary(config.vocabulary).missing(token for item in items for token in item.tokens)
    with tempfile.TemporaryDirectory(prefix="hmer-finetune-") as working:
        corrections = Path(working) / "corrections"
        _copy(items, corrections)
        folders = [str(corrections)]
        if (parent / REPLAY).is_dir():
            folders.append(str(parent / REPLAY))
        settings = TrainConfig(
            train=tuple(folders),
            every_folder=True,
            out=str(Path(working) / name),
            initial=str(parent),
            label_form=config.label_form,
            seed=seed,
            steps=steps,
            # Found by experiment: a rate much lower than in training, or what the parent learnt while its rate fell is
            # undone; in every single step replay items, of which it is to go on saying what the parent says of them
            # (learning their captions anew, more answers elsewhere flip for the same gain); and places found
            # as in decoding, without which likelihoods improve and answers get worse.
            batch_size=BATCH_SIZE,
            learning_rate=RATE,
            warmup_steps=min(10, steps // 3),
            decay_share=0.5,
            weight_decay=0.0,
            label_smoothing=0.0,
            symbol_loss=0.0,
            attention_loss=0.0,
            anchor_loss=ANCHOR,
            average_decay=0.9,
            freeze_statistics=True,
            exact_places=True,
            mixed_precision="auto",
            threads=threads,
            workers=0,
            save_minutes=0.0,
            log_steps=5,
            augment=AugmentConfig(),
        )
        trainer = Trainer(settings)
        vocabulary = trainer.model.vocabulary
        views = views or Views(trainer.model, vocabulary, trainer.base.image, settings.augment, seed)
        own = views.of(items, views_for(len(items), steps), progress.each())
        if not own:
            raise DatasetError("None of the pictures to learn from can be read; see the messages before this one.")
        if new_tokens and not isinstance(trainer.model, CtcModel):  # whose states are frames, not tokens
            rich = rich_in_symbols(trainer.train_items[1], OTHERS) if len(folders) > 1 else []
            shown = [item for item in items if set(new_tokens) & set(item.tokens)][:SHOWN]
            imprint(
                trainer.model,
                once(views.of(shown, 4 if len(shown) <= 30 else 2, progress.each()), BATCH_SIZE, vocabulary),
                new_tokens,
                once(views.of(rich, 1, progress.each()), BATCH_SIZE, vocabulary),
            )
        start = {name: value.detach().clone() for name, value in trainer.model.state_dict().items()}
        if _let_learn(trainer.model, new_symbols=bool(new_tokens)):
            trainer.config = dataclasses.replace(trainer.config, learning_rate=BRIDGE_RATE)
        trainer.model.both_ways = bool(new_tokens)  # or a beam search, which asks for both, would not take them
        streams = [batches(own, BATCH_SIZE, vocabulary, seed)]
        remembered = views.model.recall
        recollection = None if remembered is None else Recollection(copy.deepcopy(remembered), {})
        errors: list[Pair] = []
        if len(folders) > 1:
            count = min(math.ceil(steps * BATCH_SIZE / USES), len(trainer.train_items[1]))
            # Above all such as hold what others write like this: it is what may be lost.
            errors, recall = habits(own, views.model.vocabulary), views.model.recall
            pairs = errors if recall is None else [*errors, *recall.pairs()]
            misread = {views.model.vocabulary.tokens[wrong] for _, wrong in pairs}
            order = random.Random(seed).sample(trainer.train_items[1], len(trainer.train_items[1]))
            chosen = sorted(order, key=lambda item: misread.isdisjoint(item.tokens))[:count]
            others = views.of(chosen, 1, progress.each())
            streams.append(batches(others, BATCH_SIZE, vocabulary, seed, anchored=True))
            recollection = recall_of(views.model, own, errors, others)
        step = progress.each(STEP_WORK)
        trainer.fit(
            lambda line: step(line["step"]), progress.cancelled, bar=False,
            batches=map(list, zip(*streams, strict=True)),
        )  # fmt: skip
        step(steps)
        base = dataclasses.replace(
            trainer.base, calibration=config.calibration, beam_calibration=config.beam_calibration
        )
        if recollection is not None:
            sizes = dataclasses.replace(base.model, recall=recollection.recall.config)
            base = dataclasses.replace(base, model=sizes)
        return Learnt(
            parent, start, trainer.averaged().model, base, trainer.card(), tuple(new_tokens), recollection,
            repeated=recollection is not None and bool(errors),
        )  # fmt: skip


def _let_learn(model: Model, *, new_symbols: bool) -> bool:
    """Freeze what a few corrections would only spoil; whether all but the bridge is frozen, else it is the encoder.

    Found by experiment: when the whole network learns, half as many answers again flip elsewhere, and the likelihood of
    the writer's other formulas rises less. What is written after a new symbol is for all of the decoder to learn.
    """
    bridge = [] if new_symbols else model.bridge()
    model.requires_grad_(False)
    kept = (model.encoder, model.language, model.magnifier)
    for part in bridge or [part for part in model.children() if part not in kept]:
        part.requires_grad_(True)
    return bool(bridge)


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
    are trained on, and measured on by cross-validation, those apart that the checkpoint has been taught already. `steps`
    0 chooses by the number of corrections. `report` is told what is being done and the share of all work that is done.
    Raises DatasetError, CheckpointError, and CheckpointError too if `out` exists or it was cancelled.
    """
    out = Path(out)
    if out.exists():
        raise CheckpointError(f"{out}: exists already; choose another folder, the old checkpoint stays as it is.")
    if threads:
        torch.set_num_threads(threads)
    parent = checkpoints.resolve(reference)
    old = Recognizer.load(parent)
    problems: list[str] = []
    items = _usable(read_dataset(data, old.config.label_form, problems), old, problems)
    for problem in problems:
        log.warning("left out: %s", problem)
    if not items:
        raise DatasetError(f"{data}: none of the pictures to learn from can be read; see the messages before this one.")
    known = set(old.config.learnt_from)
    names = correction_hashes(items)
    fresh = [index for index, name in enumerate(names) if name not in known]
    apart = held_apart(items, names, old.model.vocabulary)
    held_out = [items[index] for index in fresh if apart[index]]
    folds: list[tuple[list[int], list[int]]] = []
    train, compared = items, "held-out corrections"
    if len(held_out) >= ENOUGH_HELD_OUT:
        train = [item for item, away in zip(items, apart, strict=True) if not away]
    else:
        folds = fold_indices(items, folds_for(len(fresh)), fresh)
        compared = f"corrections, {len(folds)}-fold"
        if not folds:
            folds = fold_indices(items, folds_for(len(items)))
            compared = f"corrections that the old one knows, {len(folds)}-fold"
        held_out = []
    if not train:
        raise DatasetError(f"{data}: every row is held out; nothing is left to train on.")
    if not folds and not held_out and not force:  # refused in any case, and to train takes minutes
        return FineTuned(None, (), Verdict(None, None), 0.0)
    for name, lost in ((REPLAY, "other writing may be forgotten"), (REGRESSION, "what it forgets is not measured")):
        if not (parent / name).is_dir():
            log.warning("%s carries no %s set: %s.", parent, name, lost)
    regression = _regression_of(parent, old, regression_limit)
    grown = old.model.vocabulary.grown(old.model.vocabulary.missing(token for item in items for token in item.tokens))
    views = Views(old.model, grown, old.config.image, AugmentConfig(), seed)
    steps = steps or steps_for(len(train))
    fold_steps = max(1, round(steps * FOLD_STEPS))
    measured = sum(len(kept) for _, kept in folds) if folds else len(held_out)
    readings = 2 * (measured + (len(regression.reader.items) if regression else 0))
    work = _training_work(len(train), steps) + readings * READING_WORK
    work += sum(_training_work(len(rest), fold_steps) for rest, _ in folds)
    progress = Progress(work, report, cancelled)

    def trained(what: str, chosen: Sequence[Item], count: int) -> Learnt:
        progress.begin(what)
        done = progress.done + _training_work(len(chosen), count)
        learnt = train_on(
            parent, chosen, out.name, steps=count, seed=seed, threads=threads, views=views,
            progress=progress,
        )  # fmt: skip
        progress.to(max(progress.done, done))
        return learnt

    learnt = trained("learning", train, steps)
    parts = []
    for number, (rest, kept) in enumerate(folds, start=1):
        what = f"cross-validation, part {number} of {len(folds)}"
        parts.append((trained(what, [items[index] for index in rest], fold_steps), kept))
    progress.begin("comparing")
    judge = _Judge(old, learnt, compared, items if folds else held_out, parts, regression, progress)
    with tempfile.TemporaryDirectory(prefix="hmer-gate-") as working:
        judgements: list[tuple[float, Verdict]] = []
        strength = min(judge.first_strength(), most_strength(learnt, len(train)))
        for number in range(TRIES):
            candidate = Recognizer.load(learnt.save(Path(working) / str(number) / out.name, strength, sets=False))
            gained = judge.corrections(candidate, strength)
            if judgements and not (gained and gained.improves):
                break  # what is lost elsewhere need not be known
            elsewhere = judge.regression(candidate)
            judgements.append((strength, Verdict(gained, elsewhere)))
            if judgements[-1][1].accepted:
                break
            strength *= min(0.8, passing_share(elsewhere)) if elsewhere and not elsewhere.keeps else 0.5
    strength, verdict = judgements[-1] if judgements[-1][1].accepted else judgements[0]
    folder = None
    if verdict.accepted or force:
        corrections = corrections_hash(items)
        card = _card_part(verdict, old.id, corrections, len(train), strength)
        if regression is not None and not (parent / REGRESSION).is_dir():
            raise CheckpointError(f"{parent}: was removed while it was learnt from; begin again. Nothing was changed.")
        learnt_from = tuple(sorted(known | set(correction_hashes(train))))
        folder = learnt.save(out, strength, card=card, corrections=corrections, learnt_from=learnt_from)
        if regression is not None and verdict.regression is not None:  # it may be the next parent
            regression.remember(Recognizer.load(folder), verdict.regression.after)
    progress.end()
    return FineTuned(folder, learnt.new_tokens, verdict, strength)


def prepare(reference: str | Path) -> None:
    """Read the checkpoint's regression set now, if that is not remembered: half of the time of a first fine-tuning.

    Raises CheckpointError.
    """
    parent = checkpoints.resolve(reference)
    old = Recognizer.load(parent)
    regression = _regression_of(parent, old)
    if regression is not None:
        regression.readings(old)


def _regression_of(parent: Path, old: Recognizer, limit: int = 0) -> RegressionSet | None:
    folder = parent / REGRESSION
    return RegressionSet(folder, old.config.label_form, old.model.vocabulary, limit) if folder.is_dir() else None


class _Judge:
    """Makes the gate's comparisons for one fine-tuning; what the old checkpoint reads is read once."""

    def __init__(
        self,
        old: Recognizer,
        learnt: Learnt,
        compared: str,
        measured: Sequence[Item],
        parts: Sequence[tuple[Learnt, Sequence[int]]],
        regression: RegressionSet | None,
        progress: Progress,
    ) -> None:
        self.learnt, self.compared, self.parts, self.regression_set = learnt, compared, parts, regression
        self.progress = progress
        self.reader = Reader(measured, old.model.vocabulary)
        self.order = [index for _, kept in parts for index in kept] or list(range(len(measured)))
        self.before = self.reader.read(old, self.order, progress.each(READING_WORK))
        self.regression_before = regression.readings(old, progress.each(READING_WORK)) if regression else Readings()

    def first_strength(self) -> float:
        """How far from the parent one can hope to pass, from a part of the regression set.

        Answers flip from right to wrong and back about in proportion to the way from the parent.
        """
        if self.regression_set is None:
            return 1.0
        count = len(self.regression_before)
        pilot = sorted(random.Random(0).sample(range(count), min(PILOT, count)))
        after = self.regression_set.reader.read(self.learnt.recognizer(1.0), pilot, count_edits=False)
        flips = Comparison("pilot", self.regression_before.of(pilot), after).flips
        return 1.0 if flips == 0 else min(1.0, 0.8 * allowed_flips(count) / flips)

    def corrections(self, candidate: Recognizer, strength: float) -> Comparison | None:
        """Old against the candidate on corrections; by cross-validation, the parts stand for it at the same strength."""
        if not self.order:
            return None
        if not self.parts:
            after = self.reader.read(candidate, self.order, self.progress.each(READING_WORK))
            return Comparison(self.compared, self.before, after)
        after = Readings()
        for part, kept in self.parts:
            after += self.reader.read(part.recognizer(strength), kept, self.progress.each(READING_WORK))
        return Comparison(self.compared, self.before, after)

    def regression(self, candidate: Recognizer) -> Comparison | None:
        """Old against the candidate on the regression set."""
        if self.regression_set is None:
            return None
        now = self.regression_set.readings(candidate, self.progress.each(READING_WORK), keep=False)
        return Comparison("regression set", self.regression_before, now)


def _usable(items: Sequence[Item], old: Recognizer, problems: list[str]) -> list[Item]:
    """Those whose picture can be read, each picture with its label once: two annotators may have agreed on it."""
    usable: dict[str, Item] = {}
    for item, name in zip(items, correction_hashes(items), strict=True):
        try:
            old.read(item.path)
        except HmerError as error:
            problems.append(f"{item.path.name}: {error}")
        else:
            usable.setdefault(name, item)
    return list(usable.values())


def held_apart(items: Sequence[Item], names: Sequence[str], vocabulary: Vocabulary) -> list[bool]:
    """For each item whether it is kept from training, as its `split` says, `names` being `correction_hashes`.

    The split is fixed by the LaTeX as it was written: what is the same formula here goes along. A symbol that stands alone
    is divided by drawing instead, and of a symbol that the vocabulary lacks not all is held out: neither could be learnt.
    """
    formulas = {item.tokens for item in items if item.split == HELD_OUT and len(item.tokens) > 1}
    apart = [
        item.tokens in formulas
        if len(item.tokens) > 1
        else item.split == HELD_OUT and int(name, 16) % LONE_HELD_OUT == 0
        for item, name in zip(items, names, strict=True)
    ]
    for token in vocabulary.missing(token for item in items for token in item.tokens):
        own = [index for index, item in enumerate(items) if token in item.tokens]
        if all(apart[index] for index in own):
            for index in own:
                apart[index] = False
    return apart


def fold_indices(
    items: Sequence[Item], count: int, measured: Sequence[int] | None = None
) -> list[tuple[list[int], list[int]]]:
    """For each part of a cross-validation the indices to train on and those to measure on; none if there is too little.

    A formula is in one part with all its drawings, so that it cannot be known by heart. A symbol that stands alone is
    divided by drawing: a new one could not be learnt otherwise. Of `measured` alone where it is given; the others are
    trained on in every part.
    """
    chosen = range(len(items)) if measured is None else measured
    groups: dict[tuple[object, ...], list[int]] = {}
    for index in chosen:
        tokens = items[index].tokens
        groups.setdefault(tokens if len(tokens) > 1 else (tokens, index), []).append(index)
    ordered = sorted(
        groups.values(), key=lambda group: hashlib.sha256(" ".join(items[group[0]].tokens).encode()).digest()
    )
    count = min(count, len(ordered))
    if count < 2:
        return []
    folds = []
    for number in range(count):
        part = [index for group in ordered[number::count] for index in group]
        formulas = {items[index].tokens for index in part if len(items[index].tokens) > 1}
        apart = set(part) | {index for index, item in enumerate(items) if item.tokens in formulas}
        folds.append(([index for index in range(len(items)) if index not in apart], part))
    return folds


def correction_hashes(items: Sequence[Item]) -> list[str]:
    """For each item a hash of its picture and label, whatever its file is called: 16 hexadecimal digits."""
    pictures = [hashlib.sha256(item.path.read_bytes()).hexdigest() for item in items]
    rows = [f"{picture} {' '.join(item.tokens)}" for picture, item in zip(pictures, items, strict=True)]
    return [hashlib.sha256(row.encode()).hexdigest()[:16] for row in rows]


def corrections_hash(items: Sequence[Item]) -> str:
    """A hash of pictures and labels, whatever their order and file names."""
    return hashlib.sha256("\n".join(sorted(correction_hashes(items))).encode()).hexdigest()


def _card_part(verdict: Verdict, parent: str, corrections: str, count: int, strength: float) -> str:
    """What the card says of where the checkpoint comes from, and of the gate."""
    said = "Accepted." if verdict.accepted else f"Not accepted, kept on demand: {'; '.join(verdict.reasons)}."
    return (
        f"\n## Gate\n\nFine-tuned from `{parent}` on {count} corrections (sha256 `{corrections}`), {strength:.0%} of the way "
        f"from the parent to what training gave.\n\n```\n{verdict.table()}\n```\n\n{said}\n"
    )


def _copy(items: Sequence[Item], folder: Path) -> None:
    """A dataset folder with copies of the items' files: a link out of a dataset folder is refused when it is read."""
    folder.mkdir()
    rows = []
    for index, item in enumerate(items):
        name = f"{index:06}{item.path.suffix.lower()}"
        shutil.copyfile(item.path, folder / name)
        rows.append((name, " ".join(item.tokens)))
    write_labels(folder, rows, ("file", "latex"))
