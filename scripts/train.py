"""Train a model: python scripts/train.py --config FILE [overrides] [--resume]."""

import dataclasses
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

from jsonargparse import ArgumentParser

from hmer import checkpoint as checkpoints
from hmer.command_line import run, settings
from hmer.config import TrainConfig
from hmer.epochs import EPOCH_HEADER, epoch_row
from hmer.trainer import fit


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the configuration says and print the folder of the checkpoint."""
    parser = ArgumentParser(prog="train.py", allow_abbrev=False, description="Train a model on dataset folders.")
    parser.add_argument("--config", action="config", help="a YAML file with any of the settings below")
    parser.add_argument("--resume", type=bool, default=False, nargs="?", const=True, help="go on with the run in --out")
    parser.add_argument(
        "--name", type=str, default="", help="keep the result in the data folder, where the app finds it"
    )
    parser.add_class_arguments(TrainConfig)
    options = parser.parse_args(None if argv is None else list(argv))
    kept = checkpoints.free_place(options.name) if options.name else None
    logging.getLogger("hmer").setLevel(logging.INFO)
    rows: list[str] = []

    def report(line: dict[str, Any]) -> None:
        """Each validation as it comes, in the columns of the table that is printed at the end."""
        if "validation_loss" in line:
            rows.append(epoch_row(line))
            print(f"{EPOCH_HEADER}\n{rows[-1]}")

    result = fit(settings(TrainConfig, options), resume=options.resume, report=report)
    if int(os.environ.get("RANK", "0")) == 0:  # of several processes, the first
        print("\n".join([EPOCH_HEADER, *rows] if rows else []))
        if kept is not None:
            found = checkpoints.load(result)
            config = dataclasses.replace(found.config, name=options.name)
            card = (result / checkpoints.CARD).read_text(encoding="utf-8")
            result = checkpoints.save(kept, found.model, config, card=card, extra=result)
        print(result)
    return 0


if __name__ == "__main__":
    for ending in (signal.SIGINT, signal.SIGTERM):  # the one is ignored under nohup, the other is how job runners end
        signal.signal(ending, signal.default_int_handler)  # as Ctrl+C: the run is saved first
    sys.exit(run(main))
