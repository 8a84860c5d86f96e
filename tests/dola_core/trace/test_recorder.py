"""How much of a comparison is recorded, so that the whole keeps its size."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dola_core.comparison import Comparison
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic, gumbel_noise
from dola_core.models.info import ModelInfo
from dola_core.models.reading.readout import Readout
from dola_core.trace.recorder import Recorder
from dola_core.trace.schema import Trace
from dola_core.trace.step_record import SHOWN, Allowance, RowLanes, record_steps
from tests.dola_core.tiny import N, engine_of, info_of, tiny

LANES = (Baseline(name="baseline"), DolaStatic(name="dola", layer=22))


class TestSize:
    @pytest.mark.parametrize(
        ("temperature", "ranks"),
        [(0.0, range(7)), (1.0, range(64, 500))],
        ids=["greedy-choices-among-the-kept", "sampled-choices-far-down"],
    )
    def test_64_steps_of_two_lanes_that_fork_at_once_fit_in_400_kilobytes(self, temperature, ranks):
        steps, vocabulary, draw = 64, 102_400, torch.Generator().manual_seed(0)
        random = np.random.default_rng(0)
        decoding = DecodingConfig(max_new_tokens=steps, temperature=temperature)
        allowance = Allowance(2 * steps)

        def row(index, lanes):
            """Recorded on 500 ids, which then become 500 random ids of the whole vocabulary."""
            log_q = (2 * torch.randn(N, 500, generator=draw)).log_softmax(-1)
            choices = log_q[-1].argsort(descending=True)[random.choice(ranks, 2, replace=False)]
            (step,) = record_steps(
                index,
                [RowLanes(tuple(lanes), tuple(int(choices[lane]) for lane in lanes))],
                allowance,
                choices=choices[None],
                scores=log_q[None, :2],
                log_q=log_q[:, None],
                ids=torch.arange(100)[None],
                noise=gumbel_noise(decoding, index, 500),
            )
            name = random.choice(np.arange(10_000, vocabulary), 500, replace=False).astype(np.uint32)
            return step.model_copy(
                update={
                    "taken": tuple(int(name[i]) for i in step.taken),
                    "choices": tuple(c.model_copy(update={"id": int(name[c.id])}) for c in step.choices),
                    "tokens": name[step.tokens],
                    "top_ids": name[step.top_ids],
                }
            )

        info = ModelInfo(name="deepseek-llm-7b-base", dtype="bfloat16", n_layers=N, vocab_size=vocabulary)
        recorder = Recorder(Comparison("word " * 100, tuple(range(100)), LANES, decoding), info)
        for index in range(steps):
            rows = [row(index, [0, 1])] if index == 0 else [row(index, [0]), row(index, [1])]
            tokens = {lane: step.taken[step.lanes.index(lane)] for step in rows for lane in step.lanes}
            recorder.add(tokens, dict.fromkeys((0, 1), "length") if index == steps - 1 else {}, rows)
        trace = recorder.trace(piece=lambda i: " piece", text=lambda ids: " piece" * len(ids))
        assert len(trace.steps) == 2 * steps - 1
        assert Trace.model_validate_json(trace.to_json()).digest == trace.digest
        assert len(trace.to_json()) <= 400_000
        whole = Trace.model_validate_json(trace.model_copy(update={"steps": trace.steps[:20]}).to_json())
        assert all(len(step.shown_ranks) == min(SHOWN, len(step.tokens)) * N for step in whole.steps)


def test_a_trace_knows_the_whole_text_before_its_steps_are_recorded():
    readout = Readout.of(tiny("llama"))
    comparison = Comparison("", (3, 1, 4), LANES, DecodingConfig(max_new_tokens=12))
    outputs = list(engine_of(readout).compare(comparison))
    recorder = Recorder(comparison, info_of(readout))
    for output in outputs:
        recorder.add(output.tokens, output.ends, ())
    texts = [[output.tokens[lane] for output in outputs if lane in output.tokens] for lane in range(2)]
    forks = []
    for output in outputs:
        recorder.add({}, {}, output.steps)
        trace = recorder.trace(piece=str, text=str)
        assert [trace.lane_ids(lane) for lane in range(2)] == texts
        assert trace.intact()
        assert trace.stopped().lane_ids(1) == texts[1]
        forks.append(trace.fork)
        read = Trace.model_validate_json(trace.to_json())
        assert [len(read.lane_ids(lane)) for lane in range(2)] == [len(trace.lane_steps(lane)) for lane in range(2)]
    assert set(forks) == {next(step.index for step in trace.steps if len(set(step.taken)) > 1)}


class TestAllowance:
    @given(st.lists(st.integers(1, 5000), min_size=1, max_size=200))
    def test_never_spends_more_than_its_mean_and_never_starves_a_step(self, head_sizes):
        allowance = Allowance(len(head_sizes))
        taken = [allowance.take(size) for size in head_sizes]
        assert sum(2 * exact + rough for exact, rough in taken) <= max(14 * len(head_sizes), 1024)
        assert all(exact >= min(size, 6) for size, (exact, _) in zip(head_sizes, taken, strict=True))
        assert all(sum(tokens) >= 6 for tokens in taken)

    def test_a_flat_step_takes_what_later_steps_can_spare(self):
        allowance = Allowance(1000)
        assert allowance.take(50) == (50, 0)
        assert allowance.take(1) == (1, SHOWN - 1)
