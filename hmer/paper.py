"""From a picture as it came to dark ink on white paper: which colour is paper, shadow, ruled lines, noise.

A picture whose paper is one even colour (screenshots, sketchpads, drawn test data) only has its distance from
that colour measured, so that it comes out as it was. Anything else is treated as a photograph: its lighting
is estimated and divided out, noise goes, then both take the same way.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from hmer.errors import BadImage

Pixels = npt.NDArray[np.uint8]

BLANK = "The picture is blank: nothing that differs from its paper was found. Draw or photograph a formula."

_EVEN = 6  # levels that one paper colour may vary by
_PALEST_TONE, _TONE_SHARE = 48, 0.03  # a second colour of paper, as a screen has: how far from the first, how common
_NO_PAPER = 60  # levels that a bar at the side differs by from the paper
_LIGHT_PAPER = 0.4  # how much likelier light paper is than dark before looking; in shares of area and border
_HEADROOM = 200  # where flattened paper lies, so that noise above it is not cut off
_PAPER_FROM = 0.86  # what is at least this share as bright as the paper around it is paper
_REDUCED_PIXELS = 60_000
_FAINTEST = 12  # levels of 255 by which ink must differ from its paper


def clean(picture: Pixels) -> Pixels:
    """Dark ink on white paper: (H, W) uint8, paper 255, the darkest ink 0.

    `picture`: (H, W) grey or (H, W, 3) RGB, ink and paper of any two colours. Raises BadImage if it is blank.
    """
    if picture.ndim == 3 and _is_grey(picture):
        picture = np.ascontiguousarray(picture[:, :, 1])
    picture = _without_bars(picture)
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
    sample = picture[::8, ::8].astype(np.int16)
    if np.ptp(sample, axis=2).max() > 2:
        return False
    red, green, blue = cv2.split(picture)
    return int(cv2.absdiff(red, green).max()) <= 2 and int(cv2.absdiff(green, blue).max()) <= 2


def _at_least(levels: npt.NDArray[Any], level: float) -> Pixels:
    """255 where the picture has this level or a higher one, 0 elsewhere."""
    return np.asarray(cv2.threshold(levels, math.ceil(level) - 1, 255, cv2.THRESH_BINARY)[1], np.uint8)


def _histogram(grey: Pixels) -> npt.NDArray[np.int64]:
    """How many pixels have each level: (256,)."""
    return cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel().astype(np.int64)


def _without_bars(picture: Pixels) -> Pixels:
    """Without flat bars along whole sides that are no paper: letterboxes, frames, the header of a window."""
    for _ in range(4):
        picture = np.rot90(picture[_bar_px(picture) :])
    return np.ascontiguousarray(picture)


def _bar_px(picture: Pixels) -> int:
    """How many rows at the top have one colour from side to side that the paper below them has not."""
    height = picture.shape[0]
    least = max(8, height // 40)  # a rule at the edge may have been written
    if height < 4 * least:
        return 0
    colour = picture[0, 0].astype(np.int16)
    some = picture[:, :: 1 + picture.shape[1] // 50].astype(np.int16)  # columns: enough for what is mostly no bar
    flat = np.abs(some - colour).reshape(height, -1).max(axis=1) <= _EVEN
    thickness = height if flat.all() else int(flat.argmin())
    if not least < thickness < 0.8 * height:
        return 0
    below = some[thickness + 2 :]  # behind an edge that was smoothed
    paper = np.median(below, axis=(0, 1))
    like_paper = np.abs(below[0] - paper).reshape(some.shape[1], -1).max(axis=1) <= 24
    if np.abs(paper - colour).max() <= _NO_PAPER or like_paper.mean() <= 0.6:
        return 0
    return thickness + 1 if np.abs(picture[:thickness] - colour).max() <= _EVEN else 0


# ---- even paper


def _from_even_paper(picture: Pixels) -> Pixels | None:
    """Distance from the paper's colour, 0 to 255; None if the paper is not one even colour."""
    paper = _paper_colour(picture)
    if _is_between(_without_tones(_furthest(picture[::4, ::4], paper)), 0.2):
        return None  # the usual answer for a photograph, at a sixteenth of the price
    furthest = _without_tones(_furthest(picture, paper))
    if _is_between(furthest, 0.15):
        return None
    # Paper must be close to every place: a shadow is a place without any paper of this colour.
    block = max(12, min(furthest.shape) // 8)
    size = (max(1, furthest.shape[1] // block), max(1, furthest.shape[0] // block))
    like_paper = cv2.bitwise_not(_at_least(furthest, _EVEN + 1))
    near = cv2.dilate(cv2.resize(like_paper, size, interpolation=cv2.INTER_AREA), np.ones((3, 3), np.uint8))
    if (near <= 5).mean() > 0.01:
        return None
    if picture.ndim == 3:
        furthest = _without_tones(_ink_distance(picture, paper, furthest))
    if cv2.countNonZero(furthest) > 0.7 * furthest.size:
        furthest = np.asarray(cv2.threshold(furthest, _EVEN, 0, cv2.THRESH_TOZERO)[1], np.uint8)
    return furthest


def _without_tones(distance: Pixels) -> Pixels:
    """0 up to the palest tones that whole areas have, to the level: a header, every other row of a table, a quotation."""
    counts = _histogram(distance)
    near = np.convolve(counts, np.ones(7, np.int64), "same")
    tones = (counts > _TONE_SHARE * distance.size) & (counts > 0.6 * near)
    tones[: _EVEN + 1] = tones[_PALEST_TONE:] = False
    if not tones.any():
        return distance
    darkest = int(np.flatnonzero(tones)[-1])
    return np.asarray(cv2.threshold(distance, darkest + 3, 0, cv2.THRESH_TOZERO)[1], np.uint8)


def _is_between(furthest: Pixels, share: float) -> bool:
    """Whether more than this share of the pixels is neither paper nor far enough from it for ink."""
    return bool(_histogram(furthest)[_EVEN + 1 : 31].sum() > share * furthest.size)


def _furthest(picture: Pixels, paper: npt.NDArray[np.uint8]) -> Pixels:
    """The largest distance from the paper's colour over the channels: (H, W)."""
    channels = (picture,) if picture.ndim == 2 else cv2.split(picture)
    distances = [_distance(channel, int(level)) for channel, level in zip(channels, paper, strict=True)]
    return _deepest(distances)


def _distance(channel: npt.NDArray[Any], level: int) -> Pixels:
    return np.asarray(cv2.LUT(channel, np.abs(np.arange(256) - level).astype(np.uint8)), np.uint8)


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


def _near(colours: npt.NDArray[Any], colour: npt.NDArray[Any], reach: int) -> npt.NDArray[np.bool_]:
    """Which of the colours (n, channels) are within `reach` of one: (n,)."""
    low, high = np.maximum(colour, reach) - reach, np.minimum(colour, 255 - reach) + reach
    within = [(c >= a) & (c <= b) for c, a, b in zip(colours.T, low, high, strict=True)]
    return np.asarray(np.logical_and.reduce(within))


def _ink_distance(picture: Pixels, paper: npt.NDArray[np.uint8], furthest: Pixels) -> Pixels:
    """Distance in brightness for black ink, in the most different channel where pens are coloured.

    Yellow on white differs in blue alone; but for black ink the single channels only add the noise of JPEG.
    """
    brightness = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    level = cv2.cvtColor(paper.reshape(1, 1, 3), cv2.COLOR_RGB2GRAY)
    plain = _distance(brightness, int(level[0, 0]))
    inked = cv2.countNonZero(_at_least(furthest, 49))
    # What differs by more than 40 is also inked, but for what is too pale to count.
    coloured = cv2.countNonZero(_at_least(cv2.subtract(furthest, plain), 41))
    return furthest if coloured > 0.02 * inked else plain


# ---- photographs


def _from_photograph(picture: Pixels) -> Pixels:
    """How much darker than its paper each pixel is, lighting and noise taken out: 0 to 255."""
    small = _reduced(picture)
    light_on_dark, window = _look_at(small)
    if light_on_dark:
        picture, small = 255 - picture, 255 - small
    if picture.ndim == 3 and not _is_coloured(small, window):
        picture, small = _brightness(picture), _brightness(small)
    flat = cv2.GaussianBlur(_flattened(picture, small, window), (0, 0), 0.8)
    counts = _histogram(np.ascontiguousarray(flat[::2, ::2]))
    paper = int(np.searchsorted(np.cumsum(counts), 0.5 * counts.sum()))
    above = np.cumsum(counts[paper:])
    noise = float(np.searchsorted(above, 0.68 * above[-1]))
    darkness = np.clip((paper - np.arange(256)) * (255.0 / max(paper, 1)), 0, 255)
    floor = 3.0 * noise * 255.0 / max(paper, 1)
    table = np.where(darkness > floor, darkness, 0).astype(np.uint8)
    return np.asarray(cv2.LUT(flat, table), np.uint8)


def _reduced(picture: Pixels) -> Pixels:
    """Small enough to be quick, large enough for strokes to be seen."""
    factor = (_REDUCED_PIXELS / (picture.shape[0] * picture.shape[1])) ** 0.5
    if factor >= 1:
        return picture
    size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _brightness(picture: Pixels) -> Pixels:
    return picture if picture.ndim == 2 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _look_at(small: Pixels) -> tuple[bool, Pixels]:
    """Whether the ink is lighter than the paper, and the smallest square window wider than its strokes.

    Ink is what stands out from its surroundings (black or white top-hat) at nearly all of the sharp edges.
    The smaller the window, the less shadow is taken for ink, and the less gaps in the writing for light ink.
    """
    smooth = np.asarray(cv2.GaussianBlur(small, (3, 3), 0), np.uint8)
    steps = _deepest(cv2.split(cv2.morphologyEx(smooth, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))))
    edge = max(8.0, 0.5 * float(np.percentile(steps, 99.5)))
    sharp = _at_least(steps, edge)
    window, light_on_dark = np.ones((3, 3), np.uint8), False
    for share in (0.03, 0.06, 0.1, 0.15, 0.2):
        side = max(int(share * min(small.shape[:2])) | 1, 7)
        window = np.ones((side, side), np.uint8)
        amounts, covered = [], 0
        for hat in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT):
            ink = _deepest(cv2.split(cv2.morphologyEx(smooth, hat, window)))
            ink = np.asarray(cv2.threshold(ink, edge, 0, cv2.THRESH_TOZERO)[1], np.uint8)
            border = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
            amounts.append(float(ink.mean() + 0.5 * border.mean()))
            near = cv2.dilate(ink, np.ones((3, 3), np.uint8))
            covered = max(covered, cv2.countNonZero(cv2.bitwise_and(near, sharp)))
        light_on_dark = amounts[1] > (1 + _LIGHT_PAPER) * amounts[0]
        if covered > 0.9 * cv2.countNonZero(sharp):
            break
    return light_on_dark, window


def _deepest(channels: Sequence[npt.NDArray[Any]]) -> Pixels:
    """The largest of some (H, W)."""
    deepest = np.asarray(channels[0], np.uint8)
    for channel in channels[1:]:
        deepest = np.asarray(cv2.max(deepest, channel), np.uint8)
    return deepest


def _is_coloured(small: Pixels, window: Pixels) -> bool:
    """Whether some of the ink is seen much better in one channel than in brightness."""
    grey = _brightness(small)
    plain, darkest = _flattened(grey, grey, window), _flattened(small, small, window)
    inked = cv2.countNonZero(cv2.bitwise_not(_at_least(darkest, 0.75 * _HEADROOM)))
    coloured = cv2.countNonZero(_at_least(cv2.subtract(plain, darkest), 0.16 * _HEADROOM + 1))
    return coloured > 0.05 * inked


def _flattened(picture: Pixels, small: Pixels, window: Pixels) -> Pixels:
    """The picture, or the darkest of its channels, divided by its paper: (H, W), paper at `_HEADROOM`.

    `small` is the same picture reduced; the paper is estimated from it.
    """
    channels = (picture,) if picture.ndim == 2 else cv2.split(picture)
    smalls = (small,) if small.ndim == 2 else cv2.split(small)
    size = (picture.shape[1], picture.shape[0])
    flat = []
    for channel, reduced in zip(channels, smalls, strict=True):
        paper = _paper_of(np.asarray(reduced, np.uint8), window)
        paper = np.asarray(cv2.resize(paper, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        flat.append(cv2.divide(channel, paper, scale=_HEADROOM))
    return np.asarray(reduce(cv2.min, flat), np.uint8)


def _paper_of(small: Pixels, window: Pixels) -> Pixels:
    """The paper as it would look without the ink: (H, W)."""
    smooth = np.asarray(cv2.medianBlur(small, 3), np.uint8)
    closed = cv2.morphologyEx(smooth, cv2.MORPH_CLOSE, window).astype(np.float32)
    values = smooth.astype(np.float32)
    side = 2 * max(2, round(0.04 * small.size**0.5)) + 1
    paper = closed
    for _ in range(2):
        # The mean of what is paper nearby; closing alone is too bright at the border and above noise.
        weight = (values > _PAPER_FROM * paper).astype(np.float32) + np.float32(1e-6)
        total = cv2.blur(cv2.blur(weight, (side, side)), (side, side))
        mean = cv2.blur(cv2.blur(values * weight, (side, side)), (side, side)) / total
        trust = np.minimum(total * 20, 1)
        paper = trust * mean + (1 - trust) * closed
    return np.clip(paper, 1, 255).astype(np.uint8)


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

    `beside_from`: how dark a pixel just above or below the line is ink that crosses it. 0 switches off.
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

    The picture is cut into upright strips; a line is a chain of rows that are inked in strip after strip.
    """
    height, width = darkness.shape
    strips = int(np.clip(width / 40, 8, 64))
    if width < 4 * strips or height < 24:
        return []
    inked = cv2.dilate(_at_least(darkness, _FAINTEST), np.ones((3, 1), np.uint8))
    share = cv2.resize(inked, (strips, height), interpolation=cv2.INTER_AREA)
    chained = cv2.dilate(_at_least(share, 140), np.ones((3, 1), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(chained, connectivity=8)
    thickest = max(5.0, 0.008 * max(height, width))
    lines = []
    for index in range(1, count):
        left, top, span, tall = (int(stats[index, part]) for part in range(4))
        if span < 0.6 * strips:
            continue
        rows, places = np.nonzero(labels[top : top + tall] == index)
        filled = np.bincount(places, minlength=strips)
        usual = float(np.median(filled[filled > 0]))
        if usual > thickest + 6:  # both dilations, and the slope within a strip
            continue
        # A bar written beside the line makes it thick in places; those do not count.
        known = np.flatnonzero((filled > 0) & (filled <= usual + 2))
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
        line = _measured(darkness, np.asarray(np.polyval(curve, np.arange(width)), np.float64), int(thickest))
        if line.level >= _FAINTEST:
            lines.append(line)
    return [*lines, *_between(lines, darkness, int(thickest))]


def _across(darkness: Pixels, rows: npt.NDArray[np.float64], reach: int) -> npt.NDArray[np.float64]:
    """How dark the picture usually is along the rows and `reach` beside them: (2 reach + 1,), or empty."""
    columns, rows = np.arange(0, darkness.shape[1], 3), rows[::3]
    inside = (rows >= 0) & (rows <= darkness.shape[0] - 1)
    if inside.sum() < 4:
        return np.empty(0)
    near = np.round(rows[inside]).astype(int)[None, :] + np.arange(-reach, reach + 1)[:, None]
    profile = darkness[np.clip(near, 0, darkness.shape[0] - 1), columns[inside]]
    return np.asarray(np.median(profile, axis=1))


def _measured(darkness: Pixels, rows: npt.NDArray[np.float64], reach: int) -> _Line:
    across = _across(darkness, rows, reach)
    level = float(across.max()) if len(across) else 0.0
    return _Line(rows, float((across > 0.3 * max(level, 1)).sum()), level)


def _between(lines: Sequence[_Line], darkness: Pixels, reach: int) -> list[_Line]:
    """Lines that the writing hid: where even distances ask for one, if it is as dark as the others."""
    if len(lines) < 3:
        return []
    lines = sorted(lines, key=_height)
    level = float(np.median([line.level for line in lines]))
    gap = float(np.median(np.diff([_height(line) for line in lines])))
    if gap < 4:
        return []
    found: list[npt.NDArray[np.float64]] = []
    for upper, lower in pairwise(lines):
        missing = round((_height(lower) - _height(upper)) / gap) - 1
        shares = [index / (missing + 1) for index in range(1, missing + 1)]
        found += [upper.rows + (lower.rows - upper.rows) * share for share in shares]
    for end, step in ((lines[0], -gap), (lines[-1], gap)):
        found += [end.rows + index * step for index in range(1, 4)]
    measured = []
    for rows in found:
        across = _across(darkness, rows, 5)
        if len(across) and across.max() > 0.5 * level:
            measured.append(_measured(darkness, rows + float(int(across.argmax()) - 5), reach))
    return measured


def _height(line: _Line) -> float:
    return float(line.rows[len(line.rows) // 2])


def _evenly_spaced(lines: Sequence[_Line]) -> bool:
    if len(lines) < 3:
        return False
    gaps = np.diff(np.sort([_height(line) for line in lines]))
    if np.median(gaps) < 4:
        return False
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
    mask = _at_least(darkness, 51)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    labels = labels.ravel()
    dark = np.bincount(labels[np.flatnonzero(darkness > 120)], minlength=count)
    inside = cv2.countNonZero(cv2.erode(mask, np.ones((3, 3), np.uint8)))
    area = cv2.countNonZero(mask)
    pen_px = 2 * area / max(area - inside, 1)
    left, top, wide, tall, areas = (stats[:, part] for part in range(5))
    keep = (dark > 0) & (areas >= 0.35 * pen_px**2)
    # The rest of a shadow: pale nearly throughout, and not wholly in the picture.
    at_border = (left == 0) | (top == 0) | (left + wide == mask.shape[1]) | (top + tall == mask.shape[0])
    keep &= ~at_border | (dark > 0.3 * areas) | (dark > 0.5 * dark.sum())
    keep[0] = False
    if not keep.any():
        raise BadImage(BLANK)
    places = np.flatnonzero(mask != 0)
    mask.ravel()[places] = keep[labels[places]] * np.uint8(255)
    return np.asarray(cv2.bitwise_and(darkness, cv2.dilate(mask, np.ones((3, 3), np.uint8))), np.uint8)
