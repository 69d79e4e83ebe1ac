"""Searching for an answer: greedy, beam search and sampling, as pure functions over a step callable.

A step takes the ids chosen last (N,) and the state of the N hypotheses, and gives log-probabilities (N, V) and the
next state; hypotheses of one picture are neighbours. Where the state holds PICTURE, (N,) the picture of each, those of
pictures that are done may be left out. `Rules`, where given, says which tokens may follow a prefix.

For CTC, which has an output for each frame and none that depends on the last token, the same three searches work on
the log-probabilities of all frames (B, T, V); runs are joined and blanks dropped.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]  # every tensor has one row a hypothesis, first
Step = Callable[[Tensor, State], tuple[Tensor, State]]
Rules = Callable[[Sequence[tuple[int, ...]]], Tensor]  # prefixes of N hypotheses -> (N, V) bool, True: may follow
MINUS_INFINITY = float("-inf")
PICTURE = "picture"
CROWDED = 0.75  # a batch goes on without its finished rows when no more than this share is left


@dataclass(frozen=True)
class Hypothesis:
    """A token sequence without the end token; log-probabilities include the end token's where it was reached.

    score is what the search ranks by: the sum divided by length ** length_penalty, the end token counted; after
    `rescored` the mean of both directions' sums, divided so. backward: the other direction's sum, if known. language:
    what a language model adds to that, if one was asked.
    """

    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    finished: bool
    score: float
    backward: float | None = None
    language: float = 0.0

    @property
    def log_prob(self) -> float:
        """Sum over tokens, from left to right."""
        return sum(self.log_probs)

    @property
    def joint_log_prob(self) -> float:
        """The mean of both directions' sums, where both are known, and the language's say."""
        read = self.log_prob if self.backward is None else (self.log_prob + self.backward) / 2
        return read + self.language


def select_rows(state: State, rows: Tensor) -> State:
    """The state of the chosen hypotheses, in their order; a row may be taken several times."""
    return {key: value.index_select(0, rows) for key, value in state.items()}


def _score(log_prob: float, length: int, penalty: float) -> float:
    return float(log_prob / max(length, 1) ** penalty)


def _ruled(log_probs: Tensor, rules: Rules | None, prefixes: Sequence[tuple[int, ...]]) -> Tensor:
    """Log-probabilities with what the rules forbid set to minus infinity and the rest renormalised."""
    if rules is None:
        return log_probs
    return log_probs.masked_fill(~rules(prefixes).to(log_probs.device), MINUS_INFINITY).log_softmax(-1)


# Tokens, copies and tokens: no row of zeros or dots, and no matrix of equal rows, that people write is as long.
SHORTEST_LOOP, MOST_COPIES, LONGEST_PERIOD = 32, 8, 40


def loop_start(ids: Sequence[int]) -> int | None:
    """Where a sequence began to repeat itself for ever, one copy left in; None if it does not.

    A loop: the last 32 tokens or more are eight copies or more of the same up to 40 tokens.
    """
    for period in range(1, min(LONGEST_PERIOD, len(ids) // MOST_COPIES) + 1):
        length = max(SHORTEST_LOOP, MOST_COPIES * period)
        if length <= len(ids) and all(ids[-place] == ids[-place - period] for place in range(1, length - period + 1)):
            start = len(ids) - length
            while start > 0 and ids[start - 1] == ids[start - 1 + period]:
                start -= 1
            return start + period
    return None


def greedy(
    step: Step, state: State, first: Tensor, *, end_id: int, max_length: int, rules: Rules | None = None
) -> list[Hypothesis]:
    """The likeliest token at every step; one hypothesis for each of the N rows."""
    return _single(step, state, first, lambda log_probs: log_probs.argmax(-1), end_id, max_length, rules)


def sample(
    step: Step,
    state: State,
    first: Tensor,
    *,
    end_id: int,
    max_length: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int | None = None,
    rules: Rules | None = None,
) -> list[Hypothesis]:
    """Tokens drawn at random, one hypothesis a row; see `filter_log_probs`. Log-probabilities are those before it.

    The same seed gives the same draw for a row, whatever other rows there are: with a seed all rows share the random
    number of a step.
    """
    draw = sampler(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    return _single(step, state, first, draw, end_id, max_length, rules)


def sampler(*, temperature: float, top_k: int, top_p: float, seed: int | None) -> Callable[[Tensor], Tensor]:
    """A function that draws a token a row from log-probabilities (N, V); see `sample` for what a seed does."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)

    def draw(log_probs: Tensor) -> Tensor:
        kept = filter_log_probs(log_probs, temperature=temperature, top_k=top_k, top_p=top_p)
        sums = kept.double().exp().cumsum(-1)
        numbers = torch.rand(1 if seed is not None else len(sums), 1, generator=generator, dtype=torch.float64)
        return (sums <= numbers.to(sums.device) * sums[:, -1:]).sum(-1)

    return draw


