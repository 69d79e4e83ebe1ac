"""The last answers with their pictures. They are kept in the browser alone: see assets/history.js."""

import base64
import io

import gradio as gr
import PIL.Image
import PIL.ImageChops
import PIL.ImageOps

from hmer.ui.services import Seen

THUMBNAIL_PX = (220, 90)


def entry(read: Seen) -> dict[str, str]:
    """What is kept of an answer: `latex`, and `image`, a small picture as a data URL."""
    encoded = io.BytesIO()
    thumbnail(read.image).save(encoded, format="PNG")
    image = f"data:image/png;base64,{base64.b64encode(encoded.getvalue()).decode()}"
    return {"latex": read.recognition.latex, "image": image}


def thumbnail(image: bytes) -> PIL.Image.Image:
    """A picture that was read before, cut to what differs from its corner, within THUMBNAIL_PX."""
    picture: PIL.Image.Image = PIL.Image.open(io.BytesIO(image))
    picture.thumbnail((4 * THUMBNAIL_PX[0], 4 * THUMBNAIL_PX[1]))
    picture = PIL.ImageOps.exif_transpose(picture).convert("RGBA")
    flat = PIL.Image.alpha_composite(PIL.Image.new("RGBA", picture.size, "white"), picture).convert("L")
    paper = PIL.Image.new("L", flat.size, flat.getpixel((0, 0)))
    ink = PIL.ImageChops.difference(flat, paper).point(lambda level: 255 if level > 60 else 0).getbbox()
    flat = flat.crop(ink) if ink else flat
    flat.thumbnail(THUMBNAIL_PX)
    return flat


def layout() -> None:
    """An accordion, closed at first."""
    with gr.Accordion("Last answers", open=False, elem_id="hm-history") as fold:
        gr.HTML(
            '<p class="hm-muted">Kept in this browser only. Click one to copy its LaTeX.</p>'
            '<div id="hm-history-list" class="hm-history"></div>',
            padding=False,
        )
        clear = gr.Button("Forget them", size="sm", elem_id="hm-history-clear")
        fold.expand(None, None, None, js="() => window.hmerHistory.show()", api_visibility="private")
        clear.click(None, None, None, js="() => window.hmerHistory.clear()", api_visibility="private")
