"""Training the magnifier of a checkpoint (`hmer.models.magnifier`) on pictures of print: no captions are needed.

A picture is made smaller in two ways, to letters of a few pixels and to twice that; from the one the other is to be drawn. At
first what counts is the pixels; then also what the checkpoint's encoder makes of them, so that what tells letters apart
counts more than what does not.
Source: losses on the features of another network (Johnson et al. 2016, perceptual losses).
"""

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hmer.augment import SCREEN_PX, Random, as_jpeg, inked_again
from hmer.batch import STRIDE_PX
from hmer.checkpoint import Checkpoint, with_part
from hmer.config import check
from hmer.errors import DatasetError
from hmer.image import Grey, full_ink, ink_mask, writing_size
from hmer.models.encoders import ConvEncoder
from hmer.models.magnifier import FACTOR, Magnifier
from hmer.optimizers import Muon
from hmer.precision import fastest

SMALLEST_PX, LARGEST_PX = 2.4, 6.5  # of a symbol in what is to be magnified,
HARDEST_PX = 3.6  # in half of it no larger than this
LEAST_PX = 5.2  # of a symbol in a picture to learn from
CROP_PX = (20, 64)  # height and width of what is magnified in training
SEEN_PX = (112, 352)  # of it, as large as it is read
INKED = 0.03  # the least share of a crop that is ink, if one of TRIES has so much
TRIES = 4
WARMUP_STEPS, CLIP_NORM = 100, 0.5
REPORT_STEPS = 100


@dataclass(frozen=True)
class MagnifierTraining:
    """minutes: of wall clock, in the last `decay_share` of which the rate falls linearly.

    features: how much what the encoder sees counts, as a share of the squares of its features, beside the difference of a
    pixel; in the first `pixels_share` of the time, which goes more than twice as fast, nothing. averaged: the share of examples made
    smaller by averaging alone; others by other methods too, and worn.
    """

    minutes: float = 80.0
    batch_size: int = 8
    learning_rate: float = 1.2e-3
    decay_share: float = 0.6
    pixels_share: float = 0.5
    features: float = 0.06
    averaged: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        check(self.minutes > 0, "MagnifierTraining.minutes: must be above 0.")
        check(self.batch_size > 0, "MagnifierTraining.batch_size: must be above 0.")
        check(0 < self.learning_rate < 1, "MagnifierTraining.learning_rate: between 0 and 1.")
        check(self.features >= 0, "MagnifierTraining.features: from 0.")
        for name in ("decay_share", "pixels_share", "averaged"):
            check(0 <= getattr(self, name) <= 1, f"MagnifierTraining.{name}: from 0 to 1.")


@dataclass(frozen=True)
class Print:
    """A picture to learn from, (H, W) uint8, and the size of its usual symbol in pixels."""

    grey: Grey
    size_px: float

    @classmethod
    def of(cls, grey: Grey) -> "Print | None":
        """None where letters are too small to tell what they would look like larger."""
        size_px = writing_size(ink_mask(grey))
        return cls(grey, size_px) if size_px >= LEAST_PX else None


@dataclass(frozen=True)
class Example:
    """A part of a picture as it is to be read, and FACTOR times as large, as it is to be drawn; symbols in the small one."""

    small: Grey
    large: Grey
    size_px: float


def example(picture: Print, random: Random, averaged: float = 0.8, crop: tuple[int, int] = CROP_PX) -> Example:
    """A part of the picture, `crop` (height, width) when small. `averaged` as in `MagnifierTraining`."""
    height, width = crop
    plain = random.random() < averaged
    part, factor = picture.grey, 1 / FACTOR
    for _ in range(TRIES):
        if not plain or picture.size_px >= SCREEN_PX or random.random() < 0.4:
            size_px = math.exp(random.uniform(math.log(SMALLEST_PX), math.log(min(LARGEST_PX, picture.size_px))))
            if random.random() < 0.5:
                size_px = min(size_px, random.uniform(SMALLEST_PX, HARDEST_PX))
            factor = size_px / picture.size_px
        part = _cut(picture.grey, round(height / factor), round(width / factor), random)
        if np.count_nonzero(part < 128) >= INKED * part.size:
            break
    factor = height / part.shape[0]
    smaller, larger = [cv2.INTER_AREA], [cv2.INTER_AREA]
    if not plain and factor >= 0.4:  # without averaging, thin strokes vanish when much is left out
        smaller = [cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC]
    if FACTOR * factor > 1:
        larger = [cv2.INTER_LINEAR, cv2.INTER_CUBIC]
    small, large = (
        np.asarray(cv2.resize(part, size, interpolation=methods[int(random.integers(len(methods)))]), np.uint8)
        for size, methods in (((width, height), smaller), ((FACTOR * width, FACTOR * height), larger))
    )
    return Example(small if plain else _worn(small, random), large, factor * picture.size_px)


