"""Tokens and their ids. The special tokens are defined here and nowhere else."""

from collections.abc import Iterable, Sequence

from hmer.errors import ConfigError
from hmer.latex_symbols import SPACES

PAD, START, END = "<pad>", "<s>", "</s>"
PAD_ID, START_ID, END_ID = 0, 1, 2
SPECIAL = (PAD, START, END)

# How a symbol stands to the one that it belongs to, in symbol layout graphs and in the label form crohme_relations.
RELATIONS = frozenset({"Right", "Sub", "Sup", "Above", "Below", "Inside"})
# Tokens that LaTeX, or a label form, needs and nobody writes: they have no place in the picture.
UNWRITTEN = frozenset({"{", "}", "^", "_", "\\limits", "&", "\\\\"}) | RELATIONS


class Vocabulary:
    """An ordered set of tokens; ids are positions. For CTC, `<pad>` is the blank.

    It only grows: ids of known tokens never change, so the rows of an output layer stay valid.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        """`tokens` without the special ones. Raises ConfigError on a duplicate or an impossible token."""
        self.tokens: tuple[str, ...] = (*SPECIAL, *tokens)
        self._ids = {token: index for index, token in enumerate(self.tokens)}
        if len(self._ids) != len(self.tokens):
            raise ConfigError("Vocabulary: a token stands twice; every token must be listed once.")
        for token in self.tokens:
            if not token or token.split() != [token]:
                raise ConfigError(f"Vocabulary: {token!r} is empty or contains white space.")

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.tokens == other.tokens

    def __hash__(self) -> int:
        return hash(self.tokens)

    @property
    def words(self) -> tuple[str, ...]:
        """The tokens without the special ones."""
        return self.tokens[len(SPECIAL) :]

    @property
    def written(self) -> tuple[bool, ...]:
        """For each id whether it stands for something that has a place in the picture."""
        return tuple(index >= len(SPECIAL) and token not in UNWRITTEN for index, token in enumerate(self.tokens))

    @property
    def spaces(self) -> tuple[int, ...]:
        r"""The ids of `\,` and its like."""
        return tuple(index for index, token in enumerate(self.tokens) if token in SPACES)

    def missing(self, tokens: Iterable[str]) -> list[str]:
        """Those of `tokens` that are not in the vocabulary, each once, in order of appearance."""
        return [token for token in dict.fromkeys(tokens) if token not in self._ids]

    def encode(self, tokens: Sequence[str]) -> list[int]:
        """Ids of tokens. Raises ConfigError that names the unknown ones."""
        unknown = self.missing(tokens)
        if unknown:
            raise ConfigError(f"Not in the vocabulary: {' '.join(unknown)}; grow it first.")
        return [self._ids[token] for token in tokens]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Tokens of ids, special tokens left out."""
        return [self.tokens[index] for index in ids if index >= len(SPECIAL)]

    def grown(self, tokens: Iterable[str]) -> "Vocabulary":
        """A vocabulary with the missing ones of `tokens` added at the end."""
        return Vocabulary((*self.words, *self.missing(tokens)))
