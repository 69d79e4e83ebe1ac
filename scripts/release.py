"""Make a released checkpoint from a trained one.

    python scripts/release.py --checkpoint '["RUN/best"]' --replay DATASET --regression DATASET --card FILE --out FOLDER

Of several checkpoints of one run the mean of their weights is released, in equal `--shares` or others.
Confidence is calibrated on the regression data set; a part of both data sets travels along, for fine-tuning, or
with `--carry RELEASE` in place of `--replay` and `--notice` what travels with an earlier release. What neither data set
shows of the vocabulary is added from `--rare_replay` and `--rare_regression`: else fine-tuning could lose those symbols,
and its gate would not see it.
"""

import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

import cv2
import numpy as np
import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from hmer import checkpoint as checkpoints
from hmer.calibration import fit_calibration
from hmer.checkpoint import Checkpoint
from hmer.command_line import run
from hmer.config import Decoding, check
from hmer.datasets.batches import symbol_positions
from hmer.datasets.folder import LABELS, Item, read_dataset, read_rows, sample, write_labels
from hmer.datasets.recombine import Formula, Recombiner
from hmer.errors import CheckpointError, DatasetError, HmerError
from hmer.evaluation import evaluate
from hmer.finetune import REGRESSION, REPLAY
from hmer.image import read_image
from hmer.imprint import rich_in_symbols
from hmer.ink import draw, read_inkml, write_inkml
from hmer.recognizer import Recognizer

BEAM_WIDTH = 10
SHORT = range(2, 10)
RARE_LENGTH = 15  # tokens at most of what is carried for its rare symbols
TRIES = 20  # for each part that is wanted


def main(argv: Sequence[str] | None = None) -> int:
    """Write the released checkpoint folder."""
    parser = ArgumentParser(prog="release.py", description="Make a released checkpoint from a trained one.")
    parser.add_argument("--checkpoint", type=list[str], required=True, help="the trained one, or several of one run")
    parser.add_argument(
        "--shares", type=list[float], default=[], help="of each checkpoint in the mean (default: equal)"
    )
    parser.add_argument("--carry", type=str, default="", help="a checkpoint whose replay and regression sets to take")
    parser.add_argument("--replay", type=str, default="", help="dataset folder: its training data")
    parser.add_argument("--regression", type=str, required=True, help="dataset folder that it never trained on")
    parser.add_argument(
        "--sources", nargs="*", type=str, default=[], help="carry only what comes from these (column source)"
    )
    parser.add_argument("--replay_count", type=int, default=400)
    parser.add_argument("--regression_count", type=int, default=500)
    parser.add_argument(
        "--regression_parts", type=int, default=0, help="so many short parts of its formulas too (segmented ink only)"
    )
    parser.add_argument("--rare_replay", nargs="*", type=str, default=[], help="dataset folders: more training data")
    parser.add_argument("--rare_regression", nargs="*", type=str, default=[], help="more that it never trained on")
    parser.add_argument("--rare_count", type=int, default=200, help="items from these, chosen to show every symbol")
    parser.add_argument("--ignore", nargs="*", type=str, default=[], help="tokens that the regression labels lack")
    parser.add_argument("--card", type=str, required=True, help="the card's text")
    parser.add_argument("--notice", type=str, default="", help="the terms of what the checkpoint carries")
    parser.add_argument("--out", type=str, required=True)
    options = parser.parse_args(None if argv is None else list(argv))

    check(
        bool(options.carry) != bool(options.replay and options.notice),
        "Give --replay and --notice, or --carry with an earlier release that holds them.",
    )

    parts = [checkpoints.load(reference) for reference in options.checkpoint]
    recognizer = Recognizer(averaged(parts, options.shares))
    form = recognizer.config.label_form
    problems: list[str] = []
    validation = read_dataset(options.regression, form, problems)
    # Greedy answers and those of a beam search are calibrated apart: more is known of the latter.
    evaluation, searched = (
        evaluate(recognizer, validation, decoding, ignore=options.ignore)
        for decoding in (Decoding(), Decoding(strategy="beam", beam_width=BEAM_WIDTH))
    )
    calibration, beam_calibration = (
        fit_calibration([answer.evidence for answer in found.recognitions], found.right)
        for found in (evaluation, searched)
    )
    print(f"validation: greedy {evaluation.scores}\nbeam search {searched.scores}")
    config = dataclasses.replace(
        recognizer.config, name=Path(options.out).name, calibration=calibration, beam_calibration=beam_calibration,
        parent="",
    )  # fmt: skip
    card = Path(options.card).read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="hmer-release-") as working:
        extra = Path(working) / "extra"
        if options.carry:
            shutil.copytree(checkpoints.resolve(options.carry), extra)
        else:
            extra.mkdir()
            allowed = set(options.sources)
            trained, measured = (
                [item for item in items if not allowed or item.source in allowed]
                for items in (read_dataset(options.replay, form, problems), evaluation.items)
            )
            _carry(sample(trained, options.replay_count, seed=1), extra / REPLAY, as_ink=True)
            regression = sample(measured, options.regression_count, seed=1)
            if options.regression_parts:
                regression += parts_of(measured, options.regression_parts, extra / "parts")
            _carry(regression, extra / REGRESSION, as_ink=False)
            (extra / "NOTICE").write_text(Path(options.notice).read_text(encoding="utf-8"), encoding="utf-8")
        for name, folders in ((REPLAY, options.rare_replay), (REGRESSION, options.rare_regression)):
            rare = [item for folder in folders for item in read_dataset(folder, form, problems)]
            known = [item for item in rare if not recognizer.model.vocabulary.missing(item.tokens)]
            _carry(rare_symbols(known, options.rare_count), extra / name, as_ink=name == REPLAY)
            carried = {token for item in read_dataset(extra / name, form) for token in item.tokens}
            missing = [token for token in config.vocabulary if token not in carried]
            print(f"{name}: {len(missing)} of {len(config.vocabulary)} tokens are not in it: {' '.join(missing)}")
        checkpoints.save(options.out, recognizer.model, config, card=card, extra=extra, overwrite=True)
    print(f"{options.out}: calibration {calibration}, after beam search {beam_calibration}")
    return 0


