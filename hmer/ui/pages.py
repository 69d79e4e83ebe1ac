"""Pages and many files at once: split into regions that can be left out or adjusted, each read, the table downloaded."""

import base64
import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np
import numpy.typing as npt
import PIL.Image

from hmer.config import Decoding
from hmer.errors import BadImage, HmerError
from hmer.image import Grey
from hmer.recognizer import Recognition
from hmer.regions import MAX_PAGES, Region, cut, find_regions, read_pages
from hmer.ui.decoding_controls import DecodingPanel, decoding_of
from hmer.ui.messages import explained, warn
from hmer.ui.services import Seen, Services

HEADERS = ["Read", "Page", "Left", "Top", "Right", "Bottom", "LaTeX", "Sure"]
MAX_FILES = 100
_COLOURS = ((13, 148, 136), (148, 163, 184))  # of a region that is read, and of one that is left out

Row = list[Any]


@dataclass(frozen=True)
class Sheet:
    """A page that was handed over."""

    name: str
    pixels: Grey = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """What was read in a region: the encoded picture, and how."""

    region: Region
    page: str
    seen: Seen = field(repr=False)


# --- functions --------------------------------------------------------------------------------------------


def taken(files: Sequence[str], split: bool) -> tuple[list[Sheet], list[Row], list[HmerError]]:
    """The pages of files, a row for each region, and what could not be read. Raises BadImage for too many."""
    if len(files) > MAX_FILES:
        raise BadImage(f"{len(files)} files at once; send at most {MAX_FILES}.")
    sheets: list[Sheet] = []
    rows: list[Row] = []
    problems: list[HmerError] = []
    for file in files:
        name = Path(file).name
        try:
            pages = read_pages(file)
            if len(sheets) + len(pages) > max(MAX_PAGES, MAX_FILES):
                raise BadImage(f"{name}: too many pages at once; send the rest afterwards.")
            for number, page in enumerate(pages, 1):
                sheet = Sheet(name if len(pages) == 1 else f"{name} · {number}", page)
                found = find_regions(page) if split else [Region(0, 0, page.shape[1], page.shape[0])]
                sheets.append(sheet)
                rows += [[True, sheet.name, *_corners(region), "", ""] for region in found]
        except HmerError as error:
            problems.append(BadImage(f"{name}: {str(error).removeprefix(f'{name}: ')}"))
    return sheets, rows, problems


def _corners(region: Region) -> list[int]:
    return [region.left, region.top, region.right, region.bottom]


def region_of(row: Row) -> Region:
    """The region of a row of the table. Raises BadImage for numbers that are none."""
    try:
        numbers = [float(value) for value in row[2:6]]
        if all(math.isfinite(value) and abs(value) < 1e6 for value in numbers):
            return Region(*(round(value) for value in numbers))
    except (TypeError, ValueError):
        pass
    raise BadImage(f"{row[1]}: Left, Top, Right and Bottom of a region are numbers of pixels.")


