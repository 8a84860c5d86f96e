"""A trace file is a stranger's input: what opens is a trace that can be shown, and all else gets one sentence."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inputs import trace_file as opening
from app.inputs.trace_file import MAX_CHARACTERS, TraceError, open_trace
from app.render.figures import (
    changed_by_layer_card,
    divergence_card,
    heat_card,
    layer_card,
    map_card,
    plausible_head_card,
)
from app.render.token_strips import token_strips
from dola_core.trace.schema import Trace
from tests.app.looking import inspecting


@pytest.fixture(scope="module")
def fresh(forked):
    """Makes the trace as plain JSON values, to be spoiled."""
    text = forked.to_json()
    return lambda: json.loads(text)


def test_a_saved_trace_opens_as_it_was(forked):
    assert open_trace(forked.to_json()).to_json() == forked.to_json()
    assert open_trace(f"\ufeff{forked.to_json()}").to_json() == forked.to_json()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "empty or no text"),
        ("", "empty or no text"),
        ("\ufeff\n", "empty or no text"),
        ("{", "not a trace"),
        ("[1, 2]", "not a trace"),
        ("null", "not a trace"),
        ('{"a": ' * 5000, "not a trace"),
        ("[" * 100_000, "not a trace"),
        ("x" * (MAX_CHARACTERS + 1), "larger than 10 MB"),
        (b"{}", "empty or no text"),
    ],
    ids=["nothing", "empty", "mark", "cut", "a list", "null", "deep", "deeper", "large", "bytes"],
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
    "another version": (lambda d: d.update(schema=3), "another version"),
    "an unknown field": (lambda d: d.update(more=1), "more"),
    "no lanes": (lambda d: d.update(lanes=[]), "not a trace"),
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
    "a token of a megabyte": (lambda d: d["pieces"].update({"0": "x" * 10**6}), "at most 1,000 characters"),
    "a hundred thousand lanes": (lambda d: d["steps"][0].update(lanes=[0] * 10**5), "lanes do not fit"),
    "one lane twice": (lambda d: d["steps"][0].update(lanes=[0, 0]), "lanes do not fit"),
    "a token twice": (lambda d: d["steps"][0].update(tokens=array([1] * 15, "<u4")), "do not fit together"),
    "a hundred thousand stop strings": (lambda d: d["decoding"].update(stop=["x"] * 10**5), "at most 8 entries"),
    "a hundred thousand bad ids": (lambda d: d.update(prompt_ids=["a"] * 10**5), "not a trace"),
    "a field with a long name": (lambda d: d.update({"x" * 10**6: 1}), "not a trace"),
    "a prompt too long to show": (
        lambda d: (d["pieces"].update({"5": "x" * 1000}), d.update(prompt_ids=[5] * 2000)), "too long to be shown"
    ),
    "a hundred thousand bad texts": (lambda d: d.update(texts=[1] * 10**5), "text 1: must be"),
    "a hundred thousand bad tokens": (lambda d: d["steps"][0].update(taken=["a"] * 10**5), "step 1, taken 1: "),
    "a hundred thousand bad choices": (lambda d: d["steps"][0].update(choices=[{}] * 10**5), "choice 1, id: is"),
    "many values": (lambda d: d.update(texts=[[]] * 10**6), "too long to be shown"),
    "many mistakes": (lambda d: d["pieces"].update({f"a{n}": 1 for n in range(2000)}), "it has 4,000 mistakes"),
    "a name of several lines": (lambda d: d.update({"a\n\nb": 1}), "a b: is not known"),
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
TEXTS = st.text(st.characters(), max_size=20)
"""Lone surrogates included."""
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2**40), st.integers(), st.floats(), TEXTS,
    st.lists(st.integers(-1, 9), max_size=4), st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
    st.binary(max_size=64).map(lambda b: base64.b64encode(b).decode()), st.just(10**400), st.just("x" * 2000),
    st.recursive(TEXTS | st.none(), lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=6),
)  # fmt: skip


@given(path=st.sampled_from(PATHS), value=VALUES)
def test_whatever_a_file_holds_it_is_shown_or_refused_in_a_sentence(fresh, path, value):
    document = fresh()
    *outer, last = path
    place = document
    for key in outer:
        place = place[key]
    place[last] = value
    shown_or_refused(json.dumps(document))


@given(path=st.sampled_from(PATHS), name=TEXTS, value=VALUES)
def test_so_it_is_where_something_is_missing_or_has_another_name(fresh, path, name, value):
    document = fresh()
    *outer, last = path
    place = document
    for key in outer:
        place = place[key]
    del place[last]
    if isinstance(place, dict):
        place[name] = value
    shown_or_refused(json.dumps(document))


@given(data=st.data())
def test_so_it_is_where_a_file_was_cut_or_overwritten(fresh, data):
    text = json.dumps(fresh())
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 50)))
    shown_or_refused(text[:start] + data.draw(TEXTS) + text[end:])


@given(text=st.one_of(TEXTS, VALUES.map(json.dumps), st.text('[]{}"\\,:0e-. \n', max_size=60)))
def test_a_file_of_anything_else_is_refused_in_a_sentence(text):
    assert shown_or_refused(text)


@given(items=st.integers(0, 40), inside=st.text('[]{},\\"x', max_size=20))
def test_a_document_has_no_more_values_than_its_punctuation_says(items, inside):
    def values(part: object) -> int:
        below = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        return 1 + sum(map(values, below))

    document = [{"a": inside, inside: [inside] * items}, *([inside, []] * items)]
    text = json.dumps(document)
    for limit in (0, 10**6):  # texts left out, and counted
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(opening, "MAX_VALUES", limit)
            most = opening.most_values(text)
        assert most >= values(document)
        assert limit or most <= 2 * values(document)


def shown_or_refused(text: str) -> str:
    """The sentence that a text is refused with; "" if it is a trace, which is then shown."""
    try:
        trace = open_trace(text)
    except TraceError as refused:
        said = str(refused)
    else:
        return shown(trace)
    assert "\n" not in said
    assert 0 < len(said) < 400
    return said


def shown(trace: Trace) -> str:
    assert isinstance(trace, Trace)
    inspection = inspecting(trace)
    token_strips(inspection)
    for card in (plausible_head_card, layer_card, divergence_card, map_card, changed_by_layer_card):
        json.dumps(card(inspection), allow_nan=False)
    json.dumps(heat_card(inspection, 1), allow_nan=False)
    return ""
