"""The language model: what it says in decoding, what it keeps silent about, and how it is trained."""

import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toys import FORMULAS, VOCABULARY, narrow, picture_of, trained_on

from hmer import language as training
from hmer.checkpoint import Checkpoint, CheckpointConfig, load, save
from hmer.config import Decoding, LanguageConfig, ModelConfig, TrainConfig
from hmer.decoding import Hypothesis, informed
from hmer.errors import ConfigError, DatasetError
from hmer.finetune import _let_learn
from hmer.language import LanguageTraining, negative_log_likelihood, speaking, texts_of, train_language
from hmer.models import Model, build
from hmer.models.language import LanguageModel
from hmer.recognizer import Recognizer
from hmer.vocabulary import END_ID, SPECIAL, START_ID, Vocabulary
from scripts.train_language import main

WITH_LIMITS = Vocabulary([*VOCABULARY.words, "\\limits"])
ONE, X, PLUS, LIMITS = WITH_LIMITS.encode(["1", "x", "+", "\\limits"])


@pytest.fixture
def language() -> LanguageModel:
    torch.manual_seed(3)
    return LanguageModel(LanguageConfig(16, len(WITH_LIMITS)), WITH_LIMITS).eval()


@torch.inference_mode()
def test_its_opinion_by_hand(language: LanguageModel) -> None:
    log_probs = language(torch.tensor([[START_ID, ONE, PLUS]])).log_softmax(-1)[0]
    likelier = 0.0
    for place, token in enumerate([ONE, PLUS, END_ID]):
        expected = float((log_probs[place].exp() * log_probs[place]).sum())
        likelier += float(log_probs[place, token]) - expected
    assert language.opinions([[ONE, PLUS]]) == pytest.approx([likelier], abs=1e-4)
    # Whatever else is in the batch.
    assert language.opinions([[X] * 9, [ONE, PLUS], []])[1] == pytest.approx(likelier, abs=1e-4)


def test_what_it_does_not_know_it_neither_reads_nor_judges(language: LanguageModel) -> None:
    new = len(WITH_LIMITS)
    said = language.opinions([[ONE, PLUS, X], [ONE, LIMITS, PLUS, X], [LIMITS, new, ONE, PLUS, new, X, LIMITS]])
    assert said == pytest.approx([said[0]] * 3, abs=1e-5)


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
    candidates = [tuple(VOCABULARY.encode(text.split())) for text in ("2 + x", "1 + x", "1 + 1 + 1", "x -")]
    unsure = [Hypothesis(ids, (-1.0,), True, -1.0) for ids in candidates]
    (ordered,) = informed([unsure], model.opinions, weight=0.5, length_penalty=0.0)
    assert ordered[0].ids == candidates[1]
    said = model.opinions(candidates)
    assert {item.ids: item.language for item in ordered} == pytest.approx(
        {ids: 0.5 * value for ids, value in zip(candidates, said, strict=True)}
    )
    assert [item.score for item in ordered] == sorted((-1.0 + item.language for item in ordered), reverse=True)
    cut = replace(unsure[1], finished=False)
    for place in (0, -1):  # what a search found likelier than all that ended stays at the head
        found = [cut, *unsure[::2]] if place == 0 else [*unsure[::2], cut]
        assert not informed([found], model.opinions, weight=0.5, length_penalty=0.0)[0][place].finished
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


@pytest.mark.parametrize("name", ["transformer", "cnn_lstm", "crnn_ctc"])
def test_it_ranks_what_beam_search_found_and_nothing_else(name: str) -> None:
    model, silent = spoken(name, 3.0), spoken(name, 0.0)
    readers = [Recognizer(Checkpoint(it, CheckpointConfig("toy", VOCABULARY.words), "toy")) for it in (model, silent)]
    picture = readers[0].read(picture_of(FORMULAS["1 + x"]))
    greedy = [reader.recognize_prepared([picture], Decoding(max_length=9))[0] for reader in readers]
    assert greedy[0].tokens == greedy[1].tokens
    assert greedy[0].log_prob == greedy[1].log_prob
    beam = Decoding(strategy="beam", beam_width=6, max_length=9, length_penalty=0.0)
    heard, unheard = (reader.recognize_prepared([picture], beam)[0].alternatives for reader in readers)
    assert {one.tokens for one in heard} == {one.tokens for one in unheard}
    assert model.language is not None
    said = model.language.opinions([VOCABULARY.encode(one.tokens) for one in unheard])
    weights = [one.probability * math.exp(3.0 * value) for one, value in zip(unheard, said, strict=True)]
    expected = {one.tokens: weight / sum(weights) for one, weight in zip(unheard, weights, strict=True)}
    assert {one.tokens: one.probability for one in heard} == pytest.approx(expected, rel=1e-3)
    finished = [one.probability for one in heard]
    assert finished[0] == max(finished) or name != "crnn_ctc"


def test_fine_tuning_leaves_it_and_new_symbols_are_none_of_its_business(tmp_path: Path) -> None:
    model = spoken("transformer")
    assert model.language is not None
    for new_symbols in (False, True):
        _let_learn(model, new_symbols=new_symbols)
        assert not any(parameter.requires_grad for parameter in model.language.parameters())
    before = copy.deepcopy(model.language.state_dict())
    model.grow_vocabulary(["\\Delta"])
    assert model.language.known == frozenset(range(len(SPECIAL), len(VOCABULARY)))
    assert all(torch.equal(before[name], value) for name, value in model.language.state_dict().items())
    config = CheckpointConfig("toy", model.vocabulary.words, model=model.config)
    again = load(save(tmp_path / "grown", model, config))
    assert again.config.model.language == model.config.language
    assert again.model.language is not None
    assert again.model.language.known == model.language.known


def test_training_on_from_a_checkpoint_carries_it_along(toy_data: Path, tmp_path: Path) -> None:
    model = spoken("transformer")
    start = save(tmp_path / "start", model, CheckpointConfig("toy", VOCABULARY.words, model=model.config))
    before = load(start).model
    after = trained_on(start, toy_data, tmp_path / "run")
    assert after.language is not None
    assert before.language is not None
    same = before.language.state_dict()
    assert all(torch.equal(same[name], value) for name, value in after.language.state_dict().items())
    assert not torch.equal(before.out.weight, after.out.weight)


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
    with pytest.raises(ConfigError, match="exists already"):
        main(arguments)
