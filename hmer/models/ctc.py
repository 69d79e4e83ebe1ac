"""CRNN-CTC: a convolutional encoder, a bidirectional LSTM along the picture, and an output for each frame.

A frame is a column of the encoder's map; its rows are averaged, or kept in slices. The outputs of the frames become
tokens by connectionist temporal classification (Graves et al. 2006): runs are joined and blanks dropped. A formula
with more tokens than its picture has frames cannot be written.

Source: Shi et al. 2017 (CRNN).
"""

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from hmer.batch import Batch
from hmer.config import ModelConfig
from hmer.models.base import Encoded, Loss, Model, Term, grow_linear, total_of
from hmer.models.encoders import InputTransform, build_encoder, height_shares
from hmer.vocabulary import END_ID, PAD_ID, START_ID, Vocabulary

BLANK_ID = PAD_ID


class CtcModel(Model):
    """See the module's docstring."""

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        self.transform = InputTransform(config.input)
        # Where there is a norm, dropout comes after it.
        self.encoder = build_encoder(dataclasses.replace(config, dropout=0.0) if config.encoder_norm else config)
        self.norm = nn.BatchNorm2d(self.encoder.channels) if config.encoder_norm else None
        self.norm_dropout = nn.Dropout2d(config.dropout)
        self.lstm = nn.LSTM(
            config.slices * self.encoder.channels,
            config.lstm_width,
            num_layers=config.lstm_layers,
            bidirectional=True,
            batch_first=True,
            dropout=config.lstm_dropout if config.lstm_layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(config.head_dropout)
        self.out = nn.Linear(2 * config.lstm_width, len(vocabulary))

    def encode(self, images: Tensor, sizes: Tensor) -> Encoded:
        """The frames after the recurrent network: memory (B, T, 2 * lstm_width)."""
        images, sizes = self.transform.resize(images, sizes)
        features, mask = self.encoder(self.transform.normalise(images, sizes), sizes)
        if self.norm is not None:
            features = self.norm_dropout(self.norm(features) * mask)
        rows, frames = mask[:, 0, :, 0].sum(-1), mask[:, 0, 0].sum(-1).long()
        shares = height_shares(rows, features.shape[-2], self.config.slices).to(features.dtype)
        columns = torch.einsum("bsh,bfhw->bwsf", shares, features).flatten(2)
        packed = pack_padded_sequence(columns.float(), frames.cpu(), batch_first=True, enforce_sorted=False)
        memory, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=columns.shape[1])
        places = torch.arange(columns.shape[1], device=images.device)[None].expand(len(images), -1)
        return Encoded(memory, places < frames[:, None], (1, columns.shape[1]), places)

    def frame_scores(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        logits = self.out(self.dropout(encoded.memory)).float()
        never = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
        never[[START_ID, END_ID]] = True  # no frame begins or ends a formula
        return logits.masked_fill(never, -1e9).log_softmax(-1), encoded.mask.sum(-1)

    def loss(self, batch: Batch) -> Loss:
        """As in `Model`; captions that need more frames than there are count nothing, nor do their tokens.

        Their share is logged as "impossible".
        """
        scores, frames = self.frame_scores(self.encode(batch.images, batch.sizes))
        losses = functional.ctc_loss(
            scores.transpose(0, 1), batch.tokens, frames, batch.lengths, BLANK_ID, "none", zero_infinity=True
        )
        same = (batch.tokens[:, 1:] == batch.tokens[:, :-1]) & (batch.tokens[:, 1:] != PAD_ID)
        impossible = batch.lengths + same.sum(1) > frames  # a blank stands between two equal tokens
        tokens = batch.lengths[~impossible].sum()
        terms = {
            "token": Term(losses.sum(), tokens),
            "impossible": Term(impossible.sum(), torch.tensor(len(frames), device=frames.device), 0.0),
        }
        return Loss(total_of(terms), 0, 0, -float(losses.sum().detach()), int(tokens), terms)

    def grow_vocabulary(self, tokens: list[str]) -> None:
        grown = self.vocabulary.grown(tokens)
        count = len(grown) - len(self.vocabulary)
        if count:
            self.out = grow_linear(self.out, count)
            self.vocabulary = grown
