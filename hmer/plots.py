"""Pictures of training: curves from a run's log."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hmer.errors import DatasetError


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's log.jsonl. Raises DatasetError if it cannot be read."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: is no training log ({error}).") from error


def training_curves(lines: Iterable[Mapping[str, Any]], path: Path) -> Path:
    """Loss, token accuracy and validation figures over hours of training, as a PNG."""
    lines = list(lines)
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = (
        ("loss", {"loss": "in all", "token": "token", "attention": "attention", "symbol": "symbol"}),
        ("training token accuracy", {"token_accuracy": ""}),
        (
            "validation",
            {
                "validation_exprate": "ExpRate",
                "validation_le2": "≤ 2 edits",
                "validation_token_error_rate": "token error rate",
            },
        ),
    )
    for axes, (title, curves) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for key, label in curves.items():
            points = [(line["hours"], line[key]) for line in lines if key in line]
            if points:
                hours, values = zip(*points, strict=True)
                axes.plot(hours, values, marker="." if len(points) < 40 else None, label=label)
        axes.set_title(title)
        axes.set_xlabel("hours")
        axes.grid(alpha=0.3)
        if len(curves) > 1 and axes.lines:
            axes.legend()
    figure.savefig(path, dpi=110)
    return path
