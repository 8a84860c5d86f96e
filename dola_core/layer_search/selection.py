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
FEWEST = 20
"""Different things that questions must be about, of a whole set or of a domain, for a layer to be chosen by them."""
JITTER = 1e-9
"""Chance decides between settings that are worth exactly the same: else the lowest layer would look like a choice."""


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
        numbers: dict[str | int, int] = {}
        self.which = np.array([numbers.setdefault(thing or place, len(numbers)) for place, thing in enumerate(things)])
        """The thing of each question, as a number, `[n]`."""
        self.count = len(numbers)
        """How many things there are."""
        evenly = np.full(self.count, 1 / self.count)
        drawn = np.random.default_rng(seed).multinomial(self.count, evenly, size=draws)
        self.weights = drawn[:, self.which].astype(np.float64)
        """How often each question is in each sample, `[draws, n]`."""

    def means(self, values: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
        """Mean of `values` `[n, S]`, of the questions `where`, in every sample that has some of them: `[draws, S]`."""
        weights = self.weights if where is None else self.weights[:, where]
        drawn = weights.sum(1) > 0
        weights = weights[drawn]
        return weights @ (values if where is None else values[where]) / weights.sum(1, keepdims=True)

    def interval(self, values: np.ndarray, where: np.ndarray | None = None) -> list[Interval]:
        """The mean of each column with its interval."""
        chosen = values if where is None else values[where]
        low, high = np.percentile(self.means(values, where), (LOW, HIGH), axis=0)
        return [Interval(*(float(x) for x in row)) for row in zip(chosen.mean(0), low, high, strict=True)]


def best_column(means: np.ndarray) -> int:
    """The best setting of `means` `[S]`, the baseline left out; among equals the lowest layer, then the lowest α."""
    return 1 + int(means[1:].argmax())


def not_worse(values: np.ndarray, draws: Draws) -> list[int]:
    """Columns, from 1 up, that may be the best: all that chance, over every setting together, leaves in the race.

    Multiple comparisons with the best (Hsu 1981), with bootstrap bounds: the best of many looks better than it is.
    """
    means = values.mean(0)[1:]
    apart = draws.means(values)[:, 1:] - means
    bound = np.percentile(apart.max(1, keepdims=True) - apart, 95, axis=0)
    return [1 + int(n) for n in np.flatnonzero(means.max() - means <= bound)]


def _pick(means: np.ndarray) -> np.ndarray:
    """The best column from 1 up in each row of `means` `[rows, S]`; chance decides between equals."""
    luck = JITTER * np.random.default_rng(SEED).random(means[:, 1:].shape)
    return 1 + (means[:, 1:] + luck).argmax(1)


@dataclass(frozen=True)
class Stability:
    """What becomes of the choice when it is made on random halves of the questions.

    Intervals are the mean and the 95 % spread over splits. A half differs from the whole about as much as the whole
    from another sample of its size (delete-half jackknife), so that of `gain` can be read as a 95 % interval; a `loss`
    cannot be below 0. Where all questions had a say in which layers are measured, as with buckets, some luck is left.
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
    here, there = _pick(one), _pick(other)
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
    fixed_layer: int
    """The layer that is best for all,"""
    fixed: Interval
    """and what its setting is worth here."""
    own: Interval
    """At its own best setting; too high by the luck of choosing, which `gain` is free of."""
    gain: Interval
    """What its own layer is worth more than the one for all, both chosen on one half of it and measured on the other:
    mean and spread over splits."""

    @property
    def disagrees(self) -> bool:
        """Whether another layer than that for all is better beyond chance."""
        return self.gain.low > 0 and self.layer != self.fixed_layer


def domains(
    values: np.ndarray, names: Sequence[str], things: Sequence[str], settings: Settings, draws: Draws
) -> list[Domain]:
    """Every domain whose questions are about at least `FEWEST` things, in order of appearance."""
    named = np.asarray(names, dtype=object)
    best = best_column(values.mean(0))
    found = []
    for name in dict.fromkeys(names):
        where = named == name
        if not name or where.all() or len(np.unique(draws.which[where])) < FEWEST:
            continue
        own = best_column(values[where].mean(0))
        drawn = _pick(draws.means(values, where))
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
                fixed_layer=settings.of(best)[0],
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
        own, fixed = _pick(_half_means(values, seen)), _pick(_half_means(values, half))
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
        compared = "the domain" if len(drift) == 1 else f"the {len(drift)} domains"
        return (
            f"{said} One fixed layer serves {compared} large enough to compare: no other layer is better beyond chance."
        )
    losses = "; ".join(
        f"on {domain.name} it loses {_signed(domain.gain.mean, unit)[1:]} {unit} to a setting chosen there, such as "
        f"j* = {domain.layer}"
        for domain in apart
    )
    return f"{said} Domains disagree: {losses}. A dynamic layer choice would be the better method."


def _signed(change: float, unit: str) -> str:
    return (f"{100 * change:+.1f}" if unit == "points" else f"{change:+.3f}").replace("-", "−")
