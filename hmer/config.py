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

AUTOMATIC = "automatic"  # in place of a checkpoint reference: see hmer.routing

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

    `writing_px` is the size that the usual symbol is scaled to. `slim_markers`: what a broad pen has written, whose
    symbols touch and whose loops close, is read larger and with thinner lines; not for print, where bold is as broad.
    `version` changes when `hmer.image` would give other pixels for the same settings.
    """

    version: int = 1
    writing_px: float = 14.0
    margin_px: int = 6
    multiple_px: int = 8
    max_area_px: int = 120_000
    max_side_px: int = 4_000
    slim_markers: bool = False

    def __post_init__(self) -> None:
        check(self.version == 1, f"ImageConfig.version: {self.version} is not known to this hmer; update hmer.")
        check(4 <= self.writing_px <= 200, f"ImageConfig.writing_px: {self.writing_px} is outside 4 to 200 px.")
        check(0 <= self.margin_px <= 64, f"ImageConfig.margin_px: {self.margin_px} is outside 0 to 64 px.")
        check(self.multiple_px in (1, 2, 4, 8, 16, 32), "ImageConfig.multiple_px: must be a power of two up to 32.")
        check(4_096 <= self.max_area_px <= 16_000_000, "ImageConfig.max_area_px: outside 4,096 to 16,000,000.")
        check(64 <= self.max_side_px <= 16_000, "ImageConfig.max_side_px: outside 64 to 16,000.")


RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
BACKBONES = {**dict.fromkeys(RESNETS, 4), "vgg16": 5}  # of torchvision, with their number of stages


@dataclass(frozen=True)
class InputConfig:
    """A further transform of the canonical picture, before the encoder (see `hmer.models.encoders.InputTransform`).

    height_px and width_px 0 keep its size; otherwise it is resized to that, stretched, or with `keep_aspect` scaled and
    padded with paper at the right and below. `channels` repeats the grey values; ink 1 on 0 becomes (value - mean) / std.
    """

    height_px: int = 0
    width_px: int = 0
    keep_aspect: bool = False
    channels: int = 1
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        check(
            (self.height_px == 0) == (self.width_px == 0) and min(self.height_px, self.width_px) >= 0,
            "InputConfig: height_px and width_px are both 0 (size kept) or both above 0.",
        )
        check(max(self.height_px, self.width_px) <= 4_000, "InputConfig: at most 4,000 px high and wide.")
        check(self.channels in (1, 3), f"InputConfig.channels: {self.channels} is not 1 or 3.")
        check(0 <= self.mean <= 1 and 0 < self.std <= 10, "InputConfig: mean from 0 to 1, std above 0.")

    @property
    def fixed(self) -> bool:
        """Whether all pictures get one size."""
        return self.height_px > 0


@dataclass(frozen=True)
class LanguageConfig:
    """The language model that has its say on what beam search found, see `hmer.models.language`; width 0: none.

    tokens: it knows the first so many ids of the vocabulary, the special ones counted. weight: how much its
    log-probabilities count beside the recogniser's.
    """

    width: int = 0
    tokens: int = 0
    weight: float = 0.15
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check(0 <= self.width <= 4_096 and self.width % 2 == 0, "LanguageConfig.width: even, from 0 to 4096.")
        check(0 <= self.tokens <= 20_003, "LanguageConfig.tokens: from 0 to 20,003.")
        check(0 <= self.weight <= 10, "LanguageConfig.weight: from 0 to 10.")
        check(0 <= self.dropout < 1, "LanguageConfig.dropout: from 0 to less than 1.")


@dataclass(frozen=True)
class MagnifierConfig:
    """The network that draws small print at twice its size before it is read, see `hmer.models.magnifier`; channels 0: none.

    below_px: the size of the usual symbol, in a picture as it comes, from which on it is read as it is.
    """

    channels: int = 0
    blocks: int = 8
    below_px: float = 4.7

    def __post_init__(self) -> None:
        check(0 <= self.channels <= 1_024, "MagnifierConfig.channels: from 0 to 1024.")
        check(0 <= self.blocks <= 64, "MagnifierConfig.blocks: from 0 to 64.")
        check(0 < self.below_px <= 40, "MagnifierConfig.below_px: above 0, at most 40.")


@dataclass(frozen=True)
class RecallConfig:
    """How much is remembered of what was corrected more than once, see `hmer.models.recall`; keys 0: nothing."""

    keys: int = 0
    rivals: int = 0

    def __post_init__(self) -> None:
        check(
            0 <= self.keys <= 4_096 and 0 <= self.rivals <= 65_536, "RecallConfig: at most 4,096 keys, 65,536 rivals."
        )


@dataclass(frozen=True)
class ModelConfig:
    """Architecture by name (see `hmer.models.MODELS`) and its sizes; a field that it does not use is ignored."""

    architecture: str = "transformer"
    input: InputConfig = field(default_factory=InputConfig)
    # Encoder: "conv", "blocks" (one convolution and pooling for each of encoder_channels) or a torchvision backbone.
    encoder: str = "conv"
    # For "conv": channels at stride 4 and 8, and residual blocks at each.
    encoder_channels: tuple[int, ...] = (64, 128)
    encoder_blocks: tuple[int, ...] = (2, 6)
    backbone_stages: int = 0  # how many stages of a torchvision backbone are used; 0: all
    # CNN-LSTM: where it looks, and, without attention, how the map becomes one embedding.
    attention: Literal["none", "bahdanau", "multiplicative"] = "bahdanau"
    embedding: Literal["flatten", "mean"] = "mean"
    lstm_layers: int = 1
    # CRNN-CTC: width of the bidirectional LSTM in each direction, and slices of the map's height (1: averaged).
    lstm_width: int = 256
    slices: int = 1
    encoder_norm: bool = False  # batch normalisation after the encoder
    # Decoder.
    decoder_width: int = 256
    decoder_layers: int = 3
    decoder_heads: int = 8
    decoder_feedforward: int = 1024
    attention_width: int = 128
    coverage: bool = True
    enclosure: bool = False  # the decoder is told at every step which group is open (transformer)
    bidirectional: bool = True  # reads from right to left, too: in training, and to rescore what beam search finds
    dropout: float = 0.1  # of the encoder's map by channel, and of the decoder
    lstm_dropout: float = 0.0  # between the layers of a recurrent network
    head_dropout: float = 0.0  # before the output layer of CRNN-CTC
    language: LanguageConfig = field(default_factory=LanguageConfig)
    recall: RecallConfig = field(default_factory=RecallConfig)
    magnifier: MagnifierConfig = field(default_factory=MagnifierConfig)

    def __post_init__(self) -> None:
        known = ("conv", "blocks", *BACKBONES)
        check(self.encoder in known, f"ModelConfig.encoder: {self.encoder!r} is not one of {', '.join(known)}.")
        check(
            self.encoder != "conv" or len(self.encoder_channels) == len(self.encoder_blocks) == 2,
            "ModelConfig: encoder_channels and encoder_blocks have 2 entries, for strides 4 and 8.",
        )
        check(1 <= len(self.encoder_channels) <= 6, "ModelConfig.encoder_channels: from 1 to 6 blocks.")
        stages = BACKBONES.get(self.encoder, 0)
        check(
            0 <= self.backbone_stages <= stages,
            f"ModelConfig.backbone_stages: {self.encoder} has {stages}; 0 takes them all.",
        )
        check(
            self.encoder not in BACKBONES or self.input.channels == 3,
            f"ModelConfig.input.channels: {self.encoder} takes pictures of 3.",
        )
        check(
            self.architecture != "transformer" or (self.encoder == "conv" and self.input == InputConfig()),
            "ModelConfig: the transformer reads the canonical picture with the encoder 'conv'.",
        )
        check(
            self.attention != "none" or self.embedding != "flatten" or self.input.fixed,
            "ModelConfig.embedding: to flatten the map, pictures need a fixed size (input.height_px, input.width_px).",
        )
        check(1 <= self.lstm_layers <= 3, "ModelConfig.lstm_layers: from 1 to 3.")
        check(1 <= self.lstm_width <= 8_192, "ModelConfig.lstm_width: from 1 to 8192.")
        check(1 <= self.slices <= 64, "ModelConfig.slices: from 1 to 64.")
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
        for name in ("dropout", "lstm_dropout", "head_dropout"):
            check(0.0 <= getattr(self, name) < 1.0, f"ModelConfig.{name}: from 0 to below 1.")

    @property
    def encoder_stride(self) -> int:
        """Pixels, after the input transform, that one cell of the encoder's map is high and wide."""
        if self.encoder == "conv":
            return 8
        if self.encoder == "blocks":
            return int(2 ** len(self.encoder_channels))
        stages = self.backbone_stages or BACKBONES[self.encoder]
        return int(2 ** (stages + (self.encoder in RESNETS)))  # the stem of a ResNet halves twice

    @property
    def map_size(self) -> tuple[int, int]:
        """Rows and columns of the encoder's map, where pictures have a fixed size."""
        stride = self.encoder_stride
        return -(-self.input.height_px // stride), -(-self.input.width_px // stride)


@dataclass(frozen=True)
class Decoding:
    """How an answer is searched for; the app's controls, the scripts' flags and the API's parameters.

    `symbols` restricts the answer: "all", a named set ("crohme"), or tokens separated by spaces.
    `seed` None draws anew each time (strategy sample).
    """

    strategy: Literal["greedy", "beam", "sample"] = "greedy"
    beam_width: int = 5
    length_penalty: float = 0.0  # 0: as likely as the model says; found as good as 1 and quicker
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
    print: float = (
        0.0  # strength of what happens to printed pictures (scale, blur, JPEG, noise, light); see hmer.augment.worn
    )
    small_print: float = 0.0  # share of those in another resolution that has letters of 2.6 to 6 px; see hmer.augment
    clear: float = 0.0  # share of printed pictures that are not worn, but for their resolution; see hmer.augment
    recombine: float = 0.0  # share of samples made from parts and symbols of segmented ink; see hmer.datasets.recombine
    symbols: tuple[float, float] = (1.0, 1.0)  # how freely symbols are formed, drawn for each formula; times `strokes`
    markers: float = 0.25  # share of ink that is drawn with a marker, above its share of all widths; see hmer.augment
    # Of the prepared picture, whatever it was made from: the largest value of each, drawn evenly up to it.
    rotation_degrees: float = 0.0
    translation: float = 0.0  # share of height and width
    scaling: float = 0.0  # share of the size
    cropping: float = 0.0  # share of height and width that is cut off
    brightness: float = 0.0  # share of white
    contrast: float = 0.0  # share of the contrast
    elastic: float = 0.0  # displacement, as a share of the height

    def __post_init__(self) -> None:
        shares = (self.translation, self.scaling, self.cropping, self.brightness, self.contrast, self.elastic)
        check(all(0 <= share < 1 for share in shares), "AugmentConfig: shares are from 0 to below 1.")
        check(0 <= self.rotation_degrees <= 180, "AugmentConfig.rotation_degrees: from 0 to 180.")
        check(min(self.strokes, self.pixels, self.scale, self.print) >= 0, "AugmentConfig: strengths are not negative.")
        check(0 <= self.symbols[0] <= self.symbols[1], "AugmentConfig.symbols: two strengths, the smaller one first.")
        check(0 <= self.recombine <= 1, "AugmentConfig.recombine: from 0 to 1.")
        check(0 <= self.small_print <= 1, "AugmentConfig.small_print: from 0 to 1.")
        check(0 <= self.clear <= 1, "AugmentConfig.clear: from 0 to 1.")
        check(0 <= self.markers <= 0.7, "AugmentConfig.markers: from 0 to 0.7.")

    @property
    def moves(self) -> bool:
        """Whether symbols leave the places where they were drawn."""
        return any((self.rotation_degrees, self.translation, self.scaling, self.cropping, self.elastic))


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Rates are per optimiser step; hours, where set, win over steps."""

    train: tuple[str, ...] = ()
    validation: str = ""
    train_weights: tuple[float, ...] = ()  # share of each folder in the samples; empty: by size
    # A step adds the losses of one batch of each folder, instead of batches that mix them; train_weights then say what
    # share of batch_size each folder's has (empty: all of it).
    every_folder: bool = False
    out: str = "runs/run"
    initial: str = ""  # checkpoint reference to start from; empty: from nothing
    keep_settings: bool = True  # image, label form, reading directions: those of `initial`; off: those of this run
    label_form: str = "crohme"
    seed: int = 0
    hours: float = 0.0
    steps: int = 1_000
    batch_size: int = 32
    learning_rate: float = 1e-3
    schedule: Literal["wsd", "cosine", "constant", "plateau"] = "wsd"
    warmup_steps: int = 500
    decay_share: float = 0.2  # last share of the run, in which the rate falls to nothing
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    label_smoothing: float = 0.1
    average_decay: float = 0.999  # exponential moving average of the weights
    symbol_loss: float = (
        0.5  # classification of the symbol in each cell, and of the space before it, where that is known
    )
    attention_loss: float = 0.3  # attention mass on the cells of the token's symbol, where known
    anchor_loss: float = 1.0  # staying near what another model said, where batches tell it (`Batch.anchor`)
    magnifier_rate: float = 0.0  # of the magnifier's learning, as a share of the others'; 0: it stays as it is
    exact_places: bool = False  # follow unsegmented writing as decoding will: slower, and what it then meets
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "no"  # auto: bf16 where this machine is faster with it
    freeze_statistics: bool = False  # batch normalisation keeps its running statistics (fine-tuning)
    threads: int = 0  # 0: as torch chooses
    workers: int = 1
    pool_batches: int = 96  # batches are cut from so many at a time, sorted by size: less padding, few shapes
    save_minutes: float = 5.0  # 0: nothing is saved
    evaluate_minutes: float = 15.0
    evaluate_limit: int = 300
    evaluate_ignore: tuple[str, ...] = ()  # tokens that validation labels lack
    log_steps: int = 50
    epochs: int = 0  # passes over the training data; where set, they win over steps, and each ends with a validation
    optimizer: Literal["adamw", "adam", "muon"] = "adamw"
    plateau_factor: float = 0.5  # schedule "plateau": the rate is multiplied by this when the validation loss
    plateau_patience: int = 3  # has not fallen for more validations than these
    early_stop: int = 0  # validations without a lower loss after which the run ends; 0: never
    # Scheduled sampling (CNN-LSTM): the share of steps fed with the model's own last token rises to `sampling_share`.
    scheduled_sampling: Literal["none", "linear", "inverse_sigmoid"] = "none"
    sampling_share: float = 0.25
    backbone_weights: str = ""  # of a torchvision backbone: a file, or "pretrained"; empty: from nothing
    frozen_stages: int = 0  # first stages of the encoder that do not learn; -1: all of it
    device: Literal["auto", "cpu"] = "auto"  # auto: CUDA, MPS or the CPU, whichever there is
    image: ImageConfig = field(default_factory=ImageConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        check(self.steps > 0 and self.hours >= 0, "TrainConfig: steps must be above 0, hours not negative.")
        check(self.batch_size > 0, "TrainConfig.batch_size: must be above 0.")
        check(
            self.model.language.width == 0,
            "TrainConfig.model.language: is trained afterwards, on text; see scripts/train_language.py.",
        )
        check(
            self.model.magnifier.channels == 0,
            "TrainConfig.model.magnifier: is trained afterwards, on pictures; see scripts/train_magnifier.py.",
        )
        check(0 < self.learning_rate < 1, "TrainConfig.learning_rate: must be between 0 and 1.")
        check(0 <= self.decay_share <= 1, "TrainConfig.decay_share: from 0 to 1.")
        check(0 <= self.magnifier_rate <= 1, "TrainConfig.magnifier_rate: from 0 to 1.")
        check(0 <= self.label_smoothing < 1, "TrainConfig.label_smoothing: from 0 to below 1.")
        check(0 <= self.average_decay < 1, "TrainConfig.average_decay: from 0 (off) to below 1.")
        check(self.epochs >= 0 and self.early_stop >= 0, "TrainConfig: epochs and early_stop are not negative.")
        check(
            0 < self.plateau_factor < 1 and self.plateau_patience >= 0,
            "TrainConfig: plateau_factor is between 0 and 1, plateau_patience not negative.",
        )
        check(
            self.schedule != "plateau" or bool(self.validation) or not self.train,
            "TrainConfig.schedule: a plateau is one of the validation loss; name a validation folder.",
        )
        check(
            self.scheduled_sampling == "none" or self.model.architecture == "cnn_lstm",
            "TrainConfig.scheduled_sampling: only the CNN-LSTM (cnn_lstm) is trained so.",
        )
        check(0 <= self.sampling_share <= 1, "TrainConfig.sampling_share: from 0 to 1.")
        check(self.clip_norm >= 0, "TrainConfig.clip_norm: from 0 (off).")
        check(-1 <= self.frozen_stages <= 8, "TrainConfig.frozen_stages: from -1 (all) to 8.")
        check(
            self.frozen_stages == 0 or bool(self.backbone_weights or self.initial),
            "TrainConfig.frozen_stages: what was never trained would stay so; set backbone_weights or initial, or 0.",
        )
        check(
            not self.backbone_weights or self.model.encoder in BACKBONES,
            f"TrainConfig.backbone_weights: the encoder {self.model.encoder!r} is no torchvision backbone.",
        )
