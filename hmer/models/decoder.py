"""The layers of the transformer's decoder, over whole captions; a token at a time see `hmer.models.stepping`."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from hmer.config import ModelConfig


class Coverage(nn.Module):
    """From where the heads below have looked so far to what is subtracted from this layer's scores.

    A weight for the same head below and one for the mean of all heads: element-wise, since anything with more
    weights costs a CPU as much as the rest of the decoder.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.zeros(heads, 1, 1))
        self.shared = nn.Parameter(torch.zeros(heads, 1, 1))

    def forward(self, past: Tensor) -> Tensor:
        """past (N, heads, L, T), attention summed over earlier steps -> (N, heads, L, T)."""
        return torch.addcmul(past * self.own, past.mean(1, keepdim=True), self.shared)

    def matrix(self) -> Tensor:
        """The same as a product: (heads, heads), to be multiplied by (N, heads, T)."""
        return torch.diag(self.own.flatten()) + (self.shared / len(self.own)).flatten(1)


class DecoderLayer(nn.Module):
    """Self-attention, attention to the picture, feed-forward; normalisation before each."""

    def __init__(self, config: ModelConfig, *, coverage: bool) -> None:
        super().__init__()
        width = config.decoder_width
        self.heads = config.decoder_heads
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.read = nn.Linear(width, width)
        self.up = nn.Linear(width, config.decoder_feedforward)
        self.down = nn.Linear(config.decoder_feedforward, width)
        self.coverage = Coverage(self.heads) if coverage else None
        self.dropout = config.dropout

    def split(self, x: Tensor) -> Tensor:
        """(N, L, D) -> (N, heads, L, D / heads)."""
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)

    @staticmethod
    def join(x: Tensor) -> Tensor:
        """(N, heads, L, D / heads) -> (N, L, D)."""
        return x.transpose(1, 2).flatten(2)

    def picture(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the picture: (B, heads, T, D / heads) each."""
        key, value = self.key_value(memory).chunk(2, -1)
        return self.split(key), self.split(value)

    def drop(self, x: Tensor) -> Tensor:
        """Dropout with one random number a row and feature, shared by all steps: cheap on a CPU."""
        if not self.training or self.dropout == 0:
            return x
        keep = 1 - self.dropout
        mask = torch.empty(len(x), 1, x.shape[-1], device=x.device, dtype=x.dtype).bernoulli_(keep) / keep
        return x * mask

    def ask(self, x: Tensor) -> Tensor:
        """Queries to the picture: (N, L, D) -> (N, heads, L, D / heads)."""
        return self.split(self.query(self.norm2(x)) / math.sqrt(x.shape[-1] // self.heads))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """What queries (N, heads, L, D / heads) find in the picture: (N, L, D), and the weights (N, heads, L, T)."""
        scores = (query @ key.transpose(-1, -2)).float()
        if self.coverage is not None and past is not None:
            scores = scores - self.coverage(past).float()
        weights = scores.softmax(-1)
        return self.join(weights.to(value.dtype) @ value), weights

    def look_apart(
        self, x: Tensor, key: Tensor, value: Tensor, extents: Sequence[tuple[int, int]], past: Sequence[Tensor | None]
    ) -> tuple[Tensor, list[Tensor]]:
        """Attention to the picture of whole captions: row by row within its true extent (steps, cells), with weights
        (1, heads, steps, cells).

        The weights of one row fit into the cache of a CPU, those of a batch do not: twice as fast, or more where the
        rows of a batch differ in length.
        """
        reads, weights = [], []
        count = len(extents)
        rows = zip(self.ask(x).chunk(count), key.chunk(count), value.chunk(count), extents, past, strict=True)
        for query_of, key_of, value_of, (steps, cells), past_of in rows:
            read, looked = self.attend(query_of[:, :, :steps], key_of[:, :, :cells], value_of[:, :, :cells], past_of)
            reads.append(functional.pad(read, (0, 0, 0, x.shape[1] - steps)))
            weights.append(looked)
        return x + self.drop(self.read(torch.cat(reads))), weights

    def think(self, x: Tensor) -> Tensor:
        """The feed-forward part: (N, L, D)."""
        return x + self.drop(self.down(functional.gelu(self.up(self.norm3(x)))))

    def forward(
        self,
        x: Tensor,
        picture: tuple[Tensor, Tensor],
        extents: Sequence[tuple[int, int]],
        past: Sequence[Tensor | None],
    ) -> tuple[Tensor, list[Tensor]]:
        """All steps at once: x (N, L, D) -> x, and for each row its weights, see `look_apart`."""
        query, key, value = map(self.split, self.qkv(self.norm1(x)).chunk(3, -1))
        # Written out: on a CPU, captions are too short for the fused kernel to pay.
        scores = (query @ key.transpose(-1, -2)).float() / math.sqrt(query.shape[-1])
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
        attended = scores.masked_fill(later, -1e9).softmax(-1).to(value.dtype) @ value
        x = x + self.drop(self.out(self.join(attended)))
        x, weights = self.look_apart(x, *picture, extents, past)
        return self.think(x), weights
