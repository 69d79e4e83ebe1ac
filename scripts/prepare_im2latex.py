"""Turn IM2LaTeX-100k into a dataset folder: python scripts/prepare_im2latex.py FORMULAS SPLIT IMAGES --out DATASET_FOLDER."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

from jsonargparse import ArgumentParser

from hmer.command_line import run
from hmer.datasets.im2latex import prepare_im2latex


def main(argv: Sequence[str] | None = None) -> int:
    """Write the dataset and name every picture that could not be used, and why."""
    parser = ArgumentParser(
        prog="prepare_im2latex.py", allow_abbrev=False, description="One split of IM2LaTeX-100k as a dataset folder."
    )
    parser.add_argument("formulas", type=str, help="the formula list, one a line (im2latex_formulas.lst)")
    parser.add_argument("split", type=str, help="a list of picture name and line number (im2latex_train.lst)")
    parser.add_argument("images", type=str, help="the folder of pictures (formula_images)")
    parser.add_argument("--out", type=str, required=True, help="the dataset folder to write; must be new or empty")
    options = parser.parse_args(None if argv is None else list(argv))
    result = prepare_im2latex(Path(options.formulas), Path(options.split), Path(options.images), Path(options.out))
    for name, reason in result.refused:
        print(f"not used: {name}: {reason}")
    print(f"{options.out}: {result.count} formulas, {len(result.refused)} not used")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
