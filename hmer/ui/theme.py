"""The look: system fonts (nothing is fetched), one calm accent colour, light and dark."""

from importlib import resources
from pathlib import Path

import gradio as gr

ASSETS = Path(str(resources.files("hmer.ui"))) / "assets"
STYLE = ASSETS / "style.css"
STROKES_SCRIPT = ASSETS / "strokes.js"
SYMBOLS_SCRIPT = ASSETS / "symbols.js"
SCRIPTS = tuple(
    ASSETS / f"{name}.js"
    for name in ("on_load", "strokes", "symbols", "copying", "live", "uploading", "history", "regions")
)


def theme() -> gr.themes.Base:
    """Give the app's theme, made of what gradio ships."""
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
        button_primary_background_fill_hover_dark="*primary_800",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        body_background_fill="*neutral_50",
        background_fill_primary="white",
        background_fill_secondary="*neutral_100",
        background_fill_secondary_dark="*neutral_800",
        block_title_background_fill="transparent",
        block_title_background_fill_dark="transparent",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_title_text_weight="500",
        block_title_text_size="*text_sm",
        block_title_padding="0",
        block_label_text_color="*body_text_color_subdued",
        block_label_background_fill="*neutral_100",
        block_label_background_fill_dark="*neutral_800",
        link_text_color="*primary_700",
        link_text_color_visited="*primary_700",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        checkbox_label_background_fill_selected="*primary_700",
        checkbox_label_background_fill_selected_dark="*primary_700",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_500",
        checkbox_background_color_selected="*primary_900",
        checkbox_background_color_selected_dark="*primary_900",
        color_accent="*primary_700",
        block_shadow="none",
        input_border_width="1px",
        input_border_color="*neutral_300",
        input_border_color_dark="*neutral_600",
        input_shadow="none",
        button_secondary_border_color="*neutral_300",
        button_secondary_background_fill_hover_dark="*neutral_700",
        button_border_width="1px",
        button_primary_shadow="none",
        button_secondary_shadow="none",
    )
