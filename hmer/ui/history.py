"""The last answers with their pictures. They are kept in the browser alone: see assets/history.js."""

import base64
import io
import json

import gradio as gr
import PIL.Image

from hmer.image import read_image
from hmer.ui.services import Seen

THUMBNAIL_PX = (220, 90)


def entry(read: Seen) -> str:
    """An answer as JSON: latex, and a small picture as a data URL."""
    picture = PIL.Image.fromarray(read_image(read.image))
    ink = picture.point(lambda level: 255 - level).getbbox()
    picture = picture.crop(ink) if ink else picture
    picture.thumbnail(THUMBNAIL_PX)
    encoded = io.BytesIO()
    picture.save(encoded, format="PNG")
    image = f"data:image/png;base64,{base64.b64encode(encoded.getvalue()).decode()}"
    return json.dumps({"latex": read.recognition.latex, "image": image})


def layout() -> gr.Textbox:
    """An accordion, closed at first; gives the hidden field through which an answer reaches the page."""
    with gr.Accordion("Last answers", open=False, elem_id="hm-history"):
        gr.HTML(
            '<p class="hm-muted">Kept in this browser only. Click one to copy its LaTeX.</p>'
            '<div id="hm-history-list" class="hm-history"></div>',
            padding=False,
        )
        clear = gr.Button("Forget them", size="sm", elem_id="hm-history-clear")
        clear.click(None, None, None, js="() => window.hmerHistory.clear()", api_visibility="private")
    return gr.Textbox("", visible="hidden", elem_id="hm-entry")
