"""The command lines do what DESIGN.md promises: formats, exit status, messages."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import Namespace
from toys import (
    DELTA,
    FORMULAS,
    VOCABULARY,
    evaluation_of,
    ink_of,
    inkml_of,
    narrow,
    picture_of,
    write_dataset,
    write_picture,
)

from annotations import AnnotationStore
from hmer.checkpoint import CheckpointConfig, load, read_config, resolve, save
from hmer.cleanup import clean_up, join
from hmer.command_line import parse_time, run
from hmer.config import ConfigError, Decoding
from hmer.datasets.folder import read_dataset, read_rows, sample
from hmer.errors import CheckpointError, DatasetError
from hmer.evaluation import Evaluation
from hmer.evaluation import evaluate as measure
from hmer.ink import read_inkml
from hmer.latex import is_valid
from hmer.models import build
from hmer.recognizer import Recognizer
from hmer.report import marked
from scripts import compare, evaluate, finetune, plot, predict, prepare_crohme, release, train

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of its own."""
    monkeypatch.setenv("HMER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A picture, a file that is no picture, and ink."""
    picture = write_picture(tmp_path / "one.png", FORMULAS["1 + x"])
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    ink = tmp_path / "two.inkml"
    ink.write_text(inkml_of(ink_of(FORMULAS["x - 2"]), "x-2"), encoding="utf-8")
    return [str(picture), str(broken), str(ink)]


def expected(checkpoint: Path, file: str) -> Any:
    return Recognizer.load(checkpoint).recognize([Path(file)])[0]


# -- predict --


def test_predict_prints_a_line_a_file(toy_checkpoint: Path, files: list[str], capsys: Capture) -> None:
    assert predict.main([files[0], files[2], "--checkpoint", str(toy_checkpoint)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{file}\t{expected(toy_checkpoint, file).latex}" for file in (files[0], files[2])]


def test_predict_goes_on_behind_a_file_that_cannot_be_read(
    toy_checkpoint: Path, files: list[str], capsys: Capture
) -> None:
    assert predict.main([*files, "--checkpoint", str(toy_checkpoint)]) == 1
    captured = capsys.readouterr()
    assert [line.split("\t")[0] for line in captured.out.splitlines()] == [files[0], files[2]]
    (message,) = captured.err.splitlines()
    assert message.startswith(f"{files[1]}: ")


def test_predict_json(toy_checkpoint: Path, files: list[str], capsys: Capture) -> None:
    missing = files[0] + ".nothing.png"
    assert predict.main(["--json", *files, missing, "--checkpoint", str(toy_checkpoint)]) == 1
    captured = capsys.readouterr()
    assert captured.err == ""
    objects = [json.loads(line) for line in captured.out.splitlines()]
    assert [item["file"] for item in objects] == [*files, missing]
    assert [set(item) == {"file", "error"} for item in objects] == [False, True, False, True]
    answer = expected(toy_checkpoint, files[0])
    assert set(objects[0]) == {
        "file", "latex", "tokens", "confidence", "finished", "alternatives", "checkpoint", "seconds",
    }  # fmt: skip
    assert objects[0]["latex"] == answer.latex
    assert objects[0]["tokens"] == list(answer.tokens)
    assert objects[0]["confidence"] == pytest.approx(answer.confidence)
    assert objects[0]["alternatives"] == []
    assert objects[0]["checkpoint"] == load(toy_checkpoint).id
    assert objects[0]["seconds"] > 0


def test_predict_takes_the_fields_of_decoding(toy_checkpoint: Path, files: list[str], capsys: Capture) -> None:
    common = [files[0], "--json", "--checkpoint", str(toy_checkpoint)]
    beam = ["--strategy", "beam", "--beam_width", "3", "--max_length", "6", "--length_penalty", "0.5"]
    assert predict.main([*common, *beam]) == 0
    (answer,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert 1 <= len(answer["alternatives"]) <= 3
    assert set(answer["alternatives"][0]) == {"latex", "tokens", "probability"}
    assert answer["alternatives"][0]["tokens"] == answer["tokens"]
    assert sum(other["probability"] for other in answer["alternatives"]) == pytest.approx(1.0)

    drawn = [
        "--strategy",
        "sample",
        "--temperature",
        "2",
        "--top_k",
        "5",
        "--top_p",
        "0.9",
        "--seed",
        "4",
        "--max_length",
        "9",
    ]
    outputs = []
    for _ in range(2):
        assert predict.main([*common, *drawn]) == 0
        outputs.append(json.loads(capsys.readouterr().out)["tokens"])
    assert outputs[0] == outputs[1]

    assert predict.main([*common, "--symbols", "x 2", "--max_length", "5"]) == 0
    assert set(json.loads(capsys.readouterr().out)["tokens"]) <= {"x", "2"}
    assert predict.main([*common, "--strategy", "beam", "--grammar", "true", "--max_length", "30"]) == 0
    (answer,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert answer["confidence"] == 0 or is_valid(answer["tokens"])


BAD_CALLS = [
    (["x.png", "--checkpoint", "no_such_thing"], "No checkpoint 'no_such_thing'"),
    (["x.png", "--strategy", "beam", "--beam_width", "0"], "Decoding.beam_width: 0 is outside 1 to 100"),
    (["x.png", "--temperature", "-1"], "Decoding.temperature"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_CALLS, ids=[message for _, message in BAD_CALLS])
def test_what_the_user_can_mend_is_one_line(arguments: list[str], message: str, capsys: Capture) -> None:
    assert run(predict.main, arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize("script", [predict, evaluate, train, finetune, prepare_crohme, plot, compare])
def test_every_script_explains_itself(script: Any, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stopped:
        script.main(["--help"])
    assert stopped.value.code == 0
    assert "usage" in capsys.readouterr().out.lower()


def test_an_unknown_flag_is_an_error(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stopped:
        predict.main(["x.png", "--beams", "3"])
    assert stopped.value.code == 2
    assert "--beams" in capsys.readouterr().err


# -- evaluate --

FIGURES = {
    "n",
    "exprate",
    "le1",
    "le2",
    "token_error_rate",
    "word_error_rate",
    "character_error_rate",
    "token_accuracy",
    "bleu",
    "levenshtein_similarity",
    "edit_distance_mean",
    "valid_latex",
    "rendered_match",
    "by_length",
    "seconds_per_image",
}
GROUPED = {"by_structure", "by_symbol", "confusions"}  # fmt: skip


def evaluated(arguments: list[str], out: Path) -> dict[str, Any]:
    assert evaluate.main([*arguments, "--json", str(out)]) == 0
    return dict(json.loads(out.read_text(encoding="utf-8")))


def test_evaluate_writes_every_figure(toy_checkpoint: Path, toy_data: Path, tmp_path: Path, capsys: Capture) -> None:
    predictions = tmp_path / "predictions.tsv"
    common = ["--checkpoint", str(toy_checkpoint), "--data", str(toy_data), "--max_length", "20"]
    figures = evaluated([*common, "--predictions", str(predictions)], tmp_path / "figures.json")
    assert set(figures) == FIGURES | GROUPED | {"checkpoint", "data"}
    assert figures["n"] == 2 * len(FORMULAS)
    assert figures["word_error_rate"] == figures["token_error_rate"]
    assert figures["rendered_match"] is None
    assert set(figures["by_length"]) == {"1-7", "8-14", "15-30", "31-60", "61+"}
    assert all(set(group) == {"n", "exprate", "token_error_rate"} for group in figures["by_length"].values())
    assert sum(group["n"] for group in figures["by_length"].values()) == figures["n"]
    assert 0 <= figures["token_accuracy"] <= 1
    table = capsys.readouterr().out
    assert all(name in table for name in FIGURES - {"by_length"})

    header, *lines = predictions.read_text(encoding="utf-8").splitlines()
    assert header == "file\ttruth\tprediction\tconfidence"
    rows = [line.split("\t") for line in lines]
    truths = {row["file"]: row["latex"] for row in read_rows(toy_data)}
    assert {row[0]: row[1] for row in rows} == truths
    recognizer = Recognizer.load(toy_checkpoint)
    for row in rows[:3]:
        from_file = predict_tokens(toy_checkpoint, toy_data / row[0], capsys)
        assert row[2].split() == from_file
        assert 0 <= float(row[3]) <= 1
    assert figures["checkpoint"] == recognizer.id


def test_evaluate_compares_two_checkpoints(
    toy_checkpoint: Path, toy_data: Path, tmp_path: Path, capsys: Capture
) -> None:
    knowing = resolve("handwritten")
    empty = load(toy_checkpoint)
    with torch.no_grad():
        for value in empty.model.parameters():
            value.zero_()
    other = save(tmp_path / "empty", empty.model, empty.config)
    data = Path(shutil.copytree(toy_data, tmp_path / "data"))
    (data / "unread.png").write_bytes(b"no picture")
    columns = (data / "labels.tsv").read_text(encoding="utf-8").splitlines()[0].count("\t") + 1
    with (data / "labels.tsv").open("a", encoding="utf-8") as rows:
        rows.write("\t".join(["unread.png", "x", "", ""][:columns]) + "\n")
    common = ["--data", str(data), "--max_length", "20", "--checkpoint"]
    ours = evaluated([*common, str(knowing), "--against", str(other)], tmp_path / "figures.json")
    paired, right = ours["against"], round(ours["exprate"] * ours["n"])
    assert (paired["n"], paired["won"], paired["lost"], paired["exprate"]) == (ours["n"], right, 0, 0.0)
    assert 0 < right < ours["n"]
    assert 0 < paired["gain_interval"][0] <= paired["gain"] == ours["exprate"] <= paired["gain_interval"][1]
    assert paired["token_error_rate_change"] < 0
    assert f"{right} won, 0 lost" in capsys.readouterr().out
    theirs = evaluated([*common, str(other), "--against", str(knowing)], tmp_path / "figures.json")
    assert (theirs["against"]["won"], theirs["against"]["lost"]) == (0, right)
    printed = save(tmp_path / "printed", empty.model, dataclasses.replace(empty.config, label_form="printed"))
    assert run(evaluate.main, [*common, str(knowing), "--against", str(printed)]) == 1
    assert "cannot be compared" in capsys.readouterr().err


def test_evaluate_reports_and_measures_more_where_asked(
    toy_checkpoint: Path, toy_data: Path, tmp_path: Path, capsys: Capture
) -> None:
    common = ["--checkpoint", str(toy_checkpoint), "--data", str(toy_data), "--max_length", "8", "--limit", "6"]
    predictions = tmp_path / "predictions.tsv"
    more = ["--report", str(tmp_path / "report"), "--clean_up", "--rendered_match", "--predictions", str(predictions)]
    figures = evaluated([*common, *more], tmp_path / "figures.json")
    assert 0 <= figures["rendered_match"] <= 1
    assert figures["clean_up"]["short"]["n"] + figures["clean_up"]["long"]["n"] == 6
    header, *lines = [line.split("\t") for line in predictions.read_text(encoding="utf-8").splitlines()]
    assert header == ["file", "truth", "prediction", "confidence", "cleaned_up"] and len(lines) == 6
    assert all(line[4] == join(clean_up(line[2].split())) for line in lines)
    out = capsys.readouterr().out
    assert f"short (<= {figures['clean_up']['median_length']} tokens)" in out
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert out.splitlines()[-1] == str(tmp_path / "report" / "index.html")
    for title in ("By length and structure", "Confusions", "By symbol", "Worst predictions", "Median predictions"):
        assert f"<h2>{title}</h2>" in page
    names = {item.path.name for item in sample(read_dataset(toy_data, "crohme"), 6)}
    assert all(name in page for name in names)
    assert page.count("data:image/png;base64,") >= 2 + 6
    assert json.loads((tmp_path / "report" / "figures.json").read_text(encoding="utf-8"))["n"] == 6
    assert "src='http" not in page and "href=" not in page


def test_predict_cleans_up_where_asked(toy_checkpoint: Path, toy_data: Path, capsys: Capture) -> None:
    file = str(next(toy_data.glob("*.png")))
    call = [file, "--checkpoint", str(toy_checkpoint), "--max_length", "20", "--clean_up"]
    assert predict.main(call) == 0
    printed = capsys.readouterr().out
    tokens = predict_tokens(toy_checkpoint, Path(file), capsys)
    assert printed == f"{file}\t{join(clean_up(tokens))}\n"
    assert clean_up(tokens) != tokens  # untrained, it writes braces anywhere


def test_tokens_that_differ_are_marked() -> None:
    assert marked(["a", "<", "b"], ["a", "c", "b"]) == ("a <del>&lt;</del> b", "a <ins>c</ins> b")
    assert marked(["x"], []) == ("<del>x</del>", "(nothing)")
    assert marked([], ["x"]) == ("(nothing)", "<ins>x</ins>")
    assert marked(["x"], ["x"]) == ("x", "x")


# -- plot, compare --


def test_plot_draws_each_picture(toy_checkpoint: Path, toy_data: Path, tmp_path: Path, capsys: Capture) -> None:
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    (run_folder / "log.jsonl").write_text('{"hours": 0.1, "loss": 2.0}\n', encoding="utf-8")
    other = tmp_path / "other"
    shutil.copytree(run_folder, other)
    picture = str(write_picture(tmp_path / "one.png", FORMULAS["1 + x"]))
    checkpoint = ["--checkpoint", str(toy_checkpoint), "--max_length", "5"]
    calls = [
        ["curves", str(run_folder)],
        ["curves", str(run_folder), str(other)],
        ["data", str(toy_data)],
        ["sheet", "--data", str(toy_data), "--limit", "4", *checkpoint],
        ["attention", picture, *checkpoint],
    ]
    for number, call in enumerate(calls):
        target = tmp_path / f"{number}.png"
        assert plot.main([*call, "--out", str(target)]) == 0
        assert target.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert json.loads(printed[: printed.rindex("}") + 1])["n"] == 2 * len(FORMULAS)
    assert run(plot.main, ["curves", str(tmp_path / "nothing"), "--out", str(tmp_path / "x.png")]) == 1
    assert "is no training log" in capsys.readouterr().err
    assert run(plot.main, ["data", str(toy_data), "--out", str(tmp_path / "no" / "x.png")]) == 1


@pytest.mark.slow
def test_compare_trains_measures_and_can_be_started_again(
    toy_checkpoint: Path, toy_data: Path, tmp_path: Path, capsys: Capture
) -> None:
    torch.set_num_threads(1)
    data = tmp_path / "data"
    for part in ("train", "validation", "test"):
        shutil.copytree(toy_data, data / part)
    call = ["--handwritten", str(data), "--out", str(tmp_path / "out"), "--steps", "1", "--limit", "1", "--only", "s1_bahdanau",
            "--checkpoints", str(toy_checkpoint), "--backbone_weights", ""]  # fmt: skip
    assert compare.main(call) == 0
    table = capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert [(row["system"], row["search"]) for row in found["rows"]] == [
        (name, search) for name in ("s1_bahdanau", str(toy_checkpoint)) for search in ("greedy", "beam 10")
    ]
    for row in found["rows"]:
        assert row["n"] == 1 and row["ms_a_formula"] > 0 and row["parameters"] > 0
    assert "| S1 | printed, 100,000 pictures" in table and "| CoMER |" in table
    assert (tmp_path / "out" / "curves.png").is_file()
    weights = tmp_path / "out" / "handwritten-s1_bahdanau" / "best" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    options = Namespace(out=str(tmp_path / "out"), hours=2.0, steps=1, threads=1, ignore=[], backbone_weights="")
    assert compare.train("s1_bahdanau", "handwritten", data, options) == weights.parent
    assert weights.stat().st_mtime_ns == before  # is there already
    assert run(compare.main, ["--out", str(tmp_path / "out")]) == 1
    assert "name --handwritten or --printed" in capsys.readouterr().err


def test_the_same_weights_are_measured_once(
    toy_checkpoint: Path, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(toy_data, tmp_path / "data" / "test")
    options = Namespace(out=str(tmp_path / "out"), limit=2)
    (tmp_path / "out").mkdir()
    times = []

    def counted(recognizer: Recognizer, *arguments: Any, **settings: Any) -> Evaluation:
        times.append(recognizer.id)
        return measure(recognizer, *arguments, **settings)

    monkeypatch.setattr(compare, "evaluate", counted)
    monkeypatch.setattr(compare, "SEARCHES", {"greedy": Decoding(max_length=10)})
    # A path as a reference, which is no name for a file.
    (first,) = compare.measured(str(toy_checkpoint), "handwritten", str(toy_checkpoint), tmp_path / "data", options)
    (second,) = compare.measured("toy", "handwritten", toy_checkpoint, tmp_path / "data", options)
    assert len(times) == 1
    assert second == first | {"system": "toy"}
    assert {"n", "character_error_rate", "edit_distance_mean", "word_error_rate", "token_accuracy"} <= set(first)
    assert first["label_form"] == "crohme" and "clean_up" not in first
    assert first["by_length"]["1-7"]["n"] + first["by_length"]["8-14"]["n"] == first["n"] == 2
    assert set(first["by_structure"]) == {"plain", "scripts", "fractions", "roots", "big_operators", "matrices"}
    compare.measured("toy", "handwritten", toy_checkpoint, tmp_path / "data", Namespace(**vars(options) | {"limit": 3}))
    assert len(times) == 2
    # The released printed checkpoint spells labels otherwise than the systems it is compared with.
    shutil.copytree(toy_checkpoint, tmp_path / "spelt")
    settings = json.loads((tmp_path / "spelt" / "config.json").read_text(encoding="utf-8")) | {"label_form": "printed"}
    (tmp_path / "spelt" / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    (row,) = compare.measured("printed", "printed", tmp_path / "spelt", tmp_path / "data", options)
    assert row["label_form"] == "im2markup" and "token_accuracy" not in row
    # What reads frame by frame has the clean-up's effect, too, beside the published one.
    save(
        tmp_path / "ctc",
        build(narrow("crnn_ctc"), VOCABULARY),
        CheckpointConfig("ctc", VOCABULARY.words, model=narrow("crnn_ctc")),
    )
    (row,) = compare.measured("s2_vgg16_ctc", "handwritten", tmp_path / "ctc", tmp_path / "data", options)
    assert row["clean_up"]["short"]["n"] + row["clean_up"]["long"]["n"] == 2
    compare.write(tmp_path / "out", [first, row], Namespace(hours=2.0, steps=0))
    text = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert "| S2 as published, its own data | beam 10 | 14 | 0.7639 | 0.2385 | 0.5344 | 0.3936 |" in text
    assert text.count("| S2, second iteration |") == 1 and text.count("0.3936") == 1
    assert "mostly that of beam search" in text and "im2markup" not in text


def test_answers_and_truths_in_another_form() -> None:
    """The second answer is not well-formed, so it stays; the third picture could not be read."""
    start = evaluation_of([(r"a \quad \sin x", r"a \quad \sin x"), ("b", "{ b")], ["c"])
    found = compare.in_form(start, "im2markup")
    sine = [*[r"a", r"\quad", r"\operatorname", r"{", r"s", r"i", r"n", r"}", r"x"]]
    assert found.truths == [sine, ["b"], ["c"]]
    assert found.predictions == [sine, ["{", "b"], []]
    assert start.scores.token_error_rate == pytest.approx(2 / 6)
    assert found.scores.token_error_rate == pytest.approx(2 / 11)
    assert found.token_accuracy is None


def test_every_configuration_can_be_compared(tmp_path: Path) -> None:
    options = Namespace(
        out=str(tmp_path), hours=2.0, steps=0, threads=1, ignore=["\\limits"], backbone_weights=str(tmp_path)
    )
    for kind, names in (("handwritten", compare.HANDWRITTEN), ("printed", compare.PRINTED)):
        for name in (*names, compare.OURS[kind]):
            config = compare.configuration(name, kind, tmp_path, options)
            assert (config.hours, config.epochs) == (2.0, 0)
            assert config.label_form == ("crohme" if kind == "handwritten" else "im2markup")
            assert config.backbone_weights in ("", str(tmp_path / f"{config.model.encoder}.pth"))
    options.backbone_weights = ""
    assert compare.configuration("s2_resnet18_ctc", "handwritten", tmp_path, options).frozen_stages == 0


def predict_tokens(checkpoint: Path, file: Path, capsys: Capture) -> list[str]:
    """What predict.py reads: the other way to the same answer."""
    capsys.readouterr()
    assert predict.main([str(file), "--json", "--checkpoint", str(checkpoint), "--max_length", "20"]) == 0
    return list(json.loads(capsys.readouterr().out)["tokens"])


def test_evaluate_limit_draws_the_same_items_each_time(toy_checkpoint: Path, toy_data: Path, tmp_path: Path) -> None:
    names = []
    for _ in range(2):
        predictions = tmp_path / "predictions.tsv"
        common = ["--checkpoint", str(toy_checkpoint), "--data", str(toy_data), "--max_length", "5", "--limit", "5"]
        figures = evaluated([*common, "--predictions", str(predictions)], tmp_path / "figures.json")
        assert figures["n"] == 5
        names.append([line.split("\t")[0] for line in predictions.read_text(encoding="utf-8").splitlines()[1:]])
    assert names[0] == names[1]
    assert set(names[0]) == {item.path.name for item in sample(read_dataset(toy_data, "crohme"), 5)}


def test_evaluate_ignores_tokens_on_both_sides(toy_checkpoint: Path, toy_data: Path, tmp_path: Path) -> None:
    common = ["--checkpoint", str(toy_checkpoint), "--data", str(toy_data), "--max_length", "8"]
    every = sorted(read_config(toy_checkpoint).vocabulary)
    figures = evaluated([*common, "--ignore", *every], tmp_path / "figures.json")
    assert figures["exprate"] == figures["le1"] == 1.0
    assert figures["token_error_rate"] == 0.0


def test_what_cannot_be_read_counts_as_empty(toy_checkpoint: Path, tmp_path: Path, capsys: Capture) -> None:
    data = write_dataset(tmp_path / "data" / "deep", dict(list(FORMULAS.items())[:2]))
    (data / "0_0.png").write_bytes(b"no picture")
    with (data / "labels.tsv").open("a", encoding="utf-8") as labels:
        labels.write("nothing.png\tx\n")
    predictions = tmp_path / "predictions.tsv"
    common = ["--checkpoint", str(toy_checkpoint), "--data", str(data), "--max_length", "5"]
    figures = evaluated([*common, "--predictions", str(predictions)], tmp_path / "figures.json")
    assert figures["n"] == 2
    lines = predictions.read_text(encoding="utf-8").splitlines()
    assert lines[2] == "0_0.png\t1\t\t0"
    errors = capsys.readouterr().err
    assert "not read: 0_0.png: " in errors
    assert "nothing.png" in errors


def test_evaluate_refuses_before_it_works(
    toy_checkpoint: Path, toy_data: Path, tmp_path: Path, capsys: Capture
) -> None:
    common = ["--checkpoint", str(toy_checkpoint), "--data", str(toy_data)]
    assert run(evaluate.main, [*common, "--json", str(tmp_path / "no" / "such" / "file.json")]) == 1
    assert "its folder does not exist" in capsys.readouterr().err
    assert run(evaluate.main, [*common, "--limit", "-3"]) == 1
    assert "--limit: -3 is negative" in capsys.readouterr().err
    assert run(evaluate.main, [*common[:2], "--data", str(tmp_path)]) == 1
    assert "no labels.tsv" in capsys.readouterr().err


# -- train --


@pytest.fixture
def configuration(toy_data: Path, tmp_path: Path) -> Path:
    """A run of a few steps."""
    path = tmp_path / "toy.yaml"
    path.write_text(
        f"""
train: [{toy_data}]
validation: {toy_data}
out: {tmp_path / "run"}
steps: 3
batch_size: 4
workers: 0
pool_batches: 1
log_steps: 1
evaluate_limit: 3
model:
  architecture: cnn_lstm
  encoder_channels: [8, 16]
  encoder_blocks: [1, 1]
  decoder_width: 32
  attention_width: 16
""",
        encoding="utf-8",
    )
    return path


def test_train_from_yaml_with_overrides_then_resume(configuration: Path, tmp_path: Path, capsys: Capture) -> None:
    overrides = [
        "--config",
        str(configuration),
        "--batch_size",
        "2",
        "--model.decoder_width",
        "16",
        "--augment.pixels=0",
    ]
    assert train.main(overrides) == 0
    best = Path(capsys.readouterr().out.splitlines()[-1])
    assert best == tmp_path / "run" / "best"
    assert read_config(best).model.decoder_width == 16
    assert read_config(best).model.encoder_channels == (8, 16)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["samples"] for line in lines if "loss" in line] == [2, 4, 6]

    assert run(train.main, overrides) == 1
    assert "resume it (--resume)" in capsys.readouterr().err
    assert train.main([*overrides, "--steps", "5", "--resume"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_a_run_ended_from_outside_is_saved_first(configuration: Path, tmp_path: Path) -> None:
    command = [sys.executable, train.__file__, "--config", str(configuration), "--steps", "100000"]
    log = tmp_path / "run" / "log.jsonl"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        give_up = time.monotonic() + 120
        while not log.is_file() and time.monotonic() < give_up:
            time.sleep(0.1)
        process.terminate()
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.endswith("stopped\n")
    assert (tmp_path / "run" / "resume.pt").is_file()


def test_train_keeps_its_result_by_name_and_prints_the_epochs(configuration: Path, home: Path, capsys: Capture) -> None:
    assert train.main(["--config", str(configuration), "--name", "mine"]) == 0
    *_, header, row, folder = capsys.readouterr().out.splitlines()
    assert header.split()[0] == "epoch" and len(row.split()) == 5
    assert Path(folder) == home / "checkpoints" / "mine"
    assert load("mine").config.name == "mine"
    for name, message in (("mine", "There is a checkpoint 'mine' already"), ("a/b", "is no name for a checkpoint")):
        assert run(train.main, ["--config", str(configuration), "--name", name]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["s0_cnn_lstm", "s0_resnet50_lstm", "s1_bahdanau", "s2_resnet18_ctc", "s2_vgg16_ctc"])
def test_train_reads_the_configurations_of_the_starting_systems(name: str, tmp_path: Path, capsys: Capture) -> None:
    """Up to the data, which is not there; a setting of a nested part can be given beside the file."""
    file = Path(train.__file__).parents[1] / "hmer" / "configs" / f"{name}.yaml"
    data = ["--train", f"[{tmp_path}]", "--validation", str(tmp_path), "--out", str(tmp_path / "out")]
    assert (
        run(train.main, ["--config", str(file), *data, "--model.input.height_px", "99", "--model.input.width_px", "99"])
        == 1
    )
    assert "no labels.tsv" in capsys.readouterr().err


def test_train_refuses_what_it_does_not_know(configuration: Path, tmp_path: Path, capsys: Capture) -> None:
    assert run(train.main, ["--config", str(configuration), "--resume"]) == 1
    assert "nothing to resume" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train.main(["--config", str(configuration), "--learning_rat", "1"])
    assert "learning_rat" in capsys.readouterr().err
    configuration.write_text(configuration.read_text(encoding="utf-8") + "lerning_rate: 1\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        train.main(["--config", str(configuration)])
    assert "lerning_rate" in capsys.readouterr().err
    assert run(train.main, ["--train", f"[{tmp_path}]", "--out", str(tmp_path / "other")]) == 1
    assert "no labels.tsv" in capsys.readouterr().err
    assert run(train.main, ["--out", str(tmp_path / "other")]) == 1
    assert "No training data" in capsys.readouterr().err


# -- finetune --


@pytest.fixture
def quick() -> Callable[..., int]:
    """As many steps as are asked for; every one is a few milliseconds."""
    torch.set_num_threads(1)
    return lambda *arguments: finetune.main([*arguments, "--steps", "2"])


def test_finetune_from_a_store(toy_checkpoint: Path, home: Path, tmp_path: Path, quick: Any, capsys: Capture) -> None:
    url = f"sqlite:///{tmp_path / 'corrections.db'}"
    with AnnotationStore(url) as store:
        for size in (30.0, 40.0, 50.0):
            store.add(
                picture_of(DELTA["\\Delta"], size=size), correction=r"\Delta", status="accepted", annotator="ann",
                source="desk", created_at=datetime(2026, 1, int(size) - 20, tzinfo=UTC),
            )  # fmt: skip
        store.add(picture_of(FORMULAS["1"]), correction="1", status="accepted", annotator="bob", source="desk")
        store.add(picture_of(FORMULAS["1 + x"]), correction="1+x", status="accepted", annotator="ann", source="app")
        store.add(picture_of(FORMULAS["x - 2"]), correction="x-2", annotator="ann", source="desk")
    common = ["--checkpoint", str(toy_checkpoint), "--store", url, "--annotator", "ann", "--source", "desk"]
    assert quick(*common, "--out", "mine", "--force") == 0
    printed = capsys.readouterr().out
    assert "3 corrections to learn from" in printed
    assert r"new symbols: \Delta" in printed
    assert "corrections, 3-fold" in printed
    assert f"new checkpoint: {home / 'checkpoints' / 'mine'}" in printed
    assert r"\Delta" in read_config(home / "checkpoints" / "mine").vocabulary
    assert load("mine").config.parent == load(toy_checkpoint).id

    assert run(finetune.main, [*common, "--out", "mine"]) == 1
    assert "There is a checkpoint 'mine' already" in capsys.readouterr().err
    # One is left, of which nothing can be held out: the gate refuses it.
    assert quick(*common, "--since", "2026-01-30", "--out", "other") == finetune.REFUSED
    printed = capsys.readouterr().out
    assert "1 corrections to learn from" in printed
    assert "refused: nothing could be held out" in printed and "stays in use" in printed
    assert [path.name for path in (home / "checkpoints").iterdir()] == ["mine"]


def test_finetune_from_a_folder(
    toy_checkpoint: Path, delta_data: Path, tmp_path: Path, quick: Any, capsys: Capture
) -> None:
    out = tmp_path / "somewhere" / "new"
    assert quick("--checkpoint", str(toy_checkpoint), "--data", str(delta_data), "--out", str(out), "--force") == 0
    assert f"new checkpoint: {out}" in capsys.readouterr().out
    assert load(out).config.name == "new"


def test_finetune_refuses(toy_checkpoint: Path, tmp_path: Path, capsys: Capture) -> None:
    common = ["--checkpoint", str(toy_checkpoint), "--out", str(tmp_path / "new")]
    assert run(finetune.main, [*common, "--store", "x.db", "--data", "y"]) == 1
    assert "not both" in capsys.readouterr().err
    assert run(finetune.main, [*common, "--data", "y", "--annotator", "ann"]) == 1
    assert "choose from a store" in capsys.readouterr().err
    assert run(finetune.main, [*common, "--store", f"sqlite:///{tmp_path / 'none.db'}"]) == 1
    assert capsys.readouterr().err.strip()
    with AnnotationStore(f"sqlite:///{tmp_path / 'empty.db'}"):
        pass
    assert run(finetune.main, [*common, "--store", f"sqlite:///{tmp_path / 'empty.db'}"]) == 1
    assert "no accepted corrections of that kind" in capsys.readouterr().err
    assert run(finetune.main, [*common, "--since", "yesterday"]) == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_finetune_stopped_by_the_keyboard_leaves_nothing(home: Path, delta_data: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    script = [sys.executable, str(Path(finetune.__file__)), "--data", str(delta_data), "--out", "mine"]
    for wait_s in (4.0, 12.0, 20.0):
        process = subprocess.Popen(
            script, env={**os.environ, "TMPDIR": str(temporary)}, stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where the tests run in the background
        )  # fmt: skip
        time.sleep(wait_s)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode in (130, -signal.SIGINT)
        left = [path for path in temporary.rglob("*") if path.is_file()]
        assert left == []
        assert list((home / "checkpoints").glob("**/*")) == []


# -- prepare_crohme --


def test_prepare_crohme_names_what_it_refuses(tmp_path: Path, capsys: Capture) -> None:
    raw = tmp_path / "raw"
    (raw / "part").mkdir(parents=True)
    (raw / "part" / "good.inkml").write_text(inkml_of(ink_of(FORMULAS["x ^ { 2 }"]), "x^2"), encoding="utf-8")
    (raw / "damaged.inkml").write_text("<ink><trace>1 2</tra", encoding="utf-8")
    (raw / "empty.inkml").write_text("<ink></ink>", encoding="utf-8")
    (raw / "odd.inkml").write_text(inkml_of(ink_of(FORMULAS["1"]), "{1"), encoding="utf-8")
    (raw / "silent.inkml").write_text(inkml_of(ink_of(FORMULAS["1"]), ""), encoding="utf-8")
    (raw / "tab\there.inkml").write_text(inkml_of(ink_of(FORMULAS["1"]), "1"), encoding="utf-8")
    (raw / "notes.txt").touch()
    out = tmp_path / "data" / "set"
    assert prepare_crohme.main([str(raw), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    for name in ("damaged.inkml", "empty.inkml", "odd.inkml", "silent.inkml", "tab\there.inkml"):
        assert f"not used: {name}: " in printed
    assert f"{out}: 1 formulas, 5 files not used" in printed
    assert read_rows(out) == [{"file": "part/good.inkml", "latex": "x ^ { 2 }", "writer": "toy"}]
    assert (out / "part" / "good.inkml").read_bytes() == (raw / "part" / "good.inkml").read_bytes()
    assert [path.name for path in out.parent.iterdir()] == ["set"]

    assert run(prepare_crohme.main, [str(raw), "--out", str(out)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert run(prepare_crohme.main, [str(tmp_path / "data" / "nowhere"), "--out", str(tmp_path / "other")]) == 1
    assert not (tmp_path / "other").exists()


def test_prepare_crohme_with_published_captions(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "good.inkml").write_text(inkml_of(ink_of(FORMULAS["1"]), "1"), encoding="utf-8")
    (raw / "other.inkml").write_text(inkml_of(ink_of(FORMULAS["1"]), "1"), encoding="utf-8")
    captions = tmp_path / "captions.tsv"
    captions.write_text("good\tx _ { 0 }\n", encoding="utf-8")
    assert prepare_crohme.main([str(raw), "--out", str(tmp_path / "out"), "--captions", str(captions)]) == 0
    assert [row["latex"] for row in read_rows(tmp_path / "out")] == ["x _ { 0 }", "1"]


def test_prepare_crohme_holds_out_whole_writers(tmp_path: Path, capsys: Capture) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for number in range(20):
        writer = f"writer{number // 4}" if number < 16 else ""
        text = inkml_of(ink_of(FORMULAS["1"]), "1").replace("toy", writer)
        (raw / f"{number}.inkml").write_text(text, encoding="utf-8")
    out, apart = tmp_path / "out", tmp_path / "held" / "out"
    command = [str(raw), "--out", str(out), "--held_out", str(apart), "--share", "0.3"]
    assert prepare_crohme.main(command) == 0
    assert f"{apart}: 8 formulas of writers who are not in {out}" in capsys.readouterr().out
    kept, held = read_rows(out), read_rows(apart)
    assert (len(kept), len(held)) == (12, 8)
    assert "" in {row["writer"] for row in kept}  # nobody knows who they are
    assert len({row["writer"] for row in held}) == 2
    assert not {row["writer"] for row in held} & {row["writer"] for row in kept}
    assert {path.name for path in apart.glob("*.inkml")} == {row["file"] for row in held}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["held", "out", "raw"]

    assert run(prepare_crohme.main, command) == 1
    assert "exists already" in capsys.readouterr().err
    other = [str(raw), "--out", str(tmp_path / "a"), "--held_out"]
    assert run(prepare_crohme.main, [*other, str(tmp_path / "a")]) == 1
    assert run(prepare_crohme.main, [*other, str(tmp_path / "b"), "--share", "1.5"]) == 1
    assert "choose one between 0 and 1" in capsys.readouterr().err
    assert run(prepare_crohme.main, [*other, str(tmp_path / "b"), "--share", "0.99"]) == 0  # the unnamed are left
    assert len(read_rows(tmp_path / "a")) == 4


# -- what they share --


def test_times() -> None:
    assert parse_time(None) is None
    assert str(parse_time("2026-11-30T18:00")) == "2026-11-30 18:00:00"
    with pytest.raises(ConfigError, match="'yesterday' is not a time; write it as 2026-11-30"):
        parse_time("yesterday")


def test_a_stop_by_the_keyboard_is_no_crash(capsys: Capture) -> None:
    def main(argv: Any) -> int:
        raise KeyboardInterrupt

    assert run(main) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_a_release_is_the_mean_of_its_parts(toy_checkpoint: Path) -> None:
    parts = [load(toy_checkpoint) for _ in range(3)]
    with torch.no_grad():
        for index, part in enumerate(parts):
            for parameter in part.model.parameters():
                parameter += float(index)
    mean = release.averaged(parts).model.state_dict()
    middle = parts[1].model.state_dict()
    assert all(torch.allclose(mean[name].float(), value.float(), atol=1e-5) for name, value in middle.items())
    other = dataclasses.replace(parts[2], config=dataclasses.replace(parts[2].config, vocabulary=("x",)))
    with pytest.raises(CheckpointError, match="not of one line"):
        release.averaged([parts[0], other])
    grown = load(toy_checkpoint)
    words = grown.model.vocabulary.words
    grown.model.grow_vocabulary(["\\heartsuit"])
    grown = dataclasses.replace(
        grown, config=dataclasses.replace(grown.config, vocabulary=grown.model.vocabulary.words)
    )
    rows = {name: value.clone() for name, value in grown.model.state_dict().items()}
    both = release.averaged([parts[1], grown])
    assert both.config.vocabulary == (*words, "\\heartsuit")
    for name, value in both.model.state_dict().items():
        known = parts[1].model.state_dict()[name]
        if known.shape != value.shape:  # what only one knows is taken from it
            assert torch.equal(value[len(known) :], rows[name][len(known) :])
            assert torch.allclose(value[: len(known)], (known + rows[name][: len(known)]) / 2, atol=1e-5)
    parts = [load(toy_checkpoint) for _ in range(2)]
    with torch.no_grad():
        for parameter in parts[1].model.parameters():
            parameter += 1.0
    before = {name: value.clone() for name, value in parts[0].model.named_parameters()}
    quarter = release.averaged(parts, [3, 1]).model.named_parameters()
    assert all(torch.allclose(value, before[name] + 0.25, atol=1e-5) for name, value in quarter)
    for shares in ([1.0], [0.0, 0.0], [2.0, -1.0]):
        with pytest.raises(CheckpointError, match="2 numbers from 0 up"):
            release.averaged(parts, shares)


def test_a_release_carries_what_an_earlier_one_did(toy_checkpoint: Path, toy_data: Path, tmp_path: Path) -> None:
    (card := tmp_path / "card.md").write_text("# toy, anew\n", encoding="utf-8")
    command = [
        "--checkpoint",
        json.dumps([str(toy_checkpoint)] * 2),
        "--shares",
        "[0.7, 0.3]",
        "--regression",
        str(toy_data),
    ]
    command += ["--card", str(card), "--out", str(tmp_path / "toy")]
    with pytest.raises(ConfigError, match="or --carry with an earlier release"):
        release.main(command)
    assert release.main([*command, "--carry", "handwritten"]) == 0
    earlier = resolve("handwritten")
    for name in ("NOTICE", "replay/labels.tsv", "regression/labels.tsv"):
        assert (tmp_path / "toy" / name).read_bytes() == (earlier / name).read_bytes()
    assert (tmp_path / "toy" / "README.md").read_text(encoding="utf-8") == "# toy, anew\n"
    assert load(tmp_path / "toy").config.calibration is not None


def test_parts_of_formulas_are_short_and_real(tmp_path: Path) -> None:
    items = read_dataset(resolve("handwritten") / "replay", "crohme")
    parts = release.parts_of(items, 50, tmp_path / "parts")
    assert len(parts) == 50 and {len(part.tokens) for part in parts} <= set(release.SHORT)
    with pytest.raises(DatasetError, match="not 1: ask for fewer"):
        release.parts_of([], 1, tmp_path / "none")
    whole = {item.tokens for item in items}
    assert all(any(_within(part.tokens, tokens) for tokens in whole) for part in parts)
    for part in parts:
        ink = read_inkml(part.path)
        assert sum(len(symbol.strokes) for symbol in ink.symbols) == len(ink.strokes)


def _within(part: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    return any(whole[start : start + len(part)] == part for start in range(len(whole)))
