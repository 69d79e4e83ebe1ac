"""Pictures with their captions, as tensors: what datasets make and models learn from."""

from dataclasses import dataclass

import torch
from torch import Tensor

STRIDE_PX = 8  # one cell of an encoder's map, and of a batch's owners, is so many pixels wide and high


@dataclass
class Batch:
    """Pictures with their captions.

    images (B, 1, H, W) ink 1 on 0; sizes (B, 2) true pixels; tokens (B, L) ids without start and end, padded with
    PAD_ID; lengths (B,). `owners` (B, H/8, W/8), where the strokes of the symbols are known: the position in the
    caption, from 1, of the symbol that covers the cell; 0 paper, -1 unknown. `located` (B,) says for which items.
    """

    images: Tensor
    sizes: Tensor
    tokens: Tensor
    lengths: Tensor
    owners: Tensor | None = None
    located: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        moved = {key: value.to(device) if value is not None else None for key, value in vars(self).items()}
        return Batch(**moved)  # type: ignore[arg-type]
