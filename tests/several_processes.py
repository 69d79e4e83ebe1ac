"""Run by test_several.py, alone and under `accelerate launch`: one step's gradient and one validation, as JSON.

Arguments: dataset folder, folder to write into, how many processes there are in all.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from toys import VOCABULARY, narrow

import hmer.trainer
from hmer.config import AugmentConfig, ImageConfig, TrainConfig
from hmer.datasets.batches import Source, collate
from hmer.datasets.folder import read_dataset
from hmer.evaluation import Evaluation, merged
from hmer.trainer import Trainer

NAMES = ("cnn_lstm", "crnn_ctc slices")


def main(data: Path, out: Path, whole: int) -> None:
    """Write <out>/<process>.json."""
    torch.set_num_threads(1)
    results: dict[str, object] = {}
    items = read_dataset(data, "crohme")
    samples = [
        Source(items, VOCABULARY, ImageConfig(), AugmentConfig()).sample(index, None) for index in range(len(items))
    ]
    for name in NAMES:
        config = TrainConfig(
            train=(str(data),), validation=str(data), out=str(out / f"{name}-{whole}"), steps=2, batch_size=4, workers=0,
            pool_batches=1, warmup_steps=1, evaluate_limit=7, freeze_statistics=True, device="cpu" if torch.cuda.is_available() else "auto", model=narrow(name),
        )  # fmt: skip
        trainer = Trainer(config)
        model, _ = trainer.accelerator.prepare(trainer.model, trainer.optimizer)
        trainer._train_mode()
        # Shares of unequal size and unequal captions: means of means would be something else.
        cut = 5 if trainer.processes.count > 1 else len(samples)
        own = samples[:cut] if trainer.processes.first else samples[cut:]
        loss = model(collate(own))
        trainer.accelerator.backward(trainer.processes.balanced(loss))
        results[name] = {
            key: np.asarray(value.grad).ravel().tolist() if value.grad is not None else []
            for key, value in trainer.model.named_parameters()
        }
    fresh = Trainer(TrainConfig(**{**vars(config), "out": str(out / f"fit-{whole}")}))
    results["batches"] = [batch.tokens.tolist() for batch in next(fresh._batches())]
    read: list[str] = []

    def noting(parts: Sequence[Evaluation], ignore: Sequence[str]) -> Evaluation:
        whole = merged(parts, ignore)
        read.extend(item.path.name for item in whole.items)
        return whole

    hmer.trainer.merged = noting
    fresh.fit()
    hmer.trainer.merged = merged
    results["read"] = read
    results["samples"] = fresh.samples
    results["seconds"] = fresh.seconds
    results["processes"] = fresh.processes.count
    (out / f"{whole}-{fresh.processes.index}.json").write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
