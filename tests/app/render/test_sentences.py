"""The sentences about a step, mostly on steps whose numbers are set by hand."""

import math

import pytest

from app.language import CODES, ENGLISH, language
from app.render.sentences import step_sentence, why_sentence
from app.render.sentences.writing import chance, percent, times
from tests.app.looking import inspecting
from tests.app.render.toy_trace import look, trace_of

CAPITALS = {" Sydney": (3e-20, 1e-3, 0.36), " Canberra": (1e-24, 4e-4, 0.34), " the": (0.5, 0.2, 0.04)}
"""{token: its probability in layers 1, 2 and 3}"""
ANIMALS = {" cat": (0.2, 0.5, 0.5), " dog": (0.1, 0.05, 0.3), " cow": (0.4, 0.1, 0.01)}
SURE = {" Athens": (0.3, 0.1, 0.97), " Rome": (0.1, 0.2, 0.01)}


def said(parts):
    return "".join(part["text"] for part in parts)


def both(inspection):
    """The headline and the line under it."""
    return said(step_sentence(inspection)), said(why_sentence(inspection))


def test_each_lanes_choice_is_in_its_colour_and_the_reason_in_none():
    assert step_sentence(look(trace_of(CAPITALS, "plain static:1,alpha=0.5"))) == [
        {"text": "Plain picks “Sydney” (36 %).", "side": "base"},
        {"text": " ", "side": ""},
        {"text": "DoLa-static picks “Canberra” (34 %)", "side": "dola"},
        {"text": ": since layer 1 “Canberra” rose 28,333 times more than “Sydney”.", "side": ""},
    ]


def test_in_chinese_no_space_is_left_between_chinese_words():
    headline, why = both(look(trace_of(CAPITALS, "plain static:1,alpha=0.5"), code="zh"))
    assert headline == (
        "普通解码选“Sydney”（36%）。"
        "DoLa-static 选“Canberra”（34%）：自第 1 层以来，“Canberra”的升幅是“Sydney”的 28,333 倍。"
    )
    assert why.startswith("2 个词元通过 α 截断，共占 70%。第 1 层给两者的概率都不到 10¹⁹ 分之一。")


