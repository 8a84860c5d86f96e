"""An inspection knows what its trace and view imply, and works each of it out once for all builders."""

from collections import Counter
from dataclasses import replace

import pytest

from app.render import inspection as module
from app.render.figures import (
    changed_by_layer_card,
    divergence_card,
    heat_card,
    layer_card,
    map_card,
    plausible_head_card,
)
from app.render.inspection import Inspection
from app.render.plausible_head import PlausibleHead
from app.render.sentences import difference_sentence, step_sentence
from app.render.token_strips import running_strips, token_strips
from dola_core.lanes import BUCKETS
from dola_core.trace.step import Step
from dola_core.trace.what_if import what_if_choice
from tests.app.looking import inspecting, looking


@pytest.fixture
def counted(monkeypatch) -> Counter[str]:
    """How often a single what-if choice and a plausible head are worked out, by whatever caller."""
    count: Counter[str] = Counter()
    what_if = Step.what_if

    def choice(step, *args):
        count["choices"] += 1
        return what_if(step, *args)

    class Counting(PlausibleHead):
        @classmethod
        def of(cls, *args):
            count["plausible heads"] += 1
            return PlausibleHead.of(*args)

    monkeypatch.setattr(Step, "what_if", choice)
    monkeypatch.setattr(module, "PlausibleHead", Counting)
    return count


def test_a_whole_view_works_out_every_choice_and_the_plausible_head_once(forked, counted):
    inspection = inspecting(forked, layer=5, alpha=0.3)
    token_strips(inspection)
    difference_sentence(inspection)
    step_sentence(inspection)
    for card in (divergence_card, plausible_head_card, layer_card, map_card, changed_by_layer_card):
        card(inspection)
    heat_card(inspection, 0)
    heat_card(inspection, 1)
    assert inspection.forced is None
    recorded = sum(step.exact_alpha <= 0.3 for step in forked.steps)
    buckets = len(BUCKETS) - 1  # in the map; of the embeddings, with which one begins, nothing is recorded
    assert counted == {"choices": recorded + buckets, "plausible heads": 1}


def test_strips_of_a_running_comparison_work_out_no_what_if(forked, counted):
    running_strips(inspecting(forked, lanes=forked.lanes))
    assert not counted


@pytest.mark.parametrize("settings", [{}, {"layer": 5, "alpha": 0.3}, {"layer": 20, "alpha": 0.01}, {"alpha": 1.0}])
def test_choices_differences_and_changes_are_those_of_the_trace(forked, settings):
    inspection = inspecting(forked, **settings)
    lane_now = inspection.view.lanes[1]
    for lane, steps in enumerate(inspection.lane_steps):
        assert steps == forked.lane_steps(lane)
        told = [what_if_choice(forked, step, lane_now) for step in steps]
        chosen = [step.choices[1].id if a is None else a for a, step in zip(told, steps, strict=True)]
        assert [inspection.choice(1, step) for step in steps] == chosen
        differing = [s.index for s, dola in zip(steps, chosen, strict=True) if dola != s.choices[0].id]
        assert inspection.differing[lane] == differing
    steps = forked.lane_steps(1)
    assert inspection.changed == ([], [s.index for s in steps if inspection.choice(1, s) != s.choices[1].id])
    unknown = sum(s.exact_alpha > lane_now.alpha for s in steps) if settings else 0
    assert inspection.unavailable == (0, unknown)
    assert inspection.as_run == (not settings)


def test_choices_at_the_step_are_both_lanes_own_in_the_run(forked):
    inspection = inspecting(forked)
    assert inspection.choices == tuple(choice.id for choice in inspection.step.choices)


def test_a_view_is_moved_within_the_trace(forked):
    inspection = Inspection.of(forked, looking(forked, 10**6, layer=99, alpha=7.0))
    assert inspection.step is forked.lane_steps(1)[-1]
    lane = inspection.view.lanes[1]
    assert (lane.layer, lane.alpha) == (forked.model.n_layers - 1, 1.0)
    assert inspection.at(looking(forked, -5, lane=0)).step is forked.lane_steps(0)[0]


def test_without_a_trace_or_a_step_there_is_nothing_to_look_at(forked):
    empty = forked.model_copy(update={"steps": (), "texts": ("", ""), "ends": ("eos", "eos")})
    assert Inspection.of(None, looking(forked)) is None
    assert Inspection.of(empty, looking(forked)) is None
    assert not any(lane["tokens"] for lane in token_strips(Inspection(empty, looking(forked)))["lanes"])


def test_the_last_pinned_token_can_be_forced_if_it_was_recorded_at_the_step(forked):
    step = inspecting(forked).step
    recorded, missing = int(step.tokens[1]), next(t for t in forked.pieces if t not in step.tokens)
    assert inspecting(forked, pinned=(missing, recorded)).forced == recorded
    assert inspecting(forked, pinned=(recorded, missing)).forced is None
    assert Inspection(forked, replace(looking(forked), pinned=())).forced is None
