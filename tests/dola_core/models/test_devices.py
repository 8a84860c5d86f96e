"""Models that are spread over several devices: the same texts, and no tensor where it cannot be used."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM

from dola_core.decoding.prefix_cache import PrefixCache
from dola_core.generation import generate_with_dola_static
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.layer_search.answers.scoring import score_items
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.loading import load_model
from dola_core.models.reading.cached_texts import ReadingRules
from dola_core.models.reading.parts import find_parts
from dola_core.models.reading.proof import find_rules
from dola_core.models.reading.readout import Readout
from tests.dola_core.layer_search.test_scoring import ITEMS
from tests.dola_core.models.devices import ONE, TWO, split
from tests.dola_core.tiny import compare, prompt, recorded, texts, tiny

LANES = (Baseline(name="baseline"), DolaStatic(name="near", layer=3), DolaStatic(name="far", layer=25, alpha=0.05))
DECODINGS = {
    "greedy": DecodingConfig(max_new_tokens=8),
    "sampled": DecodingConfig(max_new_tokens=8, temperature=0.9, top_p=0.9, seed=3),
    "penalised": DecodingConfig(max_new_tokens=8, repetition_penalty=1.3),
    "penalised after": DecodingConfig(
        max_new_tokens=8, repetition_penalty=1.3, penalty_position="after", early_norm=False
    ),
}


@pytest.fixture(scope="module")
def readout():
    """A model of its own, for its parts are moved about."""
    return Readout.of(copy.deepcopy(tiny("llama")))


def test_the_devices_tell_what_a_gpu_would_not_do(readout):
    with split(readout):
        here, there = torch.ones(2, device=ONE), torch.ones(2, device=TWO)
        assert (here.device, (here + 1).device, there.to(ONE).device) == (ONE, ONE, ONE)
        with pytest.raises(RuntimeError, match="same device"):
            here + there
        with pytest.raises(RuntimeError, match="indices"):
            here[torch.zeros(1, dtype=torch.long, device=TWO)]
        assert readout.device == ONE
        assert readout.ln_out.weight.device == TWO


@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("decoding", DECODINGS.values(), ids=DECODINGS)
def test_a_comparison_over_two_devices_is_the_same(readout, decoding, record):
    whole = texts(compare(readout, prompt(6), LANES, decoding, record=record))
    assert whole[0] != whole[1]  # they part, so rows of the cache on both devices are copied
    with split(readout):
        assert texts(compare(readout, prompt(6), LANES, decoding, record=record)) == whole


def test_what_is_recorded_over_two_devices_is_the_same(readout):
    whole = recorded(readout, prompt(6), LANES, DECODINGS["penalised"])
    with split(readout):
        assert recorded(readout, prompt(6), LANES, DECODINGS["penalised"]).model_dump_json() == whole.model_dump_json()


def test_a_cache_over_two_devices_is_taken_up_again(readout):
    decoding, cache = DECODINGS["greedy"], PrefixCache()
    with split(readout):
        first = texts(compare(readout, prompt(6), LANES, decoding, prefix_cache=cache))
        longer = [*prompt(6), *first[1][:4]]
        assert cache._kept
        again = texts(compare(readout, longer, LANES[:2], decoding, prefix_cache=cache))
    assert again == texts(compare(readout, longer, LANES[:2], decoding))


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("layer", [3, 25])
@pytest.mark.parametrize("position", ["before", "after"])
def test_generate_over_two_devices_is_the_same(readout, position, layer, beams):
    def run():
        ids = torch.tensor([prompt(6), prompt(6, seed=1)], device=readout.device)
        return generate_with_dola_static(
            readout.model, ids, attention_mask=torch.ones_like(ids), layer=layer, max_new_tokens=8, do_sample=False,
            num_beams=beams, repetition_penalty=1.2, penalty_position=position,
        ).tolist()  # fmt: skip

    whole = run()
    with split(readout):
        assert run() == whole


def test_a_model_over_two_devices_proves_itself(readout):
    with split(readout):
        assert find_parts(readout.model) == readout.parts
        assert find_rules(readout) == ReadingRules(padded=True)


def test_answers_over_two_devices_are_scored_the_same():
    loaded = load_model(device="cpu", dtype="float32")
    whole = scored(loaded)
    with split(loaded.readout):
        assert scored(loaded) == whole


def scored(loaded: LoadedModel) -> list:
    batches = score_items(loaded, ITEMS, (1, 22), (0.1, 1.0))
    return sorted(
        (index, item.right.tolist(), item.greedy_correct.tolist()) for batch in batches for index, item in batch
    )


def test_parts_that_accelerate_keeps_on_disk_are_read_as_well(readout, tmp_path):
    readout.model.save_pretrained(tmp_path / "whole")
    places = dict.fromkeys(["model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"], "disk")
    places |= {f"model.layers.{number}": "disk" if number % 3 else "cpu" for number in range(readout.n_layers)}
    parts = AutoModelForCausalLM.from_pretrained(
        tmp_path / "whole", device_map=places, offload_folder=tmp_path / "parts", dtype=torch.float32
    )
    assert parts.lm_head.weight.device.type == "meta"
    for record in (True, False):
        whole = texts(compare(readout, prompt(6), LANES, DECODINGS["greedy"], record=record))
        assert texts(compare(Readout.of(parts), prompt(6), LANES, DECODINGS["greedy"], record=record)) == whole
