"""The language model: what it says in decoding, what it keeps silent about, and how it is trained."""

import copy
from pathlib import Path

import pytest
import torch
from toys import FORMULAS, IMAGE, VOCABULARY, narrow, picture_of

from hmer import language as training
from hmer.checkpoint import Checkpoint, CheckpointConfig, load, save
from hmer.config import LanguageConfig, ModelConfig, TrainConfig
from hmer.datasets.batches import Sample, collate
from hmer.decoding import Step, beam, forced_scores, greedy
from hmer.errors import ConfigError, DatasetError
from hmer.finetune import _let_learn
from hmer.image import pad, prepare
from hmer.language import LanguageTraining, negative_log_likelihood, speaking, texts_of, train_language
from hmer.models import Model, build
from hmer.models.base import with_ends
from hmer.models.language import LanguageModel
from hmer.vocabulary import END_ID, START_ID, Vocabulary
from scripts.train_language import main

WITH_LIMITS = Vocabulary([*VOCABULARY.words, "\\limits"])
ONE, X, PLUS, LIMITS = WITH_LIMITS.encode(["1", "x", "+", "\\limits"])


@pytest.fixture
def language() -> LanguageModel:
    torch.manual_seed(3)
    return LanguageModel(LanguageConfig(16, len(WITH_LIMITS), weight=0.7), WITH_LIMITS).eval()


def even(count: int) -> Step:
    """A recogniser to which all of `count` tokens are as likely."""
    return lambda ids, state: (torch.zeros(len(ids), count).log_softmax(-1), state)


@torch.inference_mode()
def test_step_by_step_it_says_what_it_says_of_the_whole(language: LanguageModel) -> None:
    language.index(WITH_LIMITS.grown(["\\Delta"]))
    new = len(WITH_LIMITS)
    sequences = [[ONE, PLUS, X], [ONE, LIMITS, PLUS, X], [LIMITS, new, ONE, PLUS, new, LIMITS, X]]
    count = new + 1
    for sequence in sequences:
        step, state, first = language.heard(even(count), {}, torch.tensor([START_ID]))
        alone = forced_scores(step, state, first, [*sequence, END_ID])
        inputs, _ = with_ends(torch.tensor([sequence]), torch.tensor([len(sequence)]), reverse=False)
        whole = language.judged(inputs, torch.zeros(1, len(sequence) + 1, count)).log_softmax(-1)[0]
        assert torch.allclose(alone, whole, atol=1e-5)
    # What it does not read changes nothing of what it says next.
    last = [language.judged(torch.tensor([[START_ID, *ids]]), torch.zeros(1, len(ids) + 1, count)) for ids in sequences]
    assert torch.allclose(last[0][0, -1], last[1][0, -1], atol=1e-5)


@torch.inference_mode()
def test_of_what_it_does_not_know_it_says_nothing(language: LanguageModel) -> None:
    language.index(WITH_LIMITS.grown(["\\Delta"]))
    opinion = language._opinion(language(torch.tensor([[START_ID, ONE]])))
    assert opinion.shape == (1, 2, len(WITH_LIMITS) + 1)
    assert opinion[..., [LIMITS, len(WITH_LIMITS)]].eq(0).all()
    logits = language(torch.tensor([[START_ID, ONE]])).log_softmax(-1)
    # Of what it knows, by its own probabilities, nothing on the whole.
    expected = (logits.exp() * (opinion[..., :-1] / 0.7)).sum(-1) + 0.0
    silent = (logits.exp() * (logits - (logits.exp() * logits).sum(-1, keepdim=True)))[..., LIMITS]
    assert expected.tolist()[0] == pytest.approx((-silent).tolist()[0], abs=1e-5)


def test_it_learns_what_is_usual_and_that_decides_where_the_picture_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "BATCH_TOKENS", 100)
    usual = texts_of(["1+x", "1+x", "1+x", "x-2", "y+1", "\\frac{", "1 " * 200], "crohme", VOCABULARY)
    assert [VOCABULARY.decode(text) for text in usual] == [["1", "+", "x"]] * 3 + [["x", "-", "2"]]
    told: list[tuple[float, float]] = []
    model = train_language(
        usual, usual, VOCABULARY, LanguageTraining(32, passes=2_500, seed=1), lambda *now: told.append(now)
    )
    with torch.inference_mode():
        assert float(negative_log_likelihood(model, usual)) < 0.4
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert told[-1][1] < told[0][1]
    heard = model.heard(even(len(VOCABULARY)), {}, torch.tensor([START_ID]))
    (answer,) = greedy(*heard, end_id=END_ID, max_length=9)
    assert VOCABULARY.decode(answer.ids) == ["1", "+", "x"]
    assert texts_of(["1+x", "x-2"], "crohme", VOCABULARY, {("1", "+", "x")}) == [
        tuple(VOCABULARY.encode(["x", "-", "2"]))
    ]
    with pytest.raises(DatasetError, match="No formula"):
        train_language([], usual, VOCABULARY)


