"""Networks of other recognisers, sized as published, with random weights: for comparing speed, and for nothing else.

pix2tex and CoMER compute every step from the whole prefix; `cached` keeps keys and values of earlier steps, as they
could.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Decoder(nn.Module):
    """A transformer decoder that writes a token a step; `gated` doubles the first feed-forward layer (GLU)."""

    def __init__(
        self, width: int, layers: int, heads: int, feedforward: int, vocabulary: int, *, gated: bool = False
    ) -> None:
        super().__init__()
        self.heads, self.gated = heads, gated
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "qkv": nn.Linear(width, 3 * width), "out": nn.Linear(width, width),
                    "query": nn.Linear(width, width), "key_value": nn.Linear(width, 2 * width),
                    "read": nn.Linear(width, width), "up": nn.Linear(width, feedforward * (2 if gated else 1)),
                    "down": nn.Linear(feedforward, width),
                    "norm1": nn.LayerNorm(width), "norm2": nn.LayerNorm(width), "norm3": nn.LayerNorm(width),
                }
            )
            for _ in range(layers)
        )  # fmt: skip
        self.head = nn.Linear(width, vocabulary)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)

    def write(self, memory: Tensor, count: int, *, cached: bool = False) -> Tensor:
        """`count` tokens, each the likeliest: memory (N, T, D) -> ids (N, count)."""
        pictures = [tuple(map(self._split, block["key_value"](memory).chunk(2, -1))) for block in self.blocks]  # type: ignore[index]
        ids = [torch.zeros(len(memory), dtype=torch.long)]
        caches: list[Tensor | None] = [None] * len(self.blocks)
        for _ in range(count):
            x = self.embedding(ids[-1][:, None] if cached else torch.stack(ids, 1))
            for index, (block, (key, value)) in enumerate(zip(self.blocks, pictures, strict=True)):
                query, own = block["qkv"](block["norm1"](x)).split([x.shape[-1], 2 * x.shape[-1]], -1)  # type: ignore[index]
                before = caches[index]
                if cached:
                    own = own if before is None else torch.cat([before, own], 1)
                    caches[index] = own
                own_key, own_value = map(self._split, own.chunk(2, -1))
                read = functional.scaled_dot_product_attention(
                    self._split(query), own_key, own_value, is_causal=not cached
                )
                x = x + block["out"](read.transpose(1, 2).flatten(2))  # type: ignore[index]
                query = self._split(block["query"](block["norm2"](x)))  # type: ignore[index]
                read = functional.scaled_dot_product_attention(query, key, value)
                x = x + block["read"](read.transpose(1, 2).flatten(2))  # type: ignore[index]
                up = block["up"](block["norm3"](x))  # type: ignore[index]
                up = functional.glu(up) if self.gated else functional.relu(up)
                x = x + block["down"](up)  # type: ignore[index]
            ids.append(self.head(x[:, -1]).argmax(-1))
        return torch.stack(ids[1:], 1)


class _Bottleneck(nn.Module):
    """The block of a ResNet of 50 layers and more (He et al. 2016), with group normalisation."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        inner = out // 4
        self.path = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False), nn.GroupNorm(32, inner), nn.ReLU(),
            nn.Conv2d(inner, inner, 3, stride, 1, bias=False), nn.GroupNorm(32, inner), nn.ReLU(),
            nn.Conv2d(inner, out, 1, bias=False), nn.GroupNorm(32, out),
        )  # fmt: skip
        changes = stride > 1 or channels != out
        self.shortcut = nn.Conv2d(channels, out, 1, stride, bias=False) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.path(x) + self.shortcut(x))


class Pix2Tex(nn.Module):
    """Hybrid vision transformer: a ResNet of 2, 3 and 7 blocks to stride 16, 4 + 4 layers of 256, 8,000 tokens.

    Source: the configuration that the package pix2tex (Blecher 2021) ships.
    """

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = [
            nn.Conv2d(1, 64, 7, 2, 3, bias=False), nn.GroupNorm(32, 64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        ]  # fmt: skip
        channels = 64
        for blocks, out, stride in ((2, 256, 1), (3, 512, 2), (7, 1024, 2)):
            for index in range(blocks):
                stages.append(_Bottleneck(channels, out, stride if index == 0 else 1))
                channels = out
        self.backbone = nn.Sequential(*stages, nn.Conv2d(channels, 256, 1))
        layer = nn.TransformerEncoderLayer(256, 8, 1024, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.decoder = Decoder(256, 4, 8, 1024, 8_000, gated=True)

    def forward(self, images: Tensor, count: int, *, cached: bool = False) -> Tensor:
        """images (N, 1, H, W), sides multiples of 32 -> ids (N, count)."""
        memory = self.encoder(self.backbone(images).flatten(2).transpose(1, 2))
        return self.decoder.write(memory, count, cached=cached)


class _Dense(nn.Module):
    """A bottleneck layer of a DenseNet (Huang et al. 2017)."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(channels, 4 * growth, 1, bias=False), nn.BatchNorm2d(4 * growth), nn.ReLU(),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False), nn.BatchNorm2d(growth), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.path(x)], 1)


class Comer(nn.Module):
    """DenseNet of three blocks of 16 layers, growth 24, to stride 16; decoder of 3 layers of 256 (Zhao and Gao 2022).

    Without its attention refinement, which would slow it further.
    """

    def __init__(self) -> None:
        super().__init__()
        growth, channels = 24, 48
        layers: list[nn.Module] = [
            nn.Conv2d(1, channels, 7, 2, 3, bias=False), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2)
        ]  # fmt: skip
        for block in range(3):
            for _ in range(16):
                layers.append(_Dense(channels, growth))
                channels += growth
            if block < 2:
                layers += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.BatchNorm2d(channels // 2), nn.ReLU()]
                layers += [nn.AvgPool2d(2)]
                channels //= 2
        self.encoder = nn.Sequential(*layers, nn.Conv2d(channels, 256, 1))
        self.decoder = Decoder(256, 3, 8, 1024, 114)

    def forward(self, images: Tensor, count: int, *, cached: bool = False) -> Tensor:
        """images (N, 1, H, W), sides multiples of 16 -> ids (N, count)."""
        return self.decoder.write(self.encoder(images).flatten(2).transpose(1, 2), count, cached=cached)


NETWORKS: dict[str, type[nn.Module]] = {"pix2tex's network": Pix2Tex, "CoMER-sized": Comer}
