"""The page's charts as Plotly figures of a trace."""

import sys
from inspect import isfunction

import plotly.graph_objects as go
import pytest

from app.render.figures import plausible_head_card
from app.render.inspection import Inspection
from app.render.notebook_figures import TraceFigures
from app.render.view_state import View
from app.ui.palette import DARK, LIGHT
from dola_core.lanes import DolaStatic
from dola_core.trace import figures
from dola_core.trace.html_view import COLOURS

CHARTS = {
    "candidates": lambda found: found.candidates(2),
    "ratios": lambda found: found.candidates(2, show="log-ratio F", tokens="all"),
    "layers": lambda found: found.layers(2),
    "ranks": lambda found: found.layers(2, show="rank"),
    "every_setting": lambda found: found.every_setting(2),
    "heat": lambda found: found.heat(),
    "entropy": lambda found: found.heat(lane=0, show="entropy"),
    "changed_by_layer": lambda found: found.changed_by_layer(),
    "divergence": lambda found: found.divergence(),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_a_figure_with_title_and_text_twin(forked, name):
    drawn = CHARTS[name](forked.figures)
    assert isinstance(drawn, go.Figure)
    assert drawn.layout.title.text.startswith("<b>")
    assert len(drawn.layout.meta) > 20
    assert len(drawn.data) > 0


def test_every_chart_that_there_is_is_tested():
    offered = {name for name, value in vars(TraceFigures).items() if isfunction(value) and name[0] != "_"}
    assert offered - {"with_lane"} <= CHARTS.keys()


def test_it_is_the_pages_own_chart(forked):
    look = Inspection.of(forked, View(1, 1))
    card = plausible_head_card(look)
    drawn = forked.figures.candidates(2)
    assert drawn.layout.meta == card["alt"]
    assert drawn.to_dict()["data"] == go.Figure(card["figure"]).to_dict()["data"]
    for entry in card["key"]:
        assert entry["colour"] in drawn.layout.title.text


def test_a_lane_that_is_set_otherwise_is_a_what_if(forked):
    other = DolaStatic(layer=25, alpha=0.3)
    drawn = forked.figures.with_lane(1, other).candidates(2)
    look = Inspection.of(forked, View(1, 1, (None, other)))
    assert drawn.layout.meta == plausible_head_card(look)["alt"]
    assert drawn.layout.meta != forked.figures.candidates(2).layout.meta


def test_no_text_of_a_trace_is_markup_in_a_title(forked):
    lanes = tuple(lane.model_copy(update={"name": "<a href='x'>&"}) for lane in forked.lanes)
    pieces = dict.fromkeys(forked.pieces, "<img>&")
    hostile = forked.model_copy(update={"lanes": lanes, "pieces": pieces})
    for draw in CHARTS.values():
        title = draw(hostile.figures).layout.title.text
        assert "<a" not in title
        assert "<img" not in title


@pytest.mark.parametrize(
    ("lane", "step", "message"),
    [
        (None, 0, "step must be from 1 to"),
        (None, 99, "step must be from 1 to"),
        (2, 1, "lane must be from 0 to 1"),
        (-1, 1, "lane must be from 0 to 1"),
    ],
)
def test_what_there_is_not_is_refused(forked, lane, step, message):
    with pytest.raises(IndexError, match=message):
        forked.figures.candidates(step, lane=lane)


@pytest.mark.parametrize("missing", ["plotly.graph_objects", "app.render"])
def test_without_the_page_or_plotly_the_error_says_what_to_do(forked, monkeypatch, missing):
    monkeypatch.delitem(sys.modules, figures.BACK_END)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match="run Python in a checkout of the project, and install Plotly"):
        _ = forked.figures
    assert forked._repr_html_()


def test_the_colours_in_a_notebook_are_the_pages():
    assert {name: (LIGHT[name], DARK[name]) for name in COLOURS} == COLOURS
