"""Every repair of a CROHME truth, on strings of the kind that occurs."""

import pytest

from hmer.datasets.crohme_truths import repair_truth
from hmer.latex import label_tokens

REPAIRS = [
    (r"$x^2$", "x ^ { 2 }"),
    (r"$a+\cdots", r"a + \cdots"),
    (r"$\left| $\frac{a}{b} \right|$", r"| \frac { a } { b } |"),
    (r"$M\ltN$", "M < N"),
    (r"$P\gtp+\gtq$", "P > p + > q"),
    (r"$ \lim \limits _ {z \rightarrow 1}} (z - 1) $", r"\lim \limits _ { z \rightarrow 1 } ( z - 1 )"),
    (r"$ \sqrt {\sqrt {x} ABOVE {n}} ABOVE {m} $", r"\sqrt [ m ] { \sqrt [ n ] { x } }"),
    (r"$2 l o g ( x - 3 ) = log (5)$", r"2 \log ( x - 3 ) = \log ( 5 )"),
    (r"$a_{tan} + \log b$", r"a _ { t a n } + \log b"),
    (r"$| x \parallel y |$", "| x | | y |"),
    (r"$ 92.08\ldots \ $", r"9 2 . 0 8 \ldots"),
    (r"$\{a\}$", r"\{ a \}"),
]


@pytest.mark.parametrize(("raw", "label"), REPAIRS)
def test_repaired_truth_gives_the_label(raw: str, label: str) -> None:
    assert " ".join(label_tokens(repair_truth(raw), "crohme")) == label


def test_hopeless_truths_come_back_unrepaired() -> None:
    assert repair_truth(r"x ABOVE {n}") == r"x ABOVE {n}"
    assert repair_truth(r"\sqrt {x} ABOVE n") == r"\sqrt {x} ABOVE n"
