"""The bundled checkpoint on real handwriting, the same from every door."""

import dataclasses
import json
import math
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from toys import FORMULAS, VOCABULARY, narrow, picture_of

from hmer import checkpoint as checkpoints
from hmer.calibration import evidence_of
from hmer.checkpoint import Checkpoint, CheckpointConfig
from hmer.config import Decoding
from hmer.datasets.folder import Item, read_dataset, write_labels
from hmer.errors import BadImage, ConfigError
from hmer.evaluation import evaluate
from hmer.image import looks_at
from hmer.ink import Ink, draw, read_inkml
from hmer.models import build
from hmer.recognizer import Recognizer
from scripts import evaluate as evaluate_script
from scripts import predict

HANDWRITTEN = "handwritten"


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.load(HANDWRITTEN)


@pytest.fixture(scope="module")
def items() -> list[Item]:
    """Formulas that the checkpoint never trained on; they travel with it."""
    return read_dataset(checkpoints.resolve(HANDWRITTEN) / "regression", "crohme")


def test_it_reads_handwriting(recognizer: Recognizer, items: list[Item]) -> None:
    scores = evaluate(recognizer, items[:60]).scores
    assert scores.exprate >= 0.45
    assert scores.token_error_rate <= 0.2


def test_beam_search_is_no_worse_and_gives_alternatives(recognizer: Recognizer, items: list[Item]) -> None:
    chosen = items[:24]
    greedy = evaluate(recognizer, chosen)
    beam = evaluate(recognizer, chosen, Decoding(strategy="beam", beam_width=5))
    assert beam.scores.token_error_rate <= greedy.scores.token_error_rate + 0.02
    for answer in beam.recognitions:
        assert answer.alternatives[0].tokens == answer.tokens
        assert sum(alternative.probability for alternative in answer.alternatives) == pytest.approx(1.0)
        assert 0.0 <= answer.confidence <= 1.0
        assert len(answer.token_confidence) == len(answer.tokens)


def test_confidence_after_beam_search_is_calibrated_apart(items: list[Item]) -> None:
    checkpoint = checkpoints.load(HANDWRITTEN)
    config = dataclasses.replace(checkpoint.config, calibration=(0.8, -0.5, 1.0), beam_calibration=(0.4, 2.0, 2.5))
    recognizer = Recognizer(dataclasses.replace(checkpoint, config=config))
    sources = [item.path for item in items[:6]]
    for answer in recognizer.recognize(sources):
        root, length = answer.evidence
        assert (root, length) == (-math.sqrt(-answer.log_prob), -math.log(len(answer.tokens) + 1))
        assert answer.confidence == pytest.approx(1 / (1 + math.exp(-(0.8 * root - 0.5 * length + 1.0))))
    for answer in recognizer.recognize(sources, Decoding(strategy="beam", beam_width=5)):
        joint, among = answer.evidence
        assert among == pytest.approx(math.log(answer.alternatives[0].probability))
        assert answer.confidence == pytest.approx(1 / (1 + math.exp(-(0.4 * joint + 2.0 * among + 2.5))))
    (narrow_search,) = recognizer.recognize(sources[:1], Decoding(strategy="beam", beam_width=1))
    assert narrow_search.evidence == evidence_of(narrow_search.log_prob, len(narrow_search.tokens))
    older = Recognizer(dataclasses.replace(checkpoint, config=dataclasses.replace(config, calibration=(0.8, 1.0))))
    (answer,) = older.recognize(sources[:1])
    assert answer.confidence == pytest.approx(1 / (1 + math.exp(-(0.8 * answer.log_prob + 1.0))))


def test_a_marker_is_looked_at_three_times(recognizer: Recognizer) -> None:
    ink = Ink((np.array([[10.0, 10.0], [60.0, 90.0]]), np.array([[60.0, 10.0], [10.0, 90.0]])))
    for thickness, looks in ((3.0, 1), (14.0, 3)):
        prepared = recognizer.read(draw(ink, symbol_px=80, thickness_px=thickness))
        found = looks_at(prepared, recognizer.config.image)
        assert len(found) == looks and np.array_equal(found[0], prepared)
    config = recognizer.config.image
    tight = dataclasses.replace(config, max_side_px=max(prepared.shape))
    assert len(looks_at(prepared, tight)) == 2  # the larger one would be too large
    assert len(looks_at(prepared, dataclasses.replace(config, slim_markers=False))) == 1


def test_what_a_marker_wrote_is_judged_by_all_looks(recognizer: Recognizer) -> None:
    inks = read_dataset(checkpoints.resolve(HANDWRITTEN) / "replay", "crohme")[:6]
    drawn = [draw(read_inkml(item.path), thickness_px=8.0) for item in inks]
    assert max(len(looks_at(recognizer.read(picture), recognizer.config.image)) for picture in drawn) == 3
    for settings in (Decoding(), Decoding(strategy="beam", beam_width=4)):
        answers = recognizer.recognize(drawn, settings)
        assert sum(answer.tokens == item.tokens for answer, item in zip(answers, inks, strict=True)) >= 2
        assert all(answer.finished and 0 <= answer.confidence <= 1 for answer in answers)
        assert all(len(answer.token_confidence) == len(answer.tokens) for answer in answers)
        assert max(len(answer.alternatives) for answer in answers) <= settings.beam_width
        assert [answer.tokens for answer in recognizer.recognize(drawn[:1], settings)] == [answers[0].tokens]
    (sampled,) = recognizer.recognize(drawn[:1], Decoding(strategy="sample", seed=3))
    assert sampled.log_prob < 0  # of one look


