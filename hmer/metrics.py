"""How good predictions are. Fractions are from 0 to 1; BLEU is from 0 to 100, as its papers state it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import Levenshtein
import sacrebleu

from hmer import latex_symbols as known

Tokens = Sequence[str]
LENGTH_GROUPS = ((1, 7), (8, 14), (15, 30), (31, 60), (61, None))


def without(tokens: Tokens, ignore: Sequence[str]) -> list[str]:
    """The tokens but those to be passed over, such as what the labels of a set lack."""
    return [token for token in tokens if token not in ignore]


def token_edits(truth: Tokens, prediction: Tokens) -> int:
    """Insertions, deletions and substitutions of tokens that turn one sequence into the other."""
    return Levenshtein.distance(list(truth), list(prediction))


@dataclass(frozen=True)
class Scores:
    """Every figure of one set of predictions; names as in the JSON of evaluate.py."""

    n: int
    exprate: float
    le1: float
    le2: float
    token_error_rate: float
    character_error_rate: float
    bleu: float
    levenshtein_similarity: float
    edit_distance_mean: float


def score(truths: Sequence[Tokens], predictions: Sequence[Tokens]) -> Scores:
    """Scores of predictions against truths, both token sequences.

    exprate, le1, le2: share with no, at most 1, at most 2 token edits. token_error_rate: edits over truth tokens, summed
    over the set. character_error_rate, edit_distance_mean and levenshtein_similarity (mean of 1 - edits / longer
    length) count characters of the tokens joined without spaces. bleu: sacrebleu corpus BLEU, tokenize=none.
    """
    if len(truths) != len(predictions):
        raise ValueError(f"{len(truths)} truths and {len(predictions)} predictions: must be as many.")
    if not truths:
        return Scores(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    count = len(truths)
    edits = [token_edits(truth, prediction) for truth, prediction in zip(truths, predictions, strict=True)]
    texts = [("".join(truth), "".join(prediction)) for truth, prediction in zip(truths, predictions, strict=True)]
    character_edits = [Levenshtein.distance(truth, prediction) for truth, prediction in texts]
    similarity = [
        1 - distance / max(len(truth), len(prediction), 1)
        for distance, (truth, prediction) in zip(character_edits, texts, strict=True)
    ]
    bleu = sacrebleu.corpus_bleu(
        [" ".join(prediction) for prediction in predictions],
        [[" ".join(truth) for truth in truths]],
        tokenize="none",
        force=True,
    )
    return Scores(
        n=count,
        exprate=sum(edit == 0 for edit in edits) / count,
        le1=sum(edit <= 1 for edit in edits) / count,
        le2=sum(edit <= 2 for edit in edits) / count,
        token_error_rate=sum(edits) / max(sum(map(len, truths)), 1),
        character_error_rate=sum(character_edits) / max(sum(len(truth) for truth, _ in texts), 1),
        bleu=bleu.score,
        levenshtein_similarity=sum(similarity) / count,
        edit_distance_mean=sum(character_edits) / count,
    )


def by_length(truths: Sequence[Tokens], predictions: Sequence[Tokens]) -> dict[str, dict[str, float]]:
    """n, exprate and token_error_rate for truths of 1-7, 8-14, 15-30, 31-60 and 61+ tokens."""
    table = {}
    for low, high in LENGTH_GROUPS:
        chosen = [
            index for index, truth in enumerate(truths) if len(truth) >= low and (high is None or len(truth) <= high)
        ]
        scores = score([truths[index] for index in chosen], [predictions[index] for index in chosen])
        name = f"{low}-{high}" if high else f"{low}+"
        table[name] = {"n": scores.n, "exprate": scores.exprate, "token_error_rate": scores.token_error_rate}
    return table


_SCRIPTS = frozenset({"^", "_"})
_FRACTIONS = frozenset({r"\frac", r"\dfrac", r"\tfrac", r"\cfrac"})
_BIG_OPERATORS = known.LARGE_OPERATORS | known.INTEGRALS


def structures(tokens: Tokens) -> list[str]:
    r"""Which structures a formula holds: fractions, scripts, roots, big operators, matrices; or plain, for none.

    Sums, products and integrals are big operators; names that take limits (\lim, \max) are not.
    """
    present = set(tokens)
    found = {
        "fractions": bool(present & _FRACTIONS),
        "scripts": bool(present & _SCRIPTS),
        "roots": r"\sqrt" in present,
        "big_operators": bool(present & _BIG_OPERATORS),
        "matrices": any(token.startswith(r"\begin{") for token in present),
    }
    return [name for name, there in found.items() if there] or ["plain"]


def by_structure(truths: Sequence[Tokens], predictions: Sequence[Tokens]) -> dict[str, dict[str, float]]:
    """n, exprate and token_error_rate of the formulas whose truth holds a structure; one may count in several rows."""
    held = [structures(truth) for truth in truths]
    table = {}
    for name in ("plain", "scripts", "fractions", "roots", "big_operators", "matrices"):
        chosen = [index for index, names in enumerate(held) if name in names]
        scores = score([truths[index] for index in chosen], [predictions[index] for index in chosen])
        table[name] = {"n": scores.n, "exprate": scores.exprate, "token_error_rate": scores.token_error_rate}
    return table


def align(truth: Tokens, prediction: Tokens) -> list[tuple[str, str]]:
    """Pairs of tokens along a shortest way from truth to prediction; "" stands for what the other side lacks."""
    pairs = []
    for kind, start, end, begin, stop in Levenshtein.opcodes(list(truth), list(prediction)):
        if kind == "delete":
            pairs += [(token, "") for token in truth[start:end]]
        elif kind == "insert":
            pairs += [("", token) for token in prediction[begin:stop]]
        else:
            pairs += zip(truth[start:end], prediction[begin:stop], strict=True)
    return pairs


def by_symbol(truths: Sequence[Tokens], predictions: Sequence[Tokens]) -> dict[str, dict[str, float]]:
    """For each token, the frequent first: n in the truths, predicted, recall and precision along `align`."""
    n, predicted, right = Counter[str](), Counter[str](), Counter[str]()
    for truth, prediction in zip(truths, predictions, strict=True):
        n.update(truth)
        predicted.update(prediction)
        right.update(one for one, other in align(truth, prediction) if one == other)
    return {
        token: {
            "n": n[token],
            "predicted": predicted[token],
            "recall": right[token] / n[token] if n[token] else 0.0,
            "precision": right[token] / predicted[token] if predicted[token] else 0.0,
        }
        for token in sorted(n | predicted, key=lambda token: (-n[token], token))
    }


def confusions(truths: Sequence[Tokens], predictions: Sequence[Tokens]) -> list[dict[str, str | int]]:
    """What was read as what along `align`, the frequent first; "" for a token that was left out or put in."""
    counts = Counter[tuple[str, str]]()
    for truth, prediction in zip(truths, predictions, strict=True):
        counts.update(pair for pair in align(truth, prediction) if pair[0] != pair[1])
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"truth": one, "prediction": other, "count": count} for (one, other), count in ranked]
