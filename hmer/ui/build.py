"""The panels put together: layout, then wiring. Every event but the API's endpoints is private to the page."""

import json
import threading
import uuid
from dataclasses import replace
from typing import Any

import gradio as gr

from hmer.errors import BadImage
from hmer.ui import (
    answer,
    api,
    copying,
    correct,
    decoding_controls,
    draw_and_upload,
    history,
    learn,
    looking,
    pages,
    share,
    space,
    symbols,
    theme,
)
from hmer.ui.desk import page as desk
from hmer.ui.guard import APP_SETTINGS, GuardedBlocks
from hmer.ui.messages import explained
from hmer.ui.options import AppOptions, on_a_space
from hmer.ui.services import CONCURRENT_REQUESTS, Seen, Services
from hmer.ui.space import SpaceServices
from hmer.ui.training import Training

KEEP_UPLOADS_S = 86_400
SESSIONS = 500

TAKE_NEWS = """(json) => {
  const { ticket, latex, image } = JSON.parse(json);
  window.hmerHistory.add({ latex, image });
  return window.hmerLive.answered(ticket, latex);
}"""

HEADER = """<header class="hm-header"><h1>hmer</h1>
<p>Mathematics to LaTeX, handwritten or printed. It runs on this computer and learns from your corrections.</p></header>"""


def build_app(options: AppOptions, services: Services | None = None) -> gr.Blocks:
    """The whole app; raises CheckpointError or StoreError when what it needs cannot be opened."""
    services = services or (SpaceServices(options) if on_a_space() else Services(options))
    keep_s = space.KEEP_UPLOADS_S if services.public else KEEP_UPLOADS_S
    blocks = GuardedBlocks(title="hmer", analytics_enabled=False, delete_cache=(keep_s, keep_s))
    with blocks:
        seen = gr.State(None)
        training: Training | None = None
        gr.HTML(space.HEADER if services.public else HEADER, padding=False)
        with gr.Row(elem_classes="hm-columns"):
            with gr.Column(scale=7, min_width=340, elem_classes="hm-left"):
                source = draw_and_upload.layout(live=not services.public)
                sheets = pages.layout(source.tabs)
                settings = decoding_controls.layout(services)
                if not services.public and share.offered(options):
                    training = learn.panel(blocks, services, settings)
                    share.panel(services, settings)
            with gr.Column(scale=5, min_width=340, elem_classes="hm-right"):
                with gr.Column(elem_classes="hm-card", elem_id="hm-answer"):
                    result = answer.layout()
                    copies = copying.layout()
                    looked = looking.layout()
                with gr.Column(elem_classes="hm-card"):
                    correction = correct.layout(services)
                history.layout()
                if isinstance(services, SpaceServices):
                    space.panel(blocks, services)

        decoding_controls.wire(settings, services)
        _wire_recognition(services, seen, source, sheets, settings, result, correction)
        pages.wire(sheets, services, settings)
        _wire_correction(services, seen, result, correction)
        if training is not None:
            learn.wire_preparation(correction.tally, training, services)
        copying.wire(copies, correction.text, seen)
        looking.wire(looked, seen, services)
        api.wire(services)
        for script in theme.SCRIPTS:
            blocks.load(None, js=script.read_text(encoding="utf-8"), queue=False, api_visibility="private")
        blocks.load(
            lambda: correct.tally(services), None, correction.tally,
            queue=False, show_progress="hidden", api_visibility="private",
        )  # fmt: skip
    if not services.public:  # the desk works through what everybody sent in, which on a Space is nobody's to see
        desk.add_desk(blocks, services)
    blocks.queue(max_size=options.queue_size, default_concurrency_limit=4)
    return blocks


