"""Rows for symbols that a checkpoint has not met, made from a few pictures of them before anything else is trained."""

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from hmer.batch import Batch
from hmer.datasets.folder import Item
from hmer.models.base import Model, with_ends
from hmer.precision import fastest
from hmer.vocabulary import PAD_ID

NEW_SHARE, ROW_DECAY = 0.05, 1e-3  # of what their rows are fitted to, new symbols have so much weight


def imprint(model: Model, batches: Iterable[Batch], tokens: Sequence[str], others: Iterable[Batch] = ()) -> None:
    """Make output rows of new tokens from the model's own states; nothing else in the model changes.

    `batches` show the tokens, `others` show what must not be taken for them. A row begins with the direction of the
    states from which its token ought to be written, and a bias that makes it as likely there as its best rival; then
    the rows alone are fitted to all states by logistic regression. So a symbol is read before any training that could
    harm others. Source: weight imprinting (Qi, Brown and Lowe 2018).
    """
    states, targets = _states(model, batches)
    indices = [index for index in model.vocabulary.encode(tokens) if bool((targets == index).any())]
    if not indices:
        return
    weight, bias = model.out.weight.detach(), model.out.bias.detach()
    old = min(model.vocabulary.encode(tokens))
    size = weight[:old].norm(dim=1).mean()
    for index in indices:
        seen = states[targets == index]
        weight[index] = seen.mean(0) / seen.mean(0).norm() * size
        rival = (seen @ weight[:old].T + bias[:old]).amax(1)
        bias[index] = (rival - seen @ weight[index]).mean()
    more, more_targets = _states(model, others)
    _fit_rows(weight, bias, indices, torch.cat([states, more]), torch.cat([targets, more_targets]))


@torch.no_grad()
def _states(model: Model, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """What the output layer is given at every token under teacher forcing, (N, D), and those tokens' ids, (N,).

    In both directions where the model reads in both: it is asked for both after a beam search.
    """
    states: list[Tensor] = []
    found = [(model.out.weight[:0], torch.zeros(0, dtype=torch.long))]
    handle = model.out.register_forward_pre_hook(lambda module, inputs: states.append(inputs[0]))
    training, both_ways = model.training, model.both_ways
    directions = (False, True) if model.bidirectional else (False,)
    model.eval()
    model.both_ways = True
    try:
        for batch in batches:
            with fastest():
                model.loss(batch)
            parts = [with_ends(batch.tokens, batch.lengths, reverse=reverse)[1] for reverse in directions]
            targets = torch.cat(parts)
            counted = targets != PAD_ID
            found.append((states[-1][counted].float(), targets[counted]))
            states.clear()
    finally:
        handle.remove()
        model.both_ways = both_ways
        model.train(training)
    return torch.cat([state for state, _ in found]), torch.cat([target for _, target in found])


def _fit_rows(weight: Tensor, bias: Tensor, indices: Sequence[int], states: Tensor, targets: Tensor) -> None:
    """Fit some rows of the output layer, in place; rows stay near their start.

    Tokens count alike, however rare: it is the rare ones that a new one is likeliest to be taken for. All new ones
    together have NEW_SHARE: what somebody writes now and then must not be seen everywhere.
    """
    chosen = torch.tensor(indices)
    rows, biases = weight[chosen].clone().requires_grad_(), bias[chosen].clone().requires_grad_()
    start = weight[chosen].clone()
    logits = states @ weight.T + bias
    new = torch.isin(targets, chosen)
    rarity = 1.0 / torch.bincount(targets)[targets]
    shares = rarity * torch.where(new, NEW_SHARE / rarity[new].sum(), (1 - NEW_SHARE) / rarity[~new].sum())
    optimizer = torch.optim.LBFGS([rows, biases], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        scores = logits.index_copy(1, chosen, states @ rows.T + biases)
        fit = (functional.cross_entropy(scores, targets, reduction="none") * shares).sum()
        total: Tensor = fit + ROW_DECAY * (rows - start).square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    weight[chosen], bias[chosen] = rows.detach(), biases.detach()


def rich_in_symbols(items: Sequence[Item], count: int) -> list[Item]:
    """So many of the items that every symbol is among them as often as can be: in turn, one with the rarest so far."""
    left = list(items)
    seen: Counter[str] = Counter({token: 0 for item in items for token in item.tokens})
    chosen: list[Item] = []
    while left and len(chosen) < count:
        best = max(left, key=lambda item: sum(1.0 / (1 + seen[token]) ** 2 for token in set(item.tokens)))
        left.remove(best)
        chosen.append(best)
        seen.update(set(best.tokens))
    return chosen
