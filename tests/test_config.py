"""Settings check themselves, and plain data becomes settings or an error that names the key."""

import dataclasses
import json
from typing import Any

import pytest

from hmer.config import AugmentConfig, Decoding, ImageConfig, ModelConfig, TrainConfig, from_dict, to_dict
from hmer.errors import ConfigError

TRAIN = TrainConfig(
    train=("a", "b"), train_weights=(1.0, 2.5), hours=1.5, schedule="cosine", evaluate_ignore=("\\limits",),
    image=ImageConfig(writing_px=20.0), model=ModelConfig(encoder_channels=(8, 16)), augment=AugmentConfig(pixels=0.0),
)  # fmt: skip


@pytest.mark.parametrize("config", [TRAIN, Decoding(seed=3), Decoding(), ModelConfig(), ImageConfig(), AugmentConfig()])
def test_round_trip_through_json(config: Any) -> None:
    plain = json.loads(json.dumps(to_dict(config)))
    assert from_dict(type(config), plain) == config


def test_from_part_of_the_settings() -> None:
    config = from_dict(
        TrainConfig, {"steps": 7, "hours": 1, "model": {"dropout": 0}, "augment": AugmentConfig(strokes=2)}
    )
    expected = TrainConfig(steps=7, hours=1.0, model=ModelConfig(dropout=0.0), augment=AugmentConfig(strokes=2))
    assert config == expected
    assert isinstance(config.hours, float)
    assert from_dict(Decoding, {"seed": None}).seed is None


BAD_VALUES: list[tuple[type, Any, str]] = [
    (Decoding, {"beams": 3}, r"Decoding: unknown setting beams; known are beam_width, grammar, .*top_p"),
    (Decoding, {"b": 1, "a": 2, 3: 4}, "unknown setting 3, a, b"),
    (TrainConfig, {"model": {"layers": 3}}, "TrainConfig.model: unknown setting layers; known are architecture"),
    (TrainConfig, {"model": 3}, "TrainConfig.model: expected settings by name, got int"),
    (TrainConfig, [], "TrainConfig: expected settings by name, got list"),
    (Decoding, {"beam_width": "5"}, "Decoding.beam_width: expected int, got '5'"),
    (Decoding, {"beam_width": 5.0}, "Decoding.beam_width: expected int, got 5.0"),
    (Decoding, {"beam_width": True}, "Decoding.beam_width: expected int, got True"),
    (Decoding, {"temperature": "hot"}, "Decoding.temperature: expected float"),
    (Decoding, {"temperature": False}, "Decoding.temperature: expected float"),
    (Decoding, {"grammar": 1}, "Decoding.grammar: expected bool"),
    (Decoding, {"seed": "x"}, "Decoding.seed: expected int"),
    (Decoding, {"strategy": "best"}, "Decoding.strategy: 'best' is not one of greedy, beam, sample"),
    (TrainConfig, {"train": "folder"}, r"TrainConfig.train: expected a list, got 'folder'"),
    (TrainConfig, {"train": ["a", 3]}, "TrainConfig.train: expected str, got 3"),
    (TrainConfig, {"train": None}, "TrainConfig.train: expected a list, got None"),
    (ModelConfig, {"encoder_channels": [8, 16, 32]}, "have 2 entries"),
    (ModelConfig, {"decoder_width": 30, "decoder_heads": 8}, "multiple of decoder_heads"),
    (ModelConfig, {"decoder_width": 6, "decoder_heads": 2}, "multiple of 4"),
    (ModelConfig, {"decoder_layers": 65}, "from 1 to 64"),
    (ModelConfig, {"decoder_width": 0}, "from 1 to 8192"),
    (ModelConfig, {"encoder_blocks": [1, -1]}, "from 0 to 64"),
    (ModelConfig, {"dropout": 1.0}, "ModelConfig.dropout"),
    (ModelConfig, {"dropout": float("nan")}, "ModelConfig.dropout"),
    (ImageConfig, {"version": 2}, "update hmer"),
    (ImageConfig, {"multiple_px": 3}, "power of two"),
    (ImageConfig, {"writing_px": 1.0}, "outside 4 to 200"),
    (AugmentConfig, {"pixels": -0.5}, "not negative"),
    (TrainConfig, {"steps": 0}, "steps must be above 0"),
    (TrainConfig, {"learning_rate": 0}, "learning_rate"),
    (TrainConfig, {"schedule": "linear"}, "not one of wsd, cosine, constant"),
    (TrainConfig, {"average_decay": 1.0}, "average_decay"),
]


@pytest.mark.parametrize(
    ("config_class", "values", "message"), BAD_VALUES, ids=[message[:50] for _, _, message in BAD_VALUES]
)
def test_bad_values_are_refused_by_name(config_class: type, values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(config_class, values)


DECODING = [
    ("strategy", ["greedy", "beam", "sample"], ["", "BEAM"]),
    ("beam_width", [1, 100], [0, 101]),
    ("length_penalty", [0.0, 5.0], [-0.1, 5.1]),
    ("temperature", [0.001, 100.0], [0.0, -1.0, 101.0]),
    ("top_k", [0, 100_000], [-1, 100_001]),
    ("top_p", [0.001, 1.0], [0.0, 1.1]),
    ("max_length", [1, 1000], [0, 1001]),
]


@pytest.mark.parametrize(("name", "good", "bad"), DECODING)
def test_the_bounds_of_decoding(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert getattr(Decoding(**{name: value}), name) == value
    for value in bad:
        with pytest.raises(ConfigError, match=f"Decoding.{name}"):
            Decoding(**{name: value})


def test_a_missing_setting_is_named() -> None:
    @dataclasses.dataclass(frozen=True)
    class Needy:
        name: str

    with pytest.raises(ConfigError, match="Needy: .*missing.*name"):
        from_dict(Needy, {})


def test_settings_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TRAIN.steps = 3  # type: ignore[misc]
