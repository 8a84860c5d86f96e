"""The controls begin with what the model brings, so that they say what a run does."""

from dataclasses import replace

import pytest

from app.inputs.known_model import KnownModel
from app.jobs.engine_pool import EnginePool
from app.language import ENGLISH, language
from app.tabs.compare.chips import FEW, chips_of, drawn_chips
from app.tabs.compare.controls import settings_of
from dola_core.decoding.engine import Engine
from tests.app.conftest import laid_out


@pytest.mark.parametrize(
    ("own", "bounds"), [(None, (1.0, 2.0)), (1.15, (1.0, 2.0)), (0.9, (0.9, 2.0)), (3.0, (1.0, 3.0))]
)
def test_the_repetition_penalty_begins_with_the_models_own(loaded, monkeypatch, own, bounds):
    monkeypatch.setattr(loaded.model.generation_config, "repetition_penalty", own)
    facts = replace(EnginePool.of(Engine(loaded)).first, known=KnownModel())
    slider = laid_out(facts).repetition_penalty
    assert slider.value == (own or 1.0)
    assert (slider.minimum, slider.maximum) == bounds


@pytest.fixture(scope="module")
def facts(engine):
    return EnginePool.of(engine).first


def test_the_page_begins_with_the_settings_of_the_recorded_run_that_it_shows(facts):
    controls, trace = laid_out(facts), facts.known.first.read()
    for name, value in settings_of(trace).items():
        if name != "lanes":
            assert getattr(controls, name).value == value, name


def test_an_opened_trace_fills_in_all_that_its_run_was_asked_for(facts, compared):
    controls = laid_out(facts)
    trace = compared("Water boils at", decoding={"max_new_tokens": 7, "temperature": 0.7, "seed": 3, "stop": ("\n",)})
    changes = controls.of_trace(trace, 30, ENGLISH, with_chat=False)
    values = {part: getattr(changes[part], "value", changes[part]) for part in controls.inputs if part in changes}
    settings = controls.settings({part: values.get(part, part.value) for part in controls.inputs})
    own = settings_of(trace)
    assert {name: settings[name] for name in own} == own
    assert settings["stop_text"] == "\\n"
    request = controls.request({part: values.get(part, part.value) for part in controls.inputs}, 30)
    assert request.decoding == trace.decoding
    assert request.lanes == trace.lanes


def test_an_example_is_run_with_the_usual_settings_whatever_was_set_before(facts):
    controls = laid_out(facts)
    changes = controls.as_usual(facts, ENGLISH, prompt="Gold is", mode="complete")
    before = {part: part.value for part in controls.inputs} | {controls.temperature: 1.5, controls.num_beams: 4}
    values = before | {p: getattr(change, "value", change) for p, change in changes.items() if p in before}
    request = controls.request(values, 30)
    assert (request.prompt, request.lanes) == ("Gold is", facts.usual_lanes)
    assert (request.decoding.temperature, request.decoding.num_beams) == (0, 1)


def test_a_value_beyond_the_pages_range_is_put_within_it(facts, forked):
    trace = forked.model_copy(update={"decoding": forked.decoding.model_copy(update={"max_new_tokens": 4000})})
    controls = laid_out(facts)
    assert controls.of_trace(trace, 30, ENGLISH, with_chat=False)[controls.max_new_tokens] == 256


@pytest.mark.parametrize(
    ("values", "said"),
    [((48, 0, 1), "48 tokens · greedy"), ((1, 0.7, 1), "1 token · sampled at 0.7"), ((9, 0, 4), "9 tokens · 4 beams")],
)
def test_the_closed_section_says_how_is_decoded(facts, values, said):
    controls = laid_out(facts)
    parts = (controls.max_new_tokens, controls.temperature, controls.num_beams)
    assert controls.summary(dict(zip(parts, values, strict=True)), ENGLISH).label == said


def test_chips_name_each_recorded_run_and_every_prompt_that_none_is_of(facts):
    known = facts.known
    chips = chips_of(known)
    assert [chip.recorded for chip in chips if chip.recorded] != []
    assert {chip.recorded.title for chip in chips if chip.recorded} == {one.title for one in known.recorded}
    shown = [(chip.example.prompt if chip.example else chip.recorded.read().prompt) for chip in chips]
    assert {example.prompt for example in known.examples} <= set(shown)
    assert len(shown) == len(set(shown))


@pytest.mark.parametrize("code", ["en", "zh"])
def test_a_chip_is_short_and_says_whether_it_runs(facts, code):
    words = language(code)
    drawn = drawn_chips(facts.known, words)
    assert drawn["few"] == FEW < len(drawn["chips"])
    for chip, of in zip(drawn["chips"], chips_of(facts.known), strict=True):
        assert chip["recorded"] == (of.recorded is not None)
        assert 0 < len(chip["text"]) <= 30
        assert chip["hint"] == words("chips.recorded" if of.recorded else "chips.run")


def test_a_model_of_which_nothing_is_known_has_prompts_to_try():
    assert [chip.recorded for chip in chips_of(KnownModel())] == [None] * 4
