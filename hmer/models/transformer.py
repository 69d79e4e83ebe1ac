"""Convolutional encoder and transformer decoder that keeps its place in the picture.

What keeps it from losing its place, the main error of a plain decoder on two-dimensional input:
- coverage: from the second layer on, attention is refined by where the layer below has looked before
  (attention refinement, Zhao and Gao 2022, CoMER);
- feedback: the input of a step holds the features of the place that the last written symbol was read from;
- enclosure, where it is asked for: it holds which group is open, too;
- supervision: where ink is segmented, half of the heads of the last layer learn to look at the symbol's cells.
"""

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from hmer.batch import STRIDE_PX, Batch, Seen
from hmer.config import ModelConfig
from hmer.decoding import State, Step
from hmer.models.base import (
    Encoded,
    Loss,
    Model,
    attention_loss,
    grow_embedding,
    grow_linear,
    loss_of,
    space_loss,
    symbol_loss,
    with_ends,
)
from hmer.models.decoder import DecoderLayer
from hmer.models.enclosure import Enclosure
from hmer.models.encoders import ConvEncoder, inked_cells, positions_1d, positions_2d
from hmer.models.recall import Recall
from hmer.models.stepping import Steps
from hmer.precision import fastest
from hmer.vocabulary import END_ID, PAD_ID, START_ID, Vocabulary

MAX_LENGTH = 1_024
SETTLED = 0.03  # attention weights that change by less stay: likelihoods then differ by one in 10,000


def exclusive_sum(weights: Tensor) -> Tensor:
    """Sum over earlier steps: (N, heads, L, T) -> the same shape."""
    steps = weights.shape[2]
    return weights.new_ones(steps, steps).tril(-1) @ weights  # a product is quicker than cumsum, above all backward


