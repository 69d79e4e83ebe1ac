"""From anything a person can hand over to what a model sees. The only preprocessing in the project.

`read_image` gives one grey picture, dark ink on light paper; `prepare` crops it and scales it by the size of
its writing; `pad` makes a batch. Pictures are uint8 arrays (H, W), ink 0, paper 255.
"""

import io
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from hmer.config import ImageConfig
from hmer.errors import BadImage
from hmer.paper import clean

Grey = npt.NDArray[np.uint8]

_PALEST = 80  # levels of 255 by which ink is darker than paper at least
_FLAT = 0.35  # a component lower than this share of its width is a bar: fraction, minus, root
# With `ImageConfig.slim_markers`: from this width of a line to that, in sizes of a symbol, a pen becomes a marker,
# whose writing is read larger by the one share, with lines thinner by the other.
_PEN, _MARKER = 0.1, 0.15
_MARKER_ZOOM, _MARKER_SLIMMING = 0.33, 0.25
_COARSE_PX = 11.0  # a symbol's size below which print is drawn larger before it is measured again and scaled
_SMALL_PRINT_PX, _SMALLEST_PRINT_PX = 9, 6  # a symbol's size below which it is measured magnified; and sharpened, too
_MAGNIFIED, _SHARPENED_PX = 4, 0.6
_LOOKS = (1.2, 0.83)  # the other sizes in which a marker's writing is looked at
_MARKER_LINES = 0.14  # of a symbol's size: lines as broad as that were thinned already, and are a marker's
_MARKER_CORE = 0.85  # the share of its lines that is taken off to see symbols apart that touch, for their size only


Box = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True)
class Scaled:
    """What was cut out of a picture, its (height, width) since then, how many times as dark ink was made, the margin around it."""

    cut: Box
    size: tuple[int, int]
    gain: float
    margin: int


@dataclass(frozen=True)
class Prepared:
    """A picture as a model sees it, and where it came from: (point - (left, top)) * scale is its place in it.

    `small`: what a magnifier drew larger first, if one did; `scaled` is of its drawing then.
    """

    pixels: Grey
    scale: float
    left: float
    top: float
    scaled: Scaled
    small: Grey | None = None


# What `read_image` takes; anything larger is refused before a pixel of it is decoded.
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF")
MAX_FILE_BYTES = 100_000_000
MAX_PIXELS = 80_000_000
MAX_SIDE_PX = 16_000
MIN_SIDE_PX = 3
WORKING_PIXELS = 2_500_000  # larger pictures are reduced to this; writing is scaled later anyway

_ACCEPTED = "Send a PNG, JPEG, WebP, GIF, BMP or TIFF picture."
_HEIC = "Export it as JPEG first (on an iPhone: Settings, Camera, Formats, Most Compatible)."
_FOREIGN = (  # (offset, bytes, what it is, what to do)
    (0, b"%PDF", "a PDF document", "Take a screenshot of the formula, or export the page as PNG."),
    (4, b"ftyphei", "an HEIC photo", _HEIC),
    (4, b"ftyphev", "an HEIC photo", _HEIC),
    (4, b"ftypmif1", "an HEIC photo", _HEIC),
    (4, b"ftypavif", "an AVIF picture", "Save it as PNG or JPEG first."),
    (0, b"8BPS", "a Photoshop document", "Export it as PNG first."),
    (0, b"%!PS", "a PostScript file", "Export it as PNG first."),
    (0, b"PK\x03\x04", "a ZIP archive or an office document", "Send the picture itself, as PNG or JPEG."),
)
_TOO_LARGE = "The picture has {}, more than can be read. Cut out the formula, or save it smaller."
# Damaged files make decoders fail in about every way there is.
_DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(struct.error, MemoryError, RuntimeError, AssertionError),
)


