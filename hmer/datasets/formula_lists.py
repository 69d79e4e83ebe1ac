"""Lists of formulas: read, compared, and their parts that can be learnt from."""

import contextlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hmer import latex
from hmer.errors import DatasetError, LatexError

Tokens = tuple[str, ...]

MAX_TOKENS = 150
RAREST = 20  # a token that a list holds less often is not learnt from it


@dataclass(frozen=True)
class Part:
    """A formula of a list in normal form, and where it comes from."""

    tokens: Tokens
    source: str


def read_formulas(path: Path | str) -> list[tuple[str, str]]:
    """(source, LaTeX) of a list: a formula a line, or source, tab, formula. Raises DatasetError."""
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as UTF-8 text ({error}).") from error
    rows = [line.rstrip("\r").split("\t") for line in lines if line.strip()]
    if not rows:
        raise DatasetError(f"{path}: holds no formula; expected one a line, or source<TAB>formula.")
    return [(row[0], row[1]) if len(row) > 1 else ("", row[0]) for row in rows]


def key_of(formula: str) -> str:
    """What two formulas have in common that differ in braces, spacing, fonts and sizes only. Raises LatexError."""
    return " ".join(latex.label_tokens(formula, "crohme"))


def keys_of(formulas: Iterable[str]) -> set[str]:
    """`key_of` each; what is not well-formed cannot be equal to what is."""
    keys = set()
    for formula in formulas:
        with contextlib.suppress(LatexError):
            keys.add(key_of(formula))
    return keys


def usable_parts(formulas: Iterable[tuple[str, str]], exclude: Iterable[str] = ()) -> list[Part]:
    """Normal forms of what is well-formed, without what is equal to one of `exclude`, and without rare tokens."""
    forbidden = keys_of(exclude)
    parts: dict[Tokens, Part] = {}
    for source, formula in formulas:
        try:
            tokens = tuple(latex.normalise(formula))
        except LatexError:
            continue
        if tokens and len(tokens) <= MAX_TOKENS and tokens not in parts and key_of(" ".join(tokens)) not in forbidden:
            parts[tokens] = Part(tokens, source)
    counts = Counter(token for part in parts.values() for token in set(part.tokens))
    return [
        part
        for part in parts.values()
        if all(counts[token] >= RAREST and token.isascii() for token in part.tokens) or len(parts) < RAREST
    ]
