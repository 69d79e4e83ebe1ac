"""The conditions under which a formula must still be read, as pictures made from its strokes or from a picture of it.

`CONDITIONS` maps a name to a function of an `Ink` and a random generator, `PICTURE_CONDITIONS` to one of a picture, (H, W)
uint8: a picture as someone would hand it over, (H, W) or (H, W, 3) uint8. `plain` is what the others are compared with.
"""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from hmer.augment import shading
from hmer.ink import Ink, draw, rasterize, scaled, symbol_size

Pixels = npt.NDArray[np.uint8]
Random = np.random.Generator

SYMBOL_PX = 40.0
PENS = {  # RGB
    "red": (214, 40, 40),
    "blue": (30, 60, 200),
    "light blue": (110, 180, 235),
    "green": (30, 140, 60),
    "orange": (250, 150, 30),
    "yellow": (250, 220, 20),
    "violet": (140, 60, 180),
}


def plain(ink: Ink, random: Random) -> Pixels:
    """Symbols of 40 px, strokes of 3 px, as the published images look."""
    return draw(ink, symbol_px=SYMBOL_PX, thickness_px=3.0, jagged=True)


def zoom_small(ink: Ink, random: Random) -> Pixels:
    """The plain picture at 0.4x."""
    return _zoomed(plain(ink, random), 0.4, cv2.INTER_AREA)


def zoom_large(ink: Ink, random: Random) -> Pixels:
    """The plain picture at 4x, interpolated."""
    return _zoomed(plain(ink, random), 4.0, cv2.INTER_CUBIC)


def thin(ink: Ink, random: Random) -> Pixels:
    """Strokes of 1 px."""
    return draw(ink, symbol_px=SYMBOL_PX, thickness_px=1.0)


def thick(ink: Ink, random: Random) -> Pixels:
    """Strokes of 8 px, a fifth of a symbol."""
    return draw(ink, symbol_px=SYMBOL_PX, thickness_px=8.0)


