"""The whole loop with the bundled checkpoint: a symbol that it lacks is drawn, corrected, learnt and read."""

import re
from pathlib import Path

import numpy as np
import pytest

from annotations import AnnotationStore, Prediction
from hmer.ink import rasterize
from hmer.recognizer import Recognizer
from scripts import finetune

SYMBOL = r"\heartsuit"


def heart(random: np.random.Generator) -> np.ndarray:
    """A heart as somebody draws it in a sketchpad, each time a little different."""
    angle = np.linspace(0, 2 * np.pi, 60) + random.uniform(-0.3, 0.3)
    x = 16 * np.sin(angle) ** 3 * random.uniform(0.8, 1.2)
    y = -(13 * np.cos(angle) - 5 * np.cos(2 * angle) - 2 * np.cos(3 * angle) - np.cos(4 * angle))
    points = np.column_stack([x, y]) * random.uniform(1.5, 4.0) + random.normal(0, 0.4, (60, 2))
    tilt = np.deg2rad(random.uniform(-12, 12))
    points = points @ np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    return rasterize([points.astype(np.float32)], thickness_px=float(random.uniform(2, 6)), margin_px=20, jagged=True)


@pytest.mark.slow  # a minute or two
def test_a_symbol_that_the_model_lacks_is_learnt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(3)
    old = Recognizer.load("handwritten")
    assert SYMBOL not in old.model.vocabulary
    url = f"sqlite:///{tmp_path / 'annotations.db'}"
    with AnnotationStore(url) as store:
        for _ in range(12):
            picture = heart(random)
            answer = old.recognize([picture])[0]
            prediction = Prediction(answer.latex, answer.checkpoint, answer.tokens, answer.confidence)
            store.add(picture, prediction=prediction, correction=SYMBOL, status="accepted", source="test")

    folder = tmp_path / "learnt"
    # So few regression items cannot show what the gate asks for; what they show is looked at below.
    options = ["--store", url, "--out", str(folder), "--held_out", "0", "--regression_limit", "120", "--force"]
    assert finetune.main(options) == 0
    printed = capsys.readouterr().out
    assert f"new symbols: {SYMBOL}" in printed

    new = Recognizer.load(folder)
    assert new.config.parent == old.id
    unseen = [heart(random) for _ in range(10)]
    read = [answer.latex for answer in new.recognize(unseen)]
    assert read.count(SYMBOL) >= 9, read

    # Elsewhere it reads as before: the table's line is n, ExpRate, the interval of its gain, and the likelihood.
    figures = re.search(r"regression\D* 120 +(\S+) -> (\S+) +\S+ to \S+ +- -> - +(\S+) -> (\S+)", printed)
    assert figures is not None, printed
    exprate, new_exprate, nll, new_nll = map(float, figures.groups())
    assert new_exprate >= exprate - 0.03
    assert new_nll <= nll + 0.03
