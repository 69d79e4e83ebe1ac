"""Pictures are written, and the numbers behind them are right."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from toys import FORMULAS, VOCABULARY, narrow, picture_of, write_dataset

from hmer import plots
from hmer.checkpoint import Checkpoint, CheckpointConfig
from hmer.datasets.folder import read_dataset
from hmer.errors import ConfigError, DatasetError
from hmer.image import prepare
from hmer.looks import looks
from hmer.models import build
from hmer.plots import (
    Prediction,
    attention_picture,
    attention_pixels,
    bars,
    compared_curves,
    dataset_statistics,
    figure_of,
    prediction_sheet,
    read_log,
    statistics_picture,
    training_curves,
)
from hmer.recognizer import Recognizer
from hmer.rendered import rendered_match, typeset

LOG = [
    {"hours": 0.1, "loss": 3.0, "token": 2.0, "token_accuracy": 0.2},
    {"hours": 0.2, "validation_exprate": 0.1, "validation_le2": 0.2, "validation_token_error_rate": 0.9},
    {"hours": 0.3, "loss": 2.0, "token": 1.5, "token_accuracy": 0.4},
]


VALIDATED = {
    "hours": 0.3, "validation_loss": 2.5, "validation_token_accuracy": 0.3, "validation_bleu": 40.0,
    "validation_levenshtein_similarity": 0.6,
}  # fmt: skip


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        image.load()
        return image.size


def test_curves(tmp_path: Path) -> None:
    assert min(size_of(training_curves(LOG, tmp_path / "one.png"))) > 200
    assert min(size_of(training_curves([], tmp_path / "none.png"))) > 200
    assert min(size_of(compared_curves({"a": LOG, "b": LOG[:1]}, tmp_path / "two.png"))) > 500
    (tmp_path / "log.jsonl").write_text("{no json", encoding="utf-8")
    with pytest.raises(DatasetError, match="is no training log"):
        read_log(tmp_path / "log.jsonl")


def test_every_figure_of_the_log_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []

    def kept(width: float, height: float) -> Figure:
        figures.append(figure_of(width, height))
        return figures[-1]

    monkeypatch.setattr(plots, "figure_of", kept)
    training_curves([*LOG, VALIDATED], tmp_path / "one.png")
    compared_curves({"a": [*LOG, VALIDATED], "b": LOG}, tmp_path / "two.png")
    one, two = (
        {
            (axes.get_title(), str(line.get_label())): list(line.get_ydata())
            for axes in figure.axes
            for line in axes.lines
        }
        for figure in figures
    )
    assert one[("loss", "validation")] == [2.5] and one[("loss", "in all")] == [3.0, 2.0]
    assert one[("token accuracy", "training")] == [0.2, 0.4] and one[("token accuracy", "validation")] == [0.3]
    assert one[("validation", "BLEU, from 0 to 1")] == [0.4] and one[("validation", "Levenshtein similarity")] == [0.6]
    assert ("loss", "symbol") not in one  # the log has none
    assert two[("validation token accuracy", "a")] == [0.3]
    assert two[("validation Levenshtein similarity", "a")] == [0.6]
    assert two[("validation BLEU, from 0 to 1", "a")] == [0.4]
    assert two[("training loss", "b")] == [3.0, 2.0]


def test_statistics_of_a_data_set(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "data", {caption: FORMULAS[caption] for caption in ("1", "1 + x")})
    black_and_white = np.full((10, 30), 255, np.uint8)
    black_and_white[:5, :15] = 0
    Image.fromarray(black_and_white).save(folder / "0_0.png")
    (folder / "more.png").write_bytes(b"no picture")
    with (folder / "labels.tsv").open("a", encoding="utf-8") as labels:
        labels.write("more.png\tx\n")
    items = read_dataset(folder, "crohme")
    found = dataset_statistics(items[:1])
    assert (found.widths_px, found.heights_px, found.lengths, found.unread) == ((30,), (10,), (1,), 0)
    assert found.grey_mean == pytest.approx(0.75) and found.grey_std == pytest.approx(np.sqrt(3) / 4)
    assert found.grey_levels[0] == pytest.approx(0.25) and found.grey_levels[-1] == pytest.approx(0.75)
    found = dataset_statistics(items)
    assert found.unread == 1 and len(found.widths_px) == 2
    assert found.tokens == {"1": 2, "x": 2, "+": 1}
    summary = found.summary()
    assert (summary["n"], summary["unread"], summary["distinct_tokens"]) == (3, 1, 3)
    assert summary["tokens"] == {"min": 1, "median": 1, "mean": pytest.approx(5 / 3, abs=1e-3), "max": 3}
    assert min(size_of(statistics_picture(found, tmp_path / "data.png"))) > 500


def test_sheets_and_bars_take_any_token(tmp_path: Path) -> None:
    picture = picture_of(FORMULAS["1"])
    shown = [
        Prediction(picture, ["1"], ["1"]),
        Prediction(picture, ["$", "^", "\\frac"] * 30, []),
        Prediction(picture, [], ["_"]),
    ]
    assert min(size_of(prediction_sheet(shown, tmp_path / "sheet.png"))) > 100
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert (np.asarray(sheet.convert("L")) < 50).mean() > 0.005  # ink and captions
    assert min(size_of(prediction_sheet([], tmp_path / "empty.png"))) > 100
    assert min(size_of(bars({"$": 0.5}, "x", tmp_path / "bars.png", {"$": 3}))) > 200
    bars({}, "x", tmp_path / "bars.png")


@pytest.mark.parametrize("name", ["cnn_lstm", "cnn_lstm multiplicative", "transformer"])
def test_where_a_model_looks(name: str, tmp_path: Path) -> None:
    model = build(narrow(name), VOCABULARY).eval()
    recognizer = Recognizer(Checkpoint(model, CheckpointConfig("toy", VOCABULARY.words, model=model.config), "toy"))
    picture = prepare(picture_of(FORMULAS["1 + x"]), recognizer.config.image).pixels
    found = looks(recognizer, picture, ["1", "+", "x"])
    assert [token for token, _ in found] == ["1", "+", "x"]
    for _, weights in found:
        assert weights.shape == (picture.shape[0] // 8, picture.shape[1] // 8)
        assert float(weights.sum()) == pytest.approx(1.0, abs=1e-4)
        inked = (picture < 200).reshape(weights.shape[0], 8, weights.shape[1], 8).any(axis=(1, 3))
        assert float(weights[~inked].sum()) < 1e-6
    attention_picture(picture, found).savefig(tmp_path / "attention.png")
    assert min(size_of(tmp_path / "attention.png")) > 50
    pixels = attention_pixels(picture, found)
    assert pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.min() < 100
    attention_picture(picture, [])


@pytest.mark.parametrize("name", ["crnn_ctc", "cnn_lstm flattened"])
def test_a_model_without_attention_says_so(name: str) -> None:
    model = build(narrow(name), VOCABULARY).eval()
    recognizer = Recognizer(Checkpoint(model, CheckpointConfig("toy", VOCABULARY.words, model=model.config), "toy"))
    with pytest.raises(ConfigError, match="toy: this model has no attention"):
        looks(recognizer, picture_of(FORMULAS["1"]), ["1"])


def test_formulas_that_look_alike() -> None:
    one = [r"\frac", r"{", r"a", r"}", r"{", r"b", r"}"]
    assert typeset(one) is not None
    assert typeset([r"\begin{matrix}", r"a", r"\end{matrix}"]) is None
    truths = [one, ["x"], ["a", "^", "{", "b", "}"], [r"\begin{matrix}", "a", r"\end{matrix}"], ["x", "}"]]
    predictions = [one, ["y"], ["{", "a", "}", "^", "{", "b", "}"], [r"\begin{matrix}", "a", r"\end{matrix}"], ["x"]]
    assert rendered_match(truths, predictions) == pytest.approx(3 / 5)
    assert rendered_match([], []) == 0.0
