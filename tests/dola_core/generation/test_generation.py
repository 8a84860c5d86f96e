"""DoLa-static through stock `generate`: greedy, sampling, beams and batches."""

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
)

from dola_core.generation import generate_with_dola_static
from tests.dola_core.generation.generating import IDS, PROMPT, SAMPLING, STEPS, dola, padded, seeded, text
from tests.dola_core.reference import warp
from tests.dola_core.tiny import LLAMA, V, prepared, prompt


class TestBypass:
    @pytest.mark.parametrize(
        "settings",
        [{}, SAMPLING, {"num_beams": 3}, {"num_beams": 2, "do_sample": True}, {"repetition_penalty": 1.3}],
        ids=["greedy", "sampled", "beams", "beam-sampled", "penalty"],
    )
    def test_without_the_contrast_it_is_generate_token_for_token(self, llama, settings):
        settings = {"do_sample": False, "max_new_tokens": STEPS} | settings
        plain = seeded(lambda: llama.generate(IDS, **settings))
        bypassed = seeded(lambda: generate_with_dola_static(llama, IDS, use_dola_lm_static=False, **settings))
        assert torch.equal(plain, bypassed)

    def test_the_contrast_changes_the_text(self, llama):
        assert text(dola(llama)) != text(llama.generate(IDS, do_sample=False, max_new_tokens=STEPS))

    def test_alpha_one_under_greedy_is_the_baseline(self, llama):
        plain = llama.generate(IDS, do_sample=False, max_new_tokens=STEPS)
        assert torch.equal(dola(llama, alpha=1.0), plain)

    @pytest.mark.parametrize("penalty_position", ["before", "after"])
    def test_head_of_size_one_makes_dola_equal_greedy(self, penalty_position):
        torch.manual_seed(0)
        certain = prepared(LlamaForCausalLM(LlamaConfig(**LLAMA)), sharpness=1e4)
        plain = certain.generate(IDS, do_sample=False, max_new_tokens=STEPS)
        for layer in (1, 15, 29):
            assert torch.equal(dola(certain, layer=layer, penalty_position=penalty_position), plain)


class TestModes:
    def test_the_same_seed_samples_the_same_text(self, llama):
        settings = SAMPLING | {"min_p": 0.02, "max_new_tokens": 12}
        once, again = (seeded(lambda: dola(llama, **settings)) for _ in range(2))
        assert torch.equal(once, again)
        assert not torch.equal(once, seeded(lambda: dola(llama, **settings), seed=6))

    @pytest.mark.parametrize(
        "warpers",
        [
            {"temperature": 0.5},
            {"top_k": 3},
            {"top_p": 0.6},
            {"min_p": 0.3},
            {"temperature": 1.7, "top_k": 5, "top_p": 0.9},
        ],
        ids=str,
    )
    def test_warpers_act_on_p_hat_exactly_as_on_the_baseline(self, llama, naive, warpers):
        output = seeded(
            lambda: dola(
                llama,
                do_sample=True,
                **({"top_k": 0} | warpers),
                max_new_tokens=3,
                return_dict_in_generate=True,
                output_scores=True,
            )
        )
        for step, scores in enumerate(output.scores):
            prefix = output.sequences[0, : len(PROMPT) + step].tolist()
            expected = warp(naive.scores(prefix, 22, 0.1), **warpers)
            torch.testing.assert_close(scores[0].softmax(-1).double(), torch.tensor(expected), rtol=1e-3, atol=1e-5)

    def test_samples_come_from_p_hat_and_not_from_the_baseline(self, llama, naive):
        draws = seeded(lambda: dola(llama, do_sample=True, top_k=0, max_new_tokens=1, num_return_sequences=3000)[:, -1])
        counted = torch.bincount(draws, minlength=V) / len(draws)
        p_hat, q_N = (torch.tensor(warp(naive.scores(PROMPT, layer, 0.1))) for layer in (22, None))
        assert (counted - p_hat).abs().sum() / 2 < 0.05
        assert (counted - q_N).abs().sum() / 2 > 0.1

    @pytest.mark.parametrize("penalty", [{}, {"penalty": 1.3}, {"penalty": 1.3, "position": "after"}], ids=str)
    def test_beams_are_each_contrasted_with_their_own_row(self, llama, naive, penalty):
        width, steps = 3, 4
        output = dola(
            llama,
            num_beams=width,
            num_return_sequences=width,
            max_new_tokens=steps,
            repetition_penalty=penalty.get("penalty", 1.0),
            penalty_position=penalty.get("position", "before"),
        )
        assert output[:, len(PROMPT) :].tolist() == naive.beams(PROMPT, steps, 22, 0.1, width=width, **penalty)

    def test_beam_search_finds_what_the_baselines_does_not(self, llama):
        assert text(dola(llama, num_beams=3)) != text(llama.generate(IDS, num_beams=3, max_new_tokens=STEPS))

    def test_beams_that_sample_are_reproducible(self, llama):
        settings = {"num_beams": 2, "do_sample": True, "top_k": 0}
        assert torch.equal(*(seeded(lambda: dola(llama, **settings)) for _ in range(2)))

    def test_many_returned_sequences_differ_and_start_with_the_prompt(self, llama):
        output = seeded(lambda: dola(llama, do_sample=True, num_return_sequences=4))
        assert output.shape == (4, len(PROMPT) + STEPS)
        assert (output[:, : len(PROMPT)] == IDS).all()
        assert len({tuple(row) for row in output.tolist()}) > 1


