"""Comparisons of any lanes: everything that the page shows of one, seen as it ran and as it is set otherwise."""

import json

import pytest

from app.inputs.trace_file import TraceError, open_trace
from app.language import CODES, language
from app.render.inspection import Inspection
from app.render.token_strips import token_strips
from app.render.view_state import View
from app.sharing.report import report
from dola_core.decoding.engine import compare
from dola_core.lanes import Baseline, DecodingConfig, DolaDynamic, DolaStatic, LinearContrast, parse_lane
from dola_core.trace.token_text import token
from tests.dola_core.lanes.test_new_kind import Surprise

COMPARISONS = {
    "the usual": "plain static:12,alpha=0.05",
    "four": "plain static:12,alpha=0.05 dynamic:high plain,penalty=1.5",
    "no plain one": "dynamic:all linear:10=-0.3,22=-0.3",
    "plain ones": "plain plain,penalty=1.5",
    "twice the same": "static:12 static:12 plain",
    "other readings": "static:12,norm=off static:12 dynamic:upper,penalty=1.3,position=after",
    "the embeddings": "plain dynamic:low",
    "a new kind": "plain surprise:12",
}


@pytest.fixture(scope="module", params=COMPARISONS.values(), ids=COMPARISONS)
def trace(request, compared):
    lanes = tuple(map(parse_lane, request.param.split()))
    return open_trace(compared(lanes=lanes, decoding={"max_new_tokens": 10}).to_json())


def look(trace, *, lane=0, index=0, lanes=None, **changes):
    return Inspection.of(trace, View(lane=lane, index=index, lanes=lanes or trace.lanes, **changes))


def shown(inspection):
    """All that is shown, as the browser gets it: finite numbers only."""
    return json.loads(json.dumps(report(inspection)["parts"], allow_nan=False))


@pytest.mark.parametrize("code", CODES)
def test_every_step_of_every_lane_can_be_looked_at(trace, code):
    for lane in range(len(trace.lanes)):
        for index in (0, len(trace.lane_steps(lane)) - 1):
            for ratio in ("probability", "log-ratio F"):
                inspection = look(trace, lane=lane, index=index, plausible_head=ratio, words=language(code))
                assert inspection.as_run
                parts = shown(inspection)
                assert sum(part["kind"] == "chart" for part in parts) == 5 + len(trace.lanes)


def test_as_it_ran_nothing_is_said_to_change_and_choices_are_the_runs(trace):
    inspection = look(trace)
    assert not any(inspection.changed)
    assert not any(inspection.unavailable)
    for lane, steps in enumerate(inspection.lane_steps):
        for step in steps:
            assert [inspection.choice(n, step) for n in inspection.shown] == [choice.id for choice in step.choices]
            reads = trace.lanes[lane].reads
            fixed = reads[0] if len(reads) == 1 else None
            chosen = step.choices[lane].layer
            assert inspection.contrast_layer(lane, step) == (fixed if chosen is None else chosen)


def test_every_ghost_is_what_that_lane_chose_there(trace):
    strips = token_strips(look(trace))["lanes"]
    for lane, strip in enumerate(strips):
        for step, drawn in zip(trace.lane_steps(lane), strip["tokens"], strict=True):
            others = [c.id for n, c in enumerate(step.choices) if n != lane and c.id != step.choices[lane].id]
            assert [ghost["text"] for ghost in drawn["ghosts"]] == [token(trace, token_id) for token_id in others]


OTHERS = (
    Baseline(), Baseline(repetition_penalty=1.7), DolaStatic(layer=5, beta=0.5), DolaStatic(layer=29, alpha=1.0),
    DolaDynamic(bucket="lower"), DolaDynamic(bucket="low"), LinearContrast(weights={3: -1.0, 0: -0.5}),
    DolaStatic(layer=12, early_norm=False), Surprise(layer=3),
)  # fmt: skip


@pytest.mark.parametrize("other", OTHERS, ids=lambda lane: f"{lane.kind} {lane.settings}")
def test_any_other_lane_in_any_pane_is_shown_exactly_or_said_not_to_be_told(trace, other):
    for pane in range(len(trace.lanes)):
        lanes = tuple(other if number == pane else lane for number, lane in enumerate(trace.lanes))
        inspection = look(trace, lane=pane, lanes=lanes)
        assert shown(inspection)
        now = inspection.now[pane]
        for step in inspection.lane_steps[pane]:
            try:
                assert inspection.choice(pane, step) == trace.what_if_at(step, now)
            except ValueError:
                same = [n for n, lane in enumerate(trace.lanes) if parse_text(lane) == parse_text(now)]
                assert inspection.choice(pane, step) == step.choices[same[0] if same else pane].id


def parse_text(lane):
    return lane.model_dump(exclude={"name"})


def test_more_panes_than_lanes_show_the_lanes_and_fewer_hide_them(trace):
    more = (*trace.lanes, Baseline())
    assert len(look(trace, lanes=more).shown) == len(trace.lanes)
    fewer = look(trace, lane=len(trace.lanes) - 1, lanes=trace.lanes[:2])
    assert list(fewer.shown) == [0, 1]
    assert len(token_strips(fewer)["lanes"]) == 2
    assert fewer.view.lane <= 1
    assert shown(fewer)


def test_a_pane_with_a_text_that_is_no_lane_is_as_it_ran(trace):
    inspection = look(trace, lanes=(None,) * len(trace.lanes))
    assert inspection.as_run


def test_a_lane_that_cuts_nothing_is_shown_as_it_ran(loaded):
    lanes = (Baseline(), DolaStatic(layer=12, alpha=0.0))
    trace = compare(loaded, "Gold is", lanes, DecodingConfig(max_new_tokens=4))
    inspection = look(trace, lane=1)
    assert inspection.as_run
    assert not any(inspection.changed)
    assert shown(inspection)


@pytest.mark.parametrize("count", [1, 5])
def test_a_trace_of_one_or_of_five_lanes_is_refused_in_a_sentence(loaded, count):
    trace = compare(loaded, "Gold is", (Baseline(),) * count, DecodingConfig(max_new_tokens=2))
    with pytest.raises(TraceError, match=f"two to 4 lanes; that trace has {count}"):
        open_trace(trace.to_json())
