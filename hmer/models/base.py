"""What every model takes and gives: the batch, the encoded picture, the loss, the step of decoding."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from hmer.batch import Batch, Seen
from hmer.config import ModelConfig
from hmer.decoding import State, Step
from hmer.models.language import LanguageModel
from hmer.models.magnifier import Magnifier
from hmer.models.recall import Recall
from hmer.vocabulary import END_ID, PAD_ID, START_ID, Vocabulary


@dataclass
class Encoded:
    """Pictures after the encoder.

    memory (B, T, D), the features of T cells; mask (B, T) True where there is one; grid (rows, columns) of the
    encoder's map; places (B, T), the index of each cell in that map, row by row.
    """

    memory: Tensor
    mask: Tensor
    grid: tuple[int, int]
    places: Tensor
    extra: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.memory)

    def of(self, rows: Tensor) -> "Encoded":
        """Some of the pictures, by their indices (N,)."""
        extra = {name: value[rows] for name, value in self.extra.items()}
        return Encoded(self.memory[rows], self.mask[rows], self.grid, self.places[rows], extra)

    @classmethod
    def joined(cls, parts: Sequence["Encoded"]) -> "Encoded":
        """Pictures that were encoded apart, for a decoder that knows cells only by their features: without a grid."""
        cells = max(part.memory.shape[1] for part in parts)

        def same_length(x: Tensor) -> Tensor:
            return functional.pad(x, (0, 0) * (x.dim() - 2) + (0, cells - x.shape[1]))

        memory = torch.cat([same_length(part.memory) for part in parts])
        mask, places = (
            torch.cat([same_length(x) for x in found])
            for found in zip(*((part.mask, part.places) for part in parts), strict=True)
        )
        extra = {name: torch.cat([same_length(part.extra[name]) for part in parts]) for name in parts[0].extra}
        return cls(memory, mask, (0, 0), places, extra)


@dataclass
class Term:
    """A part of a loss: a sum over so many tokens, steps or cells, and how much its mean counts."""

    sum: Tensor
    count: Tensor
    weight: float = 1.0

    @property
    def mean(self) -> Tensor:
        """The sum over the count; 0 where nothing was counted."""
        return self.sum / self.count.clamp(min=1)


TERMS = ("token", "anchor", "attention", "symbol", "space", "impossible")


@dataclass
class Loss:
    """total: to minimise, the weighted means of `terms`. correct, count: next tokens right under teacher forcing, and all.

    count is 0 where there are no next tokens (CTC). tokens: those of the captions, each with its end where the model
    reads one; log_likelihood: sum over them (reading from left to right only). parts: the means by name, for the log.
    right: for each caption whether all its next tokens are, so that greedy decoding writes it; empty for CTC.
    looks (B, L + 1, T): which of the T inked cells the model looked at for each token and the end, where it had to find out.
    log_probs (N, L + 1, V): of the next tokens, in every direction, for `Batch.anchor`; None in training, and for CTC.
    features (B, L + 1, C): what the encoder saw where the model looked for each token; None where it cannot tell.
    """

    total: Tensor
    correct: int
    count: int
    log_likelihood: float
    tokens: int
    terms: dict[str, Term]
    right: tuple[bool, ...] = ()
    looks: Tensor | None = None
    log_probs: Tensor | None = None
    features: Tensor | None = None

    @property
    def parts(self) -> dict[str, float]:
        """The mean of each term by its name."""
        return {name: float(term.mean.detach()) for name, term in self.terms.items()}


def total_of(terms: dict[str, Term]) -> Tensor:
    """What is minimised: the means of the terms by their weights."""
    return torch.stack([term.mean * term.weight for term in terms.values()]).sum()


def loss_of(terms: dict[str, Term], logits: Tensor, targets: Tensor) -> Loss:
    """The loss of a model that writes next tokens: logits (B, L, V) of the targets (B, L)."""
    with torch.no_grad():
        counted = targets != PAD_ID
        same = logits.argmax(-1) == targets
        likelihood = -functional.cross_entropy(
            logits.flatten(0, 1).float(), targets.flatten(), ignore_index=PAD_ID, reduction="sum"
        )
    tokens = int(counted.sum())
    right = tuple((same | ~counted).all(1).tolist())
    return Loss(total_of(terms), int((same & counted).sum()), tokens, float(likelihood), tokens, terms, right)


class Model(nn.Module):
    """Base of the models. A model is built from its settings and a vocabulary.

    One that decodes token by token has `start`, one with an output a frame (CTC) `frame_scores`.
    """

    encoder: nn.Module
    out: nn.Linear  # states to logits over the vocabulary
    language: LanguageModel | None  # has its say on what beam search found; trained by itself, on text
    recall: Recall | None  # what was corrected more than once
    magnifier: Magnifier | None  # draws small print larger before it is read; learns from pictures, then with the rest

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        spoken = config.language.width > 0
        self.language = LanguageModel(config.language, vocabulary).requires_grad_(False) if spoken else None
        self.recall = None
        magnifies = config.magnifier.channels > 0
        self.magnifier = Magnifier(config.magnifier).requires_grad_(False) if magnifies else None
        self.label_smoothing = 0.0
        self.symbol_weight = 0.0
        self.attention_weight = 0.0
        self.anchor_weight = 1.0
        self.bidirectional = False  # whether `start` can read from right to left
        self.exact_places = False  # in training, unsegmented writing is followed as in decoding
        self.both_ways = False  # and read from right to left, too, where it can be: twice the time
        self.decodes_cells = False  # whether what comes out of `encode` can be joined, see `Encoded.joined`
        self.sampling = 0.0  # share of steps that are fed with the model's own last token (scheduled sampling)

    def forward(self, batch: Batch) -> "Loss":
        """The loss: what wrappers for several processes call."""
        if self.magnifier is not None and batch.small_print is not None and self.magnifier.first.weight.requires_grad:
            batch = dataclasses.replace(batch, images=self.magnifier.redrawn(batch.images, batch.small_print))
        return self.loss(batch)

    def encode(self, images: Tensor, sizes: Tensor) -> Encoded:
        """images (B, 1, H, W), sizes (B, 2) -> Encoded."""
        raise NotImplementedError

    def see(self, images: Tensor, sizes: Tensor) -> Seen | None:
        """What the encoder makes of images (B, 1, H, W), for `Batch.seen`; None for a model that has no use for it."""
        return None

    def start(self, encoded: Encoded, beams: int, *, reverse: bool = False) -> tuple[Step, State, Tensor]:
        """Begin decoding: a step function, the state of B * beams hypotheses, and their first input ids.

        step(ids (N,), state) -> log-probabilities (N, V) float32, next state; hypotheses of one picture are
        neighbours, and `beams` of them per picture at every step.
        """
        raise NotImplementedError

    def frame_scores(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """For CTC: log-probabilities (B, T, V) float32 of the frames, and how many frames each picture has (B,)."""
        raise NotImplementedError

    def loss(self, batch: Batch) -> Loss:
        """The training loss of a batch, under teacher forcing."""
        raise NotImplementedError

    def text_loss(self, logits: Tensor, targets: Tensor, anchor: Tensor | None) -> dict[str, Term]:
        """What is to be learnt of next tokens: the captions' (N, L), or to stay near an anchor."""
        if anchor is None:
            return {"token": token_loss(logits, targets, self.label_smoothing)}
        return {"anchor": anchor_loss(logits, anchor, targets, self.anchor_weight)}

    def bridge(self) -> list[nn.Module]:
        """What lies between the map of the picture and what is written, if that can be told apart from both.

        There a model gets used to a hand: the encoder sees what everyone writes, the rest knows what formulas are like.
        """
        return []

    def take_on(self, config: ModelConfig) -> None:
        """Go on learning with other settings, such as a trained model can be given; what was recalled is forgotten."""
        self.config, self.recall = config, None
        self.bidirectional = self.bidirectional and config.bidirectional

    def grow_vocabulary(self, tokens: list[str]) -> None:
        """Add tokens; rows of known tokens stay as they are, new rows start small."""
        raise NotImplementedError


