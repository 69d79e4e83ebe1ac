"""From a picture to LaTeX: the one way that the app, the scripts and the API walk."""

import functools
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hmer import decoding, latex
from hmer.batch import of_like_area, of_like_size
from hmer.calibration import LEAST, Evidence, calibrated, evidence_of
from hmer.checkpoint import Checkpoint, load
from hmer.config import Decoding
from hmer.decoding import Hypothesis
from hmer.grammar import rules_for
from hmer.image import Grey, looks_at, pad, prepare, read_image
from hmer.ink import draw, read_inkml
from hmer.models import CtcModel, Encoded, Model
from hmer.models.ctc import BLANK_ID
from hmer.precision import precision
from hmer.vocabulary import END_ID, SPECIAL, START_ID

log = logging.getLogger(__name__)

KERNEL_STEPS_PX = 32, 64  # of heights and widths: see `_coarse`
NARROWEST = 5  # of fewer answers the best one's share says little


@dataclass(frozen=True)
class Alternative:
    """One more answer of beam search; probability relative to the answers that the search ended with."""

    latex: str
    tokens: tuple[str, ...]
    probability: float


@dataclass(frozen=True)
class Replacement:
    """Another token for a place of an answer, and how probable the model holds it there."""

    token: str
    probability: float


@dataclass(frozen=True)
class Recognition:
    """An answer. confidence: probability that the whole formula is right; token_confidence: one for each token.

    log_prob: what the model gives the sequence, the end included. evidence: what confidence is calibrated from: that and
    the length (`evidence_of`); or after a beam search with several answers what both reading directions and the
    language make of it, and the logarithm of its probability among them.
    seconds: the share of this picture in the time of its batch. finished: False when the answer was cut at its longest.
    """

    latex: str
    tokens: tuple[str, ...]
    confidence: float
    token_confidence: tuple[float, ...]
    alternatives: tuple[Alternative, ...]
    checkpoint: str
    seconds: float
    log_prob: float
    finished: bool = True
    evidence: Evidence = ()


