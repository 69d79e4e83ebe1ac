"""One picture after the other: accept, mend, reject with a reason, skip; by keys, which stand on the buttons."""

import html
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from annotations import Annotation, Reason, Status
from hmer.routing import plain
from hmer.ui import correct, symbols
from hmer.ui.desk import work
from hmer.ui.messages import explained
from hmer.ui.services import Services
from hmer.ui.typeset import formula_view

PALETTE = (
    "^{2}", "_{}", r"\frac{}{}", r"\sqrt{}", r"\sum", r"\int", r"\lim", r"\infty", r"\alpha", r"\beta", r"\theta",
    r"\pi", r"\leq", r"\geq", r"\neq", r"\times", r"\cdot", r"\pm", r"\rightarrow", r"\in", r"\partial", r"\Delta",
)  # fmt: skip
KEYS_HELP = (
    "<kbd>A</kbd> right as it stands · <kbd>E</kbd> mend · <kbd>Ctrl</kbd>+<kbd>Enter</kbd> save and next · "
    "<kbd>Esc</kbd> leave the field · <kbd>1</kbd>–<kbd>9</kbd> take another reading, or what else a symbol might be · <kbd>S</kbd> skip · "
    "<kbd>D</kbd> keep as a draft · <kbd>I</kbd> <kbd>N</kbd> <kbd>V</kbd> <kbd>B</kbd> reject · <kbd>U</kbd> undo · "
    "<kbd>←</kbd> <kbd>→</kbd> back and on"
)


# --- functions --------------------------------------------------------------------------------------------


def progress(at: work.Queue, services: Services) -> str:
    """HTML: where one stands, and how much is waiting and done."""
    counts = services.store.count_by_status()
    waiting = sum(counts[status] for status in work.OPEN)
    place = f"{min(at.position + 1, len(at.ids))} of {len(at.ids)}" if at.ids else "empty"
    return (
        f'<p class="hm-tally" role="status"><span id="hm-q-place">{place}</span> in this queue · '
        f'<span id="hm-q-waiting">{waiting}</span> waiting · '
        f'<span id="hm-q-accepted">{counts[Status.ACCEPTED]}</span> accepted in all</p>'
    )


def facts(annotation: Annotation) -> str:
    """HTML: number, confidence, checkpoint, source, who had it."""
    parts = [f"No. {annotation.id}", str(annotation.status)]
    if annotation.prediction is not None:
        sure = annotation.prediction.confidence
        parts.append(f"{'' if sure is None else f'{sure:.0%} sure, '}read by {annotation.prediction.checkpoint}")
    parts += [part for part in (annotation.source, annotation.annotator) if part]
    return f'<p class="hm-muted" id="hm-q-facts" data-id="{annotation.id}">{html.escape(" · ".join(parts))}</p>'


def readings(annotation: Annotation) -> list[tuple[str, str]]:
    """Label and LaTeX of the other readings that were stored; the label begins with its key."""
    others = dict.fromkeys(other.latex for other in annotation.prediction.alternatives) if annotation.prediction else {}
    return [(f"{number}  {text}", text) for number, text in enumerate(filter(None, others), start=1)][:9]


def shown(at: work.Queue, services: Services) -> tuple[Any, ...]:
    """Values of the panel's outputs for the queue's place."""
    at, annotation = work.current(services.store, at)
    if annotation is None:
        empty = '<p class="hm-empty">Nothing more is waiting here. Choose another order, or take pictures in.</p>'
        return (at, 0, empty, "", "", "", "", gr.Radio(choices=[], value=None, visible=False), progress(at, services))
    at = replace(at, seen=(annotation.id, annotation.updated_at), shown=at.shown | {annotation.id})
    text = at.typed.get(annotation.id) or work.proposal(annotation, second=at.second)
    others = readings(annotation)
    return (
        at,
        annotation.id,
        work.picture(services.store, annotation.id) + work.near_by(services.store, annotation.id),
        facts(annotation),
        text,
        *correct.preview(text, None, services),
        gr.Radio(choices=others, value=None, visible=len(others) > 1),
        progress(at, services),
    )