def sketchpad(ink: Ink, random: Random) -> Pixels:
    """As the app's sketchpad draws: stamped circles of radius 2 or 3 without anti-aliasing, on its canvas."""
    canvas = np.full((256, 1024), 255, np.uint8)
    radius = int(random.integers(2, 4))
    factor = 60.0 / symbol_size(ink)
    low = np.min([stroke.min(axis=0) for stroke in ink.strokes], axis=0)
    high = np.max([stroke.max(axis=0) for stroke in ink.strokes], axis=0)
    room = np.array([1024, 256]) - 24
    factor = min(factor, float((room / np.maximum(high - low, 1e-6)).min()))
    free = room - (high - low) * factor
    offset = 12 + free * random.uniform(0.2, 0.8, 2)
    for stroke in ink.strokes:
        points = (stroke - low) * factor + offset
        for start, end in zip(points, points[1:] if len(points) > 1 else points, strict=False):
            steps = max(1, int(np.hypot(*(end - start)) / max(1, radius // 2)))
            for share in np.linspace(0, 1, steps + 1):
                x, y = start + (end - start) * share
                cv2.circle(canvas, (round(float(x)), round(float(y))), radius, 0, -1, cv2.LINE_8)
    return canvas


def white_on_black(ink: Ink, random: Random) -> Pixels:
    """The plain picture inverted, as the published images are."""
    return 255 - plain(ink, random)


def coloured_pen(ink: Ink, random: Random) -> Pixels:
    """One of `PENS` on white."""
    pen = list(PENS.values())[int(random.integers(len(PENS)))]
    return _inked(draw(ink, symbol_px=SYMBOL_PX, thickness_px=3.0), np.full(3, 255.0), pen)


def ruled_paper(ink: Ink, random: Random) -> Pixels:
    """Black or blue pen on a page with pale lines, 1 to 1.6 symbols apart."""
    return _on_lines(ink, random, squared=False)


def squared_paper(ink: Ink, random: Random) -> Pixels:
    """Black or blue pen on a page with pale squares, half to one symbol wide."""
    return _on_lines(ink, random, squared=True)


def phone_photo(ink: Ink, random: Random) -> Pixels:
    """A photograph: tinted paper, light falling off, a soft shadow, blur, noise, JPEG at quality 75."""
    drawn = _with_margin(draw(ink, symbol_px=SYMBOL_PX * 1.5, thickness_px=4.0), 40, 100, random)
    pen = [(25, 25, 30), (30, 40, 130), (90, 90, 95)][int(random.integers(3))]
    paper = np.array([235.0, 230.0, 218.0]) + random.uniform(-8, 8, 3)
    picture = _inked(drawn, paper, pen).astype(np.float32)
    picture *= shading(drawn.shape, random)[:, :, None]
    picture = cv2.GaussianBlur(picture, (0, 0), float(random.uniform(0.8, 1.6))).astype(np.float32)
    picture += random.normal(0, random.uniform(3, 8), picture.shape)
    return _jpeg(np.clip(picture, 0, 255).astype(np.uint8), 75)


def perspective(ink: Ink, random: Random) -> Pixels:
    """The sheet turned away from the camera by 3 degrees, about an axis across it."""
    picture = _with_margin(plain(ink, random), 20, 21, random)
    height, width = picture.shape
    distance = 1.2 * max(height, width)  # a phone's field of view
    tilt, axis = np.deg2rad(3.0), random.uniform(0, 2 * np.pi)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    centred = corners - np.array([width / 2, height / 2], np.float32)
    # Rodrigues' rotation about an axis in the plane of the sheet.
    direction = np.array([np.cos(axis), np.sin(axis)])
    across = centred @ np.array([-direction[1], direction[0]])
    turned = np.outer(centred @ direction, direction)
    turned += np.outer(across * np.cos(tilt), [-direction[1], direction[0]])
    depth = distance + across * np.sin(tilt)
    seen = turned * (distance / depth)[:, None]
    seen -= seen.min(axis=0)
    size = (int(np.ceil(seen[:, 0].max())) + 1, int(np.ceil(seen[:, 1].max())) + 1)
    matrix = cv2.getPerspectiveTransform(corners, seen.astype(np.float32))
    warped = cv2.warpPerspective(picture, matrix, size, flags=cv2.INTER_LINEAR, borderValue=255.0)
    return np.asarray(warped, np.uint8)


def rotation(ink: Ink, random: Random) -> Pixels:
    """The strokes turned by 8 degrees, one way or the other."""
    angle = np.deg2rad(8.0) * (1 if random.random() < 0.5 else -1)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    factor = SYMBOL_PX / symbol_size(ink)
    strokes = tuple(np.asarray(stroke @ matrix.T, np.float32) for stroke in scaled(ink.strokes, factor))
    return rasterize(strokes, thickness_px=3.0, jagged=True)


def jpeg(ink: Ink, random: Random) -> Pixels:
    """The plain picture as a JPEG of quality 30."""
    return _jpeg(plain(ink, random), 30)


def off_centre(ink: Ink, random: Random) -> Pixels:
    """The plain picture somewhere on a canvas of at least 1600 x 1200."""
    picture = plain(ink, random)
    height, width = picture.shape
    canvas = np.full((max(1200, height + 100), max(1600, width + 100)), 255, np.uint8)
    top = int(random.integers(canvas.shape[0] - height))
    left = int(random.integers(canvas.shape[1] - width))
    canvas[top : top + height, left : left + width] = picture
    return canvas


def _zoomed(picture: Pixels, factor: float, method: int) -> Pixels:
    size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    return np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)


def _with_margin(picture: Pixels, low_px: int, high_px: int, random: Random) -> Pixels:
    top, bottom, left, right = (int(side) for side in random.integers(low_px, high_px, 4))
    framed = cv2.copyMakeBorder(picture, top, bottom, left, right, cv2.BORDER_CONSTANT, value=255.0)
    return np.asarray(framed, np.uint8)


def _inked(drawn: Pixels, paper: npt.NDArray[np.float64], pen: tuple[int, int, int]) -> Pixels:
    """A black drawing on white as one of a coloured pen on paper, (3,) or (H, W, 3): (H, W, 3)."""
    share = (255 - drawn.astype(np.float32))[:, :, None] / 255
    return np.round(paper * (1 - share) + np.array(pen) * share).astype(np.uint8)


def _on_lines(ink: Ink, random: Random, *, squared: bool) -> Pixels:
    drawn = _with_margin(draw(ink, symbol_px=SYMBOL_PX, thickness_px=3.0), 15, 60, random)
    height, width = drawn.shape
    page = np.full((height, width, 3), 255.0)
    line = np.array([(170, 195, 225), (190, 190, 195), (205, 185, 190)][int(random.integers(3))], float)
    apart = SYMBOL_PX * (random.uniform(0.5, 1.0) if squared else random.uniform(1.0, 1.6))
    thickness = int(random.integers(1, 3))
    for position in np.arange(random.uniform(0, apart), height - thickness, apart):
        page[int(position) : int(position) + thickness] = line
    if squared:
        for position in np.arange(random.uniform(0, apart), width - thickness, apart):
            page[:, int(position) : int(position) + thickness] = line
    pen = [(20, 20, 25), (25, 45, 150)][int(random.integers(2))]
    return _inked(drawn, page, pen)


def _jpeg(picture: Pixels, quality: int) -> Pixels:
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)


CONDITIONS: dict[str, Callable[[Ink, Random], Pixels]] = {
    "plain": plain,
    "zoom-0.4": zoom_small,
    "zoom-4": zoom_large,
    "stroke-1px": thin,
    "stroke-8px": thick,
    "sketchpad": sketchpad,
    "white-on-black": white_on_black,
    "coloured-pen": coloured_pen,
    "ruled-paper": ruled_paper,
    "squared-paper": squared_paper,
    "phone-photo": phone_photo,
    "perspective-3": perspective,
    "rotation-8": rotation,
    "jpeg-30": jpeg,
    "off-centre": off_centre,
}


def _pair_of_colours(picture: Pixels, paper: tuple[int, int, int], pen: tuple[int, int, int]) -> Pixels:
    return _inked(picture, np.array(paper, float), pen)


def _photographed(picture: Pixels, random: Random) -> Pixels:
    """Enlarged, on tinted paper in uneven light, blurred, with noise, as a JPEG of quality 75."""
    page = _with_margin(_zoomed(picture, 2.0, cv2.INTER_CUBIC), 40, 100, random)
    lit = (
        _pair_of_colours(page, (235, 230, 218), (35, 35, 40)).astype(np.float32)
        * shading(page.shape, random)[:, :, None]
    )
    lit = cv2.GaussianBlur(lit, (0, 0), float(random.uniform(0.8, 1.4))) + random.normal(0, 5, lit.shape)
    return _jpeg(np.clip(lit, 0, 255).astype(np.uint8), 75)


PICTURE_CONDITIONS: dict[str, Callable[[Pixels, Random], Pixels]] = {
    "plain": lambda picture, random: picture,
    "zoom-0.5": lambda picture, random: _zoomed(picture, 0.5, cv2.INTER_AREA),
    "zoom-0.75": lambda picture, random: _zoomed(picture, 0.75, cv2.INTER_AREA),
    "zoom-1.5": lambda picture, random: _zoomed(picture, 1.5, cv2.INTER_CUBIC),
    "zoom-2": lambda picture, random: _zoomed(picture, 2.0, cv2.INTER_CUBIC),
    "zoom-3": lambda picture, random: _zoomed(picture, 3.0, cv2.INTER_CUBIC),
    "inverted": lambda picture, random: 255 - picture,
    "dark-mode": lambda picture, random: _pair_of_colours(picture, (30, 30, 36), (220, 220, 210)),
    "jpeg-30": lambda picture, random: _jpeg(picture, 30),
    "photo-light": _photographed,
}
