"""Pictures with their captions, as tensors: what datasets make and models learn from."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

STRIDE_PX = 8  # one cell of an encoder's map, and of a batch's owners, is so many pixels wide and high
MAX_AREA_PX = 800_000  # of a batch that is only read
WASTE = 1.35  # how much larger than its pictures a batch may be,
SMALL_PX = 40_000  # unless it is so small that another one costs more
TOGETHER, MOST_CELLS_PX = 16, 4_000_000  # so many pictures are decoded at a time, and so much padded area


@dataclass
class Batch:
    """Pictures with their captions.

    images (B, 1, H, W) ink 1 on 0; sizes (B, 2) true pixels; tokens (B, L) ids without start and end, padded with
    PAD_ID; lengths (B,). `owners` (B, H/8, W/8), where the strokes of the symbols are known: the position in the
    caption, from 1, of the symbol that covers the cell; 0 paper, -1 unknown. `located` (B,) says for which items.
    `looks` (B, L + 1, T): where a model much like this one looked at each step, as `hmer.models.base.Loss` tells; it saves
    time and changes nothing else.
    """

    images: Tensor
    sizes: Tensor
    tokens: Tensor
    lengths: Tensor
    owners: Tensor | None = None
    located: Tensor | None = None
    looks: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        moved = {key: value.to(device) if value is not None else None for key, value in vars(self).items()}
        return Batch(**moved)  # type: ignore[arg-type]


def of_like_size(sizes: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Indices of pictures (height, width), grouped so that little is padded and every group is within a bound of memory."""

    def place(index: int) -> tuple[int, int]:
        height, width = sizes[index]
        row = height // 16
        return row, width if row % 2 else -width  # widths up and down in turn: neighbours are alike everywhere

    groups: list[list[int]] = []
    height = width = used = 0
    for index in sorted(range(len(sizes)), key=place):
        tall, wide = sizes[index]
        height, width, used = max(height, tall), max(width, wide), used + tall * wide
        count = len(groups[-1]) + 1 if groups else 0
        padded = height * width * count
        if groups and padded <= MAX_AREA_PX and count <= 32 and padded <= max(WASTE * used, SMALL_PX):
            groups[-1].append(index)
        else:
            groups.append([index])
            height, width, used = tall, wide, tall * wide
    return groups


def of_like_area(sizes: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Indices of pictures (height, width), in groups to be decoded together: of like area, and so of like length."""
    groups: list[list[int]] = []
    for index in sorted(range(len(sizes)), key=lambda index: sizes[index][0] * sizes[index][1]):
        area = sizes[index][0] * sizes[index][1]
        if groups and len(groups[-1]) < TOGETHER and area * (len(groups[-1]) + 1) <= MOST_CELLS_PX:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
