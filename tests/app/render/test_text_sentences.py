"""The sentences about the lanes' texts: which end at once, how many choices differ, and how they were made."""

import pytest

from app.language import language
from app.render.sentences import difference_sentence, ended_at_once, settings_sentence
from app.render.token_strips import token_strips
from tests.app.looking import inspecting
from tests.app.render.toy_trace import look, trace_of

CAPITALS = {" Sydney": (3e-20, 1e-3, 0.36), " Canberra": (1e-24, 4e-4, 0.34), " the": (0.5, 0.2, 0.04)}
"""{token: its probability in layers 1, 2 and 3}"""
SURE = {" Athens": (0.3, 0.1, 0.97), " Rome": (0.1, 0.2, 0.01)}


def test_a_text_that_ends_at_once_is_told_with_what_to_try():
    trace = trace_of(CAPITALS, "plain static:1,alpha=0.5", ends=("length", "eos"))
    inspection = look(trace)
    assert ended_at_once(inspection, can_chat=True) == (
        "DoLa-static ended the text at once: the model was tuned on chats. Try Chat."
    )
    neutral = ended_at_once(inspection, can_chat=False)
    assert neutral.startswith("DoLa-static ended the text at once: ")
    assert neutral.endswith("Try another prompt."), "every layer ends it"


def test_a_layer_is_only_advised_if_the_text_would_go_on_with_it():
    rows = {" a": (0.6, 0.001, 0.5), "</s>": (0.01, 0.4, 0.4)}
    trace = trace_of(rows, "plain static:1", ends=("length", "eos"))
    assert ended_at_once(look(trace), can_chat=False).endswith("Try j* = 2: DoLa-static would begin with “a”.")
    special = trace.model_copy(update={"pieces": {0: "<|end|>", 1: "</s>"}})
    assert ended_at_once(look(special), can_chat=False).endswith("Try another prompt.")


def test_all_lanes_that_end_at_once_are_named():
    trace = trace_of(SURE, "plain static:1", ends=("eos", "eos"))
    assert ended_at_once(look(trace), can_chat=True).startswith("Both ended the text at once")
    three = trace_of(SURE, "plain static:1 static:2", ends=("eos", "eos"))
    assert ended_at_once(look(three), can_chat=True).startswith("Plain and DoLa-static (j* = 1 · α = 0.1) ended")


def test_in_chinese_names_stand_apart_from_chinese_only_where_they_are_latin():
    one = look(trace_of(CAPITALS, "plain static:1,alpha=0.5", ends=("length", "eos")), code="zh")
    assert ended_at_once(one, can_chat=True).startswith("DoLa-static 一开始就结束了文本")
    all_ = look(trace_of(SURE, "plain static:1", ends=("eos", "eos")), code="zh")
    assert ended_at_once(all_, can_chat=True).startswith("两者一开始就结束了文本")


def test_texts_that_go_on_have_no_such_notice(forked):
    assert ended_at_once(inspecting(forked), can_chat=True) == ""
    assert ended_at_once(look(trace_of(SURE, "plain static:1")), can_chat=True) == ""


@pytest.mark.parametrize("settings", [{}, {"layer": 5, "alpha": 0.3}, {"alpha": 1.0}])
def test_the_count_of_differences_is_that_of_what_is_underlined(forked, settings):
    inspection = inspecting(forked, **settings)
    tokens = token_strips(inspection)["lanes"][1]["tokens"]
    underlined = [n for n, token in enumerate(tokens) if token["differs"]]
    sentence = difference_sentence(inspection)
    if underlined:
        assert sentence.startswith(f"{len(underlined)} of {len(tokens)} ")
        assert f"the first at step {underlined[0] + 1}." in sentence
    else:
        assert sentence.startswith(f"None of {len(tokens)} choices differs.")


def test_another_setting_says_how_many_choices_it_would_change(forked):
    agreeing = difference_sentence(inspecting(forked, alpha=1.0))
    steps = forked.lane_steps(1)
    differ = [s.index for s in steps if s.choices[0].id != s.choices[1].id]
    assert agreeing.startswith(f"None of {len(steps)} choices differs. With j* = 12, α = 1 {len(differ)} choice")
    assert f"the first at step {differ[0] + 1}" in agreeing


def test_the_settings_of_a_run_are_told_lane_by_lane(forked):
    told = settings_sentence(forked, language("en"))
    assert "Plain; DoLa-static: j* = 12, α = 0.01; greedy" in told
    assert told.startswith(forked.model.name)