def with_ends(tokens: Tensor, lengths: Tensor, *, reverse: bool) -> tuple[Tensor, Tensor]:
    """Inputs and targets for teacher forcing: (B, L + 1) each, PAD_ID after the end.

    Forward: start t1 .. tn -> t1 .. tn end. Reverse: end tn .. t1 -> tn .. t1 start (Zhao et al. 2021, BTTR).
    """
    count, longest = tokens.shape
    place = torch.arange(longest, device=tokens.device)[None]
    within = place < lengths[:, None]
    first, last = (END_ID, START_ID) if reverse else (START_ID, END_ID)
    if reverse:
        flipped = (lengths[:, None] - 1 - place).clamp(min=0)
        tokens = tokens.gather(1, flipped)
    tokens = torch.where(within, tokens, PAD_ID)
    inputs = torch.cat([tokens.new_full((count, 1), first), tokens], 1)
    targets = torch.cat([tokens, tokens.new_full((count, 1), PAD_ID)], 1)
    targets.scatter_(1, lengths[:, None], last)
    return inputs, targets


def token_loss(logits: Tensor, targets: Tensor, smoothing: float) -> Term:
    """Cross entropy over all tokens but padding; logits (B, L, V), targets (B, L)."""
    loss = functional.cross_entropy(
        logits.flatten(0, 1).float(),
        targets.flatten(),
        ignore_index=PAD_ID,
        label_smoothing=smoothing,
        reduction="sum",
    )
    return Term(loss, (targets != PAD_ID).sum())