class TestBatches:
    @pytest.mark.parametrize("penalty_position", ["before", "after"])
    @pytest.mark.parametrize("masked", [True, False])
    def test_every_row_of_a_left_padded_batch_is_its_single_run(self, llama, penalty_position, masked):
        prompts = [prompt(3, 1), prompt(9, 2), prompt(6, 3)]
        ids, mask = padded(*prompts)
        settings = {"repetition_penalty": 1.4, "penalty_position": penalty_position}
        together = dola(llama, ids, **(settings | ({"attention_mask": mask} if masked else {})))
        for row, single in zip(together, prompts, strict=True):
            assert row[ids.shape[1] :].tolist() == text(dola(llama, torch.tensor([single]), **settings), len(single))

    @pytest.mark.parametrize("penalty_position", ["before", "after"])
    def test_every_row_of_a_left_padded_batch_with_beams_is_its_single_run(self, llama, penalty_position):
        prompts = [prompt(3, 1), prompt(7, 2)]
        ids, mask = padded(*prompts)
        settings = {"repetition_penalty": 1.4, "penalty_position": penalty_position, "num_beams": 2}
        together = dola(llama, ids, attention_mask=mask, **settings)
        for row, single in zip(together, prompts, strict=True):
            assert row[ids.shape[1] :].tolist() == text(dola(llama, torch.tensor([single]), **settings), len(single))

    def test_padding_is_not_penalised_after_the_contrast(self, llama):
        """The padding is a token that the model might write and that the prompt does not hold."""
        settings = {"max_new_tokens": 1, "return_dict_in_generate": True, "output_scores": True}
        head = dola(llama, **settings).scores[0][0].isfinite().nonzero().flatten().tolist()
        assert len(head) > 1
        wanted = next(token for token in head if token not in PROMPT)
        settings |= {"repetition_penalty": 3.0, "penalty_position": "after"}
        ids = torch.tensor([[wanted] * 3 + PROMPT])
        mask = torch.tensor([[0] * 3 + [1] * len(PROMPT)])
        padded_scores = dola(llama, ids, attention_mask=mask, **settings).scores[0]
        torch.testing.assert_close(padded_scores, dola(llama, **settings).scores[0], rtol=1e-3, atol=1e-3)
