"""`custom_generate` writes what `generate_with_dola_static` and `generate_with_dola` write, token for token."""

import contextlib
from collections import Counter

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    StoppingCriteria,
)

from dola_core.errors import UnsupportedModelError
from dola_core.generation import generate_with_dola
from dola_core.lanes import DolaDynamic, DolaStatic
from tests.dola_core.generation.generating import IDS, SAMPLING, dola, padded, seeded
from tests.dola_core.models.reading.families import CANNOT, families, tiny_config, tiny_family
from tests.dola_core.tiny import CONFIGS, LLAMA, V, hooks_on, prepared, prompt, tiny
from tests.server import ROOT

STATIC = [
    {},
    {"dola_layer": 1},
    {"dola_layer": 22, "dola_alpha": 0.05},
    {"dola_layer": 29, "dola_alpha": 0.2},
    {"dola_layer": 15, "dola_alpha": 0},
    {"dola_layer": 22, "dola_alpha": 1.0},
    {"dola_layer": 22, "dola_beta": 0.5},
    {"dola_layer": 10, "dola_beta": 2, "dola_alpha": 0.02},
    {"dola_layer": 22, "dola_beta": 0},
]
DYNAMIC = [
    {"dola_bucket": "low"},
    {"dola_bucket": "high"},
    {"dola_bucket": "all", "dola_alpha": 0.3},
    {"dola_bucket": "16-28"},
    {"dola_bucket": "16-28/3", "dola_beta": 0.5},
    {"dola_bucket": "0-29/29"},
    {"dola_bucket": "22", "dola_beta": 1.5},
]
MODES = [
    {},
    {"repetition_penalty": 1.3},
    SAMPLING,
    SAMPLING | {"min_p": 0.02, "max_new_tokens": 12},
    {"do_sample": True, "top_k": 0, "num_return_sequences": 4},
    {"do_sample": True, "temperature": 1.7, "top_k": 5, "repetition_penalty": 1.3},
    {"num_beams": 3, "num_return_sequences": 3},
    {"num_beams": 3, "repetition_penalty": 1.3, "length_penalty": 0.5},
    {"num_beams": 2, "do_sample": True, "top_k": 0},
]
CACHES = [{"cache_implementation": "static"}, {"use_cache": False}, {"prefill_chunk_size": 4}]
RESTRICTED = [
    {"eos_token_id": list(range(1, V, 7))},
    {"bad_words_ids": [[n] for n in range(1, 40)]},
    {"no_repeat_ngram_size": 1},
    {"min_new_tokens": 4, "eos_token_id": list(range(1, V, 3))},
    {"token": None, "revision": "main", "cache_dir": None, "force_download": False, "local_files_only": True},
]


def lane_of(settings):
    """The lane that the package decodes with."""
    given = {name.removeprefix("dola_"): value for name, value in settings.items()}
    return DolaDynamic(**given) if "bucket" in given else DolaStatic(**({"layer": 22} | given))


def expected(model, settings, ids=IDS, **kwargs):
    given = {"do_sample": False, "max_new_tokens": 8} | kwargs
    return seeded(lambda: generate_with_dola(model, ids, lane=lane_of(settings), **given))


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("settings", [*STATIC, *DYNAMIC], ids=str)
def test_every_setting_writes_the_same_in_every_mode(llama, generated, settings, mode):
    ours = expected(llama, settings, **mode)
    assert torch.equal(seeded(lambda: generated(llama, **settings, **mode)), ours)
    assert hooks_on(llama) == 0


def test_the_settings_and_the_modes_differ(llama, generated):
    """So that equal texts say something."""
    texts = [tuple(generated(llama, **(settings | {"max_new_tokens": 20}))[0].tolist()) for settings in STATIC]
    assert len(set(texts)) >= len(STATIC) - 1  # α = 1 and β = 0 are both plain decoding
    plain = llama.generate(IDS, do_sample=False, max_new_tokens=20)
    assert [tuple(plain[0].tolist()) == text for text in texts].count(True) == 2


