"""The engine: the public `compare` drains it, and a model is compiled on demand or refused in a sentence."""

from copy import deepcopy

import pytest

from dola_core.comparison import Comparison
from dola_core.decoding.batch import EarlyReadout
from dola_core.decoding.compiled import static_step
from dola_core.decoding.compiled.static_batch import StaticBatch
from dola_core.decoding.engine import COMPILED_LENGTH_ON_CPU, Engine, compare
from dola_core.errors import PromptError, UnsupportedModelError
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.models.loading import load_model
from dola_core.models.reading.readout import Readout
from dola_core.trace.recorder import Recorder
from tests.dola_core.tiny import N, engine_of, tiny

LANES = (Baseline(name="baseline"), DolaStatic(name="dola", layer=22))
GREEDY = DecodingConfig(max_new_tokens=6)


@pytest.fixture(scope="module")
def loaded():
    return load_model(device="cpu", dtype="float32")


def test_compare_records_what_the_steps_of_an_engine_say(loaded):
    prompt = "The capital of Australia is"
    comparison = Comparison(prompt, tuple(loaded.encode(prompt)), LANES, GREEDY)
    recorder = Recorder(comparison, loaded.info)
    for output in Engine(loaded).compare(comparison):
        recorder.add(output.tokens, output.ends, output.steps)
    trace = compare(loaded, prompt, LANES, GREEDY)
    assert trace.to_json() == recorder.trace(loaded.piece, loaded.text).to_json()
    assert trace.lanes == LANES
    assert None not in trace.ends


def test_compare_decodes_greedily_unless_it_is_told_otherwise(loaded):
    assert compare(loaded, "The capital of Peru is", LANES).decoding == DecodingConfig()


@pytest.mark.parametrize(("prompt", "chat"), [("", False), (" ", False), ("Why?", True)])
def test_a_prompt_that_cannot_be_completed_is_refused_at_once(loaded, prompt, chat):
    with pytest.raises(PromptError):
        compare(loaded, prompt, LANES, chat=chat)


def test_an_empty_continuation_cannot_be_forced(readout):
    engine = engine_of(readout)
    with pytest.raises(ValueError, match="at least one token"):
        engine.compare(Comparison("", (1, 2), LANES, GREEDY), forced={0: ((), "eos")})


def test_no_prefix_is_kept_unless_it_is_to_be_used_again(readout):
    engine, comparison = engine_of(readout), Comparison("", (1, 2, 3), LANES, GREEDY)
    list(engine.compare(comparison))
    assert engine.prefix_cache.take((1, 2, 3)) is None
    list(engine.compare(comparison, reuse_prefix=True))
    assert engine.prefix_cache.take((1, 2, 3)) is not None
    list(engine.compare(comparison, reuse_prefix=True))
    engine.release()
    assert engine.prefix_cache.take((1, 2, 3)) is None


def test_a_model_is_compiled_on_demand_and_says_so(loaded, monkeypatch):
    monkeypatch.setattr(static_step, "compiled", lambda step, device: step)
    engine = Engine(loaded, compiled=True)
    assert engine.label == f"{loaded.label} · compiled"
    length = min(COMPILED_LENGTH_ON_CPU, loaded.readout.context_length)
    every_layer = [EarlyReadout(layer, True) for layer in range(1, N)]
    assert StaticBatch.suits(engine.static_step, every_layer, 2, length)
    assert not StaticBatch.suits(engine.static_step, every_layer, 2, length + 1)
    assert not StaticBatch.suits(engine.static_step, every_layer, 3, length)
    assert not StaticBatch.suits(engine.static_step, [EarlyReadout(0, True)], 2, length), "embeddings are not read"
    assert StaticBatch.suits(engine.static_step, [EarlyReadout(22, False)], 1, length)
    plain = Engine(loaded)
    assert plain.static_step is None
    assert plain.label == loaded.label


def test_a_model_that_cannot_be_compiled_is_refused_in_a_sentence(readout, monkeypatch):
    engine = engine_of(Readout.of(tiny("mistral")))
    with pytest.raises(UnsupportedModelError, match="start without --compile"):
        Engine(engine.loaded, compiled=True)
    fails = RuntimeError("No working C++ compiler found.\nSet this and that.")

    def failing(step, device):
        def fail(*inputs):
            raise fails

        return fail

    for compiled, said in (
        (failing, r"cannot be compiled: No working C\+\+ compiler found\.; start without --compile"),
        (lambda step, device: lambda *inputs: (-step(*inputs)[0], None), "gives other numbers; start without"),
    ):
        monkeypatch.setattr(static_step, "compiled", compiled)
        own = Readout.of(deepcopy(readout.model))  # `transformers` leaves hooks on it
        with pytest.raises(UnsupportedModelError, match=said):
            Engine(engine_of(own).loaded, compiled=True)
    monkeypatch.setattr(readout.model, "hf_device_map", {"model": 0, "lm_head": 1}, raising=False)
    with pytest.raises(UnsupportedModelError, match="several devices"):
        Engine(engine_of(readout).loaded, compiled=True)