def decided(at: work.Queue, number: int, services: Services, status: Status, by: str, **what: Any) -> tuple[Any, ...]:
    """Save the decision on the item shown, and show the next. Raises ConfigError, LatexError or StoreError.

    `number` is the annotation that the page showed when the key was pressed: a key that came before the page had
    changed was meant for the one before, and does nothing. What somebody else has changed or deleted since it was
    shown is not decided on but shown as it now is.
    """
    if at.seen is not None and number != at.seen[0]:
        return shown(at, services)
    at, annotation = work.current(services.store, at)
    if annotation is None:
        return shown(at, services)
    if not at.shows(annotation):
        gr.Warning("Somebody has changed or deleted this one meanwhile: nothing was saved, look again.")
        same = at.seen is not None and at.seen[0] == annotation.id
        return shown(at.keeping(annotation.id, what["text"]) if same and what.get("text") else at, services)
    work.decide(services.store, annotation.id, status, by=by, second=at.second, **what)
    return shown(at.without(annotation.id).moved(1), services)


def undone(at: work.Queue, services: Services, by: str) -> tuple[Any, ...]:
    """Take the last decision back and show its item again. Raises StoreError."""
    annotation_id = work.undo_last(services.store, by)
    at = at.without(annotation_id)
    if annotation_id in at.ids:
        return shown(at.moved(at.ids.index(annotation_id) - at.position), services)
    return shown(at.moved(-1), services)


# --- layout -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class QueuePanel:
    """The components; `outputs` take what `shown` gives."""

    order: gr.Dropdown
    first: gr.Dropdown
    second: gr.Dropdown
    start: gr.Button
    state: gr.State
    number: gr.Number  # of the annotation that the page shows; 0 for none
    picture: gr.HTML
    facts: gr.HTML
    text: gr.Textbox
    symbols: symbols.SymbolsPanel
    formula: gr.Markdown
    problem: gr.HTML
    alternatives: gr.Radio
    progress: gr.HTML
    buttons: dict[str, gr.Button]

    @property
    def outputs(self) -> list[Any]:
        """In the order of `shown`."""
        return [
            self.state, self.number, self.picture, self.facts, self.text, self.formula, self.problem, self.alternatives,
            self.progress,
        ]  # fmt: skip


def layout() -> QueuePanel:
    """The picture on the left, its LaTeX on the right, the keys below."""
    with gr.Row(elem_classes="hm-q-order-row"):
        order = gr.Dropdown(list(work.ORDERS), value=work.ORDERS[0], label="Order", elem_id="hm-q-order", scale=2)
        first = gr.Dropdown([], label="Checkpoint", visible=False, elem_id="hm-q-first", scale=2)
        second = gr.Dropdown([], label="Other checkpoint", visible=False, elem_id="hm-q-second", scale=2)
        start = gr.Button("Fetch the queue", elem_id="hm-q-start", scale=1)
    state = gr.State(work.Queue())
    number = gr.Number(0, precision=0, visible="hidden", elem_id="hm-q-number")
    count = gr.HTML("", elem_id="hm-q-progress", padding=False)
    buttons: dict[str, gr.Button] = {}

    def button(name: str, label: str, **options: Any) -> None:
        buttons[name] = gr.Button(label, elem_id=f"hm-q-{name}", **options)

    with gr.Row(elem_classes="hm-columns"):
        with gr.Column(scale=6, min_width=320):
            shown_picture = gr.HTML("", elem_id="hm-q-picture", padding=False)
            details = gr.HTML("", elem_id="hm-q-about", padding=False)
        with gr.Column(scale=5, min_width=320, elem_classes="hm-card"):
            formula = formula_view(elem_id="hm-q-formula", elem_classes="hm-formula")
            text = gr.Textbox(
                label="LaTeX", lines=2, max_lines=8, elem_id="hm-q-text", elem_classes="hm-code",
                html_attributes=gr.InputHTMLAttributes(spellcheck=False, autocapitalize="off", autocorrect="off"),
            )  # fmt: skip
            clickable = symbols.layout("hm-q-text")
            problem = gr.HTML("", elem_id="hm-q-problem", padding=False)
            gr.HTML(palette(), elem_id="hm-q-palette", padding=False)
            alternatives = gr.Radio([], label="Other readings", visible=False, elem_id="hm-q-alternatives",
                                    elem_classes="hm-code hm-readings")  # fmt: skip
            with gr.Row(elem_classes="hm-buttons"):
                button("accept", "Save, next · A", variant="primary")
                button("draft", "Draft · D", min_width=80)
                button("skip", "Skip · S", min_width=80)
            with gr.Row(elem_classes="hm-buttons"):
                for reason, key in zip(Reason, "INVB", strict=True):
                    button(reason.name.lower(), f"{reason.value.capitalize()} · {key}", size="sm", min_width=80)
            with gr.Row(elem_classes="hm-buttons"):
                button("previous", "←", size="sm", min_width=40)
                button("next", "→", size="sm", min_width=40)
                button("undo", "Undo · U", size="sm", min_width=80)
    gr.HTML(f'<p class="hm-keys">{KEYS_HELP}</p>', padding=False)
    return QueuePanel(
        order, first, second, start, state, number, shown_picture, details, text, clickable, formula, problem, alternatives, count,
        buttons,
    )  # fmt: skip


