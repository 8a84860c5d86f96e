"""A trace file is a stranger's input: what opens is a trace that can be shown, and all else gets one sentence."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.figures import head_card, heat_card, layer_card, map_card, spine_card, sweep_card
from app.opening import MAX_CHARACTERS, TraceError, open_trace
from app.strips import strips
from dola_core.trace import Trace
from tests.app.looking import looking


@pytest.fixture(scope="module")
def fresh(forked):
    """Makes the trace as plain JSON values, to be spoiled."""
    text = forked.to_json()
    return lambda: json.loads(text)


def test_a_saved_trace_opens_as_it_was(forked):
    assert open_trace(forked.to_json()).to_json() == forked.to_json()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "empty or no text"),
        ("", "empty or no text"),
        ("{", "not a trace"),
        ("[1, 2]", "not a trace"),
        ("null", "not a trace"),
        ('{"a": ' * 5000, "not a trace"),
        ("[" * 100_000, "not a trace"),
        ("x" * (MAX_CHARACTERS + 1), "larger than 10 MB"),
        (b"{}", "empty or no text"),
    ],
    ids=["nothing", "empty", "cut", "a list", "null", "deep", "deeper", "large", "bytes"],
)
def test_what_is_no_trace_gets_one_sentence(text, said):
    with pytest.raises(TraceError, match=said) as error:
        open_trace(text)
    assert str(error.value).count("\n") == 0
    assert len(str(error.value)) < 400


def array(values, kind):
    return base64.b64encode(np.array(values, kind).tobytes()).decode()


def shifted(text):
    return array(np.frombuffer(base64.b64decode(text), "<f4") + 30, "<f4")


SPOILED = {
    "another version": (lambda d: d.update(schema=2), "another version"),
    "an unknown field": (lambda d: d.update(more=1), "more"),
    "no lanes": (lambda d: d.update(lanes=[]), "not a trace"),
    "two baselines": (lambda d: d["lanes"][1].update(layer=None), "does not compare"),
    "a layer that is none": (lambda d: d["lanes"][1].update(layer=30), "layer must be"),
    "a token beyond the vocabulary": (lambda d: d["prompt_ids"].append(10**9), "outside the vocabulary"),
    "a step missing": (lambda d: d["steps"].pop(0), "none may be missing"),
    "no steps": (lambda d: d.update(steps=[]), "no steps"),
    "other tokens": (lambda d: d.update(digest="0" * 16), "damaged"),
    "an infinite number": (lambda d: d["steps"][0].update(log_q=array([np.inf] * 30, "<f4")), "not finite"),
    "a log-probability above 0": (lambda d: d["steps"][0].update(log_q=shifted(d["steps"][0]["log_q"])), "above 0"),
    "a rank of 0": (lambda d: d["steps"][0].update(ranks=array([0] * 60, "<u2")), "rank is below 1"),
    "a negative divergence": (lambda d: d["steps"][0].update(jsd=array([-1] * 30, "<f2")), "below 0"),
    "no base64": (lambda d: d["steps"][0].update(jsd="!"), "not a trace"),
    "arrays of other lengths": (lambda d: d["steps"][0].update(top_p=array([0.5], "<f2")), "do not fit together"),
    "a lane too many": (lambda d: d["texts"].append("x"), "for every lane"),
    "a probability of 2": (lambda d: d["steps"][0]["choices"][0].update(p=2), "not a trace"),
    "not a number": (lambda d: d["decoding"].update(temperature=float("nan")), "not a trace"),
    "sampled, but without noise": (lambda d: d["decoding"].update(temperature=1.0), "hold noise"),
    "more steps than asked for": (lambda d: d["decoding"].update(max_new_tokens=1), "more steps than were asked for"),
    "a name of a megabyte": (lambda d: d["lanes"][0].update(name="x" * 10**6), "at most 100 characters"),
    "a token of a megabyte": (lambda d: d["pieces"].update({"0": "x" * 10**6}), "at most 1000 characters"),
    "a million lanes": (lambda d: d["steps"][0].update(lanes=[0] * 10**6), "lanes do not fit"),
    "one lane twice": (lambda d: d["steps"][0].update(lanes=[0, 0]), "lanes do not fit"),
    "a token twice": (lambda d: d["steps"][0].update(tokens=array([1] * 15, "<u4")), "do not fit together"),
    "a million stop strings": (lambda d: d["decoding"].update(stop=["x"] * 10**6), "at most 8 items"),
    "a million bad ids": (lambda d: d.update(prompt_ids=["a"] * 10**6), "not a trace"),
    "a field with a long name": (lambda d: d.update({"x" * 10**6: 1}), "not a trace"),
    "a prompt too long to show": (
        lambda d: (d["pieces"].update({"5": "x" * 1000}), d.update(prompt_ids=[5] * 2000)), "too long to be shown"
    ),
    "too many tokens asked for": (lambda d: d["decoding"].update(max_new_tokens=10**9), "not a trace"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_trace_gets_one_sentence_that_says_what_is_wrong(fresh, name):
    document = fresh()
    spoil, said = SPOILED[name]
    spoil(document)
    with pytest.raises(TraceError, match=said) as error:
        open_trace(json.dumps(document))
    assert str(error.value).count("\n") == 0


PATHS = (
    ("prompt",), ("prompt_ids",), ("lanes",), ("lanes", 1, "alpha"), ("lanes", 1, "name"), ("decoding", "top_k"),
    ("decoding", "temperature"), ("steps",), ("steps", 0, "tokens"), ("steps", 0, "log_q"),
    ("steps", 0, "rough_log_q"), ("steps", 0, "noise"), ("steps", 0, "seen"), ("steps", 0, "choices"),
    ("steps", 0, "choices", 0, "id"), ("steps", 0, "exact_alpha"), ("steps", 0, "lanes"), ("steps", 0, "taken"),
    ("steps", 0, "top_ids"), ("texts",), ("ends",), ("pieces",), ("model", "n_layers"), ("model", "vocab_size"),
    ("model", "name"), ("digest",),
)  # fmt: skip
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2**40), st.floats(), st.text(max_size=20),
    st.lists(st.integers(-1, 9), max_size=4), st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
    st.binary(max_size=64).map(lambda b: base64.b64encode(b).decode()),
)  # fmt: skip


@given(path=st.sampled_from(PATHS), value=VALUES)
def test_whatever_a_file_holds_it_is_shown_or_refused_in_a_sentence(fresh, path, value):
    document = fresh()
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    try:
        trace = open_trace(json.dumps(document))
    except TraceError as refused:
        sentence = str(refused)
    else:
        sentence = ""
    assert len(sentence) < 400
    if sentence:
        return
    assert isinstance(trace, Trace)
    view = looking(trace)
    strips(trace, view)
    for card in (head_card, layer_card, spine_card, map_card, sweep_card):
        json.dumps(card(trace, view), allow_nan=False)
    json.dumps(heat_card(trace, 1, view), allow_nan=False)
