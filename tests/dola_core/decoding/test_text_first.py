"""Text first: the trace that is recorded after the text is the one that is recorded with it."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dola_core.decoding import late_record
from dola_core.decoding.lockstep import StepOutput
from dola_core.lanes import DecodingConfig
from dola_core.models.reading.readout import Readout
from dola_core.trace.step import Step
from tests.dola_core.tiny import DECODERS, asked, engine_of, hooks_on, prompt, texts, tiny

GREEDY = DecodingConfig(max_new_tokens=8)
COMPARISON = asked(prompt(7), DECODERS[:2], GREEDY)


@pytest.fixture(scope="module", params=["llama", "llama-tied", "gpt2", "gemma2", "granite", "mistral"])
def engine(request):
    return engine_of(Readout.of(tiny(request.param)), eos_ids=[7])


@pytest.fixture(scope="module")
def llama():
    return engine_of(Readout.of(deepcopy(tiny("llama"))), eos_ids=[7])


def text_of(outputs: Sequence[StepOutput]) -> list[StepOutput]:
    """What there is of the text, without records."""
    return [replace(one, steps=(), pending=0) for one in outputs if one.tokens or one.ends or one.read]


def steps_of(outputs: Iterable[StepOutput]) -> list[Step]:
    """The records, in their order."""
    return [step for one in outputs for step in one.steps]


def assert_same_steps(late: Sequence[Step], usual: Sequence[Step]) -> None:
    """The same records, of numbers that come from a product of other rows, within 1e-5."""
    assert len(late) == len(usual)
    for step, own in zip(late, usual, strict=True):
        assert (step.index, step.reading, step.lanes, step.taken) == (own.index, own.reading, own.lanes, own.taken)
        assert [(c.id, c.rank, c.layer) for c in step.choices] == [(c.id, c.rank, c.layer) for c in own.choices]
        assert step.tokens.tolist() == own.tokens.tolist()
        assert step.exact_alpha == pytest.approx(own.exact_alpha, rel=1e-4)
        np.testing.assert_array_equal(step.noise, own.noise)
        np.testing.assert_allclose(step.exact_log_q, own.exact_log_q, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(step.closeness, own.closeness, atol=1e-5)
        for name in ("jsd", "layer_entropy", "top_p"):  # kept in two bytes
            np.testing.assert_allclose(getattr(step, name), getattr(own, name), rtol=2e-3, atol=1e-5)


@settings(max_examples=15, phases=(Phase.explicit, Phase.generate))
@given(
    lanes=st.lists(st.sampled_from(DECODERS), min_size=1, max_size=4),
    config=st.builds(
        DecodingConfig,
        max_new_tokens=st.integers(1, 9),
        temperature=st.sampled_from([0.0, 0.9]),
        top_p=st.sampled_from([1.0, 0.8]),
        repetition_penalty=st.sampled_from([1.0, 1.3]),
        penalty_position=st.sampled_from(["before", "after"]),
        stop=st.sampled_from([(), ("t5",)]),
    ),
    ids=st.builds(prompt, st.integers(1, 15), st.integers(0, 5)),
    together=st.booleans(),
    bytes_kept=st.sampled_from([0, 30_000, late_record.MOST_BYTES]),
)
def test_the_record_is_the_same(engine, lanes, config, ids, together, bytes_kept):
    comparison = asked(ids, lanes, config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(late_record, "MOST_BYTES", bytes_kept)
        late = list(engine.compare(comparison, text_first=True, together=together, chunk=4))
    usual = list(engine.compare(comparison, chunk=4))
    assert text_of(late) == text_of(usual)
    assert_same_steps(steps_of(late), steps_of(usual))
    assert late[-1].pending == 0
    assert engine.scheduler.wait(10)


def test_the_text_comes_before_its_record(llama):
    outputs = list(llama.compare(COMPARISON, text_first=True))
    written = [bool(one.tokens) for one in outputs]
    assert written == sorted(written, reverse=True)
    assert [bool(one.steps) for one in outputs] == [not one for one in written]
    assert [one.pending for one in outputs] == [*range(1, 9), *range(7, -1, -1)]


def test_while_text_comes_only_what_lanes_choose_by_is_read(llama):
    sizes = []
    hook = llama.loaded.readout.phi.register_forward_hook(lambda module, args, output: sizes.append(len(output)))
    try:
        for output in llama.compare(COMPARISON, text_first=True):
            if output.tokens and not output.ends:
                assert sizes[-1] <= 3, "two rows of the last layer, and one of layer 22"
    finally:
        hook.remove()
    assert max(sizes) >= 29


def test_what_is_kept_is_bounded(llama, monkeypatch):
    """Beyond the bound a step is recorded for every one that is decoded."""
    monkeypatch.setattr(late_record, "MOST_BYTES", 20_000)
    outputs = list(llama.compare(COMPARISON, text_first=True))
    most = max(one.pending for one in outputs)
    assert 1 <= most < 7
    assert sum(bool(one.steps) for one in outputs if one.tokens) == 8 - most


def gathered(outputs: Iterable[StepOutput], into: list[StepOutput]) -> None:
    into.extend(outputs)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("after", [1, 3, 7])
def test_a_stop_loses_no_step(llama, together, after):
    whole, outputs = steps_of(llama.compare(COMPARISON)), list[StepOutput]()

    def stopped() -> bool:
        return sum(bool(one.tokens) for one in outputs) >= after

    gathered(llama.compare(COMPARISON, text_first=True, together=together, stopped=stopped), outputs)
    text, steps = text_of(outputs), steps_of(outputs)
    assert after <= len(text)
    assert len(text) < 8 or together, "together, some steps may be decoded before it is known"
    assert_same_steps(steps, whole[: len(steps)])
    assert {step.index for step in steps} == set(range(len(text)))


@pytest.mark.parametrize("together", [False, True])
def test_an_error_is_raised_when_all_that_was_decoded_is_recorded(llama, together):
    whole, outputs, passes = steps_of(llama.compare(COMPARISON)), list[StepOutput](), []

    def fail(*_):
        passes.append(1)
        if len(passes) > 4:
            raise MemoryError("no memory for a fifth pass")

    hook = llama.loaded.readout.blocks[9].register_forward_pre_hook(fail)
    try:
        with pytest.raises(MemoryError):
            gathered(llama.compare(COMPARISON, text_first=True, together=together), outputs)
    finally:
        hook.remove()
    steps = steps_of(outputs)
    assert len(text_of(outputs)) == 4
    assert_same_steps(steps, whole[: len(steps)])
    assert outputs[-1].pending == 0
    assert {step.index for step in steps} == set(range(4))


def test_an_error_while_it_is_recorded_is_raised(llama, monkeypatch):
    def fail(self, step, read):
        raise MemoryError("no memory for all layers")

    monkeypatch.setattr(late_record.ReadLater, "load", fail)
    outputs = list[StepOutput]()
    with pytest.raises(MemoryError):
        gathered(llama.compare(COMPARISON, text_first=True), outputs)
    assert len(texts(outputs)[0]) == 8


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("taken", [2, 10])
def test_who_leaves_while_it_is_recorded_leaves_nothing(llama, together, taken):
    outputs = llama.compare(COMPARISON, text_first=True, together=together)
    for _ in range(taken):
        next(outputs)
    outputs.close()
    assert llama.scheduler.wait(10)
    assert hooks_on(llama.loaded.model) == 0
    assert texts(llama.compare(COMPARISON, together=together)) == texts(llama.compare(COMPARISON))


def test_states_that_are_not_finite_end_a_text_at_once(llama):
    """Not only when its layers are read."""
    passes = []

    def spoil(_module, _args, output):
        passes.append(1)
        if len(passes) < 3:
            return output
        whole = output[0] if isinstance(output, tuple) else output
        whole = whole.clone()
        whole[..., 0] = torch.inf
        return (whole, *output[1:]) if isinstance(output, tuple) else whole

    def mend(_module, args):
        return (args[0].nan_to_num(posinf=0.0), *args[1:])

    hooks = [
        llama.loaded.readout.blocks[9].register_forward_hook(spoil),
        llama.loaded.readout.blocks[10].register_forward_pre_hook(mend),
    ]
    try:
        outputs = list(llama.compare(COMPARISON, text_first=True))
    finally:
        for hook in hooks:
            hook.remove()
    text = [one for one in outputs if one.tokens or one.ends]
    assert len(text) == 3
    assert set(text[-1].ends.values()) == {"broken"}
    assert {step.index for one in outputs for step in one.steps} == {0, 1}


def test_a_text_that_lanes_are_given_is_recorded_with_what_they_would_have_chosen(llama):
    forced = {1: (prompt(5, seed=3), "length")}
    late = list(llama.compare(COMPARISON, forced=forced, text_first=True))
    usual = list(llama.compare(COMPARISON, forced=forced))
    assert text_of(late) == text_of(usual)
    assert_same_steps(steps_of(late), steps_of(usual))


def test_in_float16_which_can_overflow_all_layers_are_read_with_the_text():
    engine = engine_of(Readout.of(deepcopy(tiny("llama")).half()))
    outputs = list(engine.compare(COMPARISON, text_first=True))
    assert all(one.steps and one.tokens for one in outputs)


def test_in_bfloat16_what_lanes_chose_by_is_recorded_as_it_was():
    """Other layers may differ by the rounding of the head's product, the lanes' own choices by nothing."""
    engine = engine_of(Readout.of(deepcopy(tiny("llama")).bfloat16()))
    checked = 0
    for seed in range(6):
        comparison = asked(prompt(6, seed), DECODERS[:2], DecodingConfig(max_new_tokens=12))
        for output in engine.compare(comparison, text_first=True):
            for step in output.steps:
                for lane, token in zip(step.lanes, step.taken, strict=True):
                    assert step.choices[lane].id == token
                    if lane == 1 and step.exact_alpha <= DECODERS[1].alpha:
                        checked += 1
                        assert step.what_if(DECODERS[1], comparison.config) == token
    assert checked > 20
