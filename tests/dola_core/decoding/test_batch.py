"""Fixed rows write what forking ones do."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from dola_core.decoding.batch import EarlyReadout
from dola_core.decoding.compiled.static_step import StaticStep
from dola_core.lanes import Baseline, DecodingConfig, DolaDynamic, DolaStatic
from dola_core.models.reading.cached_texts import CachedTexts
from dola_core.models.reading.proof import reading_rules
from dola_core.models.reading.readout import Readout
from tests.dola_core.tiny import CONFIGS, compare, prepared, prompt, recorded, texts, tiny

LANES = (Baseline(name="baseline"), DolaStatic(name="dola", layer=22), DolaStatic(name="low", layer=3, alpha=0.05))
DECODINGS = [
    DecodingConfig(max_new_tokens=8),
    DecodingConfig(max_new_tokens=8, repetition_penalty=1.3, penalty_position="after"),
    DecodingConfig(max_new_tokens=8, temperature=0.9, top_k=30, seed=3),
]


@pytest.fixture(scope="module")
def readout():
    """A model of its own: `transformers` leaves hooks on a model that was asked for its hidden states."""
    return Readout.of(deepcopy(tiny("llama")))


@pytest.fixture(scope="module")
def static(readout):
    """Rows whose step runs as it is."""
    return StaticStep(readout, rows=3, length=32, compiler=lambda step: step)


@pytest.mark.parametrize("decoding", DECODINGS, ids=["greedy", "penalty", "sampled"])
@pytest.mark.parametrize("seed", range(3))
def test_every_lane_writes_what_it_writes_in_forking_rows(readout, static, decoding, seed):
    """The same rows again and again, after texts of other lengths."""
    ids = prompt(4 + 5 * seed, seed=seed)
    assert texts(compare(readout, ids, LANES, decoding, static_step=static)) == texts(
        compare(readout, ids, LANES, decoding)
    )


def test_the_record_is_the_same(readout, static):
    forking, fixed = (recorded(readout, prompt(7), LANES, DECODINGS[0], static_step=rows) for rows in (None, static))
    assert fixed.digest == forking.digest
    assert len(fixed.steps) == len(forking.steps) < 3 * 8  # stored once per text
    for one, other in zip(fixed.steps, forking.steps, strict=True):
        assert (one.lanes, one.taken) == (other.lanes, other.taken)
        torch.testing.assert_close(torch.tensor(one.exact_log_q), torch.tensor(other.exact_log_q), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("lanes", "config"),
    [
        (LANES, {"early_norm": False}),
        ((DolaStatic(layer=4), DolaStatic(layer=9, early_norm=False)), {}),
        ((Baseline(), DolaDynamic(bucket="high"), DolaStatic(layer=4)), {}),
        ((DolaDynamic(bucket="2-9"), DolaDynamic(bucket="low", early_norm=False)), {"repetition_penalty": 1.2}),
        ((DolaStatic(layer=15),), {}),
    ],
    ids=["raw", "one raw", "dynamic", "dynamic, one raw", "one lane"],
)
@pytest.mark.parametrize("how", [{"record": False}, {}, {"text_first": True}], ids=["no trace", "trace", "text first"])
def test_whatever_lanes_read_is_read_by_fixed_rows_too(readout, static, lanes, config, how):
    """In the step where each lane reads one layer at most, else from its states."""
    config = DecodingConfig(max_new_tokens=8, **config)
    outputs = [list(compare(readout, prompt(6), lanes, config, static_step=rows, **how)) for rows in (None, static)]
    forking, fixed = outputs
    assert texts(fixed) == texts(forking)
    steps = [[step for output in one for step in output.steps] for one in outputs]
    assert len(steps[0]) == len(steps[1])
    assert bool(steps[0]) == how.get("record", True)
    for one, other in zip(*steps, strict=True):
        assert (one.lanes, one.taken, one.choices[0].id) == (other.lanes, other.taken, other.choices[0].id)
        np.testing.assert_allclose(one.exact_log_q, other.exact_log_q, atol=1e-3, rtol=1e-3)


def test_lanes_that_end_do_not_disturb_the_others(readout, static):
    written = texts(compare(readout, prompt(7), LANES, DECODINGS[0]))
    end = written[1][3]  # where the second lane ends, and perhaps others
    forking, fixed = (
        texts(compare(readout, prompt(7), LANES, DECODINGS[0], eos_ids={end}, static_step=rows))
        for rows in (None, static)
    )
    assert fixed == forking != written


def test_the_step_compiles_in_one_piece_and_once(readout):
    compiled = []

    def backend(graph, _inputs):
        compiled.append(graph)
        return graph.forward

    torch.compiler.reset()
    rows = StaticStep(
        readout, rows=3, length=32,
        compiler=lambda step: torch.compile(step, backend=backend, fullgraph=True, dynamic=False),
    )  # fmt: skip
    for seed in range(2):
        ids = prompt(5 + seed, seed=seed)
        fixed = texts(compare(readout, ids, LANES, DECODINGS[0], record=False, static_step=rows))
        assert fixed == texts(compare(readout, ids, LANES, DECODINGS[0], record=False))
    assert len(compiled) == 1


def test_on_a_cpu_the_step_is_compiled_with_reordered_weights(tmp_path, monkeypatch):
    """PyTorch's compiler is asked by settings that have no public name; it says so here should they change."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()
    config = CONFIGS["llama"]()
    config.num_hidden_layers = 2
    torch.manual_seed(0)
    readout = Readout.of(prepared(AutoModelForCausalLM.from_config(config, dtype=torch.float32)))
    rows, lanes = StaticStep(readout, rows=2, length=24), (Baseline(), DolaStatic(layer=1))
    config = DecodingConfig(max_new_tokens=8)
    eager = texts(compare(readout, prompt(5), lanes, config))
    assert texts(compare(readout, prompt(5), lanes, config, static_step=rows, text_first=True)) == eager
    begun = CachedTexts(readout, torch.tensor([prompt(5)]), reading_rules(readout))
    begun.read()
    read = []
    for _ in range(2):
        rows.take_over(begun.caches[0])
        read.append(rows.read(torch.tensor([[4], [5]]), [None, EarlyReadout(1, True)])[0].clone())
        for block in readout.blocks:
            block.mlp.gate_proj.weight.data.neg_()
    assert torch.equal(*read), "the compiled step has weights of its own"


def test_rows_that_do_not_suit_are_not_used(readout):
    def never(step):
        def refuse(*inputs):
            raise AssertionError

        return refuse

    rows = StaticStep(readout, rows=3, length=12, compiler=never)
    long, short = DecodingConfig(max_new_tokens=8), DecodingConfig(max_new_tokens=2)
    with_embeddings = DolaDynamic(bucket="0-8")
    for lanes, decoding in ((LANES, long), ((*LANES, LANES[0]), short), ((LANES[0], with_embeddings), short)):
        assert texts(compare(readout, prompt(7), lanes, decoding, static_step=rows))
    with pytest.raises(AssertionError):
        texts(compare(readout, prompt(7), LANES, DecodingConfig(max_new_tokens=2), static_step=rows))


def test_an_abandoned_comparison_leaves_the_rows_ready(readout, static):
    begun = compare(readout, prompt(7), LANES, DECODINGS[0], static_step=static)
    next(begun)
    next(begun)
    begun.close()
    assert texts(compare(readout, prompt(9, seed=2), LANES, DECODINGS[0], static_step=static)) == texts(
        compare(readout, prompt(9, seed=2), LANES, DECODINGS[0])
    )
