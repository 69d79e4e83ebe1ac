"""Where the model looked for each token of the answer, drawn on request."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from hmer.errors import BadImage
from hmer.ui.messages import explained
from hmer.ui.services import Seen, Services


@dataclass(frozen=True)
class LookingPanel:
    """The components."""

    token: gr.Dropdown
    show: gr.Button
    picture: gr.Image


def layout() -> LookingPanel:
    """An accordion, closed at first: drawing takes a second, and few want it."""
    with gr.Accordion("Where it looked", open=False, elem_id="hm-looking"):
        token = gr.Dropdown([("All tokens", -1)], value=-1, label="Token", elem_id="hm-look-token")
        show = gr.Button("Show for this answer", size="sm", elem_id="hm-look")
        picture = gr.Image(
            show_label=False,
            interactive=False,
            buttons=["download", "fullscreen"],
            visible=False,
            elem_id="hm-looks",
            alt_text="Where the model looked",
        )
    return LookingPanel(token, show, picture)


def wire(panel: LookingPanel, seen: gr.State, services: Services) -> None:
    """The button draws it; an answer that follows hides it."""

    @explained
    def look(read: Seen | None, token: int) -> Any:
        if read is None:
            raise BadImage("Nothing was read yet. Draw or upload a formula and recognise it first.")
        return gr.Image(services.looks(read, token), visible=True)

    def choices(read: Seen | None) -> tuple[Any, Any]:
        tokens = read.recognition.tokens if read else ()
        named = [(f"{place}: {token}", place - 1) for place, token in enumerate(tokens, 1)]
        return gr.Dropdown([("All tokens", -1), *named], value=-1), gr.Image(None, visible=False)

    @explained
    def look_at_token(read: Seen | None, token: int) -> Any:
        # The list says that something was chosen whenever the focus leaves it: no reproach then.
        return gr.skip() if read is None else look.__wrapped__(read, token)  # type: ignore[attr-defined]

    for event, handler in ((panel.show.click, look), (panel.token.input, look_at_token)):
        event(
            handler, [seen, panel.token], panel.picture,
            concurrency_id="recognize", show_progress="minimal", api_visibility="private",
        )  # fmt: skip
    seen.change(
        choices, seen, [panel.token, panel.picture], queue=False, show_progress="hidden", api_visibility="private"
    )
