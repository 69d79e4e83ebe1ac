"""Learn from corrections: python scripts/finetune.py --checkpoint REF (--store URL | --data FOLDER) --out FOLDER.

The gate decides whether the new checkpoint is kept (see hmer.gate). Exit status: 0 for a new checkpoint, 3 when the
gate refuses it, 1 for an error, 130 when stopped; in all but the first nothing is left behind.
"""

import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

from jsonargparse import ArgumentParser
from tqdm import tqdm

from annotations import AnnotationStore, write_corrections
from hmer import checkpoint as checkpoints
from hmer.command_line import parse_time, run
from hmer.errors import ConfigError
from hmer.finetune import fine_tune
from hmer.home import store_url

REFUSED = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Fine-tune, print before and after, and name the new checkpoint or say why there is none."""
    parser = ArgumentParser(
        prog="finetune.py", allow_abbrev=False, description="Make a better checkpoint from corrections."
    )
    parser.add_argument("--checkpoint", type=str, default="handwritten", help="the checkpoint to start from")
    parser.add_argument("--store", type=str | None, help="annotation store: path or URL (default: under HMER_HOME)")
    parser.add_argument("--data", type=str | None, help="a dataset folder instead of the store")
    parser.add_argument("--out", type=str, required=True, help="a new folder, or a name for one in the data folder")
    parser.add_argument("--annotator", type=str | None, help="only this annotator's corrections")
    parser.add_argument("--source", type=str | None, help="only corrections from this source")
    parser.add_argument(
        "--since", type=str | None, help="only corrections made or changed at or after this time: 2026-11-30"
    )
    parser.add_argument(
        "--all_readers", action="store_true",
        help="also corrections of what a checkpoint of another line read, such as print for handwriting",
    )  # fmt: skip
    parser.add_argument(
        "--held_out", type=float, default=0.2,
        help="share of the formulas kept for measuring, where that makes 50 or more (else: cross-validation)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="keep it even if the gate refuses")
    parser.add_argument("--steps", type=int, default=0, help="optimiser steps (0: by the number of corrections)")
    parser.add_argument("--regression_limit", type=int, default=0, help="compare on so many regression items (0: all)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(None if argv is None else list(argv))
    if options.store and options.data:
        raise ConfigError("Give --store or --data, not both.")
    if options.data and (options.annotator or options.source or options.since):
        raise ConfigError("--annotator, --source and --since choose from a store, not from --data.")
    # A bare name becomes a checkpoint of the data folder, which the app offers.
    out = Path(options.out) if Path(options.out).name != options.out else checkpoints.free_place(options.out)
    with tempfile.TemporaryDirectory(prefix="hmer-") as working:
        folder = Path(options.data) if options.data else Path(working) / "corrections"
        if not options.data:
            with AnnotationStore(options.store or store_url(), create=False) as store:
                taken = write_corrections(
                    store, folder,
                    not_for=None if options.all_readers else partial(checkpoints.of_other_lines, options.checkpoint),
                    held_out_share=options.held_out, annotator=options.annotator, source=options.source,
                    since=parse_time(options.since),
                )  # fmt: skip
            print(f"{taken.rows} corrections to learn from")
            if taken.left_out:
                print(f"without those of what was read by {', '.join(taken.left_out)} (--all_readers takes them, too)")
        with tqdm(total=100, unit="%", disable=None, bar_format="{desc} {percentage:3.0f}% {bar} {elapsed}") as bar:

            def report(what: str, share: float) -> None:
                bar.set_description_str(what, refresh=False)
                bar.update(100 * share - bar.n)

            result = fine_tune(
                options.checkpoint,
                folder,
                out,
                steps=options.steps,
                seed=options.seed,
                regression_limit=options.regression_limit,
                force=options.force,
                report=report,
            )
    if result.new_tokens:
        print(f"new symbols: {' '.join(result.new_tokens)}")
    print(result.verdict.table())
    for reason in result.verdict.reasons:
        print(f"refused: {reason}")
    if result.folder is None:
        print(f"{options.checkpoint} stays in use, nothing was kept; --force keeps it all the same")
        return REFUSED
    print(f"new checkpoint: {result.folder} ({result.strength:.0%} of the way from {options.checkpoint})")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
