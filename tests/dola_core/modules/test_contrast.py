"""The formulas, on vectors computed by hand and on random ones."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dola_core.contrast import (
    LN_2,
    check_alpha,
    check_layer,
    closeness,
    compute_probs_from_hidden,
    contrast_with_apc,
    default_layer,
    entropy,
    jensen_shannon,
    layer_entropies,
    layer_statistics,
    log_p_hat,
    log_ratio,
    log_softmax,
    plausible_head,
)

Q_N = torch.tensor([0.5, 0.3, 0.15, 0.05])
Q_J = torch.tensor([0.5, 0.1, 0.2, 0.2])
UNIFORM = torch.full((4,), 0.25)

alphas = st.floats(0.0, 1.0)


@st.composite
def logits(draw, rows=None):
    """Logits `[V]` or `[rows, V]` of any sharpness."""
    shape = (draw(st.integers(2, 40)),) if rows is None else (rows, draw(st.integers(2, 40)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return draw(st.sampled_from([0.1, 1.0, 5.0, 20.0])) * torch.randn(shape, generator=generator)


@st.composite
def two_distributions(draw):
    """`log q_N` and `log q_J` of the same size."""
    log_q_N = log_softmax(draw(logits()))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return log_q_N, log_softmax(draw(st.sampled_from([0.1, 3.0])) * torch.randn(log_q_N.shape, generator=generator))


@st.composite
def degenerate(draw, size=24):
    """Log-probabilities `[size]`: smooth, flat, with impossible tokens, with ones too rare for float32, or one-hot."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    x = draw(st.sampled_from([0.0, 1.0, 30.0])) * torch.randn(size, generator=generator)
    kind = draw(st.sampled_from(["plain", "impossible", "subnormal", "one-hot", "equal"]))
    if kind == "impossible":
        x[torch.rand(size, generator=generator) < 0.7] = -math.inf
        x[0] = 0.0
    elif kind == "subnormal":
        x[1:] = x[0] - 87 - 16 * torch.rand(size - 1, generator=generator)
    elif kind == "one-hot":
        x[1:] = -math.inf
    elif kind == "equal":
        x[:] = x[0]
    return log_softmax(x)


class TestByHand:
    def test_the_head_holds_what_reaches_alpha_times_the_maximum(self):
        assert plausible_head(Q_N.log(), 0.2).tolist() == [True, True, True, False]
        assert plausible_head(Q_N.log(), 0.5).tolist() == [True, True, False, False]

    def test_a_token_exactly_at_the_threshold_is_in_the_head(self):
        q_N = torch.tensor([0.5, 0.25, 0.125, 0.125])
        assert plausible_head(q_N.log(), 0.5).tolist() == [True, True, False, False]

    def test_alpha_zero_keeps_every_token_and_alpha_one_only_the_maximum(self):
        assert plausible_head(torch.tensor([0.0, -50.0, -math.inf]), 0.0).tolist() == [True, True, True]
        assert plausible_head(Q_N.log(), 1.0).tolist() == [True, False, False, False]
        assert plausible_head(UNIFORM.log(), 1.0).all()

    def test_log_ratio_is_the_difference_of_logs_on_the_head(self):
        F = log_ratio(Q_N.log(), Q_J.log(), 0.2)
        torch.testing.assert_close(F, torch.tensor([0.0, math.log(3.0), math.log(0.75), -math.inf]))

    def test_p_hat_is_proportional_to_the_ratio_on_the_head(self):
        expected = torch.tensor([1.0, 3.0, 0.75, 0.0]) / 4.75
        torch.testing.assert_close(contrast_with_apc(Q_N, Q_J, 0.2), expected)
        torch.testing.assert_close(log_p_hat(Q_N.log(), Q_J.log(), 0.2).exp(), expected)

    def test_contrast_can_change_the_winner(self):
        assert Q_N.argmax() == 0
        assert contrast_with_apc(Q_N, Q_J, 0.2).argmax() == 1

    def test_the_head_is_that_of_the_mature_distribution_not_the_early_one(self):
        p_hat = contrast_with_apc(torch.tensor([0.9, 0.05, 0.05]), torch.tensor([0.1, 0.45, 0.45]), 0.1)
        assert p_hat.tolist() == [1.0, 0.0, 0.0]

    def test_alpha_is_a_tenth_unless_given(self):
        torch.testing.assert_close(contrast_with_apc(Q_N, Q_J), contrast_with_apc(Q_N, Q_J, 0.1))

    def test_a_token_that_the_early_layer_rules_out_gives_no_infinity(self):
        p_hat = contrast_with_apc(torch.tensor([0.6, 0.4]), torch.tensor([1.0, 0.0]), 0.1)
        assert p_hat.isfinite().all()
        assert p_hat.argmax() == 1

    def test_divergence_of_two_known_distributions(self):
        p, q = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])
        by_hand = 0.5 * (0.5 * math.log(2 / 3) + 0.5 * math.log(2)) + 0.5 * math.log(4 / 3)
        assert jensen_shannon(p.log(), q.log()).item() == pytest.approx(by_hand, abs=1e-6)

    def test_entropy_of_known_distributions(self):
        assert entropy(UNIFORM.log()).item() == pytest.approx(math.log(4))
        assert entropy(torch.tensor([0.0, -math.inf])).item() == 0.0


