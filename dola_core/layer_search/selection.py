"""Choose the best (j*, α) on a set of questions, and estimate how sure the choice is and whether it fits every domain.

All functions take `values` `[n, S]`: the metric of n questions at S settings, first the baseline and then every
(layer, α), α fastest. Questions about the same entity (a cluster) are not independent, so resampling draws whole
clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dola_core.display import format_signed
from dola_core.layer_search.result import Domain, Interval, Stability

SAMPLES = 2000
"""Bootstrap samples."""
SPLITS = 400
"""Random splits into halves."""
SEED = 0
PERCENTILES = (2.5, 97.5)
"""The ends of a 95 % interval."""
MIN_CLUSTERS = 20
"""Clusters that a set of questions, or a domain, must have for a layer to be chosen on it."""
JITTER = 1e-9
"""Random tie-breaker between settings with the same mean: always taking the lowest layer would look like a choice."""


@dataclass(frozen=True)
class SettingGrid:
    """The (layer, α) of each column of `values`; column 0 is the baseline."""

    layers: tuple[int, ...]
    alphas: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.layers or not self.alphas:
            raise ValueError("There must be a layer and an α to choose from.")

    def setting(self, column: int) -> tuple[int, float]:
        """The (layer, α) of a column, 1 or more."""
        return self.layers[(column - 1) // len(self.alphas)], self.alphas[(column - 1) % len(self.alphas)]

    def column(self, layer: int, alpha: float) -> int:
        """The column of a (layer, α)."""
        return 1 + self.layers.index(layer) * len(self.alphas) + self.alphas.index(alpha)


class ClusterBootstrap:
    """Bootstrap samples of whole clusters of questions.

    All settings and domains share the same samples, so that differences between them are paired.
    """

    def __init__(self, clusters: Sequence[str], samples: int = SAMPLES, seed: int = SEED) -> None:
        """`clusters[i]` names the cluster of question i; a question with an empty name is a cluster of its own."""
        self.cluster_ids = _number_clusters(clusters)
        """`[n]`: the cluster of each question, as a number from 0."""
        self.n_clusters = int(self.cluster_ids.max()) + 1
        uniform = np.full(self.n_clusters, 1 / self.n_clusters)
        counts = np.random.default_rng(seed).multinomial(self.n_clusters, uniform, size=samples)
        self.weights = counts[:, self.cluster_ids].astype(np.float64)
        """`[samples, n]`: how often each question is in each sample."""

    def means(self, values: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
        """Mean of `values` `[n, S]` in every sample: `[samples, S]`.

        `where`, a mask `[n]`, restricts it to some questions, and to the samples that contain any of them.
        """
        weights = self.weights if where is None else self.weights[:, where]
        weights = weights[weights.sum(1) > 0]
        return weights @ (values if where is None else values[where]) / weights.sum(1, keepdims=True)

    def intervals(self, values: np.ndarray, where: np.ndarray | None = None) -> list[Interval]:
        """The mean of each column of `values` `[n, S]` with its interval; `where` as for `means`."""
        selected = values if where is None else values[where]
        low, high = np.percentile(self.means(values, where), PERCENTILES, axis=0)
        return [Interval(*(float(x) for x in row)) for row in zip(selected.mean(0), low, high, strict=True)]


def _number_clusters(clusters: Sequence[str]) -> np.ndarray:
    """The clusters as numbers from 0 in order of appearance, `[n]`; each empty name counts as a cluster of its own."""
    numbers: dict[str | int, int] = {}
    return np.array([numbers.setdefault(name or index, len(numbers)) for index, name in enumerate(clusters)])


def best_column(means: np.ndarray) -> int:
    """The column of the best setting of `means` `[S]`, without the baseline; of equals the lowest layer, then α."""
    return 1 + int(means[1:].argmax())


def not_worse(values: np.ndarray, bootstrap: ClusterBootstrap) -> list[int]:
    """The columns, 1 or more, whose settings may be the best, with chance over all settings taken into account.

    Multiple comparisons with the best (Hsu 1981), with bootstrap bounds: the best of many settings looks better than it
    is, so comparing each setting with it alone would call too many of them worse.
    """
    means = values.mean(0)[1:]
    deviations = bootstrap.means(values)[:, 1:] - means
    bound = np.percentile(deviations.max(1, keepdims=True) - deviations, 95, axis=0)
    return [1 + int(n) for n in np.flatnonzero(means.max() - means <= bound)]


def best_columns(means: np.ndarray) -> np.ndarray:
    """The best column, 1 or more, of each row of `means` `[rows, S]`: `[rows]`. Ties are broken at random."""
    jitter = JITTER * np.random.default_rng(SEED).random(means[:, 1:].shape)
    return 1 + (means[:, 1:] + jitter).argmax(1)


def split_stability(values: np.ndarray, clusters: Sequence[str], grid: SettingGrid, splits: int = SPLITS) -> Stability:
    """Choose a setting on each half of random splits that keep clusters whole, and test it on the other half."""
    first_half, second_half = halves(clusters, splits)
    first, second = masked_means(values, first_half), masked_means(values, second_half)
    best_first, best_second = best_columns(first), best_columns(second)
    rows = np.arange(splits)
    losses = [second[rows, best_second] - second[rows, best_first], first[rows, best_first] - first[rows, best_second]]
    gains = [second[rows, best_first] - second[:, 0], first[rows, best_second] - first[:, 0]]
    layers = np.array([grid.setting(column)[0] for column in range(1, values.shape[1])])
    layers_first, layers_second = layers[best_first - 1], layers[best_second - 1]
    chosen = np.concatenate([layers_first, layers_second])
    shares = sorted(((int(n), float((chosen == n).mean())) for n in np.unique(chosen)), key=lambda pair: -pair[1])
    return Stability(
        same_layer=float((layers_first == layers_second).mean()),
        layers=dict(shares),
        loss=spread(np.concatenate(losses)),
        gain=spread(np.concatenate(gains)),
    )


def halves(clusters: Sequence[str], splits: int) -> tuple[np.ndarray, np.ndarray]:
    """Random halves of the questions as masks, with every cluster in one half: bool `[splits, n]`, twice."""
    cluster_ids = _number_clusters(clusters)
    n_clusters = int(cluster_ids.max()) + 1
    if n_clusters < 2:
        raise ValueError("There must be at least two questions that are about different things.")
    rng = np.random.default_rng(SEED)
    order = rng.random((splits, n_clusters)).argsort(1).argsort(1)
    first = (order < (n_clusters + 1) // 2)[:, cluster_ids]
    return first, ~first


def masked_means(values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The mean of `values` `[n, S]` over the questions of each mask `[splits, n]`: `[splits, S]`."""
    return masks @ values / masks.sum(1, keepdims=True)


