"""From a page to the formulas on it: pictures and PDF pages, split where the paper between is wide enough.

Running text is not told from formulas: a line of text becomes a region like any other, to be left out by hand.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from hmer.errors import BadImage
from hmer.image import WORKING_PIXELS, Grey, ink_mask, read_image, writing_size

MAX_PAGES = 50
MAX_REGIONS = 200

# How far apart two pieces of ink of one formula may lie, in sizes of the writing; diagonally, within that ellipse.
_BESIDE = 2.2
_BELOW = 1.05
# A piece of one or two strokes is hardly a formula of its own, and is given to a neighbour at up to this distance.
_STRAY_BESIDE = 4.0
_STRAY_BELOW = 1.5
_SPECK = 0.12  # smaller than this, in sizes of the writing, is dirt

_pdfium = threading.Lock()  # it must not be entered twice at once

Boxes = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Region:
    """Where a formula stands on its page, in pixels; right and bottom are the first pixels behind it."""

    left: int
    top: int
    right: int
    bottom: int


def read_pages(source: str | Path | bytes) -> dict[int, Grey]:
    """The pages of a PDF by number, or the one picture of anything else: dark ink on white paper, (H, W) uint8 each.

    Numbers begin at 1. A page that is blank is left out. Raises BadImage, as for a PDF that is damaged, locked, or longer than MAX_PAGES.
    """
    data = source if isinstance(source, bytes) else _bytes_of(Path(source))
    if not data.startswith(b"%PDF"):
        return {1: read_image(data)}
    pages = {}
    for number, picture in enumerate(_pdf_pages(data), start=1):
        try:
            pages[number] = read_image(picture)
        except BadImage:  # an empty page between others is nobody's mistake
            continue
    if not pages:
        raise BadImage("The PDF's pages are blank: there is nothing to read in them.")
    return pages


def find_regions(page: Grey) -> list[Region]:
    """The formulas of a page, in reading order: (H, W) uint8, dark ink on white. Raises BadImage if it is blank."""
    mask = ink_mask(page)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if len(stats) < 2:
        raise BadImage("The page is blank: nothing darker than its paper was found.")
    size = writing_size(mask)
    left, top, width, height = (stats[1:, index].astype(np.float64) for index in range(4))
    whole = np.maximum(width, height) >= _SPECK * size
    boxes = np.stack([left, top, left + width, top + height], axis=1)[whole]
    if len(boxes) > 20_000:
        raise BadImage("The page has more pieces than writing has; send a cleaner or smaller picture.")
    groups = _joined(boxes, size)
    groups = _without_strays(boxes, groups, size)
    found = [Region(*(int(value) for value in _bounds(boxes[group]))) for group in groups]
    if len(found) > MAX_REGIONS:
        raise BadImage(f"{len(found)} regions were found, more than {MAX_REGIONS}; cut the page into parts.")
    return in_reading_order(found)


def cut(page: Grey, region: Region, margin_px: int = 8) -> Grey:
    """The part of a page, with paper around it. Raises BadImage for a region that is not on the page."""
    height, width = page.shape
    left, right = max(region.left, 0), min(region.right, width)
    top, bottom = max(region.top, 0), min(region.bottom, height)
    if right - left < 1 or bottom - top < 1:
        raise BadImage(
            f"A region from ({region.left}, {region.top}) to ({region.right}, {region.bottom}) is not on the page."
        )
    inside = page[top:bottom, left:right]
    framed = cv2.copyMakeBorder(inside, margin_px, margin_px, margin_px, margin_px, cv2.BORDER_CONSTANT, value=255.0)
    return np.asarray(framed, np.uint8)


def in_reading_order(regions: Sequence[Region]) -> list[Region]:
    """Line by line, each from the left; regions share a line when the less tall lies by half beside the other."""
    lines: list[list[Region]] = []
    for region in sorted(regions, key=lambda item: (item.top, item.left)):
        line = next((line for line in lines if all(_level(region, other) for other in line)), None)
        if line is None:
            lines.append([region])
        else:
            line.append(region)
    return [region for line in lines for region in sorted(line, key=lambda item: item.left)]


def _level(one: Region, other: Region) -> bool:
    beside = min(one.bottom, other.bottom) - max(one.top, other.top)
    return beside > 0.5 * min(one.bottom - one.top, other.bottom - other.top)


# --- joining ----------------------------------------------------------------------------------------------


def _joined(boxes: Boxes, size: float) -> list[list[int]]:
    """Indices of boxes, grouped so that each is near another of its group."""
    parent = list(range(len(boxes)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for index in range(len(boxes)):
        beside, below = _gaps(boxes[index], boxes[index + 1 :])
        for other in np.flatnonzero(np.hypot(beside / (_BESIDE * size), below / (_BELOW * size)) <= 1):
            parent[root(index)] = root(index + 1 + int(other))
    groups: dict[int, list[int]] = {}
    for index in range(len(boxes)):
        groups.setdefault(root(index), []).append(index)
    return _without_overlaps(boxes, list(groups.values()))


def _without_overlaps(boxes: Boxes, groups: list[list[int]]) -> list[list[int]]:
    """Groups whose bounds overlap become one: what stands inside a root or a bracket belongs to it."""
    done = False
    while not done:
        done = True
        bounds = [_bounds(boxes[group]) for group in groups]
        for index in range(len(groups)):
            beside, below = _gaps(bounds[index], np.array(bounds[index + 1 :]).reshape(-1, 4))
            others = np.flatnonzero((beside <= 0) & (below <= 0))
            if len(others):
                groups[index] += groups.pop(index + 1 + int(others[0]))
                done = False
                break
    return groups


def _without_strays(boxes: Boxes, groups: list[list[int]], size: float) -> list[list[int]]:
    """Pieces too small for a formula go to the nearest group that is near enough on their line, or above or below."""
    groups = sorted(groups, key=len)
    index = 0
    while index < len(groups) and len(groups) > 1:
        group = groups[index]
        left, top, right, bottom = _bounds(boxes[group])
        if len(group) <= 2 and max(right - left, bottom - top) < 3 * size:
            rest = groups[:index] + groups[index + 1 :]
            beside, below = _gaps(
                np.array([left, top, right, bottom]), np.array([_bounds(boxes[other]) for other in rest])
            )
            distance = np.where(below <= 0, beside / _STRAY_BESIDE, np.where(beside <= 0, below / _STRAY_BELOW, np.inf))
            nearest = int(distance.argmin())
            if distance[nearest] <= size:
                rest[nearest] = rest[nearest] + group
                groups, index = sorted(rest, key=len), 0
                continue
        index += 1
    return _without_overlaps(boxes, groups)


def _gaps(box: npt.NDArray[np.float64], others: Boxes) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """How much paper lies between a box and others, beside and below; not above 0 where they overlap."""
    beside = np.maximum(others[:, 0] - box[2], box[0] - others[:, 2])
    below = np.maximum(others[:, 1] - box[3], box[1] - others[:, 3])
    return np.maximum(beside, 0), np.maximum(below, 0)


def _bounds(boxes: Boxes) -> npt.NDArray[np.float64]:
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


# --- PDF --------------------------------------------------------------------------------------------------


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadImage(
            f"{path}: cannot be opened ({error.strerror}). Check the name and your rights to read it."
        ) from error


def _pdf_pages(data: bytes) -> list[npt.NDArray[np.uint8]]:
    """The pages as pictures (H, W, 3), drawn at about WORKING_PIXELS."""
    import pypdfium2

    with _pdfium:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            raise BadImage(f"The PDF cannot be opened ({error}). Save it again, without a password.") from error
        try:
            if len(document) > MAX_PAGES:
                raise BadImage(f"The PDF has {len(document)} pages; send at most {MAX_PAGES} at once.")
            pictures = []
            for page in document:
                width, height = page.get_size()
                scale = (WORKING_PIXELS / max(width * height, 1.0)) ** 0.5
                if not 1e-3 < scale < 1e3 or max(width, height) * scale > 10_000:
                    raise BadImage(f"A page of the PDF is {width:.0f} x {height:.0f} points; no formula has that size.")
                pictures.append(np.array(page.render(scale=scale).to_pil().convert("RGB")))
            return pictures
        except pypdfium2.PdfiumError as error:
            raise BadImage(f"A page of the PDF is damaged ({error}).") from error
        finally:
            document.close()
