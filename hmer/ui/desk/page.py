"""The desk's page: a name, and one tab a panel. `add_desk` is all that the app needs to know."""

from pathlib import Path
from typing import Any

import gradio as gr

from hmer.ui.desk import queue
from hmer.ui.services import Services

ASSETS = Path(__file__).parent.parent / "assets"
STYLE = ASSETS / "desk.css"
SCRIPT = ASSETS / "desk.js"

HEADER = """<header class="hm-header"><h1>Correction desk</h1>
<p>What is accepted here is what the next model learns from. <a href="..">Back to drawing</a></p></header>"""


def who(given: str, request: gr.Request) -> str:
    """Whose work it is: the name that was logged in with, or the one given on the page."""
    return request.username or " ".join((given or "").split())


def add_desk(blocks: gr.Blocks, services: Services) -> None:
    """Add the page /desk to the app."""
    with blocks.route("Correction desk", "/desk") as page:
        gr.HTML(HEADER, padding=False)
        name = gr.Textbox(
            label="Your name", info="Kept with what you decide. Leave it empty if you work alone.",
            max_lines=1, max_length=200, elem_id="hm-desk-name",
        )  # fmt: skip
        with gr.Tabs(elem_id="hm-desk"), gr.Tab("Queue", id="queue"):
            queue_panel = queue.layout()
        queue.wire(queue_panel, services, name, who)
        page.load(None, js=SCRIPT.read_text(encoding="utf-8"), **_ON_LOAD)


_ON_LOAD: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
