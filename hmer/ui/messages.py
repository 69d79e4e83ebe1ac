"""Expected failures as messages that a person can act on; user text never reaches the page as HTML."""

import functools
import html
from collections.abc import Callable
from typing import Any, TypeVar

import gradio as gr

from hmer.errors import HmerError, LatexError

Handler = TypeVar("Handler", bound=Callable[..., Any])

EXCERPT_CHARS = 24  # shown on either side of an error
LONGEST_MESSAGE_CHARS = 1_000


def explained(handler: Handler) -> Handler:
    """For events of the page: an expected failure becomes a warning, and everything on the page stays."""

    @functools.wraps(handler)
    def guarded(*arguments: Any, **named: Any) -> Any:
        try:
            return handler(*arguments, **named)
        except HmerError as error:
            warn(error)
            return gr.skip()

    return guarded  # type: ignore[return-value]


def explained_to_clients(handler: Handler) -> Handler:
    """For API endpoints: an expected failure becomes an error whose text reaches the client."""

    @functools.wraps(handler)
    def guarded(*arguments: Any, **named: Any) -> Any:
        try:
            return handler(*arguments, **named)
        except HmerError as error:
            raise gr.Error(said(error), print_exception=False) from error

    return guarded  # type: ignore[return-value]


def warn(error: HmerError) -> None:
    """Show an expected failure; the text is escaped, since gradio would render it as HTML."""
    gr.Warning(html.escape(said(error)))


def said(error: HmerError) -> str:
    """What an error says, without the bulk of what somebody may have sent, and as text that can travel."""
    text = str(error).encode(errors="replace").decode()
    return text if len(text) <= LONGEST_MESSAGE_CHARS else f"{text[:LONGEST_MESSAGE_CHARS]}…"


def place_of(error: LatexError, text: str) -> str:
    """HTML that shows where a formula is ill-formed: the line with the place marked, and a caret under it."""
    start = min(max(error.start, 0), len(text))
    end = min(max(error.end, start), len(text))
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", start)
    line_end = len(text) if line_end < 0 else line_end
    end = min(end, line_end)
    left, right = max(line_start, start - EXCERPT_CHARS), min(line_end, end + EXCERPT_CHARS)
    end = min(end, start + 2 * EXCERPT_CHARS)
    right = min(right, end + EXCERPT_CHARS)
    before = ("…" if left > line_start else "") + text[left:start]
    after = text[end:right] + ("…" if right < line_end else "")
    marked = f"<mark>{html.escape(text[start:end])}</mark>"
    caret = " " * len(before) + "^" * max(1, end - start)
    excerpt = f"{html.escape(before)}{marked}{html.escape(after)}\n{caret}".replace("\t", " ")
    return (
        f'<div class="hm-error" role="alert"><p>{html.escape(str(error))}'
        f' <span class="hm-muted">(character {start + 1})</span></p><pre tabindex="0">{excerpt}</pre></div>'
    )
