"""The guide's three steps say how a word was chosen, with the numbers of the step they are about."""

import json
from dataclasses import replace

import pytest

from app.inputs.trace_file import open_trace
from app.language import CODES, ENGLISH, language
from app.paths import MODELS
from app.render.guide_steps import CONTEXT, ROWS, guide_steps
from app.render.inspection import Inspection
from app.render.view_state import View
from tests.app.looking import inspecting
from tests.app.render.toy_trace import look, trace_of

CAPITALS = {" Sydney": (3e-20, 1e-3, 0.36), " Canberra": (1e-24, 4e-4, 0.34), " the": (0.5, 0.2, 0.04)}
"""{token: its probability in layers 1, 2 and 3}"""


def said(step):
    return "".join(part["text"] for part in step["said"])


def rows(step, *keys):
    return [tuple(row[key] for key in keys) for row in step["rows"]]


def test_the_last_layer_proposes_its_most_probable_tokens_with_bars_of_their_probability():
    first = guide_steps(look(trace_of(CAPITALS, "plain static:1,alpha=0.5")))["steps"][0]
    assert rows(first, "token", "value") == [("␣Sydney", "36 %"), ("␣Canberra", "34 %"), ("␣the", "4 %")]
    assert [row["width"] for row in first["rows"]] == pytest.approx([0.36, 0.34, 0.04])
    assert (first["side"], said(first)) == ("base", "The last layer puts “Sydney” first, by a little.")


@pytest.mark.parametrize(
    ("second", "sentence"),
    [
        (0.5, "The last layer puts “a” first, by a little."),
        (0.3, "The last layer clearly puts “a” first."),
        (0.02, "The last layer puts “a” far ahead of all others."),
    ],
)
def test_it_says_how_far_the_first_token_is_ahead(second, sentence):
    trace = trace_of({" a": (0.1, 0.1, 0.6), " b": (0.1, 0.1, second)}, "plain static:1")
    assert said(guide_steps(look(trace))["steps"][0]) == sentence


def test_the_second_step_shows_by_what_factor_each_token_rose_since_the_layer():
    second = guide_steps(look(trace_of(CAPITALS, "plain static:2,alpha=0.5")))["steps"][1]
    assert second["title"] == "Minus layer 2"
    assert rows(second, "value", "detail") == [
        ("× 360", "0.001 → 36 %"),
        ("× 850", "4.0·10⁻⁴ → 34 %"),
        ("÷ 5.0", "20 % → 4 %"),
    ]
    least, most = second["rows"][2]["width"], second["rows"][1]["width"]
    assert (least, most) == (0, 1)
    assert 0 < second["rows"][0]["width"] < 1
    assert (
        said(second)
        == "How far did each token rise since then? Since layer 2 “Canberra” rose 2.4 times more than “Sydney”."
    )


def test_tiny_probabilities_of_the_layer_come_with_a_warning():
    warned, plain = (
        guide_steps(look(trace_of(CAPITALS, f"plain static:{layer},alpha=0.5")))["steps"][1]["notes"]
        for layer in (1, 2)
    )
    assert ENGLISH("chart.unreliable") in warned
    assert ENGLISH("chart.unreliable") not in plain


def test_the_third_step_strikes_out_what_is_below_the_cut_and_names_who_picks_what():
    third = guide_steps(look(trace_of(CAPITALS, "plain static:1,alpha=0.5")))["steps"][2]
    assert rows(third, "token", "is_cut") == [("␣Sydney", False), ("␣Canberra", False), ("␣the", True)]
    assert third["rows"][2]["value"] == "4 %: cut"
    assert [[mark["text"] for mark in row["marks"]] for row in third["rows"]] == [["● Plain"], ["◆ DoLa-static"], []]
    assert sum(row["width"] for row in third["rows"]) == pytest.approx(1)
    assert said(third).replace("\u00a0", " ") == (
        "A token needs 50 % of the best one's probability (α = 0.5), here 18 %. 2 tokens are kept. "
        "Plain picks “Sydney” (36 %). DoLa-static picks “Canberra” (34 %)."
    )


