"""Write formulas in others' handwriting: python scripts/compose_handwriting.py FORMULAS --ink FOLDER --out FOLDER."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

import numpy as np
from jsonargparse import ArgumentParser
from tqdm import tqdm

from hmer.command_line import run
from hmer.datasets.folder import read_dataset
from hmer.datasets.formula_lists import read_formulas
from hmer.datasets.handwriting import Composer, compose, shuffled
from hmer.datasets.symbols import SymbolBank


def main(argv: Sequence[str] | None = None) -> int:
    """Write the dataset, and list the tokens that occur in it."""
    parser = ArgumentParser(
        prog="compose_handwriting.py", allow_abbrev=False, description="Synthetic handwriting as a dataset folder."
    )
    parser.add_argument("formulas", type=str, help="a list of LaTeX, one a line, or source<TAB>LaTeX")
    parser.add_argument("--ink", type=list[str], default=[], help="dataset folders with segmented ink")
    parser.add_argument("--characters", type=str, default="", help="isolated characters: gzipped JSON lines")
    parser.add_argument("--drawings", type=str, default="", help="isolated symbols: a folder of NAME.txt")
    parser.add_argument("--fonts", type=list[str], default=[], help="handwriting fonts")
    parser.add_argument("--hands", type=list[str], default=[], help="the same, of which common letters are taken, too")
    parser.add_argument("--exclude", type=list[str], default=[], help="dataset folders whose captions are left out")
    parser.add_argument("--part", type=str, default="", help="train or test: keeps writers and drawings apart")
    parser.add_argument("--out", type=str, required=True, help="the dataset folder to write; must not exist yet")
    parser.add_argument("--count", type=int, default=16_000, help="how many formulas")
    parser.add_argument("--longest", type=int, default=45, help="formulas of more tokens are left out")
    parser.add_argument("--matrices", type=float, default=0.05, help="share of matrices and cases among them")
    parser.add_argument(
        "--one_hand",
        type=float,
        default=0.0,
        help="share that is written by one writer or font each, as far as possible",
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(None if argv is None else list(argv))
    if options.part not in ("", "train", "test"):
        parser.error(f"--part {options.part}: is train, test or nothing")

    bank = SymbolBank(options.part)
    for folder in options.ink:
        bank.add_ink(Path(folder))
    if options.characters:
        bank.add_characters(Path(options.characters))
    if options.drawings:
        bank.add_drawings(Path(options.drawings))
    for font in options.fonts:
        bank.add_font(Path(font))
    for font in options.hands:
        bank.add_font(Path(font), whole=True)
    bank.derive(np.random.default_rng(options.seed))
    excluded = [item.tokens for folder in options.exclude for item in read_dataset(folder, "crohme")]
    composer = Composer(
        bank,
        shuffled(read_formulas(options.formulas)),
        longest=options.longest,
        exclude=excluded,
        matrices=options.matrices,
        hands=options.one_hand,
    )
    with tqdm(total=options.count, unit="formula", disable=None) as bar:
        compose(composer, Path(options.out), options.count, options.seed, bar.update)
    listed = sorted(composer.counts.items(), key=lambda pair: (-pair[1], pair[0]))
    print(f"{options.out}: {options.count} formulas from a list of {len(composer.formulas)} that can be written")
    print(f"{len(listed)} tokens:", " ".join(f"{token} {count}" for token, count in listed))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
