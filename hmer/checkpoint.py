"""A checkpoint is a folder: model.safetensors, config.json, README.md (its card), and what fine-tuning needs.

Weights are kept in half precision. Loading is strict: every tensor must be there, with the shape that the
configuration asks for, and nothing else. Nothing in a checkpoint is ever executed.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import logging
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.nn import Module

from hmer import __version__
from hmer.config import AUTOMATIC, BACKBONES, ImageConfig, ModelConfig, check, from_dict, to_dict
from hmer.errors import CheckpointError, ConfigError, HubError
from hmer.home import data_home
from hmer.latex import LABEL_FORMS
from hmer.models import Model, build
from hmer.vocabulary import Vocabulary

if TYPE_CHECKING:  # imported where the Hub is asked for: its client costs a third of a second
    from hmer import hub

log = logging.getLogger(__name__)

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
MAX_CONFIG_BYTES = 2_000_000
MAX_PARAMETERS = 500_000_000
BACKBONE_FEATURES = 2_048  # of the deepest stage of the widest
# What a checkpoint from the Hub may hold: a pattern of paths, and the most bytes of such a file.
TRAVELS = (
    (re.compile(r"model\.safetensors"), 4 * MAX_PARAMETERS + 10_000_000),
    (re.compile(r"config\.json|README\.md|NOTICE|LICENSE"), MAX_CONFIG_BYTES),
    (re.compile(r"[\w-]+\.(?:png|jpg|svg)"), 5_000_000),  # pictures of the card
    (re.compile(r"(?:replay|regression)/(?:labels\.tsv|NOTICE|[\w-]+\.(?:inkml|png|jpg|jpeg|bmp|webp))"), 20_000_000),
)
MAX_FILES = 20_000
_ASIDE, _LOCK = "-old-", ".lock"  # where `save` puts what it replaces, and what it holds in there meanwhile
_LOCK_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class CheckpointConfig:
    """What config.json holds. calibration: of the confidence in an answer, as `hmer.calibration` fits it; empty: none.

    Older checkpoints hold a slope of the log-probability alone and an offset there.
    beam_calibration: the same after beam search, where more is known of an answer (see `Recognition.evidence`).
    parent: id of the checkpoint that it was trained from. corrections: hash of those that it was fine-tuned on.
    learnt_from: a short hash of each correction that it or one that it descends from was fine-tuned on.
    """

    name: str
    vocabulary: tuple[str, ...]
    label_form: str = "crohme"
    image: ImageConfig = field(default_factory=ImageConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    calibration: tuple[float, ...] = ()
    beam_calibration: tuple[float, ...] = ()
    parent: str = ""
    corrections: str = ""
    learnt_from: tuple[str, ...] = ()
    created: str = ""
    hmer_version: str = __version__

    def __post_init__(self) -> None:
        check(
            0 < len(self.name) <= 100 and self.name.isprintable(),
            "CheckpointConfig.name: from 1 to 100 printable characters.",
        )
        check(0 < len(self.vocabulary) <= 20_000, "CheckpointConfig.vocabulary: from 1 to 20,000 tokens.")
        check(len(self.learnt_from) <= 50_000, "CheckpointConfig.learnt_from: at most 50,000 corrections.")
        check(
            len(self.calibration) in (0, 2, 3), "CheckpointConfig.calibration: empty, or one or two slopes and offset."
        )
        check(
            len(self.beam_calibration) in (0, 3), "CheckpointConfig.beam_calibration: empty, or two slopes and offset."
        )
        check(
            all(map(math.isfinite, (*self.calibration, *self.beam_calibration))),
            "CheckpointConfig: calibration and beam_calibration must be finite numbers.",
        )
        forms = ", ".join(sorted(LABEL_FORMS))
        check(
            self.label_form in LABEL_FORMS, f"CheckpointConfig.label_form: {self.label_form!r} is not one of {forms}."
        )


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model with its configuration. `id` is made of the name and the hash of the weights file."""

    model: Model
    config: CheckpointConfig
    id: str
    folder: Path | None = None


