"""Pages and many files at once: split into regions that can be left out or adjusted, each read, the table downloaded."""

import base64
import contextlib
import csv
import html
import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np
import PIL.Image

from hmer.config import Decoding
from hmer.errors import BadImage, HmerError
from hmer.image import Grey
from hmer.recognizer import Recognition
from hmer.regions import MAX_PAGES, Region, cut, find_regions, read_pages
from hmer.ui.decoding_controls import DecodingPanel, decoding_of
from hmer.ui.messages import explained, warn
from hmer.ui.services import Seen, Services, seen_by

HEADERS = ["Read", "Page", "Left", "Top", "Right", "Bottom", "LaTeX", "Sure"]
MAX_FILES = 100
SHOWN_PX = 1600
_READ = 'aria-pressed="true"'

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
    for file, name in zip(files, _told_apart([Path(file).name for file in files]), strict=True):
        try:
            pages = read_pages(file)
            if len(sheets) + len(pages) > max(MAX_PAGES, MAX_FILES):
                raise BadImage("too many pages at once; send the rest afterwards.")
        except HmerError as error:
            problems.append(BadImage(f"{name}: {str(error).removeprefix(f'{Path(file).name}: ')}"))
            continue
        for number, page in pages.items():
            title = name if len(pages) == 1 else f"{name} · {number}"
            try:
                found = find_regions(page) if split else [Region(0, 0, page.shape[1], page.shape[0])]
            except HmerError as error:  # the other pages are not to suffer
                problems.append(BadImage(f"{title}: {error}"))
                continue
            sheets.append(Sheet(title, page))
            rows += [[True, title, *_corners(region), "", ""] for region in found]
    return sheets, rows, problems


def _told_apart(names: Sequence[str]) -> list[str]:
    """The names, a number behind each that was there before: a page is known by its name."""
    taken: list[str] = []
    for name in names:
        free = (name if number == 1 else f"{name} ({number})" for number in itertools.count(1))
        taken.append(next(one for one in free if one not in taken))
    return taken


def _corners(region: Region) -> list[int]:
    return [region.left, region.top, region.right, region.bottom]


def region_of(row: Row) -> Region:
    """The region of a row of the table. Raises BadImage for numbers that are none."""
    try:
        numbers = [float(value) for value in row[2:6]]
        if all(math.isfinite(value) and abs(value) < 1e6 for value in numbers):
            return Region(*(round(value) for value in numbers))
    except (TypeError, ValueError, OverflowError):
        pass
    raise BadImage(f"{row[1]}: Left, Top, Right and Bottom of a region are numbers of pixels.")


def shown(sheets: Sequence[Sheet], rows: Sequence[Row], name: str | None) -> str:
    """HTML of a page with its regions on it, each a button whose edges can be dragged; empty where there is no such page.

    What a press or a drag changes, assets/regions.js writes into the table.
    """
    sheet = next((item for item in sheets if item.name == name), None)
    if sheet is None:
        return ""
    tall, wide = sheet.pixels.shape
    boxes: list[tuple[int, bool, Region]] = []
    for index, row in enumerate(rows):
        if row[1] == name:
            with contextlib.suppress(BadImage):  # typed just now; reading it will say what is wrong
                boxes.append((index, bool(row[0]), region_of(row)))
    # The smallest above the others: what lies inside another can be reached.
    rank = sorted(range(len(boxes)), key=lambda place: -_area(boxes[place][2]))
    buttons = "".join(
        _button(
            index, f'aria-pressed="{str(read).lower()}" data-box="{",".join(map(str, _corners(region)))}" '
            f'style="{_placed(region, wide, tall)};z-index:{1 + rank.index(place)}"',
        )
        for place, (index, read, region) in enumerate(boxes)
    )  # fmt: skip
    return (
        f'<div class="hm-sheet" data-page="{html.escape(sheet.name)}" data-wide="{wide}" data-tall="{tall}">'
        f'<img src="{_as_url(sheet.pixels)}" alt="The page" draggable="false">{buttons}'
        f"<template>{_button(0, _READ)}</template></div>"  # of regions that the mouse draws
    )


def _button(index: int, attributes: str) -> str:
    """HTML of the region in a row of the table, with something to drag at its edges and corners."""
    handles = "".join(f'<i data-edge="{edge}"></i>' for edge in ("n", "s", "w", "e", "nw", "ne", "sw", "se"))
    return (
        f'<button type="button" class="hm-region" aria-label="Region {index + 1}" data-row="{index}" {attributes}>'
        f"<span>{index + 1}</span>{handles}</button>"
    )


def _area(region: Region) -> int:
    return (region.right - region.left) * (region.bottom - region.top)


def _placed(region: Region, wide: int, tall: int) -> str:
    """CSS: where a region lies, in shares of its page."""
    return (
        f"left:{region.left / wide:.4%};top:{region.top / tall:.4%};"
        f"width:{(region.right - region.left) / wide:.4%};height:{(region.bottom - region.top) / tall:.4%}"
    )


def _as_url(picture: Grey) -> str:
    """A page as a data URL, as large as a screen shows it."""
    scale = min(1.0, SHOWN_PX / max(picture.shape))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    encoded = io.BytesIO()
    PIL.Image.fromarray(np.asarray(small, np.uint8)).save(encoded, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"


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
        answers.append(Answer(region, done[index][1], seen_by(image, recognition, decoding, reference)))
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
    picture: gr.HTML
    rows: gr.Dataframe
    change: gr.Button
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
        picture = gr.HTML("", padding=False, elem_id="hm-page-picture")
        rows = gr.Dataframe(
            [], headers=HEADERS, datatype=["bool", "str", "number", "number", "number", "number", "str", "str"],
            type="array", interactive=True, static_columns=[1, 6, 7], visible=False, elem_id="hm-regions",
            label="Regions", wrap=True,
            column_widths=["88px", "100px", "62px", "62px", "62px", "76px", "174px", "66px"], max_height=360, buttons=[],
        )  # fmt: skip
        change = gr.Button(visible="hidden", elem_id="hm-region-change")  # pressed by assets/regions.js
        with gr.Row(elem_classes="hm-buttons"):
            read = gr.Button("Recognise the regions", variant="primary", visible=False, elem_id="hm-read-regions")
            download = gr.Button("Download the table", visible=False, elem_id="hm-table")
            csv_url = gr.Textbox("", visible="hidden", elem_id="hm-table-url")
        gr.HTML(
            '<p class="hm-muted">Click a region to leave it out or take it in again; drag an edge or a corner to adjust it, '
            "or draw a new one on the paper with the mouse. The table has the same as numbers. "
            "Running text is not told from formulas: leave it out by hand.</p>",
            padding=False, elem_id="hm-pages-hint",
        )  # fmt: skip
        return PagesPanel(
            files, split, page, picture, rows, change, read, download, csv_url, gr.State([]), gr.State([])
        )


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
            shown(sheets, rows, first), gr.Dataframe(rows, visible=there),
            gr.Button(visible=there), gr.Button(visible=False),
        )  # fmt: skip

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
    gr.on([panel.rows.input, panel.page.input], shown, [panel.sheets, panel.rows, panel.page], panel.picture, **quiet)
    panel.change.click(
        None, panel.rows, panel.rows, js="(rows) => window.hmerRegions.written(rows)", trigger_mode="multiple", **quiet
    )
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
