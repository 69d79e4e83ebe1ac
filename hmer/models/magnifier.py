"""Small print at twice its size, drawn as it would be there: a network that has learnt what letters look like.

In a screenshot at half its size letters are three pixels high. What they are is still in their shades of grey, but a reader that
learns from captions alone finds it out very slowly: a caption says nothing of where it went wrong, a sharp picture says it
for every pixel. So a second network draws the picture larger, and the reader reads that. It learns from pixels
first (`hmer.magnify`); then both learn together, from captions: what tells letters apart counts, the rest does not.
Sources: residual networks for super-resolution without normalisation (Lim et al. 2017), pixels from channels (Shi et al. 2016).
"""

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hmer.batch import PAPER_PX, SmallPrint
from hmer.config import MagnifierConfig
from hmer.image import Grey
from hmer.precision import fastest

FACTOR = 2


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut; it starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.conv2(functional.relu(self.conv1(x)))
        return x + added


class Magnifier(nn.Module):
    """Residual blocks at the size of the small picture, which add to its bilinear enlargement what that lacks."""

    def __init__(self, config: MagnifierConfig) -> None:
        super().__init__()
        self.config = config
        self.first = nn.Conv2d(1, config.channels, 3, padding=1)
        self.blocks = nn.ModuleList(_Block(config.channels) for _ in range(config.blocks))
        self.last = nn.Conv2d(config.channels, FACTOR**2, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, ink: Tensor) -> Tensor:
        """ink (B, 1, H, W), 1 on paper 0 -> (B, 1, 2 H, 2 W), about as much."""
        x = self.first(ink)
        for block in self.blocks:
            x = block(x)
        added = functional.pixel_shuffle(self.last(x), FACTOR)
        return added + functional.interpolate(ink, scale_factor=FACTOR, mode="bilinear", align_corners=False)

    def redrawn(self, images: Tensor, found: SmallPrint) -> Tensor:
        """Those images (B, 1, H, W) drawn as this does it now, the others as they are; gradients lead back to here."""
        drawn = self(found.ink.contiguous(memory_format=torch.channels_last)).float()
        images, origin = images.clone(), FACTOR * PAPER_PX
        for row, picture, scaled in zip(found.rows.tolist(), drawn, found.scaled, strict=True):
            left, top, right, bottom = (origin + side for side in scaled.cut)
            part = picture[None, :, top:bottom, left:right]
            part = functional.interpolate(part, size=scaled.size, mode="bilinear", align_corners=False) * scaled.gain
            (height, width), m = scaled.size, scaled.margin
            images[row, :, m : m + height, m : m + width] = part[0].clamp(0, 1)
        return images

    def takes(self, size_px: float) -> bool:
        """Whether print whose usual symbol has that size is read magnified."""
        return size_px < self.config.below_px

    @torch.inference_mode()
    def magnified(self, grey: Grey) -> Grey:
        """(H, W) uint8, ink 0 on paper 255 -> (2 H, 2 W) uint8."""
        m = PAPER_PX
        framed = cv2.copyMakeBorder(grey, m, m, m, m, cv2.BORDER_CONSTANT, value=255.0)
        ink = (255 - torch.from_numpy(np.asarray(framed))).float()[None, None] / 255
        device = self.first.weight.device
        with fastest():
            large = self(ink.to(device).contiguous(memory_format=torch.channels_last))
        levels = (255 - 255 * large.float()).round_().clamp_(0, 255).to(torch.uint8)
        m *= FACTOR
        return np.ascontiguousarray(levels[0, 0, m:-m, m:-m].cpu().numpy())
