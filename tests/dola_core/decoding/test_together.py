"""Comparisons that are decoded together write what each of them writes alone."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dola_core.comparison import Comparison
from dola_core.decoding.engine import Engine
from dola_core.decoding.lockstep import StepOutput
from dola_core.decoding.scheduler import End, ScheduledRun, Scheduler
from dola_core.decoding.shared_batch import SharedBatch
from dola_core.files.paths import SHIPPED_MODEL
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.models.loading import load_model
from dola_core.models.reading.readout import Readout
from dola_core.trace.step import Step
from tests.dola_core.tiny import DECODERS, asked, engine_of, hooks_on, prompt, texts, tiny, tokens_read

CONFIGS = st.builds(
    DecodingConfig,
    max_new_tokens=st.integers(1, 9),
    temperature=st.sampled_from([0.0, 0.0, 0.8]),
    top_k=st.sampled_from([0, 20]),
    seed=st.integers(0, 3),
    repetition_penalty=st.sampled_from([1.0, 1.3]),
    stop=st.sampled_from([(), ("t5",)]),
)


@dataclass(frozen=True)
class Visit:
    """A comparison of one visitor, and when it comes and goes."""

    comparison: Comparison
    comes: int
    stays: int
    chunk: int | None
    record: bool
    text_first: bool = False


VISITS = st.builds(
    Visit,
    st.builds(
        asked,
        st.builds(prompt, st.integers(1, 20), st.integers(0, 5)),
        st.lists(st.sampled_from(DECODERS), min_size=1, max_size=3),
        CONFIGS,
    ),
    comes=st.integers(0, 6),
    stays=st.integers(1, 20),
    chunk=st.sampled_from([None, 3, 8]),
    record=st.booleans(),
    text_first=st.booleans(),
)


class ByHand(Scheduler):
    """A scheduler whose rounds the test begins; `run` returns the run."""

    def _start(self) -> None:
        """No thread."""

    def run(self, pace: Any, batch: Any, shared: Any, prompt_tokens: int, chunk: int | None) -> Any:
        run = ScheduledRun(pace, batch, shared, prompt_tokens, chunk or prompt_tokens)
        self.enter(run)
        return run


def outputs_of(run: ScheduledRun) -> tuple[list[StepOutput], list[End]]:
    items = []
    while not run.outputs.empty():
        items.append(run.outputs.get())
    return [one for one in items if isinstance(one, StepOutput)], [one for one in items if isinstance(one, End)]


def visited(engine: Engine, visits: Sequence[Visit]) -> list[tuple[list[StepOutput], list[End]]]:
    """What each visitor got."""
    usual, engine.scheduler = engine.scheduler, ByHand()
    runs: dict[int, Any] = {}
    for number in range(60):
        for visit in visits:
            if visit.comes == number:
                runs[id(visit)] = engine.compare(
                    visit.comparison,
                    record=visit.record,
                    chunk=visit.chunk,
                    together=True,
                    text_first=visit.text_first,
                )
            elif visit.comes + visit.stays == number:
                runs[id(visit)].abandoned = True
        engine.scheduler.round()
    engine.scheduler = usual
    return [outputs_of(runs[id(visit)]) for visit in visits]


@pytest.fixture(scope="module", params=["llama", "gpt2", "qwen3", "llama in float64"])
def engine(request):
    name, _, dtype = request.param.partition(" in ")
    model = deepcopy(tiny(name)).double() if dtype else tiny(name)
    engine = engine_of(Readout.of(model), eos_ids=[7])
    assert engine.decodes_together
    return engine


@settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.generate))  # what is drawn here shrinks slowly
@given(visits=st.lists(VISITS, min_size=1, max_size=4))
def test_each_writes_what_it_writes_alone(engine, visits):
    for visit, (mine, ends) in zip(visits, visited(engine, visits), strict=True):
        assert [end.error for end in ends] == [None]
        how = {"record": visit.record, "chunk": visit.chunk, "text_first": visit.text_first}
        alone = list(engine.compare(visit.comparison, **how))
        has_left = len(mine) < len(alone)
        assert len(mine) >= min(visit.stays // (2 + len(visits)), len(alone)) or not has_left
        for one, other in zip(mine, alone, strict=not has_left):
            assert (one.index, one.tokens, one.ends, one.read) == (other.index, other.tokens, other.ends, other.read)
            assert len(one.steps) == len(other.steps)
            for step, own in zip(one.steps, other.steps, strict=True):
                assert_same_step(step, own, rounded=engine.loaded.model.dtype is torch.float32)
    assert hooks_on(engine.loaded.model) == 0


def assert_same_step(step: Step, own: Step, *, rounded: bool) -> None:
    """The same choices, and the same numbers within 1e-4.

    Not if `rounded`: in float32, 30 layers of random weights enlarge a difference in the last bit a thousandfold.
    """
    assert (step.lanes, step.taken, [c.id for c in step.choices]) == (own.lanes, own.taken, [c.id for c in own.choices])
    if rounded:
        return
    mine, alone = (dict(zip(one.tokens.tolist(), one.log_q_table, strict=True)) for one in (step, own))
    exact = set(step.tokens[: len(step.exact_log_q)].tolist()) & set(own.tokens[: len(own.exact_log_q)].tolist())
    assert exact
    for token in exact:
        np.testing.assert_allclose(mine[token], alone[token], rtol=1e-6, atol=1e-4)
    for token in mine.keys() & alone.keys() - exact:  # kept in two bytes
        np.testing.assert_allclose(mine[token], alone[token], rtol=2e-3)
    np.testing.assert_allclose(step.closeness, own.closeness, atol=1e-4)
    for name in ("jsd", "layer_entropy", "top_p"):  # the same
        np.testing.assert_allclose(getattr(step, name), getattr(own, name), rtol=2e-3, atol=1e-4, err_msg=name)


def test_the_shipped_model_says_the_same_in_float32():
    """Three visitors who come one after the other."""
    atlas = load_model(SHIPPED_MODEL, device="cpu", dtype="float32")
    engine = Engine(atlas)
    config = DecodingConfig(max_new_tokens=12)
    prompts = ["The capital of Australia is", "Paris", "In the north of the country there is a river which"]
    visits = [
        Visit(asked(atlas.encode(text), [Baseline(), DolaStatic(layer=22)], config), number, 40, None, record=True)
        for number, text in enumerate(prompts)
    ]
    for visit, (mine, _) in zip(visits, visited(engine, visits), strict=True):
        alone = list(engine.compare(visit.comparison))
        assert [output.tokens for output in mine] == [output.tokens for output in alone]
        for one, other in zip(mine, alone, strict=True):
            for step, own in zip(one.steps, other.steps, strict=True):
                assert_same_step(step, own, rounded=False)


def together(engine: Engine, comparisons: Sequence[Comparison]) -> list[list[StepOutput] | BaseException]:
    """All comparisons at once, each from a thread of its own: what each gave, or raised."""

    def run(comparison: Comparison) -> list[StepOutput] | BaseException:
        try:
            return list(engine.compare(comparison, together=True, chunk=8))
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(comparisons)) as threads:
        return list(threads.map(run, comparisons))


COMPARISONS = [
    asked(prompt(3 + 4 * number, number), [Baseline(), DolaStatic(layer=22)], DecodingConfig(max_new_tokens=10))
    for number in range(5)
]


def test_many_threads(engine):
    for comparison, outputs in zip(COMPARISONS, together(engine, COMPARISONS), strict=True):
        assert texts(outputs) == texts(engine.compare(comparison))
    assert engine.scheduler.wait(10)
    assert hooks_on(engine.loaded.model) == 0


@contextmanager
def failing(engine: Engine, fails: Callable[[torch.Tensor], bool]) -> Iterator[None]:
    """The model fails in the middle of every pass over input ids that `fails` names."""
    seen: list[torch.Tensor] = []
    note = engine.loaded.model.get_input_embeddings().register_forward_pre_hook(lambda _, args: seen.append(args[0]))

    def fail(*_: Any) -> None:
        if fails(seen[-1]):
            raise MemoryError("no memory for these rows")

    hook = engine.loaded.readout.blocks[15].register_forward_pre_hook(fail)
    try:
        yield
    finally:
        note.remove()
        hook.remove()


def test_an_error_ends_the_run_whose_rows_raise_it(engine):
    """One of five runs reads a token at which the model fails."""
    alone = [texts(engine.compare(comparison)) for comparison in COMPARISONS]
    third = COMPARISONS[2]
    others = {token for number in (0, 1, 3, 4) for text in alone[number] for token in text}
    cursed = next((token for token in (*alone[2][0][2:], *alone[2][1][2:]) if token not in others), None)
    if cursed is None:
        pytest.skip("every token that this run writes is written by others, too")
    with failing(engine, lambda ids: ids.shape[1] == 1 and bool((ids == cursed).any())):
        found = together(engine, COMPARISONS)
    assert isinstance(found[2], MemoryError), third
    for number in (0, 1, 3, 4):
        assert texts(found[number]) == alone[number]
    assert texts(together(engine, [third])[0]) == alone[2]


def test_rows_that_are_too_many_in_all_end_the_run_that_came_last(engine):
    alone = [texts(engine.compare(comparison)) for comparison in COMPARISONS]
    with failing(engine, lambda ids: len(ids) > 6):
        found = together(engine, COMPARISONS)
    ended = [number for number, one in enumerate(found) if isinstance(one, MemoryError)]
    assert 0 < len(ended) < 5
    for number in set(range(5)) - set(ended):
        assert texts(found[number]) == alone[number]


def test_numbers_that_are_not_finite_end_their_own_run_only(engine):
    alone = [texts(engine.compare(comparison)) for comparison in COMPARISONS]

    def spoil(_module: Any, args: tuple[Any, ...], output: Any) -> Any:
        ids = args[0]
        return torch.where((ids == COMPARISONS[1].prompt_ids[0])[..., None], torch.nan, output)

    hook = engine.loaded.model.get_input_embeddings().register_forward_hook(spoil)
    try:
        found = together(engine, COMPARISONS)
    finally:
        hook.remove()
    for number, outputs in enumerate(found):
        if COMPARISONS[1].prompt_ids[0] in (*COMPARISONS[number].prompt_ids, *chain(*alone[number])):
            assert set(outputs[-1].ends.values()) == {"broken"}
        else:
            assert texts(outputs) == alone[number]


def test_an_error_that_no_run_has_made_ends_all_of_them_and_nothing_else(engine, monkeypatch):
    """Nobody waits for ever, and later runs go on."""
    with monkeypatch.context() as patch:
        patch.setattr(SharedBatch, "advance", lambda self, plans: {}[0])
        assert all(isinstance(found, KeyError) for found in together(engine, COMPARISONS))
    assert texts(together(engine, COMPARISONS[:1])[0]) == texts(engine.compare(COMPARISONS[0]))
    assert engine.scheduler.wait(10)
    assert hooks_on(engine.loaded.model) == 0


def test_who_leaves_is_out_before_the_next_round(engine):
    first = engine.compare(COMPARISONS[0], together=True)
    next(first)
    first.close()
    other = engine.compare(COMPARISONS[1], together=True)
    assert texts(other) == texts(engine.compare(COMPARISONS[1]))
    assert engine.scheduler.wait(10)


def test_what_a_run_has_read_is_kept_for_the_next(engine):
    comparison = COMPARISONS[3]
    list(engine.compare(comparison, together=True, reuse_prefix=True))
    with tokens_read(engine.loaded.readout) as read:
        list(engine.compare(comparison, together=True, reuse_prefix=True))
    assert read[0] == 1
    engine.prefix_cache.forget()


def test_of_two_that_end_together_the_shorter_one_is_kept_without_padding(engine):
    """The rows of the other are still in the cache when it leaves."""
    usual, engine.scheduler = engine.scheduler, ByHand()
    longer, shorter = COMPARISONS[4], COMPARISONS[1]
    runs: list[Any] = [engine.compare(one, together=True, reuse_prefix=True) for one in (longer, shorter)]
    while engine.running:
        engine.scheduler.round()
    engine.scheduler = usual
    [_, written] = [texts(outputs_of(run)[0]) for run in runs]
    whole = [*shorter.prompt_ids, *written[1]]
    kept = engine.prefix_cache.take(whole)
    assert kept is not None
    assert (kept.padding, kept.ids.tolist()) == ([0], [whole[:-1]])


def test_a_model_whose_rows_must_be_of_one_length_runs_by_itself():
    engine = engine_of(Readout.of(tiny("mistral")))
    assert not engine.decodes_together
    assert texts(engine.compare(COMPARISONS[0], together=True)) == texts(engine.compare(COMPARISONS[0]))
