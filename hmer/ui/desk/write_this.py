"""Write this: a formula rich in weak or new symbols is shown, and its drawing is saved with its label."""

import contextlib
import html
import io
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
import PIL.Image

from annotations import Reading, Status
from annotations.statistics import pairs, weakness
from hmer import checkpoint, latex
from hmer.datasets.folder import read_rows
from hmer.errors import BadImage, DatasetError, HmerError, LatexError
from hmer.routing import plain
from hmer.ui import draw_and_upload
from hmer.ui.messages import explained, warn
from hmer.ui.services import STANDARD, Services
from hmer.ui.typeset import formula_view, typeset

SOURCE = "write this"
CHOICES = 8  # one of so many best is shown, so that it is not always the same
LONGEST_TOKENS = 25
LOOKED_AT = 1_000  # of the newest corrections, for what is weak; each formula is chosen anew
UNSEEN = 0.5  # weakness of a symbol that nobody has written yet
PLAIN = ("{", "}", "^", "_")  # structure, not to be written


# --- functions --------------------------------------------------------------------------------------------


def formulas(readings: Iterable[Reading], reference: str) -> list[tuple[str, ...]]:
    """Formulas to choose from: what the checkpoint carries along, and what was corrected. Raises CheckpointError."""
    found = set(_carried(checkpoint.resolve(reference)))
    found |= {reading.tokens for reading in readings if 0 < len(reading.tokens) <= LONGEST_TOKENS}
    return sorted(found)


@lru_cache(maxsize=4)
def _carried(folder: Path) -> tuple[tuple[str, ...], ...]:
    """The formulas of a checkpoint's replay and regression sets."""
    found = set()
    for name in ("replay", "regression"):
        try:
            rows = read_rows(folder / name)
        except DatasetError:  # a checkpoint need not carry them
            continue
        for row in rows:
            try:
                tokens = tuple(latex.normalise(row["latex"]))
            except LatexError:
                continue
            if 0 < len(tokens) <= LONGEST_TOKENS:
                found.add(tokens)
    return tuple(sorted(found))


def choose(
    candidates: Iterable[tuple[str, ...]],
    weak: dict[str, float],
    wanted: Sequence[str],
    avoid: str,
    chance: random.Random,
) -> str:
    """One of the formulas that are richest in weak symbols; of those with a wanted symbol, if there are any.

    Raises BadImage when there is nothing to choose from.
    """

    def score(tokens: tuple[str, ...]) -> float:
        written = {token for token in tokens if token not in PLAIN}
        # Between the mean, which likes single symbols, and the sum, which likes long formulas.
        weakness = sum(weak.get(token, UNSEEN) for token in written) / math.sqrt(max(len(written), 1))
        return weakness + 0.001 * chance.random()

    others = [tokens for tokens in candidates if " ".join(tokens) != avoid]
    practised = [tokens for tokens in others if any(token in wanted for token in tokens)]
    ranked = sorted(practised or others, key=score, reverse=True)
    if not ranked:
        raise BadImage("There is no formula to choose from yet; type one.")
    return " ".join(chance.choice(ranked[:CHOICES]))


def next_formula(reference: str, wanted: str, shown: str, services: Services) -> str:
    """The formula to write next, as people read it; `wanted` names symbols to practise."""
    readings = services.store.readings(LOOKED_AT)
    try:
        before = " ".join(latex.normalise(shown)) if shown else ""
    except LatexError:
        before = ""
    names = wanted.split()
    candidates = formulas(readings, reference)
    # A symbol that occurs nowhere yet is written in company that is known.
    missing = [name for name in names if not any(name in tokens for tokens in candidates)]
    candidates += [(name, *rest) for name in missing for rest in (("=", "x"), ("+", "1"), ()) if latex.is_valid(name)]
    chosen = choose(candidates, weakness(pairs(readings)), names, before, random.Random())
    return latex.pretty(latex.normalise(chosen))


