"""Choose j* and α on a set of questions: every layer and every α from one forward pass over each question."""

import hashlib
import json
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, nullcontext
from functools import cached_property
from itertools import pairwise
from os import PathLike
from pathlib import Path

import numpy as np

from dola_core.contrast import check_layer
from dola_core.files.writing import folder_in_use, write_together
from dola_core.lanes import Lane, lane_text, parse_lane
from dola_core.layer_search.answers.image_checks import check_images
from dola_core.layer_search.answers.stopping import CheckStop, go_on
from dola_core.layer_search.error_analysis import error_cases
from dola_core.layer_search.evaluate import Evaluate, MetricTable, evaluate_here, evaluate_items, measurable_metrics
from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.questions.image_files import ImageFacts, image_facts, images_sha256
from dola_core.layer_search.questions.sample import MeasuredQuestions, measured_questions
from dola_core.layer_search.report.html_report import REPORT, report_writer
from dola_core.layer_search.result import DataInfo, SearchResult
from dola_core.layer_search.search_config import SearchConfig, Strategy
from dola_core.layer_search.selection import SettingGrid, best_column
from dola_core.layer_search.summary import summarise
from dola_core.models.identity import memory_identity, text_identity
from dola_core.models.loaded_model import LoadedModel

RESULT, TABLE = "result.json", "measured-{}.npz"
"""Files in the folder of a search beside its report: its result, and the metrics of each round."""
MAX_ERRORS = 50
"""Errors of each kind that a result holds."""
N_BUCKETS = 3
BUCKET_SAMPLE = 3
"""Layers at the end of a bucket that are measured first."""


def first_layers(strategy: Strategy, n_layers: int) -> tuple[int, ...]:
    """The layers that a strategy measures in its first round.

    "all": 1..N−1. "grid": 8, 10, … 28 of 30 layers, scaled to N. "buckets": the last layers of each third; in a second
    round, the best third is measured whole.
    """
    if strategy == "all":
        return tuple(range(1, n_layers))
    if strategy == "grid":
        scaled = (round(layer * n_layers / 30) for layer in range(8, 30, 2))
        return tuple(dict.fromkeys(min(max(layer, 1), n_layers - 1) for layer in scaled))
    return tuple(layer for bucket in buckets(n_layers) for layer in bucket[-BUCKET_SAMPLE:])


def buckets(n_layers: int) -> list[tuple[int, ...]]:
    """Thirds of the layers 1..N−1: of 30 layers, 1 to 10, 11 to 20 and 21 to 29."""
    borders = [round(part * n_layers / N_BUCKETS) for part in range(N_BUCKETS)] + [n_layers - 1]
    parts = [tuple(range(low + 1, high + 1)) for low, high in pairwise(borders)]
    return [part for part in parts if part]


def questions_to_measure(items: Sequence[Item], config: SearchConfig) -> MeasuredQuestions:
    """The questions of a file that a search measures; `ValueError` if there are none."""
    return measured_questions(items, limit=config.limit, seed=config.seed, few_shot=config.few_shot)


def search_layers(
    loaded: LoadedModel,
    items: Sequence[Item],
    config: SearchConfig,
    *,
    name: str = "items",
    sha256: str = "",
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    texts: bool = True,
    progress: Callable[[int, int], None] | None = None,
    evaluate: Evaluate = evaluate_here,
) -> SearchResult:
    """Measure every layer and α on `items`, choose the best setting, and estimate how sure the choice is.

    Args:
        loaded: the model.
        items: all questions of a file. `config` says how many of them are measured.
        config: task, strategy, α, metric, how questions are drawn and put, and how answers are scored or texts
            generated.
        name: what the result calls the questions.
        sha256: hash of their file, for the result.
        out: folder for `result.json`, `report.html` and the metrics measured so far. On Ctrl-C (`KeyboardInterrupt`),
            a valid result of the questions done is written before the exception propagates. No other search can write
            there meanwhile.
        resume: continue from the metrics in `out`.
        texts: whether the result and its files hold texts of questions and answers; else their numbers alone.
        progress: called with the number of questions done and of all questions.
        evaluate: measures the questions, such as `RayWorkers(…).evaluate` on many machines.

    Raises:
        ValueError: there are no items, the model has not one of the layers, the metric cannot be measured on them, an
            item is too long, an image cannot be decoded or the model reads none, the model has no chat template where
            `config` asks for one, or the metrics in `out` are of another search.
        FolderInUseError: another search is running in `out`.
        FileWriteError: `out` cannot be written, or the disk is full.
    """
    folder = None if out is None else Path(out)
    search = Search(
        loaded, items, config, name=name, sha256=sha256, out=folder, resume=resume, texts=texts, evaluate=evaluate
    )
    with nullcontext() if folder is None else folder_in_use(folder):
        try:
            with closing(search.run()) as steps:
                for done, total in steps:
                    if progress:
                        progress(done, total)
            result = search.result()
            if folder:
                _write(folder, result)
        except KeyboardInterrupt:
            if search.started and folder:
                # First without error cases, which take a while: whoever interrupts may not wait for them.
                for errors in (0, MAX_ERRORS):
                    _write(folder, search.result(errors=errors))
            raise
    return result


