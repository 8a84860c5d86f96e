"""Choosing a setting, on values where the right choice is known."""

import numpy as np
import pytest

from dola_core.layer_search.selection import (
    FEWEST,
    Draws,
    Settings,
    best_column,
    domains,
    not_worse,
    stability,
    verdict,
)

SETTINGS = Settings(layers=(3, 11, 22), alphas=(0.1, 0.5))
N = 400


def coins(*shares, n=N, seed=0):
    """`[n, S]`: each column is worth 1 in its share of questions; the same question is easy or hard for all columns."""
    luck = np.random.default_rng(seed).random(n)
    return (luck[:, None] < np.array(shares)).astype(float)


def alone(n=N):
    return [""] * n


def test_columns_are_layers_by_alphas_after_the_baseline():
    assert [SETTINGS.of(column) for column in range(1, 7)] == [
        (3, 0.1), (3, 0.5), (11, 0.1), (11, 0.5), (22, 0.1), (22, 0.5),
    ]  # fmt: skip
    for column in range(1, 7):
        assert SETTINGS.column(*SETTINGS.of(column)) == column


def test_the_best_is_found_and_ties_go_to_the_lowest_layer_and_alpha():
    assert best_column(np.array([0.9, 0.1, 0.2, 0.5, 0.5, 0.5, 0.1])) == 3


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    held = 0
    for seed in range(100):
        values = (np.random.default_rng(seed).random((200, 1)) < 0.3).astype(float)
        (found,) = Draws(alone(200), draws=400, seed=seed).interval(values)
        assert found.low <= found.mean <= found.high
        held += found.low <= 0.3 <= found.high
    assert 88 <= held <= 99


def test_questions_about_one_thing_are_drawn_together():
    """Ten questions that always go alike tell no more than one does."""
    values = np.repeat((np.random.default_rng(1).random((40, 1)) < 0.5).astype(float), 10, axis=0)
    (together,) = Draws([str(n // 10) for n in range(400)]).interval(values)
    (apart,) = Draws(alone()).interval(values)
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_layers_that_are_as_good_are_not_called_worse_and_others_are():
    values = coins(0.5, 0.4, 0.4, 0.6, 0.595, 0.2, 0.6)
    assert not_worse(values, Draws(alone())) == [3, 4, 6]


def test_the_best_of_many_equals_does_not_make_the_others_worse():
    """Each alone, compared with the luckiest, would too often be called worse."""
    left_out = 0
    for seed in range(40):
        values = (np.random.default_rng(seed).random((200, 31)) < 0.5).astype(float)
        left_out += 30 - len(not_worse(values, Draws(alone(200), draws=300, seed=seed)))
    assert left_out / (40 * 30) < 0.1  # 5 % are meant; one by one it is 27 %


def test_exact_equals_are_chosen_by_chance_and_not_by_their_number():
    layers = stability(np.tile(coins(0.5), 7), alone(), SETTINGS).layers
    assert set(layers) == {3, 11, 22}
    assert all(0.2 < share < 0.5 for share in layers.values())


def test_a_domain_about_few_things_is_not_compared():
    values, names = drifting()
    things = [f"{name} {n % (FEWEST - 1)}" if name == "sport" else "" for n, name in enumerate(names)]
    assert [one.name for one in domains(values, names, things, SETTINGS, Draws(things))] == ["geography", "chemistry"]


def test_a_clear_choice_is_stable_and_an_even_field_is_not():
    clear = stability(coins(0.5, 0.3, 0.3, 0.7, 0.3, 0.3, 0.3), alone(), SETTINGS)
    assert clear.same_layer == 1
    assert clear.layers == {11: 1}
    assert clear.loss.mean == clear.loss.low == clear.loss.high == 0
    assert clear.gain.mean == pytest.approx(0.2, abs=0.05)
    assert clear.gain.low > 0.1
    even = stability((np.random.default_rng(0).random((N, 7)) < 0.5).astype(float), alone(), SETTINGS)
    assert 0.1 < even.same_layer < 0.7
    assert even.loss.mean > 0.01
    assert even.gain.low < 0 < even.gain.high
    assert sum(even.layers.values()) == pytest.approx(1)


def drifting():
    """Geography wants layer 3, chemistry layer 22, sport has no wish."""
    names = ["geography"] * N + ["chemistry"] * N + ["sport"] * N + ["few"] * 5
    values = np.concatenate(
        [
            coins(0.5, 0.7, 0.7, 0.5, 0.5, 0.2, 0.2, seed=1),
            coins(0.5, 0.2, 0.2, 0.5, 0.5, 0.95, 0.95, seed=2),
            coins(0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, seed=3),
            coins(*[0.5] * 7, n=5),
        ]
    )
    return values, names


def test_domains_that_want_different_layers_are_told_apart():
    values, names = drifting()
    things = alone(len(names))
    drift = domains(values, names, things, SETTINGS, Draws(things))
    assert [domain.name for domain in drift] == ["geography", "chemistry", "sport"]
    geography, chemistry, sport = drift
    assert (geography.layer, geography.layers) == (3, (3, 3))
    assert (chemistry.layer, chemistry.layers) == (22, (22, 22))
    assert [domain.disagrees for domain in drift] == [True, False, False]
    assert geography.gain.mean == pytest.approx(0.5, abs=0.1)
    assert chemistry.gain.mean == pytest.approx(0, abs=0.05)
    assert sport.own.mean == sport.fixed.mean
    assert {domain.fixed_layer for domain in drift} == {22}
    said = verdict((22, 0.1), stability(values, things, SETTINGS), drift)
    assert "Domains disagree: on geography it loses" in said
    assert "such as j* = 3" in said
    assert said.endswith("A dynamic layer choice would be the better method.")


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ((0.5, 0.3, 0.3, 0.7, 0.3, 0.3, 0.3), "A fixed layer helps: j* = 11, α = 0.1 is best"),
        ((0.5, 0.3, 0.3, 0.5, 0.3, 0.3, 0.3), "No fixed layer is better than the baseline beyond chance"),
        ((0.5, 0.1, 0.1, 0.3, 0.1, 0.1, 0.1), "No fixed layer is good here: j* = 11, α = 0.1 is the best of them"),
    ],
)
def test_the_verdict_says_whether_a_fixed_layer_helps_at_all(shares, said):
    values = coins(*shares)
    stable = stability(values, alone(), SETTINGS)
    names = ["a"] * (N // 2) + ["b"] * (N // 2)
    drift = domains(values, names, alone(), SETTINGS, Draws(alone()))
    text = verdict((11, 0.1), stable, drift)
    assert text.startswith(said)
    assert "One fixed layer serves the 2 domains large enough to compare" in text
    assert "of one domain" in verdict((11, 0.1), stable, [])


def test_too_little_to_choose_from_is_said():
    with pytest.raises(ValueError, match="a layer and an α"):
        Settings(layers=(), alphas=(0.1,))
    with pytest.raises(ValueError, match="at least two questions"):
        stability(coins(*[0.5] * 7, n=3), ["same"] * 3, SETTINGS)
