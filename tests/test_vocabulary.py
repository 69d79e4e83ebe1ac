"""Ids are positions, the special ones first, and growing never moves a token."""

import pytest

from hmer.errors import ConfigError
from hmer.vocabulary import END, END_ID, PAD, PAD_ID, SPECIAL, START, START_ID, Vocabulary

VOCABULARY = Vocabulary(["x", "\\frac", "{", "}"])


def test_special_tokens_come_first() -> None:
    assert VOCABULARY.tokens == (PAD, START, END, "x", "\\frac", "{", "}")
    assert [VOCABULARY.tokens[index] for index in (PAD_ID, START_ID, END_ID)] == [PAD, START, END] == list(SPECIAL)
    assert VOCABULARY.words == ("x", "\\frac", "{", "}")
    assert len(VOCABULARY) == 7
    assert "x" in VOCABULARY and END in VOCABULARY and "y" not in VOCABULARY


def test_there_and_back() -> None:
    tokens = ["\\frac", "{", "x", "}", "{", "x", "}"]
    assert VOCABULARY.encode(tokens) == [4, 5, 3, 6, 5, 3, 6]
    assert VOCABULARY.decode([START_ID, *VOCABULARY.encode(tokens), END_ID, PAD_ID]) == tokens


def test_unknown_tokens_are_named_once() -> None:
    assert VOCABULARY.missing(["z", "x", "y", "z"]) == ["z", "y"]
    with pytest.raises(ConfigError, match=r"^Not in the vocabulary: z y; grow it first\.$"):
        VOCABULARY.encode(["z", "x", "y", "z"])


def test_growing_keeps_every_id() -> None:
    grown = VOCABULARY.grown(["y", "x", "z", "y"])
    assert grown.words == ("x", "\\frac", "{", "}", "y", "z")
    assert grown.tokens[: len(VOCABULARY)] == VOCABULARY.tokens
    assert VOCABULARY.grown(["x"]) == VOCABULARY
    assert hash(VOCABULARY.grown(["x"])) == hash(VOCABULARY)
    assert grown != VOCABULARY != "x"


@pytest.mark.parametrize("tokens", [["x", "x"], ["x", END], [""], ["a b"], ["\t"], ["a\n"]], ids=repr)
def test_impossible_tokens_are_refused(tokens: list[str]) -> None:
    with pytest.raises(ConfigError, match="Vocabulary"):
        Vocabulary(tokens)
