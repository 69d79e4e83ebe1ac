"""Learn from the accepted corrections: filters, progress, log, cancel; the app keeps answering meanwhile."""

import html
from dataclasses import dataclass
from typing import Any

import gradio as gr

from hmer.command_line import parse_time
from hmer.ui.decoding_controls import DecodingPanel, checkpoint_choices, parent_choices
from hmer.ui.messages import explained
from hmer.ui.services import Services
from hmer.ui.training import State, Training, Wish, suggested_name

POLL_S = 1.0
EVERY = ""  # no filter
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


# --- functions --------------------------------------------------------------------------------------------


def bar(state: State) -> str:
    """HTML: what is being done, and how much of it is done."""
    if not state.running:
        return ""
    percent = round(100 * state.share)
    return (
        f'<div id="hm-learn-bar" role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}">'
        f'<progress max="100" value="{percent}"></progress> {percent} % · {html.escape(state.what)}</div>'
    )


def told(state: State) -> str:
    """HTML: the log, and what became of it."""
    lines = html.escape("\n".join(state.log))
    return (
        f'<pre class="hm-tally hm-listing" role="status" tabindex="0" id="hm-learn-log">{lines}</pre>' if lines else ""
    )


def filters(services: Services) -> tuple[Any, Any]:
    """Annotators and sources to choose from; the first choice is every one."""
    names = services.store.names()
    return tuple(
        gr.Dropdown(choices=[("all", EVERY), *((name, name) for name in names[kind] if name)], value=EVERY)
        for kind in ("annotator", "source")
    )  # type: ignore[return-value]


# --- layout -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LearnPanel:
    """The components; `wishes` are what a fine-tuning is started with, `watched` what changes while it runs."""

    open: gr.Accordion
    checkpoint: gr.Dropdown
    name: gr.Textbox
    annotator: gr.Dropdown
    source: gr.Dropdown
    since: gr.Textbox
    all_readers: gr.Checkbox
    use: gr.Checkbox
    force: gr.Checkbox
    start: gr.Button
    cancel: gr.Button
    bar: gr.HTML
    log: gr.HTML
    timer: gr.Timer
    seen: gr.State

    @property
    def wishes(self) -> list[Any]:
        """In the order of `Wish`."""
        return [
            self.checkpoint, self.name, self.annotator, self.source, self.since, self.all_readers, self.force,
        ]  # fmt: skip

    @property
    def watched(self) -> list[Any]:
        """Progress, log, the two buttons, the timer, and the last run whose outcome was shown."""
        return [self.bar, self.log, self.start, self.cancel, self.timer, self.seen]


def layout(services: Services) -> LearnPanel:
    """The accordion, closed at first."""
    with gr.Accordion("Learn from corrections", open=False, elem_id="hm-learn") as accordion:
        with gr.Row():
            choices = parent_choices(services)
            parent = gr.Dropdown(choices, value=choices[0][1], label="From", elem_id="hm-learn-checkpoint")
            name = gr.Textbox(
                value=suggested_name(),
                label="Name of the new one",
                max_lines=1,
                max_length=100,
                elem_id="hm-learn-name",
            )
        with gr.Row():
            annotator = gr.Dropdown([("all", EVERY)], value=EVERY, label="Annotator", elem_id="hm-learn-annotator")
            source = gr.Dropdown([("all", EVERY)], value=EVERY, label="Source", elem_id="hm-learn-source")
            since = gr.Textbox(label="Since", placeholder="2026-11-30", max_lines=1, elem_id="hm-learn-since")
        all_readers = gr.Checkbox(
            False,
            label="Also what was read by a checkpoint for something else",
            info="Without it, what the reader of print read teaches print, and the rest handwriting.",
            elem_id="hm-learn-all-readers",
        )
        use = gr.Checkbox(True, label="Use it at once when it is accepted", elem_id="hm-learn-use")
        force = gr.Checkbox(False, label="Keep it even if it is refused", elem_id="hm-learn-force")
        with gr.Row(elem_classes="hm-buttons"):
            start = gr.Button("Learn", variant="primary", elem_id="hm-learn-start")
            cancel = gr.Button("Cancel", interactive=False, elem_id="hm-learn-cancel")
        progress = gr.HTML("", elem_id="hm-learn-progress", padding=False)
        log = gr.HTML("", elem_id="hm-learn-told", padding=False)
    timer = gr.Timer(POLL_S, active=False)  # outside: what is in a closed accordion may not be there
    seen = gr.State(0)
    return LearnPanel(
        accordion, parent, name, annotator, source, since, all_readers, use, force, start, cancel, progress, log, timer,
        seen,
    )  # fmt: skip


# --- wiring -----------------------------------------------------------------------------------------------


def panel(blocks: gr.Blocks, services: Services, settings: DecodingPanel) -> Training:
    """Layout and wiring; what was accepted can be chosen in the settings at once, and is if so wished."""
    parts = layout(services)
    training = Training(services)

    def watched(state: State) -> tuple[Any, ...]:
        buttons = gr.Button(interactive=not state.running), gr.Button(interactive=state.can_stop)
        done = state.number if state.learnt else state.number - 1
        return bar(state), told(state), *buttons, gr.Timer(active=state.running), done

    @explained
    def start(
        reference: str, name: str, annotator: str, source: str, since: str, all_readers: bool, force: bool
    ) -> tuple[Any, ...]:
        when = parse_time(since.strip() or None)
        training.start(Wish(reference, name, annotator, source, when, all_readers, force))
        return watched(training.state)

    @explained
    def cancel() -> tuple[Any, ...]:
        training.cancel()
        return watched(training.state)

    def tick(use: bool, shown: int) -> tuple[Any, ...]:
        state = training.state
        choice = name = parent = gr.skip()
        if state.learnt and shown != state.number:  # news to this page
            choices = checkpoint_choices(services)
            choice = gr.Dropdown(choices=choices, value=state.learnt) if use else gr.Dropdown(choices=choices)
            parent, name = gr.Dropdown(choices=parent_choices(services)), suggested_name()
        return *watched(state), choice, parent, name

    def opened() -> tuple[Any, ...]:
        return *filters(services), gr.Dropdown(choices=parent_choices(services)), *watched(training.state)

    queued = QUIET | {"queue": True}  # an event outside of the queue cannot show a warning
    parts.start.click(start, parts.wishes, parts.watched, **queued)
    parts.cancel.click(cancel, None, parts.watched, **queued)
    changed = [*parts.watched, settings.checkpoint, parts.checkpoint, parts.name]
    parts.timer.tick(tick, [parts.use, parts.seen], changed, **QUIET)
    shown = [parts.annotator, parts.source, parts.checkpoint, *parts.watched]
    parts.open.expand(opened, None, shown, **QUIET)
    blocks.load(lambda: watched(training.state), None, parts.watched, **QUIET)
    return training


def wire_preparation(tally: gr.HTML, training: Training, services: Services) -> None:
    """As soon as corrections are counted: they may be learnt from in a minute."""
    tally.change(lambda: training.prepare(parent_choices(services)[0][1]), None, None, **QUIET)
