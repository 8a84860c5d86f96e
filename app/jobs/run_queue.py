"""The queue before the model: runs of all visitors, a few at a time, in an order that is fair to visitors."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from threading import Condition
from typing import TypeVar

from app.jobs.allocator import release_memory
from app.language import Language, VisitorError

POLL = 0.5
"""Seconds between two checks of a waiting run, when it can also be cancelled."""
SPARE = 8
"""Events that may come in beyond the queue's entries, to be answered that it is full."""
SMOOTHING = 0.3
"""Weight of the last run in the running mean of how long a run takes."""

Event = TypeVar("Event")


class QueueFullError(VisitorError):
    """So many runs are waiting that no further one is taken."""


@dataclass(frozen=True)
class Waiting:
    """What a waiting run can tell its visitor."""

    ahead: int
    """How many runs begin before this one, those under way included."""
    seconds: float | None
    """Seconds until it may begin, by how long the last runs took; None as long as there were none."""
    behind_own: bool
    """Whether it waits for a run of the same visitor that is under way."""

    def message(self, words: Language) -> str:
        """The same as a sentence."""
        text = words("queue.one") if self.ahead == 1 else words("queue.ahead", n=self.ahead)
        return text if self.seconds is None else text + words("queue.expected", seconds=max(1, round(self.seconds)))


@dataclass(eq=False)
class QueueEntry:
    """One run in the queue."""

    visitor: str
    number: int
    """Counts arrivals."""
    started: float | None = field(default=None, init=False)
    """When it began, by the monotonic clock; None while it waits."""


class RunQueue:
    """Decides which run begins next. Safe to use from several threads.

    Runs begin in the order of arrival, but a visitor's second run waits until the others have had their first.
    """

    def __init__(self, concurrent: int, waiting: int) -> None:
        """`concurrent` runs go on together, and at most `waiting` more are kept waiting."""
        self.concurrent, self.waiting = concurrent, waiting
        self.most = concurrent + waiting
        self._changed = Condition()
        self._entries: list[QueueEntry] = []
        self._arrivals = 0
        self._mean_seconds: float | None = None

    def in_turn(
        self,
        visitor: str,
        start: Callable[[], Generator[Event, None, None]],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Generator[Waiting | Event, None, None]:
        """Wait for the visitor's turn, then yield what the run that `start` begins yields.

        While it waits, a `Waiting` comes about twice a second. If it is cancelled before its turn, nothing is started
        and nothing more comes. The run is closed when this generator is. Raises `QueueFullError`.
        """
        with self.enter(visitor) as entry:
            while not self.begin(entry, POLL):
                if cancelled():
                    return
                yield self.outlook(entry)
            if cancelled():
                return
            with closing(start()) as events:
                yield from events

    @contextmanager
    def enter(self, visitor: str) -> Iterator[QueueEntry]:
        """An entry for one run of a visitor, which leaves the queue when the body ends; raises `QueueFullError`."""
        with self._changed:
            if len(self._entries) >= self.most:
                raise QueueFullError("error.queue_full", n=self.waiting)
            self._arrivals += 1
            entry = QueueEntry(visitor, self._arrivals)
            self._entries.append(entry)
        try:
            yield entry
        finally:
            with self._changed:
                self._entries.remove(entry)
                if entry.started is not None:
                    self._learn(time.monotonic() - entry.started)
                self._changed.notify_all()
            if entry.started is not None:
                release_memory()

    def begin(self, entry: QueueEntry, seconds: float) -> bool:
        """Wait up to `seconds` for the turn of `entry`; True if it may begin, or has begun."""
        with self._changed:
            if self._changed.wait_for(lambda: self._ahead(entry) < self.concurrent, seconds):
                entry.started = entry.started or time.monotonic()
            return entry.started is not None

    def outlook(self, entry: QueueEntry) -> Waiting:
        """How long `entry` still has to wait."""
        with self._changed:
            ahead = self._ahead(entry)
            seconds = None
            if self._mean_seconds is not None:
                seconds = self._mean_seconds * max(0, ahead - self.concurrent + 1) / self.concurrent
            own = any(other.visitor == entry.visitor and other.started is not None for other in self._entries)
            return Waiting(ahead, seconds, own)

    def _learn(self, took: float) -> None:
        mean = self._mean_seconds
        self._mean_seconds = took if mean is None else mean + SMOOTHING * (took - mean)

    def _ahead(self, entry: QueueEntry) -> int:
        return sorted(self._entries, key=self._turn).index(entry)

    def _turn(self, entry: QueueEntry) -> tuple[bool, int, int]:
        """Sort key: runs under way, then by how many earlier runs the same visitor has, then by arrival."""
        earlier = sum(other.visitor == entry.visitor and other.number < entry.number for other in self._entries)
        return entry.started is None, earlier, entry.number
