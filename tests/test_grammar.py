"""What the grammar lets end is well-formed, whatever the model says, and it never leaves a model without a choice."""

import random
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from hmer import latex
from hmer.decoding import State, beam, greedy, sample
from hmer.errors import ConfigError
from hmer.grammar import SYMBOL_SETS, allowed_tokens, rules_for
from hmer.vocabulary import END, END_ID, PAD_ID, START_ID, Vocabulary

CROHME = Vocabulary(sorted(SYMBOL_SETS["crohme"]))
_RICH_TOKENS = r"""
    a b 1 2 + = ( ) [ ] | * . , \{ \} { } ^ _ & \\ \hline l c r ~ \, \quad \displaystyle \alpha \rightarrow \to \leq
    \sum \int \lim \sin \limits \nolimits \prime \frac \sqrt \binom \hat \vec \overline \mathrm \mathbb \operatorname
    \text \textbf $ \overset \overbrace \xrightarrow \not \left \right \middle \big \bigl \left( \right) \hspace \genfrac
    \substack \cfrac \begin{matrix} \end{matrix} \begin{cases} \end{cases} \begin{array} \end{array} \begin{aligned}
    \end{aligned} \begin{alignedat} \end{alignedat} \begin{pmatrix} ' % # \over \rm
"""
RICH = Vocabulary(_RICH_TOKENS.split())


def follow(vocabulary: Vocabulary, prefix: str, *, symbols: str = "all") -> set[str]:
    """The tokens that may follow a prefix."""
    rules = rules_for(vocabulary, symbols=symbols, grammar=True)
    assert rules is not None
    (mask,) = rules([tuple(vocabulary.encode(prefix.split()))])
    return {token for token, is_allowed in zip(vocabulary.tokens, mask.tolist(), strict=True) if is_allowed}


def walk(vocabulary: Vocabulary, draw: random.Random, *, symbols: str = "all", longest: int = 400) -> list[str] | None:
    """A random answer, ending likelier the longer it is; None where it did not end. A choice is always left."""
    rules = rules_for(vocabulary, symbols=symbols, grammar=True)
    assert rules is not None
    ids: list[int] = []
    for _ in range(longest):
        (mask,) = rules([tuple(ids)])
        choices = mask.nonzero()[:, 0].tolist()
        assert choices, vocabulary.decode(ids)
        assert PAD_ID not in choices and START_ID not in choices
        if END_ID in choices and draw.random() < len(ids) / 60:
            return vocabulary.decode(ids)
        tokens = [vocabulary.tokens[index] for index in choices]
        closing = [
            index
            for index, token in zip(choices, tokens, strict=True)
            if token in {"}", "]", "\\right"} or "\\end" in token
        ]
        chosen = draw.choice(closing if closing and draw.random() < len(ids) / 60 else choices)
        if chosen == END_ID:
            return vocabulary.decode(ids)
        ids.append(chosen)
    return None


@pytest.mark.parametrize("vocabulary", [CROHME, RICH], ids=["crohme", "rich"])
def test_random_answers_are_well_formed(vocabulary: Vocabulary) -> None:
    draw = random.Random(1)
    answers = [walk(vocabulary, draw) for _ in range(300)]
    ended = [answer for answer in answers if answer is not None]
    assert len(ended) > 250
    assert [answer for answer in ended if not latex.is_valid(answer)] == []
    assert any(len(answer) > 30 for answer in ended)
    if vocabulary is CROHME:
        assert any("\\sqrt [" in " ".join(answer) for answer in ended)


@pytest.mark.parametrize("vocabulary", [CROHME, RICH], ids=["crohme", "rich"])
def test_random_answers_within_random_symbols_are_well_formed(vocabulary: Vocabulary) -> None:
    draw = random.Random(2)
    for _ in range(60):
        symbols = " ".join(draw.sample(vocabulary.words, draw.randint(1, len(vocabulary.words))))
        answer = walk(vocabulary, draw, symbols=symbols)
        if answer is not None:
            assert set(answer) <= set(symbols.split())
            assert latex.is_valid(answer), answer