class TransformerModel(Model):
    """See the module's docstring. Reads in both directions when trained so; answers are read left to right."""

    written: Tensor  # (V,) bool: the tokens that have a place in the picture
    spaces: Tensor  # (S,): the ids of the tokens that are nothing but space
    positions: Tensor  # (MAX_LENGTH, D) of the steps of decoding

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        width = config.decoder_width
        self.encoder = ConvEncoder(config.encoder_channels, config.encoder_blocks, config.dropout)
        self.project = nn.Linear(self.encoder.channels, width)
        self.memory_norm = nn.LayerNorm(width)
        self.symbol_head = nn.Linear(self.encoder.channels, len(vocabulary))
        self.embedding = nn.Embedding(len(vocabulary), width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.feedback = nn.Linear(width, width)
        self.layers: Sequence[DecoderLayer] = nn.ModuleList(  # type: ignore[assignment]
            DecoderLayer(config, coverage=config.coverage and index > 0) for index in range(config.decoder_layers)
        )
        self.register_buffer("positions", positions_1d(MAX_LENGTH, width, torch.device("cpu")), persistent=False)
        self.final_norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, len(vocabulary))
        self.bidirectional = config.bidirectional
        self.decodes_cells = True
        self.guided_heads = max(1, config.decoder_heads // 2)
        self.enclosure = Enclosure(vocabulary, width) if config.enclosure else None
        if config.recall.keys:
            self.recall = Recall(config.recall, self.encoder.channels)
        self._index_vocabulary()

    def _index_vocabulary(self) -> None:
        """Which ids stand for something written, and so have a place in the picture: (V,) bool; those of spaces."""
        self.register_buffer("written", torch.tensor(self.vocabulary.written), persistent=False)
        self.register_buffer("spaces", torch.tensor(self.vocabulary.spaces, dtype=torch.long), persistent=False)

    def see(self, images: Tensor, sizes: Tensor) -> Seen:
        features, mask = self.encoder(images, sizes)
        chosen, mask = inked_cells(images, mask)
        cells = features.flatten(2).transpose(1, 2)  # (B, rows * columns, C)
        cells = cells.gather(1, chosen[..., None].expand(-1, -1, cells.shape[-1]))
        columns = features.shape[-1]
        return Seen(cells, mask, torch.stack([chosen // columns, chosen % columns], -1))

    def encode(self, images: Tensor, sizes: Tensor) -> Encoded:
        with fastest():
            seen = self.see(images, sizes)
        return self._encoded(images, dataclasses.replace(seen, cells=seen.cells.float()))

    def _encoded(self, images: Tensor, seen: Seen) -> Encoded:
        rows, columns = images.shape[-2] // STRIDE_PX, images.shape[-1] // STRIDE_PX
        row, column = seen.places.unbind(-1)
        places = positions_2d(row, column, self.config.decoder_width)
        memory = self.memory_norm(self.project(seen.cells) + places.to(seen.cells.dtype))
        return Encoded(memory, seen.mask, (rows, columns), row * columns + column, {"cells": seen.cells})

    def _embed(self, ids: Tensor, places: Tensor, fed: Tensor, enclosed: Tensor | None) -> Tensor:
        """Input of the decoder: ids (N, L), their positions (L, D), `feedback` of the last symbol's place (N, L, D).

        `enclosed` (N, L, D): what is told of the group that the next token is in.
        """
        embedded = functional.embedding(ids, self.scaled_embedding()) + places + fed
        return embedded if enclosed is None else embedded + enclosed

    def _decode(
        self, inputs: Tensor, feedback: Tensor, pictures: list[tuple[Tensor, Tensor]], hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Teacher forcing: inputs (N, L) -> what `out` is given (N, L, D), weights of the guided heads (N, L, T)."""
        places = positions_1d(inputs.shape[1], self.embedding.embedding_dim, inputs.device)
        enclosed = self.enclosure(inputs) if self.enclosure is not None else None
        x = self._embed(inputs, places, self.feedback(feedback), enclosed)
        steps, cells = (inputs != PAD_ID).sum(1).tolist(), (~hidden).sum((1, 2, 3)).tolist()
        extents = list(zip(steps, cells, strict=True))
        past: list[Tensor | None] = [None] * len(extents)
        weights: list[Tensor] = []
        for index, (layer, picture) in enumerate(zip(self.layers, pictures, strict=True)):
            if index:
                past = [exclusive_sum(row) for row in weights]
            x, weights = layer(x, picture, extents, past)
        guided = x.new_zeros(*inputs.shape, hidden.shape[-1], dtype=torch.float32)
        for row, (count, seen) in enumerate(extents):
            guided[row, :count, :seen] = weights[row][0, : self.guided_heads].mean(0)
        return self.final_norm(x), guided

    def _carry(self, contexts: Tensor, known: Tensor) -> Tensor:
        """Features of the last known place before each step: contexts (N, L, D), known (N, L) -> (N, L, D).

        Step t sees the place of the latest token before t that has one; zeros before the first.
        """
        length = contexts.shape[1]
        steps = torch.arange(1, length + 1, device=contexts.device)
        latest = torch.where(known, steps, 0).cummax(1).values  # 0: none so far
        latest = functional.pad(latest, (1, 0))[:, :-1]
        carried = contexts.gather(1, (latest - 1).clamp(min=0)[..., None].expand(-1, -1, contexts.shape[-1]))
        return carried * (latest > 0)[..., None].to(contexts.dtype)

    def loss(self, batch: Batch) -> Loss:
        encoded = self._encoded(batch.images, batch.seen or self.see(batch.images, batch.sizes))
        # Finding the places takes some passes of the decoder: without segmentation one direction is mostly enough.
        exact = self.exact_places or not self.training
        both = self.bidirectional and (batch.owners is not None or not exact or self.both_ways)
        if batch.anchor is not None:
            both = len(batch.anchor) > len(batch.tokens)
        directions = (False, True) if both else (False,)
        pairs = [with_ends(batch.tokens, batch.lengths, reverse=reverse) for reverse in directions]
        inputs, targets = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        repeats = len(directions)
        memory = encoded.memory
        written = self.written[targets]
        owned = self._owned(batch, encoded, targets.shape[1], directions)  # (N, L, T) or None

        # Without segmentation the model's own attention says where it was.
        weights = memory.new_zeros(*inputs.shape, memory.shape[1], dtype=torch.float32)
        known = torch.zeros_like(written)
        alone = torch.ones_like(batch.lengths, dtype=torch.bool) if batch.located is None else ~batch.located
        rows = alone.nonzero()[:, 0]
        states: Tensor | None = None
        for index in range(len(directions) if len(rows) else 0):
            own = rows + index * len(alone)
            start = None if batch.looks is None or index else batch.looks[rows]
            weights[own], states = self._looks(encoded.of(rows), inputs[own], start, exact=exact)
            known[own] = written[own]
        looks = weights if exact and owned is None else None
        if owned is not None:
            sure = owned.any(-1)
            share = owned.float() / owned.sum(-1, keepdim=True).clamp(min=1)
            weights = torch.where(sure[..., None], share, weights)
            known = known | sure
        # What was thought at the last look stands, since nothing moves any more: it need not be decoded again.
        if states is None or looks is None or both or torch.is_grad_enabled():
            feedback = self._carry(weights.to(memory.dtype) @ memory.repeat(repeats, 1, 1), known)
            if self.training:
                # Attention is never as sharp as the truth: learn to do without, now and then.
                kept = torch.rand(len(feedback), feedback.shape[1], 1, device=feedback.device) > 0.15
                feedback = feedback * kept.to(feedback.dtype)
            pictures = [
                (key.repeat(repeats, 1, 1, 1), value.repeat(repeats, 1, 1, 1))
                for key, value in (layer.picture(memory) for layer in self.layers)
            ]
            hidden = ~encoded.mask.repeat(repeats, 1)[:, None, None]
            states, weights = self._decode(inputs, feedback, pictures, hidden)
        logits: Tensor = self.out(states)
        features = None
        if not self.training:
            cells = encoded.extra["cells"].repeat(repeats, 1, 1)
            features = weights.to(cells.dtype) @ cells
            if self.recall is not None:
                logits = self.recall(logits, features)
            features = features[: len(batch.tokens)]

        terms = self.text_loss(logits, targets, batch.anchor)
        if owned is not None and self.attention_weight:
            terms["attention"] = attention_loss(weights, owned, self.attention_weight)
        if batch.owners is not None and self.symbol_weight:
            owners = batch.owners.flatten(1).gather(1, encoded.places)
            scores = self.symbol_head(encoded.extra["cells"])
            terms["symbol"] = symbol_loss(scores, owners, encoded.mask, batch.tokens, self.symbol_weight)
            if batch.looked_for is not None and len(self.spaces):
                terms["space"] = space_loss(
                    scores, owners, encoded.mask, batch.tokens, batch.looked_for, self.spaces, self.symbol_weight
                )
        count = len(batch.tokens)
        said = None if self.training else logits.detach().float().log_softmax(-1)
        loss = loss_of(terms, logits[:count], targets[:count])
        return dataclasses.replace(loss, looks=looks, log_probs=said, features=features)

    @torch.no_grad()
    def _looks(
        self, encoded: Encoded, inputs: Tensor, start: Tensor | None, *, exact: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Where the model looks at each step when it is made to write `inputs` (B, L): (B, L, T); its states (B, L, D).

        A step's look hangs on the place fed back from the steps before it. Without `exact` nothing is fed back: quick,
        and good enough to begin with. With it the places found are fed back and looked for again until they stay,
        which is where decoding step by step arrives, in a few passes over all steps at once (step t is settled after t
        passes at the latest), and in fewer from a good `start`. Source: Jacobi iteration, as Song et al. 2021 decode.
        """
        pictures = [layer.picture(encoded.memory) for layer in self.layers]
        hidden = ~encoded.mask[:, None, None]
        memory, moving = encoded.memory, torch.arange(len(inputs), device=inputs.device)
        known = functional.pad(self.written[inputs[:, 1:]], (0, 1))
        weights = memory.new_zeros(*inputs.shape, memory.shape[1], dtype=torch.float32)
        if start is not None:
            start = start[:, : weights.shape[1], : weights.shape[2]]
            weights[:, : start.shape[1], : start.shape[2]] = start
        training = self.layers.training  # type: ignore[attr-defined]
        self.layers.train(training and not exact)  # type: ignore[attr-defined]  # with dropout they would never stay
        states: Tensor | None = None
        for _ in range(inputs.shape[1] if exact else 1):
            before = weights[moving]
            feedback = self._carry(before.to(memory.dtype) @ memory, known[moving])
            now, after = self._decode(inputs[moving], feedback, pictures, hidden)
            weights[moving] = after
            if states is None:
                states = now
            else:
                states[moving] = now
            kept = ((after - before).abs().amax((1, 2)) > SETTLED).nonzero()[:, 0]
            if not len(kept):
                break
            moving, memory, hidden = moving[kept], memory[kept], hidden[kept]
            pictures = [(key[kept], value[kept]) for key, value in pictures]
        self.layers.train(training)  # type: ignore[attr-defined]
        return weights, states

    def _owned(self, batch: Batch, encoded: Encoded, length: int, directions: tuple[bool, ...]) -> Tensor | None:
        """1 where a cell belongs to the symbol of the step: (N, length, T) bool, or None if nothing is known."""
        if batch.owners is None:
            return None
        owners = batch.owners.flatten(1).gather(1, encoded.places)[:, None]  # (B, 1, T)
        told = batch.looked_for
        if told is None:
            told = torch.arange(1, length, device=owners.device).expand(len(owners), -1)
        told = functional.pad(told, (0, 1))  # the end is nowhere
        steps = torch.arange(length, device=owners.device)[None]
        parts = []
        for reverse in directions:
            place = batch.lengths[:, None] - 1 - steps if reverse else steps
            position = told.gather(1, place.clamp(0, length - 1).expand(len(owners), -1))[..., None]
            parts.append((owners == position) & (position > 0) & (place >= 0)[..., None])
        return torch.cat(parts)

    def start(self, encoded: Encoded, beams: int, *, reverse: bool = False) -> tuple[Step, State, Tensor]:
        steps = Steps(self, encoded, beams, reverse=reverse)
        first = END_ID if reverse else START_ID
        return steps, steps.state, torch.full((len(encoded) * beams,), first, device=encoded.memory.device)

    def scaled_embedding(self) -> Tensor:
        """What the decoder is given of each token: (V, D)."""
        weight: Tensor = self.embedding.weight
        return weight * (math.sqrt(weight.shape[1]) * 0.5)

    def bridge(self) -> list[nn.Module]:
        return [
            self.project,
            self.memory_norm,
            *(part for layer in self.layers for part in (layer.key_value, layer.read)),
        ]

    def take_on(self, config: ModelConfig) -> None:
        super().take_on(config)
        if config.enclosure and self.enclosure is None:
            self.enclosure = Enclosure(self.vocabulary, config.decoder_width)

    def grow_vocabulary(self, tokens: list[str]) -> None:
        grown = self.vocabulary.grown(tokens)
        count = len(grown) - len(self.vocabulary)
        if count:
            self.embedding = grow_embedding(self.embedding, count)
            self.out = grow_linear(self.out, count)
            self.symbol_head = grow_linear(self.symbol_head, count)
            self.vocabulary = grown
            self._index_vocabulary()
            if self.enclosure is not None:
                self.enclosure.index(grown)
