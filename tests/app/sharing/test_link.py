"""Links carry settings there and back, and whatever stands in one, settings that can be run come out."""

from dataclasses import replace
from urllib.parse import parse_qsl

import pytest
from gradio.components import Component
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from app.jobs.engine_pool import EnginePool
from app.jobs.model_pool import ModelFacts
from app.language import ENGLISH
from app.sharing import link
from app.tabs.compare.controls import RUN_SETTINGS, Controls
from dola_core.lanes import BUCKETS, Baseline, DolaDynamic, DolaStatic, LinearContrast, lane_text, parse_lane
from tests.app.conftest import laid_out


@pytest.fixture(scope="module")
def facts(engine) -> ModelFacts:
    """Of the shipped model, which has no chat template."""
    return EnginePool.of(engine).first


@pytest.fixture(scope="module")
def usual(facts) -> tuple[str, ...]:
    """The lanes that the page begins with, as text."""
    return tuple(map(lane_text, facts.usual_lanes))


@pytest.fixture(scope="module")
def controls(facts) -> Controls:
    return laid_out(facts)


@pytest.fixture(scope="module")
def components(controls) -> dict[str, Component]:
    return vars(controls)


@pytest.fixture(scope="module")
def start(components, usual):
    """How the page starts."""
    return {name: components[name].value for name in RUN_SETTINGS} | {"lanes": usual}


LANES = st.one_of(
    st.builds(Baseline, repetition_penalty=st.none() | st.sampled_from([1.2, 0.5, 3.0])),
    st.builds(
        DolaStatic, layer=st.integers(1, 29), alpha=st.sampled_from([0.01, 0.3, 1]), beta=st.sampled_from([0, 1])
    ),
    st.builds(DolaDynamic, bucket=st.sampled_from([*BUCKETS, "16-28/2"]), early_norm=st.none() | st.booleans()),
    st.just(LinearContrast(weights={5: -0.5, 22: -0.25}, penalty_position="after")),
)


def page_values(controls, lanes):
    """What the fields of the panes hold when they show `lanes`."""
    changes = controls.panes.at(lanes, None, 30, ENGLISH)
    now = {part: changes.get(part, part.value) for part in controls.panes.inputs}
    return {part: getattr(value, "value", value) for part, value in now.items()}


@pytest.fixture(scope="module")
def made(facts):
    """Make a link: its text, and its parameters."""

    def make(settings, *, model="atlas-30l", step=1, digest=""):
        text = link.query(settings, replace(facts, name=model), step=step, digest=digest)
        return text, dict(parse_qsl(text, keep_blank_values=True))

    return make


def test_a_short_prompt_makes_a_short_readable_link(start, made):
    text, _ = made(start | {"prompt": "The capital of Peru is", "lanes": ("plain", "static:12")})
    assert text == "prompt=The+capital+of+Peru+is&j=12&a=0.1&new=48&step=1&model=atlas-30l"


def test_settings_survive_a_link(components, start, facts, made):
    settings = start | {
        "prompt": "naïve & ü? 100 % = 😀\n${x}", "lanes": ("plain", "static:3,alpha=0.25"),
        "max_new_tokens": 7, "temperature": 0.7,
        "top_p": 0.9, "top_k": 5, "min_p": 0.05, "repetition_penalty": 1.2, "penalty_position": "after",
        "early_norm": False, "num_beams": 2, "seed": 99, "stop_text": "\\n",
    }  # fmt: skip
    _, parameters = made(settings, step=9, digest="abc")
    shared = link.fitted(link.read(components, parameters), facts)
    assert shared.settings == settings
    assert (shared.step, shared.model, shared.digest) == (9, "atlas-30l", "abc")


def test_a_plain_address_is_no_link(components):
    assert link.read(components, {}) is None
    assert link.read(components, {"__theme": "dark", "logs": "x"}) is None


TEXTS = st.text(st.characters(), max_size=200)
"""Lone surrogates included."""
NUMBERS = st.one_of(st.floats(), st.integers(), st.sampled_from([10**400, "1e400", "-0", "١٢", "0x1f", "1_0", " 7 "]))
PARAMETERS = st.dictionaries(
    st.sampled_from([*link.NAMES, "j", "a", "lanes", "step", "model", "hash", "other"]),
    st.one_of(TEXTS, NUMBERS.map(str)),
)
SEPARATORS = st.sampled_from(["&", "=", "%", "%00", "%ff", "+", "prompt=", "&j=", "a=nan", "&a=inf", "new=", "%ud800"])


@given(parameters=st.one_of(PARAMETERS, st.lists(st.one_of(SEPARATORS, st.text())).map("".join).map(QueryParams)))
def test_whatever_a_link_says_it_can_be_run(controls, components, start, facts, parameters):
    shared = link.read(components, parameters)
    if shared is None:
        return
    shared = link.fitted(shared, facts)
    for text in (shared.settings["prompt"], shared.settings["stop_text"], shared.model, shared.digest):
        (text or "").encode("utf-8")
    assert set(shared.settings) == set(start)
    values = {components[name]: value for name, value in (start | shared.settings).items() if name != "lanes"}
    lanes = [parse_lane(text) for text in shared.settings["lanes"]]
    values |= page_values(controls, lanes)
    if values[components["num_beams"]] > 1:
        values[components["temperature"]] = 0.0
    request = controls.request(values, 30)
    assert list(request.lanes) == lanes
    for lane in lanes:
        assert lane.fitted(30, tied=True)
        assert lane.least_share == 0 or lane.least_share >= 0.01
    assert shared.step >= 1
    assert len(request.prompt) <= link.MAX_TEXT