def averaged(parts: Sequence[Checkpoint], shares: Sequence[float] = ()) -> Checkpoint:
    """The mean of the weights, of each by its share. Source: model soups (Wortsman et al. 2022). Raises CheckpointError.

    A vocabulary only grows along a line of checkpoints: what is of a token is the mean of those that know it.
    """
    shares = shares or [1.0] * len(parts)
    if len(shares) != len(parts) or min(shares) < 0 or sum(shares) <= 0:
        raise CheckpointError(f"--shares: {len(parts)} numbers from 0 up are needed, one for each checkpoint.")
    parts, shares = zip(*((part, share) for part, share in zip(parts, shares, strict=True) if share), strict=True)
    widest = max(parts, key=lambda part: len(part.config.vocabulary))
    words = widest.config.vocabulary
    if any(
        part.config.vocabulary != words[: len(part.config.vocabulary)] or part.config.model != widest.config.model
        for part in parts
    ):
        raise CheckpointError("These checkpoints are not of one line: their vocabularies or their models differ.")
    states = [part.model.state_dict() for part in parts]
    mean = dict(widest.model.state_dict())
    for name, value in mean.items():
        if value.is_floating_point():
            mean[name] = _mean([state[name] for state in states], shares, value)
    widest.model.load_state_dict(mean)
    return widest


def _mean(values: Sequence[Tensor], shares: Sequence[float], like: Tensor) -> Tensor:
    """The weighted mean of tensors of the shape of `like`, of which some lack the last rows."""
    if not like.dim():
        return sum((share * value for share, value in zip(shares, values, strict=True)), torch.zeros(())) / sum(shares)
    total, weight = torch.zeros_like(like), like.new_zeros(len(like))
    for share, value in zip(shares, values, strict=True):
        total[: len(value)] += share * value
        weight[: len(value)] += share
    return total / weight.view(-1, *[1] * (like.dim() - 1))


def parts_of(items: Sequence[Item], count: int, folder: Path) -> list[Item]:
    """`count` different parts of the items' ink, each of SHORT tokens, written to `folder`.

    How small a loss can be excluded hangs on how many items there are, and a part is read in a quarter of the time of
    a formula. Raises DatasetError where the segmented ink does not give so many.
    """
    folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    inks = [(item, read_inkml(item.path)) for item in items if item.path.suffix.lower() == ".inkml"]
    made = [Formula(item.tokens, ink, tuple(symbol_positions(item.tokens, ink))) for item, ink in inks]
    recombiner = Recombiner(made)
    parts: list[Item] = []
    seen = set()
    for _ in range(TRIES * count if len(recombiner) else 0):
        index = int(random.integers(len(recombiner)))
        part = recombiner.part(recombiner.formulas[index], random)
        if len(part.tokens) not in SHORT or (index, part.tokens) in seen:
            continue
        seen.add((index, part.tokens))
        path = folder / f"{len(parts):05}.inkml"
        write_inkml(part.ink, path)
        parts.append(Item(path, part.tokens))
        if len(parts) == count:
            return parts
    raise DatasetError(f"{len(parts)} parts of formulas with segmented ink are to be had, not {count}: ask for fewer.")


def rare_symbols(items: Sequence[Item], count: int) -> list[Item]:
    """`count` short ones of the items, with every symbol among them as often as can be."""
    return rich_in_symbols([item for item in items if len(item.tokens) <= RARE_LENGTH], count)


def _carry(items: Sequence[Item], folder: Path, *, as_ink: bool) -> None:
    """Copies without names, with their captions: ink as compact ink, or as small pictures of what a pen would draw.

    Added to what is in the folder.
    """
    folder.mkdir(exist_ok=True)
    rows = []
    if (folder / LABELS).is_file():
        rows = [(row["file"], row["latex"], row.get("source", "")) for row in read_rows(folder)]
    for index, item in enumerate(items, start=len(rows)):
        ink = item.path.suffix.lower() == ".inkml"
        name = f"{index:04}{'.inkml' if ink and as_ink else '.png'}"
        try:
            if ink and as_ink:
                write_inkml(dataclasses.replace(read_inkml(item.path), truth=None, writer=""), folder / name)
            elif ink:
                drawn = draw(read_inkml(item.path), jagged=True)
                cv2.imwrite(str(folder / name), drawn, [cv2.IMWRITE_PNG_BILEVEL, 1])
            else:
                cv2.imwrite(str(folder / name), read_image(item.path), [cv2.IMWRITE_PNG_COMPRESSION, 9])
        except HmerError:
            continue
        rows.append((name, " ".join(item.tokens), item.source))
    if not any(source for *_, source in rows):
        write_labels(folder, [row[:2] for row in rows], ("file", "latex"))
    else:
        write_labels(folder, rows, ("file", "latex", "source"))


if __name__ == "__main__":
    sys.exit(run(main))
