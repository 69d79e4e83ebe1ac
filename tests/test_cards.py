"""Cards and licences: what follows from what, and what the Hub reads."""

import pytest
import yaml
from huggingface_hub import ModelCard

from hmer import cards
from hmer.cards import check_licence, conditions, metadata, model_card
from hmer.errors import HubError


@pytest.mark.parametrize(
    ("licence", "parent"),
    [
        ("mit", "mit"),
        ("cc-by-nc-sa-3.0", "cc-by-nc-sa-3.0"),
        ("cc-by-nc-sa-4.0", "cc-by-nc-sa-3.0"),
        ("cc-by-nc-sa-4.0", "cc-by-4.0"),
        ("cc-by-nc-4.0", "apache-2.0"),
        ("apache-2.0", "cc0-1.0"),
        ("house-rules", "house-rules"),
    ],
)
def test_licences_that_may_follow(licence: str, parent: str) -> None:
    check_licence(licence, parent)


@pytest.mark.parametrize(
    ("licence", "parent", "said"),
    [
        (
            "apache-2.0",
            "cc-by-nc-sa-3.0",
            r"looser than the parent's cc-by-nc-sa-3.0 \(no commercial use, share alike\)",
        ),
        ("cc-by-nc-4.0", "cc-by-nc-sa-3.0", r"looser .* \(share alike\)"),
        ("cc-by-sa-4.0", "cc-by-nc-sa-4.0", r"looser .* \(no commercial use\)"),
        ("cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "same licence"),
        ("cc-by-nc-sa-4.0", "cc-by-sa-4.0", "same licence"),
        ("gpl-3.0", "cc-by-sa-4.0", "same licence"),
        ("cc0-1.0", "cc-by-4.0", r"looser .* \(attribution\)"),
        ("cc-by-nc-nd-4.0", "cc-by-nc-nd-4.0", "forbids to share"),
        ("mit", "house-rules", "'house-rules' is not known"),
        ("house-rules", "mit", "'house-rules' is not known"),
    ],
)
def test_licences_that_may_not(licence: str, parent: str, said: str) -> None:
    with pytest.raises(HubError, match=said):
        check_licence(licence, parent)


def test_conditions() -> None:
    assert conditions("cc-by-nc-sa-3.0") == {"attribution", "no commercial use", "share alike"}
    assert conditions("cc-by-4.0") == {"attribution"}
    assert conditions("cc-by-nd-4.0") == {"attribution", "no derivatives"}
    assert conditions("cc0-1.0") == frozenset()
    assert conditions("cc-by-4.0 ") is None


def test_model_card_in_the_form_that_the_hub_reads() -> None:
    figures = {
        "checkpoint": "mine-1",
        "data": "/home/ada/sets/test2014",
        "n": 986,
        "exprate": 0.30324,
        "bleu": 71.4,
        "le1": None,
    }
    text = model_card(
        '---\nlicense: mit\ntags: [own]\n---\n# mine\n\n"train": ["/home/ada/sets/own"], "out": "runs/x"\n',
        name="mine", licence="cc-by-4.0", base_model="ada/old", datasets=["ada/ink"], evaluations=[figures],
    )  # fmt: skip
    assert metadata(text) == {
        "license": "cc-by-4.0",
        "tags": ["own", "hmer", "latex"],
        "pipeline_tag": "image-to-text",
        "library_name": "hmer",
        "base_model": "ada/old",
        "datasets": ["ada/ink"],
        "model-index": [
            {
                "name": "mine",
                "results": [
                    {
                        "task": {"type": "image-to-text"},
                        "dataset": {"type": "test2014", "name": "test2014", "args": {"n": 986}},
                        "metrics": [
                            {"type": "exprate", "value": 0.3032, "name": "ExpRate"},
                            {"type": "bleu", "value": 71.4, "name": "BLEU"},
                        ],
                    }
                ],
            }
        ],
    }
    assert "/home/ada" not in text
    assert '"train": ["own"], "out": "runs/x"' in text
    again = model_card(text, name="mine", licence="cc-by-4.0")
    assert metadata(again) == metadata(text)
    assert ModelCard(text).data.eval_results[0].metric_value == 0.3032


def test_card_without_a_head_and_with_a_broken_one() -> None:
    text = model_card("# mine\n", name="mine", licence="mit")
    assert metadata(text)["license"] == "mit"
    assert text.endswith("---\n# mine\n")
    for broken in ("---\n[\n---\n", "---\n- a\n---\n"):
        with pytest.raises(HubError, match="card's metadata"):
            model_card(broken, name="mine", licence="mit")


def test_metadata_executes_nothing() -> None:
    with pytest.raises(HubError, match="cannot be read"):
        metadata("---\na: !!python/object/apply:os.system ['true']\n---\n")
    assert yaml.safe_load("a: 1") == {"a": 1}


def test_every_known_licence_is_lower_case() -> None:
    assert all(name == name.lower() for name in cards.LICENCES)