def spread(values: np.ndarray) -> Interval:
    """Mean and 95 % spread of `values` `[n]`."""
    low, high = np.percentile(values, PERCENTILES)
    return Interval(float(values.mean()), float(low), float(high))


def compare_domains(
    values: np.ndarray, names: Sequence[str], clusters: Sequence[str], grid: SettingGrid, bootstrap: ClusterBootstrap
) -> list[Domain]:
    """Every domain with at least `MIN_CLUSTERS` clusters, in order of appearance; none if all questions are of one."""
    name_of = np.asarray(names, dtype=object)
    fixed = best_column(values.mean(0))
    compared = []
    for name in dict.fromkeys(names):
        where = name_of == name
        if not name or where.all() or len(np.unique(bootstrap.cluster_ids[where])) < MIN_CLUSTERS:
            continue
        own = best_column(values[where].mean(0))
        layer, alpha = grid.setting(own)
        sampled = best_columns(bootstrap.means(values, where))
        layers = np.array([grid.setting(int(column))[0] for column in sampled])
        low, high = np.percentile(layers, PERCENTILES, method="inverted_cdf")
        intervals = bootstrap.intervals(values, where)
        gain = _own_gain(values, where, clusters)
        domain = Domain(
            name=name,
            items=int(where.sum()),
            layer=layer,
            alpha=alpha,
            layers=(int(low), int(high)),
            baseline=intervals[0],
            fixed=intervals[fixed],
            own=intervals[own],
            gain=gain,
            disagrees=gain.low > 0 and layer != grid.setting(fixed)[0],
        )
        compared.append(domain)
    return compared


def _own_gain(values: np.ndarray, where: np.ndarray, clusters: Sequence[str], splits: int = SPLITS) -> Interval:
    """The setting chosen on the domain `where` minus the one chosen on all questions.

    Both are chosen on one half of the questions and tested on the other half of the domain.
    """
    gains = []
    for half in halves(clusters, splits):
        seen, unseen = half & where, ~half & where
        usable = (seen.sum(1) > 0) & (unseen.sum(1) > 0)
        seen, unseen, half = seen[usable], unseen[usable], half[usable]
        own, fixed = best_columns(masked_means(values, seen)), best_columns(masked_means(values, half))
        tested, rows = masked_means(values, unseen), np.arange(len(unseen))
        gains.append(tested[rows, own] - tested[rows, fixed])
    return spread(np.concatenate(gains))


def verdict(best: tuple[int, float], stable: Stability, domains: Sequence[Domain], unit: str = "points") -> str:
    """The conclusion in English: whether a fixed layer helps at all, and whether one layer suits all domains.

    `best` is the (layer, α) chosen on all questions; `unit` is "points", hundredths of a share, or "nats".
    """
    mean, low, high = (format_signed(change, unit) for change in stable.gain)
    chosen = f"j* = {best[0]}, α = {best[1]:g}"
    tested = (
        f"chosen on one half of the questions and tested on the other, a layer gives {mean} {unit}, "
        f"95 % interval {low} to {high} against the baseline"
    )
    match stable.effect:
        case "helps":
            text = f"A fixed layer helps: {chosen} is best; {tested}."
        case "hurts":
            text = f"No fixed layer is good here: {chosen} is the best of them, but {tested}."
        case "chance":
            text = f"No fixed layer is better than the baseline beyond chance: {chosen} is the best of them; {tested}."
    disagreeing = [domain for domain in domains if domain.disagrees]
    if not domains:
        return f"{text} The questions are of one domain, or of domains too small to compare."
    if not disagreeing:
        compared = "the domain" if len(domains) == 1 else f"the {len(domains)} domains"
        return (
            f"{text} One fixed layer serves {compared} large enough to compare: no other layer is better beyond chance."
        )
    losses = "; ".join(
        f"on {domain.name} it loses {format_signed(domain.gain.mean, unit)[1:]} {unit} to a setting chosen there, "
        f"such as j* = {domain.layer}"
        for domain in disagreeing
    )
    return f"{text} Domains disagree: {losses}."


def verdict_on_one(setting: tuple[int, float], difference: Interval, unit: str = "points") -> str:
    """The conclusion in English on a setting (layer, α) that was chosen before, on other questions."""
    mean, low, high = (format_signed(change, unit) for change in difference)
    against = {"helps": "better than the baseline", "hurts": "worse than the baseline"}
    effect = against.get(difference.effect, "no better and no worse than the baseline beyond chance")
    gain = f"{mean} {unit}, 95 % interval {low} to {high}"
    return f"j* = {setting[0]}, α = {setting[1]:g}, chosen before, is {effect}: {gain}."
