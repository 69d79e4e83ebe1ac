"""Training the language model of a checkpoint (`hmer.models.language`) on formulas as text."""

import dataclasses
import logging
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hmer import latex
from hmer.checkpoint import Checkpoint, with_part
from hmer.config import LanguageConfig, check
from hmer.errors import DatasetError, LatexError
from hmer.models.base import with_ends
from hmer.models.language import UNSAID, LanguageModel
from hmer.vocabulary import PAD_ID, Vocabulary

log = logging.getLogger(__name__)

LONGEST = 150  # tokens; what is longer is left out
BATCH_TOKENS = 2_000
POOL = 4_000  # texts that are sorted by length together
LEARNING_RATE, WEIGHT_DECAY, WARMUP_STEPS, DECAY_SHARE, CLIP_NORM = 2e-3, 0.01, 100, 0.5, 1.0
REPORT_STEPS = 100

Text = tuple[int, ...]  # ids, without the special ones


@dataclass(frozen=True)
class LanguageTraining:
    """passes: as many tokens are read as the list of formulas has, so many times; own_share: of captions among them."""

    width: int = 384
    passes: float = 5.0
    own_share: float = 0.25
    dropout: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check(self.passes > 0, "LanguageTraining.passes: must be above 0.")
        check(0 <= self.own_share <= 1, "LanguageTraining.own_share: from 0 to 1.")


def said(tokens: Iterable[str]) -> tuple[str, ...]:
    """Tokens without those that the language model says nothing of."""
    return tuple(token for token in tokens if token not in UNSAID)


def texts_of(
    formulas: Iterable[str], form: str, vocabulary: Vocabulary, exclude: Collection[tuple[str, ...]] = ()
) -> list[Text]:
    """Formulas as the checkpoint would write them, those that it can; `exclude` holds captions as `said` gives them."""
    texts = []
    for formula in formulas:
        try:
            tokens = said(latex.label_tokens(formula, form))
        except LatexError:
            continue
        if 0 < len(tokens) <= LONGEST and tokens not in exclude and all(token in vocabulary for token in tokens):
            texts.append(tuple(vocabulary.encode(tokens)))
    return texts


def train_language(
    formulas: Sequence[Text],
    captions: Sequence[Text],
    vocabulary: Vocabulary,
    settings: LanguageTraining | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> LanguageModel:
    """A language model of formulas and of the captions of pictures. Raises DatasetError where there are none.

    `progress` is told the share that is done and the loss, in nats a token.
    """
    settings = settings or LanguageTraining()
    if not formulas or (settings.own_share > 0 and not captions):
        raise DatasetError("No formula to train a language model on: none can be written with the checkpoint's tokens.")
    torch.manual_seed(settings.seed)
    config = LanguageConfig(settings.width, len(vocabulary), dropout=settings.dropout)
    model = LanguageModel(config, vocabulary).train()
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    total = settings.passes * sum(map(len, formulas))
    read, step, losses = 0, 0, 0.0
    for batch in _batches(formulas, captions, settings):
        shape = min(1.0, (step + 1) / WARMUP_STEPS, max(0.0, 1 - read / total) / DECAY_SHARE)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * shape
        loss = negative_log_likelihood(model, batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        read, step, losses = read + sum(map(len, batch)), step + 1, losses + float(loss.detach())
        if progress is not None and step % REPORT_STEPS == 0:
            progress(min(read / total, 1.0), losses / REPORT_STEPS)
            losses = 0.0
        if read >= total:
            break
    return model.eval()


def _batches(formulas: Sequence[Text], captions: Sequence[Text], settings: LanguageTraining) -> Iterator[list[Text]]:
    """Texts of like length, BATCH_TOKENS in a batch, for ever."""
    chance = random.Random(settings.seed)
    while True:
        drawn = [chance.choice(captions if chance.random() < settings.own_share else formulas) for _ in range(POOL)]
        drawn.sort(key=len)
        batches: list[list[Text]] = [[]]
        for text in drawn:
            if len(batches[-1]) * (len(text) + 1) >= BATCH_TOKENS:
                batches.append([])
            batches[-1].append(text)
        chance.shuffle(batches)
        yield from batches


def negative_log_likelihood(model: LanguageModel, texts: Sequence[Text]) -> Tensor:
    """The mean over all tokens and ends, in nats."""
    lengths = torch.tensor([len(text) for text in texts])
    tokens = nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], batch_first=True, padding_value=PAD_ID)
    inputs, targets = with_ends(tokens, lengths, reverse=False)
    return functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), ignore_index=PAD_ID)


def speaking(checkpoint: Checkpoint, language: LanguageModel, weight: float) -> Checkpoint:
    """The checkpoint with a language model that has so much weight, in place of the one that it may have."""
    config = dataclasses.replace(language.config, weight=weight)
    sizes = dataclasses.replace(checkpoint.config.model, language=config)
    spoken = with_part(checkpoint, "language", language, sizes)
    # Confidence after beam search was fitted with the say of another language model.
    return dataclasses.replace(spoken, config=dataclasses.replace(spoken.config, beam_calibration=()))
