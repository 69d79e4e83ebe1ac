"""Pictures: training curves, statistics of a data set, sheets of predictions, where a model looks (matplotlib)."""

import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from hmer.datasets.folder import Item
from hmer.errors import BadImage, BadInk, DatasetError
from hmer.image import Grey, read_image
from hmer.ink import draw, read_inkml

LINES = {
    "loss": (
        "loss",
        {
            "loss": "in all",
            "token": "token",
            "attention": "attention",
            "symbol": "symbol",
            "space": "space",
            "validation_loss": "validation",
        },
    ),
    "accuracy": ("token accuracy", {"token_accuracy": "training", "validation_token_accuracy": "validation"}),
    "validation": (
        "validation",
        {
            "validation_exprate": "ExpRate",
            "validation_le2": "≤ 2 edits",
            "validation_token_error_rate": "token error rate",
        },
    ),
    "similarity": (
        "validation",
        {"validation_bleu": "BLEU, from 0 to 1", "validation_levenshtein_similarity": "Levenshtein similarity"},
    ),
}
COMPARED = {
    "loss": "training loss",
    "token_accuracy": "training token accuracy",
    "validation_loss": "validation loss",
    "validation_token_accuracy": "validation token accuracy",
    "validation_exprate": "validation ExpRate",
    "validation_token_error_rate": "validation token error rate",
    "validation_bleu": "validation BLEU, from 0 to 1",
    "validation_levenshtein_similarity": "validation Levenshtein similarity",
}
_PERCENT = ("validation_bleu",)  # in the log from 0 to 100


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's log.jsonl. Raises DatasetError if it cannot be read."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: is no training log ({error}).") from error