def saved(drawing: Any, strokes: str, formula: str, services: Services, by: str) -> str:
    """Keep a drawing of the formula shown, accepted, with what is read in it: that tells which symbols are still weak.

    Raises BadImage, LatexError or StoreError.
    """
    image = draw_and_upload.image_of_drawing(drawing)
    if PIL.Image.open(io.BytesIO(image)).getextrema() == (255, 255):
        raise BadImage("The sheet is empty. Write the formula on it, then save.")
    read = None
    with contextlib.suppress(HmerError):  # what the model cannot read is the more worth keeping
        read = services.recognize(image, STANDARD, services.options.checkpoint, drawn=True).prediction
    result = services.store.add(
        image,
        prediction=read,
        correction=formula,
        status=Status.ACCEPTED,
        annotator=by,
        source=SOURCE,
        strokes=draw_and_upload.strokes_of(strokes, image),
    )
    return (
        f'<p class="hm-tally" role="status" id="hm-w-said"><strong>{"Saved" if result.created else "Saved before"}</strong> '
        f"as No. {result.annotation.id}: <code>{html.escape(formula)}</code></p>"
    )


# --- layout -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WritePanel:
    """The components."""

    wanted: gr.Textbox
    other: gr.Button
    formula: gr.Markdown
    text: gr.Textbox
    sketch: gr.Sketchpad
    strokes: gr.Textbox
    save: gr.Button
    said: gr.HTML


def layout() -> WritePanel:
    """The formula over a sheet to write it on."""
    with gr.Row(elem_classes="hm-checkpoint-row"):
        wanted = gr.Textbox(
            label="Symbols to practise",
            placeholder=r"\xi \zeta",
            max_lines=1,
            elem_id="hm-w-wanted",
            elem_classes="hm-code",
        )
        other = gr.Button("Another formula", elem_id="hm-w-other")
    formula = formula_view(elem_id="hm-w-formula", elem_classes="hm-formula")
    text = gr.Textbox(label="Its LaTeX", max_lines=2, elem_id="hm-w-text", elem_classes="hm-code")
    sketch = draw_and_upload.sketchpad("hm-write")
    strokes = gr.Textbox("", visible="hidden", elem_id="hm-w-strokes")
    save = gr.Button("Save and next", variant="primary", elem_id="hm-w-save")
    said = gr.HTML("", elem_id="hm-w-tally", padding=False)
    return WritePanel(wanted, other, formula, text, sketch, strokes, save, said)


def wire(panel: WritePanel, services: Services, name: gr.Textbox, who: Callable[[str, gr.Request], str]) -> None:
    """Saving shows the next formula on a clean sheet; what cannot be saved leaves the sheet as it is."""
    reference = plain(services.options.checkpoint)
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    @explained
    def another(wanted: str, shown: str) -> str:
        return next_formula(reference, wanted, shown, services)

    @explained
    def save(drawing: Any, strokes: str, formula: str, wanted: str, given: str, request: gr.Request) -> Any:
        told = saved(drawing, strokes, formula, services, who(given, request))
        try:
            following = next_formula(reference, wanted, formula, services)
        except HmerError as error:  # the drawing is saved, and the page must say so
            warn(error)
            following = ""
        return told, following, draw_and_upload.empty_sheet()

    def preview(text: str) -> str:
        return typeset(text) if latex.is_valid(text) else ""

    panel.other.click(another, [panel.wanted, panel.text], panel.text, **quiet)
    panel.text.change(preview, panel.text, panel.formula, queue=False, **quiet)
    panel.save.click(
        save, [panel.sketch, panel.strokes, panel.text, panel.wanted, name], [panel.said, panel.text, panel.sketch],
        js="(sketch, _, text, wanted, name) => [sketch, window.hmerStrokes('hm-write'), text, wanted, name]", **quiet,
    )  # fmt: skip
    # Only what was saved says so: after a failure the sheet and its strokes stay.
    panel.said.change(None, js="() => { window.hmerForgetStrokes('hm-write'); }", queue=False, **quiet)
