"""Where a trace's figures come from: the page draws them, and is asked only when a figure is.

The decoder knows the page's module by its name alone, as pandas knows its plotting back ends, so that it works without
the page and without Plotly.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dola_core.trace.schema import Trace

BACK_END = "app.render.notebook_figures"
"""A module with a class `TraceFigures` of a trace."""


def figures_of(trace: "Trace") -> Any:
    """The figures of a trace; see `TraceFigures`. Raises `ImportError` where the page or Plotly is not there."""
    try:
        back_end = import_module(BACK_END)
    except ImportError as error:
        raise ImportError(
            "Figures are drawn by the page, with Plotly: run Python in a checkout of the project, and install Plotly "
            "with pip install plotly."
        ) from error
    return back_end.TraceFigures(trace)
