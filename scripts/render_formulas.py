"""Render a list of formulas as a dataset folder: python scripts/render_formulas.py FORMULAS --out DATASET_FOLDER."""

import functools
import hashlib
import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

import numpy as np
from jsonargparse import ArgumentParser
from tqdm import tqdm

from hmer.command_line import run
from hmer.config import check
from hmer.datasets.compose import Composer
from hmer.datasets.formula_lists import keys_of, read_formulas, usable_parts
from hmer.datasets.im2latex import as_typeset
from hmer.datasets.rendering import CHUNK, Make, Plan, render_dataset
from hmer.latex import LABEL_FORMS

MOST_OF_A_SOURCE = 12_000  # formulas that composing starts from


def main(argv: Sequence[str] | None = None) -> int:
    """Render, resume what was begun, and report what failed and why."""
    parser = ArgumentParser(prog="render_formulas.py", allow_abbrev=False, description="Formulas to labelled pictures.")
    parser.add_argument("formulas", type=str, help="a list: a formula a line, or source<TAB>formula")
    parser.add_argument(
        "--out", type=str, required=True, help="the dataset folder; a run that was stopped goes on there"
    )
    parser.add_argument("--style", type=Literal["varied", "im2latex"], default="varied",
                        help="fonts, sizes and colours of all kinds, or as IM2LaTeX-100k's pictures")  # fmt: skip
    parser.add_argument(
        "--compose", type=int, default=0, help="make so many formulas from the parts of the list (0: take it as it is)"
    )
    parser.add_argument(
        "--exclude", nargs="*", type=str, default=[], help="lists whose formulas must not be among them"
    )
    parser.add_argument("--cap", type=float, default=0.15, help="largest share of one source in what is composed")
    parser.add_argument(
        "--limit", type=int, default=0, help="so many formulas of the list, drawn in a fixed way (0: all)"
    )
    parser.add_argument(
        "--label_form", type=str, default="printed", help="the form of the labels, which is what is typeset"
    )
    parser.add_argument(
        "--as_given", action="store_true", help="typeset the formulas themselves, as a published list demands"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, help="processor cores to use")
    options = parser.parse_args(None if argv is None else list(argv))
    check(options.label_form in LABEL_FORMS, f"--label_form: known are {', '.join(sorted(LABEL_FORMS))}.")
    check(options.compose >= 0 and options.limit >= 0, "--compose, --limit: a number of formulas, or 0.")
    check(0 < options.cap <= 1, "--cap: a share above 0, at most 1.")
    check(options.processes >= 1, "--processes: at least 1.")

    formulas = read_formulas(options.formulas)
    excluded = [formula for path in options.exclude for _, formula in read_formulas(path)]
    told = (formulas, excluded, options.compose, options.cap, options.limit, options.as_given)
    source = hashlib.sha256(repr(told).encode()).hexdigest()[:16]
    if options.compose:
        groups = defaultdict(list)
        for row in formulas:
            groups[row[0]].append(row)
        drawn = random.Random(options.seed)
        few = [
            row for _, group in sorted(groups.items()) for row in drawn.sample(group, min(len(group), MOST_OF_A_SOURCE))
        ]
        parts = usable_parts(tqdm(few, desc="reading", disable=None), excluded)
        composer = Composer(parts, cap=options.cap)
        count = options.compose
        print(f"composed from {len(parts)} formulas of {len(composer.sources)} sources")
        make: Make = functools.partial(composed, composer, count, options.seed)
    else:
        if options.exclude:
            forbidden = keys_of(excluded)
            formulas = [row for row in formulas if keys_of([row[1]]).isdisjoint(forbidden)]
        if options.limit:
            chosen = sorted(random.Random(options.seed).sample(range(len(formulas)), min(options.limit, len(formulas))))
            formulas = [formulas[index] for index in chosen]
        if options.as_given:
            formulas = [(origin, as_typeset(formula)) for origin, formula in formulas]
        count = len(formulas)
        make = functools.partial(listed, formulas)

    plan = Plan(options.style, options.label_form, count, options.seed, source)
    with tqdm(total=count, desc="rendering", unit="formulas", disable=None) as bar:
        result = render_dataset(
            Path(options.out), plan, make, as_given=options.as_given, processes=options.processes, progress=bar.update
        )
    for reason, number in result.reasons[:20]:
        print(f"not rendered: {number:>6}  {reason}")
    print(f"{options.out}: {result.count} pictures, {result.refused} formulas not rendered (not_rendered.tsv)")
    return 0


# Functions of the module, not of `main`: several processes are given them.
def composed(composer: Composer, count: int, seed: int, number: int) -> list[tuple[str, str]]:
    """The chunk `number` of `count` composed formulas: (source, LaTeX) each."""
    chosen = np.random.default_rng((seed, number, 0))
    made = [composer.make(chosen) for _ in range(min(CHUNK, count - number * CHUNK))]
    return [(origin, " ".join(tokens)) for tokens, origin in made]


def listed(formulas: Sequence[tuple[str, str]], number: int) -> Sequence[tuple[str, str]]:
    """The chunk `number` of a list."""
    return formulas[number * CHUNK : (number + 1) * CHUNK]


if __name__ == "__main__":
    sys.exit(run(main))
