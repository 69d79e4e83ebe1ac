"""Whether labels keep the look: python scripts/check_labels.py FORMULAS [--limit 2000]. Needs TeX (see the README)."""

import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone, installed or not

from jsonargparse import ArgumentParser

from hmer import latex, tex
from hmer.command_line import run
from hmer.config import check
from hmer.datasets.formula_lists import read_formulas
from hmer.datasets.im2latex import as_typeset
from hmer.errors import LatexError
from hmer.rendered import SAME_UP_TO, difference, set_alike
from hmer.tex import Drawing, Job


def main(argv: Sequence[str] | None = None) -> int:
    """Typeset formulas as they are and as their labels; print the share that differs, and those that do."""
    parser = ArgumentParser(prog="check_labels.py", allow_abbrev=False, description="Whether labels keep the look.")
    parser.add_argument("formulas", type=str, help="a list: a formula a line, or source<TAB>formula")
    parser.add_argument("--label_form", type=str, default="full")
    parser.add_argument("--limit", type=int, default=2_000, help="so many formulas, drawn in a fixed way (0: all)")
    parser.add_argument("--dpi", type=int, default=100)
    parser.add_argument(
        "--differing", type=str, default="", help="write difference, formula and label of those that differ"
    )
    options = parser.parse_args(None if argv is None else list(argv))
    check(options.label_form in latex.LABEL_FORMS, f"--label_form: known are {', '.join(sorted(latex.LABEL_FORMS))}.")
    formulas = [as_typeset(formula) for _, formula in read_formulas(options.formulas)]
    if options.limit:
        formulas = random.Random(0).sample(formulas, min(options.limit, len(formulas)))
    counts = Counter[str]()
    pairs = []
    for formula in formulas:
        try:
            pairs.append((formula, " ".join(latex.label_tokens(formula, options.label_form))))
        except LatexError:
            counts["refused by the normaliser"] += 1
    drawings = tex.draw([Job(source, dpi=options.dpi, with_glyphs=True) for pair in pairs for source in pair])
    lines = []
    for (formula, label), one, other in zip(pairs, drawings[::2], drawings[1::2], strict=True):
        if not isinstance(one, Drawing):
            counts["not typeset by TeX"] += 1
        elif not isinstance(other, Drawing):
            counts["label not typeset by TeX"] += 1
            lines.append(f"1.000\t{formula}\t{label}")
        else:
            share = difference(one.grey, other.grey)
            if share <= SAME_UP_TO:
                counts["the same"] += 1
            elif set_alike(one.glyphs, other.glyphs):
                counts["set the same, places rounded otherwise"] += 1
            else:
                counts["different"] += 1
                lines.append(f"{share:.3f}\t{formula}\t{label}")
    for what, count in counts.most_common():
        print(f"{what:<40} {count:>6}  {count / len(formulas):.2%}")
    if options.differing:
        Path(options.differing).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
