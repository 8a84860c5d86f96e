"""A report says what was compared and how, shows what the page shows, and asks for no clicks."""

import json

import pytest

from app.language import CODES, ENGLISH, language
from app.render.inspection import Inspection
from app.render.sentences import step_sentence, why_sentence
from app.render.view_state import View
from app.sharing.report import report
from tests.app.looking import inspecting

CLICKING = ("click", "press ", "点击", "点一下", "请按")


def settings(made):
    (table,) = (part["value"] for part in made["parts"] if part["kind"] == "rows")
    return dict(table["rows"])


@pytest.mark.parametrize("code", CODES)
def test_nothing_in_a_report_asks_for_a_click(forked, code):
    for quantity in ("probability", "log-ratio F"):
        view = View(lane=1, index=forked.fork, lanes=forked.lanes, plausible_head=quantity, words=language(code))
        made = report(Inspection.of(forked, view), link="j=12", date="2026-11-26")
        said = json.dumps({name: made[name] for name in made if name != "css"}, ensure_ascii=False).lower()
        assert [word for word in CLICKING if word in said] == []
        assert "hints" in said


def test_it_holds_title_date_link_language_and_the_texts_fingerprint(forked):
    made = report(inspecting(forked), link="j=12&a=0.01", date="2026-11-26")
    assert (made["title"], made["date"], made["link"], made["lang"]) == (
        "DoLa Duet: report", "2026-11-26", "j=12&a=0.01", "en",
    )  # fmt: skip
    assert made["name"] == f"dola-duet-{forked.digest}.html"
    assert settings(made)["fingerprint of the texts"] == forked.digest


def test_it_is_in_the_visitors_language(forked):
    made = report(inspecting(forked, words=language("zh")))
    assert made["lang"] == "zh"
    assert made["title"] == language("zh")("report.title") != ENGLISH("report.title")


def test_the_settings_name_model_prompt_lanes_and_decoding(forked):
    table = settings(report(inspecting(forked)))
    model = forked.model
    assert table["model"] == f"{model.name}, {model.dtype}, {model.n_layers} layers"
    assert table["prompt"] == forked.prompt
    assert table["lane 1: Plain"] == "no settings of its own (plain)"
    assert table["lane 2: DoLa-static"] == "j* = 12, α = 0.01 (static:12,alpha=0.01)"
    assert table["decoding"] == "greedy"
    assert table["new tokens, at most"] == "40"
    assert table["looked at"] == f"step {forked.fork + 1} in the text of DoLa-static"


def test_a_revision_is_named(forked):
    revised = forked.model_copy(update={"model": forked.model.model_copy(update={"revision": "abc123"})})
    assert "revision abc123" in settings(report(inspecting(revised)))["model"]


def test_a_lane_that_is_set_otherwise_names_both_settings(forked):
    changed = settings(report(inspecting(forked, layer=9)))["lane 2: DoLa-static"]
    assert changed == "DoLa-static, j* = 9, α = 0.01 (run: j* = 12, α = 0.01) (static:9,alpha=0.01)"


def test_a_sampled_run_names_what_it_was_drawn_with(compared):
    sampled = compared(
        decoding={"temperature": 0.7, "seed": 1_234_567_890, "max_new_tokens": 3, "repetition_penalty": 1.2}
    )
    table = settings(report(inspecting(sampled, 0)))
    assert table["decoding"] == "sampled"
    assert table["seed"] == "1234567890"
    assert table[ENGLISH("controls.temperature")] == "0.7"
    assert table["repetition penalty"] == "1.2"
    assert table[ENGLISH("controls.penalty_position")] == "before the contrast"
    greedy = settings(report(inspecting(compared(decoding={"max_new_tokens": 3}), 0)))
    assert "seed" not in greedy
    assert ENGLISH("controls.penalty_position") not in greedy


def test_beams_and_a_stop_text_are_named(compared):
    beams = compared(decoding={"num_beams": 2, "max_new_tokens": 3, "stop": ("\n",)})
    table = settings(report(inspecting(beams, 0)))
    assert table["decoding"] == "2 beams"
    assert table[ENGLISH("controls.stop_text")] == "'\\n'"


def test_it_says_why_a_token_was_chosen_below_who_chose_it(forked):
    inspection = inspecting(forked)
    said = [part["value"] for part in report(inspection)["parts"] if part["kind"] == "sentence"]
    assert said[1:] == [step_sentence(inspection), why_sentence(inspection)]


def test_charts_keep_what_explains_them(forked):
    cards = [part["value"] for part in report(inspecting(forked))["parts"] if part["kind"] == "chart"]
    assert len(cards) == 5 + len(forked.lanes)
    assert all(card["hints"] == [] for card in cards)
    assert any(card["more"] for card in cards)
