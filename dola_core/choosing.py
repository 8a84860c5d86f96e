"""Which (j*, α) is best on a set of questions, how sure that is, and whether one layer serves all of it.

Everything here works on `values` `[n, S]`: what each question is worth at each setting, the baseline first and then
every (layer, α), α running faster. Questions about the same thing are not independent, so whole things are drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000
HALVES = 400
SEED = 0
LOW, HIGH = 2.5, 97.5
"""Percentiles of a 95 % interval."""
SMALLEST_DOMAIN = 20
"""Questions that a domain needs for a layer of its own to be looked for."""


@dataclass(frozen=True)
class Settings:
    """The (layer, α) that the columns of `values` stand for, after the baseline's."""

    layers: tuple[int, ...]
    alphas: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.layers or not self.alphas:
            raise ValueError("There must be a layer and an α to choose from.")

    def of(self, column: int) -> tuple[int, float]:
        """The setting of a column from 1 up."""
        return self.layers[(column - 1) // len(self.alphas)], self.alphas[(column - 1) % len(self.alphas)]

    def column(self, layer: int, alpha: float) -> int:
        """The column of a setting."""
        return 1 + self.layers.index(layer) * len(self.alphas) + self.alphas.index(alpha)


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


class Draws:
    """Bootstrap samples of questions, the same for every setting and domain, so that differences are paired."""

    def __init__(self, things: Sequence[str], draws: int = DRAWS, seed: int = SEED) -> None:
        """`things[i]` is what question i is about; empty ones each stand for themselves."""
        names = [thing or f"\0{place}" for place, thing in enumerate(things)]
        unique, self.which = np.unique(np.asarray(names, dtype=object).astype(str), return_inverse=True)
        evenly = np.full(len(unique), 1 / len(unique))
        drawn = np.random.default_rng(seed).multinomial(len(unique), evenly, size=draws)
        self.weights = drawn[:, self.which].astype(np.float64)
        """How often each question is in each sample, `[draws, n]`."""

    def means(self, values: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
        """Mean of `values` `[n, S]` in every sample, of the questions `where` (bool `[n]`): `[draws, S]`."""
        weights = self.weights if where is None else self.weights * where
        return weights @ values / np.maximum(weights.sum(1, keepdims=True), 1)

    def interval(self, values: np.ndarray, where: np.ndarray | None = None) -> list[Interval]:
        """The mean of each column with its interval."""
        chosen = values if where is None else values[where]
        low, high = np.percentile(self.means(values, where), (LOW, HIGH), axis=0)
        return [Interval(*(float(x) for x in row)) for row in zip(chosen.mean(0), low, high, strict=True)]


def best_column(means: np.ndarray) -> int:
    """The best setting of `means` `[S]`, the baseline left out; among equals the lowest layer, then the lowest α."""
    return 1 + int(means[1:].argmax())


def not_worse(values: np.ndarray, draws: Draws, best: int) -> list[int]:
    """Columns, from 1 up, that a paired bootstrap does not find worse than `best`: the interval of the loss holds 0."""
    drawn = draws.means(values)
    loss = np.percentile(drawn[:, [best]] - drawn[:, 1:], LOW, axis=0)
    return [1 + int(n) for n in np.flatnonzero(loss <= 0)]


@dataclass(frozen=True)
class Stability:
    """What becomes of the choice when it is made on random halves of the questions.

    Intervals are the mean and the 95 % spread over splits. A half differs from the whole about as much as the whole
    from another sample of its size (delete-half jackknife), so they can be read as 95 % intervals.
    """

    same_layer: float
    """Share of splits in which both halves choose the same layer."""
    layers: dict[int, float]
    """{layer: share of halves that choose it}, the most frequent first."""
    loss: Interval
    """What one half's choice is worth less, on the other half, than that half's own best."""
    gain: Interval
    """What one half's choice is worth more than the baseline on the other half: the gain without the luck of having
    looked."""


def stability(values: np.ndarray, things: Sequence[str], settings: Settings, splits: int = HALVES) -> Stability:
    """Choose on random halves, each thing in one of them, and look at the other half."""
    first, second = _halves(things, splits)
    one, other = (_half_means(values, half) for half in (first, second))
    here, there = (1 + means[:, 1:].argmax(1) for means in (one, other))
    rows = np.arange(splits)
    losses = np.concatenate([other[rows, there] - other[rows, here], one[rows, here] - one[rows, there]])
    gains = np.concatenate([other[rows, here] - other[:, 0], one[rows, there] - one[:, 0]])
    layer = np.array([settings.of(column)[0] for column in range(1, values.shape[1])])
    chosen = np.concatenate([layer[here - 1], layer[there - 1]])
    counted = sorted(((int(n), float((chosen == n).mean())) for n in np.unique(chosen)), key=lambda pair: -pair[1])
    return Stability(
        same_layer=float((layer[here - 1] == layer[there - 1]).mean()),
        layers=dict(counted),
        loss=_spread(losses),
        gain=_spread(gains),
    )


def _halves(things: Sequence[str], splits: int) -> tuple[np.ndarray, np.ndarray]:
    """Bool `[splits, n]`, twice: the questions of either half."""
    which = Draws(things, draws=1).which
    count = int(which.max()) + 1
    if count < 2:
        raise ValueError("There must be at least two questions that are about different things.")
    rng = np.random.default_rng(SEED)
    order = rng.random((splits, count)).argsort(1).argsort(1)
    first = (order < (count + 1) // 2)[:, which]
    return first, ~first


def _half_means(values: np.ndarray, half: np.ndarray) -> np.ndarray:
    return half @ values / half.sum(1, keepdims=True)


def _spread(found: np.ndarray) -> Interval:
    low, high = np.percentile(found, (LOW, HIGH))
    return Interval(float(found.mean()), float(low), float(high))


@dataclass(frozen=True)
class Domain:
    """One domain and the layer it would choose for itself."""

    name: str
    items: int
    layer: int
    alpha: float
    layers: tuple[int, int]
    """The 95 % bootstrap interval of that layer."""
    baseline: Interval
    fixed: Interval
    """At the setting that is best for all."""
    own: Interval
    """At its own best setting; too high by the luck of choosing, which `gain` is free of."""
    gain: Interval
    """What its own layer is worth more than the one for all, both chosen on one half of it and measured on the other:
    mean and spread over splits."""

    @property
    def disagrees(self) -> bool:
        """Whether its own layer is better beyond chance."""
        return self.gain.low > 0


def domains(
    values: np.ndarray, names: Sequence[str], things: Sequence[str], settings: Settings, draws: Draws
) -> list[Domain]:
    """Every domain of at least `SMALLEST_DOMAIN` questions, in order of appearance."""
    named = np.asarray(names, dtype=object)
    best = best_column(values.mean(0))
    found = []
    for name in dict.fromkeys(names):
        where = named == name
        if where.sum() < SMALLEST_DOMAIN or where.all():
            continue
        own = best_column(values[where].mean(0))
        drawn = 1 + draws.means(values, where)[:, 1:].argmax(1)
        layers = np.array([settings.of(int(column))[0] for column in drawn])
        low, high = np.percentile(layers, (LOW, HIGH), method="inverted_cdf")
        intervals = draws.interval(values, where)
        layer, alpha = settings.of(own)
        found.append(
            Domain(
                name=name,
                items=int(where.sum()),
                layer=layer,
                alpha=alpha,
                layers=(int(low), int(high)),
                baseline=intervals[0],
                fixed=intervals[best],
                own=intervals[own],
                gain=_own_gain(values, where, things),
            )
        )
    return found


def _own_gain(values: np.ndarray, where: np.ndarray, things: Sequence[str], splits: int = HALVES) -> Interval:
    """By how much a domain's own choice beats the choice made for all, on the half that neither has seen."""
    gains = []
    for half in _halves(things, splits):
        seen, unseen = half & where, ~half & where
        enough = (seen.sum(1) > 0) & (unseen.sum(1) > 0)
        seen, unseen, half = seen[enough], unseen[enough], half[enough]
        own = 1 + _half_means(values, seen)[:, 1:].argmax(1)
        fixed = 1 + _half_means(values, half)[:, 1:].argmax(1)
        worth, rows = _half_means(values, unseen), np.arange(len(unseen))
        gains.append(worth[rows, own] - worth[rows, fixed])
    return _spread(np.concatenate(gains))


def verdict(best: tuple[int, float], stable: Stability, drift: Sequence[Domain], unit: str = "points") -> str:
    """In plain words: whether a fixed layer helps at all, and whether one serves all domains.

    `best` is the (layer, α) chosen on all questions; `unit` is "points", hundredths of a share, or "nats".
    """
    gain = stable.gain
    told = f"{_signed(gain.mean, unit)} {unit}, 95 % interval {_signed(gain.low, unit)} to {_signed(gain.high, unit)}"
    chosen = f"j* = {best[0]}, α = {best[1]:g}"
    halves = f"chosen on one half of the questions and tested on the other, a layer gives {told} against the baseline"
    if gain.low > 0:
        said = f"A fixed layer helps: {chosen} is best; {halves}."
    elif gain.high < 0:
        said = f"No fixed layer is good here: {chosen} is the best of them, but {halves}."
    else:
        said = f"No fixed layer is better than the baseline beyond chance: {chosen} is the best of them; {halves}."
    apart = [domain for domain in drift if domain.disagrees]
    if not drift:
        return f"{said} The questions are of one domain, or of domains too small to compare."
    if not apart:
        return f"{said} One fixed layer serves all domains: none gains from a layer of its own beyond chance."
    losses = "; ".join(
        f"on {domain.name} a fixed layer loses {_signed(domain.gain.mean, unit)[1:]} {unit} to j* = {domain.layer}"
        for domain in apart
    )
    return f"{said} Domains disagree: {losses}. A dynamic layer choice would be the better method."


def _signed(change: float, unit: str) -> str:
    return (f"{100 * change:+.1f}" if unit == "points" else f"{change:+.3f}").replace("-", "−")
