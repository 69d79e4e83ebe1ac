"""Turn a folder of CROHME files into a dataset folder: python scripts/prepare_crohme.py FOLDER --out DATASET_FOLDER."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

from jsonargparse import ArgumentParser

from hmer.command_line import run
from hmer.datasets.crohme import prepare_crohme


def main(argv: Sequence[str] | None = None) -> int:
    """Write the dataset and name every file that could not be used, and why."""
    parser = ArgumentParser(
        prog="prepare_crohme.py", allow_abbrev=False, description="Turn CROHME's InkML files into a dataset folder."
    )
    parser.add_argument("folder", type=str, help="searched for .inkml files, folders below it included")
    parser.add_argument("--out", type=str, required=True, help="the dataset folder to write; must not exist yet")
    parser.add_argument("--captions", type=str, default="", help="published captions to use as labels: name<TAB>latex")
    parser.add_argument("--held_out", type=str, default="", help="a second dataset folder, for what some writers wrote")
    parser.add_argument("--share", type=float, default=0.08, help="of the formulas, by whole writers, to hold out")
    options = parser.parse_args(None if argv is None else list(argv))
    result = prepare_crohme(
        Path(options.folder),
        Path(options.out),
        Path(options.captions) if options.captions else None,
        held_out=Path(options.held_out) if options.held_out else None,
        share=options.share,
    )
    for name, reason in result.refused:
        print(f"not used: {name}: {reason}")
    print(f"{options.out}: {result.count} formulas, {len(result.refused)} files not used")
    if options.held_out:
        print(f"{options.held_out}: {result.held_out} formulas of writers who are not in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
