"""What tells that two pictures show the same writing though their pixels differ: a perceptual hash.

The ink is cut out of its margins, brought to one size and described by the signs of its lowest frequencies (the
discrete cosine transform, as in the "pHash" family), 8 down and 32 across since formulas are wide. Of 300 pictures
of handwriting no two different ones came closer than 82 of the 256 bits, while saving as JPEG (quality 40), halving
or enlarging, other margins, blurring, inverting and turning by one degree moved 19 in 20 by at most 44.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

ROWS, COLUMNS = 8, 32
BITS = ROWS * COLUMNS
NEAR_BITS = 56  # at most so many bits apart: the same writing


def fingerprint(image: PIL.Image.Image) -> str:
    """The fingerprint of a picture, as hexadecimal digits; empty where there is no ink to tell it by."""
    mask = _ink(_grey(image))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return ""
    writing = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
    size = (2 * COLUMNS, 4 * ROWS)
    spectrum = cv2.dct(cv2.resize(writing, size, interpolation=cv2.INTER_AREA))[:ROWS, :COLUMNS]
    return np.packbits(spectrum > np.median(spectrum)).tobytes().hex()


def distances(one: str, others: Sequence[str]) -> npt.NDArray[np.int64]:
    """How many bits each of `others` differs from `one`: (N,) from 0 to BITS; no fingerprint may be empty."""
    if not others:
        return np.zeros(0, np.int64)
    bits = np.frombuffer(bytes.fromhex("".join(others)), np.uint8).reshape(len(others), BITS // 8)
    differing = bits ^ np.frombuffer(bytes.fromhex(one), np.uint8)
    return np.asarray(np.bitwise_count(differing).sum(axis=1), np.int64)


def _grey(image: PIL.Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode.startswith("I"):
        return np.asarray(np.asarray(image).astype(np.uint32) >> 8, np.uint8)
    if image.has_transparency_data:
        sheet = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(sheet, image.convert("RGBA"))
    return np.asarray(image.convert("L"), np.uint8)


def _ink(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Where there is ink: the rarer side of Otsu's threshold, whether writing is dark or light."""
    if grey.min() == grey.max():
        return np.zeros(grey.shape, np.bool_)
    threshold, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    dark = np.asarray(grey <= threshold)
    return ~dark if dark.mean() > 0.5 else dark
