"""Formulas typeset in the page by the KaTeX that comes with gradio: one formula a component."""

from typing import Any

import gradio as gr

from hmer import latex


def formula_view(**options: Any) -> gr.Markdown:
    """An empty place for one formula."""
    return gr.Markdown(latex_delimiters=[{"left": "$$", "right": "$$", "display": True}], **options)


def typeset(formula: str) -> str:
    """Markdown that shows a well-formed formula; raises LatexError for any other.

    What is shown is the normal form, so that nothing that someone typed reaches the page as it stands.
    """
    tokens = latex.normalise(formula)
    if not tokens:
        return ""
    # An empty group after `<` looks the same in mathematics and in text, and begins no HTML tag.
    return f"$$\n{latex.pretty(tokens).replace('<', '<{}')}\n$$"
