r"""IM2LaTeX-100k (Deng et al. 2017): its formula lists as they were typeset, and its folders as dataset folders."""

import re

_TEXT = re.compile(r"(\\(?:text|mbox|hbox)[a-z]*)\s*\{([^{}$]*)\}")
_BOLD = re.compile(r"\\mathrm \{ \\boldmath ~ ([^{}]*?)(?: ~)? \}")


def as_typeset(formula: str) -> str:
    r"""A formula of the normalised lists, spelt so that TeX gives the original picture.

    The lists hold what a parser made of the authors' source: `\dots`, which without amsmath are low dots, texts with a blank between all
    letters, and `\mathrm { \boldmath ~ x ~ }` for a bold symbol in a text.
    """
    formula = re.sub(r"\\dots(?![A-Za-z])", r"\\ldots", formula)
    formula = _BOLD.sub(r"\\boldsymbol { \1 }", formula)
    return _TEXT.sub(lambda match: f"{match[1]}{{{''.join(match[2].split())}}}", formula)
