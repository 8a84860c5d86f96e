"""The metrics of every question at every setting: multiple choice by scores, generation by the lanes' texts.

Questions are evaluated one after another into a table, which is saved now and then so that a search can be resumed.
"""

import re
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from dola_core.comparison import Comparison
from dola_core.decoding.engine import Engine
from dola_core.errors import FileWriteError, PromptError, QuestionPromptError, QuestionTooLongError
from dola_core.files.writing import write_atomically
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic, Lane
from dola_core.layer_search.answers.question_ids import QuestionIds
from dola_core.layer_search.answers.scoring import score_items
from dola_core.layer_search.answers.stopping import CheckStop, go_on, stop_between_blocks
from dola_core.layer_search.metrics import COMPARING_METRICS, GENERATION_METRICS, GREEDY_METRICS, Metric, metric_values
from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.questions.sample import MeasuredQuestions
from dola_core.layer_search.search_config import SearchConfig
from dola_core.models.loaded_model import LoadedModel

LANES = 40
"""Lanes that are decoded together in generation: each may come to need a row of its own."""
SAVE_INTERVAL = 30.0
"""Seconds between two savings."""


def measurable_metrics(questions: MeasuredQuestions, config: SearchConfig) -> tuple[Metric, ...]:
    """The metrics that can be measured on all of the questions; `ValueError` if `config.metric` is not one of them."""
    if config.task == "generate":
        metrics = GENERATION_METRICS
    elif all(item.wrong for item in questions.items):
        metrics = (*COMPARING_METRICS, *GREEDY_METRICS)
    else:
        metrics = GREEDY_METRICS
    if config.metric in metrics:
        return metrics
    if config.task == "mc" and config.metric in COMPARING_METRICS:
        number = next(n for n, item in zip(questions.numbers, questions.items, strict=True) if not item.wrong)
        raise ValueError(
            f"Question {number + 1} offers no wrong answer, which {config.metric} needs; measure "
            f"{' or '.join(GREEDY_METRICS)}, or generate."
        )
    raise ValueError(f"{config.metric} is no metric of the task {config.task}; choose from {', '.join(metrics)}.")


class MetricTable:
    """The metrics of every question at S = 1 + L · A + E settings: the baseline, every (layer, α), α fastest, and then
    every further lane."""

    def __init__(
        self,
        n_items: int,
        metrics: tuple[Metric, ...],
        layers: tuple[int, ...],
        alphas: tuple[float, ...],
        lanes: tuple[Lane, ...] = (),
    ) -> None:
        """An empty table; `lanes` are fitted to the model."""
        self.metrics, self.layers, self.alphas, self.lanes = metrics, layers, alphas, lanes
        self.values = np.full((n_items, len(metrics), 1 + len(layers) * len(alphas) + len(lanes)), np.nan)
        """`[items, metrics, S]`; NaN for questions that are not evaluated yet."""
        self.done = np.zeros(n_items, dtype=bool)
        """Bool `[items]`: the questions that are evaluated."""

    def add(self, index: int, values: np.ndarray) -> None:
        """Enter the metrics of the question at `index`, `[metrics, S]`."""
        self.values[index], self.done[index] = values, True

    def save(self, file: Path, fingerprint: str) -> None:
        """Write the table to `file`; a crash while writing leaves the former file whole.

        Raises `FileWriteError` if it cannot be written.
        """
        archive = BytesIO()  # not the file: a ZIP archive cannot be closed in order when the disk is full
        np.savez_compressed(archive, values=self.values, done=self.done, fingerprint=np.array(fingerprint))
        write_atomically(file, lambda out: out.write(archive.getbuffer()))

    def load(self, file: Path, fingerprint: str) -> None:
        """Read what `save` wrote; `ValueError` if the file is damaged or has another fingerprint."""
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as saved:
                values, done, saved_fingerprint = saved["values"], saved["done"], str(saved["fingerprint"])
        except (BadZipFile, AttributeError, EOFError, KeyError, OSError, TypeError, ValueError) as error:
            raise ValueError(f"{file} is spoiled; start without --resume.") from error
        if saved_fingerprint != fingerprint or values.shape != self.values.shape:
            raise ValueError(
                f"{file} was measured with other questions, another model or other settings; start without --resume, "
                "or in another folder."
            )
        self.values, self.done = values, done


Measured = Generator[tuple[int, np.ndarray], None, None]
"""The index of an item and its metrics `[metrics, S]`, item after item, in any order."""
Evaluate = Callable[[LoadedModel, Sequence[Item], SearchConfig, MetricTable, CheckStop], Measured]
"""Measures items at the settings of a table."""


def evaluate_here(
    loaded: LoadedModel, items: Sequence[Item], config: SearchConfig, table: MetricTable, check_stop: CheckStop = go_on
) -> Measured:
    """Measure items with the model of this process, an `Evaluate`."""
    evaluate = _evaluate_generation if config.task == "generate" else _evaluate_scores
    return evaluate(loaded, items, config, table, check_stop)


