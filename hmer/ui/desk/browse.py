"""Everything that is in the store: searched, looked at, edited, deleted, undone, erased for good."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

import gradio as gr

from annotations import Annotation, Reason, Selection, Status
from hmer import latex
from hmer.command_line import parse_time
from hmer.errors import ConfigError
from hmer.ui import correct
from hmer.ui.desk import work
from hmer.ui.messages import explained
from hmer.ui.services import Services
from hmer.ui.typeset import formula_view

PAGE = 25
ANY, NOBODY = "any", "(nobody)"
HEADERS = ["No.", "Made", "Status", "Annotator", "Source", "LaTeX"]
NOTHING = "hm-b-nothing"


# --- functions --------------------------------------------------------------------------------------------


def selection(formula: str, symbol: str, status: str, annotator: str, source: str, since: str, until: str) -> Selection:
    """The filters as a Selection, empty ones meaning any; `until` includes its day.

    Raises ConfigError for what is no date, or a span that ends before it begins, and StoreError for an impossible one.
    """
    first, last = (parse_time((text or "").strip() or None) for text in (since, until))
    chosen = Selection(
        statuses=None if status in (ANY, "", None) else (status,),
        annotator=_name(annotator),
        source=_name(source),
        since=first,
        until=_end_of(last),
        latex=(formula or "").strip() or None,
        symbol=(symbol or "").strip() or None,
    )
    if chosen.since is not None and chosen.until is not None and chosen.since >= chosen.until:
        raise ConfigError(f"From {since.strip()} to {until.strip()} is no span of time; exchange the two.")
    return chosen


def _name(chosen: str | None) -> str | None:
    """A name as the store keeps it; None for any."""
    text = (chosen or ANY).strip()
    return None if text in (ANY, "") else "" if text == NOBODY else text


def _end_of(day: datetime | None) -> datetime | None:
    """The first moment that is later: of a day the next one's beginning."""
    if day is None or day.time() != time.min:
        return day
    try:
        return day + timedelta(days=1)
    except OverflowError:  # the calendar ends there
        return day


def choices(names: Sequence[str]) -> list[str]:
    """What a filter by name offers."""
    return [ANY, *(name or NOBODY for name in names)]


