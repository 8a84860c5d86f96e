"""Fixed rows write what forking ones do."""

from copy import deepcopy

import pytest
import torch

from dola_core.decoding.static_batch import StaticBatch
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.models.reading.readout import Readout
from tests.dola_core.tiny import N, compare, prompt, recorded, texts, tiny

LANES = (Baseline(name="baseline"), DolaStatic(name="dola", layer=22), DolaStatic(name="low", layer=3, alpha=0.05))
DECODINGS = [
    DecodingConfig(max_new_tokens=8),
    DecodingConfig(max_new_tokens=8, repetition_penalty=1.3, penalty_position="after"),
    DecodingConfig(max_new_tokens=8, temperature=0.9, top_k=30, seed=3),
]
ALL = range(1, N)


@pytest.fixture(scope="module")
def readout():
    """A model of its own: `transformers` leaves hooks on a model that was asked for its hidden states."""
    return Readout.of(deepcopy(tiny("llama")))


@pytest.fixture(scope="module")
def static(readout):
    """Rows whose step runs as it is."""
    return StaticBatch(readout, ALL, lanes=3, length=32, compiler=lambda step: step)


@pytest.mark.parametrize("decoding", DECODINGS, ids=["greedy", "penalty", "sampled"])
@pytest.mark.parametrize("seed", range(3))
def test_every_lane_writes_what_it_writes_in_forking_rows(readout, static, decoding, seed):
    """The same rows again and again, after texts of other lengths."""
    ids = prompt(4 + 5 * seed, seed=seed)
    assert texts(compare(readout, ids, LANES, decoding, static_batch=static)) == texts(
        compare(readout, ids, LANES, decoding)
    )


def test_the_record_is_the_same(readout, static):
    forking, fixed = (recorded(readout, prompt(7), LANES, DECODINGS[0], static_batch=rows) for rows in (None, static))
    assert fixed.digest == forking.digest
    assert len(fixed.steps) == len(forking.steps) < 3 * 8  # stored once per text
    for one, other in zip(fixed.steps, forking.steps, strict=True):
        assert (one.lanes, one.taken) == (other.lanes, other.taken)
        torch.testing.assert_close(torch.tensor(one.exact_log_q), torch.tensor(other.exact_log_q), atol=1e-4, rtol=1e-4)


def test_lanes_that_end_do_not_disturb_the_others(readout, static):
    written = texts(compare(readout, prompt(7), LANES, DECODINGS[0]))
    end = written[1][3]  # where the second lane ends, and perhaps others
    forking, fixed = (
        texts(compare(readout, prompt(7), LANES, DECODINGS[0], eos_ids={end}, static_batch=rows))
        for rows in (None, static)
    )
    assert fixed == forking != written


def test_the_step_compiles_in_one_piece_and_once(readout):
    compiled = []

    def backend(graph, _inputs):
        compiled.append(graph)
        return graph.forward

    torch.compiler.reset()
    rows = StaticBatch(
        readout, [22, 3], lanes=3, length=32,
        compiler=lambda step: torch.compile(step, backend=backend, fullgraph=True, dynamic=False),
    )  # fmt: skip
    for seed in range(2):
        ids = prompt(5 + seed, seed=seed)
        fixed = texts(compare(readout, ids, LANES, DECODINGS[0], record=False, static_batch=rows))
        assert fixed == texts(compare(readout, ids, LANES, DECODINGS[0], record=False))
    assert len(compiled) == 1


def test_rows_that_do_not_suit_are_not_used(readout):
    def never(step):
        def refuse(ids):
            raise AssertionError

        return refuse

    rows = StaticBatch(readout, ALL, lanes=3, length=12, compiler=never)
    long, few, raw = DecodingConfig(max_new_tokens=8), LANES[:2], DecodingConfig(max_new_tokens=2, early_norm=False)
    for lanes, decoding in ((LANES, long), (few, DecodingConfig(max_new_tokens=2)), (LANES, raw)):
        assert texts(compare(readout, prompt(7), lanes, decoding, static_batch=rows))
    with pytest.raises(AssertionError):
        texts(compare(readout, prompt(7), LANES, DecodingConfig(max_new_tokens=2), static_batch=rows))


def test_an_abandoned_comparison_leaves_the_rows_ready(readout, static):
    begun = compare(readout, prompt(7), LANES, DECODINGS[0], static_batch=static)
    next(begun)
    next(begun)
    begun.close()
    assert texts(compare(readout, prompt(9, seed=2), LANES, DECODINGS[0], static_batch=static)) == texts(
        compare(readout, prompt(9, seed=2), LANES, DECODINGS[0])
    )
