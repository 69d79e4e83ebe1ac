"""Convolutional encoders: a picture to a two-dimensional map of features.

Pictures come padded with paper (0) to the size of the batch. Everything outside the true size of a picture is
set to 0 again after each convolution, so that padding cannot change an answer.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from hmer.batch import CELLS, STRIDE_PX
from hmer.config import RESNETS, InputConfig, ModelConfig
from hmer.errors import CheckpointError
from hmer.models.winograd import Conv3x3


class InputTransform(nn.Module):
    """The further transform of the canonical picture that a configuration may name; see `hmer.config.InputConfig`."""

    def __init__(self, config: InputConfig) -> None:
        super().__init__()
        self.config = config

    def resize(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 1, H, W), sizes (B, 2) -> the same at the fixed size, if there is one; ink stays 1 on 0."""
        config = self.config
        if not config.fixed:
            return images, sizes
        target = (config.height_px, config.width_px)
        resized, placed = images.new_zeros(len(images), 1, *target), torch.empty_like(sizes)
        for index, (height, width) in enumerate(sizes.tolist()):
            tall, wide = target
            if config.keep_aspect:
                factor = min(tall / height, wide / width)
                tall, wide = max(1, round(height * factor)), max(1, round(width * factor))
            picture = images[index : index + 1, :, :height, :width]
            resized[index, :, :tall, :wide] = functional.interpolate(
                picture, (tall, wide), mode="bilinear", antialias=True
            )[0]
            placed[index] = torch.tensor((tall, wide))
        return resized, placed

    def normalise(self, images: Tensor, sizes: Tensor) -> Tensor:
        """(B, 1, H, W) -> (B, channels, H, W), (value - mean) / std, and 0 outside of the pictures."""
        config = self.config
        if (config.mean, config.std) != (0.0, 1.0):
            images = (images - config.mean) / config.std * _mask(images, sizes)
        return images.expand(-1, config.channels, -1, -1)


def inside(sizes: Tensor, height: int, width: int, stride: int) -> Tensor:
    """1 where a cell lies inside the true size of its picture: (B, 1, height, width) float; sizes (B, 2) px."""
    rows = torch.arange(height, device=sizes.device)[None, :] * stride < sizes[:, :1]
    columns = torch.arange(width, device=sizes.device)[None, :] * stride < sizes[:, 1:]
    return (rows[:, None, :, None] & columns[:, None, None, :]).float()


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation and a shortcut (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = Conv3x3(channels, channels)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = Conv3x3(channels, channels)
        self.norm2 = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm2.weight)  # each block starts as the identity

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        # In place: what takes an encoder's time is memory, and no gradient needs what is overwritten.
        y = functional.relu_(_within(_normed(x, self.conv1, self.norm1), mask))
        return functional.relu_(_within(_normed(y, self.conv2, self.norm2).add_(x), mask))


def _normed(x: Tensor, convolution: Conv3x3, norm: nn.BatchNorm2d) -> Tensor:
    if norm.training or torch.is_grad_enabled():
        result: Tensor = norm(convolution(x))
        return result
    return convolution.read(x, norm)


def _entered(x: Tensor, stage: nn.Sequential) -> Tensor:
    """Through the beginning of a stage: fewer cells of more features, convolved and normalised."""
    unshuffle, convolution, norm = stage
    assert isinstance(convolution, Conv3x3)
    assert isinstance(norm, nn.BatchNorm2d)
    return _normed(unshuffle(x), convolution, norm)


def _within(x: Tensor, mask: Tensor | None) -> Tensor:
    """x with 0 outside of the pictures, in place; without a mask they fill it."""
    return x if mask is None else x.mul_(mask)


