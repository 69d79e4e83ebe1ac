"""What encloses the next token: the innermost group that is open, and how many are.

A decoder that has to count its own braces drops one in twelve long formulas. What is open follows from the tokens so far, so it
is told at every step: the token that opened the innermost group (`^`, `\\sqrt`, `\\mathrm`, `}` for a second argument, `\\left`,
`\\begin{array}`), and the depth. Read from right to left, what a `}` closes is not known yet: then the `}` itself is told.
Source: stack-augmented recurrent networks (Joulin and Mikolov 2015), here with a stack that need not be learnt.
"""

import torch
from torch import Tensor, nn

from hmer.vocabulary import END_ID, Vocabulary

DEEPEST = 24  # groups in groups beyond that are taken for ones at this depth
PAIRS = {"{": "}", "\\left": "\\right"}  # and \begin{...} with its \end{...}
Open = tuple[Tensor, Tensor, Tensor]  # ids that opened (N, DEEPEST), how many are open (N,), the token before (N,)


class Enclosure(nn.Module):
    """Adds nothing at first: its weights begin at zero, so that a trained decoder can be given one."""

    ways: Tensor  # (2, V, 3) bool, by direction: whether a token opens, closes, or opens and says less than the one before

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
        left = torch.tensor([token in PAIRS or token.startswith("\\begin{") for token in tokens])
        right = torch.tensor([token in PAIRS.values() or token.startswith("\\end{") for token in tokens])
        brace = torch.tensor([token == "{" for token in tokens])
        ways = [torch.stack([left, right, brace], 1), torch.stack([right, left, torch.zeros_like(brace)], 1)]
        self.register_buffer("ways", torch.stack(ways), persistent=False)

    def start(self, count: int, device: torch.device) -> Open:
        """Nothing is open, for `count` rows."""
        return (
            torch.zeros(count, DEEPEST, dtype=torch.long, device=device),
            torch.zeros(count, dtype=torch.long, device=device),
            torch.zeros(count, dtype=torch.long, device=device),
        )

    def follow(self, ids: Tensor, backward: Tensor, state: Open) -> Open:
        """What is open after these tokens (N,); `backward` (N,) says which rows are read from right to left."""
        stack, depth, before = state
        opens, closes, bare = self.ways[backward.long(), ids].unbind(1)
        closes = closes & (depth > 0)
        opener = torch.where(bare, before, ids)
        top = depth.clamp(max=DEEPEST - 1)[:, None]
        stack = stack.scatter(1, top, torch.where(opens[:, None], opener[:, None], stack.gather(1, top)))
        return stack, depth + opens.long() - closes.long(), ids

    def tell(self, state: Open) -> Tensor:
        """For the input of the next step: (N, width)."""
        stack, depth, _ = state
        opener = stack.gather(1, (depth.clamp(max=DEEPEST) - 1).clamp(min=0)[:, None])[:, 0]
        inside = (depth > 0)[:, None].to(self.opener.weight.dtype)
        told: Tensor = self.opener(opener) * inside + self.depth(depth.clamp(max=DEEPEST))
        return told

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs of teacher forcing, whole captions with their start in either direction: (N, L) -> (N, L, width)."""
        backward = inputs[:, 0] == END_ID
        state, states = self.start(len(inputs), inputs.device), []
        for ids in inputs.unbind(1):
            state = self.follow(ids, backward, state)
            states.append(state)
        joined = tuple(torch.cat(parts) for parts in zip(*states, strict=True))
        told = self.tell(joined)  # type: ignore[arg-type]
        return told.view(inputs.shape[1], len(inputs), -1).transpose(0, 1)