class TestIdentities:
    @given(logits(), alphas)
    def test_equal_layers_give_a_uniform_head_and_not_the_baseline(self, x, alpha):
        log_q = log_softmax(x)
        head = plausible_head(log_q, alpha)
        p_hat = log_p_hat(log_q, log_q, alpha).exp()
        torch.testing.assert_close(p_hat, head / head.sum(), rtol=1e-5, atol=1e-6)

    @given(logits())
    def test_alpha_zero_with_a_uniform_early_layer_gives_the_baseline(self, x):
        log_q_N = log_softmax(x)
        uniform = torch.full_like(log_q_N, -math.log(len(log_q_N)))
        torch.testing.assert_close(log_p_hat(log_q_N, uniform, 0.0), log_q_N, rtol=1e-4, atol=1e-4)

    @given(two_distributions())
    def test_alpha_one_keeps_the_most_probable_token_alone(self, pair):
        p_hat = log_p_hat(*pair, 1.0).exp()
        assert p_hat.argmax() == pair[0].argmax()
        assert p_hat.max() == 1.0

    @given(logits())
    def test_probabilities_from_hidden_are_the_softmax_of_head_of_norm(self, h):
        torch.manual_seed(0)
        ln_out, phi = nn.RMSNorm(len(h)), nn.Linear(len(h), 11, bias=False)
        nn.init.uniform_(ln_out.weight, 0.3, 1.7)
        q = compute_probs_from_hidden(h, ln_out, phi)
        torch.testing.assert_close(q, phi(ln_out(h)).softmax(-1))


