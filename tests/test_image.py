"""Anything a person can hand over gives the same picture, or a sentence that says why not."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from hmer.conditions import CONDITIONS
from hmer.config import ImageConfig
from hmer.errors import BadImage
from hmer.image import ink_mask, pad, pen_width, prepare, read_image
from hmer.ink import Ink, rasterize

CONFIG = ImageConfig()
Array = np.ndarray[Any, Any]


def _formula() -> Ink:
    """x + 2 over 3, as strokes."""
    strokes = [
        [(0, 0), (12, 15), (28, 36)],
        [(27, 0), (14, 17), (0, 35)],
        [(45, 20), (75, 20)],
        [(60, 5), (60, 35)],
        [(90, 8), (100, 0), (110, 8), (104, 20), (90, 36), (114, 36)],
        [(-6, 52), (122, 54)],
        [(48, 66), (62, 64), (66, 74), (56, 80), (68, 88), (62, 100), (46, 98)],
    ]
    return Ink(tuple(np.array(stroke, np.float32) * 1.2 for stroke in strokes))


INK = _formula()
PLAIN = cv2.copyMakeBorder(rasterize(INK.strokes, thickness_px=3.0), 20, 25, 30, 35, cv2.BORDER_CONSTANT, value=255.0)
COLOUR = np.repeat(PLAIN[:, :, None], 3, axis=2)


def _difference(picture: Array, other: Array) -> float:
    """Mean distance of two prepared pictures in levels, blurred by a stroke's width."""
    if picture.shape != other.shape:
        picture = cv2.resize(picture, other.shape[::-1], interpolation=cv2.INTER_AREA)
    blurred = [cv2.GaussianBlur(part.astype(np.float32), (0, 0), 1.5) for part in (picture, other)]
    return float(np.abs(blurred[0] - blurred[1]).mean())


def _assert_like_plain(source: Any, most: float = 3.0) -> None:
    expected = prepare(read_image(PLAIN), CONFIG).pixels
    prepared = prepare(read_image(source), CONFIG).pixels
    for side, wanted in zip(prepared.shape, expected.shape, strict=True):
        assert abs(side - wanted) <= max(8, 0.06 * wanted)
    assert _difference(prepared, expected) < most


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _with_alpha(ink: int, paper: int, opaque: bool) -> Array:
    """The formula in grey `ink`, its shape in the alpha channel unless `opaque`."""
    share = (255 - PLAIN.astype(np.float32)) / 255
    grey = np.round(paper + (ink - paper) * share).astype(np.uint8)
    alpha = np.full_like(PLAIN, 255) if opaque else 255 - PLAIN
    colour = grey if opaque else np.full_like(PLAIN, ink)
    return np.dstack([colour, colour, colour, alpha])


def test_a_clean_picture_comes_back_as_it_was() -> None:
    assert np.array_equal(read_image(PLAIN), PLAIN)
    assert np.array_equal(read_image(COLOUR), PLAIN)
    assert np.array_equal(read_image(255 - PLAIN), PLAIN)


# ---- what holds the picture


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "WEBP", "JPEG"])
def test_every_format_as_bytes_path_and_stream(kind: str, tmp_path: Path) -> None:
    data = _encoded(Image.fromarray(PLAIN), kind, **({"lossless": True} if kind == "WEBP" else {}))
    path = tmp_path / f"formula.{kind.lower()}"
    path.write_bytes(data)
    first = read_image(data)
    assert _difference(first, PLAIN) < 1.5
    for source in (path, str(path), bytearray(data), io.BytesIO(data), Image.open(path)):
        assert np.array_equal(read_image(source), first)
    with path.open("rb") as stream:
        assert np.array_equal(read_image(stream), first)


