"""What is found of a model by trying, and what is refused."""

import copy

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.modeling_outputs import CausalLMOutputWithPast

from dola_core.errors import UnsupportedModelError
from dola_core.models.reading.readout import Readout
from tests.dola_core.tiny import LLAMA, WIDTH, N, V, hooks_on, prepared, prompt

IDS = torch.tensor([prompt(6, seed=1), prompt(6, seed=2)])


class ChangesItsLogits(LlamaForCausalLM):
    """A model that does something to its logits, given as a function of them."""

    change = staticmethod(lambda logits: logits)

    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = self.change(output.logits)
        return output


class AddsAfterItsNorm(LlamaForCausalLM):
    def __init__(self, config):
        super().__init__(config)
        decode = self.model.forward

        def forward(*args, **kwargs):
            output = decode(*args, **kwargs)
            output.last_hidden_state = output.last_hidden_state + 1
            return output

        self.model.forward = forward


class RunsItsBlocksTwice(LlamaForCausalLM):
    def __init__(self, config):
        super().__init__(config)
        first = self.model.layers[0]
        run_once = first.forward
        first.forward = lambda h, **kwargs: run_once(run_once(h, **kwargs), **kwargs)
        self.model.layers[-1].forward = lambda h, **kwargs: first(h, **kwargs)


class KeepsItsBlocksInTwoLists(LlamaForCausalLM):
    def __init__(self, config):
        super().__init__(config)
        self.model.first, self.model.layers = self.model.layers[:15], self.model.layers[15:]
        run = self.model.layers[0].forward

        def forward(h, **kwargs):
            for block in self.model.first:
                h = block(h, **kwargs)
            return run(h, **kwargs)

        self.model.layers[0].forward = forward


class SkipsItsBlocks(LlamaForCausalLM):
    def forward(self, input_ids=None, **_):
        return CausalLMOutputWithPast(logits=self.lm_head(self.model.norm(self.model.embed_tokens(input_ids))))


def changing(change):
    model = prepared(ChangesItsLogits(LlamaConfig(**LLAMA, final_cap=2.5)))
    model.change = change
    return model


class TestFactorsAndCaps:
    """What a model does to its logits is found by trying, under whatever name its config keeps it."""

    @pytest.mark.parametrize(
        "change",
        [
            lambda logits: logits * 2,
            lambda logits: logits / 7.3,
            lambda logits: torch.tanh(logits / 2.5) * 2.5,
            lambda logits: torch.tanh(logits * 0.4 / 2.5) * 2.5,
            lambda logits: logits[..., :90] * 3,
        ],
        ids=["factor", "divisor", "cap", "factor and cap", "narrower and factor"],
    )
    @torch.no_grad()
    def test_they_hold_for_every_layer(self, change):
        readout = Readout.of(changing(change))
        with readout.capture([7, N]) as captured:
            own = readout.model(IDS, use_cache=False).logits[:, -1]
        torch.testing.assert_close(readout.logits(captured[N]), own, rtol=1e-4, atol=1e-5)
        early = change(readout.phi(readout.ln_out(captured[7])))
        torch.testing.assert_close(readout.logits(captured[7]), early, rtol=1e-4, atol=1e-5)
        assert readout.vocab_size == own.shape[-1]