def _single(
    step: Step,
    state: State,
    first: Tensor,
    choose: Callable[[Tensor], Tensor],
    end_id: int,
    max_length: int,
    rules: Rules | None,
) -> list[Hypothesis]:
    count = len(first)
    ids: list[list[int]] = [[] for _ in range(count)]
    log_probs: list[list[float]] = [[] for _ in range(count)]
    finished, looped = [False] * count, [False] * count
    last, rows = first, list(range(count))
    for _ in range(max_length):
        scores, state = step(last, state)
        scores = _ruled(scores, rules, [tuple(ids[row]) for row in rows])
        last = choose(scores)
        chosen = scores.gather(1, last[:, None])[:, 0].tolist()
        for row, token, log_prob in zip(rows, last.tolist(), chosen, strict=True):
            if finished[row]:
                continue
            log_probs[row].append(log_prob)
            if token == end_id:
                finished[row] = True
            else:
                ids[row].append(token)
                start = loop_start(ids[row])
                if start is not None:  # it would go on to the end: cut, and not finished
                    del ids[row][start:], log_probs[row][start:]
                    looped[row] = finished[row] = True
        left = [place for place, row in enumerate(rows) if not finished[row]]
        if not left:
            break
        if PICTURE in state and len(left) <= CROWDED * len(rows):
            kept = torch.tensor(left, device=last.device)
            state, last, rows = select_rows(state, kept), last[kept], [rows[place] for place in left]
    return [
        Hypothesis(
            tuple(ids[row]),
            tuple(log_probs[row]),
            finished[row] and not looped[row],
            _score(sum(log_probs[row]), len(log_probs[row]), 1.0),
        )
        for row in range(count)
    ]