CARE = ": a tail that layer was never trained to get right, so take the size of the jump with care."
STEPS = {
    "a jump out of a tail": (
        trace_of(CAPITALS, "plain static:1,alpha=0.5"),
        "DoLa-static picks “Canberra” (34 %): since layer 1 “Canberra” rose 28,333 times more than “Sydney”.",
        f"2 tokens passed the α cut and hold 70 %. Layer 1 gave both less than one in 10¹⁹{CARE}",
    ),
    "a small jump": (
        trace_of(CAPITALS, "plain static:2,alpha=0.5"),
        "since layer 2 “Canberra” rose 2.4 times more than “Sydney”.",
        "2 tokens passed the α cut and hold 70 %. Layer 2 gave “Sydney” one in 1,000 and “Canberra” one in 2,500.",
    ),
    "one of two in the tail": (
        trace_of({" a": (0.9, 0.5, 0.5), " b": (2e-7, 0.2, 0.4)}, "plain static:1"),
        ": since layer 1 “b” rose over 10⁶ times against “a”, which fell.",
        f"hold 90 %. Layer 1 gave “a” 90 % and “b” less than one in a million{CARE}",
    ),
    "both fell": (
        trace_of({" a": (0.9, 0.5, 0.4), " b": (0.4, 0.2, 0.3)}, "plain static:1"),
        ": since layer 1 “a” fell 1.7 times more than “b”.",
        "Layer 1 gave “a” 90 % and “b” 40 %.",
    ),
    "no tail": (
        trace_of(ANIMALS, "plain static:1,alpha=0.5"),
        "Plain picks “cat” (50 %). DoLa-static picks “dog” (30 %)",
        "2 tokens passed the α cut and hold 80 %. Layer 1 gave “cat” 20 % and “dog” 10 %.",
    ),
    "the plain one's choice rose most, too": (
        trace_of(ANIMALS | {" cat": (0.1, 0.5, 0.6)}, "plain static:1,alpha=0.5"),
        "Both pick “cat” (60 %): this also rose most since layer 1.",
        "2 tokens passed the α cut and hold 90 %. Layer 1 gave “cat” 10 %.",
    ),
    "it fell least": (
        trace_of({" a": (0.7, 0.5, 0.6), " b": (0.6, 0.5, 0.3)}, "plain static:1"),
        "Both pick “a” (60 %): this also fell least since layer 1.",
        "hold 90 %.",
    ),
    "one token plausible": (
        trace_of(SURE, "plain static:1"),
        "Both pick “Athens” (97 %). Only “Athens” passed the α cut: both must agree.",
        "1 token passed the α cut and holds 97 %.",
    ),
    "a weaker contrast": (
        trace_of(CAPITALS, "plain static:1,alpha=0.5,beta=0.5"),
        "“Canberra” rose 28,333 times more than “Sydney”.",
        f"{CARE} With β = 0.5 the contrast puts “Canberra” 164 times above “Sydney”.",
    ),
    "a contrast too weak": (
        trace_of(ANIMALS, "plain static:1,alpha=0.5,beta=0.1"),
        "Both pick “cat” (50 %).",
        "Layer 1 gave “cat” 20 % and “dog” 10 %. Since layer 1 “dog” rose 1.2 times more than “cat”. "
        "With β = 0.1 the contrast puts “cat” 1.6 times above “dog”.",
    ),
    "no contrast": (
        trace_of(CAPITALS, "plain static:1,alpha=0.5,beta=0"),
        "Both pick “Sydney” (36 %).",
        "2 tokens passed the α cut and hold 70 %. With β = 0 the early layer does not count: only the cut does.",
    ),
    "a layer chosen here": (
        trace_of(CAPITALS, "plain dynamic:1-2,alpha=0.5"),
        ": since layer 2, chosen here, “Canberra” rose 2.4 times more than “Sydney”.",
        "Layer 2, chosen here, gave “Sydney” one in 1,000 and “Canberra” one in 2,500.",
    ),
    "weights of several layers": (
        trace_of(CAPITALS, "plain linear:1=-0.5,2=-0.5,alpha=0.5"),
        "Linear contrast picks “Canberra” (34 %): the contrast puts “Canberra” 259 times above “Sydney”.",
        "2 tokens passed the α cut and hold 70 %.",
    ),
    "two contrasts, one with a cut": (
        trace_of(CAPITALS, "static:1,alpha=0.5 static:1,alpha=1"),
        "DoLa-static (j* = 1 · α = 1) picks “Sydney” (36 %): “Canberra” did not pass its α cut.",
        "1 token passed the α cut and holds 36 %.",
    ),
    "three lanes": (
        trace_of(CAPITALS, "plain static:1,alpha=0.5 dynamic:1-2,alpha=0.5"),
        "Plain picks “Sydney” (36 %). DoLa-static picks “Canberra” (34 %), like DoLa-dynamic: since layer 1 ",
        "2 tokens passed",
    ),
    "four lanes, and two with the plain one": (
        trace_of(CAPITALS, "plain static:1,alpha=0.5 static:1,alpha=1 static:1,alpha=1,beta=2"),
        "Plain picks “Sydney” (36 %), like DoLa-static (j* = 1 · α = 1) and DoLa-static (j* = 1 · α = 1 · β = 2). ",
        "2 tokens passed",
    ),
    "three tokens, and the explained one last": (
        trace_of(CAPITALS, "plain static:1,alpha=0.5 static:2", chosen=(0, 1, 2)),
        "Plain picks “Sydney” (36 %). DoLa-static (j* = 2 · α = 0.1) picks “the” (4 %). "
        "DoLa-static (j* = 1 · α = 0.5) picks “Canberra” (34 %): since layer 1 ",
        "2 tokens passed",
    ),
    "one token plausible for one of two contrasts": (
        trace_of({" cat": (0.1, 0.1, 0.6), " dog": (0.1, 0.3, 0.3)}, "static:2,alpha=0.5 static:1,alpha=1"),
        "Both pick “cat” (60 %). Only “cat” passed the α cut.",
        "1 token passed",
    ),
    "all of three lanes, with one token plausible": (
        trace_of(SURE, "plain static:1 static:2"),
        "All pick “Athens” (97 %). Only “Athens” passed the α cut: all must agree.",
        "1 token passed",
    ),
    "plain lanes, one with a penalty": (
        trace_of(CAPITALS, "plain plain,penalty=1.5", chosen=(0, 1), seen=(0,)),
        "Plain picks “Sydney” (36 %). Plain (penalty 1.5) picks “Canberra” (34 %).",
        "“Sydney” stands in the text already; the penalty 1.5 of Plain (penalty 1.5) lowers it.",
    ),
    "draws": (
        trace_of(CAPITALS, "plain static:1,alpha=0.5", chosen=(0, 1), temperature=1),
        "Plain draws “Sydney” (36 %). DoLa-static draws “Canberra” (34 %): since layer 1 ",
        f"{CARE} Both draw with the same dice.",
    ),
    "a draw against the jump": (
        trace_of(CAPITALS, "plain static:1,alpha=0.5", chosen=(1, 0), temperature=1),
        "Plain draws “Canberra” (34 %). DoLa-static draws “Sydney” (36 %).",
        "Since layer 1 “Canberra” rose 28,333 times more than “Sydney”. Both draw with the same dice.",
    ),
    "one token plausible where lanes draw": (
        trace_of(SURE, "plain static:1", chosen=(0, 0), temperature=1),
        "Both draw “Athens” (97 %). Only “Athens” passed the α cut.",
        "1 token passed the α cut and holds 97 %.",
    ),
    "beams": (
        trace_of(CAPITALS, "plain static:1,alpha=0.5", taken=(0, 2), num_beams=4),
        "Plain alone would pick “Sydney” (36 %). DoLa-static alone would pick “Canberra” (34 %)",
        f"{CARE} The beam of DoLa-static goes on with “the”.",
    ),
    "the end of the text": (
        trace_of(CAPITALS, "plain static:1,alpha=0.5", ends=("length", "eos")),
        "Plain picks “Sydney” (36 %). DoLa-static ends the text (34 %): "
        "since layer 1 the end of the text rose 28,333 times more than “Sydney”.",
        "2 tokens passed",
    ),
    "more plausible than recorded": (
        trace_of(CAPITALS, "plain static:1,alpha=0.5", chosen=(0, 1), exact_alpha=0.512),
        "DoLa-static picks “Canberra” (34 %): since layer 1 ",
        "More tokens passed the α cut than were recorded; for a what-if raise α to 0.52 or more.",
    ),
    "no what-if": (
        trace_of(CAPITALS, "plain static:1,alpha=0.5", chosen=(0, 1), exact_alpha=2.0),
        "DoLa-static picks “Canberra” (34 %): since layer 1 ",
        "More tokens passed the α cut than were recorded; no α has a what-if here.",
    ),
    "tokens that look alike, and white space": (
        trace_of({" the": (0.4, 0.3, 0.4), "the": (0.1, 0.3, 0.3)}, "plain static:1"),
        "Plain picks “␣the” (40 %). DoLa-static picks “the” (30 %)",
        "2 tokens passed",
    ),
    "a part of a character": (
        trace_of({"<0xE6>": (0.4, 0.3, 0.4), " a": (0.1, 0.3, 0.3)}, "plain static:1"),
        "Plain picks “…” (40 %). DoLa-static picks “a” (30 %)",
        "2 tokens passed",
    ),
    "parts of two characters": (
        trace_of({"<0xE6>": (0.4, 0.3, 0.4), "<0xE7>": (0.1, 0.3, 0.3)}, "plain static:1"),
        "Plain picks “<0xE6>” (40 %). DoLa-static picks “<0xE7>” (30 %)",
        "2 tokens passed",
    ),
    "white space": (
        trace_of({"\n": (0.4, 0.3, 0.9967), "  a": (1e-5, 0.3, 0.003)}, "plain static:1,alpha=0.001", chosen=(0, 1)),
        "Plain picks “⏎” (>99 %). DoLa-static picks “␣␣a” (<1 %)",
        "Layer 1 gave “⏎” 40 % and “␣␣a” one in 100,000.",
    ),
}