def drawn(sheets: Sequence[Sheet], rows: Sequence[Row], name: str) -> npt.NDArray[np.uint8] | None:
    """A page with its regions and their numbers on it: (H, W, 3); None where there is no such page."""
    sheet = next((item for item in sheets if item.name == name), None)
    if sheet is None:
        return None
    picture = cv2.cvtColor(sheet.pixels, cv2.COLOR_GRAY2RGB)
    thick = max(2, picture.shape[1] // 400)
    for number, row in enumerate(rows, 1):
        if row[1] != name:
            continue
        try:
            region = region_of(row)
        except BadImage:
            continue
        colour = _COLOURS[0 if row[0] else 1]
        corners = (
            (region.left - 2 * thick, region.top - 2 * thick),
            (region.right + 2 * thick, region.bottom + 2 * thick),
        )
        cv2.rectangle(picture, *corners, colour, thick)
        place = (corners[0][0], max(corners[0][1] - 2 * thick, 12 * thick))
        cv2.putText(picture, str(number), place, cv2.FONT_HERSHEY_SIMPLEX, thick * 0.4, colour, thick, cv2.LINE_AA)
    return np.asarray(picture, np.uint8)


def toggled(rows: Sequence[Row], name: str, x: float, y: float) -> list[Row]:
    """The rows with the smallest region of a page at (x, y) left out, or in again."""
    at: list[tuple[int, Row]] = []
    for row in rows:
        region = region_of(row)
        if row[1] == name and region.left <= x < region.right and region.top <= y < region.bottom:
            at.append(((region.right - region.left) * (region.bottom - region.top), row))
    chosen = min(at, key=lambda item: item[0])[1] if at else None
    return [[not row[0], *row[1:]] if row is chosen else list(row) for row in rows]


def read_regions(
    services: Services, sheets: Sequence[Sheet], rows: Sequence[Row], decoding: Decoding, reference: str
) -> tuple[list[Row], list[Answer], list[HmerError]]:
    """The rows with what their regions say, the answers, and what could not be read. Raises HmerError for all."""
    pages = {sheet.name: sheet.pixels for sheet in sheets}
    wanted = [(index, row, region_of(row)) for index, row in enumerate(rows) if row[0] and row[1] in pages]
    services.admit(len(wanted))
    recognizer = services.recognizers.get(reference)
    problems: list[HmerError] = []
    prepared: list[tuple[int, Region, bytes, Grey]] = []
    for index, row, region in wanted:
        try:
            picture = cut(pages[row[1]], region)
            prepared.append((index, region, _png(picture), recognizer.read(picture)))
        except BadImage as error:
            problems.append(BadImage(f"Region {index + 1}: {error}"))
    found = recognizer.recognize_prepared([item[3] for item in prepared], decoding)
    done = [[*row[:6], "", ""] for row in rows]
    answers = []
    for (index, region, image, _), recognition in zip(prepared, found, strict=True):
        done[index][6:] = [recognition.latex, f"{recognition.confidence:.0%}"]
        answers.append(Answer(region, done[index][1], Seen(image, recognition, decoding, reference)))
    return done, answers, problems


def _png(picture: Grey) -> bytes:
    encoded = io.BytesIO()
    PIL.Image.fromarray(picture).save(encoded, format="PNG")
    return encoded.getvalue()


def table(answers: Sequence[Answer]) -> str:
    """The results as CSV: page, region, LaTeX, confidence, checkpoint."""
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\n")
    lines.writerow(["page", "left", "top", "right", "bottom", "latex", "confidence", "checkpoint"])
    for answer in answers:
        recognition: Recognition = answer.seen.recognition
        lines.writerow(
            [_harmless(answer.page), *_corners(answer.region), _harmless(recognition.latex),
             f"{recognition.confidence:.4f}", recognition.checkpoint]
        )  # fmt: skip
    return written.getvalue()


def _harmless(text: str) -> str:
    """Text that a spreadsheet does not take for a calculation."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text


# --- layout -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PagesPanel:
    """The components."""

    files: gr.File
    split: gr.Checkbox
    page: gr.Dropdown
    picture: gr.Image
    rows: gr.Dataframe
    read: gr.Button
    download: gr.Button
    table: gr.Textbox
    sheets: gr.State
    answers: gr.State


def layout(tabs: gr.Tabs) -> PagesPanel:
    """One more tab: files, the page with its regions, and the table."""
    with tabs, gr.Tab("Pages", id="pages"):
        files = gr.File(
            file_count="multiple", file_types=["image", ".pdf"], height=130, elem_id="hm-pages",
            label="Pictures or PDF files with several formulas each",
        )  # fmt: skip
        split = gr.Checkbox(True, label="Find the formulas on each page", elem_id="hm-pages-split")
        page = gr.Dropdown([], label="Page", visible=False, elem_id="hm-page")
        picture = gr.Image(
            interactive=False, visible=False, show_label=False, buttons=["fullscreen"], elem_id="hm-page-picture",
            alt_text="The page with its regions",
        )  # fmt: skip
        rows = gr.Dataframe(
            [], headers=HEADERS, datatype=["bool", "str", "number", "number", "number", "number", "str", "str"],
            type="array", interactive=True, static_columns=[1, 6, 7], visible=False, elem_id="hm-regions",
            label="Regions", wrap=True,
            column_widths=["64px", "104px", "62px", "62px", "62px", "76px", "190px", "66px"], max_height=360, buttons=[],
        )  # fmt: skip
        with gr.Row(elem_classes="hm-buttons"):
            read = gr.Button("Recognise the regions", variant="primary", visible=False, elem_id="hm-read-regions")
            download = gr.Button("Download the table", visible=False, elem_id="hm-table")
            csv_url = gr.Textbox("", visible="hidden", elem_id="hm-table-url")
        gr.HTML(
            '<p class="hm-muted">Click a region to leave it out or take it in again; its edges are numbers in the table. '
            "Running text is not told from formulas: leave it out by hand.</p>",
            padding=False, elem_id="hm-pages-hint",
        )  # fmt: skip
        return PagesPanel(files, split, page, picture, rows, read, download, csv_url, gr.State([]), gr.State([]))


# --- wiring -----------------------------------------------------------------------------------------------


def wire(panel: PagesPanel, services: Services, settings: DecodingPanel) -> None:
    """Files are split as they come; the rest is by button, by click and by table."""

    @explained
    def take(files: list[str] | None, split: bool) -> tuple[Any, ...]:
        sheets, rows, problems = taken(files or [], split)
        for problem in problems:
            warn(problem)
        names = [sheet.name for sheet in sheets]
        first = names[0] if names else None
        there = bool(sheets)
        return (
            sheets, [], gr.Dropdown(names, value=first, visible=len(names) > 1),
            gr.Image(drawn(sheets, rows, first or ""), visible=there), gr.Dataframe(rows, visible=there),
            gr.Button(visible=there), gr.Button(visible=False),
        )  # fmt: skip

    @explained
    def click(sheets: list[Sheet], rows: list[Row], name: str, event: gr.SelectData) -> tuple[Any, Any]:
        changed = toggled(rows, name, *event.index)
        return changed, drawn(sheets, changed, name)

    @explained
    def read(sheets: list[Sheet], rows: list[Row], reference: str, *values: Any) -> tuple[Any, ...]:
        done, answers, problems = read_regions(services, sheets, rows, decoding_of(values), reference)
        for problem in problems:
            warn(problem)
        return done, answers, gr.Button(visible=bool(answers))

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    gr.on(
        [panel.files.change, panel.split.input], take, [panel.files, panel.split],
        [panel.sheets, panel.answers, panel.page, panel.picture, panel.rows, panel.read, panel.download],
        concurrency_id="recognize", show_progress="minimal", show_progress_on=panel.files, api_visibility="private",
    )  # fmt: skip
    panel.picture.select(click, [panel.sheets, panel.rows, panel.page], [panel.rows, panel.picture], **quiet)
    gr.on([panel.rows.input, panel.page.input], drawn, [panel.sheets, panel.rows, panel.page], panel.picture, **quiet)
    panel.read.click(
        read, [panel.sheets, panel.rows, *settings.inputs], [panel.rows, panel.answers, panel.download],
        concurrency_id="recognize", concurrency_limit=services.options.concurrency,
        show_progress="minimal", show_progress_on=panel.rows, api_visibility="private",
    )  # fmt: skip

    def as_url(answers: list[Answer]) -> str:
        return f"data:text/csv;base64,{base64.b64encode(table(answers).encode()).decode()}"

    panel.download.click(as_url, panel.answers, panel.table, **quiet).then(
        None, panel.table, None, js="(url) => window.hmerCopy.save(url)", api_visibility="private"
    )


def chosen(answers: Sequence[Answer], rows: Sequence[Row], index: int) -> Seen:
    """The answer of a row of the table. Raises BadImage when it has not been read."""
    region = region_of(rows[index])
    for answer in answers:
        if answer.region == region and answer.page == rows[index][1]:
            return answer.seen
    raise BadImage("This region has not been read yet; press Recognise the regions.")
