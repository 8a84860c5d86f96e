"""Gradio's theme in the page's colours; sizes and the components of our own are in `assets/page/duet.css`."""

import gradio as gr

from app.ui.palette import DARK, LIGHT

SANS = ("Inter", "system-ui", "DejaVu Sans", "sans-serif")
MONO = ("JetBrains Mono", "ui-monospace", "DejaVu Sans Mono", "monospace")


def theme() -> gr.themes.Base:
    """Warm paper, hairlines, 12 px cards, one bold action. Fonts are the system's: nothing is fetched."""
    same = {
        "body_background_fill": "paper",
        "background_fill_primary": "card",
        "background_fill_secondary": "paper",
        "block_background_fill": "card",
        "block_border_color": "line",
        "border_color_primary": "line",
        "body_text_color": "ink",
        "body_text_color_subdued": "mute",
        "block_label_text_color": "mute",
        "block_title_text_color": "mute",
        "block_info_text_color": "mute",
        "input_background_fill": "card",
        "input_border_color": "line",
        "input_placeholder_color": "mute",
        "slider_color": "dola",
        "button_primary_background_fill": "ink",
        "button_primary_background_fill_hover": "ink",
        "button_primary_text_color": "paper",
        "button_secondary_background_fill": "card",
        "button_secondary_text_color": "ink",
        "button_secondary_border_color": "line",
        "checkbox_background_color_selected": "ink",
        "checkbox_border_color_selected": "ink",
        "checkbox_label_background_fill": "card",
        "checkbox_label_background_fill_selected": "ink",
        "checkbox_label_text_color": "ink",
        "checkbox_label_text_color_selected": "paper",
    }
    light = {key: LIGHT[name] for key, name in same.items()}
    dark = {f"{key}_dark": DARK[name] for key, name in same.items()}
    fonts = {
        "font": [gr.themes.Font(name) for name in SANS],
        "font_mono": [gr.themes.Font(name) for name in MONO],
    }
    return gr.themes.Base(radius_size="md", spacing_size="md", **fonts).set(
        block_shadow="none",
        block_shadow_dark="none",
        block_radius="12px",
        block_border_width="1px",
        **light,
        **dark,
    )
