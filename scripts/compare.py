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
from hmer.cleanup import effect
from hmer.command_line import run
from hmer.config import Decoding, TrainConfig, check, from_dict
from hmer.datasets.folder import Item, read_dataset, sample
from hmer.errors import LatexError
from hmer.evaluation import Evaluation, evaluate, merged
from hmer.latex import label_tokens
from hmer.models import CtcModel
from hmer.plots import compared_curves, read_log
from hmer.published import CROHME_2014, PRINTED_FORMULAS, S2_CLEAN_UP, SYSTEMS, Published
from hmer.recognizer import Recognizer
from hmer.trainer import LOG, RESUME, Trainer

CONFIGS = Path(__file__).resolve().parents[1] / "hmer" / "configs"
HANDWRITTEN = ("s0_cnn_lstm", "s0_resnet50_lstm", "s1_bahdanau", "s2_resnet18_ctc", "s2_vgg16_ctc")
PRINTED = ("s0_cnn_lstm", "s0_resnet50_lstm", "s1_bahdanau")
OURS = {"handwritten": "handwritten_small", "printed": "printed_small"}  # our own recipe, from nothing and for as long
SEARCHES = {"greedy": Decoding(), "beam 10": Decoding(strategy="beam", beam_width=10)}
FORMS = {"handwritten": "crohme", "printed": "im2markup"}  # what the systems learn to write, and all are measured in
REDUCED = ("full", "printed")  # forms of labels that keep all that those two are made from


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
        "label_form": FORMS[kind],
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
    """A row for each search: size, speed in training, milliseconds a formula (one by one), and every figure.

    Kept in FOLDER/measured: the same weights are measured once on the same number of items.
    """
    kept = Path(options.out) / "measured" / f"{kind}-{identify(resolve(reference))}-{options.limit}.json"
    if kept.is_file():
        return [row | {"system": name} for row in json.loads(kept.read_text(encoding="utf-8"))]
    recognizer = Recognizer.load(reference)
    own = recognizer.config.label_form
    form = FORMS[kind] if own in REDUCED else own
    problems: list[str] = []
    items = sample(read_dataset(folder / "test", own, problems), options.limit)
    log = resolve(reference).parent / LOG
    spent = (read_log(log) or [{}])[-1] if log.is_file() else {}
    rows = []
    for search, decoding in SEARCHES.items():
        evaluation = evaluate(recognizer, items, decoding, teacher_forcing=search == "greedy")
        if form != own:
            evaluation = in_form(evaluation, form)
        figures = evaluation.figures()
        row = {
            "system": name,
            "data": kind,
            "label_form": form,
            "search": search,
            "parameters": parameters(recognizer.model),
            "images_per_second": spent["samples"] / (spent["hours"] * 3600) if spent.get("hours") else None,
            "ms_a_formula": milliseconds(recognizer, [item.path for item in evaluation.items[:50]], decoding),
            **{key: value for key, value in figures.items() if isinstance(value, (int, float))},
            "by_length": figures["by_length"],
            "by_structure": figures["by_structure"],
        }
        if isinstance(recognizer.model, CtcModel):
            row["clean_up"] = dataclasses.asdict(effect(evaluation.truths, evaluation.predictions))
        rows.append(row)
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return rows


def in_form(evaluation: Evaluation, form: str) -> Evaluation:
    """The same answers and truths, both reduced to another label form; it has no token accuracy, nobody wrote in it.

    An answer that is not well-formed stays as it is.
    """

    def reduced(tokens: Sequence[str]) -> tuple[str, ...]:
        try:
            return tuple(label_tokens(" ".join(tokens), form))
        except LatexError:
            return tuple(tokens)

    def of(items: Sequence[Item]) -> tuple[Item, ...]:
        return tuple(dataclasses.replace(item, tokens=reduced(item.tokens)) for item in items)

    other = dataclasses.replace(
        evaluation,
        items=of(evaluation.items),
        unread=of(evaluation.unread),
        recognitions=tuple(dataclasses.replace(one, tokens=reduced(one.tokens)) for one in evaluation.recognitions),
        forced=None,
    )
    return merged([other], evaluation.ignore)  # which computes every figure anew


def milliseconds(recognizer: Recognizer, files: Sequence[Path], decoding: Decoding) -> float | None:
    """Median time of a file, one after the other, from file to LaTeX; the first is not counted."""
    times = []
    for file in files:
        begin = time.perf_counter()
        recognizer.recognize([file], decoding)
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times[1:] or times) if times else None


