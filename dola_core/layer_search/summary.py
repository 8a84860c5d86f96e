"""Summarise the metrics of a layer search: curves, the chosen setting, its stability, and the verdict."""

from collections.abc import Mapping, Sequence

import numpy as np

from dola_core.lanes import Lane, lane_text
from dola_core.layer_search.dynamic_choice import choose_dynamic, on_domains, verdict_on_dynamic
from dola_core.layer_search.metrics import Metric, is_right
from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.result import Chosen, Curve, DataInfo, Interval, LaneResult, SearchResult
from dola_core.layer_search.search_config import SearchConfig
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
    lanes: Sequence[Lane] = (),
    *,
    model: ModelInfo,
    data: DataInfo,
    seconds: float,
    complete: bool,
) -> SearchResult:
    """The result, without error cases, from the metrics of all `items`: {metric: `[n, S]`}, the last columns of which
    are the `lanes`'."""
    grid = SettingGrid(tuple(layers), config.alphas)
    clusters, end = [item.cluster for item in items], 1 + len(layers) * len(config.alphas)
    bootstrap, chosen_by = ClusterBootstrap(clusters), values[config.metric][:, :end]
    best = best_column(chosen_by.mean(0))
    layer, alpha = grid.setting(best)
    (difference,) = bootstrap.intervals(chosen_by[:, [best]] - chosen_by[:, [0]])
    baseline_right, dola_right = is_right(chosen_by[:, [0, best]], config.metric).T
    equal: dict[int, list[float]] = {}
    for column in not_worse(chosen_by, bootstrap):
        equal.setdefault(grid.setting(column)[0], []).append(grid.setting(column)[1])
    stable = split_stability(chosen_by, clusters, grid) if bootstrap.n_clusters >= MIN_CLUSTERS else None
    domains = compare_domains(chosen_by, [item.domain for item in items], clusters, grid, bootstrap)
    intervals = {metric: bootstrap.intervals(by_setting) for metric, by_setting in values.items()}
    curves = {metric: _curve(found[:end], grid) for metric, found in intervals.items()}
    beside = values[config.metric][:, end:]
    texts, dynamic = [lane_text(lane) for lane in lanes], None
    places = [number for number, lane in enumerate(lanes) if lane.chooses_layer]
    if places and bootstrap.n_clusters >= MIN_CLUSTERS:
        of_dynamic = beside[:, places]
        dynamic = choose_dynamic(chosen_by, of_dynamic, [texts[place] for place in places], clusters, bootstrap)
        domains = on_domains(domains, chosen_by, of_dynamic, [item.domain for item in items], clusters)
    conclusion = f"Too few questions to choose a layer by: at least {MIN_CLUSTERS}, about different things, are needed."
    if stable and config.one_setting:
        conclusion = verdict_on_one((layer, alpha), difference, config.unit)
    elif stable:
        conclusion = verdict((layer, alpha), stable, domains, config.unit)
        if dynamic:
            conclusion += f" {verdict_on_dynamic(dynamic, domains, config.unit)}"
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
            mended=int((dola_right & ~baseline_right).sum()),
            broken=int((baseline_right & ~dola_right).sum()),
        ),
        stability=stable.rounded() if stable else None,
        domains=tuple(domain.rounded() for domain in domains),
        lanes=_lane_results(texts, intervals, end, bootstrap.intervals(beside - chosen_by[:, [0]]) if lanes else []),
        dynamic=dynamic.rounded() if dynamic else None,
        verdict=conclusion,
    )


def _lane_results(
    texts: Sequence[str],
    intervals: Mapping[Metric, Sequence[Interval]],
    first: int,
    differences: Sequence[Interval],
) -> tuple[LaneResult, ...]:
    """The further lanes, whose columns begin at `first`."""
    return tuple(
        LaneResult(
            lane=text,
            values={metric: found[first + number].rounded() for metric, found in intervals.items()},
            difference=difference.rounded(),
        )
        for number, (text, difference) in enumerate(zip(texts, differences, strict=True))
    )


def _curve(intervals: Sequence[Interval], grid: SettingGrid) -> Curve:
    """The curve of one metric from its interval at each of the S settings."""
    stored, width = [interval.rounded() for interval in intervals], len(grid.alphas)
    rows = [tuple(stored[start : start + width]) for start in range(1, len(stored), width)]
    return Curve(baseline=stored[0], settings=tuple(rows))
