"""Formulas small enough to learn in seconds: drawn here with a few strokes, segmented, as ink, pictures and files."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hmer.checkpoint import load
from hmer.config import ImageConfig, InputConfig, ModelConfig, TrainConfig
from hmer.datasets.batches import draw_owners, symbol_positions
from hmer.datasets.folder import Item, write_labels
from hmer.evaluation import Evaluation, Forced, merged
from hmer.image import Grey
from hmer.ink import Ink, Symbol, rasterize
from hmer.models import Model
from hmer.recognizer import Recognition
from hmer.trainer import Trainer
from hmer.vocabulary import Vocabulary

GLYPHS: dict[str, list[list[tuple[float, float]]]] = {
    "1": [[(0.3, 0.2), (0.5, 0.0), (0.5, 1.0)]],
    "2": [[(0.1, 0.2), (0.5, 0.0), (0.9, 0.3), (0.1, 1.0), (0.9, 1.0)]],
    "0": [[(0.5, 0.0), (0.9, 0.5), (0.5, 1.0), (0.1, 0.5), (0.5, 0.0)]],
    "x": [[(0.0, 0.1), (0.9, 1.0)], [(0.9, 0.1), (0.0, 1.0)]],
    "+": [[(0.0, 0.5), (1.0, 0.5)], [(0.5, 0.0), (0.5, 1.0)]],
    "-": [[(0.0, 0.5), (1.0, 0.5)]],
    "=": [[(0.0, 0.3), (1.0, 0.3)], [(0.0, 0.7), (1.0, 0.7)]],
    "\\Delta": [[(0.5, 0.0), (1.0, 1.0), (0.0, 1.0), (0.5, 0.0)]],
}
Place = tuple[str, float, float, float, float]  # symbol, left, top, width, height

# Caption and where its symbols stand, in heights of a line.
FORMULAS: dict[str, list[Place]] = {
    "1": [("1", 0, 0, 1, 1)],
    "1 + x": [("1", 0, 0, 1, 1), ("+", 1.3, 0, 1, 1), ("x", 2.6, 0, 1, 1)],
    "x - 2": [("x", 0, 0, 1, 1), ("-", 1.3, 0, 1, 1), ("2", 2.6, 0, 1, 1)],
    "x ^ { 2 }": [("x", 0, 0, 1, 1), ("2", 1.1, -0.6, 0.6, 0.7)],
    "x _ { 0 }": [("x", 0, 0, 1, 1), ("0", 1.1, 0.7, 0.6, 0.7)],
    "\\frac { 1 } { x }": [("-", -0.2, 0.8, 1.6, 0.8), ("1", 0, 0, 1, 1), ("x", 0, 1.5, 1, 1)],
    "2 = x": [("2", 0, 0, 1, 1), ("=", 1.3, 0, 1, 1), ("x", 2.6, 0, 1, 1)],
    "0 + 0 + 1": [
        ("0", 0, 0, 1, 1),
        ("+", 1.3, 0, 1, 1),
        ("0", 2.6, 0, 1, 1),
        ("+", 3.9, 0, 1, 1),
        ("1", 5.2, 0, 1, 1),
    ],
}
DELTA: dict[str, list[Place]] = {
    "\\Delta": [("\\Delta", 0, 0, 1, 1)],
    "\\Delta + 1": [("\\Delta", 0, 0, 1, 1), ("+", 1.3, 0, 1, 1), ("1", 2.6, 0, 1, 1)],
}
VOCABULARY = Vocabulary(sorted({token for caption in FORMULAS for token in caption.split()}))
IMAGE = ImageConfig()


def narrow(name: str) -> ModelConfig:
    """A model that is built in milliseconds: an architecture, or a variant of one (a key of VARIANTS)."""
    return VARIANTS[name]


def _variant(architecture: str, **settings: Any) -> ModelConfig:
    sizes = {
        "encoder_channels": (8, 16), "encoder_blocks": (1, 1), "decoder_width": 32, "decoder_layers": 2,
        "decoder_heads": 4, "decoder_feedforward": 64, "attention_width": 16, "dropout": 0.0, "lstm_width": 24,
    }  # fmt: skip
    return ModelConfig(architecture=architecture, **(sizes | settings))


VARIANTS = {
    "transformer": _variant("transformer"),
    "transformer enclosure": _variant("transformer", enclosure=True),
    "cnn_lstm": _variant("cnn_lstm"),
    "cnn_lstm flattened": _variant(
        "cnn_lstm", encoder="blocks", encoder_channels=(4, 8, 16), attention="none", embedding="flatten",
        lstm_layers=2, input=InputConfig(32, 160, keep_aspect=True),
    ),
    "cnn_lstm multiplicative": _variant(
        "cnn_lstm", encoder="blocks", encoder_channels=(8, 16, 16), attention="multiplicative", lstm_layers=2,
        input=InputConfig(channels=3, mean=0.5, std=0.5),
    ),
    "crnn_ctc": _variant("crnn_ctc", encoder_norm=True, lstm_layers=2, input=InputConfig(32, 160)),
    "crnn_ctc slices": _variant("crnn_ctc", encoder="blocks", encoder_channels=(8, 16), slices=3),
}  # fmt: skip


def ink_of(places: Sequence[Place], *, size: float = 40.0) -> Ink:
    """The symbols as strokes with segmentation, `size` large; corners are rounded off by points between."""
    strokes: list[np.ndarray] = []
    symbols = []
    for label, left, top, width, height in places:
        indices = []
        for stroke in GLYPHS[label]:
            corners = np.array(stroke) * (width, height) + (left, top)
            steps = np.linspace(0, len(corners) - 1, 8 * (len(corners) - 1) + 1)
            points = [np.interp(steps, np.arange(len(corners)), corners[:, axis]) for axis in (0, 1)]
            indices.append(len(strokes))
            strokes.append((np.stack(points, 1) * size).astype(np.float32))
        symbols.append(Symbol(label, tuple(indices)))
    return Ink(tuple(strokes), tuple(symbols))


def picture_of(places: Sequence[Place], *, size: float = 40.0, thickness_px: float = 3.0) -> Grey:
    """The symbols drawn: (H, W) uint8."""
    return rasterize(ink_of(places, size=size).strokes, thickness_px=thickness_px)


def write_picture(path: Path, places: Sequence[Place], *, size: float = 40.0, thickness_px: float = 3.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture_of(places, size=size, thickness_px=thickness_px))
    return path


def inkml_of(ink: Ink, truth: str) -> str:
    """An InkML file as CROHME's, without the MathML truth."""
    traces, groups = [], []
    for index, stroke in enumerate(ink.strokes):
        points = ", ".join(f"{x:.2f} {y:.2f}" for x, y in stroke)
        traces.append(f'<trace id="{index}">{points}</trace>')
    for symbol in ink.symbols:
        views = "".join(f'<traceView traceDataRef="{index}"/>' for index in symbol.strokes)
        groups.append(f'<traceGroup><annotation type="truth">{symbol.label}</annotation>{views}</traceGroup>')
    return (
        '<ink xmlns="http://www.w3.org/2003/InkML"><annotation type="writer">toy</annotation>'
        f'<annotation type="truth">${truth}$</annotation>{"".join(traces)}<traceGroup>{"".join(groups)}</traceGroup></ink>'
    )


