"""Everything else that `generate` can do works with DoLa-static too, or is refused in words."""

import pytest
import torch
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    StoppingCriteria,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.generation import BaseStreamer

from dola_core.errors import UnsupportedModelError
from dola_core.generation import generate_with_dola_static
from tests.dola_core.generation.generating import IDS, PROMPT, STEPS, dola, text
from tests.dola_core.reference import NaiveDecoder, contrast, log_softmax
from tests.dola_core.tiny import LLAMA, V, hooks_on, prepared, tiny


class TestEverythingElseGenerateCanDo:
    def test_embeddings_instead_of_ids(self, llama):
        embeds = llama.get_input_embeddings()(IDS).detach()
        output = dola(llama, None, inputs_embeds=embeds)
        assert output[0].tolist() == text(dola(llama))

    def test_ids_by_keyword(self, llama):
        assert torch.equal(dola(llama, None, input_ids=IDS), dola(llama))

    def test_a_streamer_gets_every_token(self, llama):
        class Collector(BaseStreamer):
            tokens, ended = [], False

            def put(self, value):
                self.tokens += value.flatten().tolist()

            def end(self):
                self.ended = True

        streamer = Collector()
        output = dola(llama, streamer=streamer)
        assert streamer.tokens == output[0].tolist()
        assert streamer.ended

    def test_a_stopping_criterion_stops(self, llama):
        class After(StoppingCriteria):
            def __call__(self, input_ids, scores, **kwargs):
                return torch.full((len(input_ids),), input_ids.shape[1] >= len(PROMPT) + 3)

        assert text(dola(llama, stopping_criteria=[After()])) == text(dola(llama))[:3]

    def test_the_end_of_text_token_stops(self, llama):
        whole = text(dola(llama))
        assert text(dola(llama, eos_token_id=whole[4])) == whole[: whole.index(whole[4]) + 1]

    @pytest.mark.parametrize(
        "settings",
        [{"cache_implementation": "static"}, {"use_cache": False}, {"prefill_chunk_size": 4}],
        ids=["static-cache", "no-cache", "chunked-prefill"],
    )
    def test_caches_do_not_change_the_text(self, llama, settings):
        assert torch.equal(dola(llama, **settings), dola(llama))

    @pytest.mark.parametrize("position", ["before", "after"])
    def test_scores_are_normalised_log_p_hat_and_logits_the_models_own(self, llama, naive, position):
        output = dola(
            llama,
            repetition_penalty=1.3,
            penalty_position=position,
            return_dict_in_generate=True,
            output_scores=True,
            output_logits=True,
        )
        for step, (scores, logits) in enumerate(zip(output.scores, output.logits, strict=True)):
            prefix = output.sequences[0, : len(PROMPT) + step].tolist()
            expected = log_softmax(naive.scores(prefix, 22, 0.1, penalty=1.3, position=position))
            torch.testing.assert_close(scores[0].double(), torch.tensor(expected), rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(logits[0].double(), torch.tensor(naive.logits(prefix)), rtol=1e-3, atol=1e-3)
            assert scores.logsumexp(-1).item() == pytest.approx(0.0, abs=1e-5)
            assert (scores == -torch.inf).any()

    @pytest.mark.parametrize("position", ["before", "after"])
    def test_the_users_logits_processors_run_before_the_contrast(self, llama, naive, position):
        class Forbid(LogitsProcessor):
            def __call__(self, input_ids, scores):
                return scores.index_fill(1, torch.tensor(forbidden), -torch.inf)

        forbidden = text(dola(llama))
        written = text(dola(llama, logits_processor=[Forbid()], penalty_position=position))
        assert not set(written) & set(forbidden)
        logits = naive.logits(PROMPT)
        logits[forbidden] = -torch.inf
        F = contrast(log_softmax(logits), log_softmax(naive.logits(PROMPT, 22)), 0.1)
        assert written[0] == F.argmax()

    def test_the_users_list_of_processors_is_not_changed(self, llama):
        processors = [RepetitionPenaltyLogitsProcessor(1.4)]
        dola(llama, logits_processor=processors, penalty_position="after", max_new_tokens=2)
        assert len(processors) == 1

    def test_the_users_own_penalty_processor_moves_behind_the_contrast(self, llama):
        own = dola(llama, logits_processor=[RepetitionPenaltyLogitsProcessor(1.4)], penalty_position="after")
        assert torch.equal(own, dola(llama, repetition_penalty=1.4, penalty_position="after"))

    @pytest.mark.parametrize("position", ["before", "after"])
    def test_a_generation_config_counts_and_is_not_changed(self, llama, position):
        config = GenerationConfig(max_new_tokens=STEPS, repetition_penalty=1.4, do_sample=False, pad_token_id=0)
        before = config.to_dict()
        output = generate_with_dola_static(llama, IDS, layer=22, generation_config=config, penalty_position=position)
        assert config.to_dict() == before
        assert torch.equal(output, dola(llama, repetition_penalty=1.4, penalty_position=position))

    def test_the_models_own_generation_config_is_not_changed(self, llama):
        before = llama.generation_config.to_dict()
        dola(llama, repetition_penalty=1.4, penalty_position="after", max_new_tokens=2)
        assert llama.generation_config.to_dict() == before

    def test_positions_of_the_penalty_differ(self, llama):
        before, after = (
            text(dola(llama, repetition_penalty=1.4, penalty_position=p, max_new_tokens=20))
            for p in ("before", "after")
        )
        assert before != after


class TestJanus:
    def test_the_text_mode_is_really_contrasted(self, janus):
        naive = NaiveDecoder(janus)
        for way in ({}, {"penalty": 1.3}, {"penalty": 1.3, "position": "after"}, {"early_norm": False}):
            written = text(
                dola(
                    janus,
                    repetition_penalty=way.get("penalty", 1.0),
                    penalty_position=way.get("position", "before"),
                    early_norm=way.get("early_norm", True),
                )
            )
            assert written == naive.greedy(PROMPT, STEPS, 22, 0.1, **way)
            assert written != naive.greedy(PROMPT, STEPS, None, penalty=way.get("penalty", 1.0))

    def test_without_the_contrast_it_is_generate(self, janus):
        settings = {"do_sample": False, "max_new_tokens": STEPS}
        bypassed = generate_with_dola_static(janus, IDS, use_dola_lm_static=False, **settings)
        assert torch.equal(bypassed, janus.generate(IDS, **settings))

    def test_the_text_mode_may_be_named(self, janus):
        assert torch.equal(dola(janus, generation_mode="text"), dola(janus))

    def test_the_image_mode_is_refused(self, janus):
        with pytest.raises(UnsupportedModelError, match="text head; images have a head of their own"):
            dola(janus, generation_mode="image")


class TestUnsupportedCalls:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"assistant_model": tiny("llama-tied")}, "assisted or prompt-lookup"),
            ({"prompt_lookup_num_tokens": 3}, "assisted or prompt-lookup"),
            ({"assistant_early_exit": 4}, "assisted or prompt-lookup"),
            ({"cache_implementation": "paged"}, "continuous batching"),
            ({"custom_generate": "transformers-community/dola"}, "custom_generate"),
            ({"guidance_scale": 2.0}, "guidance_scale"),
            ({"do_sample": True, "temperature": 1e-9}, "at least 0.000001"),
            ({"penalty_alpha": 0.6, "top_k": 4}, "not with contrastive"),
            ({"dola_layers": "high"}, "not with dola"),
            ({"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5}, "not with group"),
            ({"penalty_position": "between"}, '"before" or "after"'),
            ({"layer": 30}, "from 1 to 29"),
            ({"layer": 0}, "from 1 to 29"),
            ({"layer": True}, "from 1 to 29"),
            ({"alpha": 1.5}, "from 0 to 1"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_what_cannot_be_contrasted_is_refused_in_words(self, llama, settings, message):
        with pytest.raises(ValueError, match=message) as refusal:
            dola(llama, **settings)
        assert "\n" not in str(refusal.value)
        assert hooks_on(llama) == 0

    def test_modes_set_in_a_generation_config_are_refused_too(self, llama):
        with pytest.raises(ValueError, match="assisted or prompt-lookup"):
            dola(llama, generation_config=GenerationConfig(prompt_lookup_num_tokens=3))

    def test_an_encoder_decoder_is_refused(self):
        model = T5ForConditionalGeneration(T5Config(vocab_size=V, d_model=8, d_kv=4, d_ff=8, num_layers=2, num_heads=2))
        with pytest.raises(UnsupportedModelError, match="encoder–decoder"):
            dola(model)

    def test_a_generate_that_drops_processors_is_an_error_and_not_a_baseline(self):
        class Dropper(LlamaForCausalLM):
            def generate(self, inputs=None, logits_processor=None, **kwargs):
                return super().generate(inputs, **kwargs)

        with pytest.raises(RuntimeError, match="drops logits processors"):
            dola(prepared(Dropper(LlamaConfig(**LLAMA))))


class TestHooks:
    def test_hooks_are_gone_after_success(self, llama):
        dola(llama, max_new_tokens=1)
        assert hooks_on(llama) == 0

    def test_hooks_are_gone_after_an_error_in_the_middle(self, llama):
        class Fails(StoppingCriteria):
            def __call__(self, input_ids, scores, **kwargs):
                assert hooks_on(llama) == 3  # on the block, and around the head
                raise KeyError("in the middle")

        with pytest.raises(KeyError, match="in the middle"):
            dola(llama, stopping_criteria=[Fails()])
        assert hooks_on(llama) == 0
        assert torch.equal(dola(llama), dola(llama))
