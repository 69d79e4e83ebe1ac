"""Half precision where the processor is made for it: as good, and nothing but the encoder is computed in it."""

import pytest
import torch

from hmer import checkpoint as checkpoints
from hmer import precision
from hmer.config import Decoding
from hmer.datasets.folder import read_dataset
from hmer.recognizer import Recognizer


def test_the_quicker_precision_is_found_by_trial() -> None:
    assert precision.faster_precision() in ("no", "bf16")
    assert precision.precision() == precision.precision()


def test_formulas_are_read_alike_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = Recognizer.load("handwritten")
    items = read_dataset(checkpoints.resolve("handwritten") / "regression", "crohme")[:40]
    pictures = [recognizer.read(item.path) for item in items]
    read, cells = [], []
    for kind in ("no", "bf16"):
        monkeypatch.setattr(precision, "precision", lambda kind=kind: kind)
        encoded = recognizer.encode(pictures[:1])
        assert encoded.memory.dtype == encoded.extra["cells"].dtype == torch.float32
        cells.append(encoded.extra["cells"])
        read.append(recognizer.recognize_prepared(pictures, Decoding(strategy="greedy")))
    difference = float((cells[0] - cells[1]).norm() / cells[0].norm())
    assert 0 < difference < 0.05
    same = [one.latex == other.latex for one, other in zip(*read, strict=True)]
    assert sum(same) >= 37
