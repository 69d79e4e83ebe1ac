"""The symbols of a formula to click on: each offers what else the model thinks it might be, and choosing edits the LaTeX."""

import difflib
import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from hmer import latex
from hmer.errors import CheckpointError, LatexError
from hmer.recognizer import Recognizer
from hmer.ui.messages import explained
from hmer.ui.services import Services
from hmer.vocabulary import UNWRITTEN

SCRIPTS = ("^", "_")  # nobody writes them, but where a symbol stands is often misread
OFFERED, ASKED = 8, 40  # how many are shown, of how many that are asked for: not all of them make a formula
LEAST = 0.001  # probability of what is worth showing


# --- functions --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Option:
    """What a symbol may be replaced by, how likely, and the whole formula then; no token: left out."""

    token: str
    probability: float | None
    formula: str


def chips(text: str) -> str:
    """HTML of a formula's tokens, those that can be replaced as buttons; nothing for one that is not well-formed."""
    try:
        tokens = latex.normalise(text)
    except LatexError:
        return ""
    parts = []
    for place, token in enumerate(tokens):
        shown = html.escape(token)
        if token in UNWRITTEN and token not in SCRIPTS:
            parts.append(f'<span class="hm-mark">{shown}</span>')
        else:
            parts.append(f'<button type="button" class="hm-chip" data-place="{place}">{shown}</button>')
    named = 'role="group" aria-label="Symbols: choose one to see what else it might be"'
    return f'<div class="hm-chips" {named}>{"".join(parts)}</div>' if parts else ""


def options(text: str, place: int, picture: Any, recognizer: Recognizer) -> list[Option]:
    """What the token at a place of the formula might be instead, the likeliest first, and last that it is not there.

    `picture` is anything that the recogniser reads. Only what leaves a well-formed formula is offered. Raises LatexError.
    """
    tokens = latex.normalise(text)
    label = latex.reduce(tokens, recognizer.config.label_form)
    at = _places(tokens, label).get(place)
    found: list[Option] = []
    if at is not None:
        for other in recognizer.replacements(recognizer.read(picture), label, ASKED)[at]:
            formula = _replaced(tokens, place, [other.token])
            if formula is not None and other.probability >= LEAST and len(found) < OFFERED:
                found.append(Option(other.token, other.probability, formula))
    without = _replaced(tokens, place, [])
    return found if without is None else [*found, Option("", None, without)]


def _places(tokens: Sequence[str], label: Sequence[str]) -> dict[int, int]:
    """Where each token of a formula stands in its label form, which leaves some out."""
    matcher = difflib.SequenceMatcher(None, tokens, label, autojunk=False)
    return {
        block.a + step: block.b + step for block in matcher.get_matching_blocks() for step in range(block.size)
    }  # fmt: skip


def _replaced(tokens: Sequence[str], place: int, by: list[str]) -> str | None:
    """The formula for people with other tokens at a place; None where that is none, or the same."""
    try:
        changed = latex.normalise(" ".join([*tokens[:place], *by, *tokens[place + 1 :]]))
    except LatexError:
        return None
    return latex.pretty(changed) if changed and changed != list(tokens) else None


def offered(text: str, found: Sequence[Option]) -> str:
    """HTML of the options; each carries the formula that it makes, and all of them the one that they are for."""
    if not found:
        return '<p class="hm-muted hm-options" role="status">The model sees nothing else that could stand here.</p>'
    buttons = "".join(
        f'<button type="button" data-latex="{html.escape(option.formula)}" title="{html.escape(option.formula)}">'
        f"{f'<code>{html.escape(option.token)}</code>' if option.token else 'leave out'}"
        f"{'' if option.probability is None else f'<span>{_percent(option.probability)}</span>'}</button>"
        for option in found
    )
    return f'<div class="hm-options" role="status" data-for="{html.escape(text)}">{buttons}</div>'


def _percent(probability: float) -> str:
    return f"{probability:.0%}" if probability >= 0.1 else f"{probability:.1%}"


# --- layout and wiring ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SymbolsPanel:
    """The components; the script of the page presses `ask` with the place that was clicked."""

    chips: gr.HTML
    options: gr.HTML
    place: gr.Number
    ask: gr.Button


def layout(field: str) -> SymbolsPanel:
    """The symbols of what stands in the text field with that id."""
    return SymbolsPanel(
        gr.HTML("", elem_id=f"{field}-symbols", elem_classes="hm-symbols", padding=False),
        gr.HTML("", elem_id=f"{field}-options", padding=False),
        gr.Number(-1, precision=0, visible="hidden", elem_id=f"{field}-place"),
        gr.Button("What else?", visible="hidden", elem_id=f"{field}-ask"),
    )


def wire(
    panel: SymbolsPanel,
    text: gr.Textbox,
    about: Any,
    picture_of: Callable[[Any], tuple[Any, str] | None],
    services: Services,
) -> None:
    """The symbols follow the text. `picture_of` gives, from the value of `about`, the picture and the checkpoint's reference."""
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    @explained
    def ask(formula: str, place: int, value: Any) -> str:
        known = picture_of(value)
        if known is None:
            raise CheckpointError("Nothing was read yet. Recognise a picture first.")
        picture, reference = known
        services.admit(1)
        found = options(formula, int(place), picture, services.recognizers.get(reference))
        return offered(formula, found)

    text.change(
        lambda formula: (chips(formula), ""), text, [panel.chips, panel.options],
        trigger_mode="always_last", queue=False, **quiet,
    )  # fmt: skip
    about.change(lambda: "", None, panel.options, queue=False, **quiet)  # another picture: other answers
    panel.ask.click(
        ask, [text, panel.place, about], panel.options, concurrency_id="recognize",
        concurrency_limit=services.options.concurrency,
        js="(text, _, about) => [text, window.hmerPlace ?? -1, about]", **quiet,
    )  # fmt: skip
