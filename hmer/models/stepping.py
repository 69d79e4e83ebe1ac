"""The transformer's decoder, a token at a time.

The matrices of a step take a quarter of its time on a CPU, the rest is what a hundred calls cost by themselves. Hence few of
them: flat rows (N, D), weights and tables laid out once for a picture, and no module called within a step.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from hmer.decoding import PICTURE, State
from hmer.models.base import Encoded
from hmer.models.decoder import DecoderLayer
from hmer.models.enclosure import Enclosure
from hmer.models.recall import Recall

OPEN = ("stack", "depth", "before")  # where a state keeps what is open, see `Enclosure`
Linear = tuple[Tensor, Tensor]  # bias (O,) and weight (I, O), as torch.addmm takes them
Norm = tuple[tuple[int, ...], Tensor, Tensor, float]  # what functional.layer_norm takes


class _Layer(NamedTuple):
    """A decoder layer: its weights, and keys and values of the pictures, a row for each head."""

    norm1: Norm
    qkv: Linear
    out: Linear
    norm2: Norm
    query: Linear
    key: Tensor  # (B * heads, D / heads, T)
    value: Tensor  # (B * heads, T, D / heads)
    read: Linear
    norm3: Norm
    up: Linear
    down: Linear
    mixing: Tensor | None  # (1, heads, heads), see `Coverage.matrix`

    @classmethod
    def of(cls, layer: DecoderLayer, memory: Tensor) -> "_Layer":
        """A layer that is to look at memory (B, T, D)."""
        key, value = (x.flatten(0, 1) for x in layer.picture(memory))
        mixing = None if layer.coverage is None else layer.coverage.matrix()[None]
        return cls(
            _norm(layer.norm1), _linear(layer.qkv), _linear(layer.out),
            _norm(layer.norm2), _linear(layer.query), key.transpose(1, 2), value, _linear(layer.read),
            _norm(layer.norm3), _linear(layer.up), _linear(layer.down), mixing,
        )  # fmt: skip


def _linear(layer: nn.Linear) -> Linear:
    return layer.bias, layer.weight.t()


def _norm(layer: nn.LayerNorm) -> Norm:
    return layer.normalized_shape, layer.weight, layer.bias, layer.eps


def _gelu(x: Tensor) -> Tensor:
    """As functional.gelu, which for so few numbers takes twice as long."""
    return torch.addcmul(x, x, torch.erf(x * math.sqrt(0.5))).mul_(0.5)


class Parts(Protocol):
    """What of a TransformerModel it takes to write."""

    layers: Sequence[DecoderLayer]
    guided_heads: int
    positions: Tensor
    written: Tensor
    feedback: nn.Linear
    final_norm: nn.LayerNorm
    out: nn.Linear
    enclosure: Enclosure | None
    recall: Recall | None

    def scaled_embedding(self) -> Tensor:
        """What the decoder is given of each token: (V, D)."""


class Steps:
    """A `Step` over encoded pictures, `beams` hypotheses of each; `state` is what to begin with."""

    def __init__(self, model: Parts, encoded: Encoded, beams: int, *, reverse: bool) -> None:
        count, cells, width = encoded.memory.shape
        memory = encoded.memory
        device, rows = memory.device, count * beams
        self.beams, self.cells, self.width = beams, cells, width
        self.heads, self.guided = model.layers[0].heads, model.guided_heads
        self.part = width // self.heads  # of the features, a head's
        self.layers = [_Layer.of(layer, memory) for layer in model.layers]
        self.embedding = model.scaled_embedding()
        self.positions, self.written, self.recall = model.positions, model.written, model.recall
        self.last, self.out = _norm(model.final_norm), _linear(model.out)
        self.here = torch.arange(count, device=device)  # the pictures that are left
        self.features = encoded.extra["cells"]
        self.fed = model.feedback(memory)  # of every place at once: what a step looked at is a mean of them
        self.hidden = (~encoded.mask[:, None]).float() * -1e9  # (B, 1, T), added to scores
        self._repeat_hidden()
        self.state: State = {
            PICTURE: self.here.repeat_interleave(beams),
            "feedback": model.feedback.bias.expand(rows, width),  # no place yet
        }
        for index, layer in enumerate(self.layers):
            self.state[f"self{index}"] = memory.new_zeros(rows, 0, 2, self.heads, self.part)
            if layer.mixing is not None:
                self.state[f"below{index}"] = torch.zeros(rows, self.heads, cells, device=device)
        self.enclosure = model.enclosure
        if self.enclosure is not None:
            self.backward = torch.full((rows,), int(reverse), device=device)
            self.tables = self.enclosure.tables()
            self.state |= dict(zip(OPEN, self.enclosure.start(rows, device), strict=True))

    def _repeat_hidden(self) -> None:
        """For each head of a picture and for each hypothesis."""
        self.by_heads, self.by_beams = (self.hidden.repeat_interleave(n, 0) for n in (self.heads, self.beams))

    def _keep(self, left: Tensor) -> None:
        """Drop the pictures that are done."""
        kept = torch.searchsorted(self.here, left)
        self.here, self.fed, self.features = left, self.fed[kept], self.features[kept]
        self.hidden = self.hidden[kept]
        self._repeat_hidden()
        of_heads = (kept[:, None] * self.heads + torch.arange(self.heads, device=kept.device)).flatten()
        self.layers = [layer._replace(key=layer.key[of_heads], value=layer.value[of_heads]) for layer in self.layers]

    def _by_head(self, x: Tensor) -> Tensor:
        """Hypotheses of a picture as steps of one row, each head a row: (rows, heads * N) -> (B * heads, beams, N)."""
        if self.beams == 1:
            return x.view(len(x) * self.heads, 1, -1)
        of_heads = x.view(len(x) // self.beams, self.beams, self.heads, -1).transpose(1, 2)
        return of_heads.reshape(len(x) // self.beams * self.heads, self.beams, -1)

    def _by_row(self, x: Tensor) -> Tensor:
        """And back: (B * heads, beams, N) -> (rows, heads * N)."""
        if self.beams == 1:
            return x.reshape(len(x) // self.heads, -1)
        of_rows = x.view(len(x) // self.heads, self.heads, self.beams, -1).transpose(1, 2)
        return of_rows.reshape(len(x) // self.heads * self.beams, -1)

    def __call__(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        rows = len(ids)
        if rows < len(self.here) * self.beams:
            self._keep(state[PICTURE][:: self.beams])
        feedback = state["feedback"]
        if "context" in state:  # the chosen token decides whether the place it was read from is where we are now
            feedback = torch.where(self.written[ids][:, None], state["context"], feedback)
        after: State = {PICTURE: state[PICTURE], "feedback": feedback}
        x = functional.embedding(ids, self.embedding) + feedback
        x += self.positions[state["self0"].shape[1]]
        if self.enclosure is not None:
            opened = self.enclosure.follow(ids, self.backward[:rows], (state["stack"], state["depth"], state["before"]))
            after["stack"], after["depth"], after["before"] = opened
            x += self.enclosure.tell(opened, self.tables)
        weights = x  # of the layer below; the first has none
        for index, layer in enumerate(self.layers):
            own = torch.addmm(layer.qkv[0], functional.layer_norm(x, *layer.norm1), layer.qkv[1])
            query, own = torch.split_with_sizes(own.view(rows, 1, 3, self.heads, self.part), (1, 2), 2)
            cache = after[f"self{index}"] = torch.cat((state[f"self{index}"], own), 1)
            key, value = cache.permute(2, 0, 3, 1, 4)
            attended = functional.scaled_dot_product_attention(query[:, 0].transpose(1, 2), key, value)
            x = torch.addmm(layer.out[0], attended.reshape(rows, self.width), layer.out[1]).add_(x)
            biases = self.by_heads
            if layer.mixing is not None:
                past = state[f"below{index}"]  # where the layer below has looked until now
                mixing = layer.mixing.expand(rows, -1, -1)
                biases = self._by_head(torch.baddbmm(self.by_beams, mixing, past, alpha=-1))
                after[f"below{index}"] = past + self._by_row(weights).view_as(past)
            query = torch.addmm(layer.query[0], functional.layer_norm(x, *layer.norm2), layer.query[1])
            weights = torch.baddbmm(biases, self._by_head(query), layer.key, alpha=self.part**-0.5).softmax(-1)
            read = self._by_row(torch.bmm(weights.to(layer.value.dtype), layer.value))
            x = torch.addmm(layer.read[0], read, layer.read[1]).add_(x)
            inner = torch.addmm(layer.up[0], functional.layer_norm(x, *layer.norm3), layer.up[1])
            x = torch.addmm(layer.down[0], _gelu(inner), layer.down[1]).add_(x)
        guided = weights.view(-1, self.heads, self.beams, self.cells)[:, : self.guided].mean(1)  # (B, beams, T)
        after["context"] = torch.bmm(guided.to(self.fed.dtype), self.fed).view(rows, self.width)
        after["attention"] = guided.reshape(rows, self.cells)
        scores = torch.addmm(self.out[0], functional.layer_norm(x, *self.last), self.out[1])
        log_probs = scores.float().log_softmax(-1)
        if self.recall is not None:
            log_probs = self.recall(log_probs, torch.bmm(guided.to(self.features.dtype), self.features).view(rows, -1))
        return log_probs, after
