"""On a GPU, everything writes and records what it does on the CPU: `make gpu` runs these and the benchmark."""

from copy import deepcopy
from functools import cache

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from dola_core.decoding.beam_search import BeamResult
from dola_core.decoding.engine import Engine
from dola_core.files.paths import SHIPPED_MODEL
from dola_core.lanes import DecodingConfig, DolaDynamic, DolaStatic
from dola_core.layer_search.answers.scoring import ScoringConfig, score_items
from dola_core.layer_search.questions.file import QuestionFile
from dola_core.models.devices import out_of_memory
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.loading import load_model
from dola_core.models.reading.proof import reading_rules
from dola_core.models.reading.readout import Readout
from tests.dola_core.cuda.gpu import DECODINGS, LANES, NEEDS_GPU, furthest, on_gpu
from tests.dola_core.generation.generating import IDS, SAMPLING, dola, padded
from tests.dola_core.models.reading.families import tiny_config, tiny_family
from tests.dola_core.models.test_loading import folder
from tests.dola_core.tiny import (
    CONFIGS,
    LLAMA,
    N,
    asked,
    beam_search,
    compare,
    engine_of,
    prompt,
    recorded,
    texts,
    tiny,
)

pytestmark = NEEDS_GPU
ALL = range(1, N)


@cache
def gpu_llama() -> Readout:
    return on_gpu("llama")


@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("name", CONFIGS)
def test_lanes_write_and_record_what_they_do_on_the_cpu(name, decoding):
    """In float64, since the random models' 30 layers make much of what rounding in float32 does.

    Their norms and softmaxes stay in float32. Rounded otherwise on the CPU itself, they change a logarithm by up to
    5e-5 of the step's largest, which is 200 where layers are read raw.
    """
    ids, config = prompt(9, seed=1), DECODINGS[decoding]
    here, there = Readout.of(deepcopy(tiny(name)).double()), on_gpu(name, torch.float64)
    assert texts(compare(there, ids, LANES, config)) == texts(compare(here, ids, LANES, config))
    steps = zip(*(recorded(readout, ids, LANES, config).steps for readout in (there, here)), strict=True)
    for one, other in steps:
        assert (one.lanes, one.taken) == (other.lanes, other.taken)
        largest = np.abs(other.exact_log_q).max()
        assert furthest(one, other) <= 2e-4 * largest
        for field in ("jsd", "layer_entropy", "top_p"):  # stored in float16
            assert np.allclose(getattr(one, field), getattr(other, field), atol=1e-3 + 1e-4 * largest, rtol=2e-3), field


@pytest.mark.parametrize("how", [{}, {"num_beams": 3}, {"repetition_penalty": 1.3}, {"early_norm": False}], ids=str)
def test_generate_with_dola_static_writes_what_it_writes_on_the_cpu(how):
    ids, mask = padded(prompt(6), prompt(9, seed=1))
    on_cpu = dola(tiny("llama"), ids, attention_mask=mask, **how)
    there = dola(gpu_llama().model, ids.to("cuda"), attention_mask=mask.to("cuda"), **how)
    assert there.device.type == "cuda"
    assert there.tolist() == on_cpu.tolist()


def test_generate_with_dola_static_samples_the_same_for_one_seed():
    written = []
    for _ in range(2):
        torch.manual_seed(3)
        written.append(dola(gpu_llama().model, IDS.to("cuda"), **SAMPLING).tolist())
    assert written[0] == written[1]


def test_beams_find_what_they_find_on_the_cpu():
    config = DecodingConfig(max_new_tokens=8, num_beams=3)
    there, here = (
        [
            [beam.ids for beam in found.beams]
            for found in beam_search(r, prompt(7), LANES, config)
            if isinstance(found, BeamResult)
        ]
        for r in (gpu_llama(), Readout.of(tiny("llama")))
    )
    assert there == here
    assert len(here) == len(LANES)


@pytest.fixture(scope="module")
def shipped() -> LoadedModel:
    """The shipped model as it starts where there is a GPU."""
    return load_model(SHIPPED_MODEL)


def test_a_model_starts_on_the_gpu_in_bfloat16(shipped):
    assert next(shipped.model.parameters()).device.type == "cuda"
    assert next(shipped.model.parameters()).dtype == torch.bfloat16
    assert torch.cuda.get_device_name(0) in shipped.label


