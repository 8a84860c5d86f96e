"""Summarise the metrics of a layer search: curves, the chosen setting, its stability, and the verdict."""

from collections.abc import Mapping, Sequence

import numpy as np

from dola_core.layer_search.metrics import Metric
from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.result import Chosen, Curve, DataInfo, Interval, SearchConfig, SearchResult
from dola_core.layer_search.selection import (
    MIN_CLUSTERS,
    ClusterBootstrap,
    SettingGrid,
    best_column,
    compare_domains,
    not_worse,
    split_stability,
    verdict,
    verdict_on_one,
)
from dola_core.models.info import ModelInfo


def summarise(
    items: Sequence[Item],
    values: Mapping[Metric, np.ndarray],
    config: SearchConfig,
    layers: Sequence[int],
    *,
    model: ModelInfo,
    data: DataInfo,
    seconds: float,
    complete: bool,
) -> SearchResult:
    """The result, without error cases, from the metrics of all `items`: {metric: `[n, S]`}."""
    grid = SettingGrid(tuple(layers), config.alphas)
    clusters = [item.entity for item in items]
    bootstrap, chosen_by = ClusterBootstrap(clusters), values[config.metric]
    best = best_column(chosen_by.mean(0))
    layer, alpha = grid.setting(best)
    (difference,) = bootstrap.intervals(chosen_by[:, [best]] - chosen_by[:, [0]])
    equal: dict[int, list[float]] = {}
    for column in not_worse(chosen_by, bootstrap):
        equal.setdefault(grid.setting(column)[0], []).append(grid.setting(column)[1])
    stable = split_stability(chosen_by, clusters, grid) if bootstrap.n_clusters >= MIN_CLUSTERS else None
    domains = compare_domains(chosen_by, [item.domain for item in items], clusters, grid, bootstrap)
    curves = {metric: _curve(bootstrap.intervals(by_setting), grid) for metric, by_setting in values.items()}
    conclusion = f"Too few questions to choose a layer by: at least {MIN_CLUSTERS}, about different things, are needed."
    if stable and config.one_setting:
        conclusion = verdict_on_one((layer, alpha), difference, config.unit)
    elif stable:
        conclusion = verdict((layer, alpha), stable, domains, config.unit)
    if data.sampled:
        conclusion += f" Measured on {data.sample}."
    return SearchResult(
        model=model,
        data=data,
        asked=config,
        layers=tuple(layers),
        complete=complete,
        seconds=round(seconds, 1),
        curves=curves,
        chosen=Chosen(
            layer=layer,
            alpha=alpha,
            value=curves[config.metric].settings[grid.layers.index(layer)][grid.alphas.index(alpha)],
            difference=difference.rounded(),
            not_worse={layer: tuple(alphas) for layer, alphas in equal.items()},
        ),
        stability=stable.rounded() if stable else None,
        domains=tuple(domain.rounded() for domain in domains),
        verdict=conclusion,
    )


def _curve(intervals: Sequence[Interval], grid: SettingGrid) -> Curve:
    """The curve of one metric from its interval at each of the S settings."""
    stored, width = [interval.rounded() for interval in intervals], len(grid.alphas)
    rows = [tuple(stored[start : start + width]) for start in range(1, len(stored), width)]
    return Curve(baseline=stored[0], settings=tuple(rows))
