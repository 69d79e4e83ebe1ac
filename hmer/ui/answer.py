"""What was read: typeset, as LaTeX to copy, how sure, how fast, and what else it could be."""

import html
from dataclasses import dataclass
from typing import Any

import gradio as gr

from hmer.errors import LatexError
from hmer.recognizer import Recognition
from hmer.ui.typeset import formula_view, typeset

# Lower bound of the probability that the whole formula is right, and how that is said.
CONFIDENCE_WORDS = (
    (0.9, "high", "very likely right"),
    (0.7, "good", "probably right"),
    (0.4, "fair", "worth a look"),
    (0.0, "low", "probably not right"),
)


# --- functions --------------------------------------------------------------------------------------------


def facts(answer: Recognition) -> str:
    """HTML: confidence in words and percent, time, checkpoint."""
    level, words = next((name, text) for bound, name, text in CONFIDENCE_WORDS if answer.confidence >= bound)
    parts = [
        f'<span class="hm-pill hm-{level}">{answer.confidence:.0%} · {words}</span>',
        f'<span class="hm-muted">{answer.seconds:.2f} s · {html.escape(answer.checkpoint)}</span>',
    ]
    if not answer.finished:
        parts.append(
            '<span class="hm-pill hm-low">not read to its end · it repeats itself, or raise “Longest answer”</span>'
        )
    return f'<div class="hm-facts" role="status">{"".join(parts)}</div>'


DOUBTFUL = 0.7  # a token below this is marked, one below half of it more so


def doubts(answer: Recognition) -> str:
    """HTML: the tokens of an answer, the doubtful ones marked with how sure the model is; empty when none is."""
    pairs = list(zip(answer.tokens, answer.token_confidence, strict=False))
    if all(sure >= DOUBTFUL for _, sure in pairs):
        return ""
    parts = []
    for token, sure in pairs:
        name = html.escape(token)
        level = "low" if sure < DOUBTFUL / 2 else "fair" if sure < DOUBTFUL else ""
        parts.append(
            f'<mark class="hm-{level}" title="{sure:.0%} sure">{name}<small>{sure:.0%}</small></mark>'
            if level
            else name
        )
    return f'<p class="hm-doubts"><span class="hm-muted">Look here:</span> {" ".join(parts)}</p>'


def readings(answer: Recognition) -> list[tuple[str, str]]:
    """Label and LaTeX of every different reading that beam search ended with, the answer first."""
    share: dict[str, float] = {}
    for other in answer.alternatives:
        share[other.latex] = share.get(other.latex, 0.0) + other.probability
    return [(f"{text}  ·  {probability:.0%}", text) for text, probability in share.items() if text]


def shown(answer: Recognition) -> tuple[Any, ...]:
    """Values of the panel's outputs for an answer."""
    try:
        formula = typeset(answer.latex) or "*The answer is empty.*"
    except LatexError:
        formula = "*The answer is not well-formed LaTeX; mend it below.*"
    others = readings(answer)
    return (
        formula,
        answer.latex,
        facts(answer),
        doubts(answer),
        gr.Radio(choices=others, value=None, visible=len(others) > 1),
    )


# --- layout -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AnswerPanel:
    """The components; `outputs` take what `shown` gives."""

    formula: gr.Markdown
    latex: gr.Textbox
    facts: gr.HTML
    doubts: gr.HTML
    alternatives: gr.Radio

    @property
    def outputs(self) -> list[Any]:
        """In the order of `shown`."""
        return [self.formula, self.latex, self.facts, self.doubts, self.alternatives]


def layout() -> AnswerPanel:
    """An empty answer that says what will stand here."""
    gr.HTML("<h2>Answer</h2>", padding=False)
    formula = formula_view(
        value="*Draw or upload a formula, then press Recognise.*", elem_id="hm-formula", elem_classes="hm-formula"
    )
    details = gr.HTML("", elem_id="hm-facts", padding=False)
    text = gr.Textbox(
        label="LaTeX", interactive=False, lines=1, max_lines=6, buttons=[], elem_id="hm-latex",
        elem_classes="hm-code",
    )  # fmt: skip
    doubtful = gr.HTML("", elem_id="hm-doubts", padding=False)
    alternatives = gr.Radio(
        [], label="Other readings", info="Choosing one puts it into the correction.", visible=False,
        elem_id="hm-alternatives", elem_classes="hm-code",
    )  # fmt: skip
    return AnswerPanel(formula, text, details, doubtful, alternatives)
