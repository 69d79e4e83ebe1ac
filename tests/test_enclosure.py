"""What is open is told in both directions, the same step by step as for whole captions."""

import dataclasses

import pytest
import torch
from toys import narrow

from hmer.config import ModelConfig
from hmer.models import build
from hmer.models.base import with_ends
from hmer.models.enclosure import DEEPEST, Enclosure, Open
from hmer.models.transformer import TransformerModel
from hmer.vocabulary import Vocabulary

WORDS = ("{", "}", "^", "x", "2", "\\frac", "\\left", "\\right", "(", ")", "\\begin{matrix}", "\\end{matrix}", "&")
VOCABULARY = Vocabulary(WORDS)


def told(caption: str, *, backward: bool = False) -> list[tuple[int, str]]:
    """After each token of the caption: the depth, and the token that is told of the innermost group."""
    enclosure = Enclosure(VOCABULARY, 4)
    words = caption.split()
    state: Open = enclosure.start(1, torch.device("cpu"))
    found = []
    for index in VOCABULARY.encode(words[::-1] if backward else words):
        state = enclosure.follow(torch.tensor([index]), torch.tensor([int(backward)]), state)
        stack, depth, _ = state
        inner = int(stack[0, min(int(depth), DEEPEST)])
        found.append((int(depth), VOCABULARY.tokens[inner] if inner < len(VOCABULARY) else ""))
    return found


def test_the_innermost_group_by_the_token_before_its_brace() -> None:
    assert told("x ^ { \\frac { 2 } { x } }") == [
        (0, ""), (0, ""), (1, "^"), (1, "^"), (2, "\\frac"), (2, "\\frac"), (1, "^"), (2, "}"), (2, "}"), (1, "^"), (0, ""),
    ]  # fmt: skip


def test_delimiters_and_matrices_are_groups() -> None:
    assert told("\\left ( \\begin{matrix} x & 2 \\end{matrix} \\right )") == [
        (1, "\\left"), (1, "\\left"), *[(2, "\\begin{matrix}")] * 4, (1, "\\left"), (0, ""), (0, ""),
    ]  # fmt: skip


def test_from_right_to_left_a_brace_is_just_a_brace() -> None:
    assert told("x ^ { 2 }", backward=True) == [(1, "}"), (1, "}"), (0, ""), (0, ""), (0, "")]


def test_what_closes_nothing_and_what_is_too_deep_does_no_harm() -> None:
    assert told("} x \\right") == [(0, "")] * 3
    deep = " ".join(["^ {"] * (DEEPEST + 3) + ["}"] * (DEEPEST + 4))
    depths = [depth for depth, _ in told(deep)]
    assert max(depths) == DEEPEST + 3
    assert depths[-1] == 0


@pytest.fixture
def model() -> TransformerModel:
    torch.manual_seed(0)
    config: ModelConfig = dataclasses.replace(narrow("transformer"), enclosure=True)
    model = build(config, VOCABULARY)
    assert isinstance(model, TransformerModel)
    assert model.enclosure is not None
    with torch.no_grad():
        model.enclosure.opener.weight.normal_()
        model.enclosure.depth.weight.normal_()
    return model.eval()


@pytest.mark.parametrize("reverse", [False, True])
def test_decoding_is_told_what_teacher_forcing_is_told(model: TransformerModel, reverse: bool) -> None:
    captions = ["x ^ { \\frac { 2 } { x } }", "2 \\left ( x \\right )"]
    ids = [VOCABULARY.encode(caption.split()) for caption in captions]
    longest = max(map(len, ids))
    tokens = torch.tensor([[*one, *[0] * (longest - len(one))] for one in ids])
    inputs, _ = with_ends(tokens, torch.tensor([len(one) for one in ids]), reverse=reverse)
    assert model.enclosure is not None
    whole = model.enclosure(inputs)
    state = model.enclosure.start(2, inputs.device)
    for step in range(inputs.shape[1]):
        state = model.enclosure.follow(inputs[:, step], torch.full((2,), int(reverse)), state)
        assert torch.equal(model.enclosure.tell(state, model.enclosure.tables()), whole[:, step])


def test_a_trained_model_is_given_one_and_says_what_it_said() -> None:
    torch.manual_seed(0)
    plain = build(narrow("transformer"), VOCABULARY).eval()
    assert isinstance(plain, TransformerModel)
    encoded = plain.encode(torch.rand(1, 1, 32, 64), torch.tensor([[32, 64]]))
    step, state, ids = plain.start(encoded, 1)
    before, _ = step(ids, state)
    plain.take_on(dataclasses.replace(plain.config, enclosure=True))
    assert plain.enclosure is not None
    step, state, ids = plain.start(encoded, 1)
    assert torch.equal(step(ids, state)[0], before)
    plain.grow_vocabulary(["\\begin{cases}", "\\end{cases}"])
    assert plain.enclosure.opener.num_embeddings == len(plain.vocabulary) == plain.enclosure.change.shape[1]
    assert int(plain.enclosure.change[0, -2]) == 1
    assert not bool(plain.enclosure.opener.weight.any())
