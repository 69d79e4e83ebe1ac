"""Who reads a picture when nobody says: the surer one, and whoever can where another cannot."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from hmer.checkpoint import bundled
from hmer.config import AUTOMATIC, Decoding
from hmer.errors import BadImage
from hmer.recognizer import Recognizer
from hmer.routing import MARGIN, READERS, Automatic, available, load, plain, reader_of, surest
from hmer.ui.options import AppOptions
from hmer.ui.services import Services

EXAMPLES = sorted((Path(__file__).parent.parent / "hmer" / "ui" / "examples").glob("*.png"))


@pytest.fixture(scope="module")
def automatic() -> Automatic:
    reader = load(AUTOMATIC)
    assert isinstance(reader, Automatic)
    return reader


@pytest.fixture(scope="module")
def typeset() -> list[Path]:
    """Pictures that the checkpoint for print was not trained on."""
    return sorted((bundled()["printed"] / "regression").glob("*.png"))[:12]


def test_handwriting_and_print_find_their_readers(automatic: Automatic, typeset: list[Path]) -> None:
    assert available()
    by_hand = automatic.recognize(EXAMPLES)
    assert [reader_of(answer.checkpoint) for answer in by_hand] == ["handwritten"] * len(EXAMPLES)
    in_print = [reader_of(answer.checkpoint) for answer in automatic.recognize(typeset)]
    assert in_print.count("printed") >= len(typeset) - 2


def test_the_answer_is_that_of_the_reader_alone(automatic: Automatic) -> None:
    alone = {name: Recognizer.load(name).recognize([EXAMPLES[0]])[0] for name in READERS}
    answer = automatic.recognize([EXAMPLES[0]])[0]
    best = surest(list(alone.values()))
    assert (answer.latex, answer.confidence, answer.checkpoint) == (best.latex, best.confidence, best.checkpoint)


def test_an_answer_without_an_end_counts_only_alone(automatic: Automatic) -> None:
    answer = automatic.recognize([EXAMPLES[0]])[0]
    running = dataclasses.replace(answer, log_prob=-0.01, finished=False)
    assert surest([running, answer]).finished
    assert not surest([running]).finished


@pytest.mark.parametrize(("ahead", "which"), [(0.5, "other-0"), (2.0, "first-0")])
def test_print_must_be_surer_by_a_margin(automatic: Automatic, ahead: float, which: str) -> None:
    answer = dataclasses.replace(automatic.recognize([EXAMPLES[0]])[0], checkpoint="first-0")
    short = ahead * MARGIN * (len(answer.tokens) + 1)
    answer = dataclasses.replace(answer, log_prob=-1.0 - MARGIN * 2 * (len(answer.tokens) + 1))
    other = dataclasses.replace(answer, checkpoint="other-0", log_prob=-1.0 - short)
    assert surest([answer, other]).checkpoint == which


def test_of_equally_sure_answers_the_first_counts(automatic: Automatic) -> None:
    answer = automatic.recognize([EXAMPLES[0]])[0]
    other = dataclasses.replace(answer, checkpoint="other-0", seconds=1.0)
    assert surest([answer, other]) == dataclasses.replace(answer, seconds=answer.seconds + 1.0)


def test_what_one_reader_refuses_the_other_reads(automatic: Automatic, typeset: list[Path]) -> None:
    prepared = automatic.read(typeset[0])
    assert set(prepared) == set(READERS)
    refused = prepared | {"handwritten": BadImage("too long")}
    assert reader_of(automatic.recognize_prepared([refused])[0].checkpoint) == "printed"
    with pytest.raises(BadImage):
        automatic.read(np.full((40, 40), 255, np.uint8))


def test_an_answer_leads_to_the_checkpoint_that_gave_it(tmp_path: Path) -> None:
    services = Services(AppOptions(store=str(tmp_path / "annotations.db")))
    try:
        picture = EXAMPLES[0].read_bytes()
        assert services.options.checkpoint == AUTOMATIC == services.checkpoints()[0].reference
        for drawn in (True, False):
            seen = services.recognize(picture, Decoding(), AUTOMATIC, drawn=drawn)
            assert seen.reference == reader_of(seen.recognition.checkpoint) == "handwritten"
        assert services.recognizers.together(AUTOMATIC) is services.recognizers.together(AUTOMATIC)
    finally:
        services.close()


def test_only_automatic_stands_for_another() -> None:
    assert plain(AUTOMATIC) == "handwritten"
    assert [plain(name) for name in ("printed", "hf://ada/mine")] == ["printed", "hf://ada/mine"]