class ConvEncoder(nn.Module):
    """PixelUnshuffle(4), residual blocks at stride 4, most of the depth at stride 8.

    Few channels at high resolution are what a CPU is slow at, hence no convolution above stride 4.
    """

    def __init__(
        self, channels: tuple[int, ...], blocks: tuple[int, ...], dropout: float, image_channels: int = 1
    ) -> None:
        super().__init__()
        fine, coarse = channels
        self.stem = nn.Sequential(nn.PixelUnshuffle(4), Conv3x3(16 * image_channels, fine), nn.BatchNorm2d(fine))
        self.fine = nn.ModuleList(ResidualBlock(fine) for _ in range(blocks[0]))
        self.down = nn.Sequential(nn.PixelUnshuffle(2), Conv3x3(4 * fine, coarse), nn.BatchNorm2d(coarse))
        self.coarse = nn.ModuleList(ResidualBlock(coarse) for _ in range(blocks[1]))
        self.dropout = nn.Dropout2d(dropout)  # one random number a channel: nearly free
        self.channels = coarse

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 1, H, W), H and W multiples of 8 -> features (B, C, H/8, W/8), mask (B, 1, H/8, W/8)."""
        height, width = images.shape[-2:]
        mask = inside(sizes, height // 8, width // 8, 8)
        fine_mask = coarse_mask = None
        images = images.contiguous(memory_format=torch.channels_last)
        x = _entered(images, self.stem)
        if bool((sizes != sizes.new_tensor([height, width])).any()):
            fine_mask, coarse_mask = inside(sizes, height // 4, width // 4, 4).to(x.dtype), mask.to(x.dtype)
        x = functional.relu_(_within(x, fine_mask))
        for block in self.fine:
            x = block(x, fine_mask)
        x = functional.relu_(_within(_entered(x, self.down), coarse_mask))
        for block in self.coarse:
            x = block(x, coarse_mask)
        return self.dropout(x), mask


class BlockEncoder(nn.Module):
    """Blocks of a 3x3 convolution, ReLU and max-pooling by 2, one for each number of channels."""

    def __init__(self, channels: tuple[int, ...], dropout: float, image_channels: int = 1) -> None:
        super().__init__()
        ends = zip((image_channels, *channels), channels, strict=False)
        self.stages = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in ends)
        self.dropout = nn.Dropout2d(dropout)
        self.channels = channels[-1]

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, C, H, W) -> features (B, F, ceil(H / stride), ceil(W / stride)), mask (B, 1, ...) of the same size."""
        x = images
        for convolution in self.stages:
            x = functional.relu(convolution(x)) * _mask(x, sizes)
            x, sizes = functional.max_pool2d(x, 2, ceil_mode=True), _halved(sizes)
        return self.dropout(x), _mask(x, sizes)


def _mask(x: Tensor, sizes: Tensor) -> Tensor:
    """1 where a cell of x (B, C, H, W) lies within sizes (B, 2), given in cells: (B, 1, H, W)."""
    return inside(sizes, x.shape[-2], x.shape[-1], 1).to(x.dtype)


def _halved(sizes: Tensor) -> Tensor:
    return (sizes + 1) // 2


class ResNetEncoder(nn.Module):
    """A residual network of torchvision without its head (He et al. 2016), up to a stage; stride 4 to 32."""

    def __init__(self, name: str, stages: int, dropout: float) -> None:
        super().__init__()
        import torchvision  # here: it costs a second, and only these encoders need it

        whole = torchvision.models.get_model(name, weights=None)
        self.conv1, self.bn1 = whole.conv1, whole.bn1
        self.names = ("layer1", "layer2", "layer3", "layer4")[: stages or 4]
        for layer in self.names:
            setattr(self, layer, getattr(whole, layer))
        last = getattr(self, self.names[-1])[-1]
        self.channels: int = (last.bn3 if hasattr(last, "bn3") else last.bn2).num_features
        self.dropout = nn.Dropout2d(dropout)

    @property
    def stages(self) -> list[nn.Module]:
        """The stem with the first stage, then the further ones: what can be frozen one after the other."""
        first = nn.ModuleList([self.conv1, self.bn1, getattr(self, self.names[0])])
        return [first, *(getattr(self, name) for name in self.names[1:])]

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) -> features (B, F, ceil(H / stride), ceil(W / stride)), mask (B, 1, ...) of the same size."""
        x, sizes = self.conv1(images), _halved(sizes)
        x = functional.relu(self.bn1(x)) * _mask(x, sizes)
        x, sizes = functional.max_pool2d(x, 3, 2, 1), _halved(sizes)
        x = x * _mask(x, sizes)  # its windows overlap: the first cell outside saw the last one inside
        for name in self.names:
            for block in getattr(self, name):
                x, sizes = _residual(block, x, sizes)
        return self.dropout(x), _mask(x, sizes)


def _residual(block: Any, x: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """A BasicBlock or Bottleneck of torchvision, with what lies outside of the pictures kept 0."""
    shortcut = x if block.downsample is None else block.downsample(x)
    count = 3 if hasattr(block, "conv3") else 2
    for number in range(1, count + 1):
        convolution = getattr(block, f"conv{number}")
        x = getattr(block, f"bn{number}")(convolution(x))
        sizes = _halved(sizes) if convolution.stride[0] == 2 else sizes
        if number < count:
            x = functional.relu(x) * _mask(x, sizes)
    x = functional.relu(x + shortcut)
    return x * _mask(x, sizes), sizes


class VggEncoder(nn.Module):
    """The convolutions of VGG16 (Simonyan and Zisserman 2015) in torchvision, up to a stage; stride 2 a stage."""

    def __init__(self, stages: int, dropout: float) -> None:
        super().__init__()
        from torchvision.models import vgg

        layers = list(vgg.make_layers(vgg.cfgs["D"], batch_norm=False))  # vgg16() has 120 million weights in its head
        ends = [index + 1 for index, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        count = stages or len(ends)
        self.features = nn.Sequential(*layers[: ends[count - 1]])  # named as in torchvision, for its weights
        for layer in self.features:
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:  # as torchvision begins it
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        self.stages = [self.features[start:end] for start, end in zip([0, *ends], ends[:count], strict=False)]
        self.channels: int = next(
            layer for layer in reversed(self.features) if isinstance(layer, nn.Conv2d)
        ).out_channels
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) -> features (B, F, ceil(H / stride), ceil(W / stride)), mask (B, 1, ...) of the same size."""
        x = images
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                x, sizes = functional.max_pool2d(x, 2, ceil_mode=True), _halved(sizes)
            else:
                x = layer(x)
            if not isinstance(layer, nn.Conv2d):
                x = x * _mask(x, sizes)
        return self.dropout(x), _mask(x, sizes)


