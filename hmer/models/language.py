"""What formulas are like, whatever the picture: a recurrent network over tokens that ranks what beam search found.

It learns from formulas as text, of which there are far more than pictures: a recogniser knows the formulas of its
pictures only. In each step of decoding its say did more harm than good (it prefers the usual structure to the one that
is drawn); among whole answers, all of which suit the picture, it helps.
Source: rescoring with a language model (as in Chorowski and Jaitly 2017).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from hmer.config import LanguageConfig, check
from hmer.vocabulary import END_ID, PAD_ID, SPECIAL, START_ID, Vocabulary

# Whether limits stand under an operator or beside it is for the picture alone to say; lists of formulas do not.
UNSAID = frozenset({"\\limits"})


class LanguageModel(nn.Module):
    """An LSTM over the first `config.tokens` ids of a vocabulary, which only grows.

    It abstains from ids that it does not know, and from UNSAID: they are neither read nor judged. Raises ConfigError.
    """

    def __init__(self, config: LanguageConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        check(
            0 < config.tokens <= len(vocabulary),
            f"LanguageConfig.tokens: from 1 to the vocabulary's {len(vocabulary)}.",
        )
        self.config = config
        words = vocabulary.tokens[: config.tokens]
        self.known = frozenset(place for place, token in enumerate(words) if token not in (*SPECIAL, *UNSAID))
        self.embedding = nn.Embedding(config.tokens, config.width // 2)
        self.lstm = nn.LSTM(config.width // 2, config.width, batch_first=True)
        self.out = nn.Linear(config.width, config.tokens)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs (B, L), ids that it knows -> logits of the next ones (B, L, tokens)."""
        states, _ = self.lstm(self.dropout(self.embedding(inputs)))
        logits: Tensor = self.out(self.dropout(states))
        return logits

    @torch.no_grad()
    def opinions(self, sequences: Sequence[Sequence[int]]) -> list[float]:
        """How usual each sequence of ids is as a formula, its end judged too; `config.weight` of it counts.

        The sum over the tokens of how much likelier each is than what was to be expected at that place: its
        log-probability and the entropy there. So long answers are not worse than short ones, and where it abstains
        nothing is lost or won.
        """
        said = [[index for index in ids if index in self.known] for ids in sequences]
        device = self.out.weight.device
        inputs = pad_sequence([torch.tensor([START_ID, *ids]) for ids in said], batch_first=True, padding_value=PAD_ID)
        targets = pad_sequence([torch.tensor([*ids, END_ID]) for ids in said], batch_first=True, padding_value=PAD_ID)
        log_probs = self(inputs.to(device)).float().log_softmax(-1)
        entropies = -(log_probs.exp() * log_probs).sum(-1)
        likelier = log_probs.gather(-1, targets.to(device)[..., None])[..., 0] + entropies
        sums: list[float] = (likelier * (targets != PAD_ID).to(device)).sum(1).tolist()
        return sums
