"""Choosing j* and α on a set of questions: every layer and every α from one reading of each question."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np

from dola_core.layer_search.dataset import Item
from dola_core.layer_search.error_analysis import error_cases
from dola_core.layer_search.evaluate import Measurements, measure, metrics_of
from dola_core.layer_search.html_report import html_report
from dola_core.layer_search.result import Asked, DataInfo, SearchResult, Strategy, summarise
from dola_core.layer_search.selection import Settings, best_column
from dola_core.models.loading import LoadedModel

RESULT, REPORT, MEASURED = "result.json", "report.html", "measured-{}.npz"
ERRORS = 50
"""Errors of each kind that the result tells."""
BUCKETS = 3
ENDS = 3
"""Layers at the end of a bucket that stand for it."""


def layers_of(strategy: Strategy, n_layers: int) -> tuple[int, ...]:
    """The layers that are measured first.

    "all": 1..N−1. "grid": every other one from the eighth of thirty on, scaled to N. "buckets": the last ones of each
    third, after which the best third is measured whole.
    """
    if strategy == "all":
        return tuple(range(1, n_layers))
    if strategy == "grid":
        scaled = (round(layer * n_layers / 30) for layer in range(8, 30, 2))
        return tuple(dict.fromkeys(min(max(layer, 1), n_layers - 1) for layer in scaled))
    return tuple(layer for bucket in buckets(n_layers) for layer in bucket[-ENDS:])


def buckets(n_layers: int) -> list[tuple[int, ...]]:
    """Thirds of the layers 1..N−1: of thirty [1, 10], [11, 20] and [21, 29]."""
    borders = [round(part * n_layers / BUCKETS) for part in range(BUCKETS)] + [n_layers - 1]
    parts = [tuple(range(low + 1, high + 1)) for low, high in pairwise(borders)]
    return [part for part in parts if part]


def layer_search(
    loaded: LoadedModel,
    items: Sequence[Item],
    asked: Asked,
    *,
    name: str = "items",
    sha256: str = "",
    out: Path | None = None,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> SearchResult:
    """Measure every layer and α on `items`, choose, and say how sure the choice is.

    Args:
        loaded: the model.
        items: the questions.
        asked: task, strategy, α, metric, and how answers are scored or texts decoded.
        name: what to call the questions, and
        sha256: the hash of their file.
        out: a folder for `result.json`, `report.html` and what was measured, from which
        resume: goes on. When interrupted (`KeyboardInterrupt`), what is measured by then is saved, and a valid result
            of it written, before the interruption goes on its way.
        progress: called with the number of questions done and to do.

    Raises:
        ValueError: there are no items, the metric cannot be measured on them, an item is too long, or what was saved
            is of another search.
    """
    search = Search(loaded, items, asked, name=name, sha256=sha256, out=out, resume=resume)
    try:
        with closing(search.run()) as steps:
            for done, to_do in steps:
                if progress:
                    progress(done, to_do)
    except KeyboardInterrupt:
        if search.begun and out:
            _write(out, search.result())
        raise
    found = search.result()
    if out:
        _write(out, found)
    return found


def _write(out: Path, found: SearchResult) -> None:
    (out / RESULT).write_text(found.to_json() + "\n", encoding="utf-8")
    (out / REPORT).write_text(html_report(found), encoding="utf-8")


class Search:
    """A search under way, which can tell its result at any time. Arguments and errors as of `layer_search`."""

    def __init__(
        self,
        loaded: LoadedModel,
        items: Sequence[Item],
        asked: Asked,
        *,
        name: str = "items",
        sha256: str = "",
        out: Path | None = None,
        resume: bool = False,
    ) -> None:
        if not items:
            raise ValueError("There are no questions to choose a layer by.")
        self.loaded, self.items, self.asked, self.name, self.sha256 = loaded, list(items), asked, name, sha256
        self.out, self.resume = out, resume
        self.metrics = metrics_of(items, asked)
        self.rounds: list[Measurements] = []
        self.finished = False
        """Whether all rounds are measured."""
        self._start = time.monotonic()

    @property
    def begun(self) -> bool:
        """Whether any question is done."""
        return any(one.done.any() for one in self.rounds)

    def run(self) -> Iterator[tuple[int, int]]:
        """Measure, yielding how many questions are done and how many are to do, in all rounds that are known of."""
        if self.out:
            self.out.mkdir(parents=True, exist_ok=True)
        layers = layers_of(self.asked.strategy, self.loaded.readout.n_layers)
        while layers:
            found = Measurements(len(self.items), self.metrics, layers, self.asked.alphas)
            self.rounds.append(found)
            file = self.out / MEASURED.format(len(self.rounds)) if self.out else None
            fingerprint = _fingerprint(self.loaded, self.items, self.asked, layers)
            if self.resume and file and file.is_file():
                found.load(file, fingerprint)
            before, to_do = len(self.items) * (len(self.rounds) - 1), len(self.items) * len(self.rounds)
            for done in measure(self.loaded, self.items, self.asked, found, file=file, fingerprint=fingerprint):
                yield before + done, to_do
            layers = self._next_layers()
        self.finished = True

    def _next_layers(self) -> tuple[int, ...]:
        """Of buckets, after the first round: the rest of the bucket that the best layer is in."""
        if self.asked.strategy != "buckets" or len(self.rounds) > 1:
            return ()
        (first,) = self.rounds
        best = best_column(first.values[:, first.metrics.index(self.asked.metric)].mean(0))
        layer = first.layers[(best - 1) // len(first.alphas)]
        bucket = next(bucket for bucket in buckets(self.loaded.readout.n_layers) if layer in bucket)
        return tuple(other for other in bucket if other not in first.layers)

    def result(self, *, errors: int = ERRORS) -> SearchResult:
        """What the questions that are done in every round say, with at most so many errors of each kind.

        A second round is left out until it is whole. Raises `ValueError` where nothing is done.
        """
        # A second round counts once it is whole: half of it would be a result of fewer questions.
        rounds = [one for n, one in enumerate(self.rounds) if (one.done.any() if n == 0 else one.done.all())]
        if not rounds:
            raise ValueError("No question is answered yet.")
        done = np.logical_and.reduce([one.done for one in rounds])
        layers = sorted(layer for one in rounds for layer in one.layers)
        kept, width = [one.values[done] for one in rounds], len(self.asked.alphas)
        by_layer = {
            layer: values[:, :, 1 + n * width : 1 + (n + 1) * width]
            for one, values in zip(rounds, kept, strict=True)
            for n, layer in enumerate(one.layers)
        }
        together = np.concatenate([kept[0][:, :, :1], *(by_layer[layer] for layer in layers)], axis=2)
        answered = [item for item, there in zip(self.items, done, strict=True) if there]
        values = {metric: together[:, n] for n, metric in enumerate(self.metrics)}
        found = summarise(
            answered,
            values,
            self.asked,
            layers,
            model=self.loaded.info,
            data=DataInfo(name=self.name, sha256=self.sha256, items=len(answered), of=len(self.items)),
            seconds=time.monotonic() - self._start,
            complete=self.finished,
        )
        setting = found.chosen.layer, found.chosen.alpha
        column = Settings(tuple(layers), self.asked.alphas).column(*setting)
        both = values[self.asked.metric][:, [0, column]]
        cases = error_cases(self.loaded, answered, both, self.asked, setting, most=errors)
        places = np.flatnonzero(done)
        return found.model_copy(
            update={"errors": tuple(case.model_copy(update={"item": int(places[case.item])}) for case in cases)}
        )


def _fingerprint(loaded: LoadedModel, items: Sequence[Item], asked: Asked, layers: tuple[int, ...]) -> str:
    """What measurements depend on, as a hash: weights under the same name may have been trained anew."""
    weights = [
        float(weight.detach().double().sum()) for weight in (loaded.readout.phi.weight, loaded.readout.ln_out.weight)
    ]
    parts = [
        loaded.info.model_dump(),
        weights,
        [item.model_dump() for item in items],
        asked.model_dump(mode="json"),
        layers,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