@pytest.mark.parametrize("settings", [{"dola_layer": 22}, {"dola_bucket": "low", "dola_beta": 0.7}], ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_every_architecture_writes_the_same(generated, name, settings):
    """With tied embeddings, caps and factors after the head, windows, and Janus, whose own `generate` differs."""
    model = tiny(name)
    for mode in ({}, {"num_beams": 2, "repetition_penalty": 1.3}):
        assert torch.equal(generated(model, **settings, **mode), expected(model, settings, **mode)), mode


@pytest.mark.parametrize("family", ["bloom", "falcon", "gemma4_text", "mamba", "mpt", "opt", "phi", "qwen3_next"])
def test_families_whose_norms_stand_elsewhere_or_are_several(generated, family):
    model = tiny_family(tiny_config(family))
    for settings in ({"dola_layer": 2}, {"dola_bucket": "all"}):
        assert torch.equal(generated(model, **settings), expected(model, settings)), settings


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore")
def test_every_family_writes_the_same_or_is_refused(generated):
    """As many as the documentation says, which holds for the pinned transformers."""
    counts = Counter()
    for family in sorted({*families()} - {*CANNOT}):
        model = tiny_family(tiny_config(family))
        with contextlib.suppress(UnsupportedModelError):
            ours = expected(model, {"dola_layer": 2})
            try:
                assert torch.equal(generated(model, dola_layer=2), ours), family
                counts["decodes"] += 1
            except ValueError as error:
                if "cannot read the layers" not in str(error):
                    raise
                counts["refuses"] += 1
    guide = " ".join((ROOT / "docs" / "custom-generate.md").read_text(encoding="utf-8").split())
    assert f"of the {counts.total()} that it decodes with tiny models" in guide
    assert f"decodes {counts['decodes']}, with the same tokens, and refuses {counts['refuses']} " in guide


@pytest.mark.parametrize("settings", [STATIC[2], DYNAMIC[0]], ids=str)
def test_bfloat16_where_many_scores_are_equal(generated, settings):
    torch.manual_seed(0)
    model = prepared(AutoModelForCausalLM.from_config(CONFIGS["llama"](), dtype=torch.bfloat16))
    asked = {"return_dict_in_generate": True, "output_scores": True}
    theirs, ours = generated(model, **settings, **asked), expected(model, settings, **asked)
    assert torch.equal(theirs.sequences, ours.sequences)
    torch.testing.assert_close(theirs.scores, ours.scores, rtol=0, atol=1e-5)


def test_a_certain_model_writes_its_most_probable_tokens(generated):
    torch.manual_seed(0)
    certain = prepared(LlamaForCausalLM(LlamaConfig(**LLAMA)), sharpness=1e4)
    plain = certain.generate(IDS, do_sample=False, max_new_tokens=8)
    for settings in ({"dola_layer": 1}, {"dola_layer": 29}, {"dola_bucket": "all"}):
        assert torch.equal(generated(certain, **settings), plain)


@pytest.mark.parametrize("settings", [STATIC[2], DYNAMIC[0]], ids=str)
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("mode", [MODES[1], MODES[2], MODES[7]], ids=str)
def test_batches_that_are_padded_on_the_left(llama, generated, settings, masked, mode):
    ids, mask = padded(prompt(3, 1), prompt(9, 2), prompt(6, 3))
    mode = mode | ({"attention_mask": mask} if masked else {})
    assert torch.equal(
        seeded(lambda: generated(llama, ids, **settings, **mode)), expected(llama, settings, ids, **mode)
    )


@pytest.mark.parametrize("settings", [STATIC[0], DYNAMIC[1]], ids=str)
@pytest.mark.parametrize("more", [*CACHES, *RESTRICTED], ids=str)
def test_caches_and_restrictions(llama, generated, settings, more):
    known = {name: value for name, value in more.items() if name not in RESTRICTED[-1]}
    assert torch.equal(generated(llama, **settings, **more), expected(llama, settings, **known))


@pytest.mark.parametrize("settings", [STATIC[0], DYNAMIC[1]], ids=str)
@pytest.mark.parametrize("mode", [MODES[1], MODES[6]], ids=str)
def test_scores_and_logits_are_the_same(llama, generated, settings, mode):
    asked = mode | {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
    theirs, ours = generated(llama, **settings, **asked), expected(llama, settings, **asked)
    for name in ("scores", "logits"):
        for one, other in zip(theirs[name], ours[name], strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


class TestWhatElseIsGiven:
    def test_embeddings_and_ids_by_keyword(self, llama, generated):
        embeds = llama.get_input_embeddings()(IDS).detach()
        assert torch.equal(generated(llama, None, inputs_embeds=embeds, dola_layer=22)[0], dola(llama)[0, 6:])
        assert torch.equal(generated(llama, None, input_ids=IDS, dola_layer=22), dola(llama))

    def test_a_stopping_criterion_stops(self, llama, generated):
        class AtNine(StoppingCriteria):
            def __call__(self, input_ids, scores, **kwargs):
                return torch.full((len(input_ids),), input_ids.shape[1] >= 9)

        assert torch.equal(generated(llama, stopping_criteria=[AtNine()], dola_layer=22), dola(llama)[:, :9])

    def test_the_callers_processors_run_before_the_contrast_and_may_run_the_model(self, llama, generated):
        class Asks(LogitsProcessor):
            def __call__(self, input_ids, scores):
                llama(torch.tensor([prompt(4, 9)] * len(scores)))
                return scores.index_fill(1, torch.arange(1, 50), -torch.inf)

        own = [Asks(), RepetitionPenaltyLogitsProcessor(1.4)]
        for settings in (STATIC[0], DYNAMIC[1]):
            assert torch.equal(
                generated(llama, logits_processor=own, **settings), expected(llama, settings, logits_processor=own)
            )
        assert len(own) == 2

    def test_a_generation_config_counts_and_is_not_changed(self, llama, generated):
        config = GenerationConfig(max_new_tokens=5, repetition_penalty=1.4, do_sample=False, pad_token_id=0)
        before = config.to_dict(), llama.generation_config.to_dict()
        output = generated(llama, generation_config=config, dola_layer=22, max_new_tokens=5)
        assert torch.equal(output, dola(llama, max_new_tokens=5, repetition_penalty=1.4))
        assert (config.to_dict(), llama.generation_config.to_dict()) == before
