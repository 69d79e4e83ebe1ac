"""Distortions are the same for the same seed, nothing without one, and what owns a cell stays on its ink."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from toys import FORMULAS, IMAGE, VOCABULARY, ink_of, picture_of

from hmer.augment import distort_picture, distort_pixels, distort_strokes, draw_ink, jitter, shading, worn
from hmer.config import AugmentConfig
from hmer.datasets.batches import Source, draw_owners, symbol_positions
from hmer.datasets.folder import read_dataset
from hmer.errors import ConfigError
from hmer.image import Grey, ink_mask, prepare, writing_size
from hmer.ink import Ink, Symbol, symbol_size

INK = ink_of(FORMULAS["\\frac { 1 } { x }"])
PICTURE = picture_of(FORMULAS["0 + 0 + 1"])
FULL = AugmentConfig(strokes=1.0, pixels=1.0)

Draw = Callable[[np.random.Generator | None, AugmentConfig], Grey]
DRAWS: dict[str, Draw] = {
    "ink": lambda random, augment: draw_ink(INK, IMAGE, augment, random).pixels,
    "picture": lambda random, augment: distort_picture(PICTURE, IMAGE, augment, random).pixels,
    "print": lambda random, augment: (
        distort_picture(PICTURE, IMAGE, dataclasses.replace(augment, print=augment.strokes), random, PICTURE).pixels
    ),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))
def test_the_same_seed_gives_the_same_picture(draw: Draw) -> None:
    for seed in range(5):
        one, two = (draw(np.random.default_rng(seed), FULL) for _ in range(2))
        assert np.array_equal(one, two)
    drawn = {draw(np.random.default_rng(seed), FULL).tobytes() for seed in range(20)}
    assert len(drawn) == 20


@pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))
def test_without_random_numbers_nothing_is_distorted(draw: Draw) -> None:
    assert np.array_equal(draw(None, FULL), draw(None, AugmentConfig(0, 0, 0)))
    assert np.array_equal(draw(np.random.default_rng(1), AugmentConfig(0, 0, 0)), draw(None, FULL))
    if draw is DRAWS["picture"]:
        assert np.array_equal(draw(None, FULL), prepare(PICTURE, IMAGE).pixels)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))
def test_distorted_pictures_are_readable_ones(draw: Draw) -> None:
    for seed in range(60):
        pixels = draw(np.random.default_rng(seed), FULL)
        assert pixels.dtype == np.uint8
        assert pixels.shape[0] % 8 == pixels.shape[1] % 8 == 0
        assert 0.002 < (pixels < 160).mean() < 0.6  # the finest lines are pale
        assert (pixels > 200).mean() > 0.3


def test_symbols_are_formed_the_more_freely_the_stronger() -> None:
    plain = np.concatenate(distort_strokes(INK, np.random.default_rng(0), 0.0))

    def distance(symbols: tuple[float, float]) -> float:
        made = [np.concatenate(distort_strokes(INK, np.random.default_rng(seed), 1.0, symbols)) for seed in range(30)]
        return float(np.mean([np.abs(points - plain).mean() for points in made]))

    assert distance((0.0, 0.0)) < distance((1.0, 1.0)) < distance((3.4, 3.4))
    with pytest.raises(ConfigError, match=r"AugmentConfig\.symbols"):
        AugmentConfig(symbols=(2.0, 1.0))


def test_what_a_lean_would_make_another_symbol_is_turned_less() -> None:
    strokes = (np.array([(0.5, 0), (0.5, 1)], np.float32), np.array([(0, 0.5), (1, 0.5)], np.float32))

    def lean(label: str) -> float:
        ink = Ink(strokes, (Symbol(label, (0, 1)),))
        made = [distort_strokes(ink, np.random.default_rng(seed), 1.0, (3.4, 3.4))[0] for seed in range(60)]
        ends = np.array([stroke[-1] - stroke[0] for stroke in made])
        return float(np.abs(np.arctan2(ends[:, 0], ends[:, 1])).mean())

    assert lean("+") < 0.65 * lean("t")


def test_strokes_are_scaled_to_symbols_of_one() -> None:
    strokes = distort_strokes(INK, np.random.default_rng(0), 0.0)
    assert [len(stroke) for stroke in strokes] == [len(stroke) for stroke in INK.strokes]
    for stroke, original in zip(strokes, INK.strokes, strict=True):
        assert np.ptp(stroke, axis=0) == pytest.approx(np.ptp(original, axis=0) / symbol_size(INK), abs=1e-4)
    assert np.concatenate(strokes).mean(axis=0) == pytest.approx([0, 0], abs=1e-4)


def test_no_pixels_change_at_strength_nothing() -> None:
    assert distort_pixels(PICTURE, np.random.default_rng(0), 0.0) is PICTURE
    assert any(
        not np.array_equal(distort_pixels(PICTURE, np.random.default_rng(seed), 1.0), PICTURE) for seed in range(10)
    )


@pytest.mark.parametrize("caption", FORMULAS)
def test_owners_land_on_ink(caption: str) -> None:
    """Every owned cell has ink, nearly every inked cell an owner, and each symbol of the caption its cells."""
    ink = ink_of(FORMULAS[caption])
    tokens = caption.split()
    positions = symbol_positions(tokens, ink)
    same = {"\\frac": "-"}
    for symbol, position in zip(ink.symbols, positions, strict=True):
        assert same.get(tokens[position], tokens[position]) == symbol.label
    for seed in (None, *range(8)):
        random = None if seed is None else np.random.default_rng(seed)
        drawn = draw_ink(ink, IMAGE, AugmentConfig(pixels=0.0), random)
        owners = draw_owners(drawn.strokes, ink, positions, drawn.pixels.shape)
        height, width = drawn.pixels.shape
        assert owners.shape == (height // 8, width // 8)
        darkest = drawn.pixels.reshape(height // 8, 8, width // 8, 8).min(axis=(1, 3))
        # A line through the edge of a cell is rounded to one side or the other.
        near = np.pad(darkest, 1, constant_values=255)
        near = np.min([near[y : y + height // 8, x : x + width // 8] for y in range(3) for x in range(3)], axis=0)
        assert (near[owners > 0] < 200).all()
        assert (darkest[owners > 0] < 200).mean() > 0.65
        # The thickest pens fill cells beside the one that the line runs through.
        assert (owners[darkest < 60] > 0).mean() > 0.3
        # Where cells are as large as symbols, a bar may lose all of its cells to what stands above and below it.
        found, expected = set(np.unique(owners)) - {0}, {position + 1 for position in positions}
        assert found <= expected and len(found) >= len(expected) - 1


def test_ink_that_no_symbol_claims_is_unknown() -> None:
    ink = ink_of(FORMULAS["1 + x"])
    part = type(ink)(ink.strokes, ink.symbols[:1])
    drawn = draw_ink(part, IMAGE, FULL, None)
    owners = draw_owners(drawn.strokes, part, symbol_positions(["1", "+", "x"], part), drawn.pixels.shape)
    assert set(np.unique(owners)) == {-1, 0, 1}


# -- jitter --

SQUARE = np.full((48, 96), 255, np.uint8)
SQUARE[16:32, 40:56] = 0
JITTERS = [
    {"rotation_degrees": 15.0}, {"translation": 0.1}, {"scaling": 0.3}, {"cropping": 0.2}, {"brightness": 0.3},
    {"contrast": 0.5}, {"elastic": 0.1},
]  # fmt: skip


@pytest.mark.parametrize("settings", JITTERS, ids=lambda settings: next(iter(settings)))
def test_each_jitter_changes_the_picture_and_keeps_its_size(settings: dict[str, float]) -> None:
    augment = AugmentConfig(**settings)
    made = [jitter(SQUARE, augment, np.random.default_rng(seed)) for seed in range(8)]
    assert all(picture.shape == SQUARE.shape and picture.dtype == np.uint8 for picture in made)
    assert len({picture.tobytes() for picture in made}) > 2  # more contrast than black on white there is not
    again = jitter(SQUARE, augment, np.random.default_rng(3))
    assert np.array_equal(again, made[3])
    assert augment.moves == (next(iter(settings)) not in ("brightness", "contrast"))


def centre(picture: np.ndarray) -> np.ndarray:
    return np.argwhere(picture < 128).mean(axis=0)


def test_jitter_stays_within_its_settings() -> None:
    middle = centre(SQUARE)
    for seed in range(20):
        random = np.random.default_rng(seed)
        moved = centre(jitter(SQUARE, AugmentConfig(translation=0.1), random)) - middle
        assert np.all(np.abs(moved) <= (0.1 * 48 + 0.6, 0.1 * 96 + 0.6))
        turned = jitter(SQUARE, AugmentConfig(rotation_degrees=10), random)
        assert np.abs(centre(turned) - middle).max() < 2
        size = (jitter(SQUARE, AugmentConfig(scaling=0.2), random) < 128).sum() / 256
        assert 0.7**2 < size < 1.3**2
        bent = centre(jitter(SQUARE, AugmentConfig(elastic=0.05), random)) - middle
        assert np.abs(bent).max() <= 0.05 * 48 + 0.6
        light = jitter(SQUARE, AugmentConfig(brightness=0.2), random)
        assert light[20, 45] <= 51 and light[0, 0] >= 204
        flat = jitter(SQUARE, AugmentConfig(contrast=0.5), random)
        assert flat[20, 45] <= 64 and flat[0, 0] >= 191


def test_no_jitter_is_no_change() -> None:
    assert jitter(SQUARE, AugmentConfig(), np.random.default_rng(0)) is SQUARE


def test_where_symbols_stand_is_unknown_after_they_were_moved(toy_data: Path) -> None:
    items = [item for item in read_dataset(toy_data, "crohme") if item.path.suffix == ".inkml"]
    for augment, known in ((AugmentConfig(contrast=0.5), True), (AugmentConfig(translation=0.1), False)):
        source = Source(items, VOCABULARY, IMAGE, augment)
        assert (source.sample(0, np.random.default_rng(0)).owners is not None) == known
        assert source.sample(0, None).owners is not None


def test_worn_print_keeps_its_ink() -> None:
    dark = np.count_nonzero(PICTURE < 128) / PICTURE.size
    for seed in range(60):
        picture = worn(PICTURE, np.random.default_rng(seed), 1.0, PICTURE).pixels
        assert picture.dtype == np.uint8 and min(picture.shape) > 8
        assert 0.2 * dark < np.count_nonzero(picture < 160) / picture.size < 3 * dark


def test_small_print_is_as_small_as_can_be_read() -> None:
    sizes = {}
    for share in (0.0, 1.0):
        drawn = [worn(PICTURE, np.random.default_rng(seed), 1.0, None, share).pixels for seed in range(60)]
        sizes[share] = np.array([writing_size(ink_mask(picture)) for picture in drawn])
    assert np.mean(sizes[1.0] < 8) > np.mean(sizes[0.0] < 8) + 0.2
    assert sizes[1.0].min() > 1.5


def test_clear_print_is_resized_at_most() -> None:
    drawn = [worn(PICTURE, np.random.default_rng(seed), 1.0, PICTURE, 0.5, clear=1.0).pixels for seed in range(60)]
    same_size = [picture for picture in drawn if picture.shape == PICTURE.shape]
    assert 10 < len(same_size) < 40
    assert all(np.array_equal(picture, PICTURE) for picture in same_size)


def test_light_falls_off_within_bounds() -> None:
    light = shading((40, 60), np.random.default_rng(0))
    assert light.shape == (40, 60)
    assert 0.2 < light.min() < 0.9 < light.max() <= 1