def bundled() -> dict[str, Path]:
    """The checkpoints that come with hmer, by name."""
    return _checkpoints_in(Path(str(resources.files("hmer"))) / "checkpoints")


def fine_tuned() -> dict[str, Path]:
    """The checkpoints that fine-tuning left in the data folder, by name."""
    return _checkpoints_in(data_home() / "checkpoints")


def _checkpoints_in(root: Path) -> dict[str, Path]:
    """The checkpoint folders there by name; hidden ones are what an interrupted `save` left."""
    if not root.is_dir():
        return {}
    interrupted = [path for path in root.iterdir() if path.name.startswith(".") and _ASIDE in path.name]
    for name in {old.name for aside in interrupted for old in aside.glob("*") if old.is_dir()}:
        _put_back(root / name)
    folders = sorted(root.iterdir())
    return {
        folder.name: folder for folder in folders if not folder.name.startswith(".") and (folder / CONFIG).is_file()
    }


def pulled() -> dict[str, Path]:
    """The checkpoints that were pulled from the Hub, by reference."""
    from hmer import hub

    return hub.pulled("model")


def pull(reference: str, *, refresh: bool = True, progress: "hub.Progress | None" = None) -> Path:
    """The folder of a checkpoint on the Hub, checked; `refresh` asks the Hub anew where it was pulled before.

    Raises HubError, and CheckpointError for one that is damaged or of another kind; nothing is kept of such a one.
    """
    from hmer import hub

    repository = hub.parse(reference)
    if repository.kind != "model":
        raise CheckpointError(f"{reference}: is a dataset, no checkpoint; import it with manage_annotations.py.")

    def accept(files: "Sequence[hub.RemoteFile]") -> None:
        for file in files:
            limit = next((most for pattern, most in TRAVELS if pattern.fullmatch(file.path)), None)
            if limit is None:
                raise CheckpointError(
                    f"{reference}: holds {file.path!r}, which no checkpoint has; nothing was fetched."
                )
            if file.size > limit:
                raise CheckpointError(
                    f"{reference}: {file.path!r} has {file.size:,} bytes, at most {limit:,} are taken; nothing was fetched."
                )
        missing = {WEIGHTS, CONFIG} - {file.path for file in files}
        if missing or len(files) > MAX_FILES:
            problem = f"it has no {', '.join(sorted(missing))}" if missing else f"it has {len(files):,} files"
            raise CheckpointError(f"{reference}: is no checkpoint of hmer ({problem}); nothing was fetched.")

    def check_content(folder: Path) -> None:
        try:
            load(folder)
        except CheckpointError as error:
            problem = str(error).replace(f"{folder}{os.sep}", "").replace(f"{folder}", "it")
            raise CheckpointError(f"{reference}: was refused. {problem}") from error

    return hub.pull(reference, accept=accept, check=check_content, refresh=refresh, progress=progress)


def remove_superseded(reference: str) -> tuple[str, ...]:
    """Delete the earlier versions of a pulled checkpoint but those that a fine-tuned one comes from; their commits."""
    from hmer import hub

    parents = set()
    for folder in fine_tuned().values():
        with contextlib.suppress(CheckpointError):  # a damaged one comes from nowhere
            parents.add(read_config(folder).parent)

    def is_parent(folder: Path) -> bool:
        try:
            return identify(folder) in parents
        except CheckpointError:
            return False

    return hub.remove_superseded(reference, keep=is_parent)


def known() -> dict[str, Path]:
    """Every checkpoint on this computer that has a name: bundled, fine-tuned or pulled."""
    return {**pulled(), **fine_tuned(), **bundled()}


