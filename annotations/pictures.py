"""Pictures as the store keeps them: upright, without metadata, losslessly as PNG, known by their pixels."""

import hashlib
import io
import struct
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from hmer.errors import BadImage

MAX_PIXELS = 64_000_000  # a full-page scan at 600 dpi has 35 million

# What the recogniser reads, too. Pillow knows more, some of it through other programs (Ghostscript for EPS).
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF")

ImageLike: TypeAlias = PIL.Image.Image | bytes | NDArray[np.generic]


@dataclass(frozen=True)
class Picture:
    """A PNG that holds pixels and nothing else; `sha256` is over mode, size and pixels."""

    sha256: str
    content: bytes
    width_px: int
    height_px: int
    media_type: str = "image/png"

    def open(self) -> PIL.Image.Image:
        """The pixels."""
        return open_picture(self.content)


def make_picture(image: ImageLike) -> Picture:
    """The picture to keep for an image: a PIL image, an encoded file's bytes, or an array.

    Arrays are H W, H W 1, H W 2, H W 3 or H W 4; bool, uint8, uint16, or floats from 0 to 1. Raises BadImage.
    """
    plain = _plain(_open(image))
    # Pillow writes what an image carries (EXIF, ICC, text) into its PNG; this one carries nothing.
    bare = PIL.Image.frombytes(plain.mode, plain.size, plain.tobytes())
    encoded = io.BytesIO()
    bare.save(encoded, format="PNG")
    digest = hashlib.sha256(f"{bare.mode} {bare.width} {bare.height}\n".encode())
    digest.update(bare.tobytes())
    return Picture(digest.hexdigest(), encoded.getvalue(), bare.width, bare.height)


def open_picture(content: bytes) -> PIL.Image.Image:
    """A picture that the store keeps, loaded."""
    picture = PIL.Image.open(io.BytesIO(content), formats=("PNG",))
    picture.load()
    return picture


def _open(image: ImageLike) -> PIL.Image.Image:
    if isinstance(image, np.ndarray):
        return _from_array(image)
    try:
        opened = PIL.Image.open(io.BytesIO(image), formats=FORMATS) if isinstance(image, bytes) else image
        if opened.width * opened.height > MAX_PIXELS:
            raise BadImage(f"The picture has {opened.width} x {opened.height} pixels; crop it to the formula.")
        opened.load()
    except PIL.UnidentifiedImageError as error:
        raise BadImage("The file is not a picture of a known kind; save it as PNG or JPEG.") from error
    except PIL.Image.DecompressionBombError as error:
        raise BadImage("The picture is far too large; crop it to the formula.") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow raises for damaged files
        raise BadImage(f"The picture is damaged ({error}); save it anew as PNG or JPEG.") from error
    try:
        return PIL.ImageOps.exif_transpose(opened)
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, struct.error):
        # Damaged metadata: what counts are the pixels.
        return opened


def _from_array(array: NDArray[np.generic]) -> PIL.Image.Image:
    shape = " x ".join(map(str, array.shape))
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (2, 3, 4)):
        raise BadImage(f"An array of shape {shape} is no picture; give height x width (x 1 to 4 channels).")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise BadImage(f"The picture has shape {shape}; crop it to the formula.")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    elif np.issubdtype(array.dtype, np.floating):
        levels = array.astype(np.float64)
        if not (np.isfinite(levels).all() and levels.min() >= 0 and levels.max() <= 1):
            raise BadImage("A picture of floating-point numbers must lie between 0 and 1.")
        array = np.rint(levels * 255).astype(np.uint8)
    elif not (array.dtype == np.uint8 or (array.dtype == np.uint16 and array.ndim == 2)):
        raise BadImage(f"An array of {array.dtype} is no picture; give uint8, or uint16 without colour.")
    return PIL.Image.fromarray(np.ascontiguousarray(array))


def _plain(image: PIL.Image.Image) -> PIL.Image.Image:
    """The same look in the smallest of L, LA, RGB, RGBA, I;16, so that one picture has one identity."""
    if image.mode == "F":
        return _plain(_from_array(np.asarray(image)))
    if image.mode.startswith("I"):  # 16 bits, in Pillow's several ways
        levels = np.asarray(image)
        if levels.min() < 0 or levels.max() > 0xFFFF:
            raise BadImage("The picture has more than 16 bits a pixel; save it as PNG or JPEG.")
        return PIL.Image.fromarray(levels.astype(np.uint16))
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        colour = image
    else:
        colour = image.convert("RGBA") if image.has_transparency_data else image.convert("RGB")
    if colour.mode == "RGBA" and colour.getchannel("A").getextrema() == (255, 255):
        colour = colour.convert("RGB")
    if colour.mode in ("RGB", "RGBA"):
        red, green, blue = (np.asarray(colour.getchannel(name)) for name in "RGB")
        if np.array_equal(red, green) and np.array_equal(red, blue):
            grey = colour.getchannel("R")
            colour = grey if colour.mode == "RGB" else PIL.Image.merge("LA", (grey, colour.getchannel("A")))
    return colour
