"""Strokes: reading them (InkML) and drawing them.

An `Ink` is what a pen wrote: strokes of points, y downward, in the units of its device. Where the file
says which strokes form which symbol, `symbols` holds that in reading order, which is the order in which
the symbols' tokens stand in the LaTeX caption.
"""

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from hmer.errors import BadInk

Stroke = npt.NDArray[np.float32]  # (points, 2): x, y

MAX_FILE_BYTES = 20_000_000
MAX_POINTS = 500_000
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_SHIFT_BITS = 4  # OpenCV draws at 1/16 of a pixel


@dataclass(frozen=True)
class Symbol:
    """One written symbol: its label, a LaTeX token, and the indices of its strokes."""

    label: str
    strokes: tuple[int, ...]


@dataclass(frozen=True)
class Ink:
    """What a pen wrote, and what is known about it."""

    strokes: tuple[Stroke, ...]
    symbols: tuple[Symbol, ...] = ()
    truth: str | None = None
    writer: str = ""


def read_inkml(path: str | Path) -> Ink:
    """The strokes, segmentation, truth and writer of an InkML file.

    Raises BadInk if the file is not InkML, is larger than any formula, or holds no point.
    Source: W3C Ink Markup Language; the segmentation convention is CROHME's.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadInk(f"{path.name}: larger than {MAX_FILE_BYTES // 1_000_000} MB, which no formula is.")
        return parse_inkml(path.read_bytes(), path.name)
    except OSError as error:
        raise BadInk(f"{path.name}: cannot be read ({error.strerror}).") from error


def parse_inkml(data: bytes, name: str = "ink") -> Ink:
    """As `read_inkml`, from the bytes of a file; `name` stands in the error messages."""
    plain = data.replace(b"\0", b"")  # as UTF-16, too
    if b"<!DOCTYPE" in plain or b"<!ENTITY" in plain:
        raise BadInk(f"{name}: declares XML entities, which InkML does not need; it was not read.")
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 - entities, the danger, were refused above
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise BadInk(f"{name}: is not well-formed InkML ({error}).") from error

    strokes: list[Stroke] = []
    index_of: dict[str, int] = {}
    annotations: dict[str, str] = {}
    points_total = 0
    for child in root:
        tag = _local(child.tag)
        if tag == "annotation":
            annotations.setdefault(child.get("type", ""), (child.text or "").strip())
        elif tag == "trace":
            stroke = _parse_trace(child.text or "", name)
            if not len(stroke):
                continue
            points_total += len(stroke)
            if points_total > MAX_POINTS:
                raise BadInk(f"{name}: has more than {MAX_POINTS} points, which no formula has.")
            index_of[child.get("id", str(len(strokes)))] = len(strokes)
            strokes.append(stroke)
    if not strokes:
        raise BadInk(f"{name}: holds no stroke.")
    return Ink(
        strokes=tuple(strokes),
        symbols=tuple(_read_symbols(root, index_of)),
        truth=annotations.get("truth") or None,
        writer=annotations.get("writer", ""),
    )


def write_inkml(ink: Ink, path: str | Path, *, resolution: float = 64.0) -> None:
    """Write ink compactly: whole numbers, `resolution` of them to the usual symbol; points on straight lines left out.

    `read_inkml` gives the same strokes to that precision, and the same symbols in the same order.
    """
    left, top, _, _ = bounds(ink.strokes)
    factor = resolution / symbol_size(ink)
    root = ElementTree.Element("ink", {"xmlns": "http://www.w3.org/2003/InkML"})
    for kind, text in (("truth", ink.truth), ("writer", ink.writer)):
        if text:
            ElementTree.SubElement(root, "annotation", {"type": kind}).text = text
    for index, stroke in enumerate(ink.strokes):
        points = np.round((stroke - (left, top)) * factor).astype(np.int32)
        if len(points) > 2:
            kept = np.asarray(cv2.approxPolyDP(points[:, None], 0.5, False)[:, 0], np.int32)
            # Of a stroke that ends where it began, OpenCV drops the end.
            points = kept if (kept[-1] == points[-1]).all() else np.concatenate([kept, points[-1:]])
        trace = ElementTree.SubElement(root, "trace", {"id": str(index)})
        trace.text = ", ".join(f"{x} {y}" for x, y in points.tolist())
    if ink.symbols:
        outer = ElementTree.SubElement(root, "traceGroup")
        for symbol in ink.symbols:
            group = ElementTree.SubElement(outer, "traceGroup")
            ElementTree.SubElement(group, "annotation", {"type": "truth"}).text = symbol.label
            for index in symbol.strokes:
                ElementTree.SubElement(group, "traceView", {"traceDataRef": str(index)})
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]


def _parse_trace(text: str, name: str) -> Stroke:
    """Points of a trace: `x y, x y, ...`; further channels (time, pressure) are passed over."""
    points = []
    for point in text.split(","):
        numbers = point.split()
        if not numbers:
            continue
        if len(numbers) < 2 or not (_NUMBER.fullmatch(numbers[0]) and _NUMBER.fullmatch(numbers[1])):
            raise BadInk(f"{name}: a trace has the point '{point.strip()[:40]}'; expected 'x y'.")
        points.append((float(numbers[0]), float(numbers[1])))
    array = np.asarray(points, np.float64).reshape(-1, 2)
    if not np.isfinite(array).all() or (array.size and np.abs(array).max() > 1e9):
        raise BadInk(f"{name}: a trace has coordinates beyond any writing surface.")
    return array.astype(np.float32)


def _read_symbols(root: ElementTree.Element, index_of: dict[str, int]) -> list[Symbol]:
    """Symbols of the innermost trace groups, in the order of the MathML truth where it names them."""
    groups = []
    for element in root.iter():
        if _local(element.tag) != "traceGroup":
            continue
        views = [child.get("traceDataRef", "") for child in element if _local(child.tag) == "traceView"]
        if not views:
            continue
        label = href = ""
        for child in element:
            if _local(child.tag) == "annotation" and child.get("type") == "truth":
                label = (child.text or "").strip()
            elif _local(child.tag) == "annotationXML":
                href = child.get("href", "")
        strokes = tuple(index_of[view] for view in views if view in index_of)
        if label and strokes:
            groups.append((href, Symbol(symbol_token(label), strokes)))
    order = {node: position for position, node in enumerate(_reading_order(root))}
    groups.sort(key=lambda group: order.get(group[0], len(order)))
    return [symbol for _, symbol in groups]


def _reading_order(root: ElementTree.Element) -> list[str]:
    """The xml:id values of the MathML truth, depth first: the order of the LaTeX tokens."""
    ids = []
    for element in root.iter():
        identity = element.get("{http://www.w3.org/XML/1998/namespace}id")
        if identity is not None and _local(element.tag) not in ("traceGroup", "trace"):
            ids.append(identity)
    return ids


_TOKEN_OF_LABEL = {
    "COMMA": ",",
    "\\lt": "<",
    "\\gt": ">",
    "\\ge": "\\geq",
    "\\le": "\\leq",
    "\\ne": "\\neq",
    "\\to": "\\rightarrow",
    "\\tg": "\\tan",
    "\\dots": "\\ldots",
    "\\lbrack": "[",
    "\\rbrack": "]",
    "'": "\\prime",
    "\\'": "\\prime",
    "\\mid": "|",
    "\\vert": "|",
    "\\parallel": "|",
    "{": "\\{",
    "}": "\\}",
    "\\cdotp": ".",
}


def symbol_token(label: str) -> str:
    """The caption token for a symbol label of a segmentation (CROHME spells some in several ways)."""
    return _TOKEN_OF_LABEL.get(label, label)


def bounds(strokes: Sequence[Stroke]) -> tuple[float, float, float, float]:
    """left, top, right, bottom of all points, in the units of the strokes."""
    points = np.concatenate(strokes)
    left, top = points.min(axis=0)
    right, bottom = points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def symbol_size(ink: Ink) -> float:
    """The usual extent of a symbol (of a stroke, without segmentation), in the units of the strokes.

    Median over symbols of the larger side of the bounding box; bars of fractions and roots, which are as
    long as what they hold, do not move a median much.
    """
    groups = [symbol.strokes for symbol in ink.symbols] or [(index,) for index in range(len(ink.strokes))]
    sizes = []
    for group in groups:
        left, top, right, bottom = bounds([ink.strokes[index] for index in group])
        sizes.append(max(right - left, bottom - top))
    left, top, right, bottom = bounds(ink.strokes)
    extent = max(right - left, bottom - top)
    # A dot or a dash alone must not blow the picture up.
    return max(float(np.median(sizes)), extent / 60, 1e-6)


def rasterize(
    strokes: Sequence[Stroke], *, thickness_px: float = 3.0, margin_px: int = 8, jagged: bool = False
) -> npt.NDArray[np.uint8]:
    """Draw strokes whose unit is the pixel: (H, W) uint8, ink 0 on paper 255.

    `jagged` stamps circles without anti-aliasing, as the app's sketchpad and the published CROHME images do.
    Raises BadInk if the drawing would be larger than 100 million pixels.
    """
    left, top, right, bottom = bounds(strokes)
    pad = margin_px + math.ceil(thickness_px / 2)
    width, height = math.ceil(right - left) + 2 * pad + 1, math.ceil(bottom - top) + 2 * pad + 1
    if width * height > 100_000_000:
        raise BadInk(f"Strokes of {width} x {height} pixels are too large to draw; scale them down first.")
    canvas = np.full((height, width), 255, np.uint8)
    offset = np.array([pad - left, pad - top], np.float32)
    # OpenCV draws odd widths only: asked for 2 it draws 3, for 3 or 4 it draws 5.
    thickness = max(1, 2 * int((thickness_px - 1) / 2 + 0.5))
    line_type = cv2.LINE_8 if jagged else cv2.LINE_AA
    for stroke in strokes:
        points = np.round((stroke + offset) * (1 << _SHIFT_BITS)).astype(np.int32)
        if len(points) == 1 or (points == points[0]).all():
            center = (int(points[0, 0]), int(points[0, 1]))
            radius = int(max(thickness_px / 2, 0.7) * (1 << _SHIFT_BITS))
            cv2.circle(canvas, center, radius, 0, -1, line_type, _SHIFT_BITS)
        else:
            cv2.polylines(canvas, [points], False, 0, thickness, line_type, _SHIFT_BITS)
    return canvas


def scaled(strokes: Sequence[Stroke], factor: float) -> tuple[Stroke, ...]:
    """The strokes, every coordinate times `factor`."""
    return tuple(np.asarray(stroke * factor, np.float32) for stroke in strokes)


def draw(
    ink: Ink, *, symbol_px: float = 40.0, thickness_px: float = 3.0, jagged: bool = False
) -> npt.NDArray[np.uint8]:
    """A picture of the ink, symbols about `symbol_px` large: (H, W) uint8, ink 0 on paper 255."""
    left, top, right, bottom = bounds(ink.strokes)
    factor = symbol_px / symbol_size(ink)
    factor = min(factor, 8_000 / max(right - left, bottom - top, 1e-6))
    return rasterize(scaled(ink.strokes, factor), thickness_px=thickness_px, jagged=jagged)
