"""Many pictures in at once: files, a zip archive, a folder; each is read and then waits in the queue."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from hmer.errors import BadImage, HmerError
from hmer.ui.desk import work
from hmer.ui.messages import warn
from hmer.ui.services import Services

REFUSALS_SHOWN = 50


# --- functions --------------------------------------------------------------------------------------------


def taken_in(
    files: Sequence[str] | None, folder: Sequence[str] | None, reference: str, source: str, services: Services
) -> Iterator[str | None]:
    """HTML that says what became of the files so far; at last None: the page should show them no longer.

    Raises BadImage when there are none, else as `work.take_in`.
    """
    paths = [Path(file) for file in (*(files or ()), *(folder or ()))]
    if not paths:
        raise BadImage("There are no files yet. Choose pictures, a zip archive, or a folder.")
    for done in work.take_in(services, paths, reference, source=" ".join(source.split()) or "batch"):
        yield told(done)
    try:
        yield None
    finally:
        for path in paths:  # uploads, with whatever a camera wrote into them; what is kept is in the store
            path.unlink(missing_ok=True)


def told(done: work.TakenIn) -> str:
    """HTML: how many, and which not for what reason."""
    lines = "".join(
        f"<li><strong>{html.escape(refusal.file)}</strong>: {html.escape(refusal.reason)}</li>"
        for refusal in done.refused[:REFUSALS_SHOWN]
    )
    more = len(done.refused) - REFUSALS_SHOWN
    rest = f"<li>and {more} more</li>" if more > 0 else ""
    return (
        f'<div role="status" id="hm-i-told"><p><strong>{done.saved}</strong> read and waiting in the queue, '
        f"<strong>{done.known}</strong> known already, <strong>{len(done.refused)}</strong> refused.</p>"
        f"{f'<ul>{lines}{rest}</ul>' if lines else ''}</div>"
    )


# --- layout -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class IntakePanel:
    """The components."""

    files: gr.File
    folder: gr.File
    checkpoint: gr.Dropdown
    source: gr.Textbox
    start: gr.Button
    stop: gr.Button
    told: gr.HTML


def layout(services: Services) -> IntakePanel:
    """Two places to drop things, and what is to be said of them."""
    with gr.Row():
        files = gr.File(file_count="multiple", label="Pictures, or zip archives of pictures", elem_id="hm-i-files")
        folder = gr.File(file_count="directory", label="A folder of pictures", elem_id="hm-i-folder")
    with gr.Row(elem_classes="hm-checkpoint-row"):
        references = [choice.reference for choice in services.checkpoints()]
        checkpoint = gr.Dropdown(references, value=references[0], label="Read with", elem_id="hm-i-checkpoint")
        source = gr.Textbox(value="batch", label="Source", max_lines=1, max_length=200, elem_id="hm-i-source")
        start = gr.Button("Read them", variant="primary", elem_id="hm-i-start")
        stop = gr.Button("Stop", elem_id="hm-i-stop")
    said = gr.HTML("", elem_id="hm-i-said", padding=False)
    return IntakePanel(files, folder, checkpoint, source, start, stop, said)


def wire(panel: IntakePanel, services: Services) -> None:
    """Reading shows its progress and can be stopped; what was read by then stays."""

    def read(files: Any, folder: Any, reference: str, source: str) -> Iterator[tuple[Any, ...]]:
        try:
            for said in taken_in(files, folder, reference, source, services):
                yield (gr.skip(), None, None) if said is None else (said, gr.skip(), gr.skip())
        except HmerError as error:
            warn(error)

    # A generator: only these can be stopped.
    running = panel.start.click(
        read, [panel.files, panel.folder, panel.checkpoint, panel.source], [panel.told, panel.files, panel.folder],
        concurrency_id="recognize", concurrency_limit=services.options.concurrency,
        show_progress_on=panel.told, api_visibility="private",
    )  # fmt: skip
    panel.stop.click(
        lambda: '<p class="hm-hint">Stopped. What was read by then waits in the queue; send the files again for the rest.</p>',
        None, panel.told, cancels=[running], queue=False, api_visibility="private",
    )  # fmt: skip