def random_step(ids: Tensor, state: State) -> tuple[Tensor, State]:
    """Other random logits at every step and row; the end token is made likelier, so that answers end."""
    generator = torch.Generator().manual_seed(int(state["seed"][0]))
    scores = torch.randn(len(ids), len(CROHME), generator=generator) * 3
    scores[:, END_ID] += 4
    scores[:, CROHME.encode(["}"])[0]] += 5
    return scores.log_softmax(-1), {"seed": state["seed"] + 1}


@pytest.mark.parametrize("strategy", ["greedy", "beam", "sample"])
def test_searches_under_the_grammar_give_well_formed_latex(strategy: str) -> None:
    rules = rules_for(CROHME, grammar=True)
    ended = 0
    for seed in range(0, 5000, 500):
        width = 4 if strategy == "beam" else 1
        first, state = torch.full((2 * width,), START_ID), {"seed": torch.full((2 * width, 1), seed)}
        if strategy == "beam":
            found = beam(random_step, state, first, width=width, end_id=END_ID, max_length=80, rules=rules)
            hypotheses = [hypothesis for answers in found for hypothesis in answers]
        elif strategy == "sample":
            hypotheses = sample(random_step, state, first, end_id=END_ID, max_length=80, rules=rules, seed=seed)
        else:
            hypotheses = greedy(random_step, state, first, end_id=END_ID, max_length=80, rules=rules)
        for hypothesis in hypotheses:
            if hypothesis.finished:
                ended += 1
                assert latex.is_valid(CROHME.decode(hypothesis.ids)), CROHME.decode(hypothesis.ids)
    assert ended >= 10


LABELS = r"""
x ^ { 2 } + \frac { a } { b }
\sqrt [ 3 ] { x } = \sqrt { y }
\sum \limits _ { i = 1 } ^ { n } x _ { i } ^ { \prime 2 }
{ x ^ { 2 } } ^ { 3 }
{ } ^ { 1 } + 2
( a , b ]
\int \limits _ { 0 } ^ { 1 } \sin x
"""
RICH_LABELS = r"""
\begin{array} { c | c } a & b \\ \hline 1 & 2 \end{array}
\begin{cases} a & b = 1 \\ b \end{cases}
\begin{aligned} { } [ a ] & = 2 \\ & + 1 \end{aligned}
\left( \frac { a } { b } \middle | a \right) ^ { 2 }
\left( a \right)
\text { a ~ b $ a ^ { 2 } $ } + \mathrm { a b }
\xrightarrow [ a ] { b } \xrightarrow { a }
\not = \hat { a } \bigl ( \operatorname { a b } \limits _ { a }
\genfrac { } { } { 1 } { } { a } { b } \hspace { 1 c } b
\sum \limits _ { \substack { a = 1 \\ b } } a
"""


@pytest.mark.parametrize("label", LABELS.strip().splitlines())
def test_captions_can_be_written(label: str) -> None:
    assert_can_be_written(CROHME, [token for token in label.split() if token in CROHME])


@pytest.mark.parametrize("label", RICH_LABELS.strip().splitlines())
def test_richer_captions_can_be_written(label: str) -> None:
    tokens = ["\\left", "(", *label.split()[1:-1], "\\right", ")"] if label == r"\left( a \right)" else label.split()
    assert latex.is_valid(tokens)
    assert_can_be_written(RICH, label.split())


def assert_can_be_written(vocabulary: Vocabulary, tokens: Sequence[str]) -> None:
    for place, token in enumerate((*tokens, END)):
        assert token in follow(vocabulary, " ".join(tokens[:place])), (tokens[:place], token)


FORBIDDEN = [
    ("", {END, "^", "_", "}", "\\limits"}),
    ("x", {"}", "\\limits"}),
    ("x ^", set(CROHME.words) - {"{"} | {END}),
    ("x ^ {", {"}", "^", END}),
    ("x ^ { 2 }", {"^", "}"}),
    ("x ^ { 2 } _ { 1 }", {"^", "_"}),
    ("x _ { 2", {END}),
    ("\\sum \\limits", set(CROHME.words) - {"^", "_"} | {END}),
    ("\\frac { x }", set(CROHME.words) - {"{"} | {END}),
    ("\\sqrt", set(CROHME.words) - {"{", "["} | {END}),
    ("\\sqrt [", {"]", "}", END}),
    ("\\sqrt [ 3", {"}", END}),
    ("\\sqrt [ 3 ]", set(CROHME.words) - {"{"} | {END}),
    ("{ }", {END, "x", "}"}),
]


