"""A CUDA graph writes and records what lock step does without one."""

import gc
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from dola_core.decoding.compiled.static_step import StaticStep
from tests.dola_core.cuda.gpu import DECODINGS, LANES, NEEDS_GPU, furthest, on_gpu
from tests.dola_core.tiny import N, compare, prompt, recorded, texts

pytestmark = [
    *NEEDS_GPU,
    pytest.mark.xdist_group("graph"),  # compiled once
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),  # of PyTorch's compiler, about itself
]
ALL = range(1, N)


@pytest.fixture(scope="module")
def graph() -> Iterator[StaticStep]:
    """A batch whose step is compiled and recorded as a CUDA graph."""
    torch.compiler.reset()
    readout = on_gpu("llama")
    yield StaticStep(readout, rows=3, length=48)
    gc.collect()


@pytest.mark.parametrize("decoding", [name for name in DECODINGS if name != "raw"])
@pytest.mark.parametrize("seed", range(3))
def test_fixed_rows_and_a_graph_write_what_forking_rows_write(graph, seed, decoding):
    ids, config = prompt(4 + 9 * seed, seed=seed), DECODINGS[decoding]
    fixed = StaticStep(graph.readout, rows=3, length=48, compiler=lambda step: step)
    eager = texts(compare(graph.readout, ids, LANES, config))
    assert texts(compare(graph.readout, ids, LANES, config, static_step=fixed)) == eager
    assert texts(compare(graph.readout, ids, LANES, config, static_step=graph)) == eager
    assert graph._graph is not None


def test_a_graph_records_what_forking_rows_record(graph):
    ids = prompt(7)
    forking, replayed = (
        recorded(graph.readout, ids, LANES, DECODINGS["greedy"], static_step=rows) for rows in (None, graph)
    )
    assert [step.lanes for step in replayed.steps] == [step.lanes for step in forking.steps]
    for one, other in zip(replayed.steps, forking.steps, strict=True):
        assert furthest(one, other) <= 1e-4 * max(1.0, float(np.abs(other.exact_log_q).max()))


def test_a_graph_is_replayed_from_any_thread_and_after_a_comparison_that_was_abandoned(graph):
    expected = texts(compare(graph.readout, prompt(9, seed=2), LANES, DECODINGS["greedy"]))
    begun = compare(graph.readout, prompt(7), LANES, DECODINGS["greedy"], static_step=graph)
    next(begun)
    next(begun)
    begun.close()
    written = []

    def run() -> None:
        written.append(texts(compare(graph.readout, prompt(9, seed=2), LANES, DECODINGS["greedy"], static_step=graph)))

    for _ in range(3):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert written == [expected] * 3


def test_a_lane_that_ends_does_not_disturb_the_others_of_a_graph(graph):
    end = texts(compare(graph.readout, prompt(7), LANES, DECODINGS["greedy"]))[1][3]
    forking, replayed = (
        texts(compare(graph.readout, prompt(7), LANES, DECODINGS["greedy"], eos_ids={end}, static_step=rows))
        for rows in (None, graph)
    )
    assert replayed == forking