def of_other_lines(reference: str | Path, ids: Iterable[str]) -> list[str]:
    """Those of `ids` that descend from another bundled checkpoint than this one does. Raises CheckpointError.

    A line is followed as far back as its checkpoints are on this computer; where it ends elsewhere nothing is said of it.
    """
    folders: dict[str, Path] = {}
    for folder in known().values():
        with contextlib.suppress(CheckpointError):  # a damaged one is of no line
            folders[identify(folder)] = folder

    def origin(identity: str) -> str:
        """The name that the line begins with; names stay when a release replaces the weights."""
        passed: set[str] = set()
        while identity in folders and identity not in passed:
            passed.add(identity)
            identity = read_config(folders[identity]).parent or identity
        return identity.rpartition("-")[0]

    folder = resolve(reference)
    folders[identify(folder)] = folder
    own, origins = origin(identify(folder)), set(bundled())
    return [identity for identity in ids if own in origins and origin(identity) in origins - {own}]


def free_place(name: str) -> Path:
    """The folder in the data folder for a new checkpoint of that name. Raises ConfigError if it is taken or none."""
    check(
        bool(name)
        and name.isprintable()
        and len(name) <= 100
        and Path(name).name == name
        and not name.startswith((".", "hf:")),
        f"{name[:40]!r} is no name for a checkpoint: take letters, digits and dashes.",
    )
    folder = data_home() / "checkpoints" / name
    taken = name == AUTOMATIC or name in known() or folder.exists()
    check(not taken, f"There is a checkpoint {name!r} already; choose another name.")
    return folder


def resolve(reference: str | Path, *, fetch: bool = True) -> Path:
    """The folder that a reference names: a bundled name, the name of a fine-tuned one, a folder, or hf://owner/name.

    One on the Hub is fetched when it was not pulled before, or with `fetch` off refused. Raises CheckpointError that
    lists the known names.
    """
    if isinstance(reference, str) and reference.startswith("hf://"):
        from hmer import hub

        try:
            folder = hub.remembered(hub.parse(reference))
            if folder is None and fetch:
                folder = pull(reference, refresh=False)
        except HubError as error:
            raise CheckpointError(str(error)) from error
        if folder is None:
            raise CheckpointError(f"{reference}: was not pulled yet; pull it first.")
        return folder
    named = {**fine_tuned(), **bundled()}
    if str(reference) in named:
        return named[str(reference)]
    folder = Path(os.path.expanduser(reference))  # noqa: PTH111 - leaves an unknown ~name as it is
    try:
        if not folder.exists():
            _put_back(folder)
        if (folder / CONFIG).is_file():
            return folder
        if folder.is_dir():
            raise CheckpointError(f"{folder}: is no checkpoint (it has no {CONFIG}).")
    except OSError as error:  # a name that is too long, or a folder that must not be looked into
        raise CheckpointError(f"{str(folder)[:200]}: cannot be looked into ({error.strerror}).") from error
    raise CheckpointError(
        f"No checkpoint {str(reference)!r}: known are {', '.join(sorted(known())) or 'none'}; or give a checkpoint folder or hf://owner/name."
    )


def read_config(folder: Path) -> CheckpointConfig:
    """The configuration of a checkpoint folder. Raises CheckpointError."""
    path = folder / CONFIG
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise CheckpointError(f"{path}: larger than any configuration; it was not read.")
        values = json.loads(path.read_text(encoding="utf-8"))
        return from_dict(CheckpointConfig, values, CONFIG)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}).") from error
    except ConfigError as error:
        newer = " The checkpoint may be of a newer hmer: update it." if "unknown setting" in str(error) else ""
        raise CheckpointError(f"{path}: {error}{newer}") from error


