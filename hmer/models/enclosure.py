"""What encloses the next token: the innermost group that is open, and how many are.

A decoder that has to count its own braces drops one in twelve long formulas. What is open follows from the tokens so far, so it
is told at every step: the token that opened the innermost group (`^`, `\\sqrt`, `\\mathrm`, `}` for a second argument, `\\left`,
`\\begin{array}`), and the depth. Read from right to left, what a `}` closes is not known yet: then the `}` itself is told.
Source: stack-augmented recurrent networks (Joulin and Mikolov 2015), here with a stack that need not be learnt.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hmer.vocabulary import END_ID, Vocabulary

DEEPEST = 24  # of groups in groups beyond that, the one at this depth is told
PAIRS = {"{": "}", "\\left": "\\right"}  # and \begin{...} with its \end{...}
# Ids that opened (N, DEEPEST + 2), nothing in the first place; how many are open (N,); the token before (N,).
Open = tuple[Tensor, Tensor, Tensor]


class Enclosure(nn.Module):
    """Adds nothing at first: its weights begin at zero, so that a trained decoder can be given one."""

    change: Tensor  # (2, V) by direction: 1 for a token that opens a group, -1 for one that closes it
    bare: Tensor  # (2, V) bool: one that opens and says less than the token before

    def __init__(self, vocabulary: Vocabulary, width: int) -> None:
        super().__init__()
        self.opener = nn.Embedding(len(vocabulary), width)
        self.depth = nn.Embedding(DEEPEST + 1, width)
        nn.init.zeros_(self.opener.weight)
        nn.init.zeros_(self.depth.weight)
        self.index(vocabulary)

    def index(self, vocabulary: Vocabulary) -> None:
        """Which ids open and close; a vocabulary that has grown gives rows of zeros to its new tokens."""
        tokens = vocabulary.tokens
        missing = len(tokens) - self.opener.num_embeddings
        if missing > 0:
            weight = self.opener.weight.detach()
            weight = torch.cat([weight, weight.new_zeros(missing, weight.shape[1])])
            self.opener = nn.Embedding(len(tokens), weight.shape[1], _weight=weight)
        left = torch.tensor([token in PAIRS or token.startswith("\\begin{") for token in tokens]).long()
        right = torch.tensor([token in PAIRS.values() or token.startswith("\\end{") for token in tokens]).long()
        brace = torch.tensor([token == "{" for token in tokens])
        self.register_buffer("change", torch.stack([left - right, right - left]), persistent=False)
        self.register_buffer("bare", torch.stack([brace, torch.zeros_like(brace)]), persistent=False)

    def start(self, count: int, device: torch.device) -> Open:
        """Nothing is open, for `count` rows."""
        nothing = torch.zeros(count, dtype=torch.long, device=device)
        return nothing.new_full((count, DEEPEST + 2), self.opener.num_embeddings), nothing, nothing

    def follow(self, ids: Tensor, backward: Tensor, state: Open) -> Open:
        """What is open after these tokens (N,); `backward` (N,) is 1 for rows that are read from right to left, else 0."""
        stack, depth, before = state
        opener = torch.where(self.bare[backward, ids], before, ids)
        # Written whether it opens or not: what lies above the innermost group is never read.
        stack = stack.scatter(1, (depth + 1).clamp_(max=DEEPEST + 1)[:, None], opener[:, None])
        return stack, (depth + self.change[backward, ids]).clamp_(min=0), ids

    def tables(self) -> tuple[Tensor, Tensor]:
        """What is told of openers (V + 1, width), of nothing open in the last row, and of depths (DEEPEST + 1, width)."""
        weight = self.opener.weight
        return torch.cat([weight, weight.new_zeros(1, weight.shape[1])]), self.depth.weight

    def tell(self, state: Open, tables: tuple[Tensor, Tensor]) -> Tensor:
        """For the input of the next step: (N, width)."""
        stack, depth, _ = state
        depth = depth.clamp(max=DEEPEST)
        opener = stack.gather(1, depth[:, None])[:, 0]
        return functional.embedding(opener, tables[0]) + functional.embedding(depth, tables[1])

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs of teacher forcing, whole captions with their start in either direction: (N, L) -> (N, L, width)."""
        backward = (inputs[:, 0] == END_ID).long()
        state, states = self.start(len(inputs), inputs.device), []
        for ids in inputs.unbind(1):
            state = self.follow(ids, backward, state)
            states.append(state)
        joined = tuple(torch.cat(parts) for parts in zip(*states, strict=True))
        told = self.tell(joined, self.tables())  # type: ignore[arg-type]
        return told.view(inputs.shape[1], len(inputs), -1).transpose(0, 1)
