"""What `custom_generate` refuses, in one sentence, and that it leaves the model as it was."""

import inspect
import threading

import pytest
import torch
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    StoppingCriteria,
    T5Config,
    T5ForConditionalGeneration,
)

from dola_core.contrast import closeness
from dola_core.lanes.buckets import BUCKETS, bucket_layers
from tests.dola_core.generation.generating import IDS, STEPS, dola
from tests.dola_core.models.reading.families import tiny_config, tiny_family
from tests.dola_core.tiny import LLAMA, V, hooks_on, prepared, tiny
from tests.server import ROOT, load_module

LAYER, ALPHA, BETA = (
    "dola_layer must be an integer from 1 to 29",
    "dola_alpha must be a number from 0 to 1",
    "dola_beta must be a number from 0 to 10",
)
BUCKET = "dola_bucket must be low, high, all or a range such as"
MODE = "greedy search, sampling and beam search, not with"
BAD = [
    *(({"dola_layer": value}, LAYER) for value in (0, 30, -1, True, 22.0, "22", float("nan"), [22], 10**30)),
    *(({"dola_alpha": value}, ALPHA) for value in (-0.1, 1.1, float("nan"), True, "0.1", None, 1j)),
    *(({"dola_beta": value}, BETA) for value in (-1, 10.5, float("inf"), float("nan"), False, "1", None)),
    *(
        ({"dola_bucket": value}, BUCKET)
        for value in ("", "top", "lower", "30", "0-30", "9-3", "3-9/0", "٣", "3-", " 3")
    ),
    *(({"dola_bucket": value}, BUCKET) for value in (22, [1, 2], range(3), "99999", "high\n", b"high", True)),
    ({"dola_layer": 22, "dola_bucket": "high"}, "not both"),
    ({"dola_layers": "high"}, "dola_layers is of another DoLa"),
    ({"dola_layre": 22}, "dola_layre"),
    ({"assistant_model": tiny("llama-tied")}, MODE),
    ({"prompt_lookup_num_tokens": 3}, MODE),
    ({"assistant_early_exit": 4}, MODE),
    ({"penalty_alpha": 0.6, "top_k": 4}, MODE),
    ({"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5}, MODE),
    ({"generation_config": GenerationConfig(prompt_lookup_num_tokens=3)}, MODE),
    ({"cache_implementation": "paged"}, "continuous batching"),
    ({"guidance_scale": 2.0}, "guidance_scale"),
]


@pytest.mark.parametrize(("given", "sentence"), BAD, ids=lambda value: str(value)[:60])
def test_what_cannot_be_contrasted_is_refused_in_one_sentence(llama, generated, given, sentence):
    with pytest.raises(ValueError, match=sentence) as refusal:
        generated(llama, **given)
    assert "\n" not in str(refusal.value)
    assert hooks_on(llama) == 0


@pytest.mark.parametrize("value", ["/etc/passwd\nrm -rf", "high; drop", 7**40])
def test_no_sentence_repeats_what_was_given(llama, generated, value):
    for name in ("dola_layer", "dola_bucket", "dola_alpha", "dola_beta"):
        with pytest.raises(ValueError, match=name) as refusal:
            generated(llama, **{name: value})
        assert str(value) not in str(refusal.value)


class TestModels:
    def test_an_encoder_decoder_is_refused(self, generated):
        model = T5ForConditionalGeneration(T5Config(vocab_size=V, d_model=8, d_kv=4, d_ff=8, num_layers=2, num_heads=2))
        with pytest.raises(ValueError, match="cannot read the layers of T5ForConditionalGeneration here: it needs a"):
            generated(model)

    @pytest.mark.parametrize("family", ["bert", "blt", "longcat_flash", "minicpm3", "openai-gpt", "reformer"])
    def test_families_that_are_built_otherwise_are_refused(self, generated, family):
        model = tiny_family(tiny_config(family))
        with pytest.raises(ValueError, match=f"cannot read the layers of {type(model).__name__} here"):
            generated(model)
        assert hooks_on(model) == 0

    def test_a_model_that_does_something_else_before_its_head_is_refused(self, generated):
        model = prepared(LlamaForCausalLM(LlamaConfig(**LLAMA)))
        model.lm_head.register_forward_pre_hook(lambda _head, args: (args[0] * 2,))
        with pytest.raises(ValueError, match="cannot read the layers of LlamaForCausalLM here"):
            generated(model)

    def test_a_model_without_a_norm_is_refused(self, generated):
        model = prepared(LlamaForCausalLM(LlamaConfig(**LLAMA)))
        model.model.norm = torch.nn.Identity()
        with pytest.raises(ValueError, match="cannot read the layers"):
            generated(model)


def test_other_threads_use_the_model_as_it_is(llama, generated):
    """They run it in the middle of a pass of a generation with DoLa, and neither sees anything of the other."""
    settings = {"do_sample": False, "max_new_tokens": 2}
    plain, ours, owner, seen = llama.generate(IDS, **settings), dola(llama), threading.get_ident(), []

    def meanwhile(*_):
        if threading.get_ident() == owner:
            thread = threading.Thread(target=lambda: seen.append(llama.generate(IDS, **settings)))
            thread.start()
            thread.join()

    hook = llama.model.layers[25].register_forward_hook(meanwhile)
    try:
        assert torch.equal(generated(llama, dola_layer=22), ours)
    finally:
        hook.remove()
    assert len(seen) == STEPS
    assert all(torch.equal(one, plain) for one in seen)


def test_hooks_are_gone_after_an_error_in_the_middle(llama, generated):
    class Breaks(StoppingCriteria):
        def __call__(self, input_ids, scores, **kwargs):
            assert hooks_on(llama)
            raise KeyError("in the middle")

    with pytest.raises(KeyError, match="in the middle"):
        generated(llama, stopping_criteria=[Breaks()])
    assert hooks_on(llama) == 0


class TestFormulas:
    """The file's own copies of what the package computes, since it imports nothing of it."""

    code = load_module(ROOT / "assets" / "custom_generate" / "generate.py", "custom_generate_code")

    @pytest.mark.parametrize("tied", [True, False])
    def test_buckets_are_those_of_the_package(self, tied):
        for n in (2, 3, 12, 30, 40, 41, 80):
            for bucket in ({*BUCKETS} - {"lower", "middle", "upper"}) | {"1", "0-1", f"1-{n - 1}/2"}:
                ours = bucket_layers(bucket, n, tied=tied)
                assert tuple(self.code.chosen_layers(None, bucket, n, tied=tied)) == ours

    def test_closeness_is_that_of_the_package(self):
        for sharpness in (1, 30, 1000):
            log_p, log_q = ((torch.randn(*shape, V) * sharpness).log_softmax(-1) for shape in ((3,), (5, 3)))
            log_p[0, :9] = -torch.inf
            torch.testing.assert_close(self.code.closeness(log_p, log_q), closeness(log_p, log_q), rtol=0, atol=0)

    def test_a_page_that_imports_nothing_of_the_project(self):
        source = inspect.getsource(self.code)
        assert "dola_core" not in source
        assert len(source.splitlines()) < 220