def test_a_token_that_was_cut_although_it_rose_most_shows_what_the_cut_is_for():
    trace = trace_of(
        {" a": (0.4, 0.5, 0.5), " b": (0.2, 0.4, 0.4), " odd": (1e-9, 0.1, 0.02)}, "plain static:1,alpha=0.1"
    )
    notes = guide_steps(look(trace))["steps"][2]["notes"]
    assert notes == ["“odd” rose even further, but is too improbable: this is what the cut is for."]
    kept = guide_steps(look(trace, "plain", "static:1,alpha=0.01"))["steps"][2]["notes"]
    assert kept == []
    less = trace_of(
        {" a": (0.1, 0.5, 0.5), " b": (0.2, 0.4, 0.4), " odd": (0.01, 0.1, 0.02)}, "plain static:1,alpha=0.1"
    )
    assert guide_steps(look(less))["steps"][2]["notes"] == []


def test_where_one_token_is_kept_both_must_agree():
    guide = guide_steps(look(trace_of({" Athens": (0.3, 0.1, 0.9), " Rome": (0.1, 0.2, 0.01)}, "plain static:1")))
    assert guide["options"] == [{"text": "“Athens”", "side": ""}]
    assert "1 token is kept. " in said(guide["steps"][2])
    assert said(guide["steps"][2]).endswith("Only “Athens” passed the α cut: both must agree.")


def test_a_strength_other_than_one_and_a_late_penalty_are_noted():
    trace = trace_of(CAPITALS, "plain static:1,alpha=0.5,beta=0.5")
    assert guide_steps(look(trace))["steps"][2]["notes"] == [
        "With β = 0.5 the contrast puts “Canberra” 164 times above “Sydney”."
    ]
    nothing = guide_steps(look(trace_of(CAPITALS, "plain static:1,alpha=0.5,beta=0")))
    assert nothing["steps"][2]["notes"] == [ENGLISH("sentence.no_strength")]
    late = trace_of(CAPITALS, "plain static:1,alpha=0.5,penalty=1.5,position=after")
    assert ENGLISH("guide.penalty_after") in guide_steps(look(late))["steps"][2]["notes"]


def test_a_lane_that_chooses_its_layer_has_the_layer_chosen_there_subtracted():
    guide = guide_steps(look(trace_of(CAPITALS, "plain dynamic:all,alpha=0.5")))
    inspection = look(trace_of(CAPITALS, "plain dynamic:all,alpha=0.5"))
    layer = inspection.contrast_layer(1, inspection.step)
    assert guide["steps"][1]["title"] == f"Minus layer {layer}"
    assert ENGLISH("guide.chosen_layer") in guide["steps"][1]["notes"]


@pytest.mark.parametrize("lanes", ["plain plain,penalty=1.5", "plain linear:1=-0.3,2=-0.3", "plain linear:1=0.5"])
def test_lanes_without_one_layer_are_told_which_lane_has_steps(lanes):
    guide = guide_steps(look(trace_of(CAPITALS, lanes)))
    assert "steps" not in guide
    assert "need a lane that contrasts one layer, DoLa-static or DoLa-dynamic" in guide["empty"]
    assert "Choose one of them" in guide["empty"]


@pytest.mark.parametrize("code", CODES)
def test_with_nothing_to_show_it_says_to_press_compare(code):
    guide = guide_steps(None, language(code))
    assert guide == {"title": language(code)("guide.title"), "empty": language(code)("guide.nothing")}


def test_it_shows_the_step_looked_at_if_choices_differ_there_and_else_the_first_that_do(forked):
    differing = inspecting(forked).differing[1]
    last = differing[-1]
    assert guide_steps(inspecting(forked, index=last))["show"]["step"] == last + 1
    agreeing = next(index for index in range(len(forked.lane_steps(1))) if index not in differing)
    shown = guide_steps(inspecting(forked, index=agreeing))
    assert shown["show"] | {"text": ""} == {"text": "", "lane": 1, "step": differing[0] + 1}
    assert shown["where"] == f"Step {differing[0] + 1} in the text of DoLa-static:"
    never = inspecting(forked, index=agreeing, alpha=1.0)
    assert never.differing[1] == []
    assert guide_steps(never)["show"]["step"] == agreeing + 1


