"""What an evaluation makes of answers, against values worked out by hand."""

import math

import pytest
import torch
from toys import evaluation_of

from hmer.evaluation import Forced
from hmer.models.base import loss_of, token_loss
from hmer.vocabulary import END_ID, PAD_ID


def test_valid_latex_is_a_share_of_all() -> None:
    """Two of five: a brace is never closed, a command is unknown, and a picture could not be read."""
    read = [("x", "x"), ("x", r"\frac { 1 } { x }"), ("x", "{ x"), ("x", r"\nosuch x")]
    found = evaluation_of(read, unread=["y"])
    assert found.valid_latex == pytest.approx(2 / 5)
    assert found.scores.exprate == pytest.approx(1 / 5)
    assert found.figures()["valid_latex"] == found.valid_latex


def test_token_accuracy_counts_next_tokens_and_ends() -> None:
    """Captions of two and of no tokens, with their ends 3 + 1 next tokens, two of them right; padding counts nowhere."""
    a, b = 3, 4
    targets = torch.tensor([[a, b, END_ID], [END_ID, PAD_ID, PAD_ID]])
    likeliest = torch.tensor([[a, a, END_ID], [b, PAD_ID, PAD_ID]])
    logits = torch.full((2, 3, 5), 0.0).scatter(
        2, likeliest[..., None], math.log(6.0)
    )  # 6 / 10 there, 1 / 10 elsewhere
    loss = loss_of({"token": token_loss(logits, targets, 0.0)}, logits, targets)
    assert (loss.correct, loss.count, loss.tokens, loss.right) == (2, 4, 4, (False, False))
    assert loss.log_likelihood == pytest.approx(2 * math.log(0.6) + 2 * math.log(0.1), abs=1e-5)
    forced = Forced(loss.correct, loss.count, loss.log_likelihood, loss.tokens, loss.right)
    found = evaluation_of([("x", "x")], forced=forced)
    assert found.token_accuracy == pytest.approx(2 / 4)
    assert found.loss == pytest.approx(-(math.log(0.6) + math.log(0.1)) / 2, abs=1e-5)
    two = evaluation_of([("x", "x")], forced=forced + Forced(3, 4, 0.0, 4, (True,)))
    assert two.token_accuracy == pytest.approx(5 / 8)
    assert evaluation_of([("x", "x")]).token_accuracy is None
