"""Measurements that are no tests: python scripts/benchmark.py NAME --data DATASET_FOLDER [--json FILE]."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

from jsonargparse import ArgumentParser, Namespace

from hmer.command_line import add_decoding, run, settings
from hmer.config import Decoding, check
from hmer.errors import DatasetError


def speed(options: Namespace) -> dict[str, Any]:
    """Milliseconds a formula from file to LaTeX, what loading costs, and the same beside other networks."""
    started = time.perf_counter()
    from hmer.benchmarks.speed import compare, speed
    from hmer.recognizer import Recognizer

    imported = time.perf_counter()
    recognizer = Recognizer.load(options.checkpoint)
    loading = {"import_s": imported - started, "load_s": time.perf_counter() - imported}
    items = _items(options, recognizer.config.label_form)
    threads = range(1, options.threads + 1)
    figures = speed(recognizer, items, settings(Decoding, options), threads=threads) | loading
    for line in figures["formulas"]:
        print(
            "{threads} threads  {strategy:<6}  batch {batch:>2}  mean {mean_ms:5.0f} ms  median {median_ms:5.0f} ms  "
            "95th percentile {p95_ms:5.0f} ms".format(**line)
        )
    if options.others:
        figures["networks"] = compare(recognizer, items, threads=threads)
        for line in figures["networks"]:
            print(
                "{threads} threads  {network:<25}  mean {mean_ms:5.0f} ms  median {median_ms:5.0f} ms  "
                "95th percentile {p95_ms:5.0f} ms  {times_hmer:.1f} times hmer's".format(**line)
            )
    return figures


def robustness(options: Namespace) -> dict[str, Any]:
    """What zoom, colours, paper and photographs cost, on the same ink or pictures; of ink also single symbols."""
    import torch

    from hmer.benchmarks.robustness import cut_symbols, robustness, symbols_right
    from hmer.ink import read_inkml
    from hmer.recognizer import Recognizer

    def report(name: str, line: dict[str, Any]) -> None:
        low, high = line["loss_interval"]
        print(
            f"{name:<16} n {line['n']}  exprate {line['exprate']:.3f}  loss {line['loss']:+.3f} "
            f"({low:+.3f} to {high:+.3f})  {'passed' if line['passed'] else 'FAILED'}"
        )

    torch.set_num_threads(options.threads)
    recognizer = Recognizer.load(options.checkpoint)
    items = _items(options, recognizer.config.label_form)
    inked = [item.path.suffix.lower() == ".inkml" for item in items]
    if any(inked) != all(inked):
        raise DatasetError(f"{options.data}: robustness is measured on ink or on pictures; this folder holds both.")
    conditions = robustness(recognizer, items, settings(Decoding, options), ignore=options.ignore, report=report)
    cuts = cut_symbols([read_inkml(item.path) for item in items], options.symbol_count) if all(inked) else []
    return {"checkpoint": recognizer.id, "conditions": conditions, "symbols": symbols_right(recognizer, cuts)}


def calibration(options: Namespace) -> dict[str, Any]:
    """Whether confidence means what it says: fitted crosswise on the data set."""
    import torch

    from hmer.benchmarks.calibration import calibration
    from hmer.evaluation import evaluate
    from hmer.recognizer import Recognizer

    torch.set_num_threads(options.threads)
    recognizer = Recognizer.load(options.checkpoint)
    items = _items(options, recognizer.config.label_form)
    evaluation = evaluate(recognizer, items, settings(Decoding, options), ignore=options.ignore)
    figures = calibration([answer.evidence for answer in evaluation.recognitions], evaluation.right)
    return {"checkpoint": recognizer.id, **figures}


def personalise(options: Namespace) -> dict[str, Any]:
    """How much better each writer is read after 0, 5, 10 and 15 corrections, and what that costs elsewhere.

    Until the file of --json is written each writer's figures are kept beside it as .jsonl: a stopped run goes on there.
    """
    import torch

    from hmer.benchmarks.personalise import personalise
    from hmer.checkpoint import read_config, resolve

    def report(writer: str, count: int, line: dict[str, float]) -> None:
        rate = line["edits"] / line["tokens"]
        regression = f"  regression {line['regression']:.3f}" if "regression" in line else ""
        gate = (
            ""
            if "accepted" not in line
            else f"  {'accepted' if line['accepted'] else 'refused'}  {line['seconds']:.0f} s"
        )
        print(f"{writer:<12} {count:>3} corrections  token error rate {rate:.3f}{regression}{gate}", flush=True)

    torch.set_num_threads(options.threads)
    items = _items(options, read_config(resolve(options.checkpoint)).label_form)
    return personalise(
        options.checkpoint, items, writers=options.writers, counts=(0, *options.counts), ignore=options.ignore,
        regression_limit=options.regression_limit, force=options.force, threads=options.threads,
        journal=_journal(options), report=report,
    )  # fmt: skip


def newsymbols(options: Namespace) -> dict[str, Any]:
    """Symbols that training never saw, taught from a few drawings each, and read in those of other writers."""
    import torch

    from hmer.benchmarks.newsymbols import SYMBOLS, newsymbols

    torch.set_num_threads(options.threads)
    return newsymbols(
        options.checkpoint, options.data, symbols=options.symbols or SYMBOLS, corrections=options.corrections,
        tested=options.tested, regression_limit=options.regression_limit, threads=options.threads,
    )  # fmt: skip


def recurring(options: Namespace) -> dict[str, Any]:
    """How often an error that was corrected three times is made again."""
    import torch

    from hmer.benchmarks.recurring import recurring
    from hmer.checkpoint import read_config, resolve

    def report(line: dict[str, Any]) -> None:
        print(
            f"{line['token']} read as {line['read_as']}: {line['recurs']} of {line['n']} again, {line['right']} right, strength "
            f"{line['strength']:.2f}, {'accepted' if line['accepted'] else 'refused'}, {line['seconds']:.0f} s",
            flush=True,
        )

    torch.set_num_threads(options.threads)
    items = _items(options, read_config(resolve(options.checkpoint)).label_form)
    return recurring(
        options.checkpoint, items, errors=options.errors, ignore=options.ignore, threads=options.threads, report=report
    )


def routing(options: Namespace) -> dict[str, Any]:
    """How often `automatic` takes the checkpoint that was made for a picture, and what that is worth."""
    import torch

    from hmer.benchmarks.routing import routing
    from hmer.config import AUTOMATIC
    from hmer.routing import Automatic, load

    torch.set_num_threads(options.threads)
    reader = load(AUTOMATIC)
    assert isinstance(reader, Automatic)
    figures = {}
    for name, folder in (("handwritten", options.data), ("printed", options.printed)):
        line = figures[name] = routing(reader, folder, options.limit, options.ignore, settings(Decoding, options))
        rates = "  ".join(f"{who} {value:.3f}" for who, value in line["exprate"].items())
        print(f"{name:<12} n {line['n']}  chosen {line['chosen']}  right: {rates}")
    return figures


def regions(options: Namespace) -> dict[str, Any]:
    """How many formulas are found on composed pages: light, dark, scanned."""
    from hmer.benchmarks.regions import regions
    from hmer.ink import read_inkml

    files = sorted(Path(options.data).rglob("*.inkml"))
    return regions([read_inkml(file) for file in files[: options.limit or None]], pages=options.pages)


def load(options: Namespace) -> dict[str, Any]:
    """What many users of one app wait, on this computer, and whether each gets its own answer."""
    from hmer.benchmarks.load import load
    from hmer.checkpoint import read_config, resolve

    items = _items(options, read_config(resolve(options.checkpoint)).label_form)
    return load(
        [item.path for item in items], checkpoint=options.checkpoint, users=options.users, every_s=options.every,
        minutes=options.minutes,
    )  # fmt: skip


def page(options: Namespace) -> dict[str, Any]:
    """What somebody waits for in a browser, on this computer: the page, and answers to the examples."""
    import contextlib
    import tempfile

    from playwright.sync_api import sync_playwright

    from hmer.benchmarks.page import page
    from scripts.screenshots import launch_browser, running_app

    with (
        tempfile.TemporaryDirectory(prefix="hmer-") as home,
        running_app(Path(home), options.checkpoint) as url,
        sync_playwright() as playwright,
        contextlib.closing(launch_browser(playwright.chromium)) as browser,
    ):
        return page(browser, url, loads=options.loads)


def _items(options: Namespace, label_form: str) -> list[Any]:
    from hmer.datasets.folder import read_dataset, sample

    problems: list[str] = []
    items = sample(read_dataset(options.data, label_form, problems), options.limit)
    for problem in problems:
        print(f"not read: {problem}", file=sys.stderr)
    return items


BENCHMARKS = {
    "speed": speed,
    "robustness": robustness,
    "calibration": calibration,
    "personalise": personalise,
    "newsymbols": newsymbols,
    "recurring": recurring,
    "routing": routing,
    "regions": regions,
    "load": load,
    "page": page,
}
NO_CHECKPOINT = ("routing",)
WHAT = {"newsymbols": "drawings as JSON lines, gzipped or not: label, writer, strokes"}
LIMITS = {"speed": 100, "load": 50}  # the others: all items


def _journal(options: Namespace) -> Path | None:
    return Path(options.json).with_suffix(".jsonl") if options.json else None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark and print its figures."""
    parser = ArgumentParser(prog="benchmark.py", allow_abbrev=False, description="Measure a checkpoint.")
    commands = parser.add_subcommands()
    for name, function in BENCHMARKS.items():
        sub = ArgumentParser(allow_abbrev=False, description=function.__doc__)
        if name not in NO_CHECKPOINT:
            sub.add_argument(
                "--checkpoint", type=str, default="handwritten", help="a bundled name or a checkpoint folder"
            )
        if name == "page":
            sub.add_argument("--loads", type=int, default=5, help="how often to load the page again")
        else:
            sub.add_argument("--data", type=str, required=True, help=WHAT.get(name, "a dataset folder"))
        if name not in ("newsymbols", "page"):
            limit = LIMITS.get(name, 0)
            sub.add_argument("--limit", type=int, default=limit, help="so many items, drawn in a fixed way (0: all)")
        if name != "page":
            sub.add_argument("--threads", type=int, default=1, help="processor cores to use")
        sub.add_argument("--json", type=str, default="", help="write the figures to this file")
        if name == "speed":
            sub.add_argument("--others", action="store_true", help="time other networks (random weights) beside ours")
        elif name == "regions":
            sub.add_argument("--pages", type=int, default=200, help="so many pages to compose")
        elif name == "load":
            sub.add_argument("--users", type=int, default=50, help="how many at once")
            sub.add_argument("--every", type=float, default=10.0, help="seconds from one request of a user to the next")
            sub.add_argument("--minutes", type=float, default=5.0, help="for how long")
        elif name not in ("newsymbols", "page"):
            sub.add_argument("--ignore", nargs="*", type=str, default=[], help="tokens that the labels lack")
        if name == "routing":
            sub.add_argument("--printed", type=str, required=True, help="a dataset folder of printed formulas")
        if name == "robustness":
            sub.add_argument(
                "--symbol_count", type=int, default=500, help="single symbols and pairs to cut from the ink"
            )
        if name == "personalise":
            sub.add_argument("--writers", type=int, default=0, help="so many writers (0: all with 20 formulas or more)")
            sub.add_argument("--counts", nargs="+", type=int, default=[5, 10, 15], help="after so many corrections")
            sub.add_argument(
                "--force", action="store_true", help="measure what the gate refuses instead of the old one"
            )
        if name == "newsymbols":
            sub.add_argument("--symbols", nargs="+", type=str, default=[], help="the symbols, as LaTeX (default: five)")
            sub.add_argument("--corrections", type=int, default=20, help="drawings to teach each from")
            sub.add_argument("--tested", type=int, default=40, help="at most so many unseen drawings of each")
        if name == "recurring":
            sub.add_argument("--errors", type=int, default=10, help="so many errors to correct")
        if name in ("personalise", "newsymbols"):
            sub.add_argument("--regression_limit", type=int, default=0, help="so many regression items (0: all)")
        elif name not in ("regions", "load", "page", "recurring"):
            add_decoding(sub)
        commands.add_subcommand(name, sub)
    arguments = parser.parse_args(None if argv is None else list(argv))
    options = arguments[arguments.subcommand]
    if options.json:  # before an hour's work, not after it
        folder = Path(options.json).absolute().parent
        check(folder.is_dir(), f"{options.json}: its folder does not exist; make it first.")
    figures = BENCHMARKS[arguments.subcommand](options)
    for key, value in figures.items():
        if key not in ("conditions", "formulas", "networks"):
            print(f"{key:<28} {value:.3f}" if isinstance(value, float) else f"{key:<28} {value}")
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        if journal := _journal(options):
            journal.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
