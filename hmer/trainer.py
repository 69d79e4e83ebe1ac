"""fit(): one loop for training from nothing, resuming and fine-tuning; it measures by `hmer.evaluation`.

A run lives in its output folder: `resume.pt` (everything to go on), `best/` (a checkpoint, the best by validation),
`last/` (a checkpoint, the weights of the last save), `log.jsonl` (figures by step) and `curves.png`.
"""

import copy
import dataclasses
import json
import logging
import math
import os
import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from hmer import checkpoint as checkpoints
from hmer.batch import Batch
from hmer.checkpoint import Checkpoint, CheckpointConfig
from hmer.config import RecallConfig, TrainConfig, to_dict
from hmer.datasets.batches import BatchStream, Source, batches_of
from hmer.datasets.folder import read_dataset, sample
from hmer.epochs import Patience, sampling_share
from hmer.errors import CheckpointError, ConfigError, DatasetError
from hmer.evaluation import evaluate, merged
from hmer.memory import give_back
from hmer.models import Model, build
from hmer.models.encoders import freeze, load_backbone
from hmer.optimizers import Muon
from hmer.plots import read_log, training_curves
from hmer.recognizer import Recognizer
from hmer.several import Processes
from hmer.vocabulary import Vocabulary

log = logging.getLogger(__name__)

RESUME, LOG = "resume.pt", "log.jsonl"
TOKEN_LAYERS = ("out", "symbol_head")
MAGNIFIER_ENDS = ("magnifier.first", "magnifier.last")  # of one pixel's shades: no directions to be made alike
_BEGUN_OTHERWISE = "the run was begun with another model or other tokens ({}); resume it with the settings and data that it was begun with."
TABLES = ("embedding", "enclosure", "coverage")  # a row for each of what is seldom seen, too, or a number for each head


class _Average:
    """Exponential moving average of the weights; what is evaluated and released (Polyak averaging)."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.count = 0
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the present weights in; early on the average follows faster."""
        self.count += 1
        keep = min(self.decay, (1 + self.count) / (10 + self.count))
        ours, theirs = [], []
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                ours.append(self.state[name])
                theirs.append(value)
            else:
                self.state[name].copy_(value)
        torch._foreach_lerp_(ours, theirs, 1 - keep)


def learning_rate(config: TrainConfig, step: int, progress: float) -> float:
    """The rate at a step, `progress` (0 to 1) through the run.

    wsd: linear warm-up, constant, then linear to nothing over the last `decay_share` (Hu et al. 2024, MiniCPM).
    """
    warm = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    if config.schedule == "cosine":
        shape = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    elif config.schedule == "wsd" and config.decay_share > 0:
        shape = min(1.0, max(0.0, (1.0 - progress) / config.decay_share))
    else:
        shape = 1.0
    return config.learning_rate * warm * shape


