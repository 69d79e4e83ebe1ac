"""From corrections to a checkpoint that has learnt them and has not forgotten the rest."""

import copy
import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from toys import DELTA, FORMULAS, VOCABULARY, narrow, write_dataset

from hmer import finetune
from hmer.batch import Batch
from hmer.checkpoint import load, read_config
from hmer.config import AugmentConfig, ImageConfig, TrainConfig
from hmer.datasets.batches import Source, collate
from hmer.datasets.folder import LABELS, Item, read_dataset, read_rows
from hmer.errors import CheckpointError, DatasetError
from hmer.evaluation import evaluate
from hmer.finetune import (
    Learnt,
    correction_hashes,
    corrections_hash,
    fine_tune,
    fold_indices,
    held_apart,
    most_strength,
    steps_for,
    train_on,
)
from hmer.imprint import _states, imprint, rich_in_symbols
from hmer.models import Model, build
from hmer.precision import fastest
from hmer.recognizer import Recognizer
from hmer.trainer import fit


@pytest.fixture
def parent(toy_checkpoint: Path, tmp_path: Path) -> Path:
    """The toy checkpoint with a replay and a regression set."""
    folder = Path(shutil.copytree(toy_checkpoint, tmp_path / "parent"))
    write_dataset(folder / "replay", FORMULAS)
    write_dataset(folder / "regression", dict(list(FORMULAS.items())[:3]))
    return folder


def hold_out(data: Path, names: tuple[str, ...]) -> Path:
    """The dataset with a split column."""
    rows = [
        f"{row['file']}\t{row['latex']}\t{'held_out' if row['file'] in names else 'train'}" for row in read_rows(data)
    ]
    (data / LABELS).write_text("\n".join(["file\tlatex\tsplit", *rows]) + "\n", encoding="utf-8")
    return data


def test_steps_by_the_number_of_corrections() -> None:
    steps = [steps_for(count) for count in (1, 10, 100, 10_000)]
    assert steps == sorted(steps) and steps[0] >= 10 and steps[-1] <= 300


def test_parts_of_a_cross_validation(tmp_path: Path) -> None:
    formulas = [("a", "+", "b"), ("a", "+", "b"), ("c", "+", "d"), ("K",), ("K",), ("K",), ("e", "=", "f")]
    items = [Item(tmp_path / f"{index}.png", tokens) for index, tokens in enumerate(formulas)]
    folds = fold_indices(items, 3)
    assert len(folds) == 3
    assert sorted(index for _, kept in folds for index in kept) == list(range(len(items)))
    for rest, kept in folds:
        assert sorted(rest + kept) == list(range(len(items)))
        assert not {formulas[index] for index in kept if index < 3} & {formulas[index] for index in rest}
    assert len({number for number, (_, kept) in enumerate(folds) for index in kept if formulas[index] == ("K",)}) > 1
    assert fold_indices(items[:2], 3) == []  # one formula: nothing to measure on


def test_what_the_parent_was_taught_is_trained_on_and_not_measured(tmp_path: Path) -> None:
    formulas = [("a", "+", "b"), ("a", "+", "b"), ("c", "+", "d"), ("e", "=", "f"), ("g", "=", "h")]
    items = [Item(tmp_path / f"{index}.png", tokens) for index, tokens in enumerate(formulas)]
    folds = fold_indices(items, 2, [0, 2])
    assert sorted(kept for _, kept in folds) == [[0], [2]]
    # The other drawing of what is measured is left out as well.
    assert {tuple(rest) for rest, _ in folds} == {(2, 3, 4), (0, 1, 3, 4)}


def test_few_corrections_are_trusted_less_unless_they_hold_something_new(toy_checkpoint: Path) -> None:
    model, config = load(toy_checkpoint).model, read_config(toy_checkpoint)
    learnt = Learnt(toy_checkpoint, {}, model, config, "", ())
    shares = [most_strength(learnt, count) for count in (1, 10, 100)]
    assert shares == sorted(shares) and shares[1] == 0.5 and shares[2] > 0.9
    assert most_strength(dataclasses.replace(learnt, new_tokens=("@",)), 1) == 1.0


def test_the_hash_of_corrections_hangs_on_content_alone(toy_data: Path, tmp_path: Path) -> None:
    items = read_dataset(toy_data, "crohme")
    copied = read_dataset(shutil.copytree(toy_data, tmp_path / "copy"), "crohme")
    assert corrections_hash(items) == corrections_hash(copied[::-1])
    assert corrections_hash(items) != corrections_hash(items[1:])


