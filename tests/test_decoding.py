"""Searches against brute force over all sequences, on models small enough for it: tables of random numbers."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from hmer.decoding import (
    Hypothesis,
    Rules,
    State,
    Step,
    agreed,
    beam,
    ctc_beam,
    ctc_forced_scores,
    ctc_greedy,
    ctc_sample,
    filter_log_probs,
    forced_scores,
    greedy,
    loop_start,
    rescored,
    sample,
    select_rows,
)

END = 0


class Table:
    """A model whose next log-probabilities depend on the whole prefix, which it keeps in its state.

    state: the prefix (N, L) so far, -1 before it begins, and the number of the picture (N,).
    """

    def __init__(self, vocabulary: int, seed: int, spread: float = 2.0) -> None:
        self.vocabulary, self.seed, self.spread = vocabulary, seed, spread
        self._known: dict[tuple[int, ...], Tensor] = {}

    def log_probs(self, picture: int, prefix: Sequence[int]) -> Tensor:
        key = (picture, *prefix)
        if key not in self._known:
            number = self.seed
            for part in key:
                number = (number * 1_000_003 + part + 7) % 2**31
            generator = torch.Generator().manual_seed(number)
            self._known[key] = (torch.randn(self.vocabulary, generator=generator) * self.spread).log_softmax(-1)
        return self._known[key]

    def step(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        prefixes = torch.cat([state["prefix"], ids[:, None]], 1)
        rows = zip(state["picture"].tolist(), prefixes[:, 1:].tolist(), strict=True)
        scores = torch.stack([self.log_probs(picture, prefix) for picture, prefix in rows])
        return scores, {"prefix": prefixes, "picture": state["picture"]}

    def start(self, pictures: Sequence[int], width: int = 1) -> tuple[Step, State, Tensor]:
        rows = [picture for picture in pictures for _ in range(width)]
        state = {"prefix": torch.zeros(len(rows), 0, dtype=torch.long), "picture": torch.tensor(rows)}
        return self.step, state, torch.full((len(rows),), 99)

    def log_prob(self, picture: int, ids: Sequence[int]) -> list[float]:
        """Log-probabilities of the tokens of an ended sequence, its end included."""
        whole = (*ids, END)
        return [float(self.log_probs(picture, whole[:place])[token]) for place, token in enumerate(whole)]


def every_answer(table: Table, picture: int, max_length: int, penalty: float) -> list[tuple[float, tuple[int, ...]]]:
    """All sequences that end within `max_length` steps, best score first."""
    tokens = [token for token in range(table.vocabulary) if token != END]
    answers = [ids for length in range(max_length) for ids in itertools.product(tokens, repeat=length)]
    scored = [(sum(table.log_prob(picture, ids)) / (len(ids) + 1) ** penalty, ids) for ids in answers]
    return sorted(scored, reverse=True)


def test_finished_rows_leave_the_batch() -> None:
    table, settings = Table(6, 3), {"end_id": END, "max_length": 30}
    step, state, first = table.start(range(20))
    rows: list[int] = []

    def counted(ids: Tensor, state: State) -> tuple[Tensor, State]:
        rows.append(len(ids))
        return step(ids, state)

    found = greedy(counted, state, first, **settings)
    assert found == [greedy(*table.start([picture]), **settings)[0] for picture in range(20)]
    assert rows == sorted(rows, reverse=True) and rows[0] == 20 and rows[-1] < 5


@pytest.mark.parametrize("penalty", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize(("vocabulary", "width"), [(3, 60), (4, 160)])
def test_a_beam_wide_enough_gives_the_exact_list(vocabulary: int, width: int, penalty: float) -> None:
    for seed in range(3):
        table = Table(vocabulary, seed)
        settings = {"width": width, "end_id": END, "max_length": 4, "length_penalty": penalty}
        found = beam(*table.start([0, 1], width), **settings)
        for picture, hypotheses in enumerate(found):
            expected = every_answer(table, picture, 4, penalty)
            if not hypotheses[0].finished:
                cut = hypotheses.pop(0)  # likelier as far as it goes than any that ended
                assert len(cut.ids) == 4
                assert cut.log_prob > max(hypothesis.log_prob for hypothesis in hypotheses)
            assert [hypothesis.ids for hypothesis in hypotheses] == [ids for _, ids in expected]
            assert [hypothesis.score for hypothesis in hypotheses] == pytest.approx(
                [score for score, _ in expected], abs=1e-5
            )
            for hypothesis in hypotheses:
                assert hypothesis.finished
                assert hypothesis.log_probs == pytest.approx(table.log_prob(picture, hypothesis.ids), abs=1e-6)


def test_rescoring_weighs_both_directions() -> None:
    forward, backward = Table(4, 0), Table(4, 1)
    for penalty in (0.0, 1.0):
        found = beam(*forward.start([0, 1], 3), width=3, end_id=END, max_length=60, length_penalty=penalty)
        found[1] = found[1][:1]  # fewer than the width
        both = rescored(found, *backward.start([0, 1], 3), start_id=END, width=3, length_penalty=penalty)
        assert [len(hypotheses) for hypotheses in both] == [len(hypotheses) for hypotheses in found]
        assert len(both[0]) > 1
        for picture, hypotheses in enumerate(both):
            expected = {}
            for item in found[picture]:
                sums = sum(forward.log_prob(picture, item.ids)), sum(backward.log_prob(picture, item.ids[::-1]))
                expected[item.ids] = sum(sums) / 2 / (len(item.ids) + 1) ** penalty
            assert [item.ids for item in hypotheses] == sorted(expected, key=expected.__getitem__, reverse=True)
            assert {item.ids: item.score for item in hypotheses} == pytest.approx(expected, abs=1e-5)


def plain_beam(table: Table, picture: int, width: int, max_length: int, penalty: float) -> list[tuple[int, ...]]:
    """Beam search as a textbook writes it: one picture, Python lists, same rules for keeping and stopping."""
    live: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    ended: list[tuple[float, float, tuple[int, ...]]] = []
    for length in range(1, max_length + 1):
        grown = [
            (total + float(table.log_probs(picture, ids)[token]), ids, token)
            for total, ids in live
            for token in range(table.vocabulary)
        ]
        grown.sort(key=lambda entry: -entry[0])
        ended += [(total / length**penalty, total, ids) for total, ids, token in grown[:width] if token == END]
        ended = sorted(ended, key=lambda entry: -entry[0])[:width]
        live = [(total, (*ids, token)) for total, ids, token in grown if token != END][:width]
        if len(ended) == width and ended[-1][0] >= live[0][0] / length**penalty:
            return [ids for _, _, ids in ended]
    cut = [ids for total, ids in live if all(total > other for _, other, _ in ended)]
    return [*(cut[:1] if ended else cut), *(ids for _, _, ids in ended)][:width]


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_a_narrow_beam_is_the_textbook_one(width: int) -> None:
    for seed, penalty in itertools.product(range(12), (0.0, 1.0)):
        table = Table(4, seed, spread=1.0)
        found = beam(*table.start([0, 1, 2], width), width=width, end_id=END, max_length=6, length_penalty=penalty)
        expected = [plain_beam(table, picture, width, 6, penalty) for picture in range(3)]
        assert [[hypothesis.ids for hypothesis in answers] for answers in found] == expected


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_beam_width_one_is_greedy(penalty: float) -> None:
    for seed in range(30):
        table = Table(5, seed)
        best = greedy(*table.start([0, 1]), end_id=END, max_length=7)
        found = beam(*table.start([0, 1]), width=1, end_id=END, max_length=7, length_penalty=penalty)
        assert [answers[0].ids for answers in found] == [hypothesis.ids for hypothesis in best]
        assert [answers[0].finished for answers in found] == [hypothesis.finished for hypothesis in best]
        for answers, hypothesis in zip(found, best, strict=True):
            assert answers[0].log_probs == pytest.approx(hypothesis.log_probs, abs=1e-6)


def test_what_all_looks_find_likely_is_best() -> None:
    there, back = Table(4, 0), Table(4, 1)
    looks = [0, 1, 2]
    found = beam(*there.start(looks, 5), width=5, end_id=END, max_length=4, length_penalty=0.0)
    starts = [lambda count: there.start(looks, count), lambda count: back.start(looks, count)]
    common = {"end_id": END, "start_id": END, "most": 4, "length_penalty": 0.0}
    best = agreed(found, starts, **common)  # type: ignore[arg-type]

    def judged(ids: tuple[int, ...]) -> float:
        said = [sum(there.log_prob(look, ids)) + sum(back.log_prob(look, ids[::-1])) for look in looks]
        return sum(said) / len(said) / 2

    known = {item.ids for items in found for item in items}
    assert len(best) == 4 and {item.ids for item in best} <= known
    assert [item.score for item in best] == pytest.approx([judged(item.ids) for item in best], abs=1e-5)
    assert [item.score for item in best] == sorted((item.score for item in best), reverse=True)
    (alone,) = agreed(found, starts[:1], **(common | {"most": 1}))  # type: ignore[arg-type]
    assert alone.backward is None and alone.finished
    unfinished = [[Hypothesis((1,), (-1.0,), False, -1.0)], [Hypothesis((2,), (-0.5,), False, -0.5)]]
    assert agreed(unfinished, starts, **common) == unfinished[0]  # type: ignore[arg-type]


def test_forced_scores_are_those_after_what_was_given() -> None:
    table = Table(4, 0)
    rows = forced_scores(*table.start([7]), (2, 1, 3))
    assert torch.equal(rows, torch.stack([table.log_probs(7, prefix) for prefix in ((), (2,), (2, 1))]))
    assert len(forced_scores(*table.start([7]), ())) == 0


def test_greedy_takes_the_likeliest_token_of_every_step() -> None:
    table = Table(4, 5)
    (hypothesis,) = greedy(*table.start([3]), end_id=END, max_length=50)
    for place, token in enumerate((*hypothesis.ids, END)):
        assert int(table.log_probs(3, hypothesis.ids[:place]).argmax()) == token
    assert hypothesis.finished
    assert hypothesis.log_prob == pytest.approx(sum(table.log_prob(3, hypothesis.ids)), abs=1e-5)
    assert hypothesis.score == pytest.approx(hypothesis.log_prob / (len(hypothesis.ids) + 1), abs=1e-6)


def test_pictures_together_are_as_each_alone() -> None:
    for seed in range(10):
        table = Table(4, seed)
        pictures = [4, 0, 2]
        together = beam(*table.start(pictures, 3), width=3, end_id=END, max_length=8)
        alone = [beam(*table.start([picture], 3), width=3, end_id=END, max_length=8)[0] for picture in pictures]
        assert [[item.ids for item in answers] for answers in together] == [
            [item.ids for item in answers] for answers in alone
        ]
        together_one = greedy(*table.start(pictures), end_id=END, max_length=8)
        assert together_one == [greedy(*table.start([picture]), end_id=END, max_length=8)[0] for picture in pictures]
        drawn = sample(*table.start(pictures), end_id=END, max_length=8, seed=seed)
        assert drawn == [
            sample(*table.start([picture]), end_id=END, max_length=8, seed=seed)[0] for picture in pictures
        ]


def never_ends(ids: Tensor, state: State) -> tuple[Tensor, State]:
    """Three tokens, 1 likelier than 2, and no end."""
    return torch.tensor([[0.0, 0.7, 0.3]]).log().expand(len(ids), -1), state


def test_what_does_not_end_is_unfinished_and_as_long_as_allowed() -> None:
    (hypothesis,) = greedy(never_ends, {}, torch.tensor([9]), end_id=END, max_length=3)
    assert hypothesis == Hypothesis((1, 1, 1), hypothesis.log_probs, False, hypothesis.score)
    assert hypothesis.log_prob == pytest.approx(3 * math.log(0.7), abs=1e-6)
    (found,) = beam(never_ends, {}, torch.tensor([9, 9]), width=2, end_id=END, max_length=3)
    assert [item.ids for item in found] in ([(1, 1, 1), (1, 1, 2)], [(1, 1, 1), (1, 2, 1)], [(1, 1, 1), (2, 1, 1)])
    assert not any(item.finished for item in found)
    assert found[1].log_prob == pytest.approx(math.log(0.7 * 0.7 * 0.3), abs=1e-6)
    (drawn,) = sample(never_ends, {}, torch.tensor([9]), end_id=END, max_length=3, seed=1)
    assert len(drawn.ids) == 3 and not drawn.finished


@pytest.mark.parametrize(
    ("ids", "start"),
    [
        ([7] * 31, None),
        ([7] * 32, 1),
        ([1, 2, 3] + [7] * 32, 4),
        ([9, *([1, 2, 3] * 11)], 4),
        ([9, *([1, 2, 3] * 10)], None),
        (list(range(20)) * 8, 20),
        (list(range(20)) * 7, None),
        (list(range(10)) * 7, None),  # a matrix of seven equal rows
        ([1, 2] * 15 + [3], None),
        (list(range(100)), None),
    ],
)
def test_a_loop_is_what_repeats_eight_times_and_long(ids: list[int], start: int | None) -> None:
    assert loop_start(ids) == start


def test_loops_are_cut_and_unfinished() -> None:
    (hypothesis,) = greedy(never_ends, {}, torch.tensor([9]), end_id=END, max_length=500)
    assert hypothesis.ids == (1,) and len(hypothesis.log_probs) == 1 and not hypothesis.finished
    (found,) = beam(only_one, {}, torch.tensor([9, 9]), width=2, end_id=END, max_length=500)
    assert [(item.ids, item.finished) for item in found] == [((1,), False)]


def hardly_ends(ids: Tensor, state: State) -> tuple[Tensor, State]:
    """A model that goes on counting, and at every step might as well end, but hardly."""
    following = (ids - 1) % 40 + 2
    scores = torch.full((len(ids), 42), -20.0)
    scores[:, END] = -6.0
    return scores.scatter(1, following[:, None], 0.0).log_softmax(-1), state


def hardly_ends_its_loop(ids: Tensor, state: State) -> tuple[Tensor, State]:
    """The same with two tokens in turn."""
    scores = torch.full((len(ids), 4), -20.0)
    scores[:, END] = -6.0
    return scores.scatter(1, torch.where(ids == 2, 3, 2)[:, None], 0.0).log_softmax(-1), state


@pytest.mark.parametrize("model", [hardly_ends, hardly_ends_its_loop])
def test_a_beam_does_not_pass_off_a_part_as_the_whole(model: Step) -> None:
    (single,) = greedy(model, {}, torch.tensor([1]), end_id=END, max_length=60)
    (found,) = beam(model, {}, torch.tensor([1] * 5), width=5, end_id=END, max_length=60)
    assert not single.finished and not found[0].finished
    assert found[0].ids == single.ids
    assert len(found) == 5 and all(item.finished for item in found[1:])
    both = rescored([found], model, {}, torch.tensor([1] * 5), start_id=END, width=5, length_penalty=1.0)
    assert not both[0][0].finished and all(item.finished for item in both[0][1:])


def only_one(ids: Tensor, state: State) -> tuple[Tensor, State]:
    """A model that writes 1 for ever and nothing else."""
    return torch.tensor([[float("-inf"), 0.0]]).expand(len(ids), -1), state


def test_a_beam_wider_than_the_answers_there_are() -> None:
    """With one token, and the end forced after two, only one answer exists."""

    def rules(prefixes: Sequence[tuple[int, ...]]) -> Tensor:
        return torch.tensor([[len(prefix) >= 2, len(prefix) < 2] for prefix in prefixes])

    table = Table(2, 0)
    (found,) = beam(*table.start([0], 5), width=5, end_id=END, max_length=6, rules=rules)
    assert [(item.ids, item.finished) for item in found] == [((1, 1), True)]
    assert found[0].log_prob == pytest.approx(0.0)


def only(*tokens: int) -> Rules:
    return lambda prefixes: torch.tensor([[token in tokens for token in range(4)]]).expand(len(prefixes), -1)


def test_rules_forbid_and_the_rest_is_renormalised() -> None:
    table = Table(4, 2)
    rules = only(END, 2)
    (best,) = greedy(*table.start([0]), end_id=END, max_length=5, rules=rules)
    assert set(best.ids) <= {2}
    two = table.log_probs(0, ())[[END, 2]].log_softmax(-1)
    assert best.log_probs[0] == pytest.approx(float(two.max()), abs=1e-6)
    (found,) = beam(*table.start([0], 6), width=6, end_id=END, max_length=5, rules=rules)
    assert all(set(item.ids) <= {2} for item in found)
    assert len({item.ids for item in found}) == len(found) == 5  # of none to four 2s
    assert sum(math.exp(item.log_prob) for item in found) <= 1 + 1e-6
    drawn = sample(*table.start([0] * 50), end_id=END, max_length=5, rules=rules)
    assert all(set(item.ids) <= {2} for item in drawn)


def test_rules_see_the_prefix_of_each_row() -> None:
    seen: list[list[tuple[int, ...]]] = []

    def rules(prefixes: Sequence[tuple[int, ...]]) -> Tensor:
        seen.append(list(prefixes))
        return torch.ones(len(prefixes), 4, dtype=torch.bool)

    table = Table(4, 1)
    beam(*table.start([0], 3), width=3, end_id=END, max_length=3, rules=rules)
    assert [len(prefixes) for prefixes in seen] == [3] * len(seen)
    assert seen[0] == [()] * 3
    assert all(len(prefix) == place for place, prefixes in enumerate(seen) for prefix in prefixes)


PROBABILITIES = [0.1, 0.4, 0.2, 0.3]
FILTERED = [
    ({}, [0.1, 0.4, 0.2, 0.3]),
    ({"top_k": 1}, [0, 1, 0, 0]),
    ({"top_k": 2}, [0, 4 / 7, 0, 3 / 7]),
    ({"top_k": 4}, [0.1, 0.4, 0.2, 0.3]),
    ({"top_k": 99}, [0.1, 0.4, 0.2, 0.3]),
    ({"top_p": 0.01}, [0, 1, 0, 0]),
    ({"top_p": 0.39}, [0, 1, 0, 0]),
    ({"top_p": 0.41}, [0, 4 / 7, 0, 3 / 7]),
    ({"top_p": 0.75}, [0, 4 / 9, 2 / 9, 3 / 9]),
    ({"top_p": 0.95}, [0.1, 0.4, 0.2, 0.3]),
    ({"temperature": 0.5}, [1 / 30, 16 / 30, 4 / 30, 9 / 30]),
    ({"temperature": 1e-3}, [0, 1, 0, 0]),
    ({"temperature": 100.0}, [0.24802, 0.25148, 0.24974, 0.25076]),
    ({"temperature": 0.5, "top_k": 3, "top_p": 0.6}, [0, 16 / 25, 0, 9 / 25]),
    ({"top_k": 2, "top_p": 0.5}, [0, 1, 0, 0]),  # 4/7 of what top-k left is enough
]


@pytest.mark.parametrize(("settings", "expected"), FILTERED, ids=[str(settings) for settings, _ in FILTERED])
def test_filtered_probabilities(settings: dict[str, float], expected: list[float]) -> None:
    filtered = filter_log_probs(torch.tensor([PROBABILITIES]).log(), **settings)[0].exp()  # type: ignore[arg-type]
    assert filtered.tolist() == pytest.approx(expected, abs=2e-4)


def test_of_equal_tokens_top_k_keeps_only_so_many() -> None:
    filtered = filter_log_probs(torch.zeros(1, 6), top_k=2).exp()[0]
    assert sorted(filtered.tolist()) == pytest.approx([0, 0, 0, 0, 0.5, 0.5])


def test_filters_work_row_by_row() -> None:
    rows = torch.tensor([PROBABILITIES, PROBABILITIES[::-1], [0.0, 0.0, 1.0, 0.0]]).log()
    filtered = filter_log_probs(rows, top_k=2, top_p=0.9).exp()
    assert filtered.flatten().tolist() == pytest.approx([0, 4 / 7, 0, 3 / 7, 3 / 7, 0, 4 / 7, 0, 0, 0, 1, 0], abs=1e-6)


def test_the_same_seed_gives_the_same_draw_and_others_others() -> None:
    table = Table(4, 7, spread=0.5)

    def draw(seed: int | None) -> tuple[int, ...]:
        return sample(*table.start([0]), end_id=END, max_length=12, seed=seed)[0].ids

    assert draw(3) == draw(3)
    assert len({draw(seed) for seed in range(20)}) > 10
    assert len({draw(None) for _ in range(20)}) > 3


@pytest.mark.parametrize("settings", [{}, {"temperature": 2.0, "top_k": 3}, {"top_p": 0.7}], ids=str)
def test_draws_follow_the_probabilities(settings: dict[str, float]) -> None:
    table = Table(4, 11, spread=1.0)
    drawn = sample(*table.start([0] * 4000), end_id=END, max_length=2, **settings)  # type: ignore[arg-type]
    first = Counter(item.ids[0] if item.ids else END for item in drawn)
    expected = filter_log_probs(table.log_probs(0, ())[None], **settings)[0].exp()  # type: ignore[arg-type]
    for token, probability in enumerate(expected.tolist()):
        # Five standard deviations.
        assert first[token] / 4000 == pytest.approx(
            probability, abs=5 * math.sqrt(max(probability * (1 - probability), 1e-6) / 4000)
        )
    seeded = Counter(
        (sample(*table.start([0]), end_id=END, max_length=1, seed=seed, **settings)[0].ids or (END,))[0]  # type: ignore[arg-type]
        for seed in range(1000)
    )
    for token, probability in enumerate(expected.tolist()):
        assert seeded[token] / 1000 == pytest.approx(probability, abs=0.08)


def test_recorded_log_probabilities_are_the_models_own() -> None:
    table = Table(4, 4)
    (drawn,) = sample(*table.start([0]), end_id=END, max_length=20, temperature=3.0, top_k=3, seed=5)
    assert drawn.finished
    assert drawn.log_probs == pytest.approx(table.log_prob(0, drawn.ids), abs=1e-6)


def test_rows_of_a_state_are_taken_together() -> None:
    state = {"a": torch.arange(6).view(3, 2), "b": torch.tensor([5, 6, 7])}
    chosen = select_rows(state, torch.tensor([2, 2, 0]))
    assert chosen["a"].tolist() == [[4, 5], [4, 5], [0, 1]]
    assert chosen["b"].tolist() == [7, 7, 5]


# -- CTC: blank 0, tokens 1 and 2 (and 3) --

BLANK, NO_END = 0, 99
CTC = {"blank_id": BLANK, "end_id": NO_END, "max_length": 50}


def frames_of(frames: int, vocabulary: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(frames, vocabulary, generator=generator) * 1.5).log_softmax(-1)


def collapse(path: Sequence[int]) -> tuple[int, ...]:
    return tuple(token for token, _ in itertools.groupby(path) if token != BLANK)


def every_alignment(scores: Tensor) -> list[tuple[float, tuple[int, ...]]]:
    """Every sequence with the log-probability of all its alignments together, likeliest first."""
    sums: Counter[tuple[int, ...]] = Counter()
    rows = scores.exp().tolist()
    for path in itertools.product(range(scores.shape[1]), repeat=len(rows)):
        sums[collapse(path)] += math.prod(row[token] for row, token in zip(rows, path, strict=True))
    return sorted(((math.log(value), ids) for ids, value in sums.items()), reverse=True)


@pytest.mark.parametrize(("frames", "vocabulary"), [(1, 3), (3, 3), (5, 3), (4, 4)])
def test_a_wide_prefix_beam_finds_every_sequence_with_all_its_alignments(frames: int, vocabulary: int) -> None:
    for seed in range(4):
        scores = frames_of(frames, vocabulary, seed)
        expected = every_alignment(scores)
        (found,) = ctc_beam(scores[None], torch.tensor([frames]), width=400, **CTC)
        assert [item.ids for item in found] == [ids for _, ids in expected]
        assert [item.score for item in found] == pytest.approx([value for value, _ in expected], abs=1e-5)
        assert [item.log_prob for item in found] == pytest.approx([value for value, _ in expected], abs=1e-5)
        assert sum(math.exp(item.score) for item in found) == pytest.approx(1.0)
        assert all(item.finished and len(item.log_probs) == len(item.ids) + 1 for item in found)


def test_a_narrow_prefix_beam_never_exceeds_the_truth_and_a_wider_one_finds_it() -> None:
    found_best = Counter[int]()
    for seed in range(30):
        scores = frames_of(6, 4, seed)
        exact = {ids: value for value, ids in every_alignment(scores)}
        for width in (1, 3, 10):
            (found,) = ctc_beam(scores[None], torch.tensor([6]), width=width, **CTC)
            assert len(found) <= width
            assert all(item.score <= exact[item.ids] + 1e-5 for item in found)
            found_best[width] += found[0].ids == max(exact, key=lambda ids: exact[ids])
    assert found_best[1] < found_best[3] < found_best[10] and found_best[10] >= 28


def test_forced_ctc_scores_are_those_of_the_whole_sequence() -> None:
    scores = frames_of(5, 4, seed=3)
    truth = {ids: log_prob for log_prob, ids in every_alignment(scores)}
    sequence = (1, 2, 1)
    rows = ctc_forced_scores(scores, sequence, blank_id=0, tried=3)
    for place, row in enumerate(rows):
        others = [(*sequence[:place], token, *sequence[place + 1 :]) for token in (1, 2, 3)]
        whole = torch.tensor([truth[ids] for ids in others]).logsumexp(0)
        assert row[0] == float("-inf")
        assert row[1:].tolist() == pytest.approx([truth[ids] - float(whole) for ids in others], abs=1e-4)
    few = ctc_forced_scores(scores, sequence, blank_id=0, tried=1)
    assert all(torch.isfinite(row).sum() <= 2 for row in few)


def test_greedy_ctc_is_the_likeliest_path_collapsed() -> None:
    for seed in range(20):
        scores = frames_of(5, 3, seed)
        rows = scores.tolist()
        total, path = max(
            (sum(row[token] for row, token in zip(rows, path, strict=True)), path)
            for path in itertools.product(range(3), repeat=5)
        )
        (found,) = ctc_greedy(scores[None], torch.tensor([5]), **CTC)
        assert found.ids == collapse(path)
        assert found.log_prob == pytest.approx(total, abs=1e-5)
        assert len(found.log_probs) == len(found.ids) + 1


def test_frames_behind_a_picture_do_not_count() -> None:
    scores = torch.stack([frames_of(6, 3, 1), frames_of(6, 3, 2)])
    for search in (ctc_greedy, lambda *given, **settings: [b[0] for b in ctc_beam(*given, width=5, **settings)]):
        together = search(scores, torch.tensor([4, 6]), **CTC)
        alone = [
            search(scores[row : row + 1, :count], torch.tensor([count]), **CTC)[0] for row, count in ((0, 4), (1, 6))
        ]
        assert [item.ids for item in together] == [item.ids for item in alone]
        assert [item.score for item in together] == pytest.approx([item.score for item in alone])


def test_ctc_sampling_filters_each_frame_and_then_collapses() -> None:
    scores = frames_of(3, 3, 4)
    drawn = ctc_sample(scores.expand(4000, -1, -1), torch.full((4000,), 3), **CTC)
    counts = Counter(item.ids for item in drawn)
    for value, ids in every_alignment(scores):
        probability = math.exp(value)
        assert counts[ids] / 4000 == pytest.approx(probability, abs=5 * math.sqrt(probability / 4000) + 3 / 4000)
    top = ctc_sample(scores[None], torch.tensor([3]), top_k=1, **CTC)
    assert top == ctc_greedy(scores[None], torch.tensor([3]), **CTC)
    seeds = [ctc_sample(scores[None], torch.tensor([3]), seed=seed, **CTC)[0].ids for seed in (1, 1, *range(20))]
    assert seeds[0] == seeds[1] and len(set(seeds)) > 3


def test_ctc_keeps_the_rules() -> None:
    """Token 2 never; and no answer may end before it has two tokens."""

    def rules(prefixes: Sequence[tuple[int, ...]]) -> Tensor:
        return torch.tensor([[False, True, False, len(prefix) >= 2] for prefix in prefixes])

    settings = {"blank_id": BLANK, "end_id": 3, "max_length": 50, "rules": rules}
    for seed in range(10):
        scores = frames_of(5, 4, seed)
        scores[:, 3] = -1e9
        scores = scores.log_softmax(-1)
        (found,) = ctc_beam(scores[None], torch.tensor([5]), width=50, **settings)
        assert {item.ids for item in found} == {(), (1,), (1, 1), (1, 1, 1)}
        assert [item.finished for item in found] == [len(item.ids) >= 2 for item in found]
        assert found[0].finished
        for item in (
            *ctc_greedy(scores[None], torch.tensor([5]), **settings),
            *ctc_sample(scores[None], torch.tensor([5]), **settings),
        ):
            assert set(item.ids) <= {1} and item.finished == (len(item.ids) >= 2)


def test_a_ctc_answer_that_is_too_long_is_cut_and_unfinished() -> None:
    scores = torch.full((1, 6, 3), -20.0)
    for frame, token in enumerate((1, 2, 1, 2, 1, 2)):
        scores[0, frame, token] = 0.0
    settings = CTC | {"max_length": 3}
    for item in (
        *ctc_greedy(scores, torch.tensor([6]), **settings),
        ctc_beam(scores, torch.tensor([6]), width=4, **settings)[0][0],
    ):
        assert item.ids == (1, 2, 1)
        assert not item.finished