def palette() -> str:
    """HTML: buttons that put a symbol where the cursor is; the script of the page does the work."""
    buttons = "".join(
        f'<button type="button" data-insert="{html.escape(symbol)}" title="{html.escape(symbol)}">'
        f"{html.escape(symbol)}</button>"
        for symbol in PALETTE
    )
    return f'<div class="hm-palette" data-field="hm-q-text">{buttons}</div>'


# --- wiring -----------------------------------------------------------------------------------------------


def wire(panel: QueuePanel, services: Services, name: gr.Textbox, who: Callable[[str, gr.Request], str]) -> None:
    """Every button saves or moves, and shows what comes next; what cannot be saved leaves the page as it is."""
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    @explained
    def fetch(order: str, first: str, second: str, given: str, request: gr.Request) -> Any:
        return shown(work.queue(services.store, order, who(given, request), (first, second)), services)

    def save(status: Status, reason: Reason | None = None) -> Callable[..., Any]:
        @explained
        def handler(at: work.Queue, number: int, text: str, given: str, request: gr.Request) -> Any:
            what = {"text": text} if status in (Status.ACCEPTED, Status.DRAFT) else {"reason": reason}
            return decided(at, number, services, status, who(given, request), **what)

        return handler

    @explained
    def undo(at: work.Queue, number: int, text: str, given: str, request: gr.Request) -> Any:
        return undone(at.keeping(number, text), services, who(given, request))

    def choose(order: str) -> tuple[Any, Any]:
        names = services.store.names()["checkpoint"]
        compare = order == work.DISAGREEING
        values = [*names, *[None] * 2]
        return tuple(gr.Dropdown(choices=names, value=value, visible=compare) for value in values[:2])  # type: ignore[return-value]

    panel.order.change(choose, panel.order, [panel.first, panel.second], queue=False, **quiet)
    panel.start.click(fetch, [panel.order, panel.first, panel.second, name], panel.outputs, **quiet)
    handlers = {
        "accept": save(Status.ACCEPTED),
        "draft": save(Status.DRAFT),
        "skip": save(Status.SKIPPED),
        **{reason.name.lower(): save(Status.REJECTED, reason) for reason in Reason},
    }
    for key, handler in handlers.items():
        panel.buttons[key].click(handler, [panel.state, panel.number, panel.text, name], panel.outputs, **quiet)
    panel.buttons["undo"].click(undo, [panel.state, panel.number, panel.text, name], panel.outputs, **quiet)
    for key, steps in (("previous", -1), ("next", 1)):
        panel.buttons[key].click(
            explained(lambda at, number, text, steps=steps: shown(at.keeping(number, text).moved(steps), services)),
            [panel.state, panel.number, panel.text],
            panel.outputs,
            **quiet,
        )
    panel.text.change(
        lambda text: correct.preview(text, None, services), panel.text, [panel.formula, panel.problem],
        trigger_mode="always_last", queue=False, **quiet,
    )  # fmt: skip
    symbols.wire(
        panel.symbols, panel.text, panel.number,
        lambda number: (services.store.image(int(number)), plain(services.options.checkpoint)) if number else None, services,
    )  # fmt: skip
    panel.alternatives.input(lambda text: text, panel.alternatives, panel.text, queue=False, **quiet)
