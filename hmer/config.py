"""Settings: frozen dataclasses that check themselves when built and travel with the weights.

An unknown key is an error that names the known ones, so that a typo in a YAML file cannot pass silently.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from hmer.errors import ConfigError

ConfigT = TypeVar("ConfigT")


def from_dict(config_class: type[ConfigT], values: Mapping[str, Any], where: str = "") -> ConfigT:
    """Build a configuration from plain data (JSON, YAML), nested dataclasses included.

    Raises ConfigError on an unknown key, naming the known ones, and on values that the class refuses.
    """
    where = where or config_class.__name__
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: expected settings by name, got {type(values).__name__}.")
    hints = typing.get_type_hints(config_class)
    known = {item.name: hints[item.name] for item in dataclasses.fields(config_class)}  # type: ignore[arg-type]
    unknown = sorted(str(key) for key in set(values) - set(known))
    if unknown:
        raise ConfigError(f"{where}: unknown setting {', '.join(unknown)}; known are {', '.join(sorted(known))}.")
    try:
        return config_class(**{key: _convert(known[key], value, f"{where}.{key}") for key, value in values.items()})
    except TypeError as error:
        raise ConfigError(f"{where}: {error}.") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` in the type of the field: a dataclass from a mapping, a tuple from a list; scalars are checked."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else from_dict(hint, value, where)
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        return _convert(next(option for option in options if option is not type(None)), value, where)
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where}: expected a list, got {value!r}.")
        inner = typing.get_args(hint)[0]
        return tuple(_convert(inner, item, where) for item in value)
    if origin is Literal:
        if value not in typing.get_args(hint):
            raise ConfigError(f"{where}: {value!r} is not one of {', '.join(map(str, typing.get_args(hint)))}.")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (int, float, str, bool) and type(value) is not hint:
        raise ConfigError(f"{where}: expected {hint.__name__}, got {value!r}.")
    return value


def to_dict(config: Any) -> dict[str, Any]:
    """The settings as plain data; `from_dict` gives the same configuration back."""
    plain = dataclasses.asdict(config)
    return typing.cast(dict[str, Any], _plain(plain))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def check(condition: bool, message: str) -> None:
    """Raise ConfigError with `message` unless the condition holds."""
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True)
class ImageConfig:
    """How a picture becomes what a model sees; part of every checkpoint.

    `writing_px` is the size that the usual symbol is scaled to. `version` changes when `hmer.image` would
    give other pixels for the same settings.
    """

    version: int = 1
    writing_px: float = 14.0
    margin_px: int = 6
    multiple_px: int = 8
    max_area_px: int = 120_000
    max_side_px: int = 4_000

    def __post_init__(self) -> None:
        check(self.version == 1, f"ImageConfig.version: {self.version} is not known to this hmer; update hmer.")
        check(4 <= self.writing_px <= 200, f"ImageConfig.writing_px: {self.writing_px} is outside 4 to 200 px.")
        check(0 <= self.margin_px <= 64, f"ImageConfig.margin_px: {self.margin_px} is outside 0 to 64 px.")
        check(self.multiple_px in (1, 2, 4, 8, 16, 32), "ImageConfig.multiple_px: must be a power of two up to 32.")
        check(4_096 <= self.max_area_px <= 16_000_000, "ImageConfig.max_area_px: outside 4,096 to 16,000,000.")
        check(64 <= self.max_side_px <= 16_000, "ImageConfig.max_side_px: outside 64 to 16,000.")


@dataclass(frozen=True)
class ModelConfig:
    """Architecture by name (see `hmer.models.MODELS`) and its sizes; a field that it does not use is ignored."""

    architecture: str = "transformer"
    # Encoder: channels at stride 4 and 8, and residual blocks at each.
    encoder_channels: tuple[int, ...] = (64, 128)
    encoder_blocks: tuple[int, ...] = (2, 6)
    # Decoder.
    decoder_width: int = 256
    decoder_layers: int = 3
    decoder_heads: int = 8
    decoder_feedforward: int = 1024
    attention_width: int = 128
    coverage: bool = True
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check(
            len(self.encoder_channels) == len(self.encoder_blocks) == 2,
            "ModelConfig: encoder_channels and encoder_blocks have 2 entries, for strides 4 and 8.",
        )
        sizes = (
            *self.encoder_channels,
            self.decoder_width,
            self.decoder_layers,
            self.decoder_heads,
            self.decoder_feedforward,
            self.attention_width,
        )
        check(all(0 < size <= 8_192 for size in sizes), "ModelConfig: sizes must be from 1 to 8192.")
        check(self.decoder_layers <= 64, "ModelConfig.decoder_layers: from 1 to 64.")
        check(
            all(0 <= blocks <= 64 for blocks in self.encoder_blocks), "ModelConfig.encoder_blocks: from 0 to 64 each."
        )
        check(
            self.decoder_width % self.decoder_heads == 0,
            "ModelConfig.decoder_width: must be a multiple of decoder_heads.",
        )
        check(
            self.decoder_width % 4 == 0,
            "ModelConfig.decoder_width: must be a multiple of 4 (sine and cosine of row and column).",
        )
        check(0.0 <= self.dropout < 1.0, "ModelConfig.dropout: from 0 to below 1.")


@dataclass(frozen=True)
class Decoding:
    """How an answer is searched for; the app's controls, the scripts' flags and the API's parameters.

    `symbols` restricts the answer: "all", a named set ("crohme"), or tokens separated by spaces.
    `seed` None draws anew each time (strategy sample).
    """

    strategy: Literal["greedy", "beam", "sample"] = "greedy"
    beam_width: int = 5
    length_penalty: float = 1.0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    max_length: int = 200
    symbols: str = "all"
    grammar: bool = False

    def __post_init__(self) -> None:
        check(
            self.strategy in ("greedy", "beam", "sample"),
            f"Decoding.strategy: {self.strategy!r} is not one of greedy, beam, sample.",
        )
        check(1 <= self.beam_width <= 100, f"Decoding.beam_width: {self.beam_width} is outside 1 to 100.")
        check(0.0 <= self.length_penalty <= 5.0, f"Decoding.length_penalty: {self.length_penalty} is outside 0 to 5.")
        check(
            0.0 < self.temperature <= 100.0,
            f"Decoding.temperature: {self.temperature} must be above 0 and at most 100.",
        )
        check(0 <= self.top_k <= 100_000, f"Decoding.top_k: {self.top_k} is outside 0 (off) to 100,000.")
        check(0.0 < self.top_p <= 1.0, f"Decoding.top_p: {self.top_p} must be above 0 and at most 1.")
        check(1 <= self.max_length <= 1_000, f"Decoding.max_length: {self.max_length} is outside 1 to 1,000.")


@dataclass(frozen=True)
class AugmentConfig:
    """Training-only distortions; all off at strength 0."""

    strokes: float = 1.0
    pixels: float = 1.0
    scale: float = 0.25  # writing size varies by up to this factor, in logarithm
    recombine: float = 0.0  # share of samples made from parts and symbols of segmented ink; see hmer.datasets.recombine

    def __post_init__(self) -> None:
        check(min(self.strokes, self.pixels, self.scale) >= 0, "AugmentConfig: strengths are not negative.")
        check(0 <= self.recombine <= 1, "AugmentConfig.recombine: from 0 to 1.")


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Rates are per optimiser step; hours, where set, win over steps."""

    train: tuple[str, ...] = ()
    validation: str = ""
    train_weights: tuple[float, ...] = ()  # share of each folder in the samples; empty: by size
    every_folder: bool = False  # a step adds the losses of one batch of each folder, instead of batches that mix them
    out: str = "runs/run"
    initial: str = ""  # checkpoint reference to start from; empty: from nothing
    label_form: str = "crohme"
    seed: int = 0
    hours: float = 0.0
    steps: int = 1_000
    batch_size: int = 32
    learning_rate: float = 1e-3
    schedule: Literal["wsd", "cosine", "constant"] = "wsd"
    warmup_steps: int = 500
    decay_share: float = 0.2  # last share of the run, in which the rate falls to nothing
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    label_smoothing: float = 0.1
    average_decay: float = 0.999  # exponential moving average of the weights
    symbol_loss: float = 0.5  # classification of the symbol in each cell, where ink is segmented
    attention_loss: float = 0.3  # attention mass on the cells of the token's symbol, where known
    bidirectional: bool = True
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "no"  # auto: bf16 where this machine is faster with it
    freeze_statistics: bool = False  # batch normalisation keeps its running statistics (fine-tuning)
    threads: int = 0  # 0: as torch chooses
    workers: int = 1
    pool_batches: int = 96  # batches are cut from so many at a time, sorted by size: less padding, few shapes
    save_minutes: float = 5.0
    evaluate_minutes: float = 15.0
    evaluate_limit: int = 300
    evaluate_ignore: tuple[str, ...] = ()  # tokens that validation labels lack
    log_steps: int = 50
    image: ImageConfig = field(default_factory=ImageConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        check(self.steps > 0 and self.hours >= 0, "TrainConfig: steps must be above 0, hours not negative.")
        check(self.batch_size > 0, "TrainConfig.batch_size: must be above 0.")
        check(0 < self.learning_rate < 1, "TrainConfig.learning_rate: must be between 0 and 1.")
        check(0 <= self.decay_share <= 1, "TrainConfig.decay_share: from 0 to 1.")
        check(0 <= self.label_smoothing < 1, "TrainConfig.label_smoothing: from 0 to below 1.")
        check(0 <= self.average_decay < 1, "TrainConfig.average_decay: from 0 (off) to below 1.")
