"""Train the starting systems for equal hours, measure them and our checkpoints alike, and write one table.

    python scripts/compare.py --handwritten DATA [--printed DATA] --out FOLDER [--hours 2] [--backbone_weights FILE]

DATA is a folder with train/, validation/ and test/ dataset folders. A run that was begun is gone on with, one that is
done is only measured, and what was measured is not measured again; so the command can be stopped and started again.
FOLDER gets comparison.json and comparison.md.
"""

import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

import yaml
from jsonargparse import ArgumentParser, Namespace

from hmer.checkpoint import identify, parameters, resolve
from hmer.command_line import run
from hmer.config import Decoding, TrainConfig, check, from_dict
from hmer.datasets.folder import read_dataset, sample
from hmer.evaluation import evaluate
from hmer.plots import compared_curves, read_log
from hmer.published import CROHME_2014, SYSTEMS
from hmer.recognizer import Recognizer
from hmer.trainer import LOG, RESUME, Trainer

CONFIGS = Path(__file__).resolve().parents[1] / "hmer" / "configs"
HANDWRITTEN = ("s0_cnn_lstm", "s0_resnet50_lstm", "s1_bahdanau", "s2_resnet18_ctc", "s2_vgg16_ctc")
PRINTED = ("s0_cnn_lstm", "s0_resnet50_lstm", "s1_bahdanau")
OURS = {"handwritten": "handwritten_small", "printed": "printed_small"}  # our own recipe, from nothing and for as long
SEARCHES = {"greedy": Decoding(), "beam 10": Decoding(strategy="beam", beam_width=10)}
MEASURES = (
    "exprate",
    "le1",
    "le2",
    "token_error_rate",
    "token_accuracy",
    "bleu",
    "levenshtein_similarity",
    "valid_latex",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is not yet trained, measure everything, write and print the table."""
    parser = ArgumentParser(prog="compare.py", description="Compare the starting systems with our checkpoints.")
    parser.add_argument(
        "--handwritten", type=str, default="", help="folder with train/, validation/ and test/ of handwriting"
    )
    parser.add_argument("--printed", type=str, default="", help="the same of printed formulas")
    parser.add_argument("--out", type=str, required=True, help="folder for runs and results")
    parser.add_argument("--hours", type=float, default=2.0, help="of training for each run")
    parser.add_argument("--steps", type=int, default=0, help="optimiser steps instead of hours (for trying)")
    parser.add_argument("--limit", type=int, default=0, help="measure on so many test items (0: all)")
    parser.add_argument("--threads", type=int, default=0, help="processor cores (0: as torch chooses)")
    parser.add_argument(
        "--backbone_weights",
        type=str,
        default="pretrained",
        help="folder with <backbone>.pth, 'pretrained', or '' for none",
    )
    parser.add_argument(
        "--checkpoints",
        nargs="*",
        type=str,
        default=None,
        help="measured beside them (default: the bundled one for the kind of writing; nothing after it: none)",
    )
    parser.add_argument("--only", nargs="*", type=str, default=[], help="configurations to compare (default: all)")
    parser.add_argument(
        "--ignore", nargs="*", type=str, default=[], help="tokens that the labels of handwritten/validation lack"
    )
    options = parser.parse_args(None if argv is None else list(argv))
    check(bool(options.handwritten or options.printed), "Nothing to compare: name --handwritten or --printed.")
    known = {*HANDWRITTEN, *OURS.values()}
    check(set(options.only) <= known, f"--only: known are {', '.join(sorted(known))}.")
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)

    rows: list[dict[str, Any]] = []
    for kind, names in (("handwritten", HANDWRITTEN), ("printed", PRINTED)):
        folder = getattr(options, kind)
        if not folder:
            continue
        for name in (*names, OURS[kind]):
            if not options.only or name in options.only:
                rows += measured(name, kind, train(name, kind, Path(folder), options), Path(folder), options)
                write(out, rows, options)
        for reference in [kind] if options.checkpoints is None else options.checkpoints:
            rows += measured(reference, kind, reference, Path(folder), options)
            write(out, rows, options)
    print((out / "comparison.md").read_text(encoding="utf-8"))
    return 0


def configuration(name: str, kind: str, folder: Path, options: Namespace) -> TrainConfig:
    """The settings of a system, for this data and this long; all else as in its file."""
    values = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))
    weights = options.backbone_weights
    backbone = values["model"].get("encoder", "")
    if not values.get("backbone_weights") or not weights:
        values |= {"backbone_weights": "", "frozen_stages": 0}
    elif weights != "pretrained":
        values["backbone_weights"] = str(Path(weights) / f"{backbone}.pth")
    values |= {
        "train": [str(folder / "train")], "validation": str(folder / "validation"),
        "out": str(Path(options.out) / f"{kind}-{name}"), "threads": options.threads,
        "label_form": "crohme" if kind == "handwritten" else "im2markup",
        "evaluate_ignore": options.ignore if kind == "handwritten" else [],
        # Validations, which lower the rate and end runs, come by the clock where there is no time for whole epochs.
        "epochs": 0, "hours": 0.0 if options.steps else options.hours, "steps": options.steps or 1,
        "evaluate_minutes": max(options.hours * 60 / 8, 1.0), "evaluate_limit": 100,
    }  # fmt: skip
    if name in OURS.values():
        values |= {"initial": "", "keep_settings": True, "decay_share": 0.4}
    return from_dict(TrainConfig, values, name)


def train(name: str, kind: str, folder: Path, options: Namespace) -> Path:
    """The best checkpoint of a run: made, gone on with, or there already."""
    config = configuration(name, kind, folder, options)
    out = Path(config.out)
    trainer = Trainer(config, resume=(out / RESUME).is_file())
    if trainer.progress < 1.0 and not trainer.patience.lost(config):
        trainer.fit()
    return out / "best"


def measured(name: str, kind: str, reference: str | Path, folder: Path, options: Namespace) -> list[dict[str, Any]]:
    """A row for each search: size, speed in training, milliseconds a formula (one by one), and every measure.

    Kept in FOLDER/measured: the same weights are measured once on the same number of items.
    """
    kept = Path(options.out) / "measured" / f"{kind}-{name}-{identify(resolve(reference))}-{options.limit}.json"
    if kept.is_file():
        return list(json.loads(kept.read_text(encoding="utf-8")))
    recognizer = Recognizer.load(reference)
    problems: list[str] = []
    items = sample(read_dataset(folder / "test", recognizer.config.label_form, problems), options.limit)
    log = resolve(reference).parent / LOG
    speeds = (
        [line["samples_per_second"] for line in read_log(log) if "samples_per_second" in line] if log.is_file() else []
    )
    rows = []
    for search, decoding in SEARCHES.items():
        evaluation = evaluate(recognizer, items, decoding, teacher_forcing=search == "greedy")
        figures = evaluation.figures()
        rows.append(
            {
                "system": name,
                "data": kind,
                "search": search,
                "parameters": parameters(recognizer.model),
                "images_per_second": statistics.median(speeds) if speeds else None,
                "ms_a_formula": milliseconds(recognizer, [item.path for item in evaluation.items[:50]], decoding),
                "n": figures["n"],
                **{key: figures[key] for key in MEASURES},
            }
        )
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return rows


def milliseconds(recognizer: Recognizer, files: Sequence[Path], decoding: Decoding) -> float | None:
    """Median time of a file, one after the other, from file to LaTeX; the first is not counted."""
    times = []
    for file in files:
        begin = time.perf_counter()
        recognizer.recognize([file], decoding)
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times[1:] or times) if times else None


COLUMNS = {
    "system": "system", "data": "data", "search": "search", "parameters": "parameters", "images_per_second": "images/s in training",
    "ms_a_formula": "ms a formula", "n": "n", "exprate": "ExpRate", "le1": "≤ 1", "le2": "≤ 2",
    "token_error_rate": "token error rate", "token_accuracy": "token accuracy", "bleu": "BLEU",
    "levenshtein_similarity": "Levenshtein similarity", "valid_latex": "valid LaTeX",
}  # fmt: skip


def write(out: Path, rows: list[dict[str, Any]], options: Namespace) -> None:
    """comparison.json, comparison.md and curves.png, after each row: nothing measured is lost."""
    spent = f"{options.steps} steps" if options.steps else f"{options.hours:g} hours"
    (out / "comparison.json").write_text(
        json.dumps({"trained_for": spent, "rows": rows}, indent=1) + "\n", encoding="utf-8"
    )
    names = dict.fromkeys(row["system"] for row in rows)
    published = [SYSTEMS[name] for name in names if name in SYSTEMS]
    if any(row["data"] == "handwritten" for row in rows):
        published += CROHME_2014
    text = [
        f"Trained for {spent} each.\n",
        markdown(COLUMNS, rows),
        "\nAs published, with their own measures and data:\n",
    ]
    header = {
        "system": "system",
        "note": "measured on",
        **{key: COLUMNS[key] for key in MEASURES if key != "valid_latex"},
    }
    text.append(markdown(header, [dataclasses.asdict(item) for item in published]))
    (out / "comparison.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    runs = {path.parent.name: read_log(path) for path in sorted(out.glob(f"*/{LOG}"))}
    compared_curves(runs, out / "curves.png")


def markdown(columns: dict[str, str], rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a table in Markdown; fractions in percent where they are rates of formulas."""

    def cell(key: str, value: Any) -> str:
        if value is None:
            return "-"
        if key in ("exprate", "le1", "le2", "valid_latex"):
            return f"{value:.1%}"
        if isinstance(value, float):
            return f"{value:.1f}" if key in ("bleu", "ms_a_formula", "images_per_second") else f"{value:.4f}"
        return f"{value:,}" if isinstance(value, int) else str(value)

    lines = ["| " + " | ".join(columns.values()) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell(key, row.get(key)) for key in columns) + " |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(run(main))
