"""The look: system fonts (nothing is fetched), one calm accent colour, light and dark."""

from importlib import resources
from pathlib import Path

import gradio as gr

ASSETS = Path(str(resources.files("hmer.ui"))) / "assets"
STYLE = ASSETS / "style.css"
ON_LOAD_SCRIPT = ASSETS / "on_load.js"


def theme() -> gr.themes.Base:
    """The app's theme, made of what gradio ships."""
    return gr.themes.Soft(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="slate",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
        radius_size="md",
    ).set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
    )
