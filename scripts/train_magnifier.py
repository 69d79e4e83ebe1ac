"""Give a checkpoint a magnifier of small print: python scripts/train_magnifier.py --checkpoint REF --data FOLDER --out FOLDER."""

import dataclasses
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

import numpy as np
import torch
from jsonargparse import ArgumentParser
from tqdm import tqdm

from hmer import checkpoint as checkpoints
from hmer.command_line import run
from hmer.config import MagnifierConfig, check
from hmer.datasets.folder import read_dataset, sample
from hmer.errors import BadImage, ConfigError
from hmer.image import read_image
from hmer.magnify import MagnifierTraining, Print, difference, drawings, example, magnifying, train_magnifier
from hmer.models.magnifier import Magnifier


def main(argv: Sequence[str] | None = None) -> int:
    """Train, measure on pictures held out, write the checkpoint folder; stopped by Ctrl+C, with what was learnt so far."""
    parser = ArgumentParser(prog="train_magnifier.py", allow_abbrev=False, description="A checkpoint's magnifier.")
    parser.add_argument("--checkpoint", type=str, required=True)
    parser.add_argument("--data", type=list[str], required=True, help="dataset folders of printed formulas")
    parser.add_argument("--limit", type=int, default=0, help="so many pictures of each, drawn in a fixed way (0: all)")
    parser.add_argument("--more", type=bool, default=False, nargs="?", const=True, help="train its magnifier further")
    parser.add_argument("--held_out", type=int, default=200, help="pictures for the difference that is told at the end")
    parser.add_argument("--threads", type=int, default=0, help="processor cores (0: as torch chooses)")
    defaults = MagnifierConfig(channels=96)
    for kind, given in ((MagnifierConfig, defaults), (MagnifierTraining, MagnifierTraining())):
        for field in dataclasses.fields(kind):
            help_ = f"see {kind.__name__}"
            parser.add_argument(f"--{field.name}", type=field.type, default=getattr(given, field.name), help=help_)
    parser.add_argument("--out", type=str, required=True, help="the checkpoint folder to write; must not exist yet")
    options = parser.parse_args(None if argv is None else list(argv))
    config, settings = (
        kind(**{field.name: options[field.name] for field in dataclasses.fields(kind)})
        for kind in (MagnifierConfig, MagnifierTraining)
    )
    check(not Path(options.out).exists(), f"{options.out}: exists already; choose another folder.")
    check(config.channels > 0, "--channels: at least 1.")
    if options.threads:
        torch.set_num_threads(options.threads)
    checkpoint = checkpoints.load(options.checkpoint)
    torch.manual_seed(settings.seed)
    magnifier = checkpoint.model.magnifier if options.more else Magnifier(config)
    if magnifier is None:
        raise ConfigError(f"{options.checkpoint}: has no magnifier to train further; leave out --more.")
    magnifier.config = dataclasses.replace(magnifier.config, below_px=config.below_px)
    pictures = []
    form = checkpoint.config.label_form
    items = [item for folder in options.data for item in sample(read_dataset(folder, form), options.limit)]
    for item in tqdm(items, desc="reading", unit="picture", disable=None):
        try:
            found = Print.of(read_image(item.path))
        except BadImage:
            continue
        if found is not None:
            pictures.append(found)
    random.Random(settings.seed).shuffle(pictures)
    held_out, pictures = pictures[: options.held_out], pictures[options.held_out :]
    print(f"{len(pictures)} pictures, {len(held_out)} held out")
    with tqdm(total=100, unit="%", disable=None) as bar:

        def show(share: float, loss: float) -> None:
            bar.n = int(100 * share)
            bar.set_postfix_str(f"difference {loss:.4f}")

        try:
            train_magnifier(magnifier, pictures, settings, show, reader=checkpoint)
        except KeyboardInterrupt:
            print("stopped; what was learnt so far is kept, --more goes on from it")
    if held_out:
        chance = np.random.default_rng(0)
        examples = [example(picture, chance) for picture in held_out]
        with torch.inference_mode():
            apart = float(difference(drawings(magnifier, examples), examples))
        print(f"a pixel differs by {apart:.4f} in {len(held_out)} pictures held out")
    made = magnifying(checkpoint, magnifier)
    config_of = dataclasses.replace(made.config, name=Path(options.out).name, parent=checkpoint.id)
    card = (checkpoint.folder / checkpoints.CARD).read_text(encoding="utf-8") if checkpoint.folder else ""
    checkpoints.save(options.out, made.model, config_of, card=card, extra=checkpoint.folder)
    print(options.out)
    return 0


if __name__ == "__main__":
    for ending in (signal.SIGINT, signal.SIGTERM):  # as in train.py
        signal.signal(ending, signal.default_int_handler)
    sys.exit(run(main))
