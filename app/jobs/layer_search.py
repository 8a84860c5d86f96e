"""Run one layer search for the page or a program: questions in, a stream of growing results out."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

from app.jobs.comparison import Halt
from app.jobs.model_pool import Asked
from app.jobs.request import Limits
from app.jobs.zero_gpu import MOST, on_gpu, within
from app.language import Language, VisitorError
from dola_core.decoding.engine import Engine
from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.result import SearchResult
from dola_core.layer_search.search import Search
from dola_core.layer_search.search_config import SearchConfig

SHOWN_ERRORS = 50
"""Error cases of each kind in the last result."""
RESULT_INTERVAL = 1.0
"""Seconds between two results of a search under way."""


class SlowSearchError(VisitorError):
    """Not one question was measured within the time limit."""


class _HaltedError(Exception):
    """The search must end now."""


@dataclass(frozen=True)
class SearchBegun:
    """A search whose turn has come, before its first questions are read."""

    of: int
    """How many questions are to be read."""

    def message(self, words: Language) -> str:
        """The same as a sentence."""
        return words("search.begun", of=f"{self.of:,}")


@dataclass(frozen=True)
class SearchUpdate:
    """What there is of a search so far."""

    done: int
    of: int
    """How many questions are read, and how many are to be; a strategy of two rounds counts them twice."""
    result: SearchResult
    finished: bool = False
    """Whether this is the last update."""
    halt: Halt | None = None
    """Why the search ended before everything was read."""
    seconds: float = 0.0
    """How long the questions read so far took."""

    @property
    def seconds_left(self) -> float:
        """How long the others will take, if they take as long."""
        return self.seconds * (self.of - self.done) / self.done


def _gpu_seconds(_engine: Engine, *_: object, **_named: object) -> int:
    return MOST


@on_gpu(_gpu_seconds)
def run_search(
    engine: Engine,
    items: Sequence[Item],
    config: SearchConfig,
    name: str,
    sha256: str,
    limits: Limits,
    errors: bool,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[SearchUpdate, None, None]:
    """Measure the questions, yielding the result so far about once a second, and the whole one at the end.

    `cancelled` is asked between the model's blocks, so that a search ends soon; the last result is then of the
    questions that were read. With `errors`, it lists questions that one decoder had right and the other wrong; of a
    halted search without what the model says to them. Nothing is yielded if the search is cancelled before any question
    is read. The generator may be closed at any point.

    Raises `QuestionTooLongError` for a question that the model cannot read, and `SlowSearchError` if the time is up
    before any is read.
    """
    start = shown = time.monotonic()
    end, read_at = start + within(limits.seconds, MOST), start
    done, of = 0, len(items)
    halt: Halt | None = None

    def check_stop() -> None:
        nonlocal halt
        halt = "stopped" if cancelled() else "time" if time.monotonic() > end else None
        if halt:
            raise _HaltedError

    search = Search(engine.loaded, items, config, name=name, sha256=sha256, check_stop=check_stop)
    most = SHOWN_ERRORS if errors else 0
    try:
        with closing(search.run()) as steps:
            for done, of in steps:
                check_stop()
                read_at = time.monotonic()
                if read_at - shown >= RESULT_INTERVAL and done > 1:
                    yield SearchUpdate(done, of, search.result(errors=0), seconds=read_at - start)
                    shown = time.monotonic()
        result = search.result(errors=most)
    except _HaltedError:
        if not search.started:
            if halt == "time":
                raise SlowSearchError("search.too_slow", seconds=limits.seconds) from None
            return
        result = search.result(errors=most, analysed=0)
        halt = None if search.finished else halt
    yield SearchUpdate(done, of, result, finished=True, halt=halt, seconds=read_at - start)


def search_questions(
    engine: Engine,
    *,
    items: Sequence[Item],
    config: SearchConfig,
    name: str,
    sha256: str,
    limits: Limits,
    cancelled: Asked,
) -> Generator[SearchBegun | SearchUpdate, None, None]:
    """The job of a search on the page, which says when it begins and lists the questions that were decided by it."""
    yield SearchBegun(min(len(items), config.limit or len(items)))
    with closing(run_search(engine, items, config, name, sha256, limits, True, cancelled=cancelled)) as updates:
        yield from updates