def _wire_recognition(
    services: Services,
    seen: gr.State,
    source: draw_and_upload.InputPanel,
    sheets: pages.PagesPanel,
    settings: decoding_controls.DecodingPanel,
    result: answer.AnswerPanel,
    correction: correct.CorrectionPanel,
) -> None:
    """A button, a pause in drawing, an upload, an example or a region of a page leads to an answer."""

    def shown(read: Seen, ticket: str = "") -> tuple[Any, ...]:
        can_save = gr.Button(interactive=True)
        told = json.dumps({"id": uuid.uuid4().hex, "ticket": ticket, **history.entry(read)})
        return (read, *answer.shown(read.recognition), can_save, can_save, told)

    def recognize(image: bytes, reference: str, values: tuple[Any, ...], *, drawn: bool = False) -> Seen:
        return services.recognize(image, decoding_controls.decoding_of(values), reference, drawn=drawn)

    @explained
    def recognize_drawing(drawing: Any, strokes: str, ticket: str, reference: str, *values: Any) -> tuple[Any, ...]:
        image = draw_and_upload.image_of_drawing(drawing)
        read = recognize(image, reference, values, drawn=True)
        return shown(replace(read, strokes=draw_and_upload.strokes_of(strokes, image)), ticket)

    @explained
    def recognize_as_drawn(*values: Any) -> Any:
        try:
            return recognize_drawing.__wrapped__(*values)  # type: ignore[attr-defined]
        except BadImage:  # nothing is on the sheet, or nothing yet: no answer, and no reproach
            return gr.skip()

    @explained
    def recognize_upload(upload: Any, reference: str, *values: Any) -> tuple[Any, ...]:
        return shown(recognize(draw_and_upload.image_of_upload(upload), reference, values))

    @explained
    def take_region(answers: list[pages.Answer], rows: list[pages.Row], event: gr.SelectData) -> Any:
        row, column = event.index
        if pages.HEADERS[column] not in ("Page", "LaTeX", "Sure") or not rows[row][6]:
            return gr.skip()
        return shown(pages.chosen(answers, rows, row))

    # The page takes note of every answer, and it alone writes into the correction: somebody may be typing there.
    news = gr.Textbox("", visible="hidden", elem_id="hm-news")
    outputs = [seen, *result.outputs, correction.save, correction.right, news]
    private: dict[str, Any] = {"api_visibility": "private"}
    shared: dict[str, Any] = {
        "concurrency_id": "recognize one",
        "concurrency_limit": CONCURRENT_REQUESTS,
        "show_progress": "minimal",
        "show_progress_on": result.formula,
        **private,
    }
    uploaded = [source.upload, *settings.inputs]
    drawn = [source.sketch, source.strokes, source.ticket, *settings.inputs]
    # The strokes and the version of the drawing as they are now; what follows the inputs are the outputs.
    now = (
        "(sketch, _, __, ...rest) => "
        f"[sketch, window.hmerStrokes('hm-sketch'), window.hmerLive.sent(), ...rest].slice(0, {len(drawn)})"
    )
    quietly = shared | {"show_progress": "hidden"}
    for button, handler, how in (
        (source.recognize_drawing, recognize_drawing, shared), (source.live_run, recognize_as_drawn, quietly),
    ):  # fmt: skip
        button.click(handler, drawn, outputs, js=now, **how).then(
            None, None, None, js="() => window.hmerLive.over()", **private
        )
    gr.on(
        [source.recognize_upload.click, source.upload.upload],
        recognize_upload, uploaded, outputs, preprocess=False, **shared,
    )  # fmt: skip
    source.examples.click(
        draw_and_upload.example_picture, source.examples, [source.tabs, source.upload],
        queue=False, show_progress="hidden", **private,
    ).then(recognize_upload, uploaded, outputs, preprocess=False, **shared)  # fmt: skip
    for button, turns in ((source.turn_left, 1), (source.turn_right, 3)):
        turn = explained(lambda upload, turns=turns: draw_and_upload.turned(upload, turns))
        button.click(turn, source.upload, source.upload, preprocess=False, show_progress="hidden", **private).success(
            recognize_upload, uploaded, outputs, preprocess=False, **shared
        )
    sheets.rows.select(take_region, [sheets.answers, sheets.rows], outputs, show_progress="hidden", **private)
    news.change(None, news, correction.text, js=TAKE_NEWS, **private)


def _wire_correction(
    services: Services, seen: gr.State, result: answer.AnswerPanel, correction: correct.CorrectionPanel
) -> None:
    """The field is typeset as it changes; two buttons save."""

    def preview(text: str, read: Seen | None) -> tuple[str, str]:
        return correct.preview(text, read, services)

    @explained
    def save(text: str, read: Seen | None, request: gr.Request) -> str:
        return correct.save(text, read, services, request.username or "")

    @explained
    def save_right(read: Seen | None, request: gr.Request) -> str:
        text = read.recognition.latex if read else ""
        return correct.save(text, read, services, request.username or "")

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    def take_reading(reading: str, read: Seen | None) -> tuple[str, str, str]:
        return (reading, *correct.preview(reading, read, services))

    correction.text.change(
        preview, [correction.text, seen], correction.checked, trigger_mode="always_last", queue=False, **quiet
    )
    result.alternatives.input(
        take_reading, [result.alternatives, seen], [correction.text, *correction.checked], queue=False, **quiet
    )
    symbols.wire(
        correction.symbols, correction.text, seen, lambda read: (read.image, read.reference) if read else None, services
    )
    correction.save.click(save, [correction.text, seen], correction.tally, **quiet)
    correction.right.click(save_right, seen, correction.tally, **quiet)


def launch(blocks: gr.Blocks, options: AppOptions) -> str:
    """Start serving and return the address; the server runs in threads of its own. Raises OSError."""
    _, url, _ = blocks.launch(
        server_name=options.host,
        server_port=options.port,
        auth=options.login,
        max_file_size=f"{options.max_file_mb}mb",
        state_session_capacity=SESSIONS,
        theme=theme.theme(),
        css_paths=[theme.STYLE, desk.STYLE],
        footer_links=["api"],
        app_kwargs=APP_SETTINGS,
        run_history=False,
        ssr_mode=False,
        share=False,
        inbrowser=False,
        show_error=False,
        enable_monitoring=False,
        prevent_thread_lock=True,
        quiet=True,
    )
    return url


def wait() -> None:
    """Until somebody presses Ctrl+C."""
    threading.Event().wait()