@given(data=st.data(), prompt=TEXTS, stop=TEXTS)
def test_whatever_is_set_comes_out_of_its_link(components, start, facts, data, prompt, stop, made):
    settings = start | {"prompt": prompt, "stop_text": stop}
    settings["lanes"] = tuple(map(lane_text, data.draw(st.lists(LANES, min_size=2, max_size=4))))
    for name in ("max_new_tokens", "top_k", "num_beams", "seed"):
        control = components[name]
        settings[name] = data.draw(st.integers(int(control.minimum), int(control.maximum)))
    for name in ("temperature", "top_p", "repetition_penalty"):
        control = components[name]
        steps = round((control.maximum - control.minimum) / control.step)
        settings[name] = round(control.minimum + control.step * data.draw(st.integers(0, steps)), 2)
    text, parameters = made(settings, model=prompt, digest=stop)
    shared = link.fitted(link.read(components, parameters), facts)
    assert text.isascii()
    for name in set(settings) - {"prompt", "stop_text"}:
        assert shared.settings[name] == settings[name], name
    for name in ("prompt", "stop_text"):
        assert shared.settings[name] == settings[name].encode("utf-8", "replace").decode("utf-8")


def test_a_prompt_that_a_link_cannot_hold_carries_no_digest(start, made):
    text, parameters = made(start | {"prompt": "x" * 5000}, digest="abc")
    assert "hash" not in parameters
    assert len(text) < 4200


def test_a_link_to_a_chat_is_one_where_the_model_chats_and_old_links_count(components, facts):
    for text, mode in (("1", "chat"), ("0", "complete"), ("chat", "chat"), ("nonsense", "chat")):
        shared = link.read(components, {"prompt": "p", "chat": text, "system": "Be brief."})
        chats = replace(facts, has_chat_template=True)
        assert link.fitted(shared, chats).settings["mode"] == mode
        assert link.fitted(shared, chats).settings["system"] == "Be brief."
        here = link.fitted(shared, facts).settings
        assert (here["mode"], here["system"]) == ("complete", ""), "the shipped model has no chat template"


@pytest.mark.parametrize(
    ("text", "layer"),
    [("0", 1), ("-7", 1), ("1e9", 29), ("inf", 29), ("22.4", 22), ("nan", None), ("x", None), ("", None)],
)
def test_a_layer_is_clamped_or_passed_over(components, facts, text, layer):
    shared = link.fitted(link.read(components, {"prompt": "p", "j": text}), facts)
    static = facts.usual_lanes[1]
    expected = static if layer is None else static.model_copy(update={"layer": layer})
    assert shared.settings["lanes"] == ("plain", lane_text(expected))


@pytest.mark.parametrize(
    ("text", "lanes"),
    [
        ("plain static:99,beta=0.5", ("plain", "static:29,beta=0.5")),
        ("plain,penalty=1.2 dynamic:high linear:22=-0.5 static:3", None),
        ("dynamic:16-28/2 plain", None),
        ("plain", ()),
        ("plain plain plain plain plain", ()),
        ("static:3,alpha=0.001 plain", ()),
        ("dynamic:40-50 plain", ()),
        ("nonsense:1 plain", ()),
        ("plain static:2,layers=9", ()),
        ("", ()),
    ],
)
def test_lanes_of_a_link_are_clamped_taken_or_passed_over_together(components, facts, text, lanes):
    shared = link.fitted(link.read(components, {"prompt": "p", "lanes": text}), facts)
    expected = tuple(text.split()) if lanes is None else lanes or tuple(map(lane_text, facts.usual_lanes))
    assert shared.settings["lanes"] == expected


def test_any_lanes_make_a_readable_link(start, made):
    lanes = ("plain", "static:22,beta=0.5", "dynamic:high")
    text, _ = made(start | {"prompt": "p", "lanes": lanes})
    assert text == "prompt=p&lanes=plain+static:22,beta%3D0.5+dynamic:high&new=48&step=1&model=atlas-30l"


def test_the_verdict_compares_only_what_was_shared(components, start, facts, made):
    settings = start | {"prompt": "p", "lanes": ("plain", "static:5")}
    _, parameters = made(settings, digest="abc")
    shared = link.fitted(link.read(components, parameters), facts)
    assert shared.verdict(settings, "abc") == "page.same_text"
    assert shared.verdict(settings, "abd") == "page.other_text"
    assert shared.verdict(settings | {"lanes": ("plain", "static:6")}, "abc") == ""
    assert shared.verdict(settings | {"temperature": 1.0}, "abc") == "", "what a link leaves out is part of it"
    _, silent = made(settings)
    assert link.read(components, silent).verdict(settings, "abc") == ""


def test_a_link_does_not_depend_on_what_the_page_opens_with(start, made, facts):
    """What the page shows first is a recorded run, with settings of its own."""
    settings = start | {"prompt": "p", "mode": "complete"}
    text, _ = made(settings)
    chats = replace(facts, has_chat_template=True)
    assert "chat=" not in text, "completing is usual with a model without a template"
    assert "chat=complete" in link.query(settings, chats, step=1, digest="")
    assert "chat=" not in link.query(settings | {"mode": "chat"}, chats, step=1, digest="")


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_stop_text_is_left_out(start, made, empty):
    assert "stop=" not in made(start | {"stop_text": empty})[0]
