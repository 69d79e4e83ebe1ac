"""The formula on its way into a document: copied as LaTeX, MathML or a picture, or saved as PNG or SVG.

What goes is the correction as it stands, which is the answer until somebody mends it.
"""

import base64
import json
from dataclasses import dataclass
from typing import Any

import gradio as gr

from hmer import latex
from hmer.errors import LatexError
from hmer.export import export
from hmer.ui.messages import explained
from hmer.ui.services import Seen

TEXTS = {"latex": "LaTeX", "inline": "$…$", "display": "\\[…\\]", "mathml": "MathML"}
HINTS = {
    "latex": "Copy the LaTeX",
    "inline": "Copy the LaTeX between dollars, for a line of text",
    "display": "Copy the LaTeX as a displayed formula",
    "mathml": "Copy as MathML: paste it into Word, LibreOffice or a page",
}
PICTURES = {"svg": "image/svg+xml", "png": "image/png"}

# --- functions --------------------------------------------------------------------------------------------


def prepared(text: str, seen: Seen | None) -> tuple[str, str]:
    """JSON with the formula in every form of TEXTS, and HTML that says what is copied.

    The page copies at once from there: browsers let it only in the moment of the click.
    """
    forms: dict[str, str] = {"source": text}
    if text.strip() and latex.is_valid(text):
        for form in TEXTS:
            try:
                forms[form] = str(export(text, form))
            except LatexError as error:
                forms["problem"] = str(error)
    mended = seen is not None and text.strip() != seen.recognition.latex
    return json.dumps(forms), caption("Copy, as corrected below" if mended else "Copy")


def caption(text: str) -> str:
    """HTML above the buttons, with a place where the page says what it did."""
    return f'<p class="hm-copy-caption">{text} <span id="hm-copied" role="status"></span></p>'


def picture(text: str, form: str) -> str:
    """A picture of the formula as a data URL. Raises LatexError."""
    drawn = export(text, form)
    encoded = base64.b64encode(drawn.encode() if isinstance(drawn, str) else drawn).decode()
    return f"data:{PICTURES[form]};base64,{encoded}"


# --- layout -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CopyPanel:
    """The components; `outputs` take what `prepared` gives."""

    caption: gr.HTML
    forms: gr.Textbox
    picture: gr.Textbox
    texts: dict[str, gr.Button]
    copy_picture: gr.Button
    save: dict[str, gr.Button]

    @property
    def outputs(self) -> list[Any]:
        """In the order of `prepared`."""
        return [self.forms, self.caption]


def layout() -> CopyPanel:
    """One row of small buttons."""
    said = gr.HTML(caption("Copy"), padding=False, elem_id="hm-copy-caption")
    with gr.Row(elem_classes="hm-copy", elem_id="hm-copy"):
        texts = {
            form: gr.Button(name, size="sm", elem_id=f"hm-copy-{form}", min_width=0) for form, name in TEXTS.items()
        }
        copy_picture = gr.Button("Picture", size="sm", elem_id="hm-copy-picture", min_width=0)
        save = {
            form: gr.Button(f"Save {form.upper()}", size="sm", elem_id=f"hm-save-{form}", min_width=0)
            for form in PICTURES
        }
    forms = gr.Textbox("{}", visible="hidden", elem_id="hm-forms")
    drawn = gr.Textbox("", visible="hidden", elem_id="hm-picture")
    return CopyPanel(said, forms, drawn, texts, copy_picture, save)


# --- wiring -----------------------------------------------------------------------------------------------


def wire(panel: CopyPanel, text: gr.Textbox, seen: gr.State) -> None:
    """The forms follow the text; pictures are drawn when they are asked for."""
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    gr.on([text.change, seen.change], prepared, [text, seen], panel.outputs, trigger_mode="always_last", **quiet)
    for form, button in panel.texts.items():
        button.click(None, None, None, js=f"() => window.hmerCopy.text('{form}')", api_visibility="private")

    def drawing(form: str) -> Any:
        return explained(lambda formula: picture(formula, form))

    for button, form, then in (
        (panel.copy_picture, "png", "copyPicture"),
        *((button, form, "save") for form, button in panel.save.items()),
    ):
        button.click(drawing(form), text, panel.picture, show_progress="hidden", api_visibility="private").success(
            None, panel.picture, None, js=f"(url) => window.hmerCopy.{then}(url)", api_visibility="private"
        )
