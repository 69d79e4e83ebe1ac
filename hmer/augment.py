"""Training-only distortions, of strokes and of pixels. What they make, `hmer.image.prepare` then reads as usual."""

import contextlib
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from hmer.config import AugmentConfig, ImageConfig
from hmer.errors import BadImage
from hmer.image import Grey, Magnifies, Prepared, ink_mask, prepare, writing_size
from hmer.ink import Ink, Stroke, rasterize, symbol_size
from hmer.paper import clean

Random = np.random.Generator

# Standard deviations of a single symbol's rotation (radians), slant, and stretching (logarithm) in width and height.
_SYMBOL_SPREAD = np.array([0.07, 0.08, 0.08, 0.06])
_LONG = 1.5  # symbols longer than this are turned and slanted less
# What differs from another by how it leans: turned like a letter, + is \times and | is /.
_UPRIGHT = frozenset(
    ["+", r"\times", "-", "|", r"\|", "/", r"\setminus", "1", "l", ",", r"\prime", "!", "(", ")", "[", "]"]
)
_UPRIGHT_SHARE = 0.35
_SYMBOL_BEND = 0.02  # standard deviation of how far the parts of a symbol are moved, in its own sizes
SMALLEST_PX = 2.6  # of a printed symbol: half of what screenshots have, and less
SMALL_PX = 6.0  # what screenshots have
SCREEN_PX = 9.0  # pictures with smaller symbols are screenshots: what is shown smaller is often exactly half as large


Matrix = npt.NDArray[np.float64]  # (2, 3): where a point of one picture lies in another


@dataclass(frozen=True)
class Moved:
    """A picture made from another, and where a point of that one lies in it: None if it is not known.

    `prepared`: how it was made ready to be read, where that was the last that happened to it.
    """

    pixels: Grey
    matrix: Matrix | None
    prepared: Prepared | None = None


@dataclass(frozen=True)
class DrawnInk:
    """A drawing as a model sees it, and its strokes in the pixels of that drawing."""

    pixels: Grey
    strokes: tuple[Stroke, ...]


def distort_strokes(
    ink: Ink, random: Random, strength: float, symbols: tuple[float, float] = (1.0, 1.0)
) -> list[Stroke]:
    """The strokes, symbols about 1 large, after rotation, slant, stretching, a smooth warp and the same per symbol.

    `symbols` as in `AugmentConfig`.
    """
    factor = 1.0 / symbol_size(ink)
    counts = [len(stroke) for stroke in ink.strokes]
    points = np.concatenate(ink.strokes).astype(np.float64) * factor
    points -= points.mean(axis=0)
    if strength > 0:
        points = _vary_symbols(points, ink, counts, random, strength, strength * random.uniform(*symbols))
        points += _warp(points, random, strength)
        points = points @ _affine(random, strength).T
    return [part.astype(np.float32) for part in np.split(points, np.cumsum(counts)[:-1])]


def _affine(random: Random, strength: float) -> npt.NDArray[np.float64]:
    """Rotation (standard deviation 2.5 degrees, now and then up to 9), slant and aspect, as a 2 x 2 matrix."""
    wide = random.random() < 0.1
    angle = np.deg2rad(random.uniform(-9, 9) if wide else random.normal(0, 2.5)) * strength
    shear = random.normal(0, 0.12) * strength
    stretch = np.exp(random.normal(0, 0.12) * strength)
    return np.asarray(_turned(angle) @ np.array([[stretch, shear], [0.0, 1.0 / stretch]]))


