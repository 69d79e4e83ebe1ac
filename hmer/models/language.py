"""What formulas are like, whatever the picture: a recurrent network over tokens that has its say in every step.

It learns from formulas as text, of which there are far more than pictures. A recogniser's decoder knows the formulas
of its pictures only, and takes the bar of `\\log` for one of an absolute value where a reader would not.
Source: shallow fusion (Gulcehre et al. 2015).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hmer.config import LanguageConfig, check
from hmer.decoding import State, Step
from hmer.vocabulary import Vocabulary

# Whether limits stand under an operator or beside it is for the picture alone to say; lists of formulas do not.
UNSAID = frozenset({"\\limits"})
STATE = "language"


class LanguageModel(nn.Module):
    """An LSTM over the first `config.tokens` ids of a vocabulary, which only grows.

    It abstains from ids that it does not know, and from UNSAID: they are neither read nor judged. Raises ConfigError.
    """

    known: Tensor  # (V,) bool: the ids that it reads and judges

    def __init__(self, config: LanguageConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        check(
            0 < config.tokens <= len(vocabulary),
            f"LanguageConfig.tokens: from 1 to the vocabulary's {len(vocabulary)}.",
        )
        self.config = config
        self.embedding = nn.Embedding(config.tokens, config.width // 2)
        self.lstm = nn.LSTM(config.width // 2, config.width, batch_first=True)
        self.out = nn.Linear(config.width, config.tokens)
        self.dropout = nn.Dropout(config.dropout)
        self.index(vocabulary)

    def index(self, vocabulary: Vocabulary) -> None:
        """Take note of a vocabulary that has grown."""
        judged = [place < self.config.tokens and token not in UNSAID for place, token in enumerate(vocabulary.tokens)]
        self.register_buffer("known", torch.tensor(judged), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs (B, L), ids that it knows -> logits of the next ones (B, L, tokens)."""
        states, _ = self.lstm(self.dropout(self.embedding(inputs)))
        logits: Tensor = self.out(self.dropout(states))
        return logits

    def _opinion(self, logits: Tensor) -> Tensor:
        """(..., tokens) -> (..., V), to be added to a recogniser's log-probabilities.

        Log-probabilities less their mean by themselves: where it abstains nothing is lost or won, which is 0.
        """
        log_probs = logits.float().log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1, keepdim=True)
        missing = len(self.known) - log_probs.shape[-1]
        opinion = functional.pad(log_probs + entropy, (0, missing))
        return self.config.weight * opinion.masked_fill(~self.known, 0.0)

    def judged(self, inputs: Tensor, logits: Tensor) -> Tensor:
        """A recogniser's logits (B, L, V) under teacher forcing on inputs (B, L), with the language's say."""
        reads = self.known[inputs]
        # What is not read is left out: the others move together, and each step sees the last one that was read.
        order = (~reads).to(torch.uint8).argsort(stable=True, dim=1)
        opinions = self._opinion(self(inputs.gather(1, order).clamp(max=self.config.tokens - 1)))
        last = (reads.cumsum(1) - 1)[..., None].expand_as(opinions)
        return logits.float().log_softmax(-1) + opinions.gather(1, last)

    def heard(self, step: Step, state: State, first: Tensor) -> tuple[Step, State, Tensor]:
        """How a recogniser begins to decode (see `Model.start`), with the language's say in each step."""
        width = self.config.width

        def both(ids: Tensor, state: State) -> tuple[Tensor, State]:
            log_probs, after = step(ids, state)
            before = state[STATE]
            given = self.embedding(ids.clamp(max=self.config.tokens - 1))[:, None]
            hidden, cell = (part[None].contiguous() for part in before.chunk(2, -1))
            _, (hidden, cell) = self.lstm(given, (hidden, cell))
            now = torch.where(self.known[ids][:, None], torch.cat([hidden[0], cell[0]], -1), before)
            fused = (log_probs + self._opinion(self.out(now[:, :width]))).log_softmax(-1)
            return fused, {**after, STATE: now}

        return both, {**state, STATE: self.out.weight.new_zeros(len(first), 2 * width)}, first
