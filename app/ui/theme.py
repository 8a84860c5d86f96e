"""Gradio's theme in the page's colours, and the style sheets in `assets/page` of the page's own parts."""

import gradio as gr

from app.paths import PAGE_FILES
from app.ui.palette import DARK, LIGHT, css_variables

SANS = ("Inter", "system-ui", "DejaVu Sans", "sans-serif")
SHEETS = ("frame", "texts", "charts", "guide", "phone")
"""The style sheets, in the order in which they count."""
MONO = ("JetBrains Mono", "ui-monospace", "DejaVu Sans Mono", "monospace")


def theme() -> gr.themes.Base:
    """Warm paper, hairlines, 12 px cards, one bold button. Only fonts that the system has: none is downloaded."""
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


def css() -> str:
    """The style sheet by itself, with the palette as custom properties; a report holds it as it is."""
    return css_variables() + "".join((PAGE_FILES / f"{name}.css").read_text(encoding="utf-8") for name in SHEETS)


def style() -> str:
    """The style sheet for Gradio's `css`, twice: as it is, and confined to the page with more weight.

    Where a server renders the page, as on Spaces, Gradio does not confine `css` to the page itself, and its own rules
    would win over those that stand there once.
    """
    return f"{css()}.gradio-container.gradio-container .contain{{{css()}}}"