class Recognizer:
    """A loaded checkpoint that reads pictures. Safe to share between threads: it does not change."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.model: Model = checkpoint.model.eval()
        self.config = checkpoint.config

    @classmethod
    def load(cls, reference: str | Path) -> "Recognizer":
        """From a checkpoint reference. Raises CheckpointError."""
        return cls(load(reference))

    @property
    def id(self) -> str:
        """Name and hash of the checkpoint."""
        return self.checkpoint.id

    def read(self, source: Any) -> Grey:
        """The prepared picture of anything a person can hand over; a path that ends in .inkml is drawn.

        Raises BadImage or BadInk.
        """
        return self.fitted(whole_picture(source))

    def fitted(self, whole: Grey) -> Grey:
        """What `whole_picture` gave, cropped and scaled for this checkpoint. Raises BadImage."""
        return prepare(whole, self.config.image, magnifier=self.model.magnifier).pixels

    def recognize(
        self,
        sources: Sequence[Any],
        decoding: Decoding | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Recognition]:
        """Answers in the order of `sources`. Raises BadImage or BadInk for the first that cannot be read.

        `progress` is told how many are done, after each batch.
        """
        return self.recognize_prepared([self.read(source) for source in sources], decoding, progress)

    def recognize_prepared(
        self,
        pictures: Sequence[Grey],
        decoding: Decoding | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Recognition]:
        """As `recognize`, for pictures that `read` gave."""
        settings = decoding or Decoding()
        answers: dict[int, Recognition] = {}
        looks = [self._looks_at(picture, settings) for picture in pictures]
        alone = [index for index, found in enumerate(looks) if len(found) == 1]
        grouped = of_like_area if self._encodes_apart else of_like_size
        groups = [[alone[place] for place in group] for group in grouped([pictures[index].shape for index in alone])]
        groups += [[index] for index, found in enumerate(looks) if len(found) > 1]
        for group in groups:
            started = time.perf_counter()
            found = self._search([look for index in group for look in looks[index]], settings, len(looks[group[0]]))
            seconds = (time.perf_counter() - started) / len(group)
            for index, hypotheses in zip(group, found, strict=True):
                answers[index] = self._answer(hypotheses, settings, seconds)
            if progress is not None:
                progress(len(answers))
        return [answers[index] for index in range(len(pictures))]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def _encodes_apart(self) -> bool:
        """Whether pictures are encoded one by one and decoded together.

        A processor encodes a batch no faster than its pictures one after the other, and each new shape of a batch costs
        time and memory for the kernels that are made for it.
        """
        return self.model.decodes_cells and self.device.type == "cpu"

    @torch.inference_mode()
    def encode(self, pictures: Sequence[Grey]) -> Encoded:
        """Pictures that `read` gave, after the model's encoder."""
        if self._encodes_apart and len(pictures) > 1:
            return Encoded.joined([self.encode([picture]) for picture in pictures])
        height, width = _coarse(pictures[0]) if self._encodes_apart and precision() == "bf16" else (0, 0)
        images, sizes = pad(pictures, height, width)
        return self.model.encode(images.to(self.device), sizes.to(self.device))

    def _looks_at(self, picture: Grey, settings: Decoding) -> list[Grey]:
        if isinstance(self.model, CtcModel) or settings.strategy == "sample":
            return [picture]
        return looks_at(picture, self.config.image)

    @torch.inference_mode()
    def _search(self, pictures: Sequence[Grey], settings: Decoding, looks: int = 1) -> list[list[Hypothesis]]:
        """Hypotheses of each picture, best first; with several `looks` all `pictures` are looks at one."""
        encoded = self.encode(pictures)
        rules = rules_for(self.model.vocabulary, symbols=settings.symbols, grammar=settings.grammar)
        common: dict[str, Any] = {"end_id": END_ID, "max_length": settings.max_length, "rules": rules}
        drawn: dict[str, Any] = {
            "temperature": settings.temperature, "top_k": settings.top_k, "top_p": settings.top_p, "seed": settings.seed,
        }  # fmt: skip
        width = settings.beam_width if settings.strategy == "beam" else 1
        if isinstance(self.model, CtcModel):
            scores, frames = self.model.frame_scores(encoded)
            common["blank_id"] = BLANK_ID
            if settings.strategy == "beam":
                return self._informed(decoding.ctc_beam(scores, frames, width=width, **common), 0.0)
            if settings.strategy == "sample":
                single = decoding.ctc_sample(scores, frames, **common, **drawn)
            else:
                single = decoding.ctc_greedy(scores, frames, **common)
        else:
            step, state, first = self.model.start(encoded, width)
            penalty = settings.length_penalty
            if settings.strategy == "beam":
                found = decoding.beam(step, state, first, width=width, length_penalty=penalty, **common)
                if looks > 1:
                    found = [self._agreed(encoded, found, width, penalty)]
                elif width > 1 and self.model.bidirectional:
                    backward = self.model.start(encoded, width, reverse=True)
                    found = decoding.rescored(found, *backward, start_id=START_ID, width=width, length_penalty=penalty)
                return self._informed(found, penalty)
            if settings.strategy == "sample":
                single = decoding.sample(step, state, first, **common, **drawn)
            else:
                single = decoding.greedy(step, state, first, **common)
                if looks > 1:
                    single = self._agreed(encoded, [[found] for found in single], looks, penalty)[:1]
        return [[hypothesis] for hypothesis in single]

    def _agreed(
        self, encoded: Encoded, found: Sequence[Sequence[Hypothesis]], most: int, length_penalty: float
    ) -> list[Hypothesis]:
        directions = (False, True) if self.model.bidirectional else (False,)
        starts = [functools.partial(self.model.start, encoded, reverse=reverse) for reverse in directions]
        return decoding.agreed(
            found, starts, end_id=END_ID, start_id=START_ID, most=most, length_penalty=length_penalty
        )

    def _informed(self, found: list[list[Hypothesis]], length_penalty: float) -> list[list[Hypothesis]]:
        """What a beam search found, ranked by what formulas are like, too, if the checkpoint knows that."""
        language = self.model.language
        if language is None:
            return found
        weight = language.config.weight
        return decoding.informed(found, language.opinions, weight=weight, length_penalty=length_penalty)

    @torch.inference_mode()
    def replacements(self, picture: Grey, tokens: Sequence[str], count: int = 8) -> list[list[Replacement]]:
        """For each token of an answer the `count` likeliest others in its place, the likeliest first.

        `picture` as `read` gives it. The probabilities are those of teacher forcing: the model reads the picture and the
        tokens before (CTC: all others). A token that the vocabulary lacks has none, and is not given to the model.
        """
        vocabulary = self.model.vocabulary
        known = [place for place, token in enumerate(tokens) if token in vocabulary]
        ids = vocabulary.encode([tokens[place] for place in known])
        found: list[list[Replacement]] = [[] for _ in tokens]
        encoded = self.encode([picture])
        if isinstance(self.model, CtcModel):
            frame_scores, frames = self.model.frame_scores(encoded)
            usable = frame_scores[0, : int(frames[0])]
            scores = decoding.ctc_forced_scores(usable, ids, blank_id=BLANK_ID, tried=count + 1)
        else:
            step, state, first = self.model.start(encoded, 1)
            scores = decoding.forced_scores(step, state, first, ids)
        for place, own, row in zip(known, ids, scores, strict=True):
            row[[*range(len(SPECIAL)), own]] = decoding.MINUS_INFINITY
            best = row.topk(min(count, len(row)))
            found[place] = [
                Replacement(vocabulary.tokens[index], math.exp(score))
                for score, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
                if score > decoding.MINUS_INFINITY
            ]
        return found

    def _answer(self, hypotheses: list[Hypothesis], settings: Decoding, seconds: float) -> Recognition:
        best = hypotheses[0]
        tokens = tuple(self.model.vocabulary.decode(best.ids))
        likeliest = max(hypothesis.joint_log_prob for hypothesis in hypotheses)
        weights = [math.exp(hypothesis.joint_log_prob - likeliest) for hypothesis in hypotheses]
        total = sum(weights)
        alternatives = []
        if settings.strategy == "beam":
            for hypothesis, weight in zip(hypotheses, weights, strict=True):
                words = tuple(self.model.vocabulary.decode(hypothesis.ids))
                alternatives.append(Alternative(latex.pretty(words), words, weight / total))
        searched = settings.strategy == "beam" and settings.beam_width >= NARROWEST
        alone = evidence = evidence_of(best.log_prob, len(tokens))
        if searched:
            evidence = (best.joint_log_prob, math.log(weights[0] / total) if weights[0] else LEAST)
        return Recognition(
            latex=latex.pretty(tokens),
            tokens=tokens,
            confidence=self._confidence(best, alone, evidence if searched else None),
            token_confidence=_token_confidence(best),
            alternatives=tuple(alternatives),
            checkpoint=self.id,
            seconds=seconds,
            log_prob=best.log_prob,
            finished=best.finished,
            evidence=evidence,
        )

    def _confidence(self, hypothesis: Hypothesis, alone: Evidence, among_others: Evidence | None) -> float:
        """Probability that the whole answer is right, calibrated if the checkpoint is."""
        if not hypothesis.finished:
            return 0.0
        if among_others and self.config.beam_calibration:  # fitted for searches of width 10, and near it
            return calibrated(among_others, self.config.beam_calibration)
        if len(self.config.calibration) == 2:  # of an older checkpoint
            return calibrated((hypothesis.log_prob,), self.config.calibration)
        if self.config.calibration:
            return calibrated(alone, self.config.calibration)
        return math.exp(hypothesis.log_prob)


def _coarse(picture: Grey) -> tuple[int, int]:
    """A size that many pictures share: kernels for bf16 are made anew for each, and take as long as a small picture."""
    height, width = (-(-side // step) * step for side, step in zip(picture.shape, KERNEL_STEPS_PX, strict=True))
    return height, width


def whole_picture(source: Any) -> Grey:
    """Anything a person can hand over as it is, before it is cropped and scaled. Raises BadImage or BadInk."""
    if isinstance(source, (str, Path)) and str(source).lower().endswith(".inkml"):
        source = draw(read_inkml(source))
    return read_image(source)


def _token_confidence(hypothesis: Hypothesis) -> tuple[float, ...]:
    """Probabilities of the tokens of an answer; the special ones, which it does not show, are passed over."""
    pairs = zip(hypothesis.ids, hypothesis.log_probs, strict=False)  # the end token has none
    return tuple(math.exp(value) for index, value in pairs if index >= len(SPECIAL))
