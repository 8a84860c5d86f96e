"""A trace of a chat says that it is one, also where it was run on, and so does a link made of it."""

import json

import pytest

from app.jobs.comparison import run, run_on
from app.jobs.request import CHAT, COMPLETE, ComparisonRequest, Limits, RequestError, template_arguments
from app.toolbar.save_handlers import settings_of as link_settings
from dola_core.comparison import ChatTurn
from dola_core.decoding.engine import Engine
from dola_core.trace.schema import Trace
from dola_core.trace.token_text import own_part
from tests.app.looking import looking, settings_of
from tests.dola_core.models.small_tokenizers import byte_level, loaded_with

ASKED = {"prompt": "what", "layer": 22, "alpha": 0.1, "decoding": {"max_new_tokens": 5}}
TURN = {"chat": True, "system": "be kind", "template_arguments": {"mood": "good"}}


@pytest.fixture(scope="module")
def engine():
    tokenizer = byte_level()
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }} {% endfor %}{{ mood }} then "
    return Engine(loaded_with(tokenizer))


@pytest.fixture(scope="module")
def trace(engine):
    *_, last = run(engine, ComparisonRequest.of(**ASKED | TURN))
    return last.trace


def gone_on(engine, trace, index):
    *_, last = run_on(engine, trace, **settings_of(looking(trace, index)), limits=Limits(3))
    return last.trace


def test_a_chat_is_recorded_as_one(trace):
    assert trace.chat == ChatTurn(system="be kind", template_arguments={"mood": "good"})
    assert (trace.prompt, trace.begun) == ("what", "")
    again = Trace.model_validate_json(trace.to_json())
    assert (again.chat, again.begun) == (trace.chat, "")


def test_a_chat_that_is_run_on_keeps_its_turn_and_says_what_was_begun(engine, trace):
    on = gone_on(engine, trace, 2)
    begun = engine.loaded.text(trace.lane_ids(1)[:2])
    assert (on.chat, on.prompt, on.begun) == (trace.chat, "what", begun)
    assert list(on.prompt_ids) == [*trace.prompt_ids, *trace.lane_ids(1)[:2]]
    further = gone_on(engine, on, 1)
    assert further.begun == begun + engine.loaded.text(on.lane_ids(1)[:1])
    assert Trace.model_validate_json(further.to_json()).begun == further.begun
    assert own_part(on)[1] == len(on.prompt_ids)
    assert own_part(on)[0] == own_part(trace)[0] > 0


def test_its_link_opens_the_chat(engine, trace):
    for one in (trace, gone_on(engine, trace, 2)):
        settings = link_settings(one)
        assert (settings["mode"], settings["prompt"], settings["system"]) == (CHAT, "what", "be kind")
        assert json.loads(settings["template_arguments"]) == {"mood": "good"}


def test_a_prompt_that_is_gone_on_with_is_no_chat(engine):
    *_, last = run(engine, ComparisonRequest.of(**ASKED))
    on = gone_on(engine, last.trace, 2)
    assert (last.trace.chat, on.chat, on.begun) == (None, None, "")
    assert on.prompt == "what" + engine.loaded.text(last.trace.lane_ids(1)[:2])
    settings = link_settings(on)
    assert (settings["mode"], settings["prompt"], settings["system"]) == (COMPLETE, on.prompt, "")
    assert '"chat"' not in on.to_json()
    assert '"begun"' not in on.to_json()


@pytest.mark.parametrize(
    "text",
    ['{"a": NaN}', '{"a": 1e999}', '{"a": [1]}', '{"a": {}}', "[1]", "{", json.dumps({f"k{n}": 1 for n in range(101)})],
    ids=lambda text: text[:12],
)
def test_arguments_that_no_trace_can_hold_are_refused_before_a_run(text):
    with pytest.raises(RequestError) as refused:
        template_arguments(text)
    assert refused.value.key == "error.prompt_template_arguments"
