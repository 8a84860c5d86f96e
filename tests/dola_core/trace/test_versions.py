"""Traces of the first schema open as what they are."""

import json

import pytest
from pydantic import ValidationError

from dola_core.lanes import Baseline, DolaStatic
from dola_core.trace.schema import Trace


@pytest.fixture
def old(trace) -> dict:
    """The trace as the first schema wrote it."""
    document = json.loads(trace.to_json())
    plain, dola = ({name: lane.get(name) for name in ("name", "layer", "alpha")} for lane in document["lanes"])
    lanes = [plain | {"alpha": 0.1}, dola]
    return document | {"schema": 1, "lanes": lanes}


def test_an_old_trace_says_what_it_said(old, trace):
    opened = Trace.model_validate_json(json.dumps(old))
    assert opened.lanes == (Baseline(name="baseline"), DolaStatic(name="dola", layer=22))
    assert opened.to_json() == trace.to_json()
    for step, ours in zip(opened.steps, trace.steps, strict=True):
        if step.exact_alpha <= 0.1:
            lane = DolaStatic(layer=9)
            assert step.what_if(lane, opened.decoding) == ours.what_if(lane, trace.decoding)


@pytest.mark.parametrize(
    "change",
    [
        {"lanes": None},
        {"lanes": [1, 2]},
        {"lanes": [{"name": "a", "layer": None, "alpha": 0.1, "beta": 1.0}]},
        {"lanes": [{"name": "a", "layer": 0, "alpha": 0.1}]},
        {"schema": 0},
        {"schema": "1"},
        {"schema": 3},
        {"steps": 1},
    ],
    ids=str,
)
def test_a_spoiled_old_trace_is_refused(old, change):
    with pytest.raises(ValidationError):
        Trace.model_validate_json(json.dumps(old | change))
