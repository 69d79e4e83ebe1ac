"""The gate: its arithmetic by hand, and what is remembered of a regression set."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch
from toys import FORMULAS, write_dataset

from hmer.checkpoint import load, resolve
from hmer.datasets.folder import read_dataset
from hmer.evaluation import evaluate
from hmer.gate import Comparison, Reader, Readings, Verdict, allowed_flips, passing_share, table
from hmer.precision import fastest
from hmer.recognizer import Recognizer
from hmer.regression import RegressionSet


def readings(right: int, n: int, nll: float | None = None) -> Readings:
    """So many right answers first, then one edit each; a likelihood a token."""
    edits = (0,) * right + (1,) * (n - right)
    return Readings(edits, (4,) * n, 0.0 if nll is None else -nll * n, 0 if nll is None else n)


def test_figures_by_hand() -> None:
    both = readings(1, 2, 0.5) + readings(0, 2, 1.5)
    assert both.edits == (0, 1, 1, 1)
    assert both.exprate == 0.25
    assert both.token_error_rate == 3 / 16
    assert both.nll == pytest.approx(1.0)
    assert Readings().exprate == 0.0 and Readings().nll is None


@pytest.mark.parametrize(
    ("before", "after", "better"),
    [
        (readings(3, 10, 1.0), readings(4, 10, 1.2), True),
        (readings(3, 10, 1.0), readings(3, 10, 0.9), True),
        (readings(3, 10, 1.0), readings(3, 10, 1.0), False),
        (readings(3, 10, 1.0), readings(2, 10, 0.5), False),
        (readings(3, 10), readings(3, 10), False),  # a new symbol in each: no likelihood to compare
        (readings(0, 10), readings(8, 10), True),
    ],
)
def test_what_is_an_improvement(before: Readings, after: Readings, better: bool) -> None:
    assert Comparison("corrections", before, after).improves is better


def flipped(n: int, lost: int, won: int) -> Comparison:
    """Of n items so many are lost and won; half of the others are right on both sides."""
    same = [index % 2 for index in range(n - lost - won)]
    before = Readings((*same, *[0] * lost, *[1] * won), (4,) * n)
    after = Readings((*same, *[1] * lost, *[0] * won), (4,) * n)
    return Comparison("regression set", before, after)


@pytest.mark.parametrize(
    ("lost", "won", "keeps"),
    # Half-width of the interval: 1.96 * sqrt(lost + won) / 500.
    [(0, 0, True), (2, 2, True), (5, 5, False), (3, 9, True), (8, 2, False), (20, 20, False), (0, 30, True)],
)
def test_a_loss_of_a_point_must_be_excluded(lost: int, won: int, keeps: bool) -> None:
    comparison = flipped(500, lost, won)
    low, high = comparison.interval
    assert low <= (won - lost) / 500 <= high
    assert comparison.keeps is keeps
    verdict = Verdict(flipped(10, 0, 1), comparison)
    assert verdict.accepted is keeps
    assert keeps or "cannot be excluded" in verdict.reasons[0]


def test_so_many_flips_pass() -> None:
    for n in (500, 2_000):
        allowed = round(allowed_flips(n) * n / 2)
        assert flipped(n, round(0.8 * allowed), round(0.8 * allowed)).keeps
        assert not flipped(n, round(1.3 * allowed), round(1.3 * allowed)).keeps
    assert flipped(500, 4, 6).flips == 10 / 500


@pytest.mark.parametrize(("lost", "won"), [(80, 80), (90, 50), (60, 10), (40, 0)])
def test_so_much_of_the_way_passes(lost: int, won: int) -> None:
    def at(share: float) -> Comparison:
        """A third of the flips at half the way, and a quarter of the loss."""
        flips, loss = (lost + won) * share**1.5, (lost - won) * share**2
        return flipped(2_000, round((flips + loss) / 2), round((flips - loss) / 2))

    share = passing_share(at(1))
    assert not at(1).keeps and 0 < share < 1
    assert at(share).keeps and not at(1.3 * share).keeps
    assert passing_share(flipped(2_000, 0, 0)) == passing_share(flipped(2_000, 1, 1)) == 1


def test_a_verdict_needs_something_held_out_but_no_regression_set() -> None:
    better, worse = flipped(10, 0, 1), flipped(10, 1, 0)
    assert Verdict(better, None).accepted
    assert Verdict(None, flipped(500, 0, 0)).reasons == (
        "nothing could be held out, so whether it improves cannot be measured",
    )
    both = Verdict(worse, flipped(500, 30, 0))
    assert len(both.reasons) == 2 and not both.accepted
    figures = both.figures()
    assert figures["corrections"]["n"] == 10 and figures["regression"]["after"]["nll"] is None
    assert json.dumps(figures)
    header, line, _ = both.table().splitlines()
    assert ("ExpRate" in header and line.split()[:2] == ["regression", "set"]) or "0.5" in line
    assert table([]) == header


def test_what_is_not_measured_is_said() -> None:
    better = flipped(10, 0, 1)
    assert "no regression set" in Verdict(better, None).table()
    assert "has 30 items" in Verdict(better, flipped(30, 0, 0)).table()
    assert Verdict(better, flipped(500, 0, 0)).caution == ""


def test_it_reads_as_evaluate_does(toy_checkpoint: Path, toy_data: Path) -> None:
    recognizer = Recognizer.load(toy_checkpoint)
    items = read_dataset(toy_data, "crohme")
    said: list[int] = []
    found = Reader(items, recognizer.model.vocabulary).read(recognizer, progress=said.append)
    with fastest():
        expected = evaluate(recognizer, items, teacher_forcing=True)
    assert found.exprate == expected.scores.exprate
    assert found.token_error_rate == pytest.approx(expected.scores.token_error_rate)
    assert found.nll == pytest.approx(expected.loss, rel=1e-3)
    assert said == sorted(said) and said[-1] == len(items)


@pytest.mark.slow
def test_made_to_write_the_truth_it_is_right_where_it_finds_it() -> None:
    """Real ink, half of it misread: teacher forcing tells right from wrong as decoding does."""
    handwritten = Recognizer.load("handwritten")
    folder = resolve("handwritten") / "regression"
    reader = Reader(read_dataset(folder, "crohme")[:40], handwritten.model.vocabulary)
    decoded, forced = (reader.read(handwritten, count_edits=count) for count in (True, False))
    assert forced.right == decoded.right and 5 < sum(forced.right) < 35
    assert forced.nll == pytest.approx(decoded.nll, rel=5e-3)  # bf16 rounds otherwise in other batches
    assert decoded.token_error_rate is not None and forced.token_error_rate is None

    passes = []
    handwritten.model.layers[0].register_forward_hook(lambda *_: passes.append(1))  # type: ignore[operator,union-attr]
    reader.looks.clear()
    reader.read(handwritten, count_edits=False)
    from_nothing = len(passes)
    again = reader.read(handwritten, count_edits=False)  # begins with where the last one looked
    assert len(passes) - from_nothing < 0.5 * from_nothing
    assert again.right == forced.right and again.nll == pytest.approx(forced.nll, rel=5e-3)


def test_what_was_read_is_remembered(toy_checkpoint: Path, data_folder: Path, tmp_path: Path) -> None:
    recognizer = Recognizer(load(toy_checkpoint))
    folder = write_dataset(tmp_path / "regression", FORMULAS)
    known = recognizer.model.vocabulary
    first = RegressionSet(folder, "crohme", known).readings(recognizer)
    (kept,) = (data_folder / "regression").glob("*.json")
    recognizer.read = None  # type: ignore[assignment,method-assign]  # would fail if it were read again
    again = RegressionSet(folder, "crohme", known)
    assert again.readings(recognizer) == first

    kept.write_text("{}")  # damaged: read again, which is seen
    with pytest.raises(TypeError):
        again.readings(recognizer)
    labels = folder / "labels.tsv"
    labels.write_text(labels.read_text().replace("1 + x", "1 - x"))  # another set
    with pytest.raises(TypeError):
        RegressionSet(folder, "crohme", known).readings(recognizer)


def test_where_it_looked_is_remembered(data_folder: Path, tmp_path: Path) -> None:
    recognizer = Recognizer.load("handwritten")
    folder = write_dataset(tmp_path / "regression", FORMULAS)
    one, two, three = (RegressionSet(folder, "crohme", recognizer.model.vocabulary) for _ in range(3))
    first = one.readings(recognizer)
    assert two.readings(recognizer) == first
    assert len(two.reader.looks) == len(FORMULAS)
    for index, look in one.reader.looks.items():
        assert look.shape[0] == len(one.reader.items[index].tokens) + 1
        assert torch.equal(look, two.reader.looks[index])

    (kept,) = (path for path in (data_folder / "regression").glob("*.npz") if not path.name.startswith("seen"))
    kept.write_bytes(kept.read_bytes()[:-100])  # damaged: only slower
    assert three.readings(recognizer) == first and not three.reader.looks


def test_what_the_encoder_saw_is_remembered(data_folder: Path, tmp_path: Path) -> None:
    old = Recognizer.load("handwritten")
    folder = write_dataset(tmp_path / "regression", FORMULAS)
    before = RegressionSet(folder, "crohme", old.model.vocabulary)
    first = before.readings(old)
    assert len(before.reader.seen) == len(FORMULAS)

    new = Recognizer.load("handwritten")
    with torch.no_grad():
        new.model.out.bias[5] += 0.1
    new = Recognizer(dataclasses.replace(new.checkpoint, id="new"))
    changed = RegressionSet(folder, "crohme", old.model.vocabulary)
    plain = changed.reader.read(new, count_edits=False)
    encoder, new.model.encoder.forward = new.model.encoder.forward, None  # type: ignore[method-assign,assignment]
    again = RegressionSet(folder, "crohme", old.model.vocabulary)
    after = again.readings(new, keep=False)  # would fail if it looked at the pictures
    assert after.edits == plain.edits and after.nll == pytest.approx(plain.nll, rel=1e-5)
    assert after.nll != first.nll

    new.model.encoder.forward = encoder  # type: ignore[method-assign]
    with torch.no_grad():
        new.model.encoder.stem[1].weight.mul_(1.01)  # type: ignore[union-attr,index,operator]
    again.reader.see_with(new)
    assert not again.reader.seen  # another encoder sees something else
    (kept,) = (data_folder / "regression").glob("seen-*.npz")
    kept.write_bytes(kept.read_bytes()[:-100])  # damaged: only slower
    assert RegressionSet(folder, "crohme", old.model.vocabulary).readings(old) == first


def test_only_what_the_last_encoders_saw_is_kept(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hmer.regression.SEEN_KEPT", 2)
    recognizer = Recognizer.load("handwritten")
    kept = data_folder / "regression"
    folders = [
        write_dataset(tmp_path / str(number), {caption: places})
        for number, (caption, places) in enumerate(list(FORMULAS.items())[:3])
    ]
    names = []
    for age, folder in enumerate(folders):
        if age == 2:  # the oldest is used again, and so the second is the one to go
            RegressionSet(folders[0], "crohme", recognizer.model.vocabulary).readings(recognizer)
        RegressionSet(folder, "crohme", recognizer.model.vocabulary).readings(recognizer)
        (name,) = {path.name for path in kept.glob("seen-*.npz")} - set(names)
        names.append(name)
        if age < 2:
            os.utime(kept / name, (age, age))
    assert {path.name for path in kept.glob("seen-*.npz")} == {names[0], names[2]}