class TestRefusals:
    @pytest.mark.parametrize(
        "change",
        [lambda logits: logits + torch.arange(V), lambda logits: logits**3, lambda logits: logits.flip(-1)],
        ids=["bias", "cube", "order"],
    )
    def test_a_model_that_changes_its_logits_after_the_head(self, change):
        with pytest.raises(UnsupportedModelError, match=r"ChangesItsLogits .*does something else after its head"):
            Readout.of(changing(change))

    def test_a_model_that_does_more_than_norm_its_last_block(self):
        with pytest.raises(UnsupportedModelError, match=r"AddsAfterItsNorm .*no norm beside its blocks leads"):
            Readout.of(prepared(AddsAfterItsNorm(LlamaConfig(**LLAMA))))

    def test_a_model_that_runs_a_block_several_times(self):
        with pytest.raises(UnsupportedModelError, match="RunsItsBlocksTwice runs its blocks several times"):
            Readout.of(prepared(RunsItsBlocksTwice(LlamaConfig(**LLAMA))))

    def test_a_model_whose_blocks_do_not_run_on_text(self):
        with pytest.raises(UnsupportedModelError, match="SkipsItsBlocks has blocks that do not run on text"):
            Readout.of(prepared(SkipsItsBlocks(LlamaConfig(**LLAMA))))

    def test_a_model_with_a_spoiled_weight(self):
        model = prepared(LlamaForCausalLM(LlamaConfig(**LLAMA)))
        model.model.layers[3].mlp.up_proj.weight.data[0, 0] = torch.nan
        with pytest.raises(UnsupportedModelError, match=r"layers\.3\.mlp\.up_proj\.weight .*not finite.*damaged"):
            Readout.of(model)

    def test_a_model_that_overflows_in_float16(self):
        model = prepared(LlamaForCausalLM(LlamaConfig(**LLAMA)))
        for layer in model.model.layers:
            layer.mlp.down_proj.weight.data.mul_(1e4)
        Readout.of(model)
        with pytest.raises(UnsupportedModelError, match="not finite in float16; load it in float32"):
            Readout.of(copy.deepcopy(model).half())

    @pytest.mark.parametrize(
        ("kind", "config"),
        [
            (
                T5ForConditionalGeneration,
                T5Config(vocab_size=V, d_model=8, d_kv=4, d_ff=8, num_layers=2, num_heads=2),
            ),
            (
                BartForConditionalGeneration,
                BartConfig(
                    vocab_size=V,
                    d_model=8,
                    encoder_layers=1,
                    decoder_layers=2,
                    encoder_attention_heads=2,
                    decoder_attention_heads=2,
                    encoder_ffn_dim=8,
                    decoder_ffn_dim=8,
                ),
            ),
        ],
    )
    def test_an_encoder_decoder(self, kind, config):
        with pytest.raises(UnsupportedModelError, match=f"{kind.__name__} is an encoder–decoder"):
            Readout.of(kind(config))

    def test_a_model_without_a_head(self):
        with pytest.raises(UnsupportedModelError, match="LlamaModel has no language-model head"):
            Readout.of(LlamaModel(LlamaConfig(**LLAMA)))

    def test_a_model_that_cannot_run_on_text(self):
        model = LlamaForCausalLM(LlamaConfig(**LLAMA))
        model.model.norm = None
        with pytest.raises(UnsupportedModelError, match="LlamaForCausalLM cannot be run on text alone: TypeError"):
            Readout.of(model)

    def test_a_list_beside_the_blocks_that_does_not_run_is_none_of_them(self):
        model = prepared(LlamaForCausalLM(LlamaConfig(**LLAMA)))
        model.tower = torch.nn.ModuleList(torch.nn.Linear(WIDTH, WIDTH) for _ in range(N))
        assert Readout.of(model).blocks is model.model.layers

    def test_a_model_without_a_norm_is_read_without(self):
        model = prepared(LlamaForCausalLM(LlamaConfig(**LLAMA)))
        model.model.norm = torch.nn.Identity()
        readout, h = Readout.of(model), torch.randn(2, WIDTH)
        with torch.no_grad():
            torch.testing.assert_close(readout.logits(h), model.lm_head(h))
            torch.testing.assert_close(readout.logits(h, early_norm=False), model.lm_head(h))

    def test_a_model_whose_blocks_are_not_in_one_list(self):
        with pytest.raises(
            UnsupportedModelError, match="KeepsItsBlocksInTwoLists does not keep its blocks in one list"
        ):
            Readout.of(prepared(KeepsItsBlocksInTwoLists(LlamaConfig(**LLAMA))))

    def test_a_list_counts_where_the_config_counts_something_else(self):
        model = prepared(LlamaForCausalLM(LlamaConfig(**LLAMA)))
        model.model.layers = model.model.layers[:20]
        assert Readout.of(model).n_layers == 20

    def test_a_refused_model_keeps_no_hooks(self):
        model = changing(lambda logits: logits + torch.arange(V))
        with pytest.raises(UnsupportedModelError):
            Readout.of(model)
        assert hooks_on(model) == 0
