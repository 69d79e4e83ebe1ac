"""One contract for all models: shapes, losses, gradients, padding, decoding, growth; and each learns what it is shown."""

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from toys import FORMULAS, IMAGE, VARIANTS, VOCABULARY, ink_of, narrow, picture_of

from hmer.augment import draw_ink
from hmer.batch import Batch
from hmer.checkpoint import Checkpoint, CheckpointConfig, load, save
from hmer.config import AugmentConfig, Decoding, ModelConfig
from hmer.datasets.batches import Sample, collate, draw_owners, symbol_positions
from hmer.decoding import beam, ctc_greedy, greedy
from hmer.errors import ConfigError
from hmer.image import pad, prepare
from hmer.models import MODELS, CtcModel, Model, build
from hmer.models.base import Encoded, anchor_loss, attention_loss, space_loss, symbol_loss, token_loss, with_ends
from hmer.models.encoders import inked_cells, inside
from hmer.models.transformer import TransformerModel
from hmer.recognizer import Recognizer
from hmer.vocabulary import END_ID, PAD_ID, START_ID, Vocabulary

PICTURES = [prepare(picture_of(places), IMAGE).pixels for places in FORMULAS.values()]
V = len(VOCABULARY)


@pytest.fixture(params=VARIANTS)
def model(request: pytest.FixtureRequest) -> Model:
    """A narrow model, no weight of which is zero or one by its initialisation."""
    torch.manual_seed(1)
    model = build(narrow(request.param), VOCABULARY)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.add_(torch.rand_like(buffer) * 0.2)
    return model.eval()


def batch_of(captions: list[str], *, owners: bool = True) -> Batch:
    samples = []
    for caption in captions:
        ink = ink_of(FORMULAS[caption])
        drawn = draw_ink(ink, IMAGE, AugmentConfig(), None)
        owned = draw_owners(drawn.strokes, ink, symbol_positions(caption.split(), ink), drawn.pixels.shape)
        samples.append(Sample(drawn.pixels, tuple(VOCABULARY.encode(caption.split())), owned if owners else None))
    return collate(samples)


def all_log_probs(model: Model, images: Tensor, sizes: Tensor, ids: list[list[int]]) -> list[Tensor]:
    """Log-probabilities step by step when the tokens of each picture are given: a (L + 1, V) for each.

    For CTC those of the frames, (T, V), whatever the tokens.
    """
    if isinstance(model, CtcModel):
        scores, frames = model.frame_scores(model.encode(images, sizes))
        return [row[:count] for row, count in zip(scores, frames.tolist(), strict=True)]
    step, state, last = model.start(model.encode(images, sizes), 1)
    rows: list[list[Tensor]] = [[] for _ in ids]
    for place in range(max(map(len, ids)) + 1):
        scores, state = step(last, state)
        for row, tokens in enumerate(ids):
            if place <= len(tokens):
                rows[row].append(scores[row])
        last = torch.tensor([tokens[place] if place < len(tokens) else PAD_ID for tokens in ids])
    return [torch.stack(scores) for scores in rows]


def test_an_unknown_architecture_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="'resnet'.*cnn_lstm.*transformer"):
        build(ModelConfig(architecture="resnet"), VOCABULARY)


def test_every_architecture_is_tried() -> None:
    assert {config.architecture for config in VARIANTS.values()} == set(MODELS)