Encoder = ConvEncoder | BlockEncoder | ResNetEncoder | VggEncoder


def build_encoder(config: ModelConfig) -> Encoder:
    """The encoder that `config.encoder` names, freshly initialised."""
    channels, dropout = config.input.channels, config.dropout
    if config.encoder == "blocks":
        return BlockEncoder(config.encoder_channels, dropout, channels)
    if config.encoder in RESNETS:
        return ResNetEncoder(config.encoder, config.backbone_stages, dropout)
    if config.encoder == "vgg16":
        return VggEncoder(config.backbone_stages, dropout)
    return ConvEncoder(config.encoder_channels, config.encoder_blocks, dropout, channels)


def load_backbone(encoder: nn.Module, name: str, weights: str) -> None:
    """Fill a torchvision backbone from a file (.pth, .safetensors), or from torchvision's server with "pretrained".

    The head and the stages that the encoder leaves out are passed over. Raises CheckpointError.
    """
    advice = f"give the path of a file with torchvision's weights of {name} (backbone_weights: FILE), or leave it empty"
    try:
        if weights == "pretrained":
            import torchvision

            state = torchvision.models.get_model_weights(name).DEFAULT.get_state_dict(
                check_hash=True, weights_only=True, map_location="cpu"
            )
        elif Path(weights).suffix == ".safetensors":
            state = load_file(weights)
        else:
            state = torch.load(weights, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"Weights of {name} ({weights}) cannot be had: {reason}; {advice}.") from error
    wanted = encoder.state_dict()
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{weights}: holds no tensors by name; {advice}.")
    unfit = [key for key, value in wanted.items() if key not in state or state[key].shape != value.shape]
    if unfit:
        raise CheckpointError(f"{weights}: does not fit {name} ({unfit[0]} is missing or has another shape); {advice}.")
    encoder.load_state_dict({key: state[key] for key in wanted})


def freeze(encoder: nn.Module, stages: int) -> list[nn.Module]:
    """Keep the first stages (-1: all) as they are; what was frozen, for its normalisation to be kept in `eval`."""
    parts: list[nn.Module] = list(getattr(encoder, "stages", [encoder]))
    frozen = parts if stages < 0 else parts[:stages]
    for part in frozen:
        part.requires_grad_(False)
    return frozen


def height_shares(rows: Tensor, height: int, slices: int) -> Tensor:
    """How much of each row of a map belongs to each slice of its true height: (B, slices, height), rows (B,).

    The mean over the rows of a slice, by share where a row lies across its border; one slice is the mean of all.
    """
    edges = torch.arange(slices + 1, device=rows.device)[None] * rows[:, None] / slices  # (B, slices + 1)
    row = torch.arange(height, device=rows.device)
    upper = torch.maximum(edges[:, :-1, None], row[None, None])
    lower = torch.minimum(edges[:, 1:, None], row[None, None] + 1.0)
    overlap = (lower - upper).clamp(min=0)
    return overlap / overlap.sum(-1, keepdim=True)


def inked_cells(images: Tensor, mask: Tensor, stride: int = STRIDE_PX) -> tuple[Tensor, Tensor]:
    """The cells that hold ink: indices into the map (B, T), and (B, T) True where there is one.

    Two thirds of a formula is paper; a decoder that looks only at ink is three times as fast, and its answer
    cannot depend on the size of the paper. T is rounded up, so that few shapes occur.
    """
    inked = functional.max_pool2d(images, stride, ceil_mode=True).flatten(1) * mask.flatten(1) > 0.2
    most = min(-(-int(inked.sum(1).max()) // CELLS) * CELLS, inked.shape[1])
    most = max(most, 1)
    order = inked.float().argsort(dim=1, descending=True, stable=True)[:, :most]
    return order, inked.gather(1, order)


def positions_2d(rows: Tensor, columns: Tensor, features: int) -> Tensor:
    """Sine and cosine of the row and column of cells, (...) each: (..., features), features a multiple of 4.

    Source: Vaswani et al. 2017, one half of the features for each axis.
    """
    quarter = features // 4
    rates = torch.exp(torch.arange(quarter, device=rows.device) * (-6.0 / max(quarter - 1, 1)))  # waves of 2 pi to 2500
    angles = torch.stack([rows, columns], -1)[..., None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(-2)


def positions_1d(length: int, features: int, device: torch.device) -> Tensor:
    """Sine and cosine of the place in the sequence: (length, features), features even."""
    half = features // 2
    rates = torch.exp(torch.arange(half, device=device) * (-9.0 / max(half - 1, 1)))
    angles = torch.arange(length, device=device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1)
