r"""LaTeX formulas as tokens: read, normalise, reduce to label forms, validate, and write out for people.

Three forms of one formula:

    what someone typed    \sum\limits_{i=1}^n x_i'^{2},  {a \over b}
    normal form           \sum _ { i = 1 } ^ { n } x _ { i } ^ { \prime 2 } , \frac { a } { b }
    a label form          the normal form reduced to what a dataset's labels spell; see LABEL_FORMS

Rules of the normal form, all of which keep the look in display style:

- Braces around every script and argument. Other braces go unless the spacing, a script or the reach of a
  style hangs on them: `{x}+{a b}` loses them, `x{=}y` and `{x^2}^3` keep them.
- `\limits` or `\nolimits`, then `_ { }`, then `^ { }`; primes as `^ { \prime }`; a script on nothing stands
  on `{ }`; an empty script goes.
- One spelling for synonyms (hmer.latex_symbols.SYNONYMS), infix commands as prefix ones, font switches as
  font commands, a matrix in stretching delimiters as pmatrix and its kin.
- `\limits` and `\nolimits` only where they change the look; the style (display, text, script) is followed
  through fractions, scripts, arrays and style commands to know that.
- Environments open with one token, `\begin{array}`; raw arguments (column letters, dimensions) are split in
  characters. Text is split in characters, its spaces are `~` and mathematics inside it stands between `$`.
- Colours, sizes, labels, equation numbers and comments are dropped.
"""

from collections.abc import Sequence

from hmer.errors import ConfigError, LatexError
from hmer.latex_labels import LABEL_FORMS
from hmer.latex_lexer import Token, is_unknown, tokenise, unknown_command
from hmer.latex_parser import MAX_CHARACTERS, MAX_DEPTH, parse
from hmer.latex_pretty import pretty

__all__ = [
    "LABEL_FORMS",
    "MAX_CHARACTERS",
    "MAX_DEPTH",
    "Token",
    "is_valid",
    "label_tokens",
    "normalise",
    "pretty",
    "reduce",
    "split",
    "tokenise",
    "validate",
]


def split(latex: str) -> list[str]:
    r"""The raw tokens of a string: commands, single characters, `\begin{name}`; nothing is checked."""
    return [token.text for token in tokenise(latex)]


def normalise(latex: str) -> list[str]:
    """The canonical tokens of a formula, which look the same (see the top of this file).

    Raises LatexError, with the place, if the formula is not well-formed.
    """
    return parse(latex)


def validate(latex: str) -> list[LatexError]:
    """What is wrong with a formula, by place; empty if it is well-formed.

    Lists every unknown command, and of the errors of structure the first.
    """
    try:
        normalise(latex)
    except LatexError as error:
        errors = {(error.start, error.end): error}
        for token in tokenise(latex[:MAX_CHARACTERS]):
            if len(errors) < 20 and is_unknown(token.text):
                errors.setdefault((token.start, token.end), unknown_command(token))
        return [errors[place] for place in sorted(errors)]
    return []


def is_valid(latex: str | Sequence[str]) -> bool:
    """Whether a string, or a list of tokens, is a well-formed formula."""
    try:
        normalise(latex if isinstance(latex, str) else " ".join(latex))
    except LatexError:
        return False
    return True


def reduce(tokens: Sequence[str], form: str) -> list[str]:
    """The tokens of a formula in normal form as the labels of `form` (a key of LABEL_FORMS) spell them.

    Reducing twice changes nothing. Raises ConfigError for an unknown form, LatexError for unbalanced braces.
    """
    if form not in LABEL_FORMS:
        raise ConfigError(f"The label form {form!r} is not known; known are {', '.join(sorted(LABEL_FORMS))}.")
    return LABEL_FORMS[form](list(tokens))


def label_tokens(latex: str, form: str) -> list[str]:
    """The tokens that a label in `form` has for what someone typed. Raises as normalise and reduce do."""
    return reduce(normalise(latex), form)