def test_the_text_before_the_word_is_what_the_lane_had_written(forked):
    index = inspecting(forked).differing[1][0]
    before = guide_steps(inspecting(forked, index=index))["before"]
    text = forked.prompt + "".join(forked.pieces[one] for one in forked.lane_ids(1)[:index])
    assert len(text) <= CONTEXT
    assert before == text


def test_of_a_long_text_the_end_is_shown(compared):
    prompt = "The capital of France is Paris. " * 4 + "The capital of Italy is"
    assert guide_steps(inspecting(compared(prompt), index=0, alpha=1.0))["before"] == f"…{prompt[-CONTEXT:]}"


def test_the_lanes_choices_always_have_rows(forked):
    for lane, indices in enumerate(inspecting(forked).differing):
        for index in indices:
            inspection = Inspection.of(forked, View(lane=lane, index=index, lanes=forked.lanes))
            third = guide_steps(inspection)["steps"][2]
            assert len(third["rows"]) <= ROWS
            assert sorted(mark["side"] for row in third["rows"] for mark in row["marks"]) == ["base", "dola"]


def test_a_chat_shows_what_the_visitor_wrote_without_the_template_and_the_answer_on_a_line_of_its_own():
    chat = open_trace((MODELS / "smollm2/traces/sampled.json").read_text(encoding="utf-8"))
    assert chat.chat is not None
    inspection = inspecting(chat)
    index = (
        inspection.differing[1][0] if inspection.view.index not in inspection.differing[1] else inspection.view.index
    )
    answer = "".join(chat.pieces[one] for one in chat.lane_ids(1)[:index])
    assert guide_steps(inspection)["before"] == f"{chat.prompt}\n{answer}"


def test_drawn_tokens_and_a_penalty_before_the_contrast_are_noted(compared):
    drawn = compared(layer=12, decoding={"temperature": 1.0, "repetition_penalty": 1.3, "max_new_tokens": 3})
    first, _, third = guide_steps(inspecting(drawn, index=0))["steps"]
    assert first["notes"] == [ENGLISH("chart.last_penalised")]
    assert ENGLISH("guide.sampled") in third["notes"]
    greedy = guide_steps(look(trace_of(CAPITALS, "plain static:1,alpha=0.5")))["steps"]
    assert (greedy[0]["notes"], greedy[2]["notes"]) == ([], [])


def test_tokens_that_were_not_all_recorded_are_not_counted_or_struck_out():
    trace = trace_of(CAPITALS, "plain static:1,alpha=0.05", chosen=(0, 1), exact_alpha=0.6)
    third = guide_steps(look(trace))["steps"][2]
    assert ENGLISH("guide.cut_incomplete") in said(third)
    assert not any(row["is_cut"] for row in third["rows"])


def test_where_choices_agree_the_choice_is_compared_with_the_token_that_rose_most():
    trace = trace_of(
        {" a": (0.2, 0.1, 0.6), " b": (0.1, 0.1, 0.05), " c": (0.01, 0.1, 0.04)}, "plain static:1,alpha=0.5"
    )
    second = guide_steps(look(trace))["steps"][1]
    assert said(second).endswith("Since layer 1 “c” rose 1.3 times more than “a”.")


@pytest.mark.parametrize("code", CODES)
def test_every_width_is_a_share_and_all_is_plain_json(forked, code):
    for index in range(len(forked.lane_steps(1))):
        inspection = inspecting(forked, index=index)
        seen = inspection.at(replace(inspection.view, words=language(code)))
        guide = json.loads(json.dumps(guide_steps(seen), allow_nan=False))
        assert all(0 <= row["width"] <= 1 for step in guide["steps"] for row in step["rows"])