def anchor_loss(logits: Tensor, anchor: Tensor, targets: Tensor, weight: float = 1.0) -> Term:
    """How far next tokens are from what they were: the Kullback-Leibler divergence from `anchor` over all but padding.

    logits (N, L, V); anchor (N, L', V'), log-probabilities over the first V' tokens, L' <= L; targets (N, L).
    Source: knowledge distillation (Hinton et al. 2015), from the model's own past as in learning without forgetting
    (Li and Hoiem 2017).
    """
    length, known = anchor.shape[1:]
    now = logits[:, :length].float().log_softmax(-1)[..., :known]
    then = anchor.float()
    divergence = (then.exp() * (then - now)).sum(-1)
    counted = targets[:, :length] != PAD_ID
    return Term((divergence * counted).sum(), counted.sum(), weight)


def symbol_loss(logits: Tensor, owners: Tensor, mask: Tensor, tokens: Tensor, weight: float = 1.0) -> Term:
    """Which symbol covers a cell, as a cross entropy: logits (B, T, V), owners (B, T) as in `Batch`, mask (B, T).

    A cell with ink that no stroke claims is paper (PAD_ID) and counts a fifth.
    """
    classes = tokens.gather(1, (owners - 1).clamp(min=0))
    classes = torch.where(owners > 0, classes, PAD_ID)
    use = (owners >= 0) & mask
    counts = torch.where(classes[use] == PAD_ID, 0.2, 1.0)
    losses = functional.cross_entropy(logits[use].float(), classes[use], reduction="none")
    return Term((losses * counts).sum(), counts.sum(), weight)


def space_loss(
    logits: Tensor, owners: Tensor, mask: Tensor, tokens: Tensor, told: Tensor, spaces: Tensor, weight: float = 1.0
) -> Term:
    r"""Which space stands before the symbol that covers a cell, as a cross entropy between the spaces and none.

    logits (B, T, V), owners (B, T) and told (B, L) (`looked_for`) as in `Batch`, mask (B, T); spaces (S,): the ids of `\,` and its
    like. None is END_ID, which covers no cell either. Of several the first counts, which is the widest.
    """
    length = tokens.shape[1]
    place = torch.arange(length, device=tokens.device).expand_as(tokens)
    is_space = (tokens[..., None] == spaces).any(-1) & (told > 0)
    first = place.new_full(tokens.shape, length).scatter_reduce(
        1, (told - 1).clamp(min=0), torch.where(is_space, place, length), "amin"
    )
    before = tokens.gather(1, first.clamp(max=length - 1))
    among = torch.cat([spaces.new_tensor([END_ID]), spaces])
    wanted = (before[..., None] == among).int().argmax(-1) * (first < length)  # (B, L): for each symbol
    classes = wanted.gather(1, (owners - 1).clamp(min=0))
    use = (owners > 0) & mask
    losses = functional.cross_entropy(logits[use][:, among].float(), classes[use], reduction="sum")
    return Term(losses, use.sum(), weight)


def attention_loss(weights: Tensor, owned: Tensor, weight: float = 1.0) -> Term:
    """-log(attention on the symbol's cells) over the steps whose symbol has a known place; both (N, L, T)."""
    known = owned.any(-1)
    mass = (weights * owned).sum(-1)[known]
    return Term(-(mass + 1e-4).log().sum(), known.sum(), weight)


def grow_rows(weight: Tensor, count: int) -> Tensor:
    """`weight` (V, ...) with `count` more rows: the mean of the old ones plus a little noise."""
    mean = weight.mean(0, keepdim=True).expand(count, *weight.shape[1:])
    noise = torch.randn_like(mean) * (weight.std() * 0.1 if weight.numel() > 1 else 0.01)
    return torch.cat([weight, mean + noise])


def grow_embedding(layer: nn.Embedding, count: int) -> nn.Embedding:
    """An embedding with `count` more rows, old rows unchanged."""
    return nn.Embedding(
        layer.num_embeddings + count, layer.embedding_dim, _weight=grow_rows(layer.weight.detach(), count)
    )


def grow_linear(layer: nn.Linear, count: int) -> nn.Linear:
    """A linear layer with `count` more outputs, old outputs unchanged."""
    grown = nn.Linear(layer.in_features, layer.out_features + count, bias=layer.bias is not None)
    with torch.no_grad():
        grown.weight.copy_(grow_rows(layer.weight.detach(), count))
        if layer.bias is not None:
            # A new token must not win over old ones before it was trained.
            grown.bias.copy_(torch.cat([layer.bias, layer.bias.min().expand(count)]))
    return grown
