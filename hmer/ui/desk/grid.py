"""Many at once: pictures with their readings, of which all but the marked are accepted."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from annotations import Annotation
from hmer.errors import LatexError
from hmer.ui.desk import work
from hmer.ui.messages import explained
from hmer.ui.services import Services
from hmer.ui.typeset import formula_view, typeset

CELLS = 12
COLUMNS = 4


# --- functions --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sheet:
    """What is shown: numbers and readings; those `passed` over do not come again on this page."""

    ids: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()
    passed: tuple[int, ...] = ()
    accepted: tuple[int, ...] = ()  # with the last press, to be undone


def shown(sheet: Sheet, services: Services, news: str = "") -> tuple[Any, ...]:
    """Values of the panel's outputs: the next sheet of what waits and was not passed over."""
    page = work.grid_page(services.store, CELLS, sheet.passed)
    cells: list[Any] = []
    for index in range(CELLS):
        cells += cell(page.rows[index] if index < len(page.rows) else None, services)
    count = len(page.rows)
    button = gr.Button(f"Accept all but the marked ({count}) · Ctrl+Enter", interactive=count > 0)
    said = news or ("" if count else "Nothing is waiting that could be accepted as it stands.")
    tally = f'<p class="hm-tally" role="status" id="hm-g-said">{said}</p>'
    texts = tuple(work.proposal(row) for row in page.rows)
    now = Sheet(tuple(row.id for row in page.rows), texts, sheet.passed, sheet.accepted)
    return (now, named(now), button, tally, *cells)


def named(sheet: Sheet) -> str:
    """The numbers of a sheet, in one word."""
    return " ".join(map(str, sheet.ids))


def cell(annotation: Annotation | None, services: Services) -> list[Any]:
    """Values of one cell's components."""
    if annotation is None:
        return [gr.Column(visible=False), "", "", False]
    text = work.proposal(annotation)
    sure = annotation.prediction.confidence if annotation.prediction else None
    try:
        formula = typeset(text)
    except LatexError:
        formula = ""
    label = f"Wrong · {sure:.0%} sure" if sure is not None else "Wrong"
    return [
        gr.Column(visible=True),
        work.picture(services.store, annotation.id),
        formula,
        gr.Checkbox(False, label=label),
    ]


def accepted(sheet: Sheet, on_page: str, marks: Sequence[bool], services: Services, by: str) -> tuple[Any, ...]:
    """Accept what is not marked, pass over the marked, and show the next sheet. Raises StoreError.

    `on_page` is the sheet that the page showed when the button was pressed: a second press before the page had changed
    accepts nothing that nobody has seen.
    """
    if on_page != named(sheet):
        return shown(sheet, services)
    marked = tuple(number for number, mark in zip(sheet.ids, marks, strict=False) if mark)
    taken = {number: text for number, text in zip(sheet.ids, sheet.texts, strict=True) if number not in marked}
    done, problems = work.accept_all(services.store, taken, by)
    _warn(problems, "could not be accepted")
    after = Sheet((), (), (*sheet.passed, *marked, *problems), done)
    return shown(after, services, f"{len(done)} accepted, {len(marked)} left for the queue.")


def undone(sheet: Sheet, services: Services, by: str) -> tuple[Any, ...]:
    """Take the last sheet's decisions back, and no others. Raises StoreError."""
    count, problems = work.undo_all(services.store, sheet.accepted, by)
    _warn(problems, "could not be taken back")
    return shown(Sheet(), services, f"{count} taken back.")


def _warn(problems: dict[int, str], what: str) -> None:
    if problems:
        number, why = next(iter(problems.items()))
        gr.Warning(html.escape(f"{len(problems)} {what}; No. {number}: {why}"))


# --- layout -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GridPanel:
    """The components; `outputs` take what `shown` gives."""

    state: gr.State
    shown: gr.Textbox  # the numbers that the page shows
    fetch: gr.Button
    accept: gr.Button
    undo: gr.Button
    said: gr.HTML
    cells: list[list[Any]]

    @property
    def outputs(self) -> list[Any]:
        """In the order of `shown`."""
        return [self.state, self.shown, self.accept, self.said, *(part for parts in self.cells for part in parts)]

    @property
    def marks(self) -> list[gr.Checkbox]:
        """One a cell."""
        return [parts[3] for parts in self.cells]


def layout() -> GridPanel:
    """A row of buttons over the cells; one formula a component, so that none can spoil another."""
    state = gr.State(Sheet())
    on_page = gr.Textbox("", visible="hidden", elem_id="hm-g-shown")
    with gr.Row(elem_classes="hm-buttons"):
        fetch = gr.Button("Fetch", elem_id="hm-g-fetch")
        accept = gr.Button("Accept all but the marked", variant="primary", interactive=False, elem_id="hm-g-accept")
        undo = gr.Button("Undo the last sheet", elem_id="hm-g-undo")
    said = gr.HTML("", elem_id="hm-g-tally", padding=False)
    cells = []
    for start in range(0, CELLS, COLUMNS):
        with gr.Row():
            for index in range(start, start + COLUMNS):
                with gr.Column(visible=False, min_width=200, elem_classes="hm-cell hm-card") as column:
                    shown_picture = gr.HTML("", padding=False)
                    formula = formula_view(elem_classes="hm-formula")
                    mark = gr.Checkbox(False, label="Wrong", elem_id=f"hm-g-mark-{index}")
                cells.append([column, shown_picture, formula, mark])
    return GridPanel(state, on_page, fetch, accept, undo, said, cells)


def wire(panel: GridPanel, services: Services, name: gr.Textbox, who: Callable[[str, gr.Request], str]) -> None:
    """Three buttons; what cannot be saved leaves the sheet as it is."""
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    @explained
    def accept(sheet: Sheet, on_page: str, given: str, request: gr.Request, *marks: bool) -> Any:
        return accepted(sheet, on_page, marks, services, who(given, request))

    @explained
    def undo(sheet: Sheet, given: str, request: gr.Request) -> Any:
        return undone(sheet, services, who(given, request))

    panel.fetch.click(explained(lambda: shown(Sheet(), services)), None, panel.outputs, **quiet)
    panel.accept.click(accept, [panel.state, panel.shown, name, *panel.marks], panel.outputs, **quiet)
    panel.undo.click(undo, [panel.state, name], panel.outputs, **quiet)
