"""Which tokens may follow a prefix: restriction to a set of symbols, and LaTeX that is well-formed."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hmer.decoding import Rules
from hmer.errors import ConfigError
from hmer.vocabulary import END_ID, PAD_ID, START_ID, Vocabulary

_CROHME_LETTERS = "a b c d e f g h i j k l m n o p q r s t u v w x y z A B C E F G H I L M N P R S T V X Y"
_CROHME_OTHER = r"""
0 1 2 3 4 5 6 7 8 9 ! ( ) + , - . / < = > [ ] { } | ^ _ \Delta \Pi \alpha \beta \cdot \cdots \cos \div \exists \forall
\frac \gamma \geq \in \infty \int \lambda \ldots \leq \lim \limits \log \mu \neq \phi \pi \pm \prime \rightarrow \sigma
\sin \sqrt \sum \tan \theta \times \{ \}
"""
# The 111 tokens of the published CROHME captions.
SYMBOL_SETS: dict[str, frozenset[str]] = {
    "crohme": frozenset((_CROHME_LETTERS + " " + _CROHME_OTHER).split()),
}
# How many arguments in braces follow a token; after `\sqrt` an optional one in brackets may stand first.
_ARGUMENTS = {"^": 1, "_": 1, "\\sqrt": 1, "\\frac": 2}


def allowed_tokens(vocabulary: Vocabulary, symbols: str) -> Tensor:
    """(V,) bool: the tokens of a named set, or of a list separated by spaces; the end token always.

    Raises ConfigError on a token that the vocabulary lacks.
    """
    allowed = torch.zeros(len(vocabulary), dtype=torch.bool)
    if symbols.strip() == "all":
        allowed[:] = True
    elif symbols.strip() in SYMBOL_SETS:
        chosen = [token for token in vocabulary.words if token in SYMBOL_SETS[symbols.strip()]]
        allowed[vocabulary.encode(chosen)] = True
    else:
        tokens = symbols.split()
        unknown = vocabulary.missing(tokens)
        if unknown or not tokens:
            raise ConfigError(
                f"symbols: {' '.join(unknown) or 'an empty list'} is not known to this checkpoint; give 'all', "
                f"one of {', '.join(sorted(SYMBOL_SETS))}, or tokens separated by spaces."
            )
        allowed[vocabulary.encode(tokens)] = True
    allowed[END_ID] = True
    allowed[PAD_ID] = allowed[START_ID] = False
    return allowed


def rules_for(vocabulary: Vocabulary, *, symbols: str = "all", grammar: bool = False) -> Rules | None:
    """Rules for `hmer.decoding`, or None when everything is allowed."""
    if symbols.strip() == "all" and not grammar:
        return None
    allowed = allowed_tokens(vocabulary, symbols)
    if not grammar:
        return lambda prefixes: allowed.expand(len(prefixes), -1)
    return _Grammar(vocabulary, allowed)


class _Grammar:
    """Keeps braces balanced and gives every command its arguments.

    The state of a prefix is a stack: "{" an open group, and before it the arguments that its owner still awaits.
    """

    def __init__(self, vocabulary: Vocabulary, allowed: Tensor) -> None:
        self.vocabulary = vocabulary
        self.allowed = allowed
        self._stacks: dict[tuple[int, ...], tuple[str, ...]] = {(): ()}

    def __call__(self, prefixes: Sequence[tuple[int, ...]]) -> Tensor:
        return torch.stack([self._mask(prefix) for prefix in prefixes])

    def _stack(self, prefix: tuple[int, ...]) -> tuple[str, ...]:
        """Open things, innermost last: `{`, or `need1`, `need2` where arguments are awaited."""
        if prefix not in self._stacks:
            before, token = self._stack(prefix[:-1]), self.vocabulary.tokens[prefix[-1]]
            self._stacks[prefix] = self._advance(before, token)
        return self._stacks[prefix]

    @staticmethod
    def _advance(stack: tuple[str, ...], token: str) -> tuple[str, ...]:
        if token in _ARGUMENTS:
            return (*stack, f"need{_ARGUMENTS[token]}")
        if token == "{":
            if stack and stack[-1].startswith("need"):
                left = int(stack[-1][4:]) - 1
                return (*stack[:-1], *([f"need{left}"] if left else []), "{")
            return (*stack, "{")
        if token == "}" and stack and stack[-1] == "{":
            return stack[:-1]
        return stack

    def _mask(self, prefix: tuple[int, ...]) -> Tensor:
        stack = self._stack(prefix)
        last = self.vocabulary.tokens[prefix[-1]] if prefix else ""
        mask = self.allowed.clone()
        ids = {token: self.vocabulary.encode([token])[0] for token in ("{", "}", "^", "_") if token in self.vocabulary}
        if stack and stack[-1].startswith("need"):
            index_open = "\\sqrt" in prefix_commands(self.vocabulary, prefix)
            keep = {ids["{"]} if "{" in ids else set()
            if index_open:
                return mask  # within the optional argument of a root anything goes until its brace
            only = torch.zeros_like(mask)
            only[list(keep)] = True
            if last == "\\sqrt" and "[" in self.vocabulary:
                only[self.vocabulary.encode(["["])[0]] = True
            return only & mask if bool((only & mask).any()) else mask
        if "}" in ids and (not stack or stack[-1] != "{" or last == "{"):
            mask[ids["}"]] = False
        if stack:
            mask[END_ID] = False
        return mask


def prefix_commands(vocabulary: Vocabulary, prefix: tuple[int, ...]) -> set[str]:
    """`\\sqrt` when the prefix ends inside the bracket argument of a root, else nothing."""
    for index in range(len(prefix) - 1, 0, -1):
        token = vocabulary.tokens[prefix[index]]
        if token == "{" or token == "]":
            return set()
        if token == "[" and vocabulary.tokens[prefix[index - 1]] == "\\sqrt":
            return {"\\sqrt"}
    return set()
