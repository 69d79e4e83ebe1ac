"""Where a picture comes from: drawn, uploaded, dropped, pasted, photographed, or one of the examples."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import PIL.Image

from annotations.strokes import Strokes, fitted, make_strokes
from hmer.errors import BadImage, BadInk
from hmer.image import read_image

CANVAS_PX = (800, 480)  # shown smaller on a phone, and still high enough for a fraction and a finger
BRUSH_RADIUS_PX = 3
EXAMPLES = Path(str(resources.files("hmer.ui"))) / "examples"


# --- functions --------------------------------------------------------------------------------------------


def image_of_drawing(value: Mapping[str, Any] | None) -> bytes:
    """The sketchpad's picture as a PNG, flattened on white. Raises BadImage when nothing was drawn."""
    composite = (value or {}).get("composite")
    if composite is None:
        raise BadImage("Nothing was drawn yet. Draw a formula on the white sheet, then press Recognise.")
    ink = PIL.Image.fromarray(composite).convert("RGBA")
    sheet = PIL.Image.new("RGBA", ink.size, "white")
    encoded = io.BytesIO()
    PIL.Image.alpha_composite(sheet, ink).convert("L").save(encoded, format="PNG")
    return encoded.getvalue()


def strokes_of(recorded: str, image: bytes) -> Strokes | None:
    """The strokes that the page recorded, in pixels of the drawing, or None where they are not what it shows.

    They are an extra: a drawing is never lost for what is wrong with them.
    """
    try:
        value = json.loads(recorded or "null")
        return fitted(make_strokes(value), PIL.Image.open(io.BytesIO(image)), BRUSH_RADIUS_PX) if value else None
    except (ValueError, RecursionError, BadInk):
        return None


def empty_sheet() -> dict[str, Any]:
    """The value that clears a sketchpad from here; None would do so only once."""
    width, height = CANVAS_PX
    return {"background": np.full((height, width, 3), 255, np.uint8), "layers": [], "composite": None}


def image_of_upload(value: Mapping[str, Any] | None) -> bytes:
    """The bytes of an uploaded file, untouched. Raises BadImage when there is none.

    `value` is what the page sends (no preprocessing): gradio's own would die on a damaged file, and has
    already made sure that `path` is an upload of this app.
    """
    if not value or not value.get("path"):
        raise BadImage("There is no picture yet. Choose a file, drop or paste one, or take a photo.")
    try:
        return Path(value["path"]).read_bytes()
    except OSError as error:
        raise BadImage("The upload is no longer there; send the picture again.") from error


def examples() -> list[Path]:
    """The example pictures that come with the app."""
    return sorted(EXAMPLES.glob("*.png"))


def example_picture(index: int) -> tuple[Any, str]:
    """Show the upload tab with an example in it."""
    return gr.Tabs(selected="upload"), str(examples()[index])


def turned(value: Mapping[str, Any] | None, quarter_turns: int) -> PIL.Image.Image:
    """An uploaded picture turned to the left, upright and flattened. Raises BadImage."""
    grey = read_image(image_of_upload(value))
    return PIL.Image.fromarray(np.ascontiguousarray(np.rot90(grey, quarter_turns)))


# --- layout -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InputPanel:
    """The components of the left side."""

    tabs: gr.Tabs
    sketch: gr.Sketchpad
    strokes: gr.Textbox
    recognize_drawing: gr.Button
    live: gr.Checkbox
    live_run: gr.Button
    ticket: gr.Textbox
    turn_left: gr.Button
    turn_right: gr.Button
    upload: gr.Image
    recognize_upload: gr.Button
    examples: gr.Dataset


def sketchpad(elem_id: str) -> gr.Sketchpad:
    """A white sheet and a pen."""
    return gr.Sketchpad(
        canvas_size=CANVAS_PX, fixed_canvas=True, image_mode="RGBA", type="numpy", sources=(),
        transforms=(), layers=False, buttons=[], label="Draw a formula", show_label=False,
        brush=gr.Brush(default_size=BRUSH_RADIUS_PX, colors=["#000000"], color_mode="fixed"),
        eraser=gr.Eraser(default_size=16), elem_id=elem_id,
    )  # fmt: skip


def layout(live: bool) -> InputPanel:
    """Two tabs, each with its own button: a click can then never read the picture of the other tab."""
    with gr.Tabs(selected="draw", elem_id="hm-input") as tabs:
        with gr.Tab("Draw", id="draw"):
            sketch = sketchpad("hm-sketch")
            strokes = gr.Textbox("", visible="hidden", elem_id="hm-strokes")  # filled as the button is pressed
            recognize_drawing = gr.Button("Recognise", variant="primary", elem_id="hm-recognize-drawing")
            as_drawn = gr.Checkbox(
                live, label="Recognise as I draw", interactive=True, elem_id="hm-live", container=False
            )
            live_run = gr.Button(visible="hidden", elem_id="hm-live-run")  # pressed by assets/live.js
            ticket = gr.Textbox("", visible="hidden", elem_id="hm-ticket")  # which version of the drawing was read
        with gr.Tab("Upload", id="upload"):
            upload = gr.Image(
                image_mode=None, type="filepath", sources=["upload", "webcam", "clipboard"], height=330,
                label="Picture of a formula", show_label=False, buttons=[], elem_id="hm-upload",
                placeholder="Drop a picture of a formula here\n- or -\nClick to choose a file",
                webcam_options=gr.WebcamOptions(mirror=False), alt_text="The picture to recognise",
            )  # fmt: skip
            recognize_upload = gr.Button("Recognise", variant="primary", elem_id="hm-recognize-upload")
            with gr.Row(elem_classes="hm-copy"):
                crop = gr.Button("Cut out", size="sm", min_width=0, elem_id="hm-crop")
                turn_left = gr.Button("⟲ Turn left", size="sm", min_width=0, elem_id="hm-turn-left")
                turn_right = gr.Button("⟳ Turn right", size="sm", min_width=0, elem_id="hm-turn-right")
    crop.click(None, None, None, js="() => window.hmerCrop.start()", api_visibility="private")
    # Served from where they are: a copy among the uploads has the place of an upload of the same picture, and would go
    # when that one is removed.
    gr.set_static_paths([EXAMPLES])
    pictures = gr.Dataset(
        components=[gr.Image(render=False, type="filepath")], samples=[[str(path)] for path in examples()],
        type="index", label="Or try an example", layout="gallery", elem_id="hm-examples",
    )  # fmt: skip
    return InputPanel(
        tabs=tabs, sketch=sketch, strokes=strokes, recognize_drawing=recognize_drawing, live=as_drawn,
        live_run=live_run, ticket=ticket, upload=upload, recognize_upload=recognize_upload,
        turn_left=turn_left, turn_right=turn_right, examples=pictures,
    )  # fmt: skip
