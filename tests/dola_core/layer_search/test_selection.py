"""Choosing a setting on values where the right choice is known."""

import numpy as np
import pytest

from dola_core.layer_search.selection import (
    MIN_CLUSTERS,
    ClusterBootstrap,
    SettingGrid,
    best_column,
    compare_domains,
    not_worse,
    split_stability,
    verdict,
)

GRID = SettingGrid(layers=(3, 11, 22), alphas=(0.1, 0.5))
N = 400


def coins(*shares, n=N, seed=0):
    """`[n, S]`: each column is 1 on its share of the questions; a question is equally hard for all columns."""
    difficulty = np.random.default_rng(seed).random(n)
    return (difficulty[:, None] < np.array(shares)).astype(float)


def no_clusters(n=N):
    """Every question is a cluster of its own."""
    return [""] * n


def test_columns_are_layers_by_alphas_after_the_baseline():
    assert [GRID.setting(column) for column in range(1, 7)] == [
        (3, 0.1), (3, 0.5), (11, 0.1), (11, 0.5), (22, 0.1), (22, 0.5),
    ]  # fmt: skip
    for column in range(1, 7):
        assert GRID.column(*GRID.setting(column)) == column


def test_the_best_column_is_the_first_of_equals():
    assert best_column(np.array([0.9, 0.1, 0.2, 0.5, 0.5, 0.5, 0.1])) == 3


def test_intervals_cover_the_true_mean_about_as_often_as_they_claim():
    covered = 0
    for seed in range(100):
        values = (np.random.default_rng(seed).random((200, 1)) < 0.3).astype(float)
        (interval,) = ClusterBootstrap(no_clusters(200), samples=400, seed=seed).intervals(values)
        assert interval.low <= interval.mean <= interval.high
        covered += interval.low <= 0.3 <= interval.high
    assert 88 <= covered <= 99


def test_questions_about_one_entity_are_drawn_together():
    """Ten questions that are always right or wrong together carry no more information than one."""
    values = np.repeat((np.random.default_rng(1).random((40, 1)) < 0.5).astype(float), 10, axis=0)
    (together,) = ClusterBootstrap([str(n // 10) for n in range(400)]).intervals(values)
    (apart,) = ClusterBootstrap(no_clusters()).intervals(values)
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_settings_that_are_as_good_are_not_called_worse_and_others_are():
    values = coins(0.5, 0.4, 0.4, 0.6, 0.595, 0.2, 0.6)
    assert not_worse(values, ClusterBootstrap(no_clusters())) == [3, 4, 6]


def test_the_best_of_many_equal_settings_does_not_make_the_others_worse():
    """Compared one by one with the luckiest, they would too often be called worse."""
    called_worse = 0
    for seed in range(40):
        values = (np.random.default_rng(seed).random((200, 31)) < 0.5).astype(float)
        called_worse += 30 - len(not_worse(values, ClusterBootstrap(no_clusters(200), samples=300, seed=seed)))
    assert called_worse / (40 * 30) < 0.1  # 5 % are intended; compared one by one it would be 27 %


def test_exact_ties_are_broken_at_random_and_not_by_order():
    layers = split_stability(np.tile(coins(0.5), 7), no_clusters(), GRID).layers
    assert set(layers) == {3, 11, 22}
    assert all(0.2 < share < 0.5 for share in layers.values())


def test_a_domain_with_few_clusters_is_not_compared():
    values, names = three_domains()
    clusters = [f"{name} {n % (MIN_CLUSTERS - 1)}" if name == "sport" else "" for n, name in enumerate(names)]
    assert [domain.name for domain in compare_domains(values, names, clusters, GRID, ClusterBootstrap(clusters))] == [
        "geography",
        "chemistry",
    ]


def test_a_clear_choice_is_stable_and_a_tie_is_not():
    clear = split_stability(coins(0.5, 0.3, 0.3, 0.7, 0.3, 0.3, 0.3), no_clusters(), GRID)
    assert clear.same_layer == 1
    assert clear.layers == {11: 1}
    assert clear.loss.mean == clear.loss.low == clear.loss.high == 0
    assert clear.gain.mean == pytest.approx(0.2, abs=0.05)
    assert clear.gain.low > 0.1
    even = split_stability((np.random.default_rng(0).random((N, 7)) < 0.5).astype(float), no_clusters(), GRID)
    assert 0.1 < even.same_layer < 0.7
    assert even.loss.mean > 0.01
    assert even.gain.low < 0 < even.gain.high
    assert sum(even.layers.values()) == pytest.approx(1)


def three_domains():
    """Layer 3 is best for geography, layer 22 for chemistry, and none for sport."""
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


def test_domains_whose_best_layers_differ_disagree():
    values, names = three_domains()
    clusters = no_clusters(len(names))
    domains = compare_domains(values, names, clusters, GRID, ClusterBootstrap(clusters))
    assert [domain.name for domain in domains] == ["geography", "chemistry", "sport"]
    geography, chemistry, sport = domains
    assert (geography.layer, geography.layers) == (3, (3, 3))
    assert (chemistry.layer, chemistry.layers) == (22, (22, 22))
    assert [domain.disagrees for domain in domains] == [True, False, False]
    assert geography.gain.mean == pytest.approx(0.5, abs=0.1)
    assert chemistry.gain.mean == pytest.approx(0, abs=0.05)
    assert sport.own.mean == sport.fixed.mean
    assert GRID.setting(best_column(values.mean(0)))[0] == 22
    text = verdict((22, 0.1), split_stability(values, clusters, GRID), domains)
    assert "Domains disagree: on geography it loses" in text
    assert "such as j* = 3" in text
    assert text.endswith("such as j* = 3.")


@pytest.mark.parametrize(
    ("shares", "beginning"),
    [
        ((0.5, 0.3, 0.3, 0.7, 0.3, 0.3, 0.3), "A fixed layer helps: j* = 11, α = 0.1 is best"),
        ((0.5, 0.3, 0.3, 0.5, 0.3, 0.3, 0.3), "No fixed layer is better than the baseline beyond chance"),
        ((0.5, 0.1, 0.1, 0.3, 0.1, 0.1, 0.1), "No fixed layer is good here: j* = 11, α = 0.1 is the best of them"),
    ],
)
def test_the_verdict_says_whether_a_fixed_layer_helps_at_all(shares, beginning):
    values = coins(*shares)
    stable = split_stability(values, no_clusters(), GRID)
    names = ["a"] * (N // 2) + ["b"] * (N // 2)
    domains = compare_domains(values, names, no_clusters(), GRID, ClusterBootstrap(no_clusters()))
    text = verdict((11, 0.1), stable, domains)
    assert text.startswith(beginning)
    assert "One fixed layer serves the 2 domains large enough to compare" in text
    assert "of one domain" in verdict((11, 0.1), stable, [])


def test_too_few_settings_or_clusters_raise():
    with pytest.raises(ValueError, match="a layer and an α"):
        SettingGrid(layers=(), alphas=(0.1,))
    with pytest.raises(ValueError, match="at least two questions"):
        split_stability(coins(*[0.5] * 7, n=3), ["same"] * 3, GRID)
