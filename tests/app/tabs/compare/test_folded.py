"""What is folded away is neither computed nor sent, and what is opened is drawn of what is shown."""

from types import SimpleNamespace

import gradio as gr
import pytest

from app.language import ENGLISH, language
from app.tabs.compare import folded as module
from app.tabs.compare.folded import FOLDS, GUIDE, Folded, items, lay_out_charts
from app.tabs.compare.look_handlers import LookHandlers
from app.ui.components import Folds
from tests.app.conftest import within_loop
from tests.app.looking import inspecting, looking


@pytest.fixture
def folded() -> Folded:
    def lay_out() -> Folded:
        with gr.Blocks():
            switch = gr.Radio(["JSD"], render=False)
            return lay_out_charts(switch, Folds(items(ENGLISH)))

    return within_loop(lay_out)


def drawn(folded: Folded, changes: dict) -> set[str]:
    """The names of the parts that hold something."""
    return {name for name in (*FOLDS, GUIDE) if any(changes[part] is not None for part in folded.parts(name))}


@pytest.mark.parametrize("opened", [(), ("heat",), ("changed", "divergence"), FOLDS, (GUIDE,), (*FOLDS, GUIDE)])
def test_only_open_parts_are_drawn(folded, forked, opened):
    changes = folded.drawn(inspecting(forked, opened=opened))
    assert drawn(folded, changes) == {*opened}


def test_a_closed_part_is_not_computed(folded, forked, monkeypatch):
    def fail(*_: object) -> None:
        raise AssertionError("nobody sees it")

    for name in ("heat_card", "changed_by_layer_card", "divergence_card", "guide_steps"):
        monkeypatch.setattr(module, name, fail)
    assert drawn(folded, folded.drawn(inspecting(forked))) == set()
    with pytest.raises(AssertionError, match="nobody sees it"):
        folded.drawn(inspecting(forked, opened=("heat",)))


def test_each_lane_that_is_shown_has_a_heatmap_and_the_other_places_are_empty(folded, forked):
    changes = folded.drawn(inspecting(forked, opened=("heat",)))
    assert [changes[heat] is not None for heat in folded.heats] == [True, True, False, False]


def test_without_a_trace_the_guide_says_what_to_do_in_the_language_of_the_page(folded):
    for code in ("en", "zh"):
        words = language(code)
        changes = folded.at([GUIDE], None, words)
        assert changes[folded.guide]["empty"] == words("guide.nothing")
        assert changes[folded.opened] == (GUIDE,)


class Event:
    """An event whose data is anything that a browser, or a stranger, sends."""

    def __init__(self, **data: object) -> None:
        self.__dict__.update(data)


@pytest.fixture
def handlers(folded, forked) -> LookHandlers:
    inspector = SimpleNamespace(
        folded=folded,
        inspection=lambda values, lanes: inspecting(forked, opened=values[folded.opened]),
        words=lambda values: ENGLISH,
    )
    controls = SimpleNamespace(panes=SimpleNamespace(seen=lambda values: looking(forked).lanes))
    return LookHandlers(None, None, controls, inspector)


@pytest.mark.parametrize(
    ("sent", "opened"),
    [
        (["heat"], {"heat"}),
        (["divergence", "heat"], {"heat", "divergence"}),
        ([], set()),
        (["guide", "heat"], {"heat"}),
        (["nothing", 3, None, {"a": 1}, ["heat"]], set()),
        ("heat", set()),
        (None, set()),
        ({"heat": 1}, set()),
    ],
)
def test_the_browser_names_what_is_open_and_nothing_else_is_taken(handlers, folded, sent, opened):
    changes = handlers.fold({folded.opened: ()}, Event(custom=sent))
    assert drawn(folded, changes) == {*changes[folded.opened]} == opened


def test_the_guide_is_drawn_while_its_tab_is_open_and_charts_stay_as_they_were(handlers, folded):
    turn = handlers.turn_to(2)
    there = turn({folded.opened: ("heat",)}, Event(index=2))
    assert drawn(folded, there) == {"heat", GUIDE}
    back = turn({folded.opened: there[folded.opened]}, Event(index=0))
    assert back == {folded.opened: ("heat",)}
    assert drawn(folded, handlers.fold({folded.opened: (GUIDE,)}, Event(custom=["changed"]))) == {"changed", GUIDE}
