"""Minimal filtering gives what torch's convolution gives, in all three products."""

import copy

import pytest
import torch
from torch.nn import functional

from hmer.models import winograd
from hmer.models.winograd import Conv3x3

CLOSE = 3e-5  # of the largest value


def _same(one: torch.Tensor, other: torch.Tensor) -> None:
    assert one.shape == other.shape
    one, other = one.detach(), other.detach()
    assert float((one - other).abs().max()) <= CLOSE * float(other.abs().max())


# Multiples of a tile and others, smaller than a tile, one piece and several, other counts of channels on either side.
@pytest.mark.parametrize(
    ("count", "channels", "outputs", "height", "width"),
    [(2, 32, 32, 8, 12), (3, 32, 48, 5, 7), (2, 64, 32, 1, 1), (5, 32, 32, 50, 33), (1, 40, 36, 3, 130)],
)
def test_result_and_gradients_are_those_of_a_convolution(
    count: int, channels: int, outputs: int, height: int, width: int
) -> None:
    torch.manual_seed(0)
    conv = Conv3x3(channels, outputs)
    x = torch.randn(count, channels, height, width).to(memory_format=torch.channels_last).requires_grad_()
    result, expected = conv(x), functional.conv2d(x, conv.weight, padding=1)
    assert type(result.grad_fn).__name__ == "_WinogradBackward"
    _same(result, expected)
    with torch.inference_mode():
        _same(conv(x), expected)
    gradient = torch.randn_like(expected)
    found = torch.autograd.grad(result, (x, conv.weight), gradient)
    for one, other in zip(found, torch.autograd.grad(expected, (x, conv.weight), gradient), strict=True):
        _same(one, other)


def test_pieces_cover_every_picture_once() -> None:
    for count in (1, 2, 7):
        for tiles in (1, 150, winograd.TILES, 10 * winograd.TILES):
            pictures = [index for piece in winograd._pieces(count, tiles) for index in range(count)[piece]]
            assert pictures == list(range(count))


@pytest.mark.parametrize("why", ["frozen", "bf16", "few channels"])
def test_torch_convolves_where_that_is_quicker(why: str) -> None:
    conv = Conv3x3(winograd.FEWEST_CHANNELS if why != "few channels" else 16, 64)
    x = torch.randn(1, conv.in_channels, 6, 6, requires_grad=True)
    conv.weight.requires_grad_(why != "frozen")
    with torch.autocast("cpu", torch.bfloat16, enabled=why == "bf16"):
        result = conv(x)
    assert "Winograd" not in type(result.grad_fn).__name__


@pytest.mark.parametrize("channels", [16, 32])  # convolved by torch, and by minimal filtering
def test_reading_knows_weights_that_changed(channels: int) -> None:
    torch.manual_seed(0)
    conv, other = Conv3x3(channels, 32), Conv3x3(channels, 32)
    norm = torch.nn.BatchNorm2d(32)
    x = torch.randn(1, channels, 6, 6)

    def reads_as_torch(one: Conv3x3) -> None:
        with torch.no_grad():
            _same(one.read(x, norm), norm(functional.conv2d(x, one.weight, padding=1)))

    norm(conv(torch.randn(9, channels, 6, 6)))  # so that it has something to take off
    norm.eval()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    reads_as_torch(conv)
    kept = conv._folded(norm, x.dtype, filters=False)
    assert conv._folded(norm, x.dtype, filters=False)[0] is kept[0]
    conv.load_state_dict(other.state_dict())
    reads_as_torch(conv)
    for changed in (conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var):
        assert changed is not None
        with torch.no_grad():
            changed.mul_(2)
        reads_as_torch(conv)
    copied = copy.deepcopy(conv)
    with torch.no_grad():
        for _ in range(conv.weight._version):  # as often as the first was
            copied.weight.add_(1)
            reads_as_torch(copied)
    reads_as_torch(conv)
    conv.weight = torch.nn.Parameter(torch.randn_like(conv.weight))
    reads_as_torch(conv)


def test_reading_in_half_precision_is_close() -> None:
    torch.manual_seed(0)
    conv, norm = Conv3x3(64, 64), torch.nn.BatchNorm2d(64).eval()
    x = torch.randn(1, 64, 6, 6)
    with torch.no_grad():
        whole = conv.read(x, norm)
        with torch.autocast("cpu", torch.bfloat16):
            half = conv.read(x, norm)
    assert half.dtype == torch.bfloat16
    assert float((half - whole).norm() / whole.norm()) < 0.01