def load(reference: str | Path) -> Checkpoint:
    """The checkpoint that `reference` names, in single precision, ready to evaluate.

    Raises CheckpointError when a file is missing or damaged, or weights and configuration do not fit.
    """
    folder = resolve(reference)
    config = read_config(folder)
    try:
        about = _parameters_about(config)
        check(about <= MAX_PARAMETERS, f"asks for about {about:,} parameters; at most {MAX_PARAMETERS:,} are read.")
        model = build(config.model, Vocabulary(config.vocabulary))
    except ConfigError as error:
        raise CheckpointError(f"{folder / CONFIG}: {error}") from error
    expected = model.state_dict()
    path = folder / WEIGHTS
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            missing, extra = sorted(set(expected) - names), sorted(names - set(expected))
            if missing or extra:
                raise CheckpointError(
                    f"{path}: does not fit its configuration (missing {missing[:3] or 'none'}, unexpected {extra[:3] or 'none'})."
                )
            for name, value in expected.items():
                shape = file.get_slice(name).get_shape()
                if list(shape) != list(value.shape):
                    raise CheckpointError(
                        f"{path}: {name} has shape {shape}, its configuration asks for {list(value.shape)}."
                    )
            state = {name: file.get_tensor(name).to(expected[name].dtype) for name in expected}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors ({error}).") from error
    bad = [name for name, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if bad:
        raise CheckpointError(f"{path}: {bad[0]} holds values that are not numbers; the file is damaged.")
    model.load_state_dict(state, strict=True)
    model.eval()
    return Checkpoint(model, config, _id(config, path), folder)


def identify(folder: Path) -> str:
    """The id of the checkpoint in a folder, without loading it. Raises CheckpointError."""
    try:
        return _id(read_config(folder), folder / WEIGHTS)
    except OSError as error:
        raise CheckpointError(f"{folder / WEIGHTS}: cannot be read ({error.strerror}).") from error


def with_part(checkpoint: Checkpoint, name: str, part: Module, sizes: ModelConfig) -> Checkpoint:
    """The checkpoint with a part that was trained by itself, `language` or `magnifier`, in place of the one that it may have.

    `sizes`: the model's settings with those of the part.
    """
    model = build(sizes, checkpoint.model.vocabulary)
    state = {key: value for key, value in checkpoint.model.state_dict().items() if not key.startswith(f"{name}.")}
    model.load_state_dict(state | {f"{name}.{key}": value for key, value in part.state_dict().items()})
    return dataclasses.replace(
        checkpoint, model=model.eval(), config=dataclasses.replace(checkpoint.config, model=sizes)
    )


def _parameters_about(config: CheckpointConfig) -> int:
    """The size of the largest architecture with these settings, near enough to refuse what no memory holds.

    Building on the "meta" device would tell exactly, and takes seconds (it imports torch's compiler).
    """
    sizes = config.model
    channels = [sizes.input.channels, *sizes.encoder_channels]
    # Blocks, the deepest two of "conv" with their residual blocks, and no more than torchvision's largest backbone.
    encoder = 9 * sum(before * after for before, after in itertools.pairwise(channels))
    encoder += 18 * sum(
        blocks * width**2 for blocks, width in zip(sizes.encoder_blocks, sizes.encoder_channels, strict=False)
    )
    encoder += 36 * max(channels) ** 2 + (60_000_000 if sizes.encoder in BACKBONES else 0)
    features = BACKBONE_FEATURES if sizes.encoder in BACKBONES else max(channels)
    layer = 8 * sizes.decoder_width**2 + 2 * sizes.decoder_width * sizes.decoder_feedforward
    decoder = (sizes.decoder_layers + 2) * layer + sizes.lstm_layers * 10 * sizes.decoder_width**2
    if sizes.architecture == "crnn_ctc":
        decoder = 8 * sizes.lstm_width * (sizes.slices * features + 4 * sizes.lstm_layers * sizes.lstm_width)
    elif sizes.attention == "none" and sizes.embedding == "flatten":
        decoder += math.prod(sizes.map_size) * features * sizes.decoder_width
    ends = 3 * len(config.vocabulary) * max(sizes.decoder_width, features, 2 * sizes.lstm_width)
    language = 6 * sizes.language.width**2 + 2 * sizes.language.tokens * sizes.language.width
    recall = (sizes.recall.keys + sizes.recall.rivals + features) * features
    magnifier = 18 * (sizes.magnifier.blocks + 1) * sizes.magnifier.channels**2
    return encoder + decoder + ends + language + recall + magnifier


def _id(config: CheckpointConfig, weights: Path) -> str:
    with weights.open("rb") as file:
        return f"{config.name}-{hashlib.file_digest(file, 'sha256').hexdigest()[:10]}"


def save(
    folder: str | Path,
    model: Model,
    config: CheckpointConfig,
    *,
    card: str = "",
    extra: Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a checkpoint folder whole or not at all: made beside its place, then renamed.

    `extra`: a checkpoint folder whose replay/, regression/ and NOTICE are carried over. Raises CheckpointError if the
    folder exists and `overwrite` is not set, or cannot be written.
    """
    folder = Path(folder)
    _put_back(folder)
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder}: is a file; a checkpoint is a folder, name another.")
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise CheckpointError(f"{folder}: exists already; choose another name or say to overwrite it.")
    if tuple(model.vocabulary.words) != tuple(config.vocabulary):
        raise CheckpointError(
            "The vocabulary of the model and of the configuration differ; build the configuration anew."
        )
    weights = {name: _stored(name, value) for name, value in model.state_dict().items()}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            save_file(weights, temporary / WEIGHTS)
            (temporary / CONFIG).write_text(
                json.dumps(to_dict(config), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )
            (temporary / CARD).write_text(card or f"# {config.name}\n", encoding="utf-8")
            for name in ("replay", "regression"):
                if extra is not None and (extra / name).is_dir():
                    shutil.copytree(extra / name, temporary / name)
            if extra is not None and (extra / "NOTICE").is_file():
                shutil.copy(extra / "NOTICE", temporary / "NOTICE")
            temporary.chmod(0o755)
            _replace(temporary, folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{folder}: cannot be written ({reason}); nothing was changed.") from error
    return folder


def _stored(name: str, value: torch.Tensor) -> torch.Tensor:
    """A tensor as the weights file holds it: in half precision, unless that cannot hold its largest value."""
    value = value.detach().cpu()
    if value.is_floating_point():
        if not bool(value.isfinite().all()):
            raise CheckpointError(f"{name} holds values that are not numbers; such weights are not saved.")
        half = value.half()
        value = half if bool(half.isfinite().all()) else value
    return value.clone().contiguous()  # safetensors refuses views into shared storage (LSTM weights)


def _replace(temporary: Path, folder: Path) -> None:
    """Put `temporary` in the place of `folder`; the old folder goes only when the new one stands.

    Two renames: whoever is stopped between them leaves neither in place, and `_put_back` mends that.
    """
    if not folder.exists():
        os.rename(temporary, folder)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}{_ASIDE}", dir=folder.parent))
    with FileLock(aside / _LOCK):
        os.rename(folder, aside / folder.name)
        try:
            os.rename(temporary, folder)
        except OSError:
            os.rename(aside / folder.name, folder)
            raise
    shutil.rmtree(aside, ignore_errors=True)


def _put_back(folder: Path) -> None:
    """Bring back a checkpoint that an interrupted `save` had set aside; the lock tells one that is still at it."""
    if not folder.parent.is_dir():
        return
    for aside in [path for path in folder.parent.iterdir() if path.name.startswith(f".{folder.name}{_ASIDE}")]:
        if not (aside / folder.name).is_dir():
            continue
        try:
            with FileLock(aside / _LOCK, timeout=_LOCK_TIMEOUT_S):
                if not folder.exists():
                    os.rename(aside / folder.name, folder)
                    log.warning("%s: saving it was interrupted; the earlier one was put back", folder)
        except OSError as error:  # the save has ended meanwhile, and all is in place
            if not folder.exists():
                log.warning("%s: the earlier one lies in %s and cannot be put back (%s)", folder, aside, error)
            continue
        shutil.rmtree(aside, ignore_errors=True)


def parameters(model: torch.nn.Module) -> int:
    """How many numbers a model has learnt."""
    return sum(parameter.numel() for parameter in model.parameters())