def spoken(name: str, weight: float = 0.5) -> Model:
    """A model with an untrained language model."""
    torch.manual_seed(5)
    config = CheckpointConfig("toy", VOCABULARY.words, model=narrow(name))
    language = LanguageModel(LanguageConfig(16, len(VOCABULARY)), VOCABULARY)
    checkpoint = Checkpoint(build(config.model, VOCABULARY).eval(), config, "toy")
    return speaking(checkpoint, language, weight).model


@pytest.mark.parametrize("name", ["transformer", "cnn_lstm"])
def test_models_decode_with_it_and_measure_with_it_but_learn_without(name: str) -> None:
    model, silent = spoken(name), spoken(name, 0.0)
    picture = prepare(picture_of(FORMULAS["1 + x"]), IMAGE).pixels
    images, sizes = pad([picture])
    ids = VOCABULARY.encode(["1", "+", "x"])
    with torch.inference_mode():
        scores = [forced_scores(*it.start(it.encode(images, sizes), 1), ids) for it in (model, silent)]
        assert not torch.allclose(*scores, atol=1e-3)
        best = greedy(*model.start(model.encode(images, sizes), 1), end_id=END_ID, max_length=9)[0]
        ended = beam(*model.start(model.encode(images, sizes), 3), width=3, end_id=END_ID, max_length=9)[0]
    assert len(best.ids) <= 9
    assert len(ended) == 3
    batch = collate([Sample(picture, tuple(ids), None)])
    with torch.inference_mode():
        told = forced_scores(*model.start(model.encode(images, sizes), 1), [*ids, END_ID])
    expected = sum(float(row[token]) for row, token in zip(told, [*ids, END_ID], strict=True))
    assert model.loss(batch).log_likelihood == pytest.approx(expected, abs=1e-3)
    model.train()
    torch.manual_seed(1)
    taught = model.loss(batch)
    torch.manual_seed(1)
    assert float(taught.total.detach()) == pytest.approx(float(silent.train().loss(batch).total.detach()), abs=1e-5)
    taught.total.backward()
    assert model.language is not None
    assert all(parameter.grad is None for parameter in model.language.parameters())


def test_fine_tuning_leaves_it_and_new_symbols_are_none_of_its_business(tmp_path: Path) -> None:
    model = spoken("transformer")
    assert model.language is not None
    for new_symbols in (False, True):
        _let_learn(model, new_symbols=new_symbols)
        assert not any(parameter.requires_grad for parameter in model.language.parameters())
    before = copy.deepcopy(model.language.state_dict())
    model.grow_vocabulary(["\\Delta"])
    assert model.language.known.tolist() == [True] * len(VOCABULARY) + [False]
    assert all(torch.equal(before[name], value) for name, value in model.language.state_dict().items())
    config = CheckpointConfig("toy", model.vocabulary.words, model=model.config)
    again = load(save(tmp_path / "grown", model, config))
    assert again.config.model.language == model.config.language
    assert again.model.language is not None
    assert again.model.language.known.tolist() == model.language.known.tolist()


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="tokens"):
        LanguageModel(LanguageConfig(16, len(VOCABULARY) + 1), VOCABULARY)
    with pytest.raises(ConfigError, match=r"train_language\.py"):
        TrainConfig(train=("a",), model=ModelConfig(language=LanguageConfig(16, 9)))
    with pytest.raises(ConfigError, match="even"):
        LanguageConfig(15)


def test_the_script_gives_a_checkpoint_its_say(
    toy_checkpoint: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "formulas.txt").write_text("1+x\nbook\tx-2\n2=x\n\\nonsense{\n", encoding="utf-8")
    out = tmp_path / "spoken"
    arguments = [
        str(tmp_path / "formulas.txt"), "--checkpoint", str(toy_checkpoint), "--data", f'["{toy_data}"]', "--out", str(out),
        "--validation", str(toy_data), "--weights", "[0.2, 0.4]", "--width", "16", "--passes", "3",
        "--exclude", f'["{toy_data}"]', "--limit", "4",
    ]  # fmt: skip
    with pytest.raises(DatasetError, match="No formula"):  # all that is listed is also in the folder to exclude
        main(arguments)
    arguments[arguments.index("--exclude") : arguments.index("--limit")] = []
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "3 formulas and 16 captions" in printed
    assert "weight 0.2: ExpRate" in printed
    assert "weight 0.4: ExpRate" in printed
    made = load(out)
    assert made.config.model.language.weight in (0.2, 0.4)
    assert made.config.parent == load(toy_checkpoint).id
    assert len(made.config.calibration) == 2
    with pytest.raises(ConfigError, match="exists already"):
        main(arguments)
    ctc = CheckpointConfig("ctc", VOCABULARY.words, model=narrow("crnn_ctc"))
    folder = save(tmp_path / "ctc", build(ctc.model, VOCABULARY), ctc)
    arguments[2], arguments[arguments.index("--out") + 1] = str(folder), str(tmp_path / "other")
    with pytest.raises(ConfigError, match="no say"):
        main(arguments)
