"""Links carry settings there and back, and whatever stands in one, settings that can be run come out."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import parse_qsl

import gradio as gr
import pytest
from gradio.components import Component
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from app.compare_tab.controls import RUN_SETTINGS, Controls, lay_out_controls
from app.jobs.engine_pool import EnginePool, ModelFacts
from app.settings import Settings
from app.sharing import link


@pytest.fixture(scope="module")
def facts(engine) -> ModelFacts:
    """Of the shipped model, which has no chat template."""
    return EnginePool.of(engine).first


@pytest.fixture(scope="module")
def controls(facts) -> Controls:
    async def make() -> Controls:
        with gr.Blocks():
            return lay_out_controls(facts, Settings())

    # Outside of a running loop Gradio would make loops of its own and leave them open; in a thread there is none yet.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, make()).result()


@pytest.fixture(scope="module")
def components(controls) -> dict[str, Component]:
    return vars(controls)


@pytest.fixture(scope="module")
def start(components):
    """How the page starts."""
    return {name: components[name].value for name in RUN_SETTINGS}


def made(components, settings, **more):
    text = link.query(components, settings, **({"model": "atlas-30l", "step": 1, "digest": ""} | more))
    return text, dict(parse_qsl(text, keep_blank_values=True))


def test_a_short_prompt_makes_a_short_readable_link(components, start):
    text, _ = made(components, start | {"prompt": "The capital of Peru is", "layer": 12, "alpha": 0.1})
    assert text == "prompt=The+capital+of+Peru+is&j=12&a=0.1&new=48&step=1&model=atlas-30l"


def test_settings_survive_a_link(components, start, facts):
    settings = start | {
        "prompt": "naïve & ü? 100 % = 😀\n${x}", "layer": 3, "alpha": 0.25, "max_new_tokens": 7, "temperature": 0.7,
        "top_p": 0.9, "top_k": 5, "min_p": 0.05, "repetition_penalty": 1.2, "penalty_position": "after",
        "early_norm": False, "num_beams": 2, "seed": 99, "stop_text": "\\n",
    }  # fmt: skip
    _, parameters = made(components, settings, step=9, digest="abc")
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
    st.sampled_from([*link.NAMES, "step", "model", "hash", "other"]), st.one_of(TEXTS, NUMBERS.map(str))
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
    values = {components[name]: value for name, value in (start | shared.settings).items()}
    if values[components["num_beams"]] > 1:
        values[components["temperature"]] = 0.0
    request = controls.request(values)
    assert 1 <= request.layer <= 29
    assert shared.step >= 1
    assert len(request.prompt) <= link.MAX_TEXT


@given(data=st.data(), prompt=TEXTS, stop=TEXTS)
def test_whatever_is_set_comes_out_of_its_link(components, start, facts, data, prompt, stop):
    settings = start | {"prompt": prompt, "stop_text": stop}
    for name in ("layer", "max_new_tokens", "top_k", "num_beams", "seed"):
        control = components[name]
        settings[name] = data.draw(st.integers(int(control.minimum), int(control.maximum)))
    for name in ("alpha", "temperature", "top_p", "repetition_penalty"):
        control = components[name]
        steps = round((control.maximum - control.minimum) / control.step)
        settings[name] = round(control.minimum + control.step * data.draw(st.integers(0, steps)), 2)
    text, parameters = made(components, settings, model=prompt, digest=stop)
    shared = link.fitted(link.read(components, parameters), facts)
    assert text.isascii()
    for name in set(settings) - {"prompt", "stop_text"}:
        assert shared.settings[name] == settings[name], name
    for name in ("prompt", "stop_text"):
        assert shared.settings[name] == settings[name].encode("utf-8", "replace").decode("utf-8")


def test_a_prompt_that_a_link_cannot_hold_carries_no_digest(components, start):
    text, parameters = made(components, start | {"prompt": "x" * 5000}, digest="abc")
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
    assert shared.settings["layer"] == (components["layer"].value if layer is None else layer)


def test_the_verdict_compares_only_what_was_shared(components, start, facts):
    settings = start | {"prompt": "p", "layer": 5}
    _, parameters = made(components, settings, digest="abc")
    shared = link.fitted(link.read(components, parameters), facts)
    assert shared.verdict(settings, "abc") == "page.same_text"
    assert shared.verdict(settings, "abd") == "page.other_text"
    assert shared.verdict(settings | {"layer": 6}, "abc") == ""
    assert shared.verdict(settings | {"temperature": 1.0}, "abc") == "", "what a link leaves out is part of it"
    _, silent = made(components, settings)
    assert link.read(components, silent).verdict(settings, "abc") == ""
