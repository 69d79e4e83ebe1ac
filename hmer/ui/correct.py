"""Mend the answer and keep it: what the next model learns from."""

import html
from dataclasses import dataclass
from typing import Any

import gradio as gr

from hmer import latex
from hmer.errors import CheckpointError, ConfigError
from hmer.ui import symbols
from hmer.ui.messages import place_of
from hmer.ui.services import Seen, Services
from hmer.ui.typeset import formula_view, typeset

# --- functions --------------------------------------------------------------------------------------------


def preview(text: str, seen: Seen | None, services: Services) -> tuple[str, str]:
    """The formula typeset, and HTML with what is wrong with it or new in it (either may be empty)."""
    if not text.strip():
        return "", ""
    errors = latex.validate(text)
    if errors:
        return "", place_of(errors[0], text)
    return typeset(text), new_symbols(text, seen, services)


def new_symbols(text: str, seen: Seen | None, services: Services) -> str:
    """HTML that names the symbols which the checkpoint has yet to learn."""
    if seen is None:
        return ""
    try:
        new = services.new_symbols(text, seen.reference)
    except (CheckpointError, ConfigError):  # the checkpoint went away; the correction can be kept all the same
        return ""
    if not new:
        return ""
    names = " ".join(f"<code>{html.escape(token)}</code>" for token in new[:8])
    return f'<p class="hm-hint">New to this checkpoint: {names}. Save it, and fine-tuning will teach it.</p>'


def tally(services: Services, said: str = "") -> str:
    """HTML: what was just saved, how many corrections there are, and where they are kept."""
    count = services.accepted_count()
    news = f"<strong>{html.escape(said)}</strong> " if said else ""
    noun = "correction" if count == 1 else "corrections"
    return (
        f'<p class="hm-tally" role="status">{news}<span id="hm-count">{count}</span> {noun} '
        f"{html.escape(services.kept_where())}</p>"
    )


def save(text: str, seen: Seen | None, services: Services, annotator: str) -> str:
    """Keep the picture that was read with `text` as its LaTeX. Raises LatexError, BadImage or StoreError."""
    if seen is None:
        gr.Warning("Recognise a picture first; then its correction can be saved.")
        return tally(services)
    saved = services.save(seen.image, text, prediction=seen.prediction, annotator=annotator, strokes=seen.strokes)
    return tally(services, "Saved." if saved.created or saved.completed else "Saved before.")


# --- layout -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CorrectionPanel:
    """The components; `checked` take what `preview` gives."""

    text: gr.Textbox
    symbols: symbols.SymbolsPanel
    formula: gr.Markdown
    problem: gr.HTML
    save: gr.Button
    right: gr.Button
    tally: gr.HTML

    @property
    def checked(self) -> list[Any]:
        """In the order of `preview`."""
        return [self.formula, self.problem]


def layout(services: Services) -> CorrectionPanel:
    """A field, what it looks like, and two buttons."""
    gr.HTML("<h2>Correct it</h2>", padding=False)
    text = gr.Textbox(
        label="Correction (LaTeX)", lines=2, max_lines=8, placeholder=r"\frac{a}{b}", elem_id="hm-correction",
        elem_classes="hm-code",
        html_attributes=gr.InputHTMLAttributes(spellcheck=False, autocapitalize="off", autocorrect="off"),
    )  # fmt: skip
    clickable = symbols.layout("hm-correction")
    problem = gr.HTML("", elem_id="hm-problem", padding=False)
    formula = formula_view(elem_id="hm-preview", elem_classes="hm-formula")
    with gr.Row(elem_classes="hm-buttons"):
        keep = gr.Button("Save correction", variant="primary", interactive=False, elem_id="hm-save")
        right = gr.Button("It’s right", interactive=False, elem_id="hm-right")
    count = gr.HTML(tally(services), elem_id="hm-tally", padding=False)
    return CorrectionPanel(text, clickable, formula, problem, keep, right, count)
