"""Charts as Plotly figures, plain dictionaries: trace → numbers → figure, without a model or a browser.

Colours are those of the light palette; in dark mode the browser replaces them. Backgrounds are transparent.
"""

from app.render.figures.changed_by_layer import changed_by_layer_card
from app.render.figures.divergence import divergence_card
from app.render.figures.heat import heat_card
from app.render.figures.layer_search import curve_card, halves_card, sketch_card
from app.render.figures.plausible_head import plausible_head_card
from app.render.figures.through_layers import layer_card
from app.render.figures.what_if_map import map_card

__all__ = [
    "changed_by_layer_card",
    "curve_card",
    "divergence_card",
    "halves_card",
    "heat_card",
    "layer_card",
    "map_card",
    "plausible_head_card",
    "sketch_card",
]