def filter_log_probs(log_probs: Tensor, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Log-probabilities (N, V) after temperature, then top-k (0: off), then top-p, renormalised.

    top-p keeps the smallest set of likeliest tokens whose probabilities add up to at least `top_p` (Holtzman et
    al. 2020); at least one token is always kept.
    """
    log_probs = (log_probs / temperature).log_softmax(-1)
    if 0 < top_k < log_probs.shape[-1]:
        likeliest = log_probs.topk(top_k, -1).indices  # not by value: of equal ones, too, only so many are kept
        dropped = torch.ones_like(log_probs, dtype=torch.bool).scatter(1, likeliest, False)
        log_probs = log_probs.masked_fill(dropped, MINUS_INFINITY)
    if top_p < 1.0:
        ordered, order = log_probs.log_softmax(-1).sort(-1, descending=True)
        before = ordered.exp().cumsum(-1) - ordered.exp()
        drop = torch.zeros_like(log_probs, dtype=torch.bool).scatter(1, order, before >= top_p)
        log_probs = log_probs.masked_fill(drop, MINUS_INFINITY)
    return log_probs.log_softmax(-1)


@dataclass
class _Beam:
    """The search for one picture: live hypotheses and those that ended, best first.

    `looped`: the likeliest that began to repeat itself, with its log-probability, copies and all.
    """

    ids: list[tuple[int, ...]]
    log_probs: list[tuple[float, ...]]
    ended: list[Hypothesis]
    done: bool = False
    looped: tuple[float, Hypothesis] | None = None


def beam(
    step: Step,
    state: State,
    first: Tensor,
    *,
    width: int,
    end_id: int,
    max_length: int,
    length_penalty: float = 1.0,
    rules: Rules | None = None,
) -> list[list[Hypothesis]]:
    """Beam search for B pictures at once: `first` and the state have B * width rows. Best hypothesis first.

    A picture is done when `width` hypotheses have ended and no live one scores better than the worst of them.
    A loop, or what is not at its end at `max_length`, comes first, `finished` False, where it is likelier than all that
    ended: those are the same reading broken off somewhere.
    """
    rows = len(first)
    count = rows // width
    beams = [_Beam([()] * width, [()] * width, []) for _ in range(count)]
    sums = torch.full((count, width), MINUS_INFINITY, device=first.device)
    sums[:, 0] = 0.0  # all start alike: only one may branch
    last = first
    for length in range(1, max_length + 1):
        scores, state = step(last, state)
        scores = _ruled(scores, rules, [prefix for item in beams for prefix in item.ids])
        vocabulary = scores.shape[-1]
        totals = (sums.view(rows, 1) + scores).view(count, width * vocabulary)
        best, where = totals.topk(min(2 * width, width * vocabulary), -1)
        best_list, where_list, step_scores = best.tolist(), where.tolist(), scores.reshape(count, -1)
        next_rows, next_ids = [], []
        for picture, item in enumerate(beams):
            live: list[tuple[int, int, float, float]] = []
            for rank, (total, place) in enumerate(zip(best_list[picture], where_list[picture], strict=True)):
                if total == MINUS_INFINITY or item.done:
                    break
                parent, token = divmod(place, vocabulary)
                here = float(step_scores[picture, place])
                if token == end_id:
                    if rank < width:
                        probabilities = (*item.log_probs[parent], here)
                        score = _score(total, length, length_penalty)
                        item.ended.append(Hypothesis(item.ids[parent], probabilities, True, score))
                elif len(live) < width:
                    start = loop_start((*item.ids[parent], token))
                    if start is None:
                        live.append((parent, token, here, total))
                    elif item.looped is None or total > item.looped[0]:
                        probabilities = item.log_probs[parent][:start]
                        score = _score(total, length, length_penalty)
                        item.looped = total, Hypothesis(item.ids[parent][:start], probabilities, False, score)
            item.ended.sort(key=lambda hypothesis: -hypothesis.score)
            del item.ended[width:]
            if not live:
                item.done = True
            elif len(item.ended) == width:
                item.done = item.ended[-1].score >= _score(live[0][3], length, length_penalty)
            base = picture * width
            if item.done:
                next_rows += [base] * width
                next_ids += [end_id] * width
                sums[picture] = MINUS_INFINITY
                continue
            ids, log_probs = item.ids, item.log_probs
            filled = live + [(live[0][0], live[0][1], live[0][2], MINUS_INFINITY)] * (width - len(live))
            item.ids = [(*ids[parent], token) for parent, token, _, _ in filled]
            item.log_probs = [(*log_probs[parent], here) for parent, _, here, _ in filled]
            next_rows += [base + parent for parent, _, _, _ in filled]
            next_ids += [token for _, token, _, _ in filled]
            sums[picture] = torch.tensor([total for _, _, _, total in filled], device=sums.device)
        if all(item.done for item in beams):
            break
        state = select_rows(state, torch.tensor(next_rows, device=first.device))
        last = torch.tensor(next_ids, device=first.device)
    return [_found(item, sums[picture], length_penalty)[:width] for picture, item in enumerate(beams)]


def forced(
    step: Step, state: State, first: Tensor, sequences: Sequence[Sequence[int]], *, end_id: int
) -> list[tuple[float, ...]]:
    """Log-probabilities of the tokens of one given sequence a row, and of its end."""
    found: list[list[float]] = [[] for _ in sequences]
    last = first
    for place in range(max(map(len, sequences)) + 1):
        scores, state = step(last, state)
        targets = [sequence[place] if place < len(sequence) else end_id for sequence in sequences]
        last = torch.tensor(targets, device=first.device)
        chosen = scores.gather(1, last[:, None])[:, 0].tolist()
        for row, sequence in enumerate(sequences):
            if place <= len(sequence):
                found[row].append(chosen[row])
    return [tuple(row) for row in found]


def forced_scores(step: Step, state: State, first: Tensor, sequence: Sequence[int]) -> Tensor:
    """Log-probabilities (L, V) of all tokens at each place of a sequence, given the ones before it (teacher forcing).

    One row: `first` (1,).
    """
    rows = []
    last = first
    for token in sequence:
        scores, state = step(last, state)
        rows.append(scores[0])
        last = torch.tensor([token], device=first.device)
    return torch.stack(rows) if rows else torch.zeros(0, 0, device=first.device)


def rescored(
    found: Sequence[list[Hypothesis]],
    step: Step,
    state: State,
    first: Tensor,
    *,
    start_id: int,
    width: int,
    length_penalty: float,
) -> list[list[Hypothesis]]:
    """What a beam search found, best first by both directions; `step` reads from right to left and ends with `start_id`.

    `first` and the state have `width` rows a picture, and there are at most so many hypotheses of each. A reading that
    went wrong early looks worse from its other end (Liu et al. 2016; Zhao et al. 2021, BTTR).
    """
    rows = [hypotheses[min(place, len(hypotheses) - 1)] for hypotheses in found for place in range(width)]
    said = forced(step, state, first, [hypothesis.ids[::-1] for hypothesis in rows], end_id=start_id)
    return [
        _reordered(
            [replace(item, backward=sum(said[picture * width + place])) for place, item in enumerate(hypotheses)],
            length_penalty,
        )
        for picture, hypotheses in enumerate(found)
    ]


def agreed(
    found: Sequence[Sequence[Hypothesis]],
    starts: Sequence[Callable[[int], tuple[Step, State, Tensor]]],
    *,
    end_id: int,
    start_id: int,
    most: int,
    length_penalty: float,
) -> list[Hypothesis]:
    """What was found in several looks at one picture, best first by all of them.

    `found`: of each look, the best first; the `most` likeliest are judged. `starts`: from left to right and, where the
    model can, from right to left, each gives a search over all looks with so many hypotheses of each. A log-probability
    is the mean over the looks: a reading that only one of them supports is an error of that one.
    """
    ended: dict[tuple[int, ...], float] = {}
    for hypothesis in (item for hypotheses in found for item in hypotheses if item.finished):
        ended[hypothesis.ids] = max(hypothesis.log_prob, ended.get(hypothesis.ids, MINUS_INFINITY))
    if not ended:
        return list(found[0])
    likeliest = sorted(ended, key=lambda ids: -ended[ids])[:most]
    count, looks = len(likeliest), len(found)

    def judged(sequences: Sequence[tuple[int, ...]], direction: int, last: int) -> list[tuple[float, ...]]:
        said = forced(*starts[direction](count), [*sequences] * looks, end_id=last)
        of_each = [[said[look * count + place] for look in range(looks)] for place in range(count)]
        return [tuple(sum(tokens) / looks for tokens in zip(*rows, strict=True)) for rows in of_each]

    hypotheses = [Hypothesis(ids, log_probs, True, 0.0) for ids, log_probs in zip(
        likeliest, judged(likeliest, 0, end_id), strict=True
    )]  # fmt: skip
    if len(starts) > 1:
        back = judged([ids[::-1] for ids in likeliest], 1, start_id)
        hypotheses = [replace(item, backward=sum(said)) for item, said in zip(hypotheses, back, strict=True)]
    return _reordered(hypotheses, length_penalty)


def informed(
    found: Sequence[list[Hypothesis]],
    opinions: Callable[[Sequence[tuple[int, ...]]], Sequence[float]],
    *,
    weight: float,
    length_penalty: float,
) -> list[list[Hypothesis]]:
    """What a beam search found, best first with the language's say: `weight` times what `opinions` gives for each."""
    ordered = []
    for hypotheses in found:
        added = opinions([item.ids for item in hypotheses])
        said = [replace(item, language=weight * value) for item, value in zip(hypotheses, added, strict=True)]
        ordered.append(_reordered(said, length_penalty))
    return ordered


def _reordered(hypotheses: Sequence[Hypothesis], penalty: float) -> list[Hypothesis]:
    """Scored by all that is known of them, best first; what did not end stays at the head or comes last."""
    scored = [replace(item, score=_score(item.joint_log_prob, len(item.log_probs), penalty)) for item in hypotheses]
    head = [item for item in scored[:1] if not item.finished]
    return head + sorted(scored[len(head) :], key=lambda item: (not item.finished, -item.score))


def _found(item: _Beam, sums: Tensor, penalty: float) -> list[Hypothesis]:
    """What ended, best first; at its head what did not, where it is likelier than all of them; or live ones alone."""
    live = [
        (total, Hypothesis(ids, log_probs, False, _score(total, len(ids), penalty)))
        for ids, log_probs, total in zip(item.ids, item.log_probs, sums.tolist(), strict=True)
        if total != MINUS_INFINITY
    ]
    unfinished = sorted([*live, *filter(None, [item.looped])], key=lambda pair: -pair[0])
    if not item.ended:
        return [hypothesis for _, hypothesis in unfinished]
    best = max(hypothesis.log_prob for hypothesis in item.ended)
    return [hypothesis for total, hypothesis in unfinished[:1] if total > best] + item.ended


def ctc_greedy(
    scores: Tensor, frames: Tensor, *, blank_id: int, end_id: int, max_length: int, rules: Rules | None = None
) -> list[Hypothesis]:
    """The likeliest token of every frame, collapsed: scores (B, T, V), of which frames (B,) count.

    A hypothesis' log-probability is that of the one path that was taken.
    """
    return _ctc_single(scores, frames, lambda log_probs: log_probs.argmax(-1), blank_id, end_id, max_length, rules)


def ctc_sample(
    scores: Tensor,
    frames: Tensor,
    *,
    blank_id: int,
    end_id: int,
    max_length: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int | None = None,
    rules: Rules | None = None,
) -> list[Hypothesis]:
    """Every frame drawn at random after `filter_log_probs`, then collapsed; the same seed gives the same draw."""
    draw = sampler(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    return _ctc_single(scores, frames, draw, blank_id, end_id, max_length, rules)


@dataclass
class _Path:
    """One path through the frames: the collapsed tokens, the log-probability of each, and what the last frame was."""

    blank: int
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    waiting: float = 0.0  # of blanks since the last token
    last: int = -1

    def take(self, token: int, log_prob: float) -> None:
        if token == self.blank:
            self.waiting += log_prob
        elif token == self.last:
            self.log_probs[-1] += log_prob
        else:
            self.ids.append(token)
            self.log_probs.append(log_prob + self.waiting)
            self.waiting = 0.0
        self.last = token


def _ctc_single(
    scores: Tensor,
    frames: Tensor,
    choose: Callable[[Tensor], Tensor],
    blank_id: int,
    end_id: int,
    max_length: int,
    rules: Rules | None,
) -> list[Hypothesis]:
    lengths = frames.tolist()
    paths = [_Path(blank_id) for _ in lengths]
    for frame in range(max(lengths, default=0)):
        now = scores[:, frame]
        if rules is not None:
            allowed = rules([tuple(path.ids) for path in paths]).to(now.device).clone()
            for row, path in enumerate(paths):
                allowed[row, [blank_id, path.last if path.last >= 0 else blank_id]] = True
            now = now.masked_fill(~allowed, MINUS_INFINITY).log_softmax(-1)
        chosen = choose(now)
        values = now.gather(1, chosen[:, None])[:, 0].tolist()
        for row, token in enumerate(chosen.tolist()):
            if frame < lengths[row]:
                paths[row].take(token, values[row])
    return [_ended(tuple(path.ids), path.log_probs, path.waiting, end_id, max_length, rules) for path in paths]


def _ended(
    ids: tuple[int, ...],
    log_probs: Sequence[float],
    rest: float,
    end_id: int,
    max_length: int,
    rules: Rules | None,
) -> Hypothesis:
    """A hypothesis after the last frame; unfinished where it is too long or the rules do not let it end there."""
    finished = len(ids) <= max_length and (rules is None or bool(rules([ids])[0, end_id]))
    total = sum(log_probs) + rest
    if len(ids) > max_length:
        ids, log_probs, rest = ids[:max_length], log_probs[:max_length], 0.0
    return Hypothesis(ids, (*log_probs, rest), finished, total)


@dataclass
class _Prefix:
    """Log-probability of all paths to a prefix that end in a blank, and of those that end in its last token."""

    blank: float = MINUS_INFINITY
    token: float = MINUS_INFINITY
    log_probs: tuple[float, ...] = ()  # of each token at the frame where it was first written

    @property
    def total(self) -> float:
        return _log_add(self.blank, self.token)


def _log_add(one: float, other: float) -> float:
    high, low = max(one, other), min(one, other)
    return high if low == MINUS_INFINITY else high + math.log1p(math.exp(low - high))


def ctc_beam(
    scores: Tensor,
    frames: Tensor,
    *,
    width: int,
    blank_id: int,
    end_id: int,
    max_length: int,
    rules: Rules | None = None,
) -> list[list[Hypothesis]]:
    """Prefix beam search: the likeliest token sequences over all their paths. Best hypothesis first.

    Source: Graves et al. 2006, Hannun et al. 2014. scores (B, T, V), of which frames (B,) count. Without rules, only
    the 2 * width likeliest tokens of a frame are tried. A sequence's score is its log-probability; the length of an
    answer does not enter, for every answer explains all frames.
    """
    return [
        _ctc_beam_one(scores[row, :count].tolist(), width, blank_id, end_id, max_length, rules)
        for row, count in enumerate(frames.tolist())
    ]


def _ctc_beam_one(
    frames: list[list[float]], width: int, blank_id: int, end_id: int, max_length: int, rules: Rules | None
) -> list[Hypothesis]:
    live: dict[tuple[int, ...], _Prefix] = {(): _Prefix(blank=0.0)}
    for log_probs in frames:
        candidates = [token for token, value in enumerate(log_probs) if token != blank_id and value > -1e8]
        if rules is None:
            candidates = sorted(candidates, key=lambda token: -log_probs[token])[: 2 * width]
        allowed = dict(zip(live, rules(list(live)).tolist(), strict=True)) if rules is not None else {}
        after: dict[tuple[int, ...], _Prefix] = {}
        for ids, prefix in live.items():
            total = prefix.total
            same = after.setdefault(ids, _Prefix(log_probs=prefix.log_probs))
            same.blank = _log_add(same.blank, total + log_probs[blank_id])
            if ids:
                same.token = _log_add(same.token, prefix.token + log_probs[ids[-1]])
            for token in candidates:
                if allowed and not allowed[ids][token]:
                    continue
                # An equal token is a new one only behind a blank.
                before = prefix.blank if ids and token == ids[-1] else total
                if before == MINUS_INFINITY:
                    continue
                grown = (*ids, token)
                longer = after.setdefault(grown, _Prefix(log_probs=(*prefix.log_probs, log_probs[token])))
                longer.token = _log_add(longer.token, before + log_probs[token])
        best = sorted(after.items(), key=lambda item: -item[1].total)[:width]  # and so they stay sorted
        live = {ids: prefix for ids, prefix in best if prefix.total > MINUS_INFINITY}
    found = []
    for ids, prefix in live.items():
        rest = prefix.total - sum(prefix.log_probs)
        found.append(_ended(ids, prefix.log_probs, rest, end_id, max_length, rules))
    if any(hypothesis.finished for hypothesis in found) and rules is not None:
        found.sort(key=lambda hypothesis: not hypothesis.finished)  # what the rules let end comes first
    return found


def ctc_forced_scores(scores: Tensor, sequence: Sequence[int], *, blank_id: int, tried: int) -> Tensor:
    """Log-probabilities (L, V) of all tokens at each place of a sequence, given all the others; scores (T, V).

    The `tried` tokens that are likeliest in any frame are compared, and the one that stands there; the others get minus
    infinity. That of a token is the probability of the whole sequence with it, over all its alignments.
    """
    frames, size = scores.shape
    likeliest = scores.max(0).values
    likeliest[blank_id] = MINUS_INFINITY
    candidates = likeliest.topk(min(tried, size - 1)).indices.tolist()
    rows = torch.full((len(sequence), size), MINUS_INFINITY, device=scores.device)
    for place, token in enumerate(sequence):
        others = sorted({*candidates, token})
        targets = torch.tensor([[*sequence[:place], other, *sequence[place + 1 :]] for other in others])
        lengths = torch.full((len(others),), len(sequence))
        losses = functional.ctc_loss(
            scores[:, None].expand(-1, len(others), -1), targets.to(scores.device), torch.full_like(lengths, frames),
            lengths, blank_id, "none",
        )  # fmt: skip
        rows[place, torch.tensor(others, device=scores.device)] = (-losses).log_softmax(-1)
    return rows
