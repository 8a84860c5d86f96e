"""How long a search will take, as far as it was measured: nothing is claimed of a model that nobody measured."""

import math
import threading
import time
from collections.abc import Generator
from contextlib import closing

from app.inputs.question_file import TRIAL
from app.jobs.layer_search import SearchBegun, SearchUpdate
from app.jobs.model_pool import ModelFacts, Update
from app.language import Language

LONG = 90
"""Seconds from which on a time is told in minutes."""
FEWEST = 10
"""Questions from which on a search tells how long one takes."""


class Pace:
    """Seconds for one of the page's own questions, by model, in its last search on this host. Safe to use from
    threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}
        """{name of the model: seconds for a question}"""

    def record(self, model: str, seconds: float, questions: int) -> None:
        """A search of so many questions took so long."""
        if questions >= FEWEST:
            with self._lock:
                self._seconds[model] = seconds / questions

    def noting(
        self, model: str, updates: Generator[Update | SearchBegun | SearchUpdate, None, None]
    ) -> Generator[Update | SearchBegun | SearchUpdate, None, None]:
        """The updates of a search of the page's own questions, recording how long it took once it has finished."""
        begun = time.monotonic()
        with closing(updates):
            for update in updates:
                if isinstance(update, SearchBegun):
                    begun = time.monotonic()
                elif isinstance(update, SearchUpdate) and update.finished:
                    self.record(model, time.monotonic() - begun, update.done)
                yield update

    def expected(self, facts: ModelFacts, questions: int) -> float | None:
        """Seconds for so many questions: by the last search here, else by the result that comes with the model."""
        with self._lock:
            each = self._seconds.get(facts.name)
        known = facts.known.search
        if each is None and known is not None:
            each = known.seconds / known.data.items
        return None if each is None else each * questions


def spoken_time(seconds: float, words: Language) -> str:
    """A time in whole seconds or minutes, rounded up."""
    if seconds >= LONG:
        return words("search.minutes", n=math.ceil(seconds / 60))
    return words("search.seconds", n=max(1, math.ceil(seconds)))


def trial_label(facts: ModelFacts, pace: Pace, words: Language) -> str:
    """What the button says that measures some of the page's own questions."""
    seconds = pace.expected(facts, TRIAL)
    if seconds is None:
        return words("search.trial", n=TRIAL)
    return words("search.trial_timed", n=TRIAL, time=spoken_time(seconds, words))
