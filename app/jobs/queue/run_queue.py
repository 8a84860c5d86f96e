"""The queue before the model: runs of all visitors, a few at a time, in an order that is fair to visitors."""

import heapq
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from threading import Condition
from typing import TypeVar

from app.jobs.allocator import release_memory
from app.jobs.queue.turns import Turns
from app.jobs.queue.visitor import Visitor
from app.language import Language, VisitorError

POLL = 0.5
"""Seconds between two checks of a waiting run, when it can also be cancelled."""
SPARE = 8
"""Events that may come in beyond the queue's entries, to be answered that it is full."""
SMOOTHING = 0.3
"""Weight of the last run in the running mean of how long a run takes."""

Event = TypeVar("Event")


class QueueFullError(VisitorError):
    """So many runs are waiting, in all or from one address, that no further one is taken."""


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

    visitor: Visitor
    number: int
    """Counts arrivals."""
    started: float | None = field(default=None, init=False)
    """When it began, by the monotonic clock; None while it waits."""


class RunQueue:
    """Decides which run begins next. Safe to use from several threads.

    The next one to begin is of the address, and of its sessions, that has been served least (see `Turns`). No address
    has more than its share of the places.
    """

    def __init__(self, concurrent: int, waiting: int) -> None:
        """`concurrent` runs go on together, and at most `waiting` more are kept waiting."""
        self.concurrent, self.waiting = concurrent, waiting
        self.most = concurrent + waiting
        self.share = concurrent + max(waiting // 2, min(waiting, 4))
        """Runs of one address, under way and waiting."""
        self._changed = Condition()
        self._entries: list[QueueEntry] = []
        self._turns = Turns()
        self._order: dict[QueueEntry, int] = {}
        """{run: how many begin before it}, made anew whenever a run comes, begins or ends"""
        self._arrivals = 0
        self._mean_seconds: float | None = None

    def in_turn(
        self,
        visitor: Visitor,
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
    def enter(self, visitor: Visitor) -> Iterator[QueueEntry]:
        """An entry for one run of a visitor, which leaves the queue when the body ends; raises `QueueFullError`."""
        with self._changed:
            present = [one.visitor for one in self._entries]
            if len(present) >= self.most:
                raise QueueFullError("error.queue_full", n=self.waiting)
            if sum(one.address == visitor.address for one in present) >= self.share:
                raise QueueFullError("error.address_full", n=self.share)
            self._arrivals += 1
            self._turns.join(visitor, present)
            entry = QueueEntry(visitor, self._arrivals)
            self._entries.append(entry)
            self._sort()
        try:
            yield entry
        finally:
            with self._changed:
                self._entries.remove(entry)
                if entry.started is not None:
                    self._learn(entry.visitor, time.monotonic() - entry.started)
                self._sort()
                self._changed.notify_all()
            if entry.started is not None:
                release_memory()

    def begin(self, entry: QueueEntry, seconds: float) -> bool:
        """Wait up to `seconds` for the turn of `entry`; True if it may begin, or has begun."""
        with self._changed:
            if entry.started is None and self._changed.wait_for(lambda: self._order[entry] < self.concurrent, seconds):
                entry.started = time.monotonic()
                self._turns.begin(entry.visitor)
                self._sort()
            return entry.started is not None

    def is_running(self) -> bool:
        """Whether any run is under way."""
        with self._changed:
            return any(entry.started is not None for entry in self._entries)

    def outlook(self, entry: QueueEntry) -> Waiting:
        """How long `entry` still has to wait."""
        with self._changed:
            ahead = self._order[entry]
            seconds = None if self._mean_seconds is None else self._until_turn(ahead, self._mean_seconds)
            own = any(other.visitor == entry.visitor and other.started is not None for other in self._entries)
            return Waiting(ahead, seconds, own)

    def _until_turn(self, ahead: int, mean: float) -> float:
        """Seconds until a run begins that has `ahead` before it, if each takes `mean` seconds in all.

        One that has taken longer is taken to go on for as long as it is over that.
        """
        now = time.monotonic()
        taken = [abs(mean - (now - one.started)) for one in self._entries if one.started is not None]
        free = [*taken, *[0.0] * (self.concurrent - len(taken))]
        heapq.heapify(free)
        for _ in range(ahead - len(taken)):  # those that begin before it
            heapq.heapreplace(free, free[0] + mean)
        return free[0]

    def _learn(self, visitor: Visitor, took: float) -> None:
        mean = self._mean_seconds
        self._turns.end(visitor, took / mean if mean else 1.0)
        self._mean_seconds = took if mean is None else mean + SMOOTHING * (took - mean)

    def _sort(self) -> None:
        """Count anew how many runs begin before each: first those under way, then by turns."""
        begun = [entry for entry in self._entries if entry.started is not None]
        ordered = self._turns.order(entry for entry in self._entries if entry.started is None)
        self._order = {entry: number for number, entry in enumerate([*begun, *ordered])}