def _write(folder: Path, result: SearchResult) -> None:
    document = result.to_json().encode() + b"\n"
    write_together({folder / RESULT: lambda file: file.write(document), folder / REPORT: report_writer(result)})


class Search:
    """A search under way, whose result so far can be had at any time. Arguments and errors as of `search_layers`.

    `check_stop` is called all the time while the model runs. What it raises ends `run`, or the analysis of error cases
    in `result`; the questions done by then stay.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        items: Sequence[Item],
        config: SearchConfig,
        *,
        name: str = "items",
        sha256: str = "",
        out: Path | None = None,
        resume: bool = False,
        texts: bool = True,
        check_stop: CheckStop = go_on,
        evaluate: Evaluate = evaluate_here,
    ) -> None:
        self.questions = questions_to_measure(items, config)
        self.items = self.questions.prompted
        """The questions as the model reads them."""
        self.metrics = measurable_metrics(self.questions, config)
        if config.chat and not loaded.has_chat_template:
            raise ValueError(f"{loaded.info.name} has no chat template; leave out chat.")
        for layer in config.layers:
            check_layer(layer, loaded.readout.n_layers)
        self.loaded, self.config, self.name, self.sha256 = loaded, config, name, sha256
        self.out, self.resume, self.texts, self.check_stop = out, resume, texts, check_stop
        self.evaluate = evaluate
        self.rounds: list[MetricTable] = []
        """The metrics of all questions, at the layers of each round."""
        self.finished = False
        """Whether all rounds are complete."""
        self._start = time.monotonic()

    @property
    def started(self) -> bool:
        """Whether any question is done."""
        return any(table.done.any() for table in self.rounds)

    def run(self) -> Generator[tuple[int, int], None, None]:
        """Evaluate the questions, yielding after each how many are done, and how many there are in all rounds begun."""
        layers = self.config.layers or first_layers(self.config.strategy, self.loaded.readout.n_layers)
        if self._images:  # now rather than after hours
            check_images(self.loaded, self.items, self.config, self._images, self.questions.numbers)
        while layers:
            lanes = () if self.rounds else self._further_lanes(layers)
            table = MetricTable(len(self.items), self.metrics, layers, self.config.alphas, lanes)
            self.rounds.append(table)
            file = self.out / TABLE.format(len(self.rounds)) if self.out else None
            fingerprint = self._fingerprint(layers) if file else ""
            if self.resume and file and file.is_file():
                table.load(file, fingerprint)
            before, total = len(self.items) * (len(self.rounds) - 1), len(self.items) * len(self.rounds)
            for done in evaluate_items(
                self.loaded,
                self.items,
                self.config,
                table,
                evaluate=self.evaluate,
                numbers=self.questions.numbers,
                file=file,
                fingerprint=fingerprint,
                check_stop=self.check_stop,
            ):
                yield before + done, total
            layers = self._next_layers()
        self.finished = True

    def _further_lanes(self, layers: tuple[int, ...]) -> tuple[Lane, ...]:
        """The lanes that are measured beside `layers`, fitted to the model; `ValueError` if one cannot be measured."""
        readout = self.loaded.readout
        lanes = [parse_lane(text) for text in self.config.further_lanes(layers)]
        lanes = [lane.fitted(readout.n_layers, tied=readout.is_tied) for lane in lanes]
        if self.config.task == "mc" and lanes:
            if self.config.rule.post_softmax == "vocabulary" or not self.config.rule.apc:
                raise ValueError("Lanes beside the layers are scored on the plausible head; leave them out here.")
            for lane in lanes:
                own = (lane.repetition_penalty, lane.penalty_position, lane.early_norm)
                plain = lane.image and all(value is None for value in own)
                if not lane.reads or not lane.least_share or not plain:
                    raise ValueError(
                        f"The lane {lane_text(lane)} can only be measured in generated texts (task generate)."
                    )
        return tuple(lanes)

    def _fingerprint(self, layers: tuple[int, ...]) -> str:
        """Hash of everything that the metrics at `layers` depend on."""
        items = [item.model_dump() for item in self.items]
        for fields, item in zip(items, self.items, strict=True):
            if item.image:  # by its content, whatever it is called
                fields["image"] = self._images[item.image].sha256
        # How they were drawn shows in the items. Where it is off, chat is left out, as versions without it did.
        drawing = {"few_shot", "layers", "limit", "seed"} | (set() if self.config.chat else {"chat"})
        drawing |= {name for name in ("buckets", "betas", "lanes") if not getattr(self.config, name)}
        parts = [self._model_fingerprint, items, self.config.model_dump(mode="json", exclude=drawing), layers]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @cached_property
    def _images(self) -> dict[str, ImageFacts]:
        """What is kept of the questions' images; `QuestionPromptError` if one cannot be decoded."""
        return image_facts(self.questions.items, self.questions.numbers)

    @cached_property
    def _model_fingerprint(self) -> list[str]:
        """The model as it is in memory now, where it may have been trained on since it was loaded."""
        model, generation = self.loaded.model, self.loaded.model.generation_config
        config = json.loads(model.config.to_json_string(use_diff=False))
        config.pop("_name_or_path", None)  # a model is the same in another folder
        return [
            memory_identity(model),
            self.loaded.info.identity or "",  # of weights that are kept on disk, which memory does not hold
            text_identity(self.loaded.tokenizer),
            json.dumps(config, sort_keys=True),
            "" if generation is None else generation.to_json_string(use_diff=False),
            *([self.loaded.processor.to_json_string()] if self._images and self.loaded.processor else []),
        ]

    def _next_layers(self) -> tuple[int, ...]:
        """The layers of the next round; empty after the last. "buckets" measures the rest of the best bucket."""
        if self.config.layers or self.config.strategy != "buckets" or len(self.rounds) > 1:
            return ()
        (first,) = self.rounds
        by_metric = first.values[:, self.metrics.index(self.config.metric)]
        layer, _ = SettingGrid(first.layers, first.alphas).setting(best_column(by_metric.mean(0)))
        bucket = next(bucket for bucket in buckets(self.loaded.readout.n_layers) if layer in bucket)
        return tuple(other for other in bucket if other not in first.layers)

    def result(self, *, errors: int = MAX_ERRORS, analysed: int | None = None) -> SearchResult:
        """The result of the questions done so far, with at most `errors` error cases of each kind.

        The model reads the first `analysed` of each kind again (None: all), to tell which token decides.
        Raises `ValueError` if no question is done.
        """
        # A second round counts once it is complete: before that, the result would be of fewer questions.
        rounds = [table for n, table in enumerate(self.rounds) if (table.done.any() if n == 0 else table.done.all())]
        if not rounds:
            raise ValueError("No question is answered yet.")
        done = np.logical_and.reduce([table.done for table in rounds])
        answered = [item for item, is_done in zip(self.items, done, strict=True) if is_done]
        layers, joined = _join_rounds(rounds, done)
        lanes = rounds[0].lanes
        values = {metric: joined[:, n] for n, metric in enumerate(self.metrics)}
        result = summarise(
            answered,
            values,
            self.config,
            layers,
            lanes,
            model=self.loaded.info,
            data=DataInfo.about(
                self.questions,
                self.config,
                name=self.name,
                sha256=self.sha256,
                items=len(answered),
                images_sha256=images_sha256(self.items, self._images),
            ),
            seconds=time.monotonic() - self._start,
            complete=self.finished,
        )
        setting = result.chosen.layer, result.chosen.alpha
        column = SettingGrid(layers, self.config.alphas).column(*setting)
        both = values[self.config.metric][:, [0, column]]
        cases = error_cases(
            self.loaded,
            answered,
            both,
            self.config,
            setting,
            most=errors,
            analysed=analysed,
            check_stop=self.check_stop,
        )
        places = np.flatnonzero(done).tolist()
        in_file = [
            case.model_copy(
                update={
                    "item": self.questions.numbers[places[case.item]],
                    "prompt": self.questions.items[places[case.item]].prompt,
                }
            )
            for case in cases
        ]
        result = result.model_copy(update={"errors": tuple(in_file), "before": self.questions.before})
        return result if self.texts else result.without_texts()


def _join_rounds(rounds: Sequence[MetricTable], done: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
    """The layers of all rounds in ascending order, and the metrics at them of the questions `done`.

    `done` is a mask `[items]`; the metrics are `[done items, metrics, S]`.
    """
    width = len(rounds[0].alphas)
    values_of_round = [table.values[done] for table in rounds]
    by_layer = {
        layer: values[:, :, 1 + n * width : 1 + (n + 1) * width]
        for table, values in zip(rounds, values_of_round, strict=True)
        for n, layer in enumerate(table.layers)
    }
    layers = tuple(sorted(by_layer))
    baseline, lanes = values_of_round[0][:, :, :1], values_of_round[0][:, :, 1 + len(rounds[0].layers) * width :]
    return layers, np.concatenate([baseline, *(by_layer[layer] for layer in layers), lanes], axis=2)
