"""Measure a checkpoint: python scripts/evaluate.py --checkpoint REF --data DATASET_FOLDER [--json FILE] ..."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

from jsonargparse import ArgumentParser
from tqdm import tqdm

from hmer.cleanup import clean_up, effect, join
from hmer.command_line import add_decoding, run, settings
from hmer.config import Decoding, check
from hmer.datasets.folder import read_dataset, sample
from hmer.evaluation import Evaluation, compared, evaluate
from hmer.recognizer import Recognizer
from hmer.rendered import rendered_match
from hmer.report import write_report


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table; write JSON and predictions where asked."""
    parser = ArgumentParser(
        prog="evaluate.py", allow_abbrev=False, description="Measure a checkpoint on a dataset folder."
    )
    parser.add_argument("--checkpoint", type=str, default="handwritten", help="a bundled name or a checkpoint folder")
    parser.add_argument("--data", type=str, required=True, help="a dataset folder")
    parser.add_argument("--against", type=str, default="", help="a second checkpoint, compared on the same items")
    parser.add_argument("--limit", type=int, default=0, help="measure on so many items, drawn in a fixed way (0: all)")
    parser.add_argument("--ignore", nargs="*", type=str, default=[], help="tokens dropped from both sides")
    parser.add_argument("--json", type=str, default="", help="write every figure to this file")
    parser.add_argument("--predictions", type=str, default="", help="write file, truth, prediction, confidence as TSV")
    parser.add_argument("--report", type=str, default="", help="write an HTML page with charts and predictions there")
    parser.add_argument("--rendered_match", action="store_true", help="measure how many look as their truth, typeset")
    parser.add_argument(
        "--clean_up",
        action="store_true",
        help="measure what dropping layout words and loose braces does, on both sides; "
        "--predictions gets a column with the cleaned-up prediction as one string",
    )
    add_decoding(parser)
    options = parser.parse_args(None if argv is None else list(argv))
    check(options.limit >= 0, f"--limit: {options.limit} is negative; give a number of items, or 0 for all.")
    for file in filter(
        None, (options.json, options.predictions, options.report)
    ):  # before an hour's work, not after it
        check(Path(file).absolute().parent.is_dir(), f"{file}: its folder does not exist; make it first.")

    recognizer = Recognizer.load(options.checkpoint)
    other = Recognizer.load(options.against) if options.against else None
    if other is not None:
        form, theirs = recognizer.config.label_form, other.config.label_form
        check(form == theirs, f"--against: its label form is {theirs}, not {form}; the two cannot be compared.")
    problems: list[str] = []
    items = sample(read_dataset(options.data, recognizer.config.label_form, problems), options.limit)

    def measured(reader: Recognizer) -> Evaluation:
        with tqdm(total=len(items), desc=f"reading with {reader.id}", disable=None) as bar:
            return evaluate(
                reader,
                items,
                settings(Decoding, options),
                ignore=options.ignore,
                teacher_forcing=reader is recognizer,
                progress=lambda done: bar.update(done - bar.n),
            )

    evaluation = measured(recognizer)
    for problem in (*problems, *evaluation.problems):
        print(f"not read: {problem}", file=sys.stderr)
    figures = {"checkpoint": recognizer.id, "data": str(options.data), **evaluation.figures()}
    if options.rendered_match:
        figures["rendered_match"] = rendered_match(evaluation.truths, evaluation.predictions)
    print(table(figures))
    if other is not None:
        figures["against"] = {"checkpoint": other.id, **compared(evaluation, measured(other))}
        print(comparison(figures["against"]))
    if options.clean_up:
        figures["clean_up"] = dataclasses.asdict(effect(evaluation.truths, evaluation.predictions))
        print(clean_up_table(figures["clean_up"]))
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if options.predictions:
        Path(options.predictions).write_text(
            predictions_tsv(evaluation, Path(options.data), options.clean_up), encoding="utf-8"
        )
    if options.report:
        print(write_report(Path(options.report), evaluation, figures, recognizer))
    return 0


def table(figures: dict[str, Any]) -> str:
    """The figures as text: one line each, then one line a group of lengths and structures, and the first confusions."""
    lines = [
        f"{key:<24} {value:.4f}" if isinstance(value, float) else f"{key:<24} {value if value is not None else '-'}"
        for key, value in figures.items()
        if not isinstance(value, (dict, list))
    ]
    for key, title in (("by_length", "tokens"), ("by_structure", "structure")):
        lines.append(f"{title:<14} {'n':>6} {'exprate':>8} {'token_error_rate':>17}")
        for name, group in figures[key].items():
            lines.append(f"{name:<14} {group['n']:>6} {group['exprate']:>8.4f} {group['token_error_rate']:>17.4f}")
    lines.append(f"{'truth':<14} {'read as':<14} {'times':>6}")
    lines += [
        f"{item['truth'] or '-':<14} {item['prediction'] or '-':<14} {item['count']:>6}"
        for item in figures["confusions"][:10]
    ]
    return "\n".join(lines)


def comparison(figures: dict[str, Any]) -> str:
    """The paired comparison with another checkpoint, as text."""
    low, high = figures["gain_interval"]
    less, more = figures["token_error_rate_interval"]
    return (
        f"against {figures['checkpoint']}, paired, n = {figures['n']}: ExpRate {figures['exprate']:.4f} there, "
        f"gain {figures['gain']:+.4f} (95 %: {low:+.4f} to {high:+.4f}; {figures['won']} won, {figures['lost']} lost), "
        f"token error rate {figures['token_error_rate_change']:+.4f} ({less:+.4f} to {more:+.4f})"
    )


def clean_up_table(effects: dict[str, Any]) -> str:
    """Token error rate of short and long formulas before and after the clean-up."""
    lines = [f"{'clean-up':<22} {'n':>6} {'before':>8} {'after':>8}"]
    for name, sign in (("short", "<="), ("long", ">")):
        row = effects[name]
        title = f"{name} ({sign} {effects['median_length']} tokens)"
        lines.append(f"{title:<22} {row['n']:>6} {row['before']:>8.4f} {row['after']:>8.4f}")
    return "\n".join(lines)


def predictions_tsv(evaluation: Evaluation, folder: Path, cleaned_up: bool = False) -> str:
    """file (relative to `folder`), truth, prediction, confidence; tokens separated by spaces.

    `cleaned_up` adds the prediction after the clean-up, as one string. What could not be read stands at the end with an
    empty prediction, which is how it counts.
    """
    answers = [(list(answer.tokens), f"{answer.confidence:.5f}") for answer in evaluation.recognitions]
    answers += [([], "0") for _ in evaluation.unread]
    lines = ["file\ttruth\tprediction\tconfidence" + "\tcleaned_up" * cleaned_up]
    for item, (tokens, confidence) in zip((*evaluation.items, *evaluation.unread), answers, strict=True):
        fields = [item.path.relative_to(folder).as_posix(), " ".join(item.tokens), " ".join(tokens), confidence]
        lines.append("\t".join([*fields, join(clean_up(tokens))] if cleaned_up else fields))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run(main))
