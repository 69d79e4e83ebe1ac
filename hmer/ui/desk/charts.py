"""Counts and charts: how much there is, how often the reading was right, what is confused, how far people agree."""

import html
from dataclasses import dataclass
from typing import Any

import gradio as gr
import pandas as pd

from annotations import Selection, Status
from annotations.statistics import Agreement, accuracy_by_day, agreement, confusions, pairs
from hmer.ui.desk import work
from hmer.ui.messages import explained
from hmer.ui.services import Services

CONFUSIONS_SHOWN = 15


# --- functions --------------------------------------------------------------------------------------------


def shown(services: Services) -> tuple[Any, ...]:
    """Values of the panel's outputs. Raises StoreError."""
    store = services.store
    compared = pairs(store.readings(work.COUNTED))
    days = accuracy_by_day(compared)
    accuracy = pd.DataFrame(
        [(pd.Timestamp(day.day), day.checkpoint, 100 * day.right / day.total, day.total) for day in days],
        columns=["day", "checkpoint", "right (%)", "formulas"],
    )
    worst = confusions(compared).most_common(CONFUSIONS_SHOWN)
    confused = pd.DataFrame(
        [(f"{truth} read as {read}", count) for (truth, read), count in worst], columns=["symbols", "times"]
    )
    people = store.count_by_annotator(Selection(statuses=(Status.ACCEPTED,)))
    numbers = counts(store.count_by_status(), people, agreement(store.by_several(work.COUNTED)))
    return numbers, accuracy, confused


def counts(by_status: dict[Status, int], people: dict[str, int], agreed: Agreement) -> str:
    """HTML: every status with its number and a bar of progress, the annotators, their agreement."""
    total = sum(by_status.values())
    done = total - by_status[Status.PENDING] - by_status[Status.DRAFT]
    cells = "".join(
        f'<div><strong id="hm-c-{status}">{by_status[status]}</strong><span>{status}</span></div>' for status in Status
    )
    names = " · ".join(f"{html.escape(name or '(nobody)')} {count}" for name, count in [*people.items()][:20])
    together = ""
    if agreed.pictures:
        same = 1 - agreed.token_edits / max(agreed.tokens, 1)
        together = (
            f'<p id="hm-c-agreement">{agreed.pictures} pictures were corrected by several people; on '
            f"{agreed.agreeing} ({agreed.share:.0%}) they agree, token by token to {same:.0%}.</p>"
        )
    bounded = by_status[Status.ACCEPTED] > work.COUNTED
    bound = f"<p>The charts below count the newest {work.COUNTED:,} accepted.</p>" if bounded else ""
    return (
        f'<div class="hm-counts">{cells}</div>'
        f'<p><progress value="{done}" max="{max(total, 1)}"></progress> {done} of {total} decided</p>'
        f"{f'<p>Accepted by: {names}</p>' if names else ''}{together}{bound}"
    )


# --- layout -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChartsPanel:
    """The components; `outputs` take what `shown` gives."""

    refresh: gr.Button
    outputs: list[Any]


def layout() -> ChartsPanel:
    """Empty charts with what they will show."""
    refresh = gr.Button("Count", variant="primary", elem_id="hm-c-refresh")
    numbers = gr.HTML("", elem_id="hm-c-numbers", padding=False)
    with gr.Row():
        accuracy = gr.ScatterPlot(
            x="day", y="right (%)", color="checkpoint", tooltip="all", y_lim=[0, 100], title="Read right at first sight, by day",
            elem_id="hm-c-accuracy", height=280, buttons=[],
        )  # fmt: skip
        confused = gr.BarPlot(
            x="symbols", y="times", y_lim=[0, None], sort="-y", x_label_angle=-45, title="Most confused symbols",
            elem_id="hm-c-confused", height=280, buttons=[],
        )  # fmt: skip
    return ChartsPanel(refresh, [numbers, accuracy, confused])


def wire(panel: ChartsPanel, services: Services) -> None:
    """Counted when asked: with many annotations it takes a moment."""
    panel.refresh.click(explained(lambda: shown(services)), None, panel.outputs, api_visibility="private")