def test_the_new_checkpoint_knows_its_parent_and_more_symbols(
    parent: Path, delta_data: Path, data_folder: Path, tmp_path: Path
) -> None:
    before = {path.relative_to(parent): path.read_bytes() for path in parent.rglob("*") if path.is_file()}
    said: list[tuple[str, float]] = []
    result = fine_tune(
        parent, delta_data, tmp_path / "out" / "child", steps=3, threads=1, force=True,
        report=lambda what, share: said.append((what, share)),
    )  # fmt: skip
    assert result.folder == tmp_path / "out" / "child"
    assert result.new_tokens == ("\\Delta",)
    corrections, regression = result.verdict.corrections, result.verdict.regression
    assert corrections is not None and (corrections.name, len(corrections.before)) == ("corrections, 3-fold", 6)
    assert regression is not None and len(regression.after) == 3
    child = read_config(result.folder)
    assert child.name == "child"
    assert child.parent == load(parent).id
    assert child.corrections == corrections_hash(read_dataset(delta_data, "crohme"))
    assert child.vocabulary == (*VOCABULARY.words, "\\Delta")
    card = (result.folder / "README.md").read_text(encoding="utf-8")
    assert child.parent in card and child.corrections in card and result.verdict.table() in card
    assert read_rows(result.folder / "replay") == read_rows(parent / "replay")
    assert read_rows(result.folder / "regression") == read_rows(parent / "regression")
    assert {path.relative_to(parent): path.read_bytes() for path in parent.rglob("*") if path.is_file()} == before
    shares = [share for _, share in said]
    assert shares == sorted(shares) and shares[-1] == 1.0 and {what for what, _ in said} >= {"learning", "comparing"}
    # Both checkpoints' results are remembered: the child may be the next parent.
    assert len(list((data_folder / "regression").glob("*.json"))) == 2


def test_a_second_fine_tuning_measures_on_what_is_new(parent: Path, toy_data: Path, tmp_path: Path) -> None:
    data = shutil.copytree(toy_data, tmp_path / "data")
    rows = (data / LABELS).read_text(encoding="utf-8").splitlines()
    (data / LABELS).write_text("\n".join(rows[:4]) + "\n", encoding="utf-8")
    first = fine_tune(parent, data, tmp_path / "first", steps=1, threads=1, force=True).folder
    assert first is not None and len(read_config(first).learnt_from) == 3
    (data / LABELS).write_text("\n".join(rows[:6]) + "\n", encoding="utf-8")
    second = fine_tune(first, data, tmp_path / "second", steps=1, threads=1, force=True)
    assert second.verdict.corrections is not None and len(second.verdict.corrections.before) == 2
    assert second.folder is not None
    learnt_from = read_config(second.folder).learnt_from
    assert len(learnt_from) == 5 and set(read_config(first).learnt_from) < set(learnt_from)
    # Nothing new: all of it, as there is nothing else, and that is said.
    again = fine_tune(second.folder, data, tmp_path / "again", steps=1, threads=1, force=True)
    assert again.verdict.corrections is not None and len(again.verdict.corrections.before) == 5
    assert "the old one knows" in again.verdict.corrections.name


def test_the_same_formula_written_otherwise_is_on_the_same_side(
    parent: Path, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = shutil.copytree(toy_data, tmp_path / "data")
    formulas = read_rows(data)
    rows = [f"{row['file']}\t{row['latex']}\ttrain" for row in formulas[2:]]
    rows += [f"{formulas[0]['file']}\t\\mathbf x + x\theld_out", f"{formulas[1]['file']}\tx + x\ttrain"]
    (data / LABELS).write_text("\n".join(["file\tlatex\tsplit", *rows]) + "\n", encoding="utf-8")
    monkeypatch.setattr(finetune, "ENOUGH_HELD_OUT", 1)
    result = fine_tune(parent, data, tmp_path / "child", steps=1, threads=1, force=True)
    assert result.verdict.corrections is not None and len(result.verdict.corrections.before) == 2
    assert result.folder is not None
    assert len(read_config(result.folder).learnt_from) == len(formulas) - 2


def test_what_is_held_out_leaves_something_of_every_new_symbol() -> None:
    def item(latex: str, split: str = "held_out") -> Item:
        return Item(Path("x.png"), tuple(latex.split()), split=split)

    items = [
        item("x + 1"),
        item("1 + x", "train"),
        item("\\xi + x"),
        item("\\xi + 1"),
        *[item("\\Delta")] * 2,
        *[item("x")] * 2,
    ]
    names = ["0", "1", "2", "3", "4", "5", "6", "7"]  # even ones of the symbols that stand alone are held out
    assert held_apart(items, names, VOCABULARY) == [True, False, False, False, True, False, True, False]
    assert held_apart([item("\\Delta")] * 2, ["4", "6"], VOCABULARY) == [False, False]


def test_a_picture_that_two_agreed_on_is_one_correction(parent: Path, toy_data: Path, tmp_path: Path) -> None:
    data = shutil.copytree(toy_data, tmp_path / "data")
    rows = (data / LABELS).read_text(encoding="utf-8").splitlines()
    (data / "broken.png").write_bytes(b"no picture")
    rows = [*rows[:4], rows[1], rows[2], "broken.png\tx + 1"]
    (data / LABELS).write_text("\n".join(rows) + "\n", encoding="utf-8")
    result = fine_tune(parent, data, tmp_path / "child", steps=1, threads=1, force=True)
    assert result.folder is not None and len(read_config(result.folder).learnt_from) == 3
    assert "on 3 corrections" in (result.folder / "README.md").read_text(encoding="utf-8")


def test_what_the_gate_refuses_is_not_kept(parent: Path, toy_data: Path, data_folder: Path, tmp_path: Path) -> None:
    items = read_dataset(toy_data, "crohme")[:1]  # nothing can be held out of one
    data = tmp_path / "one"
    data.mkdir()
    shutil.copy(items[0].path, data)
    (data / LABELS).write_text(f"file\tlatex\n{items[0].path.name}\t{' '.join(items[0].tokens)}\n", encoding="utf-8")
    result = fine_tune(parent, data, tmp_path / "child", steps=1, threads=1)
    assert result.folder is None and not result.verdict.accepted
    assert "nothing could be held out" in result.verdict.reasons[0]
    assert not (tmp_path / "child").exists()


def test_pictures_that_cannot_be_read_are_nothing_to_learn_from(
    toy_checkpoint: Path, toy_data: Path, tmp_path: Path
) -> None:
    items = read_dataset(shutil.copytree(toy_data, tmp_path / "data"), "crohme")[:2]
    for item in items:
        item.path.write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="can be read"):
        train_on(toy_checkpoint, items, "child", steps=1, threads=1)