MODES = ["1", "L", "P", "LA", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F"]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode(mode: str) -> None:
    image = Image.fromarray(COLOUR)
    if mode in ("LA", "I", "F"):
        image = image.convert("L")
    elif mode == "PA":
        image = image.convert("P")
    elif mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        _assert_like_plain(ImageCms.profileToProfile(image, *profiles, outputMode="LAB"))
        return
    _assert_like_plain(image.convert(mode))


@pytest.mark.parametrize("mode", ["CMYK", "L", "RGB"])
def test_jpeg_modes(mode: str) -> None:
    _assert_like_plain(_encoded(Image.fromarray(COLOUR).convert(mode), "JPEG", quality=95))


ARRAYS: dict[str, Array] = {
    "one channel": PLAIN[:, :, None],
    "bool": PLAIN > 127,
    "uint16": PLAIN.astype(np.uint16) * 257,
    "uint16 colour": COLOUR.astype(np.uint16) * 257,
    "float to 1": PLAIN.astype(np.float64) / 255,
    "float to 255": PLAIN.astype(np.float32),
    "int64": PLAIN.astype(np.int64),
    "grey and alpha": np.dstack([PLAIN, np.full_like(PLAIN, 255)]),
    "not contiguous": COLOUR[:, :, ::-1],
    "big-endian": (PLAIN.astype(np.uint16) * 257).astype(">u2"),
    "read-only": np.broadcast_to(PLAIN, PLAIN.shape),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_every_kind_of_array(name: str) -> None:
    _assert_like_plain(ARRAYS[name])


def test_16_bit_file() -> None:
    _assert_like_plain(_encoded(Image.fromarray(PLAIN.astype(np.uint16) * 257), "PNG"))


@pytest.mark.parametrize("ink", [0, 128, 200, 255])
def test_ink_on_transparent_paper(ink: int) -> None:
    drawn = _with_alpha(ink, 0, opaque=False)
    _assert_like_plain(drawn)
    _assert_like_plain(_encoded(Image.fromarray(drawn), "PNG"))


def test_coloured_ink_on_transparent_paper() -> None:
    drawn = _with_alpha(0, 0, opaque=False)
    drawn[:, :, :3] = (255, 255, 0)
    _assert_like_plain(drawn)


@pytest.mark.parametrize("ink", [0, 255])
def test_palette_with_transparency(ink: int) -> None:
    image = Image.fromarray((PLAIN < 128).astype(np.uint8), mode=None)
    image.putpalette([90, 90, 90, ink, ink, ink])
    _assert_like_plain(_encoded(image, "PNG", transparency=0))
    _assert_like_plain(_encoded(image, "GIF", transparency=0))


def test_opaque_page_in_transparent_surroundings() -> None:
    page = _with_alpha(0, 255, opaque=True)
    _assert_like_plain(cv2.copyMakeBorder(page, 40, 40, 40, 40, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0)))


@pytest.mark.parametrize(("orientation", "stored"), [(3, 2), (6, 1), (8, 3)])
def test_exif_rotation(orientation: int, stored: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    _assert_like_plain(_encoded(Image.fromarray(np.rot90(PLAIN, stored)), "JPEG", exif=exif, quality=95))


def test_first_frame_of_an_animation() -> None:
    other = Image.fromarray(np.full_like(PLAIN, 255))
    for kind in ("GIF", "WEBP", "TIFF", "PNG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = _encoded(Image.fromarray(PLAIN), kind, save_all=True, append_images=[other], **options)
        _assert_like_plain(data)


def test_the_sketchpad() -> None:
    composite = _with_alpha(0, 255, opaque=True)
    junk = np.zeros_like(composite)
    _assert_like_plain({"background": junk, "layers": [junk], "composite": composite})
    _assert_like_plain({"background": None, "layers": [], "composite": Image.fromarray(composite)})
    with pytest.raises(BadImage, match="Nothing was drawn"):
        read_image({"background": None, "layers": [], "composite": None})


# ---- what the picture looks like


@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        ((255, 255, 255), (0, 0, 0)),
        ((212, 212, 212), (30, 30, 30)),
        ((244, 71, 71), (30, 30, 30)),
        ((240, 220, 90), (40, 70, 55)),
        ((255, 255, 0), (255, 255, 255)),
        ((230, 30, 30), (255, 255, 255)),
        ((173, 216, 230), (255, 255, 255)),
        ((190, 190, 190), (255, 255, 255)),
        ((230, 90, 90), (90, 160, 90)),
        ((30, 30, 140), (250, 240, 200)),
    ],
)
def test_any_ink_on_any_paper(ink: tuple[int, ...], paper: tuple[int, ...]) -> None:
    share = (255 - COLOUR.astype(np.float32)) / 255
    picture = np.round(np.array(paper) + (np.array(ink) - np.array(paper)) * share).astype(np.uint8)
    grey = read_image(picture)
    assert grey[0, 0] == 255
    assert grey.min() < 10
    _assert_like_plain(picture)
    _assert_like_plain(_photographed(picture, noise=3.0, falloff=0.15), most=8.0)


@pytest.mark.parametrize("thickness_px", [3.0, 9.0, 12.0])
def test_a_tight_crop_keeps_its_polarity(thickness_px: float) -> None:
    drawn = rasterize(INK.strokes, thickness_px=thickness_px, margin_px=0)
    rows, columns = np.nonzero(drawn < 128)
    tight = drawn[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert np.array_equal(read_image(tight), tight)


@pytest.mark.parametrize("ink", [0, 255])
def test_flat_bars_at_the_sides_are_no_ink(ink: int) -> None:
    page = np.pad(PLAIN, ((60, 60), (200, 200)), constant_values=255)
    if ink:
        page = 255 - page
    header, letterbox, frame, all_but_one = (page.copy() for _ in range(4))
    header[:60] = 20 + ink // 2
    letterbox[:, :90] = letterbox[:, -90:] = ink
    frame[:20] = frame[-20:] = frame[:, :20] = frame[:, -20:] = ink
    all_but_one[:, :150] = ink
    for picture in (header, letterbox, frame, all_but_one):
        _assert_like_plain(picture, most=0.1)


def test_a_bar_that_was_written_stays() -> None:
    """Overlined from edge to edge of a tight crop."""
    drawn = PLAIN[15:-20, 25:-30].copy()
    drawn[:6] = 0
    assert prepare(read_image(drawn), CONFIG).pixels[CONFIG.margin_px : CONFIG.margin_px + 3].mean() < 128


@pytest.mark.parametrize("tone", [(235, 235, 235), (245, 245, 245), (205, 225, 255)])
def test_a_second_tone_of_a_screen_is_paper(tone: tuple[int, ...]) -> None:
    page = np.pad(COLOUR, ((200, 200), (200, 200), (0, 0)), constant_values=255)
    page[:90] = tone
    _assert_like_plain(page, most=0.5)  # the palest edge of the ink goes with the tone


def test_a_dimmed_part_is_not_cut_off() -> None:
    half = PLAIN.shape[1] // 3
    dimmed = PLAIN.copy()
    dimmed[:, :half] = 255 - (255 - PLAIN[:, :half]) // 255 * 90
    assert prepare(read_image(dimmed), CONFIG).pixels.shape == prepare(read_image(PLAIN), CONFIG).pixels.shape


def _photographed(picture: Array, noise: float, falloff: float, shadow: float = 0.0) -> Array:
    height, width = picture.shape[:2]
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    light = 1 - falloff * (x**2 + y**2) / 2 - falloff * (x + 1) / 2
    light *= 1 - shadow / (1 + np.exp(-(x + 0.4 * y) / 0.1))
    random = np.random.default_rng(0)
    lit = picture * (light if picture.ndim == 2 else light[:, :, None])
    return np.clip(lit + random.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(("noise", "falloff", "shadow"), [(0, 0.4, 0), (4, 0.2, 0.4), (8, 0.1, 0), (0, 0, 0.5)])
def test_shadow_and_noise_go(colour: bool, noise: float, falloff: float, shadow: float) -> None:
    picture = _photographed(COLOUR if colour else PLAIN, noise, falloff, shadow)
    grey = read_image(picture)
    assert np.median(grey) == 255
    away = cv2.dilate((PLAIN < 200).astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    assert (grey[away] < 255).mean() < 0.001
    _assert_like_plain(picture, most=5.0)


def test_jpeg_at_quality_30() -> None:
    _assert_like_plain(_encoded(Image.fromarray(PLAIN), "JPEG", quality=30))
    _assert_like_plain(_encoded(Image.fromarray(COLOUR), "JPEG", quality=30))


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_zoom(factor: float) -> None:
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    _assert_like_plain(cv2.resize(PLAIN, None, fx=factor, fy=factor, interpolation=method), most=12.0)


@pytest.mark.parametrize("darkness", [30, 80, 200])
@pytest.mark.parametrize("squared", [False, True])
def test_paper_lines_go_and_fraction_bars_stay(darkness: int, squared: bool) -> None:
    page = np.full_like(PLAIN, 255)
    page[7::24] = 255 - darkness
    if squared:
        page[:, 5::24] = 255 - darkness
    grey = read_image(np.minimum(page, PLAIN))
    wrong = np.abs(grey.astype(int) - PLAIN) > 100
    assert wrong.mean() < 0.01
    away = cv2.dilate((PLAIN < 200).astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
    assert (grey[away] < 255).mean() < 0.001


@pytest.mark.parametrize("bars", [1, 2, 3])
def test_bars_from_edge_to_edge_stay(bars: int) -> None:
    picture = np.full((90, 300), 255, np.uint8)
    for row in range(20, 20 + 25 * bars, 25):
        picture[row : row + 3] = 0
    assert np.array_equal(read_image(picture), picture)
    if bars < 3:  # a fraction in its tight crop
        cv2.circle(picture, (150, 75), 8, 0, 2)
        assert np.array_equal(read_image(picture), picture)


def test_huge_photographs_are_reduced() -> None:
    large = cv2.resize(PLAIN, (4000, 3000), interpolation=cv2.INTER_CUBIC)
    from_array = read_image(large)
    from_jpeg = read_image(_encoded(Image.fromarray(large), "JPEG"))
    assert from_array.size <= 2_510_000
    assert from_jpeg.size <= 2_510_000
    assert from_array.shape == from_jpeg.shape


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_give_pictures_that_can_be_read(name: str) -> None:
    picture = CONDITIONS[name](INK, np.random.default_rng(3))
    assert picture.dtype == np.uint8
    assert picture.ndim == 2 or picture.shape[2] == 3
    again = CONDITIONS[name](INK, np.random.default_rng(3))
    assert np.array_equal(picture, again)
    plain = prepare(read_image(CONDITIONS["plain"](INK, np.random.default_rng(3))), CONFIG).pixels
    prepared = prepare(read_image(picture), CONFIG).pixels
    assert 0.75 < (prepared.size / plain.size) ** 0.5 < 1.35
    assert read_image(picture).min() < 60


# ---- what is refused

PNG = _encoded(Image.fromarray(PLAIN), "PNG")
JPEG = _encoded(Image.fromarray(PLAIN), "JPEG")


def _declaring(width: int, height: int) -> bytes:
    """A PNG whose header declares a size that its data does not have."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return PNG[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + PNG[33:]


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "none": (lambda: None, "No picture was given"),
    "number": (lambda: 7, "cannot be read from int"),
    "blank white": (lambda: np.full((80, 200), 255, np.uint8), "blank"),
    "blank black": (lambda: np.zeros((80, 200, 3), np.uint8), "blank"),
    "blank noise": (lambda: np.random.default_rng(0).normal(200, 3, (80, 200)).astype(np.uint8), "blank"),
    "transparent": (lambda: np.zeros((80, 200, 4), np.uint8), "blank"),
    "two pixels": (lambda: np.array([[0, 255]], np.uint8), "only 2 x 1 pixels"),
    "no pixels": (lambda: np.zeros((0, 5), np.uint8), "only 5 x 0 pixels"),
    "20,000 wide": (lambda: np.full((50, 20_000), 255, np.uint8), "20000 x 50 pixels, more than can be read"),
    "20,000 wide file": (lambda: _encoded(Image.new("L", (20_000, 50)), "PNG"), "more than can be read"),
    "bomb": (lambda: _declaring(60_000, 60_000), "more than can be read"),
    "half a bomb": (lambda: _declaring(12_000, 9_000), "more than can be read"),
    "wrong shape": (lambda: np.zeros((2, 80, 200, 3), np.uint8), "is no picture"),
    "complex": (lambda: np.zeros((80, 200), np.complex64), "complex64 is no picture"),
    "negative": (lambda: np.linspace(-1, 1, 8000).reshape(80, 100), "below zero or not finite"),
    "not a number": (lambda: np.full((80, 100), np.nan), "below zero or not finite"),
    "empty": (lambda: b"", "empty"),
    "truncated png": (lambda: PNG[: len(PNG) // 2], "damaged"),
    "truncated jpeg": (lambda: JPEG[: len(JPEG) // 2], "damaged"),
    "text": (lambda: b"x^2 + 1", "not a picture in a known format"),
    "text stream": (lambda: io.StringIO("x"), "binary mode"),
    "svg": (lambda: b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG.*PNG"),
    "inkml": (lambda: b"<ink xmlns='http://www.w3.org/2003/InkML'></ink>", "InkML"),
    "pdf": (lambda: b"%PDF-1.7 ...", "PDF.*screenshot"),
    "heic": (lambda: b"\0\0\0\x18ftypheic" + bytes(80), "HEIC.*JPEG"),
    "other format": (lambda: _encoded(Image.fromarray(PLAIN), "PPM"), "not a picture in a known format"),
    "postscript": (lambda: _encoded(Image.fromarray(COLOUR), "EPS"), "PostScript"),
    "missing": (lambda: "no/such/file.png", "file.png: no such file"),
    "no name": (lambda: "a\0b.png", "no such file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_sentence(name: str) -> None:
    make, message = REFUSED[name]
    source = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(BadImage, match=message) as caught:
            read_image(source)
    assert str(caught.value)[-1] == "."


def test_a_folder_and_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(BadImage, match="not an ordinary file"):
        read_image("/dev/null")
    broken = tmp_path / "broken.png"
    broken.write_bytes(PNG[:60])
    with pytest.raises(BadImage, match=r"broken\.png: is damaged"):
        read_image(broken)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_damaged_files_never_raise_anything_else(kind: str) -> None:
    data = _encoded(Image.fromarray(COLOUR).resize((60, 40)), kind)
    random = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(data)
        for place in random.integers(0, min(len(data), 400), 6):
            damaged[place] = int(random.integers(256))
        if random.random() < 0.3:
            damaged = damaged[: int(random.integers(len(damaged)))]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                grey = read_image(bytes(damaged))
            except BadImage:
                continue
        assert grey.ndim == 2


# ---- prepare and pad


def test_prepare_crops_and_rounds_up() -> None:
    prepared = prepare(PLAIN, CONFIG)
    height, width = prepared.pixels.shape
    assert height % CONFIG.multiple_px == 0
    assert width % CONFIG.multiple_px == 0
    inked = prepared.pixels < 128
    margin = CONFIG.margin_px
    assert not inked[:margin].any()
    assert not inked[:, :margin].any()
    assert inked[margin : margin + 4].any()
    assert inked[:, margin : margin + 4].any()
    larger = cv2.copyMakeBorder(PLAIN, 200, 3, 17, 400, cv2.BORDER_CONSTANT, value=255.0)
    assert np.array_equal(prepare(larger, CONFIG).pixels, prepared.pixels)


def test_prepare_tells_where_the_ink_is() -> None:
    prepared = prepare(PLAIN, CONFIG)
    rows, columns = np.nonzero(PLAIN < 128)
    x = (columns.max() - prepared.left) * prepared.scale
    y = (rows.max() - prepared.top) * prepared.scale
    inked_rows, inked_columns = np.nonzero(prepared.pixels < 128)
    assert abs(x - inked_columns.max()) < 2
    assert abs(y - inked_rows.max()) < 2


def test_prepare_refuses_what_holds_no_formula() -> None:
    with pytest.raises(BadImage, match="blank"):
        prepare(np.full((50, 90), 255, np.uint8), CONFIG)
    page = np.tile(PLAIN, (24, 24))
    with pytest.raises(BadImage, match="cut the picture"):
        prepare(page, CONFIG)


def test_writing_that_a_thick_pen_has_joined_is_no_bar() -> None:
    pen = 22
    drawn = np.full((130, 520), 255, np.uint8)
    for x in range(40, 480, 60):
        cv2.line(drawn, (x, 30), (x + 60, 100), 0, pen)
        cv2.line(drawn, (x, 100), (x + 60, 30), 0, pen)
    assert prepare(drawn, CONFIG).pixels.shape[1] > 4 * CONFIG.writing_px


def test_pad() -> None:
    small, large = np.full((8, 16), 255, np.uint8), np.full((16, 8), 0, np.uint8)
    small[2, 3] = 0
    images, sizes = pad([small, large])
    assert images.shape == (2, 1, 16, 16)
    assert images.dtype == torch.float32
    assert sizes.tolist() == [[8, 16], [16, 8]]
    assert images[0].sum() == 1
    assert images[0, 0, 2, 3] == 1
    assert images[1].sum() == 16 * 8
    assert pad([small], height=24, width=40)[0].shape == (1, 1, 24, 40)
    assert pad([small], height=4)[0].shape == (1, 1, 8, 16)


@pytest.mark.parametrize("size_px", [8.0, 5.0, 3.5])
def test_small_print_is_read_as_large_as_any(size_px: float) -> None:
    text = np.full((400, 3200), 255, np.uint8)
    cv2.putText(text, "A B n o E a e R + s", (40, 280), cv2.FONT_HERSHEY_COMPLEX, 6, 0.0, 10)
    whole = prepare(text, CONFIG).scale
    factor = size_px * whole / CONFIG.writing_px
    small = cv2.resize(text, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    assert prepare(np.asarray(small, np.uint8), CONFIG).scale * factor == pytest.approx(whole, rel=0.12)


def test_what_a_marker_has_written_is_read_larger_with_thinner_lines() -> None:
    slim = ImageConfig(slim_markers=True)
    marker = rasterize(INK.strokes, thickness_px=9.0)
    plain, read = prepare(marker, CONFIG), prepare(marker, slim)
    assert read.scale == pytest.approx(plain.scale * 1.33, rel=0.1)
    shares = [pen_width(ink_mask(each.pixels)) / each.scale for each in (plain, read)]
    assert shares[1] < 0.88 * shares[0]


def test_symbols_that_a_marker_made_touch_are_measured_apart() -> None:
    slim = ImageConfig(slim_markers=True)
    scales = []
    for bridge in (4, 0):  # the width of what joins the two rings of a pair
        drawing = np.full((100, 600), 255, np.uint8)
        for left in (60, 240, 420):
            cv2.circle(drawing, (left, 50), 20, 0, 10)
            cv2.circle(drawing, (left + 60, 50), 20, 0, 10)
            if bridge:
                cv2.line(drawing, (left + 20, 50), (left + 40, 50), 0, bridge)
        scales.append([prepare(drawing, config).scale for config in (CONFIG, slim)])
    (touching, seen_apart), (apart, also) = scales
    assert touching < 0.8 * apart
    assert seen_apart == pytest.approx(also, rel=0.1)


def test_a_pen_is_read_the_same_with_slim_markers() -> None:
    for thickness in (1.0, 3.0):
        drawing = rasterize(INK.strokes, thickness_px=thickness)
        assert np.array_equal(prepare(drawing, ImageConfig(slim_markers=True)).pixels, prepare(drawing, CONFIG).pixels)


def test_a_hairline_beside_a_marker_stays() -> None:
    drawing = np.full((120, 300), 255, np.uint8)
    for left in range(20, 220, 50):
        cv2.rectangle(drawing, (left, 30), (left + 36, 90), 0, 9)
    cv2.line(drawing, (250, 20), (250, 100), 0, 1)
    read = prepare(drawing, ImageConfig(slim_markers=True))
    assert read.pixels[:, round((245 - read.left) * read.scale) :].min() < 175, "the hairline is gone"