def test_the_same_string_from_every_door(
    recognizer: Recognizer, items: list[Item], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = items[:12]
    direct = [recognizer.recognize([item.path])[0] for item in chosen]
    together = recognizer.recognize([item.path for item in chosen])
    assert [answer.tokens for answer in together] == [answer.tokens for answer in direct]

    assert predict.main(["--json", "--checkpoint", HANDWRITTEN, *(str(item.path) for item in chosen)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["latex"] for line in lines] == [answer.latex for answer in direct]

    folder = tmp_path / "data"
    folder.mkdir()
    for item in chosen:
        (folder / item.path.name).write_bytes(item.path.read_bytes())
    write_labels(folder, [(item.path.name, " ".join(item.tokens)) for item in chosen], ("file", "latex"))
    out = tmp_path / "predictions.tsv"
    assert evaluate_script.main(["--data", str(folder), "--predictions", str(out)]) == 0
    predictions = [line.split("\t")[2] for line in out.read_text().splitlines()[1:]]
    assert predictions == [" ".join(answer.tokens) for answer in direct]


def test_zoom_polarity_and_colour_keep_most_answers(recognizer: Recognizer, items: list[Item]) -> None:
    chosen = items[:16]
    plain = [np.asarray(PIL.Image.open(item.path).convert("L")) for item in chosen]
    expected = [answer.tokens for answer in recognizer.recognize(plain)]

    def share(pictures: list[np.ndarray]) -> float:
        answers = [answer.tokens for answer in recognizer.recognize(pictures)]
        return sum(answer == other for answer, other in zip(answers, expected, strict=True)) / len(expected)

    def zoomed(factor: float) -> list[np.ndarray]:
        sizes = [(round(picture.shape[1] * factor), round(picture.shape[0] * factor)) for picture in plain]
        return [
            np.asarray(PIL.Image.fromarray(picture).resize(size, PIL.Image.Resampling.BICUBIC))
            for picture, size in zip(plain, sizes, strict=True)
        ]

    assert share([255 - picture for picture in plain]) == 1.0
    assert share(zoomed(3.0)) >= 0.7
    assert share(zoomed(0.5)) >= 0.5


def test_restricting_symbols_and_grammar(recognizer: Recognizer, items: list[Item]) -> None:
    pictures = [item.path for item in items[:5]]
    for answer in recognizer.recognize(pictures, Decoding(symbols="0 1 2 + -")):
        assert set(answer.tokens) <= set("012+-")
    with pytest.raises(ConfigError, match="not known to this checkpoint"):
        recognizer.recognize(pictures, Decoding(symbols="\\nosuchtoken"))


def test_replacements_are_what_the_model_holds_likely(recognizer: Recognizer, items: list[Item]) -> None:
    (item,) = [item for item in items if len(item.tokens) > 5][:1]
    picture = recognizer.read(item.path)
    (answer,) = recognizer.recognize_prepared([picture])
    places = recognizer.replacements(picture, answer.tokens, 5)
    assert [len(found) for found in places] == [5] * len(answer.tokens)
    for token, sure, found in zip(answer.tokens, answer.token_confidence, places, strict=True):
        probabilities = [other.probability for other in found]
        assert probabilities == sorted(probabilities, reverse=True)
        assert token not in {other.token for other in found}
        assert probabilities[0] <= sure + 1e-4  # greedy took the likeliest
        assert sum(probabilities) + sure <= 1 + 1e-4
    wrong = [answer.tokens[0], "\\nosuchtoken", *answer.tokens[1:]]  # typed by hand, and new to the checkpoint
    found = recognizer.replacements(picture, wrong, 5)
    assert found[1] == []
    assert found[2] == places[1]


@pytest.mark.parametrize("variant", ["crnn_ctc", "cnn_lstm"])
def test_every_model_gives_replacements(variant: str) -> None:
    torch.manual_seed(0)
    config = CheckpointConfig("toy", VOCABULARY.words, model=narrow(variant))
    recognizer = Recognizer(Checkpoint(build(config.model, VOCABULARY), config, "toy"))
    picture = recognizer.read(picture_of(FORMULAS["1 + x"]))
    found = recognizer.replacements(picture, ["1", "+", "x"], 4)
    assert [len(others) for others in found] == [4, 4, 4]
    assert all(0 <= other.probability <= 1 and other.token in VOCABULARY for others in found for other in others)
    assert recognizer.replacements(picture, [], 4) == []


def test_sampling_repeats_with_a_seed(recognizer: Recognizer, items: list[Item]) -> None:
    decoding = Decoding(strategy="sample", temperature=1.5, top_k=20, top_p=0.95, seed=7)
    pictures = [item.path for item in items[:4]]
    assert recognizer.recognize(pictures, decoding)[0].tokens == recognizer.recognize(pictures, decoding)[0].tokens


def test_blank_picture_is_refused(recognizer: Recognizer) -> None:
    with pytest.raises(BadImage, match="blank"):
        recognizer.recognize([np.full((200, 400), 255, np.uint8)])


def test_one_formula_takes_less_than_a_second_on_one_core(recognizer: Recognizer, items: list[Item]) -> None:
    """The measured figure is in the card; this only catches a fall by an order of magnitude."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        recognizer.recognize([items[0].path])
        started = time.perf_counter()
        for item in items[1:11]:
            recognizer.recognize([item.path])
        assert (time.perf_counter() - started) / 10 < 1.0
    finally:
        torch.set_num_threads(threads)