class Trainer:
    """One training run; see the module's docstring. Build it, then call `fit`."""

    def __init__(self, config: TrainConfig, *, resume: bool = False) -> None:
        if not config.train:
            raise DatasetError("No training data: name at least one dataset folder (train).")
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.config = config
        self.out = Path(config.out)
        if resume and not (self.out / RESUME).is_file():
            raise CheckpointError(f"{self.out}: nothing to resume there (no {RESUME}); start without --resume.")
        if not resume and (self.out / RESUME).is_file():
            raise CheckpointError(f"{self.out}: holds a run already; resume it (--resume) or choose another folder.")
        self.out.mkdir(parents=True, exist_ok=True)
        self.problems: list[str] = []
        self.train_items = [read_dataset(folder, config.label_form, self.problems) for folder in config.train]
        self.validation = (
            sample(read_dataset(config.validation, config.label_form, self.problems), config.evaluate_limit)
            if config.validation
            else []
        )
        self.processes = Processes(config)
        for problem in self.problems if self.processes.first else ():
            log.warning("left out: %s", problem)
        self.accelerator = self.processes.accelerator
        self.epoch_samples = sum(map(len, self.train_items))
        self.patience = Patience()
        self.parent = ""
        self.base = self._base_config()
        self.model = self._build_model()
        self.step, self.seconds, self.best = 0, 0.0, -1.0
        self.samples = 0
        saved: Mapping[str, Any] | None = None
        if resume:
            saved = _read_resume(self.out / RESUME)
            try:
                self.model.load_state_dict(saved["model"])
            except RuntimeError as error:
                reason = str(error).splitlines()[-1].strip()
                raise CheckpointError(f"{self.out}: {_BEGUN_OTHERWISE.format(reason)}") from error
        self.model.to(memory_format=torch.channels_last)  # what `faster_precision` tries bf16 with
        self.model.to(self.accelerator.device)
        self.frozen = freeze(self.model.encoder, config.frozen_stages)
        self.average = _Average(self.model, config.average_decay)
        self.optimizer = _optimizer(self.model, config)
        # Kept apart from the optimizer: a resumed run takes those of its settings, not those that were saved.
        self.rates = [group["rate"] for group in self.optimizer.param_groups]
        if saved is not None:
            try:
                self.optimizer.load_state_dict(saved["optimizer"])
            except ValueError as error:
                raise CheckpointError(f"{self.out}: {_BEGUN_OTHERWISE.format(error)}") from error
            self.average.state = {name: value.to(self.accelerator.device) for name, value in saved["average"].items()}
            self.average.count = int(saved["average_count"])
            self.step, self.seconds, self.best = int(saved["step"]), float(saved["seconds"]), float(saved["best"])
            self.samples = int(saved["samples"])
            self.patience = Patience(**saved.get("patience", {}))
            if self.accelerator.scaler is not None and saved.get("scaler"):
                self.accelerator.scaler.load_state_dict(saved["scaler"])
        if not self.processes.first:
            torch.manual_seed(config.seed + self.processes.index)  # other dropout than in the first

    def _base_config(self) -> CheckpointConfig:
        """Configuration of the checkpoints that this run writes."""
        tokens = [token for items in self.train_items for item in items for token in item.tokens]
        if self.config.initial:
            start = checkpoints.load(self.config.initial)
            self.start: Checkpoint | None = start
            self.parent = start.id
            vocabulary = Vocabulary(start.config.vocabulary).grown(sorted(set(tokens)))
            if self.config.keep_settings:
                image, model, form = start.config.image, start.config.model, start.config.label_form
            else:
                image, form = self.config.image, self.config.label_form
                wanted = self.config.model
                model = dataclasses.replace(
                    start.config.model,
                    bidirectional=wanted.bidirectional,
                    enclosure=start.config.model.enclosure or wanted.enclosure,
                )
            model = dataclasses.replace(model, recall=RecallConfig())  # it is of features that may change now
        else:
            self.start = None
            vocabulary = Vocabulary(sorted(set(tokens)))
            image, model, form = self.config.image, self.config.model, self.config.label_form
        return CheckpointConfig(
            name=self.out.name,
            vocabulary=vocabulary.words,
            label_form=form,
            image=image,
            model=model,
            parent=self.parent,
        )

    def _build_model(self) -> Model:
        vocabulary = Vocabulary(self.base.vocabulary)
        if self.start is not None:
            model = self.start.model
            model.take_on(self.base.model)
            model.grow_vocabulary(model.vocabulary.missing(vocabulary.words))
        else:
            model = build(self.base.model, vocabulary)
            if self.config.backbone_weights:
                load_backbone(model.encoder, self.base.model.encoder, self.config.backbone_weights)
        model.label_smoothing = self.config.label_smoothing
        model.symbol_weight = self.config.symbol_loss
        model.attention_weight = self.config.attention_loss
        model.anchor_weight = self.config.anchor_loss
        model.exact_places = self.config.exact_places
        if model.magnifier is not None:
            model.magnifier.requires_grad_(self.config.magnifier_rate > 0)
        elif self.config.magnifier_rate:
            raise ConfigError(
                "magnifier_rate: this checkpoint has no magnifier to teach; see scripts/train_magnifier.py."
            )
        return model

    def _batches(self) -> Iterator[list[Batch]]:
        """The batches of each step: one, or with `every_folder` one of each folder."""
        config = self.config
        vocabulary = Vocabulary(self.base.vocabulary)
        # Workers are forked, and have no graphics card. What the magnifier learns since then, `Model.forward` draws anew.
        magnifier = copy.deepcopy(self.model.magnifier).cpu() if self.model.magnifier is not None else None
        sources = [Source(items, vocabulary, self.base.image, config.augment, magnifier) for items in self.train_items]
        # After a resume, and in each process, other samples: not the same again.
        seed = config.seed + 7919 * self.step + 104_729 * self.processes.index
        if config.train_weights and len(config.train_weights) != len(sources):
            raise DatasetError(f"train_weights: {len(config.train_weights)} numbers for {len(sources)} folders.")
        groups: list[tuple[list[Source], Sequence[float], int]]
        if config.every_folder:
            shares = config.train_weights or (1.0,) * len(sources)
            sizes = [max(1, round(share * config.batch_size)) for share in shares]
            groups = [([source], [1.0], size) for source, size in zip(sources, sizes, strict=True)]
        else:
            weights = config.train_weights or [float(len(source)) for source in sources]
            groups = [(sources, weights, config.batch_size)]
        streams = [BatchStream(group, weights, size, seed, config.pool_batches) for group, weights, size in groups]
        return map(list, zip(*(batches_of(stream, config.workers) for stream in streams), strict=True))

    @property
    def progress(self) -> float:
        """How far through the run, 0 to 1: by epochs or hours where set, else by steps."""
        if self.config.epochs:
            return min(1.0, self.samples / (self.config.epochs * self.epoch_samples))
        if self.config.hours:
            return min(1.0, self.seconds / (self.config.hours * 3600))
        return min(1.0, self.step / self.config.steps)

    def fit(
        self,
        report: Callable[[dict[str, Any]], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        *,
        bar: bool = True,
        batches: Iterator[list[Batch]] | None = None,
    ) -> Path:
        """Train to the end and return the folder of the best checkpoint (the last one without validation).

        `report` gets the figures of each log line; `cancelled` is asked at every step, and a run that it or Ctrl+C
        stops can be resumed. With `save_minutes` 0 nothing is written; take `averaged` or `write_checkpoint`. `bar`: a
        progress bar in a terminal. `batches`: those of each step, in place of the ones made of the training folders.
        """
        try:
            return self._fit(report, cancelled, batches or self._batches(), bar=bar)
        except KeyboardInterrupt:
            if self.config.save_minutes:
                self.save()
            raise

    def _fit(
        self,
        report: Callable[[dict[str, Any]], None] | None,
        cancelled: Callable[[], bool] | None,
        batches: Iterator[list[Batch]],
        *,
        bar: bool,
    ) -> Path:
        if not self.processes.first:
            report = None
        model, optimizer = self.accelerator.prepare(self.model, self.optimizer)
        self._train_mode()
        last_save = last_evaluation = self.seconds
        sums: dict[str, float] = {}
        shown = tqdm(
            total=1000, desc=self.out.name, unit="permille", disable=None if bar and self.processes.first else True
        )
        while self._goes_on(cancelled):
            started = time.perf_counter()
            step_batches = [batch.to(self.accelerator.device) for batch in next(batches)]
            rate = learning_rate(self.config, self.step, self.progress) * self.patience.scale
            for group, share in zip(optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * share
            self.model.sampling = sampling_share(self.config, self.progress)
            optimizer.zero_grad()
            losses = []
            for batch in step_batches:
                with self.accelerator.autocast():
                    losses.append(model(batch))
                self.accelerator.backward(self.processes.balanced(losses[-1]))
            norm = self.accelerator.clip_grad_norm_(model.parameters(), self.config.clip_norm or math.inf)
            finite = math.isfinite(float(norm))
            if finite or self.accelerator.scaler is not None:
                optimizer.step()  # a scaler (fp16) leaves a bad step out by itself, and lowers its scale there
            if finite:
                self.average.update(self.accelerator.unwrap_model(model))
            else:
                log.warning("step %d: the gradient is not finite; the step was left out", self.step)
            self.step += 1
            epoch = self.samples // self.epoch_samples
            count = sum(len(batch.lengths) for batch in step_batches)
            samples, seconds = self.processes.sums(count, time.perf_counter() - started)
            self.samples += int(samples)
            seconds /= self.processes.count  # the same clock for all
            self.seconds += seconds
            _add(sums, {"samples": samples, "steps": 1, "seconds": seconds})
            for loss in losses:
                parts = {"loss": float(loss.total.detach()), **loss.parts}
                _add(sums, {name: value / len(losses) for name, value in parts.items()})
                _add(sums, {"correct": loss.correct, "count": loss.count})
            if self.step % self.config.log_steps == 0:
                line = self._line(sums, rate)
                self._write(line)
                shown.n = int(self.progress * 1000)
                shown.set_postfix_str(
                    f"loss {line['loss']:.3f}, {line['samples_per_second']:.0f}/s, left {line['left']}"
                )
                if report is not None:
                    report(line)
                sums = {}
                give_back()
            if self.config.save_minutes and self.seconds - last_save > self.config.save_minutes * 60:
                self.save()
                last_save = self.seconds
            if self.config.epochs:
                due = self.samples // self.epoch_samples > epoch
            else:
                due = self.seconds - last_evaluation > self.config.evaluate_minutes * 60
            if self.validation and due and self.progress < 1.0:
                self._validate(report)
                self.save()  # with the new best: or after a resume a worse one would take its place
                last_evaluation = last_save = self.seconds
                self._train_mode()
        shown.close()
        if self.validation and not self.patience.lost(self.config):
            self._validate(report)
        if self.config.save_minutes:
            self.save()
        self.accelerator.wait_for_everyone()
        return self.out / ("best" if self.validation else "last")

    def _goes_on(self, cancelled: Callable[[], bool] | None) -> bool:
        """Whether another step is to be made; the same answer in all processes."""
        if self.progress >= 1.0 or self.patience.lost(self.config):
            return False
        stopped = cancelled is not None and cancelled()
        return self.processes.sums(float(stopped))[0] == 0

    def _train_mode(self) -> None:
        self.model.train()
        for part in self.frozen:
            part.eval()
        if self.config.freeze_statistics:
            for module in self.model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

    def _line(self, sums: Mapping[str, float], rate: float) -> dict[str, Any]:
        steps = sums["steps"]
        line: dict[str, Any] = {"step": self.step, "hours": round(self.seconds / 3600, 4), "samples": self.samples}
        line |= {
            key: round(value / steps, 5)
            for key, value in sums.items()
            if key not in ("correct", "count", "samples", "steps", "seconds")
        }
        if sums["count"]:
            line["token_accuracy"] = round(sums["correct"] / sums["count"], 5)
        line["learning_rate"] = rate
        line["samples_per_second"] = round(sums["samples"] / max(sums["seconds"], 1e-9), 2)
        left = self.seconds / max(self.progress, 1e-9) * (1 - self.progress)
        line["left"] = f"{int(left // 3600)}:{int(left % 3600 // 60):02}"
        return line

    def _write(self, line: Mapping[str, Any]) -> None:
        if not self.processes.first:
            return
        with (self.out / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        log.info("%s", " ".join(f"{key} {value}" for key, value in line.items()))

    def averaged(self) -> Checkpoint:
        """The averaged weights as a loaded checkpoint."""
        model = build(self.base.model, Vocabulary(self.base.vocabulary))
        model.load_state_dict(self.average.state if self.config.average_decay else self.model.state_dict())
        return Checkpoint(model.eval(), self.base, f"{self.base.name}-step{self.step}")

    def _validate(self, report: Callable[[dict[str, Any]], None] | None) -> None:
        ignore = self.config.evaluate_ignore
        with self.accelerator.autocast():
            recognizer = Recognizer(self.averaged())
            recognizer.model.to(self.accelerator.device)
            part = evaluate(recognizer, self.processes.share(self.validation), ignore=ignore, teacher_forcing=True)
        evaluation = merged(self.processes.gathered(part), ignore)
        line = {"step": self.step, "hours": round(self.seconds / 3600, 4), "samples": self.samples}
        line["epoch"] = round(self.samples / self.epoch_samples, 3)
        figures: dict[str, float | None] = dataclasses.asdict(evaluation.scores)
        figures |= {"token_accuracy": evaluation.token_accuracy, "loss": evaluation.loss}
        line |= {f"validation_{key}": round(value, 5) for key, value in figures.items() if value is not None}
        self._write(line)
        if report is not None:
            report(line)
        if evaluation.loss is not None:
            self.patience.see(evaluation.loss, self.config)
        # Token error rate decides between equal ExpRates: early on all are nothing.
        merit = evaluation.scores.exprate - 0.01 * evaluation.scores.token_error_rate
        if merit > self.best:
            self.best = merit
            if self.processes.first:
                self.write_checkpoint(self.out / "best")

    def write_checkpoint(self, folder: Path) -> Path:
        """The averaged weights as a checkpoint folder; replay and regression sets of the parent travel along."""
        config = dataclasses.replace(self.base, created=datetime.now(UTC).isoformat(timespec="seconds"))
        parent = self.start.folder if self.start is not None else None
        return checkpoints.save(folder, self.averaged().model, config, card=self.card(), extra=parent, overwrite=True)

    def card(self) -> str:
        """What a reader of the checkpoint has to know of its making."""
        settings = json.dumps(to_dict(self.config), indent=1)
        return (
            f"# {self.base.name}\n\n{checkpoints.parameters(self.model):,} parameters, {self.step:,} steps, "
            f"{self.samples:,} samples, {self.seconds / 3600:.2f} hours, seed {self.config.seed}"
            f"{f', from {self.parent}' if self.parent else ''}.\n\n## Settings\n\n```json\n{settings}\n```\n"
        )

    def save(self) -> None:
        """Everything to go on, and the averaged weights as a checkpoint; the old files stay until the new ones are whole."""
        if not self.processes.first:
            return
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state,
            "average_count": self.average.count,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "samples": self.samples,
            "best": self.best,
            "patience": dataclasses.asdict(self.patience),
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else {},
        }
        temporary = self.out / f"{RESUME}.new"
        torch.save(state, temporary)
        os.replace(temporary, self.out / RESUME)
        self.write_checkpoint(self.out / "last")
        if (self.out / LOG).is_file():
            training_curves(read_log(self.out / LOG), self.out / "curves.png")


def _read_resume(path: Path) -> Mapping[str, Any]:
    """What `Trainer.save` wrote. Raises CheckpointError if the file is damaged."""
    try:
        saved: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path}: is damaged and cannot be resumed ({str(error).splitlines()[0]}).") from error
    return saved


def _optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Weight decay for matrices and kernels, none for biases, normalisation and embeddings."""
    kinds: dict[tuple[float, bool, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = name.split(".")[0]
            decayed = parameter.ndim > 1 and not any(table in name for table in TABLES)
            # Layers with a row for each token: made orthogonal, rare ones would move like the common.
            orthogonal = decayed and part not in TOKEN_LAYERS and not name.startswith(MAGNIFIER_ENDS)
            rate = config.magnifier_rate if part == "magnifier" else 1.0
            kinds.setdefault((rate, decayed, orthogonal), []).append(parameter)
    groups = []
    for (rate, decayed, orthogonal), parameters in kinds.items():
        group = {"params": parameters, "rate": rate, "lr": rate * config.learning_rate}
        groups.append(group | {"weight_decay": config.weight_decay if decayed else 0.0})
        if config.optimizer == "muon":
            groups[-1]["orthogonal"] = orthogonal
    if config.optimizer == "muon":
        return Muon(groups, lr=config.learning_rate)
    if config.optimizer == "adam":
        return torch.optim.Adam(groups, lr=config.learning_rate)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), fused=True)


def _add(sums: dict[str, float], values: Mapping[str, float]) -> None:
    for key, value in values.items():
        sums[key] = sums.get(key, 0.0) + value


def fit(
    config: TrainConfig,
    *,
    resume: bool = False,
    report: Callable[[dict[str, Any]], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Path:
    """Train as `config` says; the folder of the resulting checkpoint. Raises HmerError on bad data or settings."""
    return Trainer(config, resume=resume).fit(report, cancelled)
