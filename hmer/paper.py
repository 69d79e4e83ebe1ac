"""From a picture as it came to dark ink on white paper: which colour is paper, shadow, ruled lines, noise.

A picture whose paper is one even colour (screenshots, sketchpads, drawn test data) only has its distance from
that colour measured, so that it comes out as it was. Anything else is treated as a photograph: its lighting
is estimated and divided out, noise goes, then both take the same way.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np
import numpy.typing as npt

from hmer.errors import BadImage

Pixels = npt.NDArray[np.uint8]

BLANK = "The picture is blank: nothing that differs from its paper was found. Draw or photograph a formula."

_EVEN = 6  # levels that one paper colour may vary by
_LIGHT_PAPER = 0.4  # how much likelier light paper is than dark before looking; in shares of area and border
_HEADROOM = 200  # where flattened paper lies, so that noise above it is not cut off
_FAINTEST = 12  # levels of 255 by which ink must differ from its paper


def clean(picture: Pixels) -> Pixels:
    """Dark ink on white paper: (H, W) uint8, paper 255, the darkest ink 0.

    `picture`: (H, W) grey or (H, W, 3) RGB, ink and paper of any two colours. Raises BadImage if it is blank.
    """
    if picture.ndim == 3 and _is_grey(picture):
        picture = np.ascontiguousarray(picture[:, :, 1])
    darkness = _from_even_paper(picture)
    photographed = darkness is None
    if darkness is None:
        darkness = _from_photograph(picture)
    darkness = remove_ruling(darkness)
    darkness = _normalise(darkness)
    if photographed:
        darkness = _without_specks(darkness)
    return np.asarray(255 - darkness, np.uint8)


def _is_grey(picture: Pixels) -> bool:
    red, green, blue = cv2.split(picture)
    return int(cv2.absdiff(red, green).max()) <= 2 and int(cv2.absdiff(green, blue).max()) <= 2


def _histogram(grey: Pixels) -> npt.NDArray[np.int64]:
    """How many pixels have each level: (256,)."""
    return cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel().astype(np.int64)


# ---- even paper


def _from_even_paper(picture: Pixels) -> Pixels | None:
    """Distance from the paper's colour, 0 to 255; None if the paper is not one even colour."""
    paper = _paper_colour(picture)
    furthest = _furthest(picture, paper)
    counts = _histogram(furthest)
    if counts[_EVEN + 1 : 31].sum() > 0.15 * furthest.size:
        return None
    # Paper must be close to every place: a shadow is a place without any paper of this colour.
    block = max(12, min(furthest.shape) // 8)
    size = (max(1, furthest.shape[1] // block), max(1, furthest.shape[0] // block))
    like_paper = cv2.compare(furthest, _EVEN, cv2.CMP_LE)
    near = cv2.dilate(cv2.resize(like_paper, size, interpolation=cv2.INTER_AREA), np.ones((3, 3), np.uint8))
    if (near <= 5).mean() > 0.01:
        return None
    if picture.ndim == 3:
        furthest = _ink_distance(picture, paper, furthest)
    if counts[0] < 0.3 * furthest.size:
        furthest = cv2.threshold(furthest, _EVEN, 0, cv2.THRESH_TOZERO)[1]
    return np.asarray(furthest, np.uint8)


def _furthest(picture: Pixels, paper: npt.NDArray[np.uint8]) -> Pixels:
    """The largest distance from the paper's colour over the channels: (H, W)."""
    channels = (picture,) if picture.ndim == 2 else cv2.split(picture)
    distances = [cv2.absdiff(channel, float(level)) for channel, level in zip(channels, paper, strict=True)]
    return np.asarray(reduce(cv2.max, distances), np.uint8)


def _paper_colour(picture: Pixels) -> npt.NDArray[np.uint8]:
    """The paper's colour: of the two commonest, the one that also holds the border; light, in doubt."""
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    step = math.ceil((picture.shape[0] * picture.shape[1] / 20_000) ** 0.5)
    area = picture[::step, ::step].reshape(-1, channels)
    sides = (picture[0, ::step], picture[-1, ::step], picture[::step, 0], picture[::step, -1])
    border = np.concatenate(sides).reshape(-1, channels)
    # Cells of 16 levels; a neighbouring cell belongs to the same colour.
    cells = area >> 4
    keys = reduce(lambda high, low: high * 16 + low, (column.astype(np.intp) for column in cells.T))
    counts = np.bincount(keys, minlength=16**channels)
    best, best_score = np.zeros(channels, np.uint8), -1.0
    for _ in range(2):
        colour = _commonest(area[keys == int(counts.argmax())])
        shares = _share(area, colour) + _share(border, colour)
        score = shares + _LIGHT_PAPER * float(colour.mean()) / 255
        if score > best_score:
            best, best_score = colour, score
        if shares > 1.4:
            break
        counts[np.unique(keys[_near(cells, colour >> 4, 2)])] = 0
        if not counts.any():
            break
    return best


def _commonest(colours: Pixels) -> npt.NDArray[np.uint8]:
    """The commonest level of each channel: (channels,)."""
    return np.array([np.bincount(column, minlength=256).argmax() for column in colours.T], np.uint8)


def _share(colours: Pixels, colour: npt.NDArray[np.uint8]) -> float:
    return float(_near(colours, colour, 24).mean())


def _near(colours: Pixels, colour: npt.NDArray[np.uint8], reach: int) -> npt.NDArray[np.bool_]:
    """Which of the colours (n, channels) are within `reach` of one: (n,)."""
    low, high = np.maximum(colour, reach) - reach, np.minimum(colour, 255 - reach) + reach
    return np.logical_and.reduce([(c >= a) & (c <= b) for c, a, b in zip(colours.T, low, high, strict=True)])


def _ink_distance(picture: Pixels, paper: npt.NDArray[np.uint8], furthest: Pixels) -> Pixels:
    """Distance in brightness for black ink, in the most different channel where pens are coloured.

    Yellow on white differs in blue alone; but for black ink the single channels only add the noise of JPEG.
    """
    brightness = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    level = cv2.cvtColor(paper.reshape(1, 1, 3), cv2.COLOR_RGB2GRAY)
    plain = np.asarray(cv2.absdiff(brightness, float(level[0, 0])), np.uint8)
    inked = cv2.countNonZero(cv2.compare(furthest, 48, cv2.CMP_GT))
    # What differs by more than 40 is also inked, but for what is too pale to count.
    coloured = cv2.countNonZero(cv2.compare(cv2.subtract(furthest, plain), 40, cv2.CMP_GT))
    return furthest if coloured > 0.02 * inked else plain


# ---- photographs


def _from_photograph(picture: Pixels) -> Pixels:
    """How much darker than its paper each pixel is, lighting and noise taken out: 0 to 255."""
    bright = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    if _is_light_on_dark(_reduced(bright)):
        picture = 255 - picture
        bright = 255 - bright
    flat = _flatten(bright)
    if picture.ndim == 3:
        channels = [_flatten(np.ascontiguousarray(picture[:, :, index])) for index in range(3)]
        darkest = np.asarray(reduce(cv2.min, channels), np.uint8)
        inked = cv2.countNonZero(cv2.compare(darkest, 0.7 * _HEADROOM, cv2.CMP_LT))
        coloured = cv2.countNonZero(cv2.compare(cv2.subtract(flat, darkest), 0.16 * _HEADROOM, cv2.CMP_GT))
        if coloured > 0.05 * inked:
            flat = darkest
    flat = cv2.GaussianBlur(flat, (0, 0), 0.8)
    counts = _histogram(np.asarray(flat, np.uint8))
    paper = int(np.searchsorted(np.cumsum(counts), 0.5 * flat.size))
    above = np.cumsum(counts[paper:])
    noise = float(np.searchsorted(above, 0.68 * above[-1]))
    darkness = np.clip((paper - np.arange(256)) * (255.0 / max(paper, 1)), 0, 255)
    floor = 3.0 * noise * 255.0 / max(paper, 1)
    table = np.where(darkness > floor, darkness, 0).astype(np.uint8)
    return np.asarray(cv2.LUT(flat, table), np.uint8)


def _reduced(grey: Pixels, side_px: int = 320) -> Pixels:
    factor = side_px / max(grey.shape)
    if factor >= 1:
        return grey
    size = (max(1, round(grey.shape[1] * factor)), max(1, round(grey.shape[0] * factor)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def _window(small: Pixels) -> npt.NDArray[np.uint8]:
    """Wider than any stroke, and small beside the picture."""
    side = int(0.2 * min(small.shape)) | 1
    return np.ones((max(side, 7), max(side, 7)), np.uint8)


def _is_light_on_dark(small: Pixels) -> bool:
    """Whether reading the picture as light ink leaves less ink than reading it as dark ink, also on its border."""
    smooth = cv2.medianBlur(small, 3)
    window = _window(small)
    dark_ink = cv2.morphologyEx(smooth, cv2.MORPH_CLOSE, window) - smooth
    light_ink = smooth - cv2.morphologyEx(smooth, cv2.MORPH_OPEN, window)
    amounts = []
    for ink in (dark_ink, light_ink):
        border = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
        amounts.append(float(ink.mean() + 0.5 * border.mean()))
    return amounts[0] > (1 + _LIGHT_PAPER) * amounts[1]


def _flatten(channel: Pixels) -> Pixels:
    """The channel divided by its paper, which comes out at `_HEADROOM`."""
    small = _reduced(channel)
    smooth = cv2.medianBlur(small, 3)
    paper = cv2.morphologyEx(smooth, cv2.MORPH_CLOSE, _window(small)).astype(np.float32)
    values = smooth.astype(np.float32)
    sigma = max(2.0, 0.025 * max(small.shape))
    closed = paper
    for _ in range(2):
        # The mean of what is paper nearby; closing alone is too bright at the border and where there is noise.
        weight = (values > 0.86 * paper).astype(np.float32) + 1e-6
        total = cv2.GaussianBlur(weight, (0, 0), sigma)
        mean = cv2.GaussianBlur(values * weight, (0, 0), sigma) / total
        trust = np.clip(total * 20, 0, 1)
        paper = trust * mean + (1 - trust) * closed
    full = cv2.resize(np.clip(paper, 1, 255).astype(np.uint8), channel.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.divide(channel, full, scale=_HEADROOM), np.uint8)


# ---- both


def remove_ruling(darkness: Pixels) -> Pixels:
    """Without the lines of ruled or squared paper: long, thin, straight, from edge to edge of the picture.

    Lines paler than the ink go wherever they are; lines as dark as the ink only if there are three or more at
    even distances, so that fraction bars stay. `darkness`: (H, W) uint8, paper 0.
    """
    upright = np.ascontiguousarray(darkness.T)
    across, down = _lines_across(darkness), _lines_across(upright)
    if not across and not down:
        return darkness
    # What is left without any of them is ink, and says how dark ink is.
    rest = darkness.copy()
    _erase(rest, across, 0, 0)
    _erase(rest.T, down, 0, 0)
    level = float(np.median([line.level for line in (*across, *down)]))
    counts = _histogram(rest)
    counts[: max(_FAINTEST, int(0.4 * level))] = 0
    if counts.sum() < max(16, 1e-5 * darkness.size):
        return darkness  # nothing else is there, so the lines are what was written
    ink_level = float(np.searchsorted(np.cumsum(counts), 0.7 * counts.sum()))
    cleaned = darkness.copy()
    for lines, view in ((across, cleaned), (down, cleaned.T)):
        if level < 0.7 * ink_level:
            _erase(view, lines, keep_from=level + 0.4 * (ink_level - level), beside_from=0)
        elif _evenly_spaced(lines):
            _erase(view, lines, keep_from=0, beside_from=0.5 * ink_level)
    return cleaned


@dataclass(frozen=True)
class _Line:
    """A line across the picture: its row at each column, its thickness, and how dark it is."""

    rows: npt.NDArray[np.float64]
    thickness_px: float
    level: float


def _erase(darkness: Pixels, lines: Sequence[_Line], keep_from: float, beside_from: float) -> None:
    """Set lines to paper, in place, but for what is ink: pixels as dark as `keep_from`, or those between ink.

    `beside_from`: how dark a pixel just above or below the line is ink that crosses it. 0 switches either off.
    """
    height, width = darkness.shape
    columns = np.arange(width)
    for line in lines:
        reach = int(line.thickness_px / 2 + 1.5)
        middle = np.round(line.rows).astype(int)
        stays = np.zeros(width, np.bool_)
        if beside_from:
            for row in (middle - reach - 1, middle + reach + 1):
                stays |= darkness[np.clip(row, 0, height - 1), columns] >= beside_from
        for offset in range(-reach, reach + 1):
            rows = middle + offset
            there = (rows >= 0) & (rows < height) & ~stays
            before = darkness[rows[there], columns[there]]
            after = np.where(before >= keep_from, before, 0) if keep_from else 0
            darkness[rows[there], columns[there]] = after


def _lines_across(darkness: Pixels) -> list[_Line]:
    """Lines from edge to edge, at most some 8 degrees from level.

    The picture is cut into upright strips; a line is a chain of rows that are inked in one strip after another.
    """
    height, width = darkness.shape
    strips = int(np.clip(width / 40, 8, 64))
    if width < 4 * strips or height < 24:
        return []
    inked = cv2.dilate(cv2.compare(darkness, _FAINTEST, cv2.CMP_GE), np.ones((3, 1), np.uint8))
    share = cv2.resize(inked, (strips, height), interpolation=cv2.INTER_AREA)
    chained = cv2.dilate(cv2.compare(share, 140, cv2.CMP_GE), np.ones((3, 1), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(chained, connectivity=8)
    thickest = max(4.0, 0.006 * max(height, width)) + 4
    lines = []
    for index in range(1, count):
        left, top, span, tall = (int(stats[index, part]) for part in range(4))
        if span < 0.6 * strips or stats[index, cv2.CC_STAT_AREA] > thickest * span:
            continue
        rows, places = np.nonzero(labels[top : top + tall] == index)
        filled = np.bincount(places, minlength=strips)
        # A bar written beside the line makes it thick in places; those do not count.
        known = np.flatnonzero((filled > 0) & (filled <= np.median(filled[filled > 0]) + 2))
        middles = np.bincount(places, weights=rows, minlength=strips)[known] / filled[known] + top
        at = (known + 0.5) * width / strips
        curve = np.polyfit(at, middles, 2)
        off = np.abs(np.polyval(curve, at) - middles)
        straight = off <= max(1.0, 2 * float(np.median(off)))
        curve = np.polyfit(at[straight], middles[straight], 2)
        if (np.abs(np.polyval(curve, at) - middles) > 2.5).mean() > 0.2:
            continue
        ends = ((left, np.polyval(curve, 0.0)), (strips - left - span, np.polyval(curve, width - 1.0)))
        if any(gap > 0 and 4 < row < height - 5 for gap, row in ends):
            continue
        lines.append(_measured(darkness, np.polyval(curve, np.arange(width)), int(thickest)))
    return lines


def _measured(darkness: Pixels, rows: npt.NDArray[np.float64], reach: int) -> _Line:
    columns = np.arange(darkness.shape[1])
    inside = (rows >= 0) & (rows <= darkness.shape[0] - 1)
    near = np.round(rows[inside]).astype(int)[None, :] + np.arange(-reach, reach + 1)[:, None]
    profile = darkness[np.clip(near, 0, darkness.shape[0] - 1), columns[inside]]
    across = np.median(profile, axis=1)
    level = float(np.median(profile[reach - 2 : reach + 3].max(axis=0)))
    return _Line(rows, float((across > 0.3 * max(level, 1)).sum()), level)


def _evenly_spaced(lines: Sequence[_Line]) -> bool:
    if len(lines) < 3:
        return False
    gaps = np.diff(np.sort([float(line.rows[len(line.rows) // 2]) for line in lines]))
    steps = gaps / np.median(gaps)  # 2 where a line between was not found
    return bool(np.abs(steps - np.maximum(np.round(steps), 1)).max() < 0.15 + 2 / np.median(gaps))


def _normalise(darkness: Pixels) -> Pixels:
    """The darkest ink at 255. Raises BadImage if there is none."""
    counts = _histogram(darkness)
    counts[:_FAINTEST] = 0
    total = int(counts.sum())
    if total < 4:
        raise BadImage(BLANK)
    peak = int(np.searchsorted(np.cumsum(counts), 0.98 * total))
    if peak >= 250:
        return darkness
    table = np.clip(np.arange(256) * (255.0 / peak), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(darkness, table), np.uint8)


def _without_specks(darkness: Pixels) -> Pixels:
    """Without what is pale throughout or far smaller than a dot of the pen that wrote the rest."""
    mask = (darkness > 50).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count <= 1:
        raise BadImage(BLANK)
    areas = stats[:, cv2.CC_STAT_AREA]
    strong = np.bincount(labels[darkness > 120], minlength=count) > 0
    widths = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    inside = widths[(mask > 0) & (darkness > 120)]
    pen_px = 2 * float(np.percentile(inside, 75)) if inside.size else 1.0
    keep = strong & (areas >= 0.35 * pen_px**2)
    keep[0] = False
    if not keep.any():
        raise BadImage(BLANK)
    near = cv2.dilate(keep[labels].astype(np.uint8), np.ones((3, 3), np.uint8))
    return darkness * near
