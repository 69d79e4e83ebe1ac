"""The desk's page: a name, and one tab a panel. `add_desk` is all that the app needs to know."""

from typing import Any

import gradio as gr

from hmer.ui import theme
from hmer.ui.desk import browse, charts, grid, intake, queue, write_this
from hmer.ui.services import Services

STYLE = theme.ASSETS / "desk.css"
SCRIPT = theme.ASSETS / "desk.js"

HEADER = """<header class="hm-header"><h1>Correction desk</h1>
<p>What is accepted here is what the next model learns from. <a href="..">Back to drawing</a></p></header>"""


def who(given: str, request: gr.Request) -> str:
    """Whose work it is: the name given on the page, or else the one that was logged in with, which a group may share."""
    return " ".join((given or "").split()) or request.username or ""


def add_desk(blocks: gr.Blocks, services: Services) -> None:
    """Add the page /desk to the app."""
    with blocks.route("Correction desk", "/desk") as page:
        gr.HTML(HEADER, padding=False)
        name = gr.Textbox(
            label="Your name", info="Kept with what you decide. Leave it empty if you work alone.",
            max_lines=1, max_length=200, elem_id="hm-desk-name",
        )  # fmt: skip
        with gr.Tabs(elem_id="hm-desk"):
            with gr.Tab("Queue", id="queue"):
                queue_panel = queue.layout()
            with gr.Tab("Grid", id="grid"):
                grid_panel = grid.layout()
            with gr.Tab("Take in", id="intake"):
                intake_panel = intake.layout(services)
            with gr.Tab("Browse", id="browse"):
                browse_panel = browse.layout(services)
            with gr.Tab("Write this", id="write"):
                write_panel = write_this.layout()
            with gr.Tab("Charts", id="charts"):
                charts_panel = charts.layout()
        queue.wire(queue_panel, services, name, who)
        grid.wire(grid_panel, services, name, who)
        intake.wire(intake_panel, services)
        browse.wire(browse_panel, services, name, who)
        write_this.wire(write_panel, services, name, who)
        charts.wire(charts_panel, services)
        for script in (SCRIPT, theme.STROKES_SCRIPT, theme.SYMBOLS_SCRIPT):
            page.load(None, js=script.read_text(encoding="utf-8"), **_ON_LOAD)


_ON_LOAD: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
