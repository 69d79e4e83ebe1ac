"""Pen strokes beside a picture: what a browser recorded, kept as plain numbers and written as InkML.

A stroke is a list of points (x, y, t): pixels of the drawing sheet, y downward, and seconds since the first point.
"""

import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
import PIL.Image

from hmer.errors import BadInk
from hmer.ink import MAX_POINTS, Ink, Stroke, parse_inkml

Point: TypeAlias = tuple[float, float, float]
Strokes: TypeAlias = tuple[tuple[Point, ...], ...]

_LIMIT = 1e9
_FITS = 0.95  # share of points on ink, and of ink by strokes
_NAMESPACE = "http://www.w3.org/2003/InkML"


def make_strokes(value: Any) -> Strokes:
    """Strokes from nested lists of numbers, t being 0 where it is missing. Raises BadInk for anything else."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise BadInk("Strokes are lists of points [x, y, t]; draw again.")
    strokes = tuple(tuple(_point(point) for point in stroke) for stroke in map(_points, value))
    strokes = tuple(stroke for stroke in strokes if stroke)
    if not strokes:
        raise BadInk("There is no stroke; draw again.")
    if sum(map(len, strokes)) > MAX_POINTS:
        raise BadInk(f"The strokes have more than {MAX_POINTS} points, which no formula has.")
    return strokes


def from_inkml(data: bytes, name: str = "ink") -> Strokes:
    """The strokes of an InkML file; times where its trace format says that the third channel is T in seconds.

    Raises BadInk as `hmer.ink.parse_inkml` does.
    """
    ink = parse_inkml(data, name)
    root = ElementTree.fromstring(data)  # noqa: S314 - parse_inkml has refused entities
    channels = [(item.get("name"), item.get("units")) for item in root.iter(f"{{{_NAMESPACE}}}channel")]
    if channels[2:3] != [("T", "s")]:
        return make_strokes([stroke.tolist() for stroke in ink.strokes])
    texts = [child.text or "" for child in root if child.tag == f"{{{_NAMESPACE}}}trace"]
    return make_strokes([[point.split()[:3] for point in text.split(",") if point.split()] for text in texts])


def ink_of(strokes: Strokes, *, truth: str | None = None, writer: str = "") -> Ink:
    """Strokes as the ink that hmer draws; times are left out."""
    lines: tuple[Stroke, ...] = tuple(np.asarray(stroke, np.float32)[:, :2] for stroke in strokes)
    return Ink(lines, truth=truth, writer=writer)


def fitted(strokes: Strokes, image: PIL.Image.Image, pen_radius_px: float) -> Strokes | None:
    """Strokes recorded on a screen, in pixels of the picture that they drew; None if they are not what it shows.

    A page shows a sheet enlarged and shifted; the ink tells how. What was erased or drawn at several magnifications
    does not fit and is refused: nearly all points must lie on ink, and nearly all ink must lie by a stroke.
    """
    mask = np.asarray(image.convert("L")) < 128
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    low = np.array([columns[0], rows[0]]) + pen_radius_px
    high = np.array([columns[-1], rows[-1]]) - pen_radius_px
    points = np.concatenate([np.asarray(stroke)[:, :2] for stroke in strokes])
    extent = points.max(axis=0) - points.min(axis=0)
    longer = int(extent.argmax())
    factor = float((high - low)[longer] / extent[longer]) if extent[longer] > 0 else 1.0
    shift = (low + high) / 2 - factor * (points.min(axis=0) + points.max(axis=0)) / 2
    moved = [np.asarray(stroke)[:, :2] * factor + shift for stroke in strokes]
    near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8))
    places = np.rint(np.concatenate(moved)).astype(int)
    inside = ((places >= 0) & (places < (mask.shape[1], mask.shape[0]))).all(axis=1)
    on_ink = near[tuple(places[inside].T[::-1])].sum() / len(places)
    drawn = np.zeros(mask.shape, np.uint8)
    for line in moved:
        cv2.polylines(drawn, [np.rint(line).astype(np.int32)], False, 1, math.ceil(2 * pen_radius_px) + 5)
    covered = drawn[mask].mean()
    if factor <= 0 or min(on_ink, covered) < _FITS:
        return None
    return make_strokes(
        [
            [(round(x, 2), round(y, 2), t) for (x, y), (_, _, t) in zip(line.tolist(), stroke, strict=True)]
            for line, stroke in zip(moved, strokes, strict=True)
        ]
    )


def to_json(strokes: Strokes) -> str:
    """As text for the store."""
    return json.dumps(strokes, separators=(",", ":"), allow_nan=False)


def to_inkml(strokes: Strokes, *, truth: str | None = None, writer: str = "") -> bytes:
    """An InkML file (W3C) with the channels X, Y, T, nothing rounded or left out."""
    root = ElementTree.Element("ink", {"xmlns": _NAMESPACE})
    channels = ElementTree.SubElement(root, "traceFormat")
    for name, unit in (("X", "px"), ("Y", "px"), ("T", "s")):
        ElementTree.SubElement(channels, "channel", {"name": name, "type": "decimal", "units": unit})
    for kind, text in (("truth", truth), ("writer", writer)):
        if text:
            ElementTree.SubElement(root, "annotation", {"type": kind}).text = text
    for index, stroke in enumerate(strokes):
        trace = ElementTree.SubElement(root, "trace", {"id": str(index)})
        trace.text = ", ".join(" ".join(map(repr, point)) for point in stroke)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _points(stroke: Any) -> Sequence[Any]:
    if not isinstance(stroke, Sequence) or isinstance(stroke, str | bytes):
        raise BadInk("A stroke is a list of points [x, y, t]; draw again.")
    return stroke


def _point(point: Any) -> Point:
    try:
        numbers = [float(number) for number in point]
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInk("A point of a stroke is [x, y, t], three numbers; draw again.") from error
    if len(numbers) not in (2, 3) or not all(math.isfinite(number) and abs(number) <= _LIMIT for number in numbers):
        raise BadInk("A point of a stroke lies beyond any drawing sheet; draw again.")
    x, y, t = (*numbers, 0.0)[:3]
    return x, y, t
