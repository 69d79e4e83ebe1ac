"""Pictures with their captions, as tensors: what datasets make and models learn from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hmer.image import Grey, Scaled

STRIDE_PX = 8  # one cell of an encoder's map, and of a batch's owners, is so many pixels wide and high
CELLS = 16  # numbers of inked cells are rounded up to a multiple, so that few shapes occur
MAX_AREA_PX = 800_000  # of a batch that is only read
PAPER_PX = 4  # around what a magnifier is given: at its edges it sees as far as anywhere
WASTE = 1.35  # how much larger than its pictures a batch may be,
SMALL_PX = 40_000  # unless it is so small that another one costs more
TOGETHER, MOST_CELLS_PX = 16, 4_000_000  # so many pictures are decoded at a time, and so much padded area


@dataclass
class Seen:
    """What an encoder makes of pictures: all that the rest of a model needs of them while the encoder does not change.

    cells (B, T, C), the features of the inked cells; mask (B, T) True where there is one; places (B, T, 2), the row and
    the column of each in the encoder's map.
    """

    cells: Tensor
    mask: Tensor
    places: Tensor

    def to(self, device: torch.device) -> "Seen":
        """The same on another device."""
        return Seen(self.cells.to(device), self.mask.to(device), self.places.to(device))

    def apart(self) -> list["Seen"]:
        """Each picture by itself, with no more cells than it has, in half precision: to be kept."""
        parts = []
        for row, count in enumerate(self.mask.sum(1).tolist()):
            cells, places = self.cells[row : row + 1, :count], self.places[row : row + 1, :count]
            parts.append(Seen(cells.half(), self.mask[row : row + 1, :count], places.to(torch.int16, copy=True)))
        return parts

    @classmethod
    def joined(cls, parts: Sequence["Seen"]) -> "Seen":
        """What `apart` took apart, in any order."""
        cells = -(-max(part.mask.shape[1] for part in parts) // CELLS) * CELLS

        def padded(x: Tensor) -> Tensor:
            return functional.pad(x, (0, 0) * (x.dim() - 2) + (0, cells - x.shape[1]))

        return cls(
            torch.cat([padded(part.cells.float()) for part in parts]),  # autocast to bf16 joins no halves
            torch.cat([padded(part.mask) for part in parts]),
            torch.cat([padded(part.places) for part in parts]).long(),
        )


@dataclass
class SmallPrint:
    """Pictures of a batch that a magnifier drew, for it to draw them again with what it has learnt since.

    ink (N, 1, h, w), what it is given, ink 1 on 0, each with PAPER_PX of paper around; rows (N,), their places in the batch;
    `scaled`, what was made of each of its drawings without that paper.
    """

    ink: Tensor
    rows: Tensor
    scaled: tuple[Scaled, ...]

    def to(self, device: torch.device) -> "SmallPrint":
        """The same on another device."""
        return SmallPrint(self.ink.to(device), self.rows.to(device), self.scaled)

    @classmethod
    def of(cls, found: Sequence[tuple[int, Grey, Scaled]]) -> "SmallPrint":
        """From rows, what is small there, and how its drawing was scaled."""
        height, width = (max(grey.shape[axis] for _, grey, _ in found) + 2 * PAPER_PX for axis in (0, 1))
        ink = torch.zeros(len(found), 1, height, width)
        for index, (_, grey, _) in enumerate(found):
            rows, columns = (slice(PAPER_PX, PAPER_PX + side) for side in grey.shape)
            ink[index, 0, rows, columns] = (255 - torch.from_numpy(np.ascontiguousarray(grey))).float() / 255
        return cls(ink, torch.tensor([row for row, _, _ in found]), tuple(scaled for _, _, scaled in found))


@dataclass
class Batch:
    """Pictures with their captions.

    images (B, 1, H, W) ink 1 on 0; sizes (B, 2) true pixels; tokens (B, L) ids without start and end, padded with
    PAD_ID; lengths (B,). `owners` (B, H/8, W/8), where the symbols' strokes or boxes are known: the position in the
    caption, from 1, of the symbol that covers the cell; 0 paper, -1 unknown. `located` (B,) says for which items.
    `looked_for` (B, L): of each token of the caption, the position, from 1, of the one whose cells tell of it, mostly itself; 0: none.
    `looks` (B, L + 1, T): where a model much like this one looked at each step, as `hmer.models.base.Loss` tells, and
    `seen`, what its encoder makes of the images: they save time and change nothing else.
    `anchor` (B or 2 B, L + 1, V): log-probabilities of the next tokens, reading from left to right, and perhaps from right to
    left. Where it is given, the model is to stay near it instead of learning the captions.
    `small_print`: what a magnifier had to draw, where it did.
    """

    images: Tensor
    sizes: Tensor
    tokens: Tensor
    lengths: Tensor
    owners: Tensor | None = None
    located: Tensor | None = None
    looked_for: Tensor | None = None
    looks: Tensor | None = None
    seen: Seen | None = None
    anchor: Tensor | None = None
    small_print: SmallPrint | None = None

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
