"""One search for j* for the page or a program: questions → a stream of results."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from app.jobs.comparison import Halt, Limits
from app.jobs.zero_gpu import MOST, on_gpu, within
from dola_core.layer_search.dataset import Item
from dola_core.layer_search.result import Asked, SearchResult
from dola_core.layer_search.search import Search
from dola_core.models.loading import LoadedModel

SHOWN_ERRORS, SHOWN_WHEN_HALTED = 50, 5
"""Errors of each kind that are told at the end, and after a halt, when nobody wants to wait."""
GROWS = 1.0
"""Seconds between two results of a search under way."""


@dataclass(frozen=True)
class Found:
    """What a search has found so far."""

    done: int
    of: int
    """Questions, or what else the search counts, that are read, and that are to be."""
    result: SearchResult
    finished: bool = False
    """Nothing more comes."""
    halt: Halt | None = None
    """Why it ends before everything was read."""


def _seconds(_loaded: LoadedModel, _items: Sequence[Item], *_: object) -> int:
    return MOST


@on_gpu(_seconds)
def run_search(
    loaded: LoadedModel,
    items: Sequence[Item],
    asked: Asked,
    name: str,
    sha256: str,
    limits: Limits,
    errors: bool,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Found]:
    """Measure the questions, yielding the result so far about once a second, and the whole one at the end.

    `stopped` is asked after every batch of questions; with `errors`, the last result tells what either decoder had
    wrong. The generator may be closed at any point. Raises `TooLongError` for a question that the model cannot read.
    """
    search = Search(loaded, items, asked, name=name, sha256=sha256)
    shown, end = time.monotonic(), time.monotonic() + within(limits.seconds, MOST)
    done, of, halt = 0, len(items), None
    with closing(search.run()) as steps:
        for done, of in steps:
            halt = "stopped" if stopped() else "time" if time.monotonic() > end else None
            if halt:
                break
            if time.monotonic() - shown >= GROWS and done > 1:
                yield Found(done, of, search.result(errors=0))
                shown = time.monotonic()
    told = (SHOWN_WHEN_HALTED if halt else SHOWN_ERRORS) if errors else 0
    yield Found(done, of, search.result(errors=told), finished=True, halt=halt)