def test_with_enough_held_out_they_are_measured_on(
    parent: Path, delta_data: Path, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hmer.finetune.ENOUGH_HELD_OUT", 2)
    data = hold_out(Path(shutil.copytree(delta_data, tmp_path / "data")), ("0_0.png", "1_0.png"))
    comparison = fine_tune(parent, data, tmp_path / "child", steps=1, threads=1).verdict.corrections
    assert comparison is not None
    items = read_dataset(data, "crohme")
    count = sum(held_apart(items, correction_hashes(items), VOCABULARY))
    assert 2 <= count < len(items)
    assert (comparison.name, len(comparison.before)) == ("held-out corrections", count)


def test_part_of_the_way(toy_checkpoint: Path, delta_data: Path) -> None:
    learnt = train_on(toy_checkpoint, read_dataset(delta_data, "crohme"), "child", steps=2, threads=1)
    new, half, none = learnt.model.state_dict(), learnt.blended(0.5).state_dict(), learnt.blended(0.0).state_dict()
    assert all(torch.equal(value, new[name]) for name, value in learnt.blended(1.0).state_dict().items())
    for name, value in load(toy_checkpoint).model.state_dict().items():
        rows = slice(len(value)) if value.ndim else ...
        assert torch.allclose(none[name][rows], value[rows], atol=1e-6), name  # but for new symbols the parent
        if value.is_floating_point():
            assert torch.allclose(half[name], (none[name] + new[name]) / 2, atol=1e-6), name
    assert not torch.equal(none["out.weight"], new["out.weight"])


def test_known_symbols_change_the_bridge_only_and_new_ones_no_encoder(
    toy_checkpoint: Path, toy_data: Path, delta_data: Path
) -> None:
    for data, new_symbols in ((toy_data, False), (delta_data, True)):
        learnt = train_on(toy_checkpoint, read_dataset(data, "crohme"), "child", steps=2, threads=1)
        after = learnt.model.state_dict()
        changed = {name for name, value in learnt.start.items() if not torch.allclose(after[name], value, atol=1e-7)}
        bridge = {id(value) for part in learnt.model.bridge() for value in part.parameters()}
        names = {name for name, value in learnt.model.named_parameters() if id(value) in bridge}
        assert bridge and changed & names
        assert not {name for name in changed if name.startswith("encoder.")}
        assert ("out.weight" in changed) == new_symbols and (changed <= names) != new_symbols


@pytest.mark.parametrize("architecture", ["cnn_lstm", "transformer"])
def test_the_states_are_those_that_all_tokens_are_written_from(architecture: str, toy_data: Path) -> None:
    torch.manual_seed(0)
    model = build(narrow(architecture), VOCABULARY)
    items = read_dataset(toy_data, "crohme")
    source = Source(items, VOCABULARY, ImageConfig(), AugmentConfig())
    batch = collate([source.sample(index, None) for index in range(len(items))])
    states, targets = _states(model, [batch])
    written = model.out(states).log_softmax(-1).gather(1, targets[:, None])
    forward = len(written) // (2 if model.bidirectional else 1)  # the other direction comes after it
    with torch.inference_mode(), fastest():
        assert float(written[:forward].sum()) == pytest.approx(model.eval().loss(batch).log_likelihood, rel=1e-2)


def test_every_symbol_is_among_those_that_a_new_one_must_not_be_taken_for() -> None:
    captions = ["x = 1"] * 50 + ["x + y", "M", "\\mu + 1", "y = 1"]
    items = [Item(Path(f"{index}.png"), tuple(caption.split())) for index, caption in enumerate(captions)]
    chosen = rich_in_symbols(items, 5)
    assert len(chosen) == 5 and {token for item in chosen for token in item.tokens} == {*"x=1+yM", "\\mu"}
    assert len(rich_in_symbols(items, 100)) == len(items)


def test_a_new_token_is_imprinted_and_no_other_touched(toy_checkpoint: Path, toy_data: Path, delta_data: Path) -> None:
    torch.manual_seed(0)
    model = load(toy_checkpoint).model
    model.grow_vocabulary(["\\Delta", "\\Gamma"])
    other_model = copy.deepcopy(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def batches_of(folder: Path) -> list[Batch]:
        items = read_dataset(folder, "crohme")
        source = Source(items, model.vocabulary, ImageConfig(), AugmentConfig())
        return [collate([source.sample(index, None)]) for index in range(len(items))]

    def likelihood(batches: list[Batch], model: Model = model) -> float:
        model.eval()
        return sum(model.loss(batch).log_likelihood for batch in batches)

    shown, others = batches_of(delta_data), batches_of(toy_data)
    old_shown = likelihood(shown)
    imprint(other_model, shown, ["\\Delta", "\\Gamma"])
    imprint(model, shown, ["\\Delta", "\\Gamma"], others)
    after = model.state_dict()
    (delta,) = model.vocabulary.encode(["\\Delta"])
    for name, value in before.items():
        rows = [row for row in range(len(value)) if row != delta] if name.startswith("out.") else slice(None)
        assert value.ndim == 0 or torch.equal(after[name][rows], value[rows]), name
    assert likelihood(shown) > old_shown + 1
    assert likelihood(others) > likelihood(others, other_model)  # less often taken for what it is not


def test_without_replay_and_regression_sets_it_is_said(
    toy_checkpoint: Path, delta_data: Path, data_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = fine_tune(toy_checkpoint, delta_data, tmp_path / "child", steps=1, threads=1)
    assert "carries no replay set" in caplog.text and "carries no regression set" in caplog.text
    assert result.verdict.regression is None


def test_what_is_refused(
    parent: Path, delta_data: Path, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CheckpointError, match="exists already"):
        fine_tune(parent, delta_data, parent)
    with pytest.raises(CheckpointError, match="cancelled; nothing was changed"):
        fine_tune(parent, delta_data, tmp_path / "child", threads=1, cancelled=lambda: True)
    monkeypatch.setattr("hmer.finetune.ENOUGH_HELD_OUT", 1)
    data = hold_out(write_dataset(tmp_path / "data", {"1": FORMULAS["1"]}), ("0_0.png",))
    with pytest.raises(DatasetError, match="every row is held out"):
        fine_tune(parent, data, tmp_path / "child")
    assert not (tmp_path / "child").exists()


@pytest.mark.slow
def test_a_new_symbol_is_learnt_and_nothing_forgotten(toy_data: Path, data_folder: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        train=(str(toy_data),), out=str(tmp_path / "run"), steps=700, batch_size=16, workers=0, threads=1,
        learning_rate=4e-3, warmup_steps=20, average_decay=0.98, pool_batches=4, weight_decay=0.0, label_smoothing=0.0,
        log_steps=100, model=dataclasses.replace(narrow("transformer"), decoder_width=64),
        augment=AugmentConfig(strokes=0.5, pixels=0.5, scale=0.1),
    )  # fmt: skip
    parent = fit(config)
    shutil.copytree(toy_data, parent / "replay")
    shutil.copytree(toy_data, parent / "regression")
    data = write_dataset(tmp_path / "corrections", DELTA, repeats=6)
    # So small a network learns slowly at the rate that suits the bundled one.
    result = fine_tune(parent, data, tmp_path / "child", steps=500, threads=1, force=True)
    corrections, regression = result.verdict.corrections, result.verdict.regression
    assert corrections is not None and corrections.before.exprate == 0.0 and corrections.improves
    assert regression is not None and regression.after.exprate >= regression.before.exprate - 0.1
    assert result.folder is not None
    new = Recognizer.load(result.folder)
    assert evaluate(new, read_dataset(data, "crohme")).scores.exprate >= 0.9
