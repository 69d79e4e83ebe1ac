"""How the answer is searched for: checkpoint, and the fields of Decoding that apply to the strategy."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr
from gradio.components import Component

from hmer.config import AUTOMATIC, Decoding, from_dict
from hmer.grammar import SYMBOL_SETS
from hmer.routing import plain
from hmer.ui.services import STANDARD, Services

FIELDS = tuple(item.name for item in fields(Decoding))


# --- functions --------------------------------------------------------------------------------------------


def decoding_of(values: Sequence[Any]) -> Decoding:
    """Settings from the values of the controls, in the order of FIELDS. Raises ConfigError."""
    named = dict(zip(FIELDS, values, strict=True))
    return from_dict(Decoding, named, "Decoding")


def visible_groups(strategy: str) -> tuple[Any, Any]:
    """Show the settings of beam search, or of sampling, or neither."""
    return gr.Group(visible=strategy == "beam"), gr.Group(visible=strategy == "sample")


def checkpoint_choices(services: Services) -> list[tuple[str, str]]:
    """Label and reference of what can be chosen."""
    return [(f"{choice.reference} ({choice.kind})", choice.reference) for choice in services.checkpoints()]


def parent_choices(services: Services) -> list[tuple[str, str]]:
    """The same without `automatic`, whose checkpoint for handwriting comes first then: what one can be made from."""
    choices = [choice for choice in checkpoint_choices(services) if choice[1] != AUTOMATIC]
    return sorted(choices, key=lambda choice: choice[1] != plain(services.options.checkpoint))


# --- layout -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DecodingPanel:
    """The components; `inputs` are what a recognition needs: the checkpoint, then the fields of Decoding."""

    checkpoint: gr.Dropdown
    refresh: gr.Button
    beam: gr.Group
    sample: gr.Group
    controls: dict[str, Component]

    @property
    def inputs(self) -> list[Component]:
        """Checkpoint reference, then the controls in the order of FIELDS."""
        return [self.checkpoint, *(self.controls[name] for name in FIELDS)]


def layout(services: Services) -> DecodingPanel:
    """The accordion, closed at first: nobody needs it for a first answer."""
    controls: dict[str, Component] = {}
    with gr.Accordion("Settings", open=False, elem_id="hm-settings"):
        with gr.Row(elem_classes="hm-checkpoint-row"):
            checkpoint = gr.Dropdown(
                checkpoint_choices(services), value=services.options.checkpoint, allow_custom_value=True,
                label="Checkpoint",
                info="Automatic: handwritten for what is drawn, the surer for pictures. Or type the path of a folder.",
                elem_id="hm-checkpoint", scale=4,
            )  # fmt: skip
            refresh = gr.Button("Refresh list", size="sm", scale=1, min_width=110, elem_id="hm-refresh")
        controls["strategy"] = gr.Radio(
            [("Greedy", "greedy"), ("Beam search", "beam"), ("Sampling", "sample")], value=STANDARD.strategy,
            label="Decoding", info="Beam search is right more often and lists other readings; greedy is quicker.", elem_id="hm-strategy",
        )  # fmt: skip
        with gr.Group(visible=STANDARD.strategy == "beam", elem_id="hm-beam") as beam:
            controls["beam_width"] = gr.Slider(
                1, 20, STANDARD.beam_width, step=1, label="Beam width", elem_id="hm-beam-width", buttons=[]
            )
            controls["length_penalty"] = gr.Slider(
                0, 3, STANDARD.length_penalty, step=0.1, label="Length penalty", buttons=[],
                info="Above 1 prefers longer answers.", elem_id="hm-length-penalty",
            )  # fmt: skip
        with gr.Group(visible=STANDARD.strategy == "sample", elem_id="hm-sample") as sample:
            controls["temperature"] = gr.Slider(
                0.1, 3, STANDARD.temperature, step=0.1, label="Temperature", buttons=[],
                elem_id="hm-temperature",
            )  # fmt: skip
            controls["top_k"] = gr.Slider(
                0, 100, STANDARD.top_k, step=1, label="Top k", info="0 keeps all tokens.", buttons=[],
                elem_id="hm-top-k",
            )  # fmt: skip
            controls["top_p"] = gr.Slider(
                0.05, 1, STANDARD.top_p, step=0.05, label="Top p", buttons=[], elem_id="hm-top-p"
            )
            controls["seed"] = gr.Number(
                STANDARD.seed, precision=0, label="Seed", info="Empty draws anew each time.", elem_id="hm-seed"
            )
        with gr.Row():
            controls["symbols"] = gr.Dropdown(
                [("All that the checkpoint knows", "all"), *((name, name) for name in SYMBOL_SETS)],
                value=STANDARD.symbols, allow_custom_value=True, label="Symbols",
                info="Or type tokens with spaces between them.", elem_id="hm-symbols",
            )  # fmt: skip
            controls["max_length"] = gr.Slider(
                10, 500, STANDARD.max_length, step=10, label="Longest answer", info="In tokens.", buttons=[],
                elem_id="hm-max-length",
            )  # fmt: skip
        controls["grammar"] = gr.Checkbox(STANDARD.grammar, label="Well-formed LaTeX only", elem_id="hm-grammar")
    return DecodingPanel(checkpoint, refresh, beam, sample, controls)


# --- wiring -----------------------------------------------------------------------------------------------


def wire(panel: DecodingPanel, services: Services) -> None:
    """Show what applies to the strategy; read the list of checkpoints anew on demand."""
    panel.controls["strategy"].change(  # type: ignore[attr-defined]
        visible_groups, panel.controls["strategy"], [panel.beam, panel.sample],
        queue=False, show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    panel.refresh.click(
        lambda: gr.Dropdown(choices=checkpoint_choices(services)), None, panel.checkpoint,
        queue=False, show_progress="hidden", api_visibility="private",
    )  # fmt: skip