def _vary_symbols(
    points: npt.NDArray[np.float64], ink: Ink, counts: list[int], random: Random, strength: float, shape: float
) -> npt.NDArray[np.float64]:
    """Each symbol shifted, turned, slanted, stretched and bent by itself, each stroke shifted a little: (points, 2).

    Shifted by `strength`, formed by `shape`. A writer does not repeat a symbol exactly, some less than others; and what
    is learnt must not hang on how the few writers of a training set hold theirs.
    """
    points = points + np.repeat(random.normal(0, 0.02 * strength, (len(counts), 2)), counts, axis=0)
    ends = np.cumsum(counts)
    for symbol in ink.symbols:
        own = np.concatenate([np.arange(ends[stroke] - counts[stroke], ends[stroke]) for stroke in symbol.strokes])
        angle, slant, wide, high = random.normal(0, 1, 4) * shape * _SYMBOL_SPREAD
        # A long bar that is turned like a letter runs through what it divides; and size tells x from X.
        extent = float(np.ptp(points[own], axis=0).max())
        lean = min(1.0, _LONG / max(extent, 1e-6)) * (_UPRIGHT_SHARE if symbol.label in _UPRIGHT else 1.0)
        angle, slant = angle * lean, slant * lean
        wide, high = (value - (wide + high) / 4 for value in (wide, high))
        middle = (points[own].min(axis=0) + points[own].max(axis=0)) / 2
        matrix = _turned(angle) @ np.array([[np.exp(wide), slant], [0.0, np.exp(high)]])
        centred = points[own] - middle
        centred += _bent(centred, random) * (_SYMBOL_BEND * shape)
        points[own] = centred @ matrix.T + middle + random.normal(0, 0.05 * strength, 2)
    return points


def _bent(points: npt.NDArray[np.float64], random: Random) -> npt.NDArray[np.float64]:
    """A smooth displacement of one symbol's points, its curves rounder or flatter: (points, 2), about 1 for its size."""
    size = max(float(np.ptp(points, axis=0).max()), 1e-6)
    shift = np.zeros_like(points)
    for _ in range(2):
        direction = random.normal(0, 1, 2)
        direction *= 2 * np.pi / (size * random.uniform(0.7, 2.0) * max(float(np.hypot(*direction)), 1e-6))
        shift += np.sin(points @ direction + random.uniform(0, 2 * np.pi))[:, None] * random.normal(0, 1, 2)
    return shift * min(size, 1.5)


