"""Convolutional encoders: a picture to a two-dimensional map of features.

Pictures come padded with paper (0) to the size of the batch. Everything outside the true size of a picture is
set to 0 again after each convolution, so that padding cannot change an answer.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hmer.batch import STRIDE_PX


def inside(sizes: Tensor, height: int, width: int, stride: int) -> Tensor:
    """1 where a cell lies inside the true size of its picture: (B, 1, height, width) float; sizes (B, 2) px."""
    rows = torch.arange(height, device=sizes.device)[None, :] * stride < sizes[:, :1]
    columns = torch.arange(width, device=sizes.device)[None, :] * stride < sizes[:, 1:]
    return (rows[:, None, :, None] & columns[:, None, None, :]).float()


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation and a shortcut (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm2.weight)  # each block starts as the identity

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = functional.relu(self.norm1(self.conv1(x))) * mask
        y = self.norm2(self.conv2(y)) + x
        return functional.relu(y) * mask


class ConvEncoder(nn.Module):
    """PixelUnshuffle(4), residual blocks at stride 4, most of the depth at stride 8.

    Few channels at high resolution are what a CPU is slow at, hence no convolution above stride 4.
    """

    def __init__(self, channels: tuple[int, ...], blocks: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        fine, coarse = channels
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(4), nn.Conv2d(16, fine, 3, padding=1, bias=False), nn.BatchNorm2d(fine)
        )
        self.fine = nn.ModuleList(ResidualBlock(fine) for _ in range(blocks[0]))
        self.down = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(4 * fine, coarse, 3, padding=1, bias=False), nn.BatchNorm2d(coarse)
        )
        self.coarse = nn.ModuleList(ResidualBlock(coarse) for _ in range(blocks[1]))
        self.dropout = nn.Dropout2d(dropout)  # one random number a channel: nearly free
        self.channels = coarse

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 1, H, W), H and W multiples of 8 -> features (B, C, H/8, W/8), mask (B, 1, H/8, W/8)."""
        height, width = images.shape[-2:]
        fine_mask = inside(sizes, height // 4, width // 4, 4)
        mask = inside(sizes, height // 8, width // 8, 8)
        images = images.contiguous(memory_format=torch.channels_last)
        x = functional.relu(self.stem(images))
        fine_mask, coarse_mask = fine_mask.to(x.dtype), mask.to(x.dtype)
        x = x * fine_mask
        for block in self.fine:
            x = block(x, fine_mask)
        x = functional.relu(self.down(x)) * coarse_mask
        for block in self.coarse:
            x = block(x, coarse_mask)
        return self.dropout(x), mask


def inked_cells(images: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The cells that hold ink: indices into the map (B, T), and (B, T) True where there is one.

    Two thirds of a formula is paper; a decoder that looks only at ink is three times as fast, and its answer
    cannot depend on the size of the paper. T is rounded up, so that few shapes occur.
    """
    inked = functional.max_pool2d(images, STRIDE_PX).flatten(1) * mask.flatten(1) > 0.2
    most = min(-(-int(inked.sum(1).max()) // 16) * 16, inked.shape[1])
    most = max(most, 1)
    order = inked.float().argsort(dim=1, descending=True, stable=True)[:, :most]
    return order, inked.gather(1, order)


def positions_2d(height: int, width: int, features: int, device: torch.device) -> Tensor:
    """Sine and cosine of row and column: (height, width, features), features a multiple of 4.

    Source: Vaswani et al. 2017, one half of the features for each axis.
    """
    quarter = features // 4
    rates = torch.exp(torch.arange(quarter, device=device) * (-6.0 / max(quarter - 1, 1)))  # wavelengths 2 pi to 2500
    rows = torch.arange(height, device=device)[:, None] * rates
    columns = torch.arange(width, device=device)[:, None] * rates
    by_row = torch.cat([rows.sin(), rows.cos()], -1)[:, None].expand(-1, width, -1)
    by_column = torch.cat([columns.sin(), columns.cos()], -1)[None].expand(height, -1, -1)
    return torch.cat([by_row, by_column], -1)


def positions_1d(length: int, features: int, device: torch.device) -> Tensor:
    """Sine and cosine of the place in the sequence: (length, features), features even."""
    half = features // 2
    rates = torch.exp(torch.arange(half, device=device) * (-9.0 / max(half - 1, 1)))
    angles = torch.arange(length, device=device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1)
