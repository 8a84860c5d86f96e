"""Charts as Plotly figures, plain dictionaries: trace → numbers → figure, without a model or a browser.

Colours are the light palette's; the browser swaps them in dark mode. Backgrounds are transparent.
"""

from app.render.figures.divergence import spine_card
from app.render.figures.heat import heat_card
from app.render.figures.layer_search import curve_card, halves_card
from app.render.figures.step import head_card, layer_card
from app.render.figures.what_if import map_card, sweep_card

__all__ = ["curve_card", "halves_card", "head_card", "heat_card", "layer_card", "map_card", "spine_card", "sweep_card"]
