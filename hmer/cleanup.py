r"""The clean-up of a frame-by-frame reader's output, a step of its own behind recognition.

A CRNN-CTC writes structure as it writes symbols, one output after the other, so that words of a layout (`Right`,
`Below`, `Inside`) and braces stand where they belong to nothing. The published system S2 measures before and after
dropping them, on short and on long formulas. `clean_up` drops them, `join` writes what is left as one string, and `effect`
measures, with the truths cleaned up as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hmer.latex_lexer import WORD_COMMAND, environment_name
from hmer.latex_symbols import ENVIRONMENTS_WITH_ARGUMENT, SIGNATURES
from hmer.metrics import Tokens, score
from hmer.vocabulary import RELATIONS

LAYOUT_WORDS = RELATIONS | {"Left", "NoRel", "HOR", "PUNC"}


def clean_up(tokens: Tokens) -> list[str]:
    """The tokens without words of a layout, and without braces that belong to no command and no script.

    Braces that a script stands on belong to it, unless they hold a single token: { } ^ { 2 } keeps its empty base.
    """
    words = [token for token in tokens if token not in LAYOUT_WORDS]
    kept: list[str] = []
    groups: list[
        tuple[int, bool, int]
    ] = []  # of open braces: their place, whether they belong, arguments still awaited
    awaited = 0  # arguments that the last command lacks
    in_option = False
    for token, following in zip(words, [*words[1:], ""], strict=False):
        if token == "{":
            groups.append((len(kept), awaited > 0, max(awaited - 1, 0)))
            kept.append(token)
            awaited = 0
        elif token == "}":
            if groups:
                place, belongs, awaited = groups.pop()
                if belongs or (following in ("^", "_") and len(kept) - place != 2):
                    kept.append(token)
                else:
                    del kept[place]
        else:
            if token == "[" and kept and set(SIGNATURES.get(kept[-1], "")) & set("op"):
                in_option = True
            elif token == "]":
                in_option = False
            elif token in ("^", "_") or environment_name(token, r"\begin") in ENVIRONMENTS_WITH_ARGUMENT:
                awaited = 1
            elif token in SIGNATURES:
                awaited = sum(kind not in "op" for kind in SIGNATURES[token])
            elif not in_option:
                awaited = max(awaited - 1, 0)
            kept.append(token)
    never_closed = {place for place, *_ in groups}
    return [token for place, token in enumerate(kept) if place not in never_closed]


def join(tokens: Tokens) -> str:
    r"""The tokens as one string without spaces, but where a letter would become part of a command: `\alpha x`."""
    text = ""
    for token in tokens:
        word = WORD_COMMAND.search(text) is not None
        text += f" {token}" if word and token[:1].isalpha() else token
    return text


@dataclass(frozen=True)
class CleanedUp:
    """Token error rate before and after the clean-up, of n formulas."""

    n: int
    before: float
    after: float


@dataclass(frozen=True)
class Effect:
    """What the clean-up does to formulas up to the median length, and to longer ones."""

    median_length: int
    short: CleanedUp
    long: CleanedUp


def effect(truths: Sequence[Tokens], predictions: Sequence[Tokens]) -> Effect:
    """What the clean-up does, as S2 reports it. The truths are cleaned up, too: after it both sides lack the same.

    Token error rates, as `hmer.metrics.score` has them; lengths are those of the truths before.
    """
    lengths = sorted(map(len, truths))
    median = lengths[(len(lengths) - 1) // 2] if lengths else 0
    pairs = list(zip(truths, predictions, strict=True))
    return Effect(
        median,
        _cleaned_up([pair for pair in pairs if len(pair[0]) <= median]),
        _cleaned_up([pair for pair in pairs if len(pair[0]) > median]),
    )


def _cleaned_up(pairs: Sequence[tuple[Tokens, Tokens]]) -> CleanedUp:
    before = score([truth for truth, _ in pairs], [prediction for _, prediction in pairs])
    after = score([clean_up(truth) for truth, _ in pairs], [clean_up(prediction) for _, prediction in pairs])
    return CleanedUp(len(pairs), before.token_error_rate, after.token_error_rate)