def read_image(source: Any) -> Grey:
    """One grey picture from anything a person can hand over: (H, W) uint8, dark ink on white paper.

    `source`: a path; the bytes of a file; an open file; a PIL image; an array (H, W) or (H, W, 1 to 4) of
    bool, uint8, uint16 or float; or what Gradio's sketchpad gives, of which `composite` is read. Colours,
    lighting and ruled lines are taken out; at most `WORKING_PIXELS` are kept. Raises BadImage with a sentence
    for the user.
    """
    if isinstance(source, dict):
        source = source.get("composite")
        if source is None:
            raise BadImage("Nothing was drawn yet. Draw a formula, or send a picture of one.")
    if isinstance(source, np.ndarray):
        picture = _from_array(source)
    elif isinstance(source, Image.Image):
        _check_size(*source.size)
        picture = _decode(source.copy, "the picture")
    elif isinstance(source, bytes | bytearray | memoryview):
        picture = _from_bytes(bytes(source), "the picture")
    elif isinstance(source, str | os.PathLike):
        picture = _from_bytes(_read_file(Path(source)), Path(source).name)
    elif hasattr(source, "read"):
        picture = _from_bytes(_read_stream(source), Path(str(getattr(source, "name", "the picture"))).name)
    elif source is None:
        raise BadImage("No picture was given. Draw a formula, or send a picture of one.")
    else:
        raise BadImage(f"A picture cannot be read from {type(source).__name__}. {_ACCEPTED}")
    return clean(_within_working_size(picture))