@pytest.mark.parametrize(("trace", "headline", "why"), STEPS.values(), ids=STEPS)
def test_a_step_is_told(trace, headline, why):
    told = both(look(trace))
    assert headline in told[0]
    assert why in told[1]
    chinese = both(look(trace, code="zh"))
    assert all(chinese)


def test_a_penalty_that_does_not_act_is_not_told():
    headline, why = both(look(trace_of(CAPITALS, "plain plain,penalty=1.5", chosen=(0, 1))))
    assert headline == "Plain picks “Sydney” (36 %). Plain (penalty 1.5) picks “Canberra” (34 %)."
    assert why == ""


def test_a_penalty_that_all_lanes_share_parts_none():
    trace = trace_of(CAPITALS, "plain static:1,alpha=0.5", seen=(0,), repetition_penalty=1.3)
    headline, why = both(look(trace))
    assert "picks “Canberra”" in headline
    assert "lowers" not in why


def test_lanes_that_give_their_choice_other_probabilities_agree_without_a_number():
    trace = trace_of(CAPITALS, "plain plain,penalty=1.5")
    (step,) = trace.steps
    choices = (step.choices[0], step.choices[1].model_copy(update={"p": 0.2}))
    trace = trace.model_copy(update={"steps": (step.model_copy(update={"choices": choices}),)})
    assert both(look(trace)) == ("Both pick “Sydney”.", "")