class TestProperties:
    @given(two_distributions(), alphas)
    def test_p_hat_sums_to_one_and_is_zero_exactly_outside_the_head(self, pair, alpha):
        head = plausible_head(pair[0], alpha)
        p_hat = contrast_with_apc(pair[0].exp(), pair[1].exp(), alpha)
        assert p_hat.sum().item() == pytest.approx(1.0, abs=1e-5)
        log_p = log_p_hat(*pair, alpha)
        assert (log_p[~head] == -math.inf).all()
        assert log_p[head].isfinite().all()

    @given(logits(), alphas)
    def test_the_most_probable_token_is_always_in_the_head(self, x, alpha):
        assert plausible_head(log_softmax(x), alpha)[x.argmax()]

    @given(logits(), alphas, alphas)
    def test_the_head_shrinks_as_alpha_grows(self, x, one, other):
        small, large = sorted((one, other))
        log_q = log_softmax(x)
        assert (plausible_head(log_q, large) <= plausible_head(log_q, small)).all()

    @given(logits(rows=6), logits(rows=6), alphas)
    def test_every_row_and_beam_is_contrasted_on_its_own(self, x, y, alpha):
        width = min(x.shape[1], y.shape[1])
        log_q_N, log_q_J = log_softmax(x[:, :width]), log_softmax(y[:, :width])
        rows = log_p_hat(log_q_N, log_q_J, alpha)
        assert torch.equal(rows, torch.stack([log_p_hat(n, j, alpha) for n, j in zip(log_q_N, log_q_J, strict=True)]))
        beams = log_p_hat(log_q_N.view(2, 3, -1), log_q_J.view(2, 3, -1), alpha)
        assert torch.equal(beams.view(6, -1), rows)

    @given(two_distributions())
    def test_divergence_is_symmetric_and_between_zero_and_ln_two(self, pair):
        one, other = jensen_shannon(*pair), jensen_shannon(*reversed(pair))
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
        assert 0.0 <= one <= LN_2 == math.log(2)

    @given(logits())
    def test_divergence_of_equal_distributions_is_zero(self, x):
        assert jensen_shannon(log_softmax(x), log_softmax(x)).item() == pytest.approx(0.0, abs=1e-6)

    @given(st.integers(1, 20), st.integers(1, 20))
    def test_divergence_of_disjoint_distributions_is_ln_two(self, a, b):
        p = torch.tensor([1.0 / a] * a + [0.0] * b).log()
        q = torch.tensor([0.0] * a + [1.0 / b] * b).log()
        assert jensen_shannon(p, q).item() == pytest.approx(math.log(2), abs=1e-6)

    @given(logits(rows=3))
    def test_divergence_of_many_rows_to_one_is_broadcast(self, x):
        log_q = log_softmax(x)
        together = jensen_shannon(log_q[:1], log_q)
        assert together.tolist() == pytest.approx([jensen_shannon(log_q[0], row).item() for row in log_q], abs=1e-6)

    @given(logits())
    def test_statistics_of_all_layers_at_once_are_those_of_each(self, x):
        other = log_softmax(x.flip(-1) * 30)  # so that some tokens are less probable than float32 can tell
        log_q = torch.stack([log_softmax(x), other, other.masked_fill(other < -40, -torch.inf), log_softmax(x / 2)])
        scratch = [tuple(torch.full_like(log_q[:most], torch.nan) for _ in range(3)) for most in (1, 3, 4)]
        for space in (None, *scratch):
            entropies, close = layer_statistics(log_q, log_q[-1], space)
            torch.testing.assert_close(entropies, entropy(log_q), atol=2e-5, rtol=1e-5)
            assert close.tolist() == [closeness(log_q[-1], one).item() for one in log_q]
            assert close[-1].item() == pytest.approx(math.log(2), abs=2e-6)
            if space:
                assert torch.equal(layer_entropies(log_q, space), entropies)

    @given(st.lists(degenerate(), min_size=2, max_size=7))
    def test_statistics_are_those_of_float64_whatever_the_distribution(self, rows):
        log_q = torch.stack(rows)
        exact = log_q.double()
        q, q_N = exact.exp(), exact[-1].exp()
        entropies, close = layer_statistics(log_q, log_q[-1])
        by_hand = -torch.where(q > 0, q * exact, 0.0).sum(-1)
        torch.testing.assert_close(entropies.double(), by_hand, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(entropy(log_q).double(), by_hand, atol=1e-6, rtol=1e-6)
        kl = [torch.where(x > 0, x * (2 * x / (q + q_N)).log(), 0.0).sum(-1) for x in (q, q_N.expand_as(q))]
        total = (0.5 * (q.sum(-1) + q_N.sum())) * math.log(2)  # of what float32 rounds to about 1
        torch.testing.assert_close(close.double(), total - 0.5 * sum(kl), atol=1e-6, rtol=1e-6)

    @given(logits())
    def test_entropy_is_between_zero_and_that_of_the_uniform(self, x):
        assert -1e-6 <= entropy(log_softmax(x)) <= math.log(len(x)) + 1e-5


class TestCloseness:
    @given(two_distributions())
    def test_is_what_the_divergence_lacks_of_ln_2(self, pair):
        lacks = math.log(2) - jensen_shannon(*pair)
        torch.testing.assert_close(closeness(*pair), lacks, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(closeness(*pair), closeness(*reversed(pair)))

    def test_tells_layers_apart_whose_divergences_round_to_ln_2(self):
        """Equal to the same sum in float64, of distributions that share a part of 1e-9 and less."""
        shared = torch.tensor([1e-9, 1e-12, 1e-20, 1e-30], dtype=torch.float64)
        p = torch.tensor([1.0, 0.0], dtype=torch.float64).clamp_min(1e-300)
        q = torch.stack([shared, 1 - shared], dim=-1)
        exact = 0.5 * (p * (q / p).log1p() + q * (p / q).log1p()).sum(-1)
        assert (jensen_shannon(p.log().float(), q.log().float()) == math.log(2)).sum() > 2
        found = closeness(p.log().float(), q.log().float())
        torch.testing.assert_close(found, exact.float(), rtol=1e-4, atol=0)

    def test_has_the_same_bits_however_many_rows_there_are(self):
        """Of a large vocabulary too, whose only sum would be divided among threads."""
        threads = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            log_q = log_softmax(3 * torch.randn(9, 70_000, generator=torch.Generator().manual_seed(0)))
            together = closeness(log_q[-1], log_q)
            assert [closeness(log_q[-1], row).item() for row in log_q] == together.tolist()
            assert torch.equal(layer_statistics(log_q, log_q[-1])[1], together)
        finally:
            torch.set_num_threads(threads)

    def test_of_distributions_with_nothing_in_common_is_next_to_0(self):
        p, q = torch.eye(2).log()
        assert 0 <= closeness(p, q) < 1e-32


class TestDtypes:
    def test_bfloat16_logits_are_normalised_in_float32(self):
        x = (5 * torch.randn(200, generator=torch.Generator().manual_seed(0))).bfloat16()
        assert log_softmax(x).dtype == torch.float32
        assert torch.equal(log_softmax(x), x.float().log_softmax(-1))
        assert not torch.equal(log_softmax(x), x.log_softmax(-1).float())

    def test_bfloat16_probabilities_are_contrasted_in_float32(self):
        q_N, q_J = Q_N.bfloat16(), Q_J.bfloat16()
        p_hat = contrast_with_apc(q_N, q_J, 0.2)
        assert p_hat.dtype == torch.float32
        assert torch.equal(p_hat, contrast_with_apc(q_N.float(), q_J.float(), 0.2))

    def test_probabilities_from_bfloat16_hidden_states_are_float32(self):
        phi = nn.Linear(8, 5, bias=False, dtype=torch.bfloat16)
        h = torch.randn(3, 8, dtype=torch.bfloat16)
        q = compute_probs_from_hidden(h, nn.Identity(), phi)
        assert q.dtype == torch.float32
        assert torch.equal(q, phi(h).float().log_softmax(-1).exp())


class TestChecks:
    @pytest.mark.parametrize("layer", [True, False, -1, 0, 30, 31, 10**9, math.nan, math.inf, "22", None, 22.0, [22]])
    def test_a_layer_that_is_none_is_refused_with_the_range(self, layer):
        with pytest.raises(ValueError, match=r"from 1 to 29 .*30 layers"):
            check_layer(layer, 30)

    @pytest.mark.parametrize("layer", [1, 29, torch.tensor([7]).numpy()[0]])
    def test_a_layer_becomes_an_int(self, layer):
        checked = check_layer(layer, 30)
        assert checked == layer
        assert type(checked) is int

    @pytest.mark.parametrize(
        "alpha", [True, False, -0.1, 1.0001, math.nan, math.inf, -math.inf, "0.1", None, [0.1], 1j]
    )
    def test_an_alpha_that_is_none_is_refused_with_the_range(self, alpha):
        with pytest.raises(ValueError, match="from 0 to 1"):
            check_alpha(alpha)

    @pytest.mark.parametrize("alpha", [0, 1, 0.1, 0.0, 1.0])
    def test_an_alpha_becomes_a_float(self, alpha):
        checked = check_alpha(alpha)
        assert checked == alpha
        assert type(checked) is float

    def test_contrast_checks_its_alpha(self):
        with pytest.raises(ValueError, match="from 0 to 1"):
            contrast_with_apc(Q_N, Q_J, 1.5)

    def test_contrast_refuses_distributions_of_different_shapes(self):
        with pytest.raises(ValueError, match="same shape"):
            contrast_with_apc(Q_N, Q_J[:3])
        with pytest.raises(ValueError, match="same shape"):
            contrast_with_apc(Q_N[None].expand(2, -1), Q_J)

    @pytest.mark.parametrize(("n_layers", "layer"), [(30, 22), (32, 24), (12, 9), (2, 1)])
    def test_the_default_layer_is_three_quarters_up_and_always_a_layer(self, n_layers, layer):
        assert default_layer(n_layers) == layer
