"""The published starting systems: their settings, their backbones, and each trains, saves, loads and reads."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
import yaml
from safetensors.torch import save_file
from toys import FORMULAS, VARIANTS, VOCABULARY, picture_of

from hmer.batch import Batch
from hmer.cleanup import clean_up
from hmer.config import RESNETS, ImageConfig, InputConfig, ModelConfig, TrainConfig, from_dict
from hmer.datasets.folder import read_dataset
from hmer.errors import CheckpointError, ConfigError
from hmer.evaluation import evaluate
from hmer.image import pad, prepare
from hmer.models import CtcModel, build
from hmer.models.attention import LstmModel
from hmer.models.encoders import (
    InputTransform,
    ResNetEncoder,
    build_encoder,
    freeze,
    height_shares,
    load_backbone,
)
from hmer.recognizer import Recognizer
from hmer.trainer import Trainer
from hmer.vocabulary import RELATIONS, Vocabulary

CONFIGS = Path(__file__).resolve().parent.parent / "hmer" / "configs"
COLOURS = InputConfig(channels=3, mean=0.5, std=0.5)


def values_of(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")))


def config_of(name: str, **changes: Any) -> TrainConfig:
    return from_dict(TrainConfig, {"validation": "validation", **values_of(name), **changes})


# What the systems report of themselves, by the name of the setting.
S0 = {
    "epochs": 25, "optimizer": "adam", "schedule": "plateau", "plateau_patience": 3, "plateau_factor": 0.5,
    "label_smoothing": 0.1, "scheduled_sampling": "linear", "clip_norm": 5.0, "early_stop": 5, "model.architecture": "cnn_lstm",
    "model.input.keep_aspect": True, "label_form": "im2markup",
}  # fmt: skip
S2 = {
    "epochs": 50, "optimizer": "adam", "learning_rate": 5e-4, "schedule": "plateau", "plateau_patience": 2,
    "plateau_factor": 0.5, "image.margin_px": 5, "model.architecture": "crnn_ctc", "model.input.height_px": 32,
    "model.input.width_px": 300, "model.input.mean": 0.5, "model.input.std": 0.5, "model.encoder_norm": True,
    "model.dropout": 0.3, "model.lstm_layers": 2, "model.lstm_width": 256, "model.lstm_dropout": 0.5,
    "model.head_dropout": 0.3, "label_form": "crohme",
}  # fmt: skip
PUBLISHED: dict[str, dict[str, Any]] = {
    "s0_cnn_lstm": S0 | {
        "model.encoder": "blocks", "model.encoder_channels": (32, 64, 128), "model.attention": "none",
        "model.embedding": "flatten", "model.input.channels": 1,
    },
    "s0_resnet50_lstm": S0 | {"model.encoder": "resnet50", "model.backbone_stages": 0, "model.input.channels": 3},
    "s1_bahdanau": {
        "model.architecture": "cnn_lstm", "model.attention": "bahdanau", "model.coverage": False, "optimizer": "adam",
        "batch_size": 24, "epochs": 15, "label_form": "im2markup",
    },
    "s2_resnet18_ctc": S2 | {"model.encoder": "resnet18", "model.backbone_stages": 3, "frozen_stages": 2},
    "s2_vgg16_ctc": S2 | {"model.encoder": "vgg16"},
}  # fmt: skip
# Distortions that are named without their strength, and those that the systems did not use.
DISTORTIONS = {
    "s0_cnn_lstm": {"rotation_degrees", "translation", "scaling"},
    "s0_resnet50_lstm": {"rotation_degrees", "translation", "scaling"},
    "s1_bahdanau": set(),
    "s2_resnet18_ctc": {"rotation_degrees", "brightness", "contrast"},
    "s2_vgg16_ctc": {"rotation_degrees", "brightness", "contrast"},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_value(name: str) -> None:
    config = config_of(name)
    for path, expected in PUBLISHED[name].items():
        found: Any = config
        for part in path.split("."):
            found = getattr(found, part)
        assert found == expected, path
    used = {key for key, value in dataclasses.asdict(config.augment).items() if value}
    # How symbols are formed and pens are wide goes by the strength of strokes, which is none.
    assert used - {"symbols", "markers"} == DISTORTIONS[name]
    assert (config.weight_decay > 0) == name.startswith("s0")
    if name == "s0_resnet50_lstm":  # grey: what it reads is the same in its three channels
        read = InputTransform(config.model.input).normalise(torch.rand(1, 1, 8, 8), torch.tensor([[8, 8]]))
        assert torch.equal(read[:, 0], read[:, 1]) and torch.equal(read[:, 0], read[:, 2])
    # None of what the published systems do not have.
    assert (config.average_decay, config.symbol_loss, config.attention_loss) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_configuration_builds_its_model(file: Path) -> None:
    config = config_of(file.stem)
    assert build(config.model, VOCABULARY).config == config.model


def test_the_published_layers() -> None:
    s0 = build(config_of("s0_cnn_lstm").model, VOCABULARY)
    assert isinstance(s0, LstmModel)
    assert [(layer.in_channels, layer.out_channels) for layer in s0.encoder.stages] == [(1, 32), (32, 64), (64, 128)]  # type: ignore[union-attr]
    assert s0.project.in_features == 128 * (64 // 8) * (384 // 8)
    vocabulary = Vocabulary(str(number) for number in range(107))
    for name, frames in (("s2_resnet18_ctc", 19), ("s2_vgg16_ctc", 38)):
        model = build(config_of(name).model, vocabulary).eval()
        assert isinstance(model, CtcModel)
        assert (model.out.in_features, model.out.out_features) == (512, 110)
        assert (model.lstm.num_layers, model.lstm.hidden_size, model.lstm.bidirectional) == (2, 256, True)
        assert isinstance(model.norm, torch.nn.BatchNorm2d)
        assert (model.encoder.dropout.p, model.norm_dropout.p) == (0.0, 0.3)  # it comes after the norm
        with torch.inference_mode():
            scores, count = model.frame_scores(
                model.encode(*pad([prepare(picture_of(FORMULAS["1"]), config_of(name).image).pixels]))
            )
        assert scores.shape == (1, frames, 110) and count.tolist() == [frames]


def settings_to_try(name: str, data: Path, out: Path) -> TrainConfig:
    """A configuration with little to do: pictures two at a time, narrow where width is a number."""
    values = values_of(name)
    model = values["model"] | {"decoder_width": 32, "attention_width": 16, "lstm_width": 16}
    size = {"height_px": 32, "width_px": 160} if model.get("input") else {}
    model["input"] = model.get("input", {}) | size
    return config_of(
        name, train=[str(data)], validation=str(data), out=str(out), epochs=0, steps=20, batch_size=2, workers=0,
        pool_batches=2, evaluate_limit=2, threads=1, backbone_weights="", frozen_stages=0, log_steps=10, model=model,
    )  # fmt: skip


HEAVY = ("s0_resnet50_lstm", "s2_vgg16_ctc")
TRIED = [pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in PUBLISHED]


@pytest.mark.parametrize("name", TRIED)
def test_each_configuration_trains_saves_loads_and_reads(name: str, toy_data: Path, tmp_path: Path) -> None:
    config = settings_to_try(name, toy_data, tmp_path / "run")
    trainer = Trainer(config)
    best = trainer.fit()
    assert trainer.step == 20
    recognizer = Recognizer.load(best)
    assert recognizer.config.model == config.model
    items = read_dataset(toy_data, config.label_form)[:3]
    evaluation = evaluate(recognizer, items, teacher_forcing=True)
    assert evaluation.scores.n == 3
    assert evaluation.loss is not None and evaluation.loss > 0
    assert (evaluation.token_accuracy is None) == isinstance(recognizer.model, CtcModel)


@pytest.mark.parametrize("form", ["crohme_symbols", "crohme_relations"])
def test_s2_with_words_of_structure_and_without(form: str, toy_data: Path, tmp_path: Path) -> None:
    config = settings_to_try("s2_resnet18_ctc", toy_data, tmp_path / "run")
    narrow = dataclasses.replace(config.model, encoder="blocks", encoder_channels=(8, 16, 16), backbone_stages=0)
    trainer = Trainer(dataclasses.replace(config, label_form=form, model=narrow))
    recognizer = Recognizer.load(trainer.fit())
    assert trainer.step == 20 and recognizer.config.label_form == form
    words = RELATIONS.intersection(recognizer.config.vocabulary)
    assert words == ({"Right", "Sub", "Sup", "Above", "Below"} if form == "crohme_relations" else set())
    assert not {"{", "}", "^", "_"}.intersection(recognizer.config.vocabulary)
    evaluation = evaluate(recognizer, read_dataset(toy_data, form)[:2], teacher_forcing=True)
    assert evaluation.loss is not None and evaluation.loss > 0
    # Whatever it answers, none of the words is left after the clean-up.
    assert not RELATIONS.intersection(clean_up([*recognizer.config.vocabulary]))


BACKBONES = [*RESNETS, "vgg16"]
WIDTHS = {"resnet18": 512, "resnet34": 512, "resnet50": 2048, "resnet101": 2048, "resnet152": 2048, "vgg16": 512}


@pytest.mark.parametrize("name", BACKBONES)
@torch.inference_mode()
def test_a_backbone_reads_a_picture(name: str) -> None:
    config = ModelConfig(architecture="cnn_lstm", encoder=name, input=COLOURS, dropout=0.0)
    encoder = build_encoder(config).eval()
    features, mask = encoder(torch.rand(1, 3, 40, 72), torch.tensor([[40, 72]]))
    assert features.shape == (1, WIDTHS[name], 2, 3) and mask.shape == (1, 1, 2, 3)
    assert bool(features.isfinite().all()) and float(features.std()) > 0
    assert config.encoder_stride == 32


@pytest.mark.parametrize("name", ["s0_resnet50_lstm", "three layers"])
@torch.inference_mode()
def test_a_whole_model_reads_a_picture(name: str) -> None:
    """The loss of a caption and one step of decoding: on a large backbone, and on three recurrent layers with attention."""
    three = dataclasses.replace(VARIANTS["cnn_lstm"], lstm_layers=3)
    config = three if name == "three layers" else config_of(name).model
    model = build(config, VOCABULARY).eval()
    assert isinstance(model, LstmModel) and len(model.cells) == config.lstm_layers
    images, sizes = pad([prepare(picture_of(FORMULAS["1 + x"]), ImageConfig()).pixels])
    ids = torch.tensor([VOCABULARY.encode(["1", "+", "x"])])
    loss = model.loss(Batch(images, sizes, ids, torch.tensor([3])))
    assert bool(loss.total.isfinite()) and loss.count == 4
    encoded = model.encode(images, sizes)
    step, state, first = model.start(encoded, 1)
    scores, after = step(first, state)
    assert scores.shape == (1, len(VOCABULARY)) and float(scores.exp().sum()) == pytest.approx(1.0, abs=1e-4)
    assert after["hidden"].shape == (1, config.lstm_layers, config.decoder_width)
    assert after["attention"].shape == (1, encoded.mask.shape[1]) and float(after["attention"].sum()) == pytest.approx(
        1.0
    )


@torch.inference_mode()
def test_a_resnet_is_torchvisions_where_nothing_is_padded() -> None:
    torch.manual_seed(0)
    whole = torchvision.models.resnet18(weights=None).eval()
    encoder = ResNetEncoder("resnet18", 0, 0.0).eval()
    encoder.load_state_dict({key: value for key, value in whole.state_dict().items() if not key.startswith("fc")})
    images = torch.rand(2, 3, 64, 96)
    features, _ = encoder(images, torch.tensor([[64, 96], [64, 96]]))
    expected = whole.layer4(
        whole.layer3(whole.layer2(whole.layer1(whole.maxpool(torch.relu(whole.bn1(whole.conv1(images)))))))
    )
    assert float((features - expected).abs().max()) < 1e-4


@pytest.mark.parametrize(("name", "stages", "stride"), [("resnet18", 1, 4), ("resnet50", 3, 16), ("vgg16", 2, 4)])
@torch.inference_mode()
def test_padding_does_not_change_what_a_backbone_sees(name: str, stages: int, stride: int) -> None:
    torch.manual_seed(0)
    config = ModelConfig(architecture="cnn_lstm", encoder=name, backbone_stages=stages, input=COLOURS, dropout=0.0)
    assert config.encoder_stride == stride
    encoder, transform = build_encoder(config).eval(), InputTransform(COLOURS)
    sizes = torch.tensor([[40, 24]])
    picture = torch.rand(1, 1, 40, 24)
    alone, _ = encoder(transform.normalise(picture, sizes), sizes)
    padded = torch.zeros(1, 1, 72, 64)
    padded[:, :, :40, :24] = picture
    features, mask = encoder(transform.normalise(padded, sizes), sizes)
    rows, columns = alone.shape[-2:]
    assert float((features[:, :, :rows, :columns] - alone).abs().max()) < 1e-4
    assert float(mask.sum()) == rows * columns and float((features * (1 - mask)).abs().max()) == 0


def test_stages_are_frozen_in_order_and_with_their_statistics(toy_data: Path, tmp_path: Path) -> None:
    weights = tmp_path / "resnet18.pth"
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), weights)
    config = dataclasses.replace(
        settings_to_try("s2_resnet18_ctc", toy_data, tmp_path / "run"), backbone_weights=str(weights), frozen_stages=2, steps=2
    )  # fmt: skip
    trainer = Trainer(config)
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    trainer.fit()
    changed = {key for key, value in trainer.model.state_dict().items() if not torch.equal(value, before[key])}
    frozen = [f"encoder.{name}" for name in ("conv1", "bn1", "layer1", "layer2")]
    assert not [key for key in changed if key.startswith(tuple(frozen))]
    assert {"encoder.layer3.0.conv1.weight", "encoder.layer3.0.bn1.running_mean", "out.weight"} <= changed
    encoder = ResNetEncoder("resnet18", 3, 0.0)
    freeze(encoder, -1)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    for name in ("crnn_ctc", "crnn_ctc slices"):
        model = build(VARIANTS[name], VOCABULARY)
        freeze(model.encoder, -1)
        assert not any(parameter.requires_grad for parameter in model.encoder.parameters())


def test_weights_of_a_backbone_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(state, tmp_path / "weights.pth")
    save_file(state, tmp_path / "weights.safetensors")
    for name in ("weights.pth", "weights.safetensors"):
        encoder = ResNetEncoder("resnet18", 3, 0.0)
        load_backbone(encoder, "resnet18", str(tmp_path / name))
        assert all(torch.equal(value, state[key]) for key, value in encoder.state_dict().items())
    with pytest.raises(CheckpointError, match=r"does not fit resnet34 \(layer1.2.conv1.weight"):
        load_backbone(ResNetEncoder("resnet34", 3, 0.0), "resnet34", str(tmp_path / "weights.pth"))
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    for name in ("broken.pth", "nothing.pth", "nothing.safetensors"):
        with pytest.raises(CheckpointError, match=f"{name}.*give the path of a file"):
            load_backbone(encoder, "resnet18", str(tmp_path / name))
    # Offline: torchvision's server cannot be reached.
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(
        CheckpointError, match=r"Weights of resnet18 \(pretrained\) cannot be had: .*backbone_weights: FILE"
    ):
        load_backbone(encoder, "resnet18", "pretrained")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "resnet19"}, "'resnet19' is not one of conv, blocks, resnet18"),
        ({"encoder": "resnet18"}, "takes pictures of 3"),
        ({"encoder": "resnet18", "input": COLOURS, "backbone_stages": 5}, "resnet18 has 4"),
        ({"attention": "none", "embedding": "flatten"}, "pictures need a fixed size"),
        ({"architecture": "transformer", "encoder": "blocks"}, "canonical picture with the encoder 'conv'"),
        ({"lstm_layers": 4}, "lstm_layers: from 1 to 3"),
    ],
)
def test_settings_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**({"architecture": "cnn_lstm"} | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frozen_stages": 1}, "never trained would stay so"),
        ({"backbone_weights": "x.pth"}, "no torchvision backbone"),
        ({"scheduled_sampling": "linear"}, "only the CNN-LSTM"),
        ({"schedule": "plateau", "train": ("a",)}, "name a validation folder"),
    ],
)
def test_training_settings_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**changes)


def test_the_input_transform() -> None:
    """A picture of 10 x 40 with a bar: stretched, or scaled and padded; then normalised."""
    images = torch.zeros(1, 1, 16, 48)
    images[0, 0, :10, 30:40] = 1.0
    images[0, 0, 10:, :] = 0.7  # outside of the picture
    sizes = torch.tensor([[10, 40]])
    stretched, whole = InputTransform(InputConfig(20, 40)).resize(images, sizes)
    assert whole.tolist() == [[20, 40]] and stretched.shape == (1, 1, 20, 40)
    assert float(stretched[0, 0, :, 31:].min()) > 0.99 and float(stretched[0, 0, :, :29].max()) < 0.01
    kept, part = InputTransform(InputConfig(40, 80, keep_aspect=True)).resize(images, sizes)
    assert part.tolist() == [[20, 80]]
    assert float(kept[0, 0, :20, 62:].min()) > 0.99 and float(kept[0, 0, 20:].max()) == 0.0
    normal = InputTransform(COLOURS).normalise(images, sizes)
    assert normal.shape == (1, 3, 16, 48)
    assert normal[0, :, 0, 0].tolist() == [-1.0] * 3 and normal[0, :, 0, 35].tolist() == [1.0] * 3
    assert float(normal[0, :, 10:].abs().max()) == 0.0


def test_slices_share_the_rows_of_a_map() -> None:
    shares = height_shares(torch.tensor([4.0, 3.0]), 5, 2)
    assert shares[0].tolist() == [[0.5, 0.5, 0, 0, 0], [0, 0, 0.5, 0.5, 0]]
    third = 2 / 3
    assert shares[1].flatten().tolist() == pytest.approx([third, third / 2, 0, 0, 0, 0, third / 2, third, 0, 0])
    assert height_shares(torch.tensor([3.0]), 4, 1)[0, 0].tolist() == pytest.approx([1 / 3] * 3 + [0])
