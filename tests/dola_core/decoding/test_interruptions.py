"""What may end a comparison early: a prompt that is abandoned while it is read, and numbers that are none."""

import copy
from contextlib import contextmanager

import pytest
import torch

from dola_core.decoding.compiled.static_step import StaticStep
from dola_core.decoding.prefix_cache import PrefixCache
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.models.reading.readout import Readout
from dola_core.trace.recorder import Recorder
from dola_core.trace.schema import Trace
from tests.dola_core.tiny import asked, compare, hooks_on, info_of, prompt, texts, tiny, tokens_read

LANES = (Baseline(name="baseline"), DolaStatic(name="dola", layer=3))
GREEDY = DecodingConfig(max_new_tokens=8)
PROMPT = prompt(23, seed=4)


@pytest.fixture(scope="module")
def readout():
    return Readout.of(copy.deepcopy(tiny("llama")))


@pytest.fixture(scope="module")
def static():
    """A model whose rows are fixed: it keeps hooks of `transformers`."""
    return Readout.of(copy.deepcopy(tiny("llama")))


@contextmanager
def spoiled(module, value: float, from_call: int):
    """Something in what `module` returns is `value` from a call on."""
    calls = []

    def spoil(_module, _inputs, output):
        calls.append(1)
        if len(calls) > from_call:
            output = output.clone()
            output.flatten()[5] = value
        return output

    hook = module.register_forward_hook(spoil)
    try:
        yield
    finally:
        hook.remove()


@pytest.mark.parametrize("chunk", [1, 5, 22, 23, 100, None])
@pytest.mark.parametrize("fixed", [False, True])
def test_a_prompt_read_in_parts_is_completed_the_same(readout, static, chunk, fixed):
    readout = static if fixed else readout
    rows = StaticStep(readout, rows=2, length=40, compiler=lambda step: step) if fixed else None
    whole = texts(compare(readout, PROMPT, LANES, GREEDY))
    with tokens_read(readout) as read:
        advances = list(compare(readout, PROMPT, LANES, GREEDY, chunk=chunk, static_step=rows))
    assert texts(advances) == whole
    told = [advance.read for advance in advances if advance.read]
    parts = read[: len(told) + 1]
    assert sum(parts) == len(PROMPT)
    assert max(parts) <= (chunk or len(PROMPT))
    assert told == [sum(parts[: number + 1]) for number in range(len(told))]
    assert not any(advance.tokens or advance.ends or advance.steps for advance in advances if advance.read)


def test_what_is_remembered_is_not_read_again_in_parts_either(readout):
    cache = PrefixCache()
    written = texts(compare(readout, PROMPT, LANES, GREEDY, prefix_cache=cache, chunk=5))
    with tokens_read(readout) as read:
        list(compare(readout, [*PROMPT, *written[0][:4]], LANES, GREEDY, prefix_cache=cache, chunk=5))
    assert read[0] == 1


def test_a_prompt_abandoned_while_it_is_read_leaves_nothing(readout):
    cache = PrefixCache()
    with tokens_read(readout) as read:
        begun = compare(readout, PROMPT, LANES, GREEDY, prefix_cache=cache, chunk=4)
        assert next(begun).read == 4
        begun.close()
    assert read == [4]
    assert hooks_on(readout.model) == 0
    assert cache.take(PROMPT) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("step", [0, 1, 3])
def test_numbers_that_are_none_end_every_lane_with_what_it_has(readout, value, record, step):
    whole = texts(compare(readout, PROMPT, LANES, GREEDY, record=record))
    recorder = Recorder(asked(PROMPT, LANES, GREEDY), info_of(readout))
    with spoiled(readout.phi, value, from_call=step):
        for advance in compare(readout, PROMPT, LANES, GREEDY, record=record):
            recorder.add(advance.tokens, advance.ends, advance.steps)
    assert advance.index == step
    assert advance.ends == {0: "broken", 1: "broken"}
    assert [list(ids) for ids in recorder.ids] == [text[:step] for text in whole]
    assert texts(compare(readout, PROMPT, LANES, GREEDY, record=record)) == whole
    if record:
        trace = recorder.trace(str, str)
        assert Trace.model_validate_json(trace.to_json()).ends == ("broken", "broken")


def test_a_layer_that_is_read_but_not_used_counts_too(readout):
    with spoiled(readout.blocks[7], float("nan"), from_call=2):
        *_, last = compare(readout, PROMPT, LANES, GREEDY)
    assert set(last.ends.values()) == {"broken"}


def test_memory_that_runs_out_leaves_no_hook_and_the_next_comparison_works(readout):
    whole = texts(compare(readout, PROMPT, LANES, GREEDY))

    def run_out(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    cache = PrefixCache()
    hook = readout.blocks[9].register_forward_hook(run_out)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            list(compare(readout, PROMPT, LANES, GREEDY, prefix_cache=cache))
    finally:
        hook.remove()
    assert hooks_on(readout.model) == 0
    assert cache.take(PROMPT) is None
    assert texts(compare(readout, PROMPT, LANES, GREEDY, prefix_cache=cache)) == whole