def _read_file(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise BadImage(f"{path}: is a folder. Name a picture in it.")
        if not path.exists():
            raise BadImage(f"{path}: no such file. Check the name and the folder.")
        if not path.is_file():
            raise BadImage(f"{path}: is not an ordinary file. {_ACCEPTED}")
        with path.open("rb") as stream:
            return _read_stream(stream)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        message = f"{path}: cannot be opened ({reason}). Check the name and your rights to read it."
        raise BadImage(message) from error


def _read_stream(stream: Any) -> bytes:
    data = stream.read(MAX_FILE_BYTES + 1)
    if not isinstance(data, bytes):
        raise BadImage("The picture's file was opened as text; open it in binary mode ('rb').")
    return data


def _from_bytes(data: bytes, name: str) -> npt.NDArray[np.uint8]:
    if not data:
        raise BadImage(f"{name}: the file is empty. Save or send it again.")
    if len(data) > MAX_FILE_BYTES:
        limit = f"{MAX_FILE_BYTES // 1_000_000} MB"
        raise BadImage(f"{name}: is larger than {limit}. Cut out the formula, or save it smaller.")
    for offset, magic, kind, advice in _FOREIGN:
        if data[offset : offset + len(magic)] == magic:
            raise BadImage(f"{name}: is {kind}, not a picture that can be read. {advice}")
    opening = data[:1000].lower()
    if b"<svg" in opening:
        raise BadImage(f"{name}: is an SVG drawing, not a picture of pixels. Export it as PNG first.")
    if b"<ink" in opening:
        raise BadImage(f"{name}: holds ink strokes (InkML), not a picture. Save it with the ending .inkml.")

    def opened() -> Image.Image:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_size(*image.size)
        if image.format in ("JPEG", "MPO"):  # decoded at a half or a quarter where that is enough
            factor = (WORKING_PIXELS / (image.width * image.height)) ** 0.5
            if factor < 1:
                image.draft(None, (int(image.width * factor), int(image.height * factor)))
        return image

    return _decode(opened, name)


def _decode(opened: Callable[[], Image.Image], name: str) -> npt.NDArray[np.uint8]:
    """The pixels of the first frame, upright: (H, W) or (H, W, 3) uint8."""
    try:
        image = opened()
        image.load()
        return _from_pil(_upright(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(_TOO_LARGE.format(f"more than {MAX_PIXELS // 1_000_000} million pixels")) from error
    except UnidentifiedImageError as error:
        raise BadImage(f"{name}: is not a picture in a known format, or is damaged. {_ACCEPTED}") from error
    except _DECODER_ERRORS as error:
        raise BadImage(f"{name}: is damaged or cut off and cannot be read. Save or send it again.") from error


def _check_size(width: int, height: int) -> None:
    """Raises BadImage for pictures that cannot hold a formula, or only to exhaust the memory."""
    if width < 1 or height < 1 or max(width, height) < 2 * MIN_SIDE_PX or min(width, height) < MIN_SIDE_PX:
        size = f"{width} x {height} pixels"
        raise BadImage(f"The picture is only {size}; nothing can be read from so few. Send a larger one.")
    if max(width, height) > MAX_SIDE_PX or width * height > MAX_PIXELS:
        raise BadImage(_TOO_LARGE.format(f"{width} x {height} pixels"))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _DECODER_ERRORS:  # damaged notes in the file; the picture itself is there
        return image


def _from_pil(image: Image.Image) -> npt.NDArray[np.uint8]:
    mode = image.mode
    if mode in ("I", "F") or mode.startswith("I;16"):
        return _from_array(np.asarray(image))
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _flatten_alpha(np.asarray(image.convert("RGBA")))
    return np.array(image.convert("L" if mode in ("1", "L") else "RGB"))


def _from_array(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """(H, W) or (H, W, 3) uint8 from an array of any kind that pictures come in."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (2, 3, 4))):
        expected = "(height, width) or (height, width, 3 or 4)"
        raise BadImage(f"An array of shape {array.shape} is no picture; expected {expected}.")
    _check_size(array.shape[1], array.shape[0])
    levels = _to_levels(array)
    if levels.ndim == 3 and levels.shape[2] == 2:
        levels = levels[:, :, [0, 0, 0, 1]]
    if levels.ndim == 3 and levels.shape[2] == 4:
        return _flatten_alpha(levels)
    return np.ascontiguousarray(levels)


def _to_levels(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The same picture with levels from 0 to 255; the range is told from the type and the values."""
    if array.dtype == np.uint8:
        return np.asarray(array)
    if array.dtype == np.bool_:
        return np.asarray(array, np.uint8) * np.uint8(255)
    if array.dtype.kind not in "iuf":
        raise BadImage(f"An array of {array.dtype} is no picture; expected uint8, uint16, bool or float.")
    values = array.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low + high) or low < 0:
        raise BadImage("The picture holds values below zero or not finite; scale it to 0..1 or 0..255 first.")
    if array.dtype.kind == "f" and high <= 1.0:
        top = 1.0
    else:
        top = 255.0 if high <= 255 else 65_535.0 if high <= 65_535 else high
    return np.round(values * (255.0 / top)).astype(np.uint8)


def _flatten_alpha(rgba: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(H, W, 3): laid on white; on black if what is visible is so light that white would swallow it."""
    colour, alpha = rgba[:, :, :3], rgba[:, :, 3]
    if alpha.min() == 255:
        return np.ascontiguousarray(colour)
    opacity = alpha[:, :, None].astype(np.float32) / 255
    on_white = np.round(colour * opacity + 255 * (1 - opacity)).astype(np.uint8)
    visible = alpha > 127
    if visible.any() and float(np.percentile(on_white.min(axis=2)[visible], 2)) > 191:
        return np.round(colour * opacity).astype(np.uint8)
    return on_white


def _within_working_size(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width = picture.shape[:2]
    factor = (WORKING_PIXELS / (height * width)) ** 0.5
    if factor >= 1:
        return picture
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


class Magnifies(Protocol):
    """What draws small print larger, see `hmer.models.magnifier`."""

    def takes(self, size_px: float) -> bool:
        """Whether print whose usual symbol has that size is to be drawn larger."""

    def magnified(self, grey: Grey) -> Grey:
        """(H, W) uint8 -> the same picture, larger, (n H, n W) uint8."""


def prepare(grey: Grey, config: ImageConfig, *, zoom: float = 1.0, magnifier: Magnifies | None = None) -> Prepared:
    """Crop to the ink and scale so that the usual symbol is `config.writing_px` large.

    `grey`: (H, W) uint8, dark ink on light paper. `zoom` multiplies the size (training varies it). With a `magnifier` small
    print is drawn larger first, by it where it is small enough for that.
    Raises BadImage if there is no ink, or more writing than fits the largest picture.
    """
    mask = ink_mask(grey)
    box = _extent(mask)
    if box is None:
        raise BadImage("The picture is blank: nothing darker than its paper was found. Draw or photograph a formula.")
    left, top, right, bottom = box
    size_px = writing_size(mask[top:bottom, left:right])
    if size_px < _SMALL_PRINT_PX:
        size_px = _size_of_small_print(grey[top:bottom, left:right])
    if magnifier is not None and size_px < _COARSE_PX:
        found = _prepared_larger(grey, _with_pale_ink(grey, box, size_px), size_px, config, zoom, magnifier)
        if found is not None:
            return found
    pen_px = pen_width(mask)
    marker = 0.0
    if config.slim_markers:  # the thinnest line of a small picture is no narrower than two pixels, and no marker's
        marker = float(np.clip((pen_px / size_px - _PEN) / (_MARKER - _PEN), 0, 1) * np.clip(pen_px - 2, 0, 1))
        if marker:
            size_px = writing_size(_cores(mask[top:bottom, left:right], marker * _MARKER_CORE * pen_px))
    left, top, right, bottom = _with_pale_ink(grey, box, size_px)
    larger = 1 + marker * _MARKER_ZOOM
    scale = zoom * config.writing_px / size_px * larger
    inner = 2 * config.margin_px
    width, height = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    shrink = min(
        1.0,
        (config.max_area_px / ((width + inner) * (height + inner))) ** 0.5,
        (config.max_side_px - inner) / max(width, height),
    )
    if shrink * larger < 0.4:
        raise BadImage(
            f"The writing is too long for one formula ({width} x {height} px at reading size); "
            "cut the picture into single formulas."
        )
    if shrink < 1.0:
        scale *= shrink
        width, height = max(1, int((right - left) * scale)), max(1, int((bottom - top) * scale))
    inside = grey[top:bottom, left:right]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(inside, (width, height), interpolation=method)
    gain = 255 / full_ink(np.asarray(small, np.uint8))
    small = _inked(np.asarray(small, np.uint8), gain)
    if marker:
        small = _thinned(small, marker * _MARKER_SLIMMING * pen_px * scale)
    multiple, margin = config.multiple_px, config.margin_px
    canvas = np.full((_round_up(height + inner, multiple), _round_up(width + inner, multiple)), 255, np.uint8)
    canvas[margin : margin + height, margin : margin + width] = small
    scaled = Scaled((left, top, right, bottom), (height, width), gain, margin)
    return Prepared(canvas, scale, left - margin / scale, top - margin / scale, scaled)


def _prepared_larger(
    grey: Grey,
    box: Box,
    size_px: float,
    config: ImageConfig,
    zoom: float,
    magnifier: Magnifies,
) -> Prepared | None:
    """What is in the box, drawn larger; None for what is so much that it is not read as large as usual, or is wiped out."""
    left, top, right, bottom = box
    if (right - left) * (bottom - top) * (config.writing_px / size_px) ** 2 > config.max_area_px:
        return None
    small = grey[top:bottom, left:right]
    drawn = magnifier.takes(size_px)
    large = magnifier.magnified(small) if drawn else _twice_as_large(small)
    if not ink_mask(large).any():
        return None
    times = large.shape[1] / (right - left)
    found = prepare(large, config, zoom=zoom)
    return Prepared(
        found.pixels,
        found.scale * times,
        left + found.left / times,
        top + found.top / times,
        found.scaled,
        small if drawn else None,
    )


def _twice_as_large(grey: Grey) -> Grey:
    """What is larger is measured and placed more finely, and keeps more of the shades when it is scaled."""
    return np.asarray(cv2.resize(grey, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8)


def looks_at(prepared: Grey, config: ImageConfig) -> list[Grey]:
    """A picture that `prepare` gave; with `config.slim_markers`, where a marker wrote it, also in other sizes.

    Its symbols touch, so that their size is seldom known. Sizes that are too large are left out.
    """
    found = [prepared]
    if not config.slim_markers or pen_width(ink_mask(prepared)) <= _MARKER_LINES * config.writing_px:
        return found
    for zoom in _LOOKS:
        height, width = (round(side * zoom) for side in prepared.shape)
        if height * width > config.max_area_px or max(height, width) > config.max_side_px:
            continue
        sized = cv2.resize(prepared, (width, height), interpolation=cv2.INTER_LINEAR if zoom > 1 else cv2.INTER_AREA)
        canvas = np.full((_round_up(height, config.multiple_px), _round_up(width, config.multiple_px)), 255, np.uint8)
        canvas[:height, :width] = sized
        found.append(stretch_contrast(canvas))
    return found


def _extent(mask: npt.NDArray[np.uint8]) -> Box | None:
    """Left, top, right, bottom of what is inked; None if nothing is."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1) if len(columns) else None


def _with_pale_ink(grey: Grey, box: Box, size_px: float) -> Box:
    """The box grown to hold what is much paler than most of the ink: a term shown dimmed, a full stop in small print.

    Only by symbols that stand clear of it: the soft edges of dark ink leave it as it is.
    """
    pale = (grey < 255 - _PALEST).astype(np.uint8)
    left, top, right, bottom = box
    pale[top:bottom, left:right] = 0
    if not cv2.countNonZero(pale):
        return box
    _, _, stats, _ = cv2.connectedComponentsWithStats(pale, connectivity=8)
    least = (0.1 * size_px) ** 2
    for x, y, wide, tall, area in stats[1:].tolist():
        outside = max(left - x, x + wide - right, top - y, y + tall - bottom)
        if area >= least and outside > max(2.0, 0.08 * size_px):
            left, top, right, bottom = min(left, x), min(top, y), max(right, x + wide), max(bottom, y + tall)
    return left, top, right, bottom


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def ink_mask(grey: Grey) -> npt.NDArray[np.uint8]:
    """1 where there is ink: (H, W) uint8. The threshold is Otsu's, kept between light grey and dark grey."""
    threshold, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return (grey <= min(max(threshold, 80.0), 215.0)).astype(np.uint8)


def pen_width(mask: npt.NDArray[np.uint8]) -> float:
    """The usual width of a line in pixels: twice the ink for each pixel of its rim, at most a third of the picture."""
    inked = int(np.count_nonzero(mask))
    rim = inked - int(np.count_nonzero(cv2.erode(mask, np.ones((3, 3), np.uint8), borderValue=0)))
    return float(min(2.0 * inked / max(rim, 1), max(mask.shape) / 3))


def _cores(mask: npt.NDArray[np.uint8], by_px: float) -> npt.NDArray[np.uint8]:
    """The mask with lines thinner by `by_px`; what would be gone altogether stays as it is."""
    framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0.0)
    inside = (cv2.distanceTransform(framed, cv2.DIST_L2, 5) > by_px / 2)[1:-1, 1:-1]
    return (inside | _without(mask, inside)).astype(np.uint8)


def _without(mask: npt.NDArray[np.uint8], kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The connected parts of the mask of which nothing is kept."""
    count, parts = cv2.connectedComponents(mask, connectivity=8)
    lost = np.ones(count, bool)
    lost[parts[kept]] = False
    lost[0] = False
    return np.asarray(lost[parts], np.bool_)


def _thinned(grey: Grey, by_px: float) -> Grey:
    """Lines thinner by `by_px`, to the nearest pixel; what would be gone altogether stays as it is."""
    kernel = round(by_px) + 1
    if kernel < 2:
        return grey
    thin = np.asarray(cv2.dilate(grey, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (kernel, kernel))), np.uint8)
    inked = 255 - _PALEST
    return np.where(_without((grey < inked).astype(np.uint8), thin < inked), grey, thin)


def writing_size(mask: npt.NDArray[np.uint8]) -> float:
    """The size of the usual symbol in pixels: median over the connected components of sqrt(height * width).

    The width of the pen is taken off first. Width counts between half and twice the height, so that `1` and joined
    letters do not distort it; bars and specks are left out; when nothing else is there, the extent of the whole counts.
    """
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    pen = pen_width(mask)
    widths = np.maximum(stats[1:, cv2.CC_STAT_WIDTH] - pen, 1.0)
    heights = np.maximum(stats[1:, cv2.CC_STAT_HEIGHT] - pen, 1.0)
    extents = np.maximum(widths, heights)
    keep = (heights >= _FLAT * widths) & (extents > 0.25 * np.median(extents))
    if not keep.any():
        joined = heights > 3 * pen  # no bars: writing that a thick pen has made one
        return float(heights[joined].max()) if joined.any() else float(max(max(mask.shape) - pen, 1.0))
    widths, heights = widths[keep], heights[keep]
    size = float(np.median(np.sqrt(heights * np.clip(widths, heights / 2, heights * 2))))
    # One or two specks beside long bars must not decide: never more than 120 symbols along the picture.
    return float(max(size, max(mask.shape) / 120, 1.0))


def _size_of_small_print(grey: Grey) -> float:
    """`writing_size` of what is a few pixels high: magnified, since its symbols touch and its lines are no broader than a
    pixel; the smallest is sharpened, too.
    """
    large = cv2.resize(grey, None, fx=_MAGNIFIED, fy=_MAGNIFIED, interpolation=cv2.INTER_CUBIC)
    size_px = writing_size(ink_mask(np.asarray(large, np.uint8))) / _MAGNIFIED
    if size_px > _SMALLEST_PRINT_PX:
        return size_px
    sharp = cv2.addWeighted(large, 2, cv2.GaussianBlur(large, (0, 0), _SHARPENED_PX * _MAGNIFIED), -1, 0)
    return writing_size(ink_mask(np.asarray(sharp, np.uint8))) / _MAGNIFIED


def stretch_contrast(grey: Grey) -> Grey:
    """Paper to 255 and the darker half of the ink to 0; thin strokes that scaling made pale are dark again."""
    return _inked(grey, 255 / full_ink(grey))


def _inked(grey: Grey, gain: float) -> Grey:
    """Ink so many times as dark, none darker than black."""
    table = np.clip(255.0 - np.arange(255, -1, -1) * gain, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(grey, table), np.uint8)


def full_ink(grey: Grey) -> float:
    """By how many levels what `stretch_contrast` makes black is darker than paper."""
    darkness = 255 - grey
    inked = darkness[darkness > 40]
    return max(float(np.percentile(inked, 80)), 40.0) if inked.size else 255.0


def pad(pictures: Sequence[Grey], height: int = 0, width: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch: images (B, 1, H, W) float32, ink 1 on paper 0, and sizes (B, 2) int64, each true (height, width).

    H and W are the largest of the batch, or `height` and `width` where they are larger.
    """
    sizes = torch.tensor([picture.shape for picture in pictures], dtype=torch.long)
    height, width = max(height, int(sizes[:, 0].max())), max(width, int(sizes[:, 1].max()))
    batch = np.full((len(pictures), 1, height, width), 255, np.uint8)
    for index, picture in enumerate(pictures):
        batch[index, 0, : picture.shape[0], : picture.shape[1]] = picture
    return (255 - torch.from_numpy(batch)).float() / 255.0, sizes