COLUMNS = {
    "system": "system", "data": "data", "label_form": "label form", "search": "search", "parameters": "parameters",
    "images_per_second": "images/s in training", "ms_a_formula": "ms a formula", "n": "n", "exprate": "ExpRate", "le1": "≤ 1",
    "le2": "≤ 2", "token_error_rate": "token error rate", "character_error_rate": "character error rate",
    "token_accuracy": "token accuracy", "bleu": "BLEU", "levenshtein_similarity": "Levenshtein similarity",
    "edit_distance_mean": "mean edit distance", "valid_latex": "valid LaTeX",
}  # fmt: skip
CLEAN_UP = {
    "system": "system", "search": "search", "median_length": "median length", "short_before": "short, before",
    "short_after": "short, after", "long_before": "long, before", "long_after": "long, after",
}  # fmt: skip


def write(out: Path, rows: list[dict[str, Any]], options: Namespace) -> None:
    """comparison.json, comparison.md and curves.png, after each row: nothing measured is lost."""
    spent = f"{options.steps} steps" if options.steps else f"{options.hours:g} hours"
    (out / "comparison.json").write_text(
        json.dumps({"trained_for": spent, "rows": rows}, indent=1) + "\n", encoding="utf-8"
    )
    text = [f"Trained for {spent} each. {TABLE_NOTE}\n", markdown(COLUMNS, rows)]
    if any("clean_up" in row for row in rows):
        text += ["\n" + CLEAN_UP_NOTE + "\n", markdown(CLEAN_UP, cleaned_up(rows))]
    published = [item for name in dict.fromkeys(row["system"] for row in rows) for item in SYSTEMS.get(name, ())]
    kinds = {row["data"] for row in rows}
    published += CROHME_2014 if "handwritten" in kinds else ()
    published += PRINTED_FORMULAS if "printed" in kinds else ()
    told = {field.name for field in dataclasses.fields(Published)}
    header = {"system": "system", "note": "measured on", **{key: COLUMNS[key] for key in COLUMNS if key in told}}
    shown = [dataclasses.asdict(item) for item in dict.fromkeys(published)]  # S2's two backbones have one figure
    text += ["\n" + PUBLISHED_NOTE + "\n", markdown(header, shown)]
    (out / "comparison.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    runs = {path.parent.name: read_log(path) for path in sorted(out.glob(f"*/{LOG}"))}
    compared_curves(runs, out / "curves.png")


TABLE_NOTE = (
    "Distances are edits of characters, error rates edits over the truths' length. There is no token accuracy of CRNN-CTC, "
    "which writes no next token, nor of beam search, nor of what was reduced to the others' label form afterwards."
)
CLEAN_UP_NOTE = (
    "What the clean-up (`hmer.cleanup`) does to CRNN-CTC's token error rate, truths cleaned up, too; up to the median "
    "length of the truths, and above it:"
)
PUBLISHED_NOTE = (
    "As published, with their own measures and data. S0 and S1 are measured on IM2LaTeX-100k and on pictures of their own, "
    "ours on what is named above; S2 on its own collection, before its clean-up. ExpRate on CROHME 2014 is mostly that of "
    "beam search (to be compared with the rows of beam 10), some of it rescored in both directions, and none of those "
    "systems is trained with the segmentation of strokes:"
)


def cleaned_up(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the clean-up's table: those that have it, and S2's own."""
    table = []
    for row in rows:
        if "clean_up" in row:
            found = row["clean_up"]
            rates = {f"{part}_{when}": found[part][when] for part in ("short", "long") for when in ("before", "after")}
            table.append(
                {"system": row["system"], "search": row["search"], "median_length": found["median_length"], **rates}
            )
    (short_before, short_after), (long_before, long_after) = S2_CLEAN_UP.short, S2_CLEAN_UP.long
    own = {
        "system": "S2 as published, its own data", "search": "beam 10", "median_length": S2_CLEAN_UP.median_length,
        "short_before": short_before, "short_after": short_after, "long_before": long_before, "long_after": long_after,
    }  # fmt: skip
    return [*table, own]


def markdown(columns: dict[str, str], rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a table in Markdown; fractions in percent where they are rates of formulas."""

    def cell(key: str, value: Any) -> str:
        if value is None:
            return "-"
        if key in ("exprate", "le1", "le2", "valid_latex"):
            return f"{value:.1%}"
        if isinstance(value, float):
            coarse = ("bleu", "ms_a_formula", "images_per_second", "edit_distance_mean")
            return f"{value:.1f}" if key in coarse else f"{value:.4f}"
        return f"{value:,}" if isinstance(value, int) else str(value)

    lines = ["| " + " | ".join(columns.values()) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell(key, row.get(key)) for key in columns) + " |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(run(main))
