"""CNN-LSTM: a convolutional encoder that keeps a two-dimensional map, an LSTM decoder with Bahdanau attention.

Attention is additive (Bahdanau et al. 2015) with a coverage term, the attention of earlier steps (Zhang et al. 2017,
WAP): it keeps the decoder from reading a part twice.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hmer.batch import Batch
from hmer.config import ModelConfig
from hmer.decoding import State, Step
from hmer.models.base import (
    Encoded,
    Loss,
    Model,
    attention_loss,
    grow_embedding,
    grow_linear,
    symbol_loss,
    token_loss,
    with_ends,
)
from hmer.models.encoders import ConvEncoder, inked_cells, positions_2d
from hmer.vocabulary import PAD_ID, START_ID, Vocabulary


class LstmModel(Model):
    """See the module's docstring. Reads from left to right only."""

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        width, attention = config.decoder_width, config.attention_width
        self.encoder = ConvEncoder(config.encoder_channels, config.encoder_blocks, config.dropout)
        self.project = nn.Linear(self.encoder.channels, width)
        self.memory_norm = nn.LayerNorm(width)
        self.symbol_head = nn.Linear(self.encoder.channels, len(vocabulary))
        self.embedding = nn.Embedding(len(vocabulary), width)
        self.initial = nn.Linear(width, 2 * width)
        self.cell = nn.LSTMCell(2 * width, width)
        self.query = nn.Linear(width, attention)
        self.key = nn.Linear(width, attention, bias=False)
        self.covered = nn.Linear(1, attention, bias=False) if config.coverage else None
        self.energy = nn.Linear(attention, 1, bias=False)
        self.combine = nn.Linear(3 * width, width)
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(width, len(vocabulary))

    def encode(self, images: Tensor, sizes: Tensor) -> Encoded:
        features, mask = self.encoder(images, sizes)
        rows, columns = features.shape[-2:]
        chosen, mask = inked_cells(images, mask)
        cells = features.flatten(2).transpose(1, 2)
        cells = cells.gather(1, chosen[..., None].expand(-1, -1, cells.shape[-1]))
        places = positions_2d(rows, columns, self.config.decoder_width, images.device).flatten(0, 1)
        memory = self.memory_norm(self.project(cells) + places[chosen].to(cells.dtype))
        return Encoded(memory, mask, (rows, columns), chosen, {"cells": cells, "keys": self.key(memory)})

    def _initial_state(self, encoded: Encoded) -> State:
        """Hidden and cell state from the mean of the picture; no context, nothing covered yet."""
        present = encoded.mask[..., None].to(encoded.memory.dtype)
        mean = (encoded.memory * present).sum(1) / present.sum(1).clamp(min=1)
        hidden, cell = self.initial(mean).tanh().chunk(2, -1)
        covered = torch.zeros(encoded.mask.shape, device=mean.device)
        return {"hidden": hidden, "cell": cell, "context": torch.zeros_like(hidden), "covered": covered}

    def _advance(self, embedded: Tensor, state: State, encoded: Encoded, beams: int) -> tuple[Tensor, State]:
        """One step: embedded (N, D) -> features before the output layer (N, D), next state."""
        count, cells = encoded.mask.shape
        given = torch.cat([embedded, state["context"].to(embedded.dtype)], -1)
        hidden, cell = self.cell(given, (state["hidden"].to(embedded.dtype), state["cell"].to(embedded.dtype)))
        shape = (count, beams, 1, -1)
        sums = self.query(hidden).view(shape) + encoded.extra["keys"][:, None]
        if self.covered is not None:
            sums = sums + self.covered(state["covered"].view(count, beams, cells, 1).to(sums.dtype))
        energies = self.energy(sums.tanh())[..., 0].float()
        weights = energies.masked_fill(~encoded.mask[:, None], -1e9).softmax(-1)  # (B, beams, T)
        context = (weights.to(encoded.memory.dtype) @ encoded.memory).flatten(0, 1)
        weights = weights.flatten(0, 1)
        features = self.combine(torch.cat([hidden, context.to(hidden.dtype), embedded], -1)).tanh()
        after = {
            "hidden": hidden,
            "cell": cell,
            "context": context,
            "covered": state["covered"] + weights,
            "attention": weights,
        }
        return features, after

    def loss(self, batch: Batch) -> Loss:
        encoded = self.encode(batch.images, batch.sizes)
        inputs, targets = with_ends(batch.tokens, batch.lengths, reverse=False)
        embedded = self.dropout(self.embedding(inputs))
        state = self._initial_state(encoded)
        steps, looks = [], []
        for place in range(inputs.shape[1]):
            features, state = self._advance(embedded[:, place], state, encoded, 1)
            steps.append(features)
            looks.append(state["attention"])
        logits = self.out(self.dropout(torch.stack(steps, 1)))
        total = token_loss(logits, targets, self.label_smoothing)
        parts = {"token": float(total.detach())}
        if batch.owners is not None:
            owners = batch.owners.flatten(1).gather(1, encoded.places)
            if self.attention_weight:
                places = torch.arange(1, inputs.shape[1] + 1, device=owners.device)[None, :, None]
                attention = attention_loss(torch.stack(looks, 1), owners[:, None] == places)
                total = total + self.attention_weight * attention
                parts["attention"] = float(attention.detach())
            if self.symbol_weight:
                symbol = symbol_loss(self.symbol_head(encoded.extra["cells"]), owners, encoded.mask, batch.tokens)
                total = total + self.symbol_weight * symbol
                parts["symbol"] = float(symbol.detach())
        with torch.no_grad():
            counted = targets != PAD_ID
            correct = int(((logits.argmax(-1) == targets) & counted).sum())
            likelihood = -float(
                functional.cross_entropy(
                    logits.flatten(0, 1).float(), targets.flatten(), ignore_index=PAD_ID, reduction="sum"
                )
            )
        return Loss(total, correct, int(counted.sum()), likelihood, parts)

    def start(self, encoded: Encoded, beams: int, *, reverse: bool = False) -> tuple[Step, State, Tensor]:
        if reverse:
            raise ValueError("The CNN-LSTM model reads from left to right only.")
        state = {key: value.repeat_interleave(beams, 0) for key, value in self._initial_state(encoded).items()}

        def step(ids: Tensor, state: State) -> tuple[Tensor, State]:
            features, after = self._advance(self.embedding(ids), state, encoded, beams)
            return self.out(features).float().log_softmax(-1), after

        first = torch.full((len(encoded) * beams,), START_ID, dtype=torch.long, device=encoded.memory.device)
        return step, state, first

    def grow_vocabulary(self, tokens: list[str]) -> None:
        grown = self.vocabulary.grown(tokens)
        count = len(grown) - len(self.vocabulary)
        if count:
            self.embedding = grow_embedding(self.embedding, count)
            self.out = grow_linear(self.out, count)
            self.symbol_head = grow_linear(self.symbol_head, count)
            self.vocabulary = grown