def found(chosen: Selection, page: int, services: Services) -> tuple[list[list[Any]], str, int]:
    """Rows of the table, HTML with how many there are, and the page, from 0, brought into bounds."""
    count = services.store.count(chosen)
    last = max(0, (count - 1) // PAGE)
    page = min(max(page, 0), last)
    rows = services.store.find(chosen, limit=PAGE, offset=page * PAGE)
    place = f" · page {page + 1} of {last + 1}" if last else ""
    tally = f'<p class="hm-tally" role="status"><span id="hm-b-count">{count}</span> found{place}</p>'
    return [table_row(row) for row in rows], tally, page


def table_row(row: Annotation) -> list[Any]:
    """One line of the table."""
    status = f"{row.status}: {row.reason}" if row.reason else str(row.status)
    shown = latex.pretty(list(row.tokens)) if row.tokens else f"({work.proposal(row)})" if row.prediction else ""
    made = f"{row.created_at.astimezone():%Y-%m-%d %H:%M}"
    return [row.id, made, status, row.annotator, row.source, shown]


def opened(annotation_id: int, services: Services) -> tuple[Any, ...]:
    """Values of the editor's outputs for one annotation. Raises StoreError."""
    row = services.store.get(annotation_id)
    text = work.proposal(row)
    read = "".join(
        f"<li><code>{html.escape(prediction.latex)}</code> {html.escape(prediction.checkpoint)}"
        f"{'' if prediction.confidence is None else f', {prediction.confidence:.0%} sure'}</li>"
        for prediction in services.store.predictions(annotation_id)
    )
    changes = "".join(
        f"<li>{change.made_at.astimezone():%Y-%m-%d %H:%M} {html.escape(change.annotator or 'somebody')}: "
        f"{html.escape(change.summary)}</li>"
        for change in services.store.history(annotation_id, limit=20)
    )
    about = (
        f'<div class="hm-about" id="hm-b-about" data-id="{row.id}"><p>No. {row.id}</p>'
        f"{f'<p>Readings</p><ul>{read}</ul>' if read else ''}<p>History</p><ul>{changes or '<li>none</li>'}</ul></div>"
    )
    seen = work.picture(services.store, annotation_id) + work.near_by(services.store, annotation_id)
    form = (str(row.status), row.reason, about, row.updated_at.isoformat())
    return (annotation_id, seen, text, *correct.preview(text, None, services), *form)


def closed(said: str) -> tuple[Any, ...]:
    """Values of the editor's outputs when there is nothing to edit."""
    return (0, f'<p class="hm-empty" id="{NOTHING}">{html.escape(said)}</p>', "", "", "", None, None, "", "")


def saved(
    annotation_id: int,
    text: str,
    status: str,
    reason: str | None,
    services: Services,
    by: str,
    *,
    seen: str | None = None,
) -> Annotation:
    """Save what was edited; a mere reading becomes nobody's correction unless it is accepted or kept as a draft.

    `seen`: when what was edited had last been changed, as the page was told. Raises ConfigError, also if it was changed
    since, LatexError or StoreError.
    """
    check_open(annotation_id, services, seen)
    if status == Status.ACCEPTED and not text.strip():
        raise ConfigError("Type the LaTeX first, or choose another status.")
    row = services.store.get(annotation_id)
    why = Reason.of(reason) if reason and status == Status.REJECTED else None
    untouched = row.correction is None and text == work.proposal(row) and status not in (Status.ACCEPTED, Status.DRAFT)
    changed = None if untouched or not text.strip() else text
    return work.decide(services.store, annotation_id, Status.of(status), text=changed, reason=why, by=by)


def check_open(annotation_id: int, services: Services, seen: str | None = None) -> None:
    """Raise ConfigError if no annotation is open, or if it was changed since it was `seen` (None: whatever it is)."""
    if not annotation_id:
        raise ConfigError("Choose a line of the table first.")
    if seen is not None and services.store.get(annotation_id).updated_at.isoformat() != seen:
        raise ConfigError(
            f"Somebody has changed No. {annotation_id} meanwhile: nothing was done. Choose its line again to see it "
            "(what you typed is lost then: copy it first)."
        )


# --- layout -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BrowsePanel:
    """The components."""

    filters: list[Any]
    search: gr.Button
    clear: gr.Button
    page: gr.State
    back: gr.Button
    on: gr.Button
    table: gr.Dataframe
    tally: gr.HTML
    editor: list[Any]  # take what `opened` gives
    save: gr.Button
    delete: gr.Button
    undo: gr.Button
    sure: gr.Checkbox
    purge: gr.Button

    @property
    def number(self) -> Any:
        """The annotation that is open; 0 for none."""
        return self.editor[0]

    @property
    def edited(self) -> list[Any]:
        """What `saved` takes: number, when it had been changed, text, status, reason."""
        return [self.editor[0], self.editor[8], self.editor[2], self.editor[5], self.editor[6]]


def layout(services: Services) -> BrowsePanel:
    """Filters, a table, and an editor for the line that was chosen."""
    names = services.store.names()
    with gr.Row(elem_classes="hm-filters"):
        filters: list[Any] = [
            gr.Textbox(label="LaTeX", placeholder=r"\frac{1}{2}", max_lines=1, elem_id="hm-b-latex"),
            gr.Textbox(label="Symbol", placeholder=r"\alpha", max_lines=1, elem_id="hm-b-symbol"),
            gr.Dropdown([ANY, *map(str, Status)], value=ANY, label="Status", elem_id="hm-b-status"),
            gr.Dropdown(choices(names["annotator"]), value=ANY, label="Annotator", elem_id="hm-b-annotator"),
            gr.Dropdown(choices(names["source"]), value=ANY, label="Source", elem_id="hm-b-source"),
            gr.Textbox(label="From", placeholder="2026-11-01", max_lines=1, elem_id="hm-b-since"),
            gr.Textbox(label="To", placeholder="2026-11-30", max_lines=1, elem_id="hm-b-until"),
        ]  # fmt: skip
    with gr.Row(elem_classes="hm-buttons"):
        search = gr.Button("Search", variant="primary", elem_id="hm-b-search")
        clear = gr.Button("Clear", elem_id="hm-b-clear")
        back = gr.Button("←", elem_id="hm-b-back", min_width=40)
        on = gr.Button("→", elem_id="hm-b-on", min_width=40)
    page = gr.State(0)
    tally = gr.HTML("", elem_id="hm-b-tally", padding=False)
    table = gr.Dataframe(
        headers=HEADERS, value=[], interactive=False, type="array", datatype="str", max_chars=120, elem_id="hm-b-table",
        show_label=False, buttons=[], column_widths=["8%", "16%", "14%", "14%", "14%", "34%"],
    )  # fmt: skip
    # Both as the page shows them, whatever comes.
    number = gr.Number(0, precision=0, visible="hidden", elem_id="hm-b-number")
    changed = gr.Textbox("", visible="hidden", elem_id="hm-b-changed")
    with gr.Row(elem_classes="hm-columns"):
        with gr.Column(scale=6, min_width=320):
            seen = gr.HTML("", elem_id="hm-b-picture", padding=False)
            about = gr.HTML("", elem_id="hm-b-details", padding=False)
        with gr.Column(scale=5, min_width=320, elem_classes="hm-card"):
            formula = formula_view(elem_id="hm-b-formula", elem_classes="hm-formula")
            text = gr.Textbox(
                label="LaTeX", lines=2, max_lines=8, elem_id="hm-b-text", elem_classes="hm-code",
                html_attributes=gr.InputHTMLAttributes(spellcheck=False, autocapitalize="off", autocorrect="off"),
            )  # fmt: skip
            problem = gr.HTML("", elem_id="hm-b-problem", padding=False)
            with gr.Row():
                status = gr.Dropdown(list(map(str, Status)), label="Status", elem_id="hm-b-edit-status")
                reason = gr.Dropdown(
                    list(map(str, Reason)), value=None, label="Reason, if rejected", elem_id="hm-b-edit-reason"
                )
            with gr.Row(elem_classes="hm-buttons"):
                save = gr.Button("Save", variant="primary", elem_id="hm-b-save")
                delete = gr.Button("Delete", elem_id="hm-b-delete")
                undo = gr.Button("Undo my last change", elem_id="hm-b-undo")
            with gr.Row(elem_classes="hm-buttons"):
                sure = gr.Checkbox(False, label="Erase the picture and its history for good", elem_id="hm-b-sure")
                purge = gr.Button("Erase", variant="stop", elem_id="hm-b-purge")
    editor = [number, seen, text, formula, problem, status, reason, about, changed]
    return BrowsePanel(filters, search, clear, page, back, on, table, tally, editor, save, delete, undo, sure, purge)


def wire(panel: BrowsePanel, services: Services, name: gr.Textbox, who: Callable[[str, gr.Request], str]) -> None:
    """Every change shows its row again, and the table as it now is."""
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    table = [panel.table, panel.tally, panel.page]
    both = [*panel.editor, *table]

    def turn(steps: int | None) -> Callable[..., Any]:
        @explained
        def handler(page: int, *filters: str) -> Any:
            return found(selection(*filters), 0 if steps is None else page + steps, services)

        return handler

    @explained
    def choose(rows: list[list[Any]], event: gr.SelectData) -> Any:
        return opened(int(rows[event.index[0]][0]), services)

    @explained
    def save(
        number: int,
        seen: str,
        text: str,
        status: str,
        reason: str | None,
        given: str,
        page: int,
        request: gr.Request,
        *filters: str,
    ) -> Any:
        row = saved(number, text, status, reason, services, who(given, request), seen=seen)
        gr.Info("Saved.")
        return (*opened(row.id, services), *found(selection(*filters), page, services))

    @explained
    def delete(number: int, seen: str, given: str, page: int, request: gr.Request, *filters: str) -> Any:
        check_open(number, services, seen)
        services.store.delete(number, by=who(given, request))
        return (*closed(f"No. {number} is deleted. Undo brings it back."), *found(selection(*filters), page, services))

    @explained
    def undo(given: str, page: int, request: gr.Request, *filters: str) -> Any:
        number = work.undo_last(services.store, who(given, request))
        there = services.store.history(number, limit=1)[0].after is not None
        shown = opened(number, services) if there else closed(f"No. {number} is gone again.")
        return (*shown, *found(selection(*filters), page, services))

    @explained
    def purge(number: int, sure: bool, page: int, *filters: str) -> Any:
        check_open(number, services)
        if not sure:
            raise ConfigError("Erasing cannot be undone: tick the box beside the button first.")
        count = services.store.purge(number)
        said = f"Erased: the picture, {count} annotations of it, their history. Backups made before still hold them."
        return (False, *closed(said), *found(selection(*filters), page, services))

    def everything() -> Any:
        cleared = ["", "", *[ANY] * 3, "", ""]
        return (*cleared, *found(selection(*cleared), 0, services))

    def offer(kind: str) -> Callable[[], Any]:
        return lambda: gr.Dropdown(choices=choices(services.store.names()[kind]))

    entered = [part.submit for part in panel.filters if isinstance(part, gr.Textbox)]
    gr.on([panel.search.click, *entered], turn(None), [panel.page, *panel.filters], table, **quiet)
    panel.clear.click(explained(everything), None, [*panel.filters, *table], **quiet)
    for part, kind in ((panel.filters[3], "annotator"), (panel.filters[4], "source")):
        part.focus(explained(offer(kind)), None, part, **quiet)  # those of whoever came since
    panel.back.click(turn(-1), [panel.page, *panel.filters], table, **quiet)
    panel.on.click(turn(1), [panel.page, *panel.filters], table, **quiet)
    panel.table.select(choose, panel.table, panel.editor, **quiet)
    panel.save.click(save, [*panel.edited, name, panel.page, *panel.filters], both, **quiet)
    panel.delete.click(delete, [panel.number, panel.editor[8], name, panel.page, *panel.filters], both, **quiet)
    panel.undo.click(undo, [name, panel.page, *panel.filters], both, **quiet)
    panel.purge.click(purge, [panel.number, panel.sure, panel.page, *panel.filters], [panel.sure, *both], **quiet)
    panel.editor[2].change(
        lambda text: correct.preview(text, None, services), panel.editor[2], panel.editor[3:5],
        trigger_mode="always_last", queue=False, **quiet,
    )  # fmt: skip
