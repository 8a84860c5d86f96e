"""Whether DoLa-dynamic does better than the best fixed setting, on all questions and on each domain.

Both are chosen on one random half of the questions and tested on the other, so that neither has the advantage of having
been chosen by the questions that it is tested on.
"""

from collections.abc import Sequence

import numpy as np

from dola_core.display import format_signed
from dola_core.layer_search.result import Domain, DynamicChoice, Interval
from dola_core.layer_search.selection import (
    SPLITS,
    ClusterBootstrap,
    best_columns,
    halves,
    masked_means,
    spread,
)


def choose_dynamic(
    fixed: np.ndarray,
    dynamic: np.ndarray,
    lanes: Sequence[str],
    clusters: Sequence[str],
    bootstrap: ClusterBootstrap,
) -> DynamicChoice:
    """The best of the dynamic `lanes`, and its gain over the best fixed setting.

    `fixed` `[n, S]` has the baseline in column 0, `dynamic` `[n, D]` a column for each of `lanes`.
    """
    best = int(dynamic.mean(0).argmax())
    (value,) = bootstrap.intervals(dynamic[:, [best]])
    (difference,) = bootstrap.intervals(dynamic[:, [best]] - fixed[:, [0]])
    return DynamicChoice(
        lane=lanes[best], value=value, difference=difference, gain=dynamic_gain(fixed, dynamic, clusters)
    )


def dynamic_gain(
    fixed: np.ndarray, dynamic: np.ndarray, clusters: Sequence[str], where: np.ndarray | None = None
) -> Interval:
    """The best dynamic lane minus the best fixed setting, both chosen on one half of all questions.

    They are tested on the other half, or on its part in the domain `where`, a mask `[n]`.
    """
    gains = []
    for half in halves(clusters, SPLITS):
        unseen = ~half if where is None else ~half & where
        usable = unseen.sum(1) > 0
        half_used, unseen = half[usable], unseen[usable]
        rows = np.arange(len(unseen))
        best_fixed = best_columns(masked_means(fixed, half_used))
        best_dynamic = masked_means(dynamic, half_used).argmax(1)
        tested = masked_means(dynamic, unseen)[rows, best_dynamic] - masked_means(fixed, unseen)[rows, best_fixed]
        gains.append(tested)
    return spread(np.concatenate(gains))


def on_domains(
    domains: Sequence[Domain], fixed: np.ndarray, dynamic: np.ndarray, names: Sequence[str], clusters: Sequence[str]
) -> list[Domain]:
    """The domains, each with the gain of the best dynamic lane there."""
    name_of = np.asarray(names, dtype=object)
    return [
        domain.model_copy(update={"dynamic": dynamic_gain(fixed, dynamic, clusters, name_of == domain.name)})
        for domain in domains
    ]


def verdict_on_dynamic(choice: DynamicChoice, domains: Sequence[Domain], unit: str = "points") -> str:
    """A sentence in English on whether a dynamic choice of the layer does better than the best fixed setting."""
    effects = {
        "helps": "does better than the best fixed setting",
        "hurts": "does worse than the best fixed setting",
        "chance": "does no better than the best fixed setting beyond chance",
    }
    text = (
        f"Choosing the layer at each step ({choice.lane}) {effects[choice.gain.effect]}: {_change(choice.gain, unit)}."
    )
    if parts := [
        f"{_change(domain.dynamic, unit)} on {domain.name}" for domain in domains if domain.disagrees and domain.dynamic
    ]:
        text += f" Where domains disagree, that is {'; '.join(parts)}."
    return text


def _change(change: Interval, unit: str) -> str:
    mean, low, high = (format_signed(number, unit) for number in change)
    return f"{mean} {unit}, {low} to {high}"