def test_a_choice_that_is_not_recorded_is_told_without_numbers():
    trace = trace_of(CAPITALS, "static:1,alpha=0.5 static:1,alpha=0.5,penalty=1.3", chosen=(0, 0))
    (step,) = trace.steps
    narrow = {"reading": 1, "tokens": step.tokens[:1], "log_q": step.log_q[:3], "choices": step.choices}
    trace = trace.model_copy(update={"steps": (step, step.model_copy(update=narrow))})
    headline, _ = both(look(trace, "static:1,alpha=0.5", "static:1,alpha=0.6,penalty=1.3"))
    assert headline.startswith("Both pick “Sydney” (36 %)")
    headline, why = both(look(trace, "static:2,alpha=0.5", "static:1,alpha=0.5,penalty=1.3"))
    assert headline.endswith("picks “Sydney” (36 %).")
    assert "rose" not in headline + why


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (0.004, "<1 %"), (0.36, "36 %"), (0.996, ">99 %"), (1, "100 %")]
)
def test_shares_are_whole_per_cents(share, text):
    assert percent(ENGLISH, share) == text


@pytest.mark.parametrize(
    ("factor", "text"),
    [(1.44, "1.4"), (9.94, "9.9"), (9.96, "10"), (34_115, "34,115"), (99_999, "99,999"), (3.4e7, "over 10⁷")],
)
def test_factors_are_as_exact_as_they_can_be_read(factor, text):
    assert times(ENGLISH, math.log(factor)) == text


@pytest.mark.parametrize(
    ("q", "text"),
    [(0.3, "30 %"), (0.004, "one in 250"), (3e-6, "one in 330,000"), (9e-7, "less than one in a million"),
     (3e-20, "less than one in 10¹⁹")],
)  # fmt: skip
def test_a_layers_probability_is_written_by_its_size(q, text):
    assert chance(ENGLISH, math.log(q)) == text


WHAT_IFS = {
    "another choice": (
        ("plain", "static:1,alpha=1"),
        "In the run DoLa-static (j* = 1, α = 0.5) picked “Canberra” here.",
    ),
    "the same choice": (("plain", "static:2,alpha=0.5"), "In the run DoLa-static (j* = 1, α = 0.5) picked the same."),
    "another kind": (("plain", "plain"), "In the run DoLa-static (j* = 1, α = 0.5) picked “Canberra” here."),
    "what was not read": (
        ("plain", "static:1,penalty=1.3"),
        "The trace does not tell what DoLa-static (j* = 1, α = 0.1, penalty 1.3) would pick; what you see is the run. "
        "Press Compare.",
    ),
    "the other lane": (("static:2,alpha=0.5", "static:1,alpha=0.5"), "In the run Plain picked “Sydney” here."),
}


@pytest.mark.parametrize(("now", "why"), WHAT_IFS.values(), ids=WHAT_IFS)
def test_a_lane_that_is_set_otherwise_is_told_with_what_the_run_did(now, why):
    trace = trace_of(CAPITALS, "plain static:1,alpha=0.5")
    assert both(look(trace, *now))[1].endswith(why)
    assert "In the run" not in both(look(trace))[1]


def test_a_lane_whose_text_is_another_would_pick(forked):
    after = forked.fork + 1
    assert said(step_sentence(inspecting(forked, forked.fork))).startswith("Plain picks ")
    parted = [said(step_sentence(inspecting(forked, n))) for n in range(after, len(forked.lane_steps(1)))]
    assert all(text.startswith(("Plain would ", "Both ")) for text in parted)
    assert any(text.startswith("Plain would ") for text in parted)


@pytest.mark.parametrize("code", CODES)
def test_every_step_of_a_run_has_its_factor_from_the_recorded_numbers(forked, code):
    """The factor is what the trace says of the two tokens, at every step at which the lanes part ways in a rise."""
    told = 0
    for step in forked.lane_steps(1):
        inspection = inspecting(forked, step.index, words=language(code))
        x, y = step.choices[1].id, step.choices[0].id
        rises = [step.log_q_table[step.index_of(one), -1] - step.log_q_table[step.index_of(one), 11] for one in (x, y)]
        if x != y and min(rises) > 0 and 10 < math.exp(rises[0] - rises[1]) < 99_999:
            told += 1
            assert f" {math.exp(rises[0] - rises[1]):,.0f} " in said(step_sentence(inspection))
    assert told
