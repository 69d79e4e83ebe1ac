"""Muon: orthogonal updates for matrices and kernels, Adam for the rest, and a state that can be saved."""

import copy

import pytest
import torch
from torch import nn

from hmer.optimizers import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(16, 48), (48, 16), (32, 32)])
def test_singular_values_become_alike(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape) @ torch.diag(torch.logspace(0, 1.5, shape[1]))
    values = torch.linalg.svdvals(orthogonalised(matrix))
    assert values.max() < 1.3
    assert values[: min(shape) * 3 // 4].min() > 0.6
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    nearest = left @ right
    assert torch.cosine_similarity(orthogonalised(matrix).flatten(), nearest.flatten(), 0) > 0.95


def groups(model: nn.Module) -> list[dict[str, object]]:
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    return [{"params": matrices, "orthogonal": True, "weight_decay": 0.01}, {"params": others}]


def test_rates_mean_the_same_for_both_kinds_and_the_rest_is_adamw() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 32, 3), nn.Flatten(), nn.Linear(32, 40))
    other = copy.deepcopy(model)
    ours = Muon(groups(model), lr=1e-2)
    theirs = torch.optim.AdamW(other.parameters(), lr=1e-2, betas=(0.9, 0.98), weight_decay=0.0)
    pictures = torch.randn(64, 8, 3, 3)
    for network, optimizer in ((model, ours), (other, theirs)):
        network(pictures).square().mean().backward()
        optimizer.step()
    assert torch.allclose(model[2].bias, other[2].bias, atol=1e-6)
    torch.manual_seed(0)
    start = nn.Conv2d(8, 32, 3)
    moved = (model[0].weight - start.weight).square().mean().sqrt()
    assert 1e-3 < moved < 4e-3  # AdamW's, apart from the very first steps, is 0.2 to 0.4 of the rate


def test_it_learns_and_goes_on_from_a_saved_state() -> None:
    torch.manual_seed(0)
    inputs, truth = torch.randn(64, 12), torch.randn(12, 12)
    model = nn.Linear(12, 12)
    optimizer = Muon(groups(model), lr=2e-2)

    def train(network: nn.Module, by: Muon, steps: int) -> float:
        for _ in range(steps):
            by.zero_grad()
            loss = (network(inputs) - inputs @ truth).square().mean()
            loss.backward()
            by.step()
        return float(loss.detach())

    first = train(model, optimizer, 1)
    train(model, optimizer, 100)
    twin = copy.deepcopy(model)
    resumed = Muon(groups(twin), lr=2e-2)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert train(model, optimizer, 100) == pytest.approx(train(twin, resumed, 100))
    assert train(model, optimizer, 100) < 0.2 * first