@torch.inference_mode()
def test_shapes(model: Model) -> None:
    images, sizes = pad(PICTURES)
    encoded = model.encode(images, sizes)
    B, T = encoded.mask.shape
    assert len(encoded) == B == len(PICTURES)
    assert encoded.memory.shape == (B, T, model.config.lstm_width * 2 if isinstance(model, CtcModel) else 32)
    assert encoded.places.shape == (B, T)
    assert bool(encoded.mask.any(1).all())
    assert int(encoded.places.max()) < encoded.grid[0] * encoded.grid[1]
    if isinstance(model, CtcModel):
        scores, frames = model.frame_scores(encoded)
        assert scores.shape == (B, T, V)
        assert scores.dtype == torch.float32
        assert scores.exp().sum(-1).flatten().tolist() == pytest.approx([1.0] * (B * T), abs=1e-4)
        assert float(scores[:, :, [START_ID, END_ID]].exp().max()) == 0.0
        width = model.config.input.width_px
        stride = model.config.encoder_stride
        assert frames.tolist() == [-(-(width or wide) // stride) for wide in sizes[:, 1].tolist()]
        return
    if not model.config.input.fixed:
        stride = model.config.encoder_stride
        assert encoded.grid == (images.shape[2] // stride, images.shape[3] // stride)
    for beams in (1, 3):
        step, state, first = model.start(encoded, beams)
        assert first.tolist() == [START_ID] * (B * beams)
        scores, after = step(first, state)
        assert scores.shape == (B * beams, V)
        assert scores.dtype == torch.float32
        assert scores.exp().sum(-1).tolist() == pytest.approx([1.0] * (B * beams), abs=1e-4)
        assert all(len(value) == B * beams for value in after.values())


@torch.inference_mode()
def test_encoded_apart_and_decoded_together(model: Model) -> None:
    assert model.decodes_cells == isinstance(model, TransformerModel)
    if not model.decodes_cells:  # the decoder sees the map as a whole
        return
    parts = [model.encode(*pad([picture])) for picture in PICTURES]
    settings = {"end_id": END_ID, "max_length": 12}
    alone = [greedy(*model.start(part, 1), **settings)[0] for part in parts]
    for found, one in zip(greedy(*model.start(Encoded.joined(parts), 1), **settings), alone, strict=True):
        assert found.ids == one.ids
        assert found.log_probs == pytest.approx(one.log_probs, abs=1e-4)
    beams = [beam(*model.start(part, 3), width=3, **settings)[0] for part in parts]
    for found, several in zip(beam(*model.start(Encoded.joined(parts), 3), width=3, **settings), beams, strict=True):
        assert [one.ids for one in found] == [one.ids for one in several]


def test_captions_that_do_not_fit_have_no_part_in_the_loss() -> None:
    model = build(narrow("crnn_ctc"), VOCABULARY).eval()
    batch = batch_of(["1", "1 + x"], owners=False)
    alone = model.loss(batch)
    tokens = functional.pad(batch.tokens, (0, 500 - batch.tokens.shape[1]), value=PAD_ID)
    long = batch.tokens[:1, :1].repeat(2, 500)
    loss = model.loss(
        Batch(
            batch.images.repeat(2, 1, 1, 1), batch.sizes.repeat(2, 1),
            torch.cat([tokens, long]), torch.cat([batch.lengths, torch.tensor([500, 500])]),
        )
    )  # fmt: skip
    assert (loss.tokens, loss.parts["impossible"]) == (alone.tokens, 0.5)
    assert loss.parts["token"] == pytest.approx(alone.parts["token"], rel=1e-4)


@pytest.mark.parametrize("owners", [True, False], ids=["segmented", "plain"])
def test_the_loss_is_finite_and_counts_tokens(model: Model, owners: bool) -> None:
    batch = batch_of(list(FORMULAS), owners=owners)
    model.label_smoothing, model.symbol_weight, model.attention_weight = 0.1, 0.5, 0.3
    loss = model.train().loss(batch)
    assert math.isfinite(float(loss.total.detach()))
    ctc = isinstance(model, CtcModel)
    assert loss.tokens == sum(len(caption.split()) + (not ctc) for caption in FORMULAS)
    assert loss.count == (0 if ctc else loss.tokens)
    assert 0 <= loss.correct <= loss.count
    if ctc:
        assert loss.parts.keys() == {"token", "impossible"}
        assert loss.parts["impossible"] == 0
    else:
        guided = owners and getattr(model, "symbol_head", None) is not None
        assert set(loss.parts) == ({"token", "attention", "symbol"} if guided else {"token"})
    assert loss.log_likelihood < 0
    weighted = sum(term.weight * float(term.mean.detach()) for term in loss.terms.values())
    assert float(loss.total.detach()) == pytest.approx(weighted)
    assert float(model(batch).total.detach()) == pytest.approx(float(loss.total.detach()), rel=0.3)


def test_every_parameter_gets_a_gradient(model: Model) -> None:
    model.symbol_weight, model.attention_weight = 0.5, 0.3
    model.train().loss(batch_of(list(FORMULAS))).total.backward()
    without = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []
    assert all(bool(value.grad.isfinite().all()) for value in model.parameters() if value.grad is not None)


@torch.inference_mode()
def test_padding_changes_nothing(model: Model) -> None:
    ids = [VOCABULARY.encode(caption.split()) for caption in FORMULAS]
    images, sizes = pad(PICTURES, 160, 320)
    together = all_log_probs(model, images, sizes, ids)
    for picture, tokens, scores in zip(PICTURES, ids, together, strict=True):
        (alone,) = all_log_probs(model, *pad([picture]), [tokens])
        assert float((alone - scores).abs().max()) < 1e-4
    for picture, answer in zip(PICTURES, read(model, images, sizes), strict=True):
        (single,) = read(model, *pad([picture]))
        assert single == answer


def read(model: Model, images: Tensor, sizes: Tensor) -> list[tuple[int, ...]]:
    """The greedy answers, cut after 15 tokens."""
    encoded = model.encode(images, sizes)
    if isinstance(model, CtcModel):
        found = ctc_greedy(*model.frame_scores(encoded), blank_id=PAD_ID, end_id=END_ID, max_length=15)
    else:
        found = greedy(*model.start(encoded, 1), end_id=END_ID, max_length=15)
    return [hypothesis.ids for hypothesis in found]


@torch.inference_mode()
def test_captions_of_a_batch_do_not_disturb_each_other(model: Model) -> None:
    captions = list(FORMULAS)
    together = model.loss(batch_of(captions, owners=False)).log_likelihood
    alone = [model.loss(batch_of([caption], owners=False)).log_likelihood for caption in captions]
    assert together == pytest.approx(sum(alone), abs=1e-3)


@torch.inference_mode()
def test_step_by_step_is_as_with_teacher_forcing(model: Model) -> None:
    caption = "0 + 0 + 1"
    ids = VOCABULARY.encode(caption.split())
    batch = batch_of([caption], owners=False)
    if isinstance(model, CtcModel):
        likelihood = ctc_likelihood(*all_log_probs(model, batch.images, batch.sizes, [ids]), ids)
        assert model.loss(batch).log_likelihood == pytest.approx(likelihood, abs=1e-3)
        return
    (stepped,) = all_log_probs(model, batch.images, batch.sizes, [ids])
    if isinstance(model, TransformerModel):
        # With segmentation or in a single pass, the loss only approximates where the model looked before.
        forced = forced_transformer(model, batch, ids, START_ID)
        assert float((stepped - forced).abs().max()) < 1e-4
    else:
        likelihood = float(sum(stepped[place, token] for place, token in enumerate([*ids, END_ID])))
        assert model.loss(batch).log_likelihood == pytest.approx(likelihood, abs=1e-3)


def ctc_likelihood(scores: Tensor, ids: list[int]) -> float:
    """Log-probability of a caption over all its alignments, by the textbook's recursion over states."""
    states = [PAD_ID]
    for token in ids:
        states += [token, PAD_ID]
    reached = {0: float(scores[0, PAD_ID].exp()), 1: float(scores[0, ids[0]].exp())}
    for row in scores[1:].exp():
        after: dict[int, float] = {}
        for state, probability in reached.items():
            for target in (state, state + 1, state + 2):
                skips = target == state + 2
                if target < len(states) and not (skips and states[target] in (PAD_ID, states[state])):
                    after[target] = after.get(target, 0.0) + probability * float(row[states[target]])
        reached = after
    return math.log(reached.get(len(states) - 1, 0.0) + reached.get(len(states) - 2, 0.0))


def forced_transformer(model: TransformerModel, batch: Batch, ids: list[int], first: int) -> Tensor:
    """Teacher forcing with the feedback that decoding has: it is found by passes, each right for one step more."""
    encoded = model.encode(batch.images, batch.sizes)
    pictures = [layer.picture(encoded.memory) for layer in model.layers]
    hidden = ~encoded.mask[:, None, None]
    inputs = torch.tensor([[first, *ids]])
    known = model.written[torch.tensor([[*ids, PAD_ID]])]
    feedback = encoded.memory.new_zeros(1, inputs.shape[1], encoded.memory.shape[-1])
    for _ in range(inputs.shape[1] + 1):
        states, weights = model._decode(inputs, feedback, pictures, hidden)
        feedback = model._carry(weights @ encoded.memory, known)
    return model.out(states)[0].log_softmax(-1)


@torch.inference_mode()
def test_the_transformer_reads_backwards_too() -> None:
    torch.manual_seed(0)
    model = build(narrow("transformer"), VOCABULARY).eval()
    assert isinstance(model, TransformerModel)
    ids = VOCABULARY.encode(["x", "-", "2"])[::-1]
    batch = batch_of(["x - 2"], owners=False)
    step, state, last = model.start(model.encode(batch.images, batch.sizes), 1, reverse=True)
    assert last.tolist() == [END_ID]
    rows = []
    for token in [*ids, PAD_ID]:
        scores, state = step(last, state)
        rows.append(scores[0])
        last = torch.tensor([token])
    assert float((torch.stack(rows) - forced_transformer(model, batch, ids, END_ID)).abs().max()) < 1e-4


@torch.inference_mode()
def test_the_transformers_loss_is_what_decoding_says() -> None:
    """Of unsegmented writing, beside segmented one: the places fed back are those that decoding would have."""
    torch.manual_seed(0)
    model = build(narrow("transformer"), VOCABULARY).eval()
    captions = ["1 + x", "x - 2"]
    batch = batch_of(captions, owners=False)
    rows = [VOCABULARY.encode(caption.split()) for caption in captions]
    total = 0.0
    for ids, stepped in zip(rows, all_log_probs(model, batch.images, batch.sizes, rows), strict=True):
        total += float(sum(stepped[place, token] for place, token in enumerate([*ids, END_ID])))
    assert model.loss(batch).log_likelihood == pytest.approx(total, rel=2e-4)
    segmented = batch_of(captions, owners=True)
    segmented.located = torch.tensor([True, False])
    segmented.owners[1] = -1  # type: ignore[index]
    apart = [model.loss(batch_of(captions[:1], owners=True)), model.loss(batch_of(captions[1:], owners=False))]
    assert model.loss(segmented).log_likelihood == pytest.approx(sum(loss.log_likelihood for loss in apart), abs=1e-2)
    model.train()
    assert model.loss(batch).log_likelihood != pytest.approx(total, abs=1e-3)  # quick: without the places


@torch.inference_mode()
def test_beam_width_one_is_greedy_and_beams_do_not_mix(model: Model) -> None:
    if isinstance(model, CtcModel):  # its beam adds up alignments; see test_decoding.py
        return
    images, sizes = pad(PICTURES)
    encoded = model.encode(images, sizes)
    best = greedy(*model.start(encoded, 1), end_id=END_ID, max_length=12)
    ones = beam(*model.start(encoded, 1), width=1, end_id=END_ID, max_length=12)
    assert [answers[0].ids for answers in ones] == [hypothesis.ids for hypothesis in best]
    wide = beam(*model.start(encoded, 4), width=4, end_id=END_ID, max_length=12)
    for answers in wide:
        assert len({hypothesis.ids for hypothesis in answers}) == len(answers)
    # What the beam recorded is what the model says of these tokens: the rows of its state were kept in order.
    for row, answers in enumerate(wide):
        for hypothesis in answers[:2]:
            (scores,) = all_log_probs(model, *pad([PICTURES[row]]), [list(hypothesis.ids)])
            whole = [*hypothesis.ids, END_ID] if hypothesis.finished else list(hypothesis.ids)
            recorded = [float(scores[place, token]) for place, token in enumerate(whole)]
            assert hypothesis.log_probs == pytest.approx(recorded, abs=1e-3)


@torch.inference_mode()
def test_a_grown_vocabulary_keeps_old_outputs(model: Model) -> None:
    images, sizes = pad(PICTURES[:3])
    ids = [VOCABULARY.encode(caption.split()) for caption in list(FORMULAS)[:3]]
    before = all_log_probs(model, images, sizes, ids)
    model.grow_vocabulary(["\\Delta", "x", "\\Gamma"])
    assert model.vocabulary.tokens == (*VOCABULARY.tokens, "\\Delta", "\\Gamma")
    after = all_log_probs(model, images, sizes, ids)
    for old, new in zip(before, after, strict=True):
        assert new.shape[-1] == V + 2
        assert float((new[:, :V].log_softmax(-1) - old).abs().max()) < 1e-5
        assert bool(new.isfinite().all())
    unchanged = copy.deepcopy(model.state_dict())
    model.grow_vocabulary(["\\Delta"])
    assert all(torch.equal(value, unchanged[name]) for name, value in model.state_dict().items())
    fresh = build(model.config, model.vocabulary)
    fresh.load_state_dict(model.state_dict(), strict=True)


@torch.inference_mode()
def test_saved_and_loaded_gives_the_same_but_for_half_precision(model: Model, tmp_path: Path) -> None:
    config = CheckpointConfig("toy", VOCABULARY.words, model=model.config)
    loaded = load(save(tmp_path / "toy", model, config)).model
    halved = copy.deepcopy(model)
    halved.load_state_dict({name: value.half().to(value.dtype) for name, value in model.state_dict().items()})
    images, sizes = pad(PICTURES[:2])
    ids = [VOCABULARY.encode(caption.split()) for caption in list(FORMULAS)[:2]]
    for exact, rounded, read in zip(
        *(all_log_probs(part, images, sizes, ids) for part in (model, halved, loaded)), strict=True
    ):
        assert torch.equal(rounded, read)
        assert float((exact - read).abs().max()) < 0.05
    assert not loaded.training


LEARNT = [
    *((name, False) for name in VARIANTS if name not in ("crnn_ctc slices", "cnn_lstm multiplicative")),
    pytest.param("crnn_ctc slices", False, marks=pytest.mark.slow),
    pytest.param("cnn_lstm multiplicative", False, marks=pytest.mark.slow),
    *(pytest.param(name, True, marks=pytest.mark.slow) for name in ("cnn_lstm", "transformer")),
]


@pytest.mark.parametrize(("architecture", "owners"), LEARNT)
def test_eight_formulas_are_learnt_by_heart(architecture: str, owners: bool) -> None:
    torch.manual_seed(0)
    model = build(narrow(architecture), VOCABULARY)
    model.symbol_weight, model.attention_weight = 0.5, 0.3
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    batch = batch_of(list(FORMULAS), owners=owners)
    model.train()
    for _ in range(400):
        loss = model.loss(batch)
        optimizer.zero_grad()
        loss.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if loss.correct == loss.count and float(loss.terms["token"].mean.detach()) < 0.02:
            break
    for _ in range(20):  # until the running statistics of the normalisation have followed
        with torch.no_grad():
            model.loss(batch)
    config = CheckpointConfig("toy", VOCABULARY.words, model=model.config)
    recognizer = Recognizer(Checkpoint(model.eval(), config, "toy"))
    drawn = [draw_ink(ink_of(places), IMAGE, AugmentConfig(), None).pixels for places in FORMULAS.values()]
    for settings in (Decoding(), Decoding(strategy="beam", beam_width=3), Decoding(grammar=True)):
        answers = recognizer.recognize_prepared(drawn, settings)
        assert [" ".join(answer.tokens) for answer in answers] == list(FORMULAS)


# Captions 5 6 and 7: with their ends.
@pytest.mark.parametrize(
    ("reverse", "inputs", "targets"),
    [
        (False, [[1, 5, 6], [1, 7, 0]], [[5, 6, 2], [7, 2, 0]]),
        (True, [[2, 6, 5], [2, 7, 0]], [[6, 5, 1], [7, 1, 0]]),
    ],
)
def test_ends(reverse: bool, inputs: list[list[int]], targets: list[list[int]]) -> None:
    # Whatever stands behind a caption is no part of it.
    given = with_ends(torch.tensor([[5, 6], [7, 9]]), torch.tensor([2, 1]), reverse=reverse)
    assert [part.tolist() for part in given] == [inputs, targets]


def test_token_loss_is_the_mean_over_tokens_without_padding() -> None:
    logits = torch.tensor([[[0.0, 0, 0, 0], [9, 9, 9, 9]], [[0, math.log(3), 0, 0], [0, 0, 0, 0]]])
    targets = torch.tensor([[2, PAD_ID], [1, 3]])
    expected = (math.log(4) + math.log(2) + math.log(4)) / 3
    assert float(token_loss(logits, targets, 0.0).mean) == pytest.approx(expected)


def test_the_anchor_is_a_divergence_over_the_tokens_that_it_knows() -> None:
    then = torch.tensor([[[0.5, 0.5], [0.9, 0.1]]]).log()
    now = torch.tensor([[[0.25, 0.25, 0.5], [0.9, 0.1, 0.0], [1.0, 0.0, 0.0]]]).clamp(min=1e-9).log()
    targets = torch.tensor([[4, PAD_ID, 4]])
    term = anchor_loss(now, then, targets, 20.0)
    assert (int(term.count), term.weight) == (1, 20.0)  # neither padding nor what lies behind the anchor
    assert float(term.mean) == pytest.approx(math.log(2))  # half of what it said went to a new token
    assert float(anchor_loss(now[:, :2, :2], then, torch.tensor([[PAD_ID, 4]])).mean) == pytest.approx(0.0, abs=1e-6)


def test_space_loss_asks_the_cells_of_a_symbol_what_stands_before_it() -> None:
    tokens = torch.tensor([[5, 6, 7, 5, 8]])  # 6 and 7 are spaces, before the fourth symbol
    told = torch.tensor([[1, 4, 4, 4, 0]])
    owners = torch.tensor([[1, 4, 4, -1, 0, 5]])
    mask = torch.ones(1, 6, dtype=torch.bool)
    logits = torch.zeros(1, 6, 9)
    logits[0, 1, 6] = 2.0
    nothing, right = math.log(3), math.log(2 + math.exp(2)) - 2
    loss = space_loss(logits, owners, mask, tokens, told, torch.tensor([6, 7]))
    assert int(loss.count) == 4
    assert float(loss.sum) == pytest.approx(3 * nothing + right, abs=1e-5)
    logits[0, 2, 7] = 50.0
    assert float(space_loss(logits, owners, mask, tokens, told, torch.tensor([6, 7])).sum) > 45  # the first counts


def test_symbol_loss_counts_paper_a_fifth_and_unknown_not() -> None:
    tokens = torch.tensor([[7, 8]])
    owners, mask = torch.tensor([[2, 0, -1, 1]]), torch.tensor([[True, True, True, False]])
    logits = torch.zeros(1, 4, 10)
    logits[0, 0, 8] = math.log(11)  # probability 11 / 20 for the right symbol
    logits[0, 1, PAD_ID] = math.log(21)  # 21 / 30 for paper
    expected = (-math.log(11 / 20) - 0.2 * math.log(21 / 30)) / 1.2
    assert float(symbol_loss(logits, owners, mask, tokens).mean) == pytest.approx(expected, abs=1e-5)
    assert float(symbol_loss(logits, owners * 0 - 1, mask, tokens).mean) == 0.0


def test_attention_loss_is_of_the_mass_on_the_symbols_cells() -> None:
    weights = torch.tensor([[[0.5, 0.25, 0.25], [0.2, 0.3, 0.5]]])
    owned = torch.tensor([[[True, True, False], [False, False, False]]])
    assert float(attention_loss(weights, owned).mean) == pytest.approx(-math.log(0.75 + 1e-4))
    assert float(attention_loss(weights, owned & False).mean) == 0.0


def test_inside_is_the_true_size() -> None:
    mask = inside(torch.tensor([[16, 8], [8, 24]]), 2, 3, 8)
    assert mask[:, 0].tolist() == [[[1, 0, 0], [1, 0, 0]], [[1, 1, 1], [0, 0, 0]]]


def test_only_inked_cells_are_kept_in_order() -> None:
    images = torch.zeros(2, 1, 16, 24)
    images[0, 0, 3, 20] = images[0, 0, 10, 1] = 1.0  # cells 2 and 3
    images[1, 0, 0, 0] = images[1, 0, 15, 23] = 1.0  # cells 0, and 5 outside the true size
    chosen, known = inked_cells(images, inside(torch.tensor([[16, 24], [8, 8]]), 2, 3, 8))
    assert chosen[0][known[0]].tolist() == [2, 3]
    assert chosen[1][known[1]].tolist() == [0]


def test_a_vocabulary_of_another_size_gives_another_output_layer() -> None:
    vocabulary = Vocabulary(["a", "b"])
    for architecture in VARIANTS:
        assert build(narrow(architecture), vocabulary).out.out_features == 5  # type: ignore[union-attr]
