"""The trace as a JSON document: it comes back as it was, and what is no trace is refused."""

import base64
import json
import math

import numpy as np
import pytest
from pydantic import ValidationError

from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.trace.schema import Trace
from dola_core.trace.step import Step
from tests.dola_core.tiny import V, prompt, recorded

PROMPT = prompt(7)
LANES = (Baseline(name="baseline"), DolaStatic(name="dola", layer=22))


@pytest.fixture(scope="module")
def document(trace):
    """A fresh copy of the trace as plain JSON values."""
    return lambda: json.loads(trace.to_json())


def array(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype)


def encoded(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()


class TestJson:
    def test_reading_what_was_written_gives_the_same_trace(self, trace):
        again = Trace.model_validate_json(trace.to_json())
        assert again.to_json() == trace.to_json()
        for one, other in zip(trace.steps, again.steps, strict=True):
            for name in Step.model_fields:
                left, right = getattr(one, name), getattr(other, name)
                assert type(left) is type(right)
                assert np.array_equal(left, right), name
                assert getattr(left, "dtype", None) == getattr(right, "dtype", None)

    def test_numbers_that_choices_compare_survive_to_the_last_bit(self, trace):
        again = Trace.model_validate_json(trace.to_json())
        for one, other in zip(trace.steps, again.steps, strict=True):
            assert one.log_q.tobytes() == other.log_q.tobytes()
            assert one.noise.tobytes() == other.noise.tobytes()
            assert len(one.noise) == len(one.exact_log_q)

    def test_the_document_names_its_schema(self, document):
        assert document()["schema"] == 2

    def test_a_greedy_trace_goes_both_ways_too(self, readout):
        trace = recorded(readout, PROMPT, LANES, DecodingConfig(max_new_tokens=2))
        assert Trace.model_validate_json(trace.to_json()).to_json() == trace.to_json()
        assert len(trace.steps[0].noise) == 0

    def test_arrays_cannot_be_changed(self, trace):
        with pytest.raises(ValueError, match="read-only"):
            trace.steps[0].log_q[0] = 0.0


def put(document, path, value):
    *parents, last = path
    for key in parents:
        document = document[key]
    document[last] = value


STEP = ("steps", 0)


class TestSpoiledDocuments:
    @pytest.mark.parametrize(
        ("path", "value"),
        [
            (("extra",), 1),
            ((*STEP, "extra"), 1),
            ((*STEP, "choices", 0, "extra"), 1),
            (("lanes", 0, "extra"), 1),
            (("model", "extra"), 1),
            (("decoding", "extra"), 1),
            (("schema",), 3),
            (("schema",), 0),
            (("schema",), None),
            (("ends", 0), "bored"),
            (("lanes", 1, "layer"), 30),
            (("decoding", "temperature"), -1.0),
            ((*STEP, "choices", 0, "p"), 1.5),
            ((*STEP, "choices", 0, "p"), math.nan),
            ((*STEP, "choices", 0, "entropy"), math.nan),
            ((*STEP, "choices", 0, "entropy"), math.inf),
            ((*STEP, "choices", 0, "rank"), 0),
            ((*STEP, "choices", 0, "id"), V),
            ((*STEP, "exact_alpha"), 0.001),
            ((*STEP, "exact_alpha"), math.nan),
            ((*STEP, "exact_alpha"), math.inf),
            ((*STEP, "lanes"), [0, 5]),
            ((*STEP, "reading"), 1),
            ((*STEP, "reading"), -1),
            ((*STEP, "taken"), [1]),
            ((*STEP, "taken"), [V, V]),
            ((*STEP, "choices"), []),
            ((*STEP, "tokens"), ""),
            ((*STEP, "tokens"), "not base64!"),
            (("texts",), ["one"]),
            (("chat",), {"system": 3}),
            (("chat",), {"more": "x"}),
            (("chat",), {"template_arguments": {"x": [1]}}),
            (("begun",), None),
            (("ends",), []),
            (("prompt_ids", 0), V),
            (("prompt_ids", 0), -1),
            (("model", "n_layers"), 29),
            (("model", "vocab_size"), 50),
        ],
        ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else repr(value),
    )
    def test_a_document_with_a_wrong_value_is_refused(self, document, path, value):
        changed = document()
        put(changed, path, value)
        with pytest.raises(ValidationError):
            Trace.model_validate_json(json.dumps(changed))

    @pytest.mark.parametrize(
        "field", ["tokens", "log_q", "noise", "top_ids", "top_p", "jsd", "layer_entropy", "ranks", "shown_ranks"]
    )
    def test_arrays_cut_off_too_short_or_too_long_are_refused(self, document, field):
        whole = base64.b64decode(document()["steps"][0][field])
        for raw in (whole[:-1], whole[: len(whole) // 2], whole[:-4], whole + whole[:4]):
            changed = document()
            changed["steps"][0][field] = base64.b64encode(raw).decode()
            with pytest.raises(ValidationError):
                Trace.model_validate_json(json.dumps(changed))

    @pytest.mark.parametrize("field", ["log_q", "noise", "top_p", "jsd", "layer_entropy"])
    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_numbers_that_are_not_finite_are_refused(self, document, field, bad):
        changed = document()
        values = array(changed["steps"][0][field], "<f4" if field in ("log_q", "noise") else "<f2").copy()
        values[3] = bad
        changed["steps"][0][field] = encoded(values)
        with pytest.raises(ValidationError, match="not finite"):
            Trace.model_validate_json(json.dumps(changed))

    @pytest.mark.parametrize("field", ["tokens", "top_ids"])
    def test_ids_outside_the_vocabulary_are_refused(self, document, field):
        changed = document()
        values = array(changed["steps"][0][field], "<u4").copy()
        values[2] = V
        changed["steps"][0][field] = encoded(values)
        with pytest.raises(ValidationError):
            Trace.model_validate_json(json.dumps(changed))

    def test_places_of_seen_tokens_beyond_the_tokens_are_refused(self, document):
        changed = document()
        changed["steps"][0]["seen"] = encoded(np.array([99], "<u4"))
        with pytest.raises(ValidationError):
            Trace.model_validate_json(json.dumps(changed))

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}"])
    def test_what_is_no_trace_is_refused(self, text):
        with pytest.raises(ValidationError):
            Trace.model_validate_json(text)
