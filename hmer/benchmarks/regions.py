"""Pages composed of handwritten formulas, and how many of them are found again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from hmer.augment import Random
from hmer.conditions import SYMBOL_PX
from hmer.errors import DatasetError
from hmer.image import read_image
from hmer.ink import Ink, draw
from hmer.regions import Region, find_regions

PAGE_PX = (1240, 1754)  # A4 at 150 dots per inch
LOOKS = ("light", "dark", "scanned")
SAME = 0.75  # a region is found when it shares so much of its area with one that was found

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Page:
    """A composed page: its picture, where the formulas are, and the smallest gaps between two, in symbols."""

    picture: Pixels
    truths: tuple[Region, ...]
    look: str


def compose(inks: Iterator[Ink], random: Random, look: str) -> Page:
    """A page filled from the left and the top with one or two formulas a line, 1.5 to 5 symbols apart (beside: 3 to 8).

    Symbols are 22 to 36 px large. Formulas that the page cannot hold are passed over.
    """
    width, height = PAGE_PX
    page = np.full((height, width), 255, np.uint8)
    symbol_px = float(random.uniform(22, SYMBOL_PX - 4))
    margin = 60
    truths: list[Region] = []
    top = margin
    while top < height - margin:
        left, lowest = margin + int(random.uniform(0, 3) * symbol_px), top
        for _ in range(int(random.integers(1, 3))):
            formula = _tight(draw(next(inks), symbol_px=symbol_px, thickness_px=float(random.uniform(2, 4))))
            tall, wide = formula.shape
            if left + wide > width - margin or top + tall > height - margin:
                continue
            page[top : top + tall, left : left + wide] = formula
            truths.append(Region(left, top, left + wide, top + tall))
            lowest = max(lowest, top + tall)
            left += wide + int(random.uniform(3, 8) * symbol_px)
        top = max(lowest, top + int(symbol_px)) + int(random.uniform(1.5, 5) * symbol_px)
    return Page(_with_look(page, random, look), tuple(truths), look)


def regions(inks: Sequence[Ink], *, pages: int, seed: int = 0) -> dict[str, Any]:
    """The share of formulas found on composed pages, over all and by look; false ones a page. Raises DatasetError."""
    if not inks:
        raise DatasetError("There are no formulas to compose pages of; name a folder of .inkml files.")
    random = np.random.default_rng(seed)
    figures: dict[str, list[int]] = {look: [0, 0, 0] for look in LOOKS}  # found, there, false

    def endless() -> Iterator[Ink]:
        while True:
            yield inks[int(random.integers(len(inks)))]

    for index in range(pages):
        page = compose(endless(), random, LOOKS[index % len(LOOKS)])
        found, false = matches(find_regions(read_image(page.picture)), page.truths)
        for place, count in enumerate((found, len(page.truths), false)):
            figures[page.look][place] += count
    found, there, false = (sum(counts[place] for counts in figures.values()) for place in range(3))
    by_look = {f"found_{look}": counts[0] / max(counts[1], 1) for look, counts in figures.items()}
    return {
        "pages": pages,
        "regions": there,
        "found": found / max(there, 1),
        **by_look,
        "false_per_page": false / max(pages, 1),
    }


def matches(found: Sequence[Region], truths: Sequence[Region]) -> tuple[int, int]:
    """How many truths were found, and how many regions are none of them."""
    right = [max((_overlap(truth, region) for region in found), default=0.0) >= SAME for truth in truths]
    return sum(right), len(found) - sum(right)


def _overlap(one: Region, other: Region) -> float:
    """Area that both have over the area that either has."""
    wide = min(one.right, other.right) - max(one.left, other.left)
    tall = min(one.bottom, other.bottom) - max(one.top, other.top)
    if wide <= 0 or tall <= 0:
        return 0.0
    both = wide * tall
    areas = [(item.right - item.left) * (item.bottom - item.top) for item in (one, other)]
    return both / (sum(areas) - both)


def _tight(drawn: Pixels) -> Pixels:
    rows, columns = np.flatnonzero((drawn < 128).any(axis=1)), np.flatnonzero((drawn < 128).any(axis=0))
    return drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _with_look(page: Pixels, random: Random, look: str) -> Pixels:
    if look == "dark":
        return np.asarray(255 - page, np.uint8)
    if look == "light":
        return page
    height, width = page.shape
    shade = np.linspace(random.uniform(0.86, 1.0), random.uniform(0.86, 1.0), width)[None, :]
    paper = random.uniform(225, 245)
    scanned = (page.astype(np.float32) / 255 * (paper - 40) + 40) * shade
    blurred = np.asarray(cv2.GaussianBlur(scanned, (0, 0), float(random.uniform(0.5, 1.0))), np.float64)
    noisy = blurred + random.normal(0, 4, (height, width))
    done, data = cv2.imencode(".jpg", np.clip(noisy, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 70])
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)
