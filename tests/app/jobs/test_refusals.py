"""What cannot be read or is not found is said in both languages, and nothing half-done is shown."""

import re
from dataclasses import replace

import pytest

from app.jobs.comparison import run
from app.jobs.failures import failure_sentence
from app.jobs.request import ComparisonRequest, RequestError, prompt_refused
from app.language import CODES, language
from app.render.token_strips import token_strips
from app.server.api_events import progress_events
from dola_core.decoding.engine import Engine
from dola_core.errors import PROMPT_ERRORS, PromptError, QuestionPromptError
from dola_core.trace.schema import Trace
from tests.app.looking import inspecting
from tests.dola_core.models.small_tokenizers import byte_level, loaded_with

ASKED = {"prompt": "The capital of Japan is", "layer": 22, "alpha": 0.1, "decoding": {"max_new_tokens": 6}}

BEAMS = {"max_new_tokens": 4, "num_beams": 4}


@pytest.mark.parametrize("kind", PROMPT_ERRORS)
def test_every_refusal_of_a_prompt_has_its_sentence_in_both_languages(engine, kind):
    error = PromptError(kind, 5000, 4000, texts="“☃”", reason="Users only")
    refused = prompt_refused(error)
    assert str(refused) == str(error) == refused.message(language("en"))
    chinese = refused.message(language("zh"))
    assert re.search("[\u4e00-\u9fff]", chinese)
    for value in ("☃", "Users only", "5,000", "4,000"):
        assert (value in chinese) == (value in str(error))
    for code in CODES:
        said = failure_sentence(QuestionPromptError(3, error), "search", engine.release, language(code))
        assert said.endswith(refused.message(language(code)))
        assert "3" in said


BAD = {
    "unreadable": (byte_level(), {"prompt": "a☃"}, "U+2603"),
    "vocabulary": (byte_level(), {"prompt": "a <far>"}, "“<far>”"),
    "template": (byte_level(), {"prompt": "a", "chat": True}, "(No chats)"),
}
BAD["vocabulary"][0].add_tokens([*(f"<filler{n}>" for n in range(100)), "<far>"])
BAD["template"][0].chat_template = "{{ raise_exception('No chats.') }}"


@pytest.mark.parametrize(("tokenizer", "asked", "said"), BAD.values(), ids=BAD)
def test_a_prompt_that_cannot_be_read_is_refused_before_anything_is_shown(tokenizer, asked, said):
    engine = Engine(loaded_with(tokenizer))
    with pytest.raises(RequestError, match=re.escape(said)) as refused:
        list(run(engine, ComparisonRequest.of(**ASKED | asked)))
    assert said.replace("(", "").replace(")", "") in refused.value.message(language("zh"))


@pytest.mark.parametrize("where", ["prompt", "system"])
def test_control_characters_without_a_token_are_left_out_and_said_once(where):
    tokenizer = byte_level()
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    engine, asked = Engine(loaded_with(tokenizer)), {"prompt": "ab", "chat": True}
    *_, plain = run(engine, ComparisonRequest.of(**ASKED | asked | ({"system": "ab"} if where == "system" else {})))
    *before, last = run(engine, ComparisonRequest.of(**ASKED | asked | {where: "a\x07b\x04"}))
    assert last.trace.to_json() == plain.trace.to_json()
    assert last.unread == "U+0007, U+0004"
    assert not any(update.unread for update in before)
    assert not plain.unread
    [event] = progress_events(last, sent=99, with_trace=False)
    assert event["unread"] == "U+0007, U+0004"


@pytest.fixture(scope="module")
def update(engine):
    """A search in which α = 1 leaves DoLa one text."""
    *_, last = run(engine, ComparisonRequest.of(**ASKED | {"alpha": 1.0, "decoding": BEAMS}))
    return last


class TestBeamsThatFoundNothing:
    def test_are_counted_in_the_trace(self, update):
        assert update.trace.beams_found == (4, 1)
        assert Trace.model_validate_json(update.trace.to_json()).beams_found == (4, 1)
        assert update.trace.intact()

    @pytest.mark.parametrize(
        ("code", "found"), [("en", "4 beams, of which 1 found a text of their own"), ("zh", "4 束，其中 1 束找到")]
    )
    def test_are_said_beside_the_lanes_settings(self, update, code, found):
        base, dola = token_strips(inspecting(update.trace, words=language(code)))["lanes"]
        assert found in dola["subtitle"]
        assert found.replace(" 1 ", " 4 ") not in base["subtitle"]

    def test_are_counted_for_programs(self, update):
        *_, end = progress_events(update, sent=0, with_trace=False)
        assert end["beams"] == {"Baseline": 4, "DoLa-static": 1}


def test_programs_learn_what_ended_a_text(engine):
    *_, last = run(engine, ComparisonRequest.of(**ASKED | {"decoding": {"max_new_tokens": 40, "stop": ("okyo",)}}))
    *_, end = progress_events(last, sent=0, with_trace=False)
    assert set(end["ends"].values()) == {"stop"}
    assert set(end["ended_by"].values()) == {"okyo"}
    assert "beams" not in end
    ended = replace(last, trace=last.trace.model_copy(update={"ends": ("eos", "length")}))
    *_, end = progress_events(ended, sent=0, with_trace=False)
    assert end["ended_by"] == {"Baseline": last.trace.pieces[last.trace.lane_ids(0)[-1]], "DoLa-static": None}
