"""How lanes decode from their scores: settings, penalty, greedy choice and draws."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dola_core.lanes import (
    MAX_SEED,
    MIN_TEMPERATURE,
    DecodingConfig,
    DolaStatic,
    apply_repetition_penalty,
    gumbel_noise,
    lane_scores,
    select_tokens,
)
from tests.dola_core.reference import penalise, warp

LOG_P = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
WARPERS = [
    {},
    {"temperature": 0.5},
    {"temperature": 1.6},
    {"top_k": 2},
    {"top_p": 0.75},
    {"min_p": 0.2},
    {"temperature": 0.7, "top_k": 8, "top_p": 0.8, "min_p": 0.05},
]


class TestSettings:
    @pytest.mark.parametrize("layer", [0, -1, True, 2.0, "22", math.nan])
    def test_a_lane_refuses_what_can_be_no_layer(self, layer):
        with pytest.raises(ValidationError):
            DolaStatic(name="dola", layer=layer)

    @pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan, math.inf, None, "much"])
    def test_a_lane_refuses_what_can_be_no_alpha(self, alpha):
        with pytest.raises(ValidationError):
            DolaStatic(name="dola", layer=22, alpha=alpha)

    @pytest.mark.parametrize(
        "setting",
        [
            {"max_new_tokens": 0},
            {"penalty_position": "between"},
            {"repetition_penalty": 0.0},
            {"repetition_penalty": math.nan},
            {"temperature": -1.0},
            {"temperature": math.inf},
            {"top_k": -1},
            {"top_p": 0.0},
            {"top_p": 1.1},
            {"min_p": math.nan},
            {"num_beams": 0},
            {"seed": -1},
            {"seed": MAX_SEED + 1},
            {"unknown": 1},
        ],
        ids=str,
    )
    def test_decoding_refuses_settings_out_of_range(self, setting):
        with pytest.raises(ValidationError):
            DecodingConfig(**setting)

    def test_lanes_and_decoding_never_change(self):
        for settings, name in ((DolaStatic(name="dola", layer=22), "layer"), (DecodingConfig(), "seed")):
            with pytest.raises(ValidationError):
                setattr(settings, name, 3)


class TestScores:
    def test_the_penalty_divides_positive_scores_and_multiplies_negative_ones(self):
        scores = torch.tensor([[2.0, -2.0, 3.0, -3.0]])
        after = apply_repetition_penalty(DecodingConfig(repetition_penalty=2.0), torch.tensor([[0, 1, 1]]), scores)
        assert after.tolist() == [[1.0, -4.0, 3.0, -3.0]]
        assert scores.tolist() == [[2.0, -2.0, 3.0, -3.0]]

    def test_each_row_is_penalised_for_its_own_text(self):
        after = apply_repetition_penalty(
            DecodingConfig(repetition_penalty=2.0), torch.tensor([[0], [1]]), torch.ones(2, 2)
        )
        assert after.tolist() == [[0.5, 1.0], [1.0, 0.5]]

    @pytest.mark.parametrize(("position", "penalty"), [("before", 1.5), ("after", 1.5), ("after", 1.0)])
    def test_the_penalty_meets_f_only_if_it_comes_after(self, position, penalty):
        decoding = DecodingConfig(repetition_penalty=penalty, penalty_position=position)
        log_q_J = torch.tensor([[0.1, 0.4, 0.1, 0.4]]).log()
        lane, ids = DolaStatic(layer=1, alpha=0.2), torch.tensor([[0, 1]])
        scores = lane_scores(lane, decoding, ids, LOG_P, log_q_J[None])
        F = [math.log(5), math.log(0.75), math.log(1.5), -math.inf]
        expected = penalise(np.array(F), [0, 1], penalty) if position == "after" else F
        assert scores[0].tolist() == pytest.approx(list(expected))


class TestChoice:
    def test_greedy_takes_the_best_and_the_lowest_id_among_equals(self):
        assert select_tokens(DecodingConfig(), torch.tensor([[1.0, 3.0, 3.0], [2.0, 1.0, 2.0]]), None).tolist() == [
            1,
            0,
        ]

    def test_greedy_makes_no_noise(self):
        assert gumbel_noise(DecodingConfig(), 0, 4) is None

    def test_noise_depends_on_seed_and_step_alone(self):
        first, second = DecodingConfig(temperature=1.0, seed=1), DecodingConfig(temperature=0.3, top_k=3, seed=1)
        assert torch.equal(gumbel_noise(first, 7, 50), gumbel_noise(second, 7, 50))
        assert not torch.equal(gumbel_noise(first, 7, 50), gumbel_noise(first, 8, 50))
        assert not torch.equal(gumbel_noise(first, 7, 50), gumbel_noise(DecodingConfig(temperature=1.0, seed=2), 7, 50))

    @given(exponent=st.floats(-320, 1), warpers=st.sampled_from(WARPERS), seed=st.integers(0, 99))
    def test_whatever_the_temperature_a_possible_token_is_drawn(self, exponent, warpers, seed):
        """The scores are those of a sharp and of a flat distribution, some impossible, as far apart as any are."""
        decoding = DecodingConfig(**(warpers | {"temperature": 10**exponent}), seed=seed)
        spread = torch.tensor([[0.1], [5.0], [80.0]])
        scores = spread * torch.randn(3, 20, generator=torch.Generator().manual_seed(seed))
        scores[:, ::4] = -torch.inf
        for row in scores.log_softmax(-1):
            chosen = select_tokens(decoding, row[None], gumbel_noise(decoding, 0, 20)).item()
            assert row[chosen] > -torch.inf
            if exponent < -6:
                assert chosen == row.argmax()

    @pytest.mark.parametrize("temperature", [1e-45, 1e-38, 1e-9, 9.99e-7])
    def test_a_temperature_too_small_to_draw_with_is_that_of_greedy_decoding(self, temperature):
        decoding = DecodingConfig(temperature=temperature, num_beams=2)
        assert (decoding.temperature, decoding.samples) == (0.0, False)
        assert DecodingConfig(temperature=MIN_TEMPERATURE).samples

    def test_the_largest_seed_works(self):
        assert gumbel_noise(DecodingConfig(temperature=1.0, seed=MAX_SEED), 0, 4).isfinite().all()

    @pytest.mark.parametrize("warpers", WARPERS, ids=str)
    def test_choices_over_many_seeds_have_the_warped_distribution(self, warpers):
        """Chi-square against the exact distribution; the bound is far out in the tail and the seeds are fixed."""
        draws = 3000
        scores = 2 * torch.randn(12, generator=torch.Generator().manual_seed(3))
        expected = warp(scores.double().numpy(), **warpers)
        counted = np.zeros(12)
        for seed in range(draws):
            decoding = DecodingConfig(**({"temperature": 1.0} | warpers), seed=seed)
            counted[select_tokens(decoding, scores[None], gumbel_noise(decoding, 0, 12)).item()] += 1
        assert (counted[expected == 0] == 0).all()
        kept = expected * draws >= 5
        chi_square = ((counted - draws * expected)[kept] ** 2 / (draws * expected)[kept]).sum()
        degrees = max(1, kept.sum() - 1)
        assert chi_square < degrees + 4 * math.sqrt(2 * degrees) + 4

    @pytest.mark.parametrize("temperature", [0.01, 0.7, 1.0, 3.0])
    def test_rows_drawn_at_once_are_those_drawn_one_by_one(self, temperature):
        """A top-k that keeps everything makes the warpers look at row by row."""
        scores = 2 * torch.randn(40, 30, generator=torch.Generator().manual_seed(4)).round(decimals=1)
        scores[torch.rand(40, 30, generator=torch.Generator().manual_seed(5)) < 0.5] = -torch.inf
        scores[:, 7] = 0.0
        for seed in range(20):
            at_once, one_by_one = (DecodingConfig(temperature=temperature, top_k=k, seed=seed) for k in (0, 30))
            noise = gumbel_noise(at_once, 0, 30)
            assert torch.equal(select_tokens(at_once, scores, noise), select_tokens(one_by_one, scores, noise))

    @pytest.mark.parametrize(
        "warpers", [{"top_k": 5}, {"top_p": 0.8}, {"min_p": 0.1}, {"top_k": 8, "top_p": 0.7}], ids=str
    )
    @pytest.mark.parametrize("size", [3, 16, 17, 300])
    def test_rows_with_the_same_possible_tokens_are_warped_at_once_as_they_are_one_by_one(self, warpers, size):
        """The layers of a what-if share their head. Many scores are equal, for the warpers' sort is not stable."""
        scores = 2 * torch.randn(29, size, generator=torch.Generator().manual_seed(size)).round(decimals=1)
        scores[:, torch.rand(size, generator=torch.Generator().manual_seed(1)) < 0.4] = -torch.inf
        scores[:, 0] = 0.5
        for seed in range(10):
            decoding = DecodingConfig(temperature=0.9, seed=seed, **warpers)
            noise = gumbel_noise(decoding, 0, size)
            alone = torch.cat([select_tokens(decoding, row[None], noise) for row in scores])
            assert torch.equal(select_tokens(decoding, scores, noise), alone)

    def test_lanes_with_equal_scores_and_noise_agree_and_close_ones_nearly_always(self):
        scores = 2 * torch.randn(50, generator=torch.Generator().manual_seed(0))
        close = scores + 0.1 * torch.randn(50, generator=torch.Generator().manual_seed(1))
        agreed = 0
        for seed in range(300):
            decoding = DecodingConfig(temperature=1.0, seed=seed)
            noise = gumbel_noise(decoding, 0, 50)
            one, same, near = (select_tokens(decoding, s[None], noise).item() for s in (scores, scores + 7.0, close))
            assert one == same
            agreed += one == near
        assert agreed > 0.85 * 300


@pytest.mark.parametrize("alpha", [True, "0.1", -0.1, 1.1, float("nan"), None])
def test_a_lane_takes_no_alpha_that_is_not_a_number_from_0_to_1(alpha):
    with pytest.raises(ValueError, match="alpha must be a number from 0 to 1"):
        DolaStatic(name="x", layer=3, alpha=alpha)
