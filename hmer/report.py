"""An evaluation as one HTML page: figures, charts, and the worst and median predictions with their pictures."""

import base64
import html
import io
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hmer.errors import BadImage, BadInk
from hmer.evaluation import Evaluation
from hmer.image import Grey
from hmer.metrics import align, token_edits
from hmer.plots import bars
from hmer.recognizer import Recognizer

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1f2328; }
table { border-collapse: collapse; margin: 1rem 0; } td, th { border: 1px solid #d0d7de; padding: .2rem .6rem; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } img { max-width: 100%; }
figure { margin: 0; display: inline-block; } code { font-size: 90%; }
article { border: 1px solid #d0d7de; border-radius: 6px; padding: .7rem 1rem; margin: .7rem 0; overflow-x: auto; }
del { background: #ffd7d5; text-decoration: none; } ins { background: #ccffd8; text-decoration: none; }
"""


def write_report(
    folder: Path, evaluation: Evaluation, figures: Mapping[str, Any], recognizer: Recognizer, shown: int = 15
) -> Path:
    """Write index.html, which needs no other file, and figures.json; the page's path.

    `figures` as `Evaluation.figures` gives them, with whatever else is to stand in the table. `shown` predictions each
    of the worst (most edits a token of the truth) and of those around the median.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = html.escape(str(figures.get("checkpoint", recognizer.id)))
    plain = {key: value for key, value in figures.items() if not isinstance(value, (dict, list))}
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{name}</title><style>{_STYLE}</style>",
        f"<h1>{name}</h1>",
        _table(["figure", ""], [(key, _number(value)) for key, value in plain.items()]),
        "<h2>By length and structure</h2>",
        *(_group(figures[key], title) for key, title in (("by_length", "tokens"), ("by_structure", "structure"))),
        "<h2>Confusions</h2>",
        _table(
            ["truth", "read as", "times"],
            [(item["truth"] or "(nothing)", item["prediction"] or "(left out)", str(item["count"]))
             for item in figures["confusions"][:30]],
        ),
        "<h2>By symbol</h2>",
        _table(
            ["symbol", "n", "recall", "precision"],
            [(token, str(row["n"]), _number(row["recall"]), _number(row["precision"]))
             for token, row in figures["by_symbol"].items() if row["n"]],
        ),
    ]  # fmt: skip
    order = _by_error(evaluation)
    middle = max(0, len(order) // 2 - shown // 2)
    for title, chosen in (("Worst", order[:shown]), ("Median", order[middle : middle + shown])):
        parts.append(f"<h2>{title} predictions</h2>")
        parts += [_prediction(evaluation, index, recognizer) for index in chosen]
    page = folder / "index.html"
    page.write_text("\n".join(parts) + "\n", encoding="utf-8")
    (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return page


def _by_error(evaluation: Evaluation) -> list[int]:
    """Indices of the items that were read, most edits for each token of the truth first."""
    pairs = list(zip(evaluation.truths, evaluation.predictions, strict=True))[: len(evaluation.items)]
    errors = [token_edits(truth, prediction) / max(len(truth), 1) for truth, prediction in pairs]
    return sorted(range(len(errors)), key=lambda index: (-errors[index], index))


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "-" if value is None else str(value)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr><td>{}</td>{}</tr>".format(
            html.escape(first), "".join(f"<td class='number'>{html.escape(cell)}</td>" for cell in rest)
        )
        for first, *rest in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _group(table: Mapping[str, Mapping[str, float]], title: str) -> str:
    """A chart of ExpRate by group and its figures."""
    filled = {name: row for name, row in table.items() if row["n"]}
    rows = [
        (name, f"{row['n']:.0f}", _number(row["exprate"]), _number(row["token_error_rate"]))
        for name, row in filled.items()
    ]
    counts = {name: row["n"] for name, row in filled.items()}
    values = {name: row["exprate"] for name, row in filled.items()}
    chart = _chart(lambda path: bars(values, f"ExpRate by {title}", path, counts))
    return f"<figure>{chart}</figure>{_table([title, 'n', 'ExpRate', 'token error rate'], rows)}"


def _chart(draw: Callable[[Path], object]) -> str:
    with tempfile.TemporaryDirectory() as working:
        path = Path(working) / "chart.png"
        draw(path)
        return _image(path.read_bytes(), "chart")


def _image(png: bytes, alternative: str) -> str:
    return f"<img alt='{html.escape(alternative)}' src='data:image/png;base64,{base64.b64encode(png).decode()}'>"


def _prediction(evaluation: Evaluation, index: int, recognizer: Recognizer) -> str:
    item, answer = evaluation.items[index], evaluation.recognitions[index]
    truth, prediction = marked(evaluation.truths[index], evaluation.predictions[index])
    try:
        picture = _image(_png(recognizer.read(item.path)), item.path.name)
    except (BadImage, BadInk) as error:  # was there when it was measured
        picture = html.escape(str(error))
    return (
        f"<article>{picture}<br><code>{truth}</code><br><code>{prediction}</code>"
        f"<br><small>{html.escape(item.path.name)} · confidence {answer.confidence:.2f}</small></article>"
    )


def _png(picture: Grey) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.asarray(picture)).save(stream, "PNG")
    return stream.getvalue()


def marked(truth: Sequence[str], prediction: Sequence[str]) -> tuple[str, str]:
    """Both as HTML, the tokens that differ along `hmer.metrics.align` marked: <del> in the truth, <ins> as read."""
    sides: tuple[list[str], list[str]] = ([], [])
    for pair in align(truth, prediction):
        for token, side, tag in zip(pair, sides, ("del", "ins"), strict=True):
            if token:
                text = html.escape(token)
                side.append(text if pair[0] == pair[1] else f"<{tag}>{text}</{tag}>")
    one, other = (" ".join(side) or "(nothing)" for side in sides)
    return one, other
