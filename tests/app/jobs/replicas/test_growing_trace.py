"""A trace that grows comes over whole, and each of its steps once."""

import pickle
from dataclasses import replace

import pytest

from app.jobs import comparison
from app.jobs.comparison import ComparisonUpdate, run
from app.jobs.model_pool import Loading
from app.jobs.replicas.growing_trace import Growth, GrowthReceiver, GrowthSender
from app.jobs.request import ComparisonRequest
from dola_core.trace.schema import Trace

PROMPT = "The capital of Australia is"


@pytest.fixture(scope="module")
def updates(engine) -> list[ComparisonUpdate]:
    """Those of a run whose texts come first, one for every step."""
    request = ComparisonRequest.of(prompt=PROMPT, layer=12, alpha=0.01, decoding={"max_new_tokens": 30})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "text_interval", lambda running: -1.0)
        return list(run(engine, request))


def carried(sent: list[object]) -> list[object]:
    """The updates on the other side, each pickled on its way."""
    sender, receiver = GrowthSender(), GrowthReceiver()
    return [receiver.unpacked(pickle.loads(pickle.dumps(sender.packed(one)))) for one in sent]


def test_every_update_comes_over_whole(updates):
    there = carried(updates)
    assert len({len(update.trace.steps) for update in updates}) > 10, "it grows"
    for own, other in zip(updates, there, strict=True):
        assert replace(other, trace=None) == replace(own, trace=None)
        assert other.trace.to_json() == own.trace.to_json()
        assert other.trace.unrecorded == own.trace.unrecorded
        lanes = range(len(own.trace.lanes))
        assert [other.trace.lane_ids(lane) for lane in lanes] == [own.trace.lane_ids(lane) for lane in lanes]
    assert there[-1].trace.fork == updates[-1].trace.fork
    assert Trace.model_validate_json(there[-1].trace.to_json()).intact()


def test_a_trace_that_loses_steps_comes_over_too(updates):
    *_, last = updates
    shorter = replace(last, trace=last.trace.model_copy(update={"steps": last.trace.steps[:4]}))
    other = replace(
        last, trace=last.trace.model_copy(update={"steps": tuple(s.model_copy() for s in last.trace.steps)})
    )
    there = carried([last, shorter, other, last])
    assert [len(update.trace.steps) for update in there] == [len(last.trace.steps), 4, *[len(last.trace.steps)] * 2]
    assert there[2].trace.to_json() == last.trace.to_json()


def test_each_step_is_sent_once(updates):
    sender = GrowthSender()
    sent = [sender.packed(update) for update in updates]
    assert all(isinstance(one, Growth) for one in sent)
    assert sum(len(one.steps) for one in sent) == len(updates[-1].trace.steps)
    # Nothing else that they hold, such as what a trace has worked out of its steps, makes them large.
    sizes, whole = (sum(len(pickle.dumps(one)) for one in part) for part in (sent, updates))
    assert sizes < whole / 2, "and of a long text the less"


def test_what_is_no_comparison_comes_over_as_it_is():
    assert carried([Loading("m", "reading"), "text"]) == [Loading("m", "reading"), "text"]