def write_dataset(folder: Path, formulas: dict[str, list[Place]], *, repeats: int = 1, suffix: str = ".png") -> Path:
    """A dataset folder of the formulas, in several sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for repeat in range(repeats):
        size = 40.0 + 6 * repeat
        for number, (caption, places) in enumerate(formulas.items()):
            name = f"{number}_{repeat}{suffix if suffix != 'mixed' else ('.png', '.inkml')[number % 2]}"
            if name.endswith(".inkml"):
                (folder / name).write_text(inkml_of(ink_of(places, size=size), caption), encoding="utf-8")
            else:
                write_picture(folder / name, places, size=size)
            rows.append((name, caption))
    write_labels(folder, rows, ("file", "latex"))
    return folder


def owners_of(
    caption: str, places: Sequence[Place], strokes: Sequence[np.ndarray], shape: tuple[int, int]
) -> np.ndarray:
    """As `Batch.owners`, for one drawing."""
    ink = ink_of(places)
    return draw_owners(strokes, ink, symbol_positions(caption.split(), ink), shape)


def evaluation_of(
    read: Sequence[tuple[str, str]], unread: Sequence[str] = (), forced: Forced | None = None
) -> Evaluation:
    """As if these captions had been answered so, and the pictures of others could not be read."""
    captions = [truth for truth, _ in read]
    items, nothing = (
        tuple(Item(Path(f"{number}.png"), tuple(caption.split())) for number, caption in enumerate(group))
        for group in (captions, unread)
    )
    answers = tuple(Recognition(answer, tuple(answer.split()), 1.0, (), (), "toy", 0.0, 0.0) for _, answer in read)
    part = dataclasses.replace(merged([]), items=items, recognitions=answers, unread=nothing, forced=forced)
    return merged([part])


def trained_on(start: Path, data: Path, out: Path, **settings: Any) -> Model:
    """The model of a checkpoint after three steps on such data, with these settings besides the usual ones."""
    config = TrainConfig(
        train=(str(data),), out=str(out), initial=str(start), steps=3, batch_size=4, workers=0, pool_batches=1,
        warmup_steps=1, threads=1, **settings,
    )  # fmt: skip
    Trainer(config).fit()
    return load(out / "last").model