def _turned(angle: float) -> npt.NDArray[np.float64]:
    """Rotation by `angle` radians: (2, 2)."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _warp(points: npt.NDArray[np.float64], random: Random, strength: float) -> npt.NDArray[np.float64]:
    """A smooth displacement: a few long waves along both axes: (points, 2)."""
    shift = np.zeros_like(points)
    for _ in range(3):
        length = random.uniform(1.2, 6.0)
        direction = random.normal(0, 1, 2)
        direction /= max(float(np.hypot(*direction)), 1e-6)
        phase = points @ direction * (2 * np.pi / length) + random.uniform(0, 2 * np.pi)
        shift += np.sin(phase)[:, None] * random.normal(0, 0.035, 2) * length / 3
    return shift * strength


def _pen(random: Random, markers: float) -> float:
    """The width of a pen in symbols: some as in the published images (3 px on 40), most from a hair to a marker.

    A share of `markers`, which close the eyes of small letters, is drawn besides: they are what is hard to read.
    """
    kind = random.random()
    if kind < 0.3:
        return 3 / 40
    if kind < 0.3 + markers:
        return float(random.uniform(0.13, 0.26))
    return float(np.exp(random.uniform(np.log(0.025), np.log(0.28))))


def draw_ink(ink: Ink, image: ImageConfig, augment: AugmentConfig, random: Random | None) -> DrawnInk:
    """Draw ink as a model sees it; distorted when `random` is given, otherwise plain."""
    if random is None or augment.strokes == 0:
        symbol_px, thickness, jagged, zoom = 40.0, 3.0, True, 1.0
        strokes = distort_strokes(ink, np.random.default_rng(0), 0.0)
    else:
        strokes = distort_strokes(ink, random, augment.strokes, augment.symbols)
        symbol_px = float(np.exp(random.uniform(np.log(24), np.log(48))))
        thickness, jagged = max(1.0, _pen(random, augment.markers) * symbol_px), bool(random.random() < 0.6)
        zoom = float(np.exp(np.clip(random.normal(0, augment.scale / 2), -augment.scale, augment.scale)))
    extent = max(float(np.ptp(np.concatenate(strokes), axis=0).max()), 1e-6)
    symbol_px = min(symbol_px, 3_000 / extent)
    strokes = [stroke * symbol_px for stroke in strokes]
    margin = 8
    grey = rasterize(strokes, thickness_px=thickness, margin_px=margin, jagged=jagged)
    prepared = prepare(grey, image, zoom=zoom)
    corner = np.concatenate(strokes).min(axis=0) - (margin + int(np.ceil(thickness / 2)))
    origin = corner + np.array([prepared.left, prepared.top], np.float32)
    placed = tuple(np.asarray((stroke - origin) * prepared.scale, np.float32) for stroke in strokes)
    pixels = prepared.pixels if random is None else distort_pixels(prepared.pixels, random, augment.pixels)
    return DrawnInk(pixels, placed)


def distort_picture(
    grey: Grey,
    image: ImageConfig,
    augment: AugmentConfig,
    random: Random | None,
    neighbour: Grey | None = None,
    magnifier: Magnifies | None = None,
) -> Moved:
    """A picture (no strokes known) as a model sees it; with `random` slanted, scaled, thickened and blurred first.

    With `augment.print` it is worn as print is (see `worn`); of `neighbour` a strip may stand at its edge. `magnifier` as in
    `prepare`.
    """
    zoom = 1.0
    used = Moved(grey, _IDENTITY)
    if random is not None and augment.print:
        zoom = float(np.exp(np.clip(random.normal(0, augment.scale / 2), -augment.scale, augment.scale)))
        used = worn(grey, random, augment.print, neighbour, augment.small_print, augment.clear)
        return _prepared(used, image, zoom, magnifier)
    if random is None or augment.strokes == 0:
        return _prepared(used, image, zoom, magnifier)
    height, width = grey.shape
    if random.random() < 0.3:
        grey = _thicken(grey, random)
    matrix = _affine(random, augment.strokes)
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) @ matrix.T
    low, high = corners.min(axis=0), corners.max(axis=0)
    placed = np.column_stack([matrix, -low])
    size = (int(np.ceil(high[0] - low[0])), int(np.ceil(high[1] - low[1])))
    moved = cv2.warpAffine(grey, placed, size, flags=cv2.INTER_LINEAR, borderValue=255.0)
    zoom = float(np.exp(np.clip(random.normal(0, augment.scale / 2), -augment.scale, augment.scale)))
    prepared = _prepared(Moved(np.asarray(moved, np.uint8), placed), image, zoom, magnifier)
    return Moved(distort_pixels(prepared.pixels, random, augment.pixels), prepared.matrix)


_IDENTITY: Matrix = np.eye(2, 3)


def _then(first: Matrix, second: Matrix) -> Matrix:
    """Where a point lies that was moved twice."""
    return np.asarray(second[:, :2] @ first + np.pad(second[:, 2:], ((0, 0), (2, 0))), np.float64)


def _prepared(moved: Moved, image: ImageConfig, zoom: float, magnifier: Magnifies | None) -> Moved:
    found = prepare(moved.pixels, image, zoom=zoom, magnifier=magnifier)
    if moved.matrix is None:
        return Moved(found.pixels, None, found)
    cut = np.array([[1.0, 0.0, -found.left], [0.0, 1.0, -found.top]]) * found.scale
    return Moved(found.pixels, _then(moved.matrix, cut), found)


def _thicken(grey: Grey, random: Random) -> Grey:
    kernel = np.ones((2, 2) if random.random() < 0.5 else (3, 3), np.uint8)
    changed = cv2.erode(grey, kernel) if random.random() < 0.7 else cv2.dilate(grey, kernel)
    # A thin pen must not be thinned to dust.
    kept = np.count_nonzero(changed < 128) > 0.4 * np.count_nonzero(grey < 128)
    return np.asarray(changed, np.uint8) if kept else grey


def distort_pixels(grey: Grey, random: Random, strength: float) -> Grey:
    """Blur, paler ink, noise, and small gaps, each on a part of the pictures: (H, W) uint8."""
    if strength == 0:
        return grey
    if random.random() < 0.25 * strength:
        grey = np.asarray(cv2.GaussianBlur(grey, (0, 0), float(random.uniform(0.4, 0.9))), np.uint8)
    if random.random() < 0.2 * strength:
        pale = random.uniform(0.6, 1.0)
        grey = (255 - (255 - grey.astype(np.float32)) * pale).astype(np.uint8)
    if random.random() < 0.15 * strength:
        noise = random.normal(0, random.uniform(3, 14), grey.shape).astype(np.float32)
        grey = np.clip(grey + noise, 0, 255).astype(np.uint8)
    return grey


def worn(
    grey: Grey,
    random: Random,
    strength: float,
    neighbour: Grey | None = None,
    small_print: float = 0.0,
    clear: float = 0.0,
) -> Moved:
    """A printed formula as screens, scanners and cameras hand it over: (H, W) uint8, dark on white.

    Each on a part of the pictures, the more the higher `strength`: text cut off at the upper or lower edge, a skew, another
    resolution, heavier or lighter ink, blur, JPEG, noise and specks, cropped too closely, uneven light. A share of
    `small_print` of those in another resolution is as small as can be read, `SMALLEST_PX` to `SMALL_PX` a symbol; to most of
    these nothing else happens, as to a page that is shown smaller: in what is left of a letter then, wear hides all.
    Of all pictures a share of `clear` is as a screen shows it: in another resolution at most. Else few are, and narrow spaces,
    which wear hides, are hardly learnt.
    """
    size_px = writing_size(ink_mask(grey))
    matrix = _IDENTITY
    resolution = 0.65 * strength
    if clear and random.random() < clear:
        strength = 0.0
    if neighbour is not None and random.random() < 0.04 * strength:
        grey, above_px = _with_strip(grey, neighbour, size_px, random)
        matrix = _then(matrix, np.array([[1.0, 0.0, 0.0], [0.0, 1.0, above_px]]))
    if random.random() < 0.3 * strength:
        grey, turned = _skewed(grey, random)
        matrix = _then(matrix, turned)
    if random.random() < resolution:
        small = random.random() < small_print
        factor = _factor(size_px, random, small=small)
        averaged = factor < 0.4 or (small and random.random() < 0.5)  # else thin strokes vanish when much is left out
        methods = [cv2.INTER_LINEAR]
        if factor < 1:
            methods = [cv2.INTER_AREA] if averaged else [cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC]
        method = methods[int(random.integers(len(methods)))]
        size = (max(3, round(grey.shape[1] * factor)), max(3, round(grey.shape[0] * factor)))
        matrix = _then(matrix, np.diag([size[0] / grey.shape[1], size[1] / grey.shape[0], 0.0])[:2])
        grey = np.asarray(cv2.resize(grey, size, interpolation=method), np.uint8)
        if small and random.random() < 0.6:
            return Moved(grey, matrix)
        size_px *= factor
    if random.random() < 0.4 * strength:
        grey = inked_again(grey, float(np.exp(random.normal(0, 0.3))))
    if random.random() < 0.3 * strength:
        grey = np.asarray(cv2.GaussianBlur(grey, (0, 0), float(random.uniform(0.2, 0.04 * size_px + 0.4))), np.uint8)
    dirty = False
    if random.random() < 0.2 * strength:
        dirty = True
        grey = as_jpeg(grey, int(random.integers(20, 90)))
    if random.random() < 0.15 * strength:
        dirty = True
        noise = random.normal(0, random.uniform(3, 16), grey.shape).astype(np.float32)
        grey = np.clip(grey + noise, 0, 255).astype(np.uint8)
    if random.random() < 0.05 * strength:
        grey = grey.copy()
        count = int(random.integers(1, 6))
        grey[random.integers(grey.shape[0], size=count), random.integers(grey.shape[1], size=count)] = 0
    if random.random() < 0.05 * strength:
        top, bottom, left, right = (int(side) for side in random.integers(0, 2, 4))
        cut = grey[top : grey.shape[0] - bottom, left : grey.shape[1] - right]
        if min(cut.shape) >= 3:
            grey, matrix = cut, _then(matrix, np.array([[1.0, 0.0, -left], [0.0, 1.0, -top]]))
    if random.random() < 0.06 * strength:
        margin = int(random.integers(8, 40))
        page = cv2.copyMakeBorder(grey, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=255.0)
        grey = np.clip((page * 0.9 + 10) * shading(page.shape, random), 0, 255).astype(np.uint8)
        matrix = _then(matrix, np.array([[1.0, 0.0, margin], [0.0, 1.0, margin]]))
        dirty = True
    if not dirty:
        return Moved(grey, matrix)
    with contextlib.suppress(BadImage):  # what was all but rubbed out stays as it is
        cleaned = clean(grey)  # as it is read: what is taken out takes some of the ink along
        return Moved(cleaned, matrix if cleaned.shape == grey.shape else None)  # else it has lost a bar at a side
    return Moved(grey, matrix)


def _factor(size_px: float, random: Random, *, small: bool) -> float:
    """How much larger a picture is to be whose usual symbol has that size; `small`: as small as can be read."""
    if small and 2 * SMALLEST_PX < size_px < SCREEN_PX and random.random() < 0.65:
        return 0.5
    least = max(min(SMALLEST_PX / size_px, 1.0), 0.15)
    most = 2.0 if random.random() < 0.5 else 1.0  # small print more often: it is what is hard to read
    if small:
        most = max(min(SMALL_PX / size_px, 1.0), least)
    return float(np.exp(random.uniform(np.log(least), np.log(most))))


def inked_again(grey: Grey, exponent: float) -> Grey:
    """Ink heavier below 1, paler above."""
    table = 255 - 255 * (1 - np.arange(256) / 255) ** exponent
    return np.asarray(cv2.LUT(grey, np.round(table).astype(np.uint8)), np.uint8)


def as_jpeg(grey: Grey, quality: int) -> Grey:
    """What JPEG of that quality, 0 to 100, leaves of it."""
    done, data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8) if done else grey


def shading(shape: tuple[int, ...], random: Random) -> npt.NDArray[np.float64]:
    """The light on a photographed sheet, falling off to a side and to the corners, with a soft shadow: (H, W), up to 1."""
    height, width = shape[:2]
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    angle = random.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    light = 1.0 - random.uniform(0.05, 0.2) * (along + 1) - random.uniform(0.0, 0.15) * (x**2 + y**2) / 2
    edge = x * np.cos(angle + 1.3) + y * np.sin(angle + 1.3) + 0.2 * np.sin(2 * y + angle)
    shadow = 1 / (1 + np.exp(-(edge - random.uniform(-0.4, 0.4)) / random.uniform(0.04, 0.15)))
    return np.asarray(light * (1 - random.uniform(0.25, 0.5) * shadow), np.float64)


def _skewed(grey: Grey, random: Random) -> tuple[Grey, Matrix]:
    """Turned as a page lies in a scanner: by a degree or less, now and then by up to three; and how."""
    degrees = float(random.uniform(-3, 3) if random.random() < 0.15 else random.normal(0, 0.6))
    height, width = grey.shape
    matrix = np.asarray(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0), np.float64)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = (int(np.ceil(width * cosine + height * sine)), int(np.ceil(height * cosine + width * sine)))
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    turned = cv2.warpAffine(grey, matrix, size, flags=cv2.INTER_LINEAR, borderValue=255.0)
    return np.asarray(turned, np.uint8), matrix


def _with_strip(grey: Grey, neighbour: Grey, size_px: float, random: Random) -> tuple[Grey, int]:
    """A line of other text, cut through lengthwise by the upper or lower edge of the picture; how much is new above."""
    rows = np.flatnonzero((neighbour < 128).any(axis=1))
    if not len(rows):
        return grey, 0
    line = neighbour[rows[0] : rows[-1] + 1]
    factor = size_px / writing_size(ink_mask(line))
    size = (max(1, round(line.shape[1] * factor)), max(3, round(line.shape[0] * factor)))
    line = np.asarray(cv2.resize(line, size, interpolation=cv2.INTER_AREA), np.uint8)
    tall = max(2, min(round(line.shape[0] * random.uniform(0.15, 0.4)), round(size_px)))
    gap = round(size_px * random.uniform(0.8, 2.0))
    width = grey.shape[1]
    strip = np.full((tall + gap, width), 255, np.uint8)
    above = random.random() < 0.5
    piece = (line[-tall:] if above else line[:tall])[:, :width]
    place = 0 if above else gap
    strip[place : place + len(piece), : piece.shape[1]] = piece
    return np.concatenate([strip, grey] if above else [grey, strip]), len(strip) if above else 0


def jitter(grey: Grey, augment: AugmentConfig, random: Random) -> Grey:
    """A prepared picture turned, moved, scaled, bent, cropped, and in other light, each evenly up to its setting.

    Its size stays what it is: what leaves it is lost, what enters is paper. See `hmer.config.AugmentConfig`.
    """
    height, width = grey.shape
    if augment.rotation_degrees or augment.scaling or augment.translation:
        angle = random.uniform(-1, 1) * augment.rotation_degrees
        scale = 1 + random.uniform(-1, 1) * augment.scaling
        matrix = np.asarray(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, scale), np.float64)
        matrix[:, 2] += random.uniform(-1, 1, 2) * augment.translation * np.array([width, height], np.float64)
        grey = np.asarray(cv2.warpAffine(grey, matrix, (width, height), borderValue=255.0), np.uint8)
    if augment.elastic:
        grey = _bend(grey, augment.elastic * height, random)
    if augment.cropping:
        share = random.uniform(0, augment.cropping)
        tall, wide = max(1, round(height * (1 - share))), max(1, round(width * (1 - share)))
        top, left = int(random.integers(height - tall + 1)), int(random.integers(width - wide + 1))
        window = np.full_like(grey, 255)
        window[:tall, :wide] = grey[top : top + tall, left : left + wide]
        grey = window
    if augment.contrast or augment.brightness:
        contrast = 1 + random.uniform(-1, 1) * augment.contrast
        brightness = random.uniform(-1, 1) * augment.brightness * 255
        grey = np.clip((grey.astype(np.float32) - 128) * contrast + 128 + brightness, 0, 255).astype(np.uint8)
    return grey


def _bend(grey: Grey, most_px: float, random: Random) -> Grey:
    """Elastic distortion (Simard et al. 2003): each pixel taken from a place up to `most_px` off, smoothly varying."""
    height, width = grey.shape
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    sigma = max(2.0, height / 6)

    def bent(places: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        shift = cv2.GaussianBlur(random.uniform(-1, 1, grey.shape).astype(np.float32), (0, 0), sigma)
        return np.asarray(places + shift * (most_px / max(float(np.abs(shift).max()), 1e-6)), np.float32)

    return np.asarray(cv2.remap(grey, bent(columns), bent(rows), cv2.INTER_LINEAR, borderValue=255.0), np.uint8)
