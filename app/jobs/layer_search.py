"""Run one layer search for the page or a program: questions in, a stream of growing results out."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

from app.jobs.comparison import Halt
from app.jobs.request import Limits
from app.jobs.zero_gpu import MOST, on_gpu, within
from dola_core.decoding.engine import Engine
from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.result import SearchResult
from dola_core.layer_search.search import Search
from dola_core.layer_search.search_config import SearchConfig

SHOWN_ERRORS, SHOWN_WHEN_HALTED = 50, 5
"""Error cases of each kind in the last result, and in that of a halted search, when nobody wants to wait."""
RESULT_INTERVAL = 1.0
"""Seconds between two results of a search under way."""


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


def _gpu_seconds(_engine: Engine, _items: Sequence[Item], *_: object) -> int:
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

    `cancelled` is asked after every batch of questions. With `errors`, the last result lists questions that one decoder
    had right and the other wrong. The generator may be closed at any point. Raises `QuestionTooLongError` for a
    question that the model cannot read.
    """
    search = Search(engine.loaded, items, config, name=name, sha256=sha256)
    shown, end = time.monotonic(), time.monotonic() + within(limits.seconds, MOST)
    done, of = 0, len(items)
    halt: Halt | None = None
    with closing(search.run()) as steps:
        for done, of in steps:
            halt = "stopped" if cancelled() else "time" if time.monotonic() > end else None
            if halt:
                break
            if time.monotonic() - shown >= RESULT_INTERVAL and done > 1:
                yield SearchUpdate(done, of, search.result(errors=0))
                shown = time.monotonic()
    most = (SHOWN_WHEN_HALTED if halt else SHOWN_ERRORS) if errors else 0
    yield SearchUpdate(done, of, search.result(errors=most), finished=True, halt=halt)