def figure_of(width: float, height: float) -> Figure:
    """An empty figure, in inches, that needs no display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _curve(axes: Axes, lines: Sequence[Mapping[str, Any]], key: str, label: str) -> None:
    whole = 100 if key in _PERCENT else 1
    points = [(line["hours"], line[key] / whole) for line in lines if line.get(key) is not None]
    if points:
        hours, values = zip(*points, strict=True)
        axes.plot(hours, values, marker="." if len(points) < 40 else None, label=label)


def _finish(axes: Axes, title: str, x: str, *, legend: bool) -> None:
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.grid(alpha=0.3)
    if legend and axes.lines:
        axes.legend()


def training_curves(lines: Iterable[Mapping[str, Any]], path: Path) -> Path:
    """Loss, token accuracy and validation figures over hours of training, as far as the log has them, as a PNG."""
    lines = list(lines)
    figure = figure_of(14.5, 3.4)
    for axes, (title, curves) in zip(figure.subplots(1, len(LINES)), LINES.values(), strict=True):
        for key, label in curves.items():
            _curve(axes, lines, key, label)
        _finish(axes, title, "hours", legend=len(curves) > 1)
    figure.savefig(path, dpi=110)
    return path


def compared_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> Path:
    """The same figures of several runs, by name, in one picture; a PNG."""
    figure = figure_of(17, 7)
    for axes, (key, title) in zip(figure.subplots(2, 4).flat, COMPARED.items(), strict=True):
        for name, lines in runs.items():
            _curve(axes, lines, key, name)
        _finish(axes, title, "hours", legend=len(runs) > 1)
    figure.savefig(path, dpi=110)
    return path


@dataclass(frozen=True)
class Statistics:
    """What a data set holds: one entry a readable item, of its picture as it comes (ink drawn 40 px a symbol)."""

    widths_px: tuple[int, ...]
    heights_px: tuple[int, ...]
    lengths: tuple[int, ...]  # tokens of the label, of every item
    tokens: dict[str, int]  # how often each occurs, the frequent first
    grey_levels: tuple[float, ...]  # share of the pixels that are 0 to 15, 16 to 31, ... 240 to 255
    grey_mean: float  # from 0 (ink) to 1 (paper), over all pixels
    grey_std: float
    unread: int

    def summary(self) -> dict[str, Any]:
        """The figures in short: counts, and smallest, median, mean and largest of each size."""

        def spread(values: Sequence[float]) -> dict[str, float]:
            if not values:
                return {}
            array = np.asarray(values, float)
            named = {"min": array.min(), "median": np.median(array), "mean": array.mean(), "max": array.max()}
            return {name: round(float(value), 3) for name, value in named.items()}

        aspects = [width / height for width, height in zip(self.widths_px, self.heights_px, strict=True)]
        return {
            "n": len(self.lengths), "unread": self.unread, "distinct_tokens": len(self.tokens),
            "width_px": spread(self.widths_px), "height_px": spread(self.heights_px), "aspect": spread(aspects),
            "tokens": spread(self.lengths), "grey_mean": round(self.grey_mean, 4), "grey_std": round(self.grey_std, 4),
        }  # fmt: skip


def dataset_statistics(items: Sequence[Item]) -> Statistics:
    """Read every item and count; pictures after `read_image` (dark ink on white), so their values can be compared."""
    widths, heights, unread = [], [], 0
    levels = np.zeros(256)
    for item in items:
        try:
            ink = item.path.suffix.lower() == ".inkml"
            grey = draw(read_inkml(item.path)) if ink else read_image(item.path)
        except (BadImage, BadInk):
            unread += 1
            continue
        heights.append(grey.shape[0])
        widths.append(grey.shape[1])
        levels += np.bincount(grey.ravel(), minlength=256)
    total = max(float(levels.sum()), 1.0)
    values = np.arange(256) / 255
    mean = float((levels * values).sum() / total)
    return Statistics(
        widths_px=tuple(widths),
        heights_px=tuple(heights),
        lengths=tuple(len(item.tokens) for item in items),
        tokens=dict(Counter(token for item in items for token in item.tokens).most_common()),
        grey_levels=tuple((levels.reshape(16, 16).sum(1) / total).tolist()),
        grey_mean=mean,
        grey_std=float(np.sqrt((levels * (values - mean) ** 2).sum() / total)),
        unread=unread,
    )


def statistics_picture(statistics: Statistics, path: Path, tokens: int = 40) -> Path:
    """Sizes, aspect, lengths, grey values and the most frequent tokens of a data set, as a PNG."""
    figure = figure_of(13, 10)
    grid = figure.subplot_mosaic([["size", "width", "height"], ["aspect", "length", "grey"], ["token"] * 3])
    widths, heights = np.asarray(statistics.widths_px), np.asarray(statistics.heights_px)
    grid["size"].scatter(widths, heights, s=4, alpha=0.4)
    _finish(grid["size"], "height over width (px)", "width", legend=False)
    histograms = {
        "width": (widths, "width (px)"), "height": (heights, "height (px)"),
        "aspect": (widths / np.maximum(heights, 1), "width / height"), "length": (statistics.lengths, "tokens a formula"),
    }  # fmt: skip
    for name, (values, title) in histograms.items():
        grid[name].hist(values, bins=40)
        _finish(grid[name], title, "", legend=False)
    grid["grey"].bar(range(8, 256, 16), statistics.grey_levels, width=14)
    grid["grey"].set_yscale("log")
    _finish(grid["grey"], "share of pixels by grey value", "0 ink, 255 paper", legend=False)
    frequent = list(statistics.tokens.items())[:tokens]
    grid["token"].bar([_plain(token) for token, _ in frequent], [count for _, count in frequent])
    grid["token"].tick_params(axis="x", rotation=90)
    _finish(grid["token"], f"the {len(frequent)} most frequent of {len(statistics.tokens)} tokens", "", legend=False)
    figure.savefig(path, dpi=110)
    return path


def _plain(token: str) -> str:
    """A token as text: matplotlib takes what stands between dollars for mathematics."""
    return token.replace("$", r"\$")


@dataclass(frozen=True)
class Prediction:
    """A picture with what it is and what was read."""

    picture: Grey
    truth: Sequence[str]
    tokens: Sequence[str]


def learning_curves(figures: Mapping[str, Any], path: Path) -> Path:
    """What `benchmark.py personalise` measured, over the number of corrections, with its intervals; a PNG."""
    titles = {
        "token_error_rate_by_corrections": "token error rate, the writer's other formulas",
        "exprate_by_corrections": "ExpRate, the writer's other formulas",
        "regression_by_corrections": "ExpRate, everyone else (regression set)",
    }
    figure = figure_of(11, 3.4)
    for axes, (key, title) in zip(figure.subplots(1, len(titles)), titles.items(), strict=True):
        counts = sorted(map(int, figures[key]))
        values = np.array([figures[key][str(count)] for count in counts])
        bounds = np.array([figures["intervals"][key][str(count)] for count in counts]).reshape(-1, 2)
        spread = np.maximum([values - bounds[:, 0], bounds[:, 1] - values], 0)
        axes.errorbar(counts, values, spread, marker="o", capsize=4)
        axes.set_xticks(counts)
        axes.set_ylim(0, 1.1 * max(float(bounds.max()), 1e-6))
        _finish(axes, title, f"corrections ({figures['writers']} writers, 95 %)", legend=False)
    figure.savefig(path, dpi=110)
    return path


def prediction_sheet(predictions: Sequence[Prediction], path: Path, columns: int = 3) -> Path:
    """Pictures, each with its truth and below what was read, green where that is right, as a PNG."""
    rows = -(-max(len(predictions), 1) // columns)
    figure = figure_of(4.5 * columns, 1.9 * rows)
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in places:
        axes.axis("off")
    for axes, shown in zip(places, predictions, strict=False):
        axes.imshow(shown.picture, cmap="gray", vmin=0, vmax=255)
        right = list(shown.truth) == list(shown.tokens)
        axes.set_title(_short(shown.truth), fontsize=7, loc="left")
        axes.text(
            0, -0.02, _short(shown.tokens), fontsize=7, color="#1a7f37" if right else "#b42318", va="top",
            transform=axes.transAxes,
        )  # fmt: skip
    figure.savefig(path, dpi=110)
    return path


def _short(tokens: Sequence[str], most: int = 60) -> str:
    text = _plain(" ".join(tokens)) or "(nothing)"
    return text if len(text) <= most else text[: most - 1] + "…"


def attention_picture(
    picture: Grey, looks: Sequence[tuple[str, npt.NDArray[np.float32]]], columns: int = 4, most: int = 60
) -> Figure:
    """A picture once for each token, with where the model looked in colour; maps (rows, columns) from 0 to 1."""
    shown = list(looks[:most])
    rows = -(-max(len(shown), 1) // columns)
    height, width = picture.shape
    figure = figure_of(2.6 * columns, rows * (0.45 + 2.6 * min(max(height / width, 0.15), 1.5)))
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in places:
        axes.axis("off")
    for axes, (token, weights) in zip(places, shown, strict=False):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
        high = float(weights.max()) or 1.0
        axes.imshow(weights / high, cmap="Reds", alpha=0.55, vmin=0, vmax=1, extent=(0, width, height, 0))
        axes.set_title(_plain(token), fontsize=9)
    return figure


def attention_pixels(picture: Grey, looks: Sequence[tuple[str, npt.NDArray[np.float32]]]) -> npt.NDArray[np.uint8]:
    """`attention_picture` as pixels: (H, W, 3)."""
    stream = io.BytesIO()
    attention_picture(picture, looks).savefig(stream, dpi=110, format="png")
    return np.array(Image.open(stream).convert("RGB"), np.uint8)


def bars(values: Mapping[str, float], title: str, path: Path, counts: Mapping[str, float] | None = None) -> Path:
    """Shares from 0 to 1 by name, with how many each stands for, as a PNG."""
    figure = figure_of(6.5, 3.2)
    axes = figure.subplots()
    names = [f"{_plain(name)}\nn = {counts[name]:.0f}" if counts else _plain(name) for name in values]
    drawn = axes.bar(names, list(values.values()))
    axes.bar_label(drawn, fmt="%.2f", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_ylim(0, max(1.0, *values.values()) if values else 1.0)
    _finish(axes, title, "", legend=False)
    figure.savefig(path, dpi=110)
    return path
