"""Cards of repositories: their metadata, and which licence may follow from which."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from huggingface_hub import DatasetCard, DatasetCardData, EvalResult, ModelCard, ModelCardData

from hmer.datasets.imagefolder import DatasetFacts
from hmer.errors import HubError
from hmer.hub import TAG

PIPELINE = "image-to-text"
# Figures of an evaluation that a model card carries: key in evaluate.py's JSON, and how it is called.
METRICS = {
    "exprate": "ExpRate",
    "le1": "ExpRate, at most 1 edit",
    "le2": "ExpRate, at most 2 edits",
    "token_error_rate": "Token error rate",
    "bleu": "BLEU",
}

_FREE: frozenset[str] = frozenset()
_NAMED = frozenset({"attribution"})
_COPYLEFT = frozenset({"attribution", "share alike"})
# What else than Creative Commons is commonly chosen, with the conditions that matter for what is made from it.
LICENCES: dict[str, frozenset[str]] = {
    "cc0-1.0": _FREE, "unlicense": _FREE, "pddl": _FREE,
    "mit": _NAMED, "apache-2.0": _NAMED, "bsd-2-clause": _NAMED, "bsd-3-clause": _NAMED, "odc-by": _NAMED,
    "gpl-3.0": _COPYLEFT, "agpl-3.0": _COPYLEFT, "odbl": _COPYLEFT,
}  # fmt: skip
_CREATIVE_COMMONS = re.compile(r"cc-by(-nc)?(?:-(sa|nd))?-(\d\.\d)")
_HEAD = re.compile(r"\A---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
# A folder of the machine that trained, in the settings that a card quotes: its last part says enough.
_ABSOLUTE_PATH = re.compile(r'"(?:/|[A-Za-z]:\\\\)[^"\n]*[/\\]([^"/\\\n]+)[/\\]*"')


def conditions(licence: str) -> frozenset[str] | None:
    """What a licence (by the Hub's identifier) asks of what is made from the work; None for one that is not known."""
    match = _CREATIVE_COMMONS.fullmatch(licence)
    if match is None:
        return LICENCES.get(licence)
    found = {"attribution"}
    if match[1]:
        found.add("no commercial use")
    if match[2]:
        found.add({"sa": "share alike", "nd": "no derivatives"}[match[2]])
    return frozenset(found)


def check_licence(licence: str, parent: str) -> None:
    """Raise HubError if a work made from one under `parent` must not be given away under `licence`.

    An unknown licence passes only where both are the same.
    """
    asked, given = conditions(parent), conditions(licence)
    if asked is not None and "no derivatives" in asked:
        raise HubError(f"The parent's licence {parent} forbids to share what was made from it.")
    if licence == parent:
        return
    known = ", ".join(["cc-by-4.0", "cc-by-nc-sa-4.0", *LICENCES])
    if asked is None or given is None:
        unknown = parent if asked is None else licence
        raise HubError(
            f"The licence {unknown!r} is not known here, so {licence!r} cannot be compared with the parent's {parent!r}: "
            f"take the parent's, or one such as {known}."
        )
    missing = sorted(asked - given)
    if missing:
        raise HubError(
            f"The licence {licence} is looser than the parent's {parent} ({', '.join(missing)}); choose {parent}."
        )
    if "share alike" in asked and not _same_family(licence, parent):
        raise HubError(
            f"The parent's licence {parent} asks for the same licence (or a later version), not {licence}; choose {parent}."
        )


def _same_family(licence: str, parent: str) -> bool:
    mine, theirs = _CREATIVE_COMMONS.fullmatch(licence), _CREATIVE_COMMONS.fullmatch(parent)
    return bool(mine and theirs and mine.group(1, 2) == theirs.group(1, 2) and mine[3] >= theirs[3])


def metadata(card: str) -> dict[str, Any]:
    """The metadata at the head of a card; empty where there is none. Raises HubError when it is not well-formed."""
    match = _HEAD.match(card)
    try:
        values = yaml.safe_load(match[1]) if match else {}
    except yaml.YAMLError as error:
        raise HubError(f"The card's metadata cannot be read ({' '.join(str(error).split())}).") from error
    if not isinstance(values or {}, dict):
        raise HubError("The card's metadata is no mapping of names to values.")
    return values or {}


def licence_named_in(folder: Path) -> str:
    """The licence that the card of a checkpoint folder names; empty for none."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    return str(metadata(card).get("license") or "")


def model_card(
    text: str,
    *,
    name: str,
    licence: str,
    base_model: str = "",
    datasets: Sequence[str] = (),
    evaluations: Sequence[Mapping[str, Any]] = (),
) -> str:
    """A checkpoint's card with the metadata that the Hub reads; what it says already stays unless given here.

    `evaluations` are what evaluate.py wrote as JSON; they become the model index. Folders of this machine are cut
    down to their last part.
    """
    metadata(text)
    body = text if _HEAD.match(text) else f"---\nlicense: {licence}\n---\n{text}"
    try:
        card = ModelCard(_ABSOLUTE_PATH.sub(r'"\1"', body))
    except ValueError as error:
        raise HubError(f"The card's metadata is refused ({error}).") from error
    data = cast(ModelCardData, card.data)
    data.license = licence
    data.pipeline_tag = PIPELINE
    data.library_name = TAG
    data.tags = list(dict.fromkeys([*(data.tags or []), TAG, "latex"]))
    if base_model:
        data.base_model = base_model
    if datasets:
        data.datasets = list(datasets)
    if evaluations:
        data.model_name = name
        data.eval_results = [result for figures in evaluations for result in _results(figures)]
    return str(card)


def _results(figures: Mapping[str, Any]) -> list[EvalResult]:
    data = Path(str(figures["data"])).name
    return [
        EvalResult(
            task_type=PIPELINE, dataset_type=data, dataset_name=data, dataset_args={"n": figures["n"]},
            metric_type=key, metric_name=called, metric_value=round(float(figures[key]), 4),
        )
        for key, called in METRICS.items()
        if figures.get(key) is not None
    ]  # fmt: skip


def dataset_card(facts: DatasetFacts, *, title: str, licence: str, statement: str) -> str:
    """The card of pushed annotations: what they are, how many, under which licence, and who vouched for that.

    No rows: the card of a data set that visitors of a Space add to, whose numbers change.
    """
    total = sum(facts.rows.values())
    data = DatasetCardData(
        license=licence, task_categories=[PIPELINE], tags=[TAG, "latex", "mathematics"], pretty_name=title,
        size_categories=[next(size for most, size in _SIZES if total < most)],
    )  # fmt: skip
    rows = "\n".join(f"| {split} | {count} |" for split, count in facts.rows.items())
    symbols = " ".join(f"`{token}` {count}" for token, count in facts.symbols.items())
    counts = f"""
| split | pictures |
|---|---|
{rows}

{facts.formulas} different formulas. Symbols and how often they occur:
{symbols}
"""
    origin = "collected and reviewed in hmer" if total else "given by visitors of a Space of hmer, not reviewed"
    text = f"""# {title}

Pictures of formulas with the LaTeX that people say is right, {origin}. A picture lies beside the
`metadata.jsonl` that names it: `file_name` and `latex` (tokens with spaces between them). No names of people, no
metadata in the pictures.
{counts if total else ""}
    python scripts/manage_annotations.py import hf://datasets/OWNER/NAME

## Rights

Licence: {licence}. Who pushed this data set stated: {statement}
"""
    return str(DatasetCard(f"---\n{data.to_yaml()}\n---\n{text}"))


_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (float("inf"), "100K<n<1M"))