@pytest.mark.parametrize(("prefix", "forbidden"), FORBIDDEN, ids=[repr(prefix) for prefix, _ in FORBIDDEN])
def test_what_would_be_ill_formed_is_forbidden(prefix: str, forbidden: set[str]) -> None:
    assert follow(CROHME, prefix) & forbidden == set()
    assert follow(CROHME, prefix)


def test_what_a_bracket_may_be() -> None:
    assert "]" in follow(CROHME, "x")  # half-open intervals
    assert "]" in follow(CROHME, "\\sqrt [ 3")
    assert "]" in follow(CROHME, "\\sqrt [ x ^ { 2")  # as a symbol
    assert "\\limits" in follow(CROHME, "\\sum")
    assert "^" in follow(CROHME, "x _ { 1 }")


def test_commands_that_cannot_be_completed_are_not_begun() -> None:
    without_braces = follow(CROHME, "x", symbols="x 2 ^ _ \\frac \\sqrt [")
    assert without_braces == {"x", "2", "[", END}
    assert follow(RICH, "a", symbols="a \\begin{pmatrix} \\left \\right") == {"a", END}
    assert follow(RICH, "", symbols="{ } ^") == {END}  # nothing that could be written


def test_a_row_has_no_more_cells_than_its_environment() -> None:
    assert "&" in follow(RICH, "\\begin{array} { c c } a")
    assert "&" not in follow(RICH, "\\begin{array} { c c } a & b")
    assert "&" in follow(RICH, "\\begin{array} { c c } a & b \\\\ a")
    assert "&" not in follow(RICH, "\\begin{array} { c c } a & {")
    assert "[" not in follow(RICH, "\\begin{aligned}")


def test_nesting_stays_within_what_the_parser_reads() -> None:
    prefix = ""
    while "^" in follow(CROHME, f"{prefix} x"):
        prefix += " x ^ {"
    closing = f"{prefix} x" + " }" * prefix.count("{")
    assert 15 < prefix.count("{") < latex.MAX_DEPTH
    assert latex.is_valid(closing)


def test_memory_does_not_grow_with_the_search() -> None:
    rules = rules_for(CROHME, grammar=True)
    draw = random.Random(3)
    for _ in range(50):
        rules([tuple(CROHME.encode(draw.choices(["x", "2", "+"], k=5))) for _ in range(4)])
    assert len(rules._stacks) <= 4


def test_one_prefix_at_a_time_or_together_gives_the_same() -> None:
    texts = ["", "x ^ {", "\\frac { x } {", "\\sqrt [ 3", "x"]
    rules = rules_for(CROHME, grammar=True)
    together = rules([tuple(CROHME.encode(text.split())) for text in texts])
    for text, mask in zip(texts, together, strict=True):
        assert {CROHME.tokens[index] for index in mask.nonzero()[:, 0].tolist()} == follow(CROHME, text)


def test_no_rules_where_everything_is_allowed() -> None:
    assert rules_for(CROHME) is None


def test_symbols_restrict_without_grammar() -> None:
    rules = rules_for(CROHME, symbols="x 2 ^")
    mask = rules([(), (5,)])
    assert mask.shape == (2, len(CROHME))
    assert {CROHME.tokens[index] for index in mask[0].nonzero()[:, 0].tolist()} == {"x", "2", "^", END}


def test_named_symbols_and_unknown_ones() -> None:
    vocabulary = Vocabulary(["x", "\\mathbb", "{"])
    assert allowed_tokens(vocabulary, "crohme").tolist() == [False, False, True, True, False, True]
    assert allowed_tokens(vocabulary, "all").tolist() == [False, False, True, True, True, True]
    with pytest.raises(ConfigError, match="y is not known to this checkpoint.*crohme"):
        allowed_tokens(vocabulary, "x y")
    with pytest.raises(ConfigError, match="an empty list"):
        allowed_tokens(vocabulary, " ")
    assert len(SYMBOL_SETS["crohme"]) == 110