@pytest.mark.parametrize(
    "rule",
    [
        ScoringConfig(),
        ScoringConfig(post_softmax="vocabulary"),
        ScoringConfig(post_softmax="off", early_norm=False),
        ScoringConfig(apc=False),
    ],
    ids=["head", "vocabulary", "off", "apc off"],
)
def test_a_layer_search_scores_as_on_the_cpu(rule):
    items = QuestionFile.read(SHIPPED_MODEL / "validation.jsonl").items("jsonl")[:40]
    scores, lanes = (
        [],
        [one.fitted(N, tied=False) for one in (DolaDynamic(bucket="high"), DolaStatic(layer=7, alpha=0.3))],
    )
    for device in ("cuda", "cpu"):
        loaded = load_model(SHIPPED_MODEL, device=device, dtype="float32")
        batches = score_items(loaded, items, list(ALL), [0.0, 0.1, 0.5], rule, lanes=lanes)
        scored = dict(pair for batch in batches for pair in batch)
        scores.append(np.concatenate([np.concatenate([scored[i].right, scored[i].wrong]) for i in range(len(items))]))
    # A token at the border of the plausible head may fall on either side; it counts -1000 outside.
    same = np.isclose(*scores, atol=1e-3, rtol=1e-4)
    assert same.mean() > 0.999


def test_memory_that_runs_out_is_told_and_leaves_the_next_run_whole():
    torch.manual_seed(0)
    config = LlamaConfig(**LLAMA | {"max_position_embeddings": 200_000, "num_attention_heads": 4})
    readout = Readout.of(AutoModelForCausalLM.from_config(config).eval().to("cuda"))
    engine, short = engine_of(readout), asked(prompt(5), LANES[:2], DECODINGS["greedy"])
    before = texts(engine.compare(short))
    engine.release()
    held = torch.cuda.memory_reserved()
    torch.cuda.set_per_process_memory_fraction((held + 100e6) / torch.cuda.get_device_properties(0).total_memory)
    try:
        with pytest.raises(torch.OutOfMemoryError) as caught:
            texts(engine.compare(asked([5] * 120_000, LANES[:2], DECODINGS["greedy"])))
        assert out_of_memory(caught.value)
        del caught
        engine.release()
        assert texts(engine.compare(short)) == before
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"sliding_window": 4_000},
        {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4,
                             "original_max_position_embeddings": 3_000}},
    ],
    ids=["window", "dynamic"],
)  # fmt: skip
def test_where_a_rule_changes_far_out_the_text_is_the_models_own_or_ends(changes):
    """A GPU tries thousands of tokens at load, where a CPU does not."""
    turn = changes.get("sliding_window", 3_000)
    family = "mistral" if "sliding_window" in changes else "llama"
    model = tiny_family(tiny_config(family, max_position_embeddings=12_000, **changes)).to("cuda")
    readout = Readout.of(model)
    longest, lanes = reading_rules(readout).longest, (LANES[0], DolaStatic(name="dola", layer=2))
    ids = [1 + n % 90 for n in prompt(turn - 6)]
    given = torch.tensor([ids], device="cuda")
    own = model.generate(
        given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=12, eos_token_id=-1,
        pad_token_id=0, use_cache=False,
    )[0, len(ids) :].tolist()  # fmt: skip
    written = texts(Engine.compare(engine_of(readout), asked(ids, lanes, DecodingConfig(max_new_tokens=12))))[0]
    assert written == own[: (longest or 100_000) - len(ids)]


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_weights_in_few_bits_are_read_as_the_model_itself_reads_them(bits, tmp_path):
    pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    config = LlamaConfig(**LLAMA | {"hidden_size": 64, "intermediate_size": 128})
    saved = folder(AutoModelForCausalLM.from_config(config).eval(), tmp_path / "wide")
    loaded = load_model(saved, quantize=bits)
    assert next(loaded.model.parameters()).device.type == "cuda"
    ids = prompt(9)
    given = torch.tensor([ids], device="cuda")
    own = loaded.model.generate(
        given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=8, eos_token_id=-1, pad_token_id=0
    )[0, len(ids) :].tolist()
    written = texts(compare(loaded.readout, ids, LANES, DecodingConfig(max_new_tokens=8)))
    assert [len(lane) for lane in written] == [8, 8, 8]
    assert written[0] == own


def test_a_model_split_over_all_gpus_writes_the_same():
    pytest.importorskip("accelerate")
    split, whole = (load_model(SHIPPED_MODEL, device=device, dtype="float32") for device in ("split", "cuda"))
    config = DecodingConfig(max_new_tokens=12)
    ids = split.encode("Question: What is the capital of Australia? Answer:")
    written = [texts(Engine(loaded).compare(asked(ids, LANES[:2], config))) for loaded in (split, whole)]
    assert written[0] == written[1]
