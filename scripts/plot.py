"""Pictures of training, data and predictions, as PNG files.

python scripts/plot.py curves RUN... --out FILE          training curves of one or several runs
python scripts/plot.py learning FIGURES.json --out FILE  what benchmark.py personalise measured
python scripts/plot.py data DATASET_FOLDER --out FILE    sizes, aspect, lengths, grey values and tokens
python scripts/plot.py sheet --data DATASET_FOLDER ...   pictures with their truth and what was read
python scripts/plot.py attention FILE ... --out FILE     where the model looked, token by token
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

from jsonargparse import ArgumentParser, Namespace

from hmer.command_line import add_decoding, run, settings
from hmer.config import Decoding, check
from hmer.datasets.folder import read_dataset, sample
from hmer.errors import ConfigError
from hmer.plots import (
    Prediction,
    attention_picture,
    compared_curves,
    dataset_statistics,
    learning_curves,
    prediction_sheet,
    read_log,
    statistics_picture,
    training_curves,
)


def curves(options: Namespace) -> None:
    """Training curves of one run, or of several side by side."""
    logs = {Path(run).name: read_log(Path(run) / "log.jsonl") for run in options.runs}
    if len(logs) == 1:
        training_curves(next(iter(logs.values())), Path(options.out))
    else:
        compared_curves(logs, Path(options.out))


def learning(options: Namespace) -> None:
    """Learning curves: how well writers are read after so many corrections, and everyone else."""
    try:
        figures = json.loads(Path(options.figures).read_text(encoding="utf-8"))
        learning_curves(figures, Path(options.out))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{options.figures}: is no JSON file of benchmark.py personalise ({error!r}).") from error


def data(options: Namespace) -> None:
    """Statistics of a data set as a picture, and in short on the terminal."""
    problems: list[str] = []
    items = sample(read_dataset(options.folder, options.label_form, problems), options.limit)
    statistics = dataset_statistics(items)
    statistics_picture(statistics, Path(options.out))
    print(json.dumps(statistics.summary() | {"left_out": len(problems)}, indent=1))


def sheet(options: Namespace) -> None:
    """Pictures of a data set with their truth and what was read."""
    from hmer.evaluation import evaluate
    from hmer.recognizer import Recognizer

    recognizer = Recognizer.load(options.checkpoint)
    problems: list[str] = []
    items = sample(read_dataset(options.data, recognizer.config.label_form, problems), options.limit)
    evaluation = evaluate(recognizer, items, settings(Decoding, options))
    pairs = zip(evaluation.items, evaluation.recognitions, strict=True)
    shown = [Prediction(recognizer.read(item.path), item.tokens, answer.tokens) for item, answer in pairs]
    prediction_sheet(shown, Path(options.out))


def attention(options: Namespace) -> None:
    """Where the model looked in a picture (or .inkml) for each token that it wrote."""
    from hmer.looks import looks
    from hmer.recognizer import Recognizer

    recognizer = Recognizer.load(options.checkpoint)
    picture = recognizer.read(Path(options.file))
    (answer,) = recognizer.recognize_prepared([picture], settings(Decoding, options))
    attention_picture(picture, looks(recognizer, picture, answer.tokens)).savefig(options.out, dpi=110)
    print(answer.latex)


PICTURES = {"curves": curves, "learning": learning, "data": data, "sheet": sheet, "attention": attention}


def main(argv: Sequence[str] | None = None) -> int:
    """Draw one picture."""
    parser = ArgumentParser(prog="plot.py", description="Pictures of training, data and predictions.")
    commands = parser.add_subcommands()
    for name, function in PICTURES.items():
        sub = ArgumentParser(description=function.__doc__)
        if name == "curves":
            sub.add_argument("runs", nargs="+", type=str, help="output folders of train.py")
        elif name == "learning":
            sub.add_argument("figures", type=str, help="what benchmark.py personalise wrote with --json")
        elif name == "data":
            sub.add_argument("folder", type=str, help="a dataset folder")
            sub.add_argument("--label_form", type=str, default="crohme", help="how labels are spelled")
        elif name == "sheet":
            sub.add_argument("--data", type=str, required=True, help="a dataset folder")
        else:
            sub.add_argument("file", type=str, help="a picture, or .inkml")
        if name in ("data", "sheet"):
            limit = 0 if name == "data" else 24
            sub.add_argument("--limit", type=int, default=limit, help="so many items, drawn in a fixed way (0: all)")
        if name in ("sheet", "attention"):
            sub.add_argument(
                "--checkpoint", type=str, default="handwritten", help="a bundled name or a checkpoint folder"
            )
            add_decoding(sub)
        sub.add_argument("--out", type=str, required=True, help="the PNG file to write")
        commands.add_subcommand(name, sub)
    arguments = parser.parse_args(None if argv is None else list(argv))
    options = arguments[arguments.subcommand]
    check(Path(options.out).absolute().parent.is_dir(), f"{options.out}: its folder does not exist; make it first.")
    PICTURES[arguments.subcommand](options)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
