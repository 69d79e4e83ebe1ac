"""CNN-LSTM: a convolutional encoder and a recurrent decoder that looks at its map, or has it as one embedding.

Attention is additive (Bahdanau et al. 2015), by default with a coverage term, the attention of earlier steps (Zhang et
al. 2017, WAP), which keeps the decoder from reading a part twice; or multiplicative (Luong et al. 2015); or there is
none, and every step is given the embedding of the whole picture.
"""

import dataclasses
import math

import torch
from torch import Tensor, nn

from hmer.batch import STRIDE_PX, Batch
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
    symbol_loss,
    with_ends,
)
from hmer.models.encoders import InputTransform, build_encoder, inked_cells, positions_2d
from hmer.vocabulary import START_ID, Vocabulary


class LstmModel(Model):
    """See the module's docstring. Reads from left to right only."""

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        width, attention = config.decoder_width, config.attention_width
        self.transform = InputTransform(config.input)
        self.encoder = build_encoder(config)
        cells = 1
        if config.attention == "none" and config.embedding == "flatten":
            cells = math.prod(config.map_size)
        self.project = nn.Linear(cells * self.encoder.channels, width)
        self.memory_norm = nn.LayerNorm(width)
        # Where the map has the grid of a batch's owners, the segmentation of ink can supervise.
        on_grid = config.attention != "none" and config.encoder_stride == STRIDE_PX and not config.input.fixed
        self.symbol_head = nn.Linear(self.encoder.channels, len(vocabulary)) if on_grid else None
        self.embedding = nn.Embedding(len(vocabulary), width)
        self.initial = nn.Linear(width, 2 * config.lstm_layers * width)
        self.cells = nn.ModuleList(
            nn.LSTMCell(2 * width if layer == 0 else width, width) for layer in range(config.lstm_layers)
        )
        if config.attention != "none":
            self.query = nn.Linear(width, attention, bias=config.attention == "bahdanau")
            self.key = nn.Linear(width, attention, bias=False)
        additive = config.attention == "bahdanau"
        self.covered = nn.Linear(1, attention, bias=False) if additive and config.coverage else None
        self.energy = nn.Linear(attention, 1, bias=False) if additive else None
        self.combine = nn.Linear(3 * width, width)
        self.dropout = nn.Dropout(config.dropout)
        self.between = nn.Dropout(config.lstm_dropout)
        self.out = nn.Linear(width, len(vocabulary))

    def encode(self, images: Tensor, sizes: Tensor) -> Encoded:
        images, sizes = self.transform.resize(images, sizes)
        features, mask = self.encoder(self.transform.normalise(images, sizes), sizes)
        rows, columns = features.shape[-2:]
        if self.config.attention == "none":
            return self._embedded(features, mask)
        chosen, mask = inked_cells(images, mask, self.config.encoder_stride)
        cells = features.flatten(2).transpose(1, 2)
        cells = cells.gather(1, chosen[..., None].expand(-1, -1, cells.shape[-1]))
        places = positions_2d(chosen // columns, chosen % columns, self.config.decoder_width)
        memory = self.memory_norm(self.project(cells) + places.to(cells.dtype))
        return Encoded(memory, mask, (rows, columns), chosen, {"cells": cells, "keys": self.key(memory)})

    def _embedded(self, features: Tensor, mask: Tensor) -> Encoded:
        """The whole map (B, F, h, w) as one cell."""
        if self.config.embedding == "flatten":
            flat = (features * mask).flatten(1)
        else:
            flat = (features * mask).sum((2, 3)) / mask.sum((2, 3)).clamp(min=1)
        memory = self.memory_norm(self.project(flat))[:, None]
        one = torch.ones(memory.shape[:2], dtype=torch.bool, device=memory.device)
        return Encoded(memory, one, (1, 1), torch.zeros_like(one, dtype=torch.long))

    def _initial_state(self, encoded: Encoded) -> State:
        """Hidden and cell states from the mean of the picture; no context, nothing covered yet."""
        present = encoded.mask[..., None].to(encoded.memory.dtype)
        mean = (encoded.memory * present).sum(1) / present.sum(1).clamp(min=1)
        hidden, cell = self.initial(mean).tanh().chunk(2, -1)
        layers = (len(mean), self.config.lstm_layers, -1)
        covered = torch.zeros(encoded.mask.shape, device=mean.device)
        return {
            "hidden": hidden.view(layers),
            "cell": cell.view(layers),
            "context": torch.zeros_like(mean),
            "covered": covered,
        }

    def _look(self, hidden: Tensor, covered: Tensor, encoded: Encoded, beams: int) -> Tensor:
        """Attention weights (B, beams, T) of hidden states (B * beams, D)."""
        count, cells = encoded.mask.shape
        if self.config.attention == "none":
            return torch.ones(count, beams, 1, device=hidden.device)
        query, keys = self.query(hidden).view(count, beams, -1), encoded.extra["keys"]
        if self.energy is None:
            energies = query @ keys.transpose(1, 2) / math.sqrt(query.shape[-1])
        else:
            sums = query[:, :, None] + keys[:, None]
            if self.covered is not None:
                sums = sums + self.covered(covered.view(count, beams, cells, 1).to(sums.dtype))
            energies = self.energy(sums.tanh())[..., 0]
        weights: Tensor = energies.float().masked_fill(~encoded.mask[:, None], -1e9).softmax(-1)
        return weights

    def _advance(self, embedded: Tensor, state: State, encoded: Encoded, beams: int) -> tuple[Tensor, State]:
        """One step: embedded (N, D) -> features before the output layer (N, D), next state."""
        given = torch.cat([embedded, state["context"].to(embedded.dtype)], -1)
        hiddens, states = [], []
        for layer, lstm in enumerate(self.cells):
            before = (state["hidden"][:, layer].to(embedded.dtype), state["cell"][:, layer].to(embedded.dtype))
            hidden, cell = lstm(given if layer == 0 else self.between(given), before)
            hiddens.append(hidden)
            states.append(cell)
            given = hidden
        weights = self._look(given, state["covered"], encoded, beams)
        context = (weights.to(encoded.memory.dtype) @ encoded.memory).flatten(0, 1)
        weights = weights.flatten(0, 1)
        features = self.combine(torch.cat([given, context.to(given.dtype), embedded], -1)).tanh()
        after = {
            "hidden": torch.stack(hiddens, 1),
            "cell": torch.stack(states, 1),
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
        steps: list[Tensor] = []
        looks = []
        for place in range(inputs.shape[1]):
            given = embedded[:, place]
            if self.training and self.sampling and place:
                # Scheduled sampling (Bengio et al. 2015): now and then the model's own last token instead of the true one.
                own = self.embedding(self.out(steps[-1]).argmax(-1))
                chosen = torch.rand(len(own), 1, device=own.device) < self.sampling
                given = torch.where(chosen, self.dropout(own), given)
            features, state = self._advance(given, state, encoded, 1)
            steps.append(features)
            looks.append(state["attention"])
        logits = self.out(self.dropout(torch.stack(steps, 1)))
        terms = self.text_loss(logits, targets, batch.anchor)
        if batch.owners is not None and self.symbol_head is not None:
            owners = batch.owners.flatten(1).gather(1, encoded.places)
            if self.attention_weight:
                places = torch.arange(1, inputs.shape[1] + 1, device=owners.device)[None, :, None]
                owned = owners[:, None] == places
                terms["attention"] = attention_loss(torch.stack(looks, 1), owned, self.attention_weight)
            if self.symbol_weight:
                scores = self.symbol_head(encoded.extra["cells"])
                terms["symbol"] = symbol_loss(scores, owners, encoded.mask, batch.tokens, self.symbol_weight)
        said = None if self.training else logits.detach().float().log_softmax(-1)
        return dataclasses.replace(loss_of(terms, logits, targets), log_probs=said)

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
            if self.symbol_head is not None:
                self.symbol_head = grow_linear(self.symbol_head, count)
            self.vocabulary = grown
