"""Measurements that are no tests: python scripts/benchmark.py speed --data DATASET_FOLDER [--json FILE]."""

import json
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

from jsonargparse import ArgumentParser, Namespace

from hmer.command_line import add_decoding, run, settings
from hmer.config import Decoding


def speed(options: Namespace) -> dict[str, Any]:
    """Milliseconds a formula, one after the other, from file to LaTeX; and what loading costs."""
    started = time.perf_counter()
    import torch

    from hmer.datasets.folder import read_dataset, sample
    from hmer.recognizer import Recognizer

    imported = time.perf_counter()
    torch.set_num_threads(options.threads)
    recognizer = Recognizer.load(options.checkpoint)
    loaded = time.perf_counter()
    problems: list[str] = []
    items = sample(read_dataset(options.data, recognizer.config.label_form, problems), options.limit)
    decoding = settings(Decoding, options)
    recognizer.recognize([items[0].path], decoding)
    milliseconds = []
    for item in items:
        begin = time.perf_counter()
        recognizer.recognize([item.path], decoding)
        milliseconds.append((time.perf_counter() - begin) * 1000)
    return {
        "checkpoint": recognizer.id,
        "n": len(items),
        "threads": options.threads,
        "strategy": decoding.strategy,
        "median_ms": statistics.median(milliseconds),
        "p95_ms": sorted(milliseconds)[int(0.95 * (len(milliseconds) - 1))],
        "import_s": imported - started,
        "load_s": loaded - imported,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


BENCHMARKS = {"speed": speed}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark and print its figures."""
    parser = ArgumentParser(prog="benchmark.py", description="Measure a checkpoint.")
    commands = parser.add_subcommands()
    for name, function in BENCHMARKS.items():
        sub = ArgumentParser(description=function.__doc__)
        sub.add_argument("--checkpoint", type=str, default="handwritten", help="a bundled name or a checkpoint folder")
        sub.add_argument("--data", type=str, required=True, help="a dataset folder")
        sub.add_argument("--limit", type=int, default=100, help="so many items, drawn in a fixed way (0: all)")
        sub.add_argument("--threads", type=int, default=1, help="processor cores to use")
        sub.add_argument("--json", type=str, default="", help="write the figures to this file")
        add_decoding(sub)
        commands.add_subcommand(name, sub)
    arguments = parser.parse_args(None if argv is None else list(argv))
    options = arguments[arguments.subcommand]
    figures = BENCHMARKS[arguments.subcommand](options)
    for key, value in figures.items():
        print(f"{key:<16} {value:.1f}" if isinstance(value, float) else f"{key:<16} {value}")
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