def _cut(grey: Grey, height: int, width: int, random: Random) -> Grey:
    """A window of the picture, or with paper around it, anywhere."""
    window = np.full((height, width), 255, np.uint8)
    spare = grey.shape[0] - height, grey.shape[1] - width
    top, left = (int(random.integers(min(0, room) - 2, max(0, room) + 3)) for room in spare)
    part = grey[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    down, right = max(-top, 0), max(-left, 0)
    window[down : down + part.shape[0], right : right + part.shape[1]] = part
    return window


def _worn(grey: Grey, random: Random) -> Grey:
    if random.random() < 0.15:
        grey = inked_again(grey, float(np.exp(random.normal(0, 0.3))))
    if random.random() < 0.1:
        grey = np.asarray(cv2.GaussianBlur(grey, (0, 0), float(random.uniform(0.2, 0.5))), np.uint8)
    if random.random() < 0.1:
        grey = as_jpeg(grey, int(random.integers(30, 96)))
    if random.random() < 0.05:
        noise = random.normal(0, random.uniform(1, 6), grey.shape)
        grey = np.clip(grey + noise, 0, 255).astype(np.uint8)
    return grey


def train_magnifier(
    model: Magnifier,
    pictures: Sequence[Print],
    settings: MagnifierTraining | None = None,
    progress: Callable[[float, float], None] | None = None,
    *,
    reader: Checkpoint | None = None,
) -> None:
    """Teach the magnifier such pictures, in place: what was learnt when Ctrl+C stops it is kept. Raises DatasetError where there are none.

    `reader`: the checkpoint that is to read what it draws; without one, or with one whose encoder is another than `ConvEncoder`,
    pixels alone count. `progress` is told the share of the time that is over and the mean difference of a pixel (ink is 1).
    """
    settings = settings or MagnifierTraining()
    if not pictures:
        raise DatasetError(f"No picture to learn from: none has symbols of {LEAST_PX} px or more.")
    random = np.random.default_rng(settings.seed)
    model.train().requires_grad_(True).to(memory_format=torch.channels_last)
    kernels = [part.weight for block in model.blocks for part in block.children() if isinstance(part, nn.Conv2d)]
    own = set(map(id, kernels))
    others = [parameter for parameter in model.parameters() if id(parameter) not in own]
    encoder = None
    if reader is not None and isinstance(reader.model.encoder, ConvEncoder):
        encoder = copy.deepcopy(reader.model.encoder).eval().requires_grad_(False)
    optimizer = Muon([{"params": kernels, "orthogonal": True}, {"params": others}], lr=settings.learning_rate)
    started, step, differences = time.monotonic(), 0, 0.0
    try:
        while (share := (time.monotonic() - started) / (60 * settings.minutes)) < 1:
            rate = min(1.0, (step + 1) / WARMUP_STEPS, (1 - share) / max(settings.decay_share, 1e-6))
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * rate
            chosen = random.integers(len(pictures), size=settings.batch_size).tolist()
            examples = [example(pictures[index], random, settings.averaged) for index in chosen]
            drawn = drawings(model, examples)
            apart = difference(drawn, examples)
            loss = apart
            if encoder is not None and reader is not None and settings.features and share >= settings.pixels_share:
                writing_px = reader.config.image.writing_px
                loss = apart + settings.features * seen_apart(encoder, writing_px, drawn, examples)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
            optimizer.step()
            step, differences = step + 1, differences + float(apart.detach())
            if progress is not None and step % REPORT_STEPS == 0:
                progress(share, differences / REPORT_STEPS)
                differences = 0.0
    finally:
        model.eval().requires_grad_(False)


def drawings(model: Magnifier, examples: Sequence[Example]) -> Tensor:
    """What the magnifier makes of the small pictures: (B, 1, FACTOR H, FACTOR W), ink 1."""
    small = _ink([one.small for one in examples])
    with fastest():
        drawn: Tensor = model(small.contiguous(memory_format=torch.channels_last))
    return drawn.float()


def difference(drawn: Tensor, examples: Sequence[Example]) -> Tensor:
    """The mean absolute difference of a pixel from what was to be drawn, all ink being 1."""
    return functional.l1_loss(drawn, _ink([one.large for one in examples]))


def seen_apart(encoder: ConvEncoder, writing_px: float, drawn: Tensor, examples: Sequence[Example]) -> Tensor:
    """How far what a reader's encoder sees in the drawings is from what it is to see there.

    As a share of the squares of its features, in cells with ink; pictures are scaled and stretched as for reading.
    """

    def as_read(ink: Tensor) -> Tensor:
        sized = []
        for picture, one in zip(ink, examples, strict=True):
            scale = writing_px / (FACTOR * one.size_px)
            large = functional.interpolate(picture[None], scale_factor=scale, mode="bilinear", align_corners=False)
            large = (large * (255 / full_ink(one.large))).clamp(0, 1)[..., : SEEN_PX[0], : SEEN_PX[1]]
            sized.append(functional.pad(large, (0, SEEN_PX[1] - large.shape[-1], 0, SEEN_PX[0] - large.shape[-2])))
        return torch.cat(sized)

    wanted, here = as_read(_ink([one.large for one in examples])), as_read(drawn)
    sizes = torch.tensor([SEEN_PX] * len(examples))
    with fastest():
        with torch.no_grad():
            features = encoder(wanted, sizes)[0].float()
        seen = encoder(here, sizes)[0].float()
    inked = (functional.max_pool2d(wanted, STRIDE_PX) > 0.2).float()
    apart, all_of_it = (((part**2).mean(1, keepdim=True) * inked).sum() for part in (seen - features, features))
    share: Tensor = apart / all_of_it.clamp(min=1e-6)
    return share


def _ink(pictures: Sequence[Grey]) -> Tensor:
    return (255 - torch.from_numpy(np.stack(pictures))).float()[:, None] / 255


def magnifying(checkpoint: Checkpoint, magnifier: Magnifier) -> Checkpoint:
    """The checkpoint with that magnifier, in place of the one that it may have."""
    sizes = dataclasses.replace(checkpoint.config.model, magnifier=magnifier.config)
    return with_part(checkpoint, "magnifier", magnifier, sizes)