def evaluate_items(
    loaded: LoadedModel,
    items: Sequence[Item],
    config: SearchConfig,
    table: MetricTable,
    *,
    evaluate: Evaluate = evaluate_here,
    numbers: Sequence[int] | None = None,
    file: Path | None = None,
    fingerprint: str = "",
    check_stop: CheckStop = go_on,
) -> Generator[int, None, None]:
    """Evaluate the questions that `table` lacks, yielding the number of questions done after each.

    Saves the table to `file` every `SAVE_INTERVAL` seconds and at the end, also when the generator is closed early or
    interrupted. `numbers` say where the items stand in their file, from 0, for errors about one of them; without,
    they are the whole file. `evaluate` is what measures them. What `check_stop` raises ends the evaluation.
    """
    places = range(len(items)) if numbers is None else numbers
    left = [index for index, done in enumerate(table.done) if not done]
    saved = time.monotonic()
    try:
        with closing(evaluate(loaded, [items[index] for index in left], config, table, check_stop)) as measured:
            for place, values in measured:
                table.add(left[place], values)
                yield int(table.done.sum())
                if file and time.monotonic() - saved > SAVE_INTERVAL:
                    table.save(file, fingerprint)
                    saved = time.monotonic()
    except FileWriteError:
        file = None  # a second try would fail as well
        raise
    except (QuestionPromptError, QuestionTooLongError) as error:
        raise renumbered(error, [places[index] for index in left]) from error
    finally:
        if file and table.done.any():
            table.save(file, fingerprint)


def renumbered(
    error: QuestionPromptError | QuestionTooLongError, places: Sequence[int]
) -> QuestionPromptError | QuestionTooLongError:
    """The error about one of some items, as one about where it stands in its file; `places` are counted from 0."""
    number = places[error.number - 1] + 1
    if isinstance(error, QuestionTooLongError):
        return QuestionTooLongError(number, error.size, error.most)
    return QuestionPromptError(number, error.reason)


def _evaluate_scores(
    loaded: LoadedModel, items: Sequence[Item], config: SearchConfig, table: MetricTable, check_stop: CheckStop
) -> Measured:
    """(index of the item, its metrics `[metrics, S]`) by the scores of the given answers, in random order."""
    scored_items = score_items(
        loaded,
        items,
        table.layers,
        table.alphas,
        config.rule,
        lanes=table.lanes,
        chat=config.chat,
        check_stop=check_stop,
    )
    for batch in scored_items:
        for index, scored in batch:
            yield index, np.stack([metric_values(scored, metric, config.normalisation) for metric in table.metrics])


def _evaluate_generation(
    loaded: LoadedModel, items: Sequence[Item], config: SearchConfig, table: MetricTable, check_stop: CheckStop
) -> Measured:
    """(index of the item, its metrics `[metrics, S]`) by texts generated at every setting, one lane each."""
    lanes: list[Lane] = [Baseline()]
    lanes += [DolaStatic(layer=layer, alpha=alpha) for layer in table.layers for alpha in table.alphas]
    lanes += table.lanes
    decoding = config.decoding or DecodingConfig()
    check_prompts(loaded, items, config)
    for index, item in enumerate(items):
        question, first_ids = _prompt_of(loaded, index, item, config)
        rows = []
        for ids in generate_ids(question, lanes, decoding, check_stop=check_stop):
            text = loaded.text(ids)
            rows.append(
                {
                    "exact": is_exact(text, item.answers),
                    "contains": contains(text, item.answers),
                    "first": bool(ids) and ids[0] in first_ids,
                }
            )
        yield index, np.array([[row[metric] for row in rows] for metric in table.metrics], dtype=np.float64)


def check_prompts(loaded: LoadedModel, items: Sequence[Item], config: SearchConfig) -> None:
    """Raises `QuestionPromptError` if a prompt that texts are generated for cannot be read, or leaves no room.

    Prompts with images are left to `check_images`.
    """
    for index, item in enumerate(items):
        if item.image is None:
            _prompt_of(loaded, index, item, config)


def _prompt_of(loaded: LoadedModel, index: int, item: Item, config: SearchConfig) -> tuple[QuestionIds, set[int]]:
    """The prompt that texts are generated for, and the ids that its answers begin with; raises as `check_prompts`."""
    decoding = config.decoding or DecodingConfig()
    try:
        question = QuestionIds.of_item(loaded, item, chat=config.chat, blank=True)
        Engine(loaded).check(Comparison(item.prompt, tuple(question.prompt), (Baseline(),), decoding))
        return question, {question.answer(answer)[0] for answer in item.answers}
    except PromptError as error:
        raise QuestionPromptError(index + 1, error) from error


def generate_ids(
    question: QuestionIds, lanes: Sequence[Lane], decoding: DecodingConfig, *, check_stop: CheckStop = go_on
) -> list[list[int]]:
    """The token ids that each lane generates behind a question's prompt, `LANES` lanes at a time.

    Lanes share a row while their texts are equal. What `check_stop` raises ends the generation.
    """
    engine = Engine(question.loaded)
    ids: list[list[int]] = [[] for _ in lanes]
    for first in range(0, len(lanes), LANES):
        some = tuple(lanes[first : first + LANES])
        if question.images is None:  # there is none that a lane might not see
            some = tuple(lane.model_copy(update={"image": True}) for lane in some)
        comparison = Comparison("", tuple(question.prompt), some, decoding, images=question.images)
        with stop_between_blocks(question.loaded.readout, check_stop):
            for output in engine.compare(comparison, record=False):
                check_stop()
                for lane, token in output.tokens.items():
                    ids[first + lane].append(token)
    return ids


def is_exact(text: str, answers: Sequence[str]) -> bool:
    """Whether the text is one of the answers, ignoring case, surrounding white space and a final full stop."""
    return _normalise(text) in {_normalise(answer) for answer in answers}


def contains(text: str, answers: Sequence[str]) -> bool:
    """Whether the text contains one of the answers as whole words, ignoring case."""
    return any(re.search(rf"(?<!\w){re.escape(_normalise(answer))}(?!\w)", _normalise(text)) for answer in answers)


def _normalise(text: str) -> str:
    return " ".join(text.casefold().split()).removesuffix(".")
