"""The queue before the model: runs of all visitors, as many together as there are rows, in an order that is fair."""

import heapq
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from threading import Condition
from typing import TypeVar

from app.jobs.allocator import release_memory
from app.jobs.queue.room import Room
from app.jobs.queue.turns import Turns
from app.jobs.queue.visitor import Visitor
from app.language import Language, VisitorError
from dola_core.decoding.processor_threads import give_up_processor_threads

POLL = 0.5
"""Seconds between two checks of a waiting run, when it can also be cancelled."""
SPARE = 8
"""Events that may come in beyond the queue's entries, to be answered that it is full."""
SMOOTHING = 0.3
"""Weight of the last run in the running means of how long a run takes, and how much work it is."""

Event = TypeVar("Event")
Rows = Callable[[], int | None]
"""How many texts a run decodes; None for one that must be alone. It is asked again as long as the run waits, since a
model may be loaded meanwhile. The queue's lock is held then."""


def alone() -> None:
    """The rows of a run beside which no other goes on."""


class QueueFullError(VisitorError):
    """So many runs are waiting, in all or from one address, that no further one is taken."""


@dataclass(frozen=True)
class Waiting:
    """What a waiting run can tell its visitor."""

    ahead: int
    """How many runs end before this one begins: those that it waits for."""
    seconds: float | None
    """Seconds until it may begin, by how long the last runs took; None as long as there were none."""
    behind_own: bool
    """Whether a run of the same visitor is under way meanwhile."""

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
    asks: Rows
    rows: int = field(default=1, init=False)
    """How many it takes; all there are if it must be alone or asks for more."""
    started: float | None = field(default=None, init=False)
    """When it began, by the monotonic clock; None while it waits."""


class RunQueue:
    """Decides which run begins next. Safe to use from several threads.

    The next one to begin is of the address, and of its sessions, that has been served least (see `Turns`). It begins as
    soon as its rows are free (see `Room`). No address has more than its share of the rows and of the places to wait.
    """

    def __init__(self, rows: int, waiting: int) -> None:
        """The runs that go on together take at most so many rows, and at most `waiting` more are kept waiting."""
        self.rows, self.waiting = rows, waiting
        self.most = rows + waiting
        """The most entries there can be: each run takes a row at least."""
        self.share = max(waiting // 2, min(waiting, 4))
        """Waiting runs of one address."""
        self._changed = Condition()
        self._entries: list[QueueEntry] = []
        self._turns = Turns()
        self._order: list[QueueEntry] = []
        """The runs that wait, by turns; made anew, as what follows, whenever a run comes, begins or ends."""
        self._room: Room[QueueEntry] = Room(rows, (), ())
        self._let_in: set[QueueEntry] = set()
        """Those of them that may begin now."""
        self._forecast: dict[QueueEntry, tuple[int, float]] = {}
        """{run that waits: (how many runs end before it begins, when it begins by the monotonic clock)}"""
        self._forecast_at: float | None = None
        self._arrivals = 0
        self._mean_seconds: float | None = None
        self._mean_work: float | None = None
        """Rows of a run times its seconds."""

    def in_turn(
        self,
        visitor: Visitor,
        start: Callable[[], Generator[Event, None, None]],
        cancelled: Callable[[], bool] = lambda: False,
        rows: Rows = alone,
    ) -> Generator[Waiting | Event, None, None]:
        """Wait for the visitor's turn, then yield what the run that `start` begins yields.

        While it waits, a `Waiting` comes about twice a second. If it is cancelled before its turn, nothing is started
        and nothing more comes. The run is closed when this generator is. Raises `QueueFullError`.
        """
        with self.enter(visitor, rows) as entry:
            while not self.begin(entry, POLL):
                if cancelled():
                    return
                yield self.outlook(entry)
            if cancelled():
                return
            with closing(start()) as events:
                yield from events

    @contextmanager
    def enter(self, visitor: Visitor, rows: Rows = alone) -> Iterator[QueueEntry]:
        """An entry for one run of a visitor, which leaves the queue when the body ends; raises `QueueFullError`."""
        with self._changed:
            self._arrivals += 1
            entry = QueueEntry(visitor, self._arrivals, rows)
            self._measure(entry)
            self._check_place(entry)
            self._turns.join(visitor, [one.visitor for one in self._entries])
            self._entries.append(entry)
            self._sort()
        try:
            yield entry
        finally:
            with self._changed:
                self._entries.remove(entry)
                if entry.started is not None:
                    self._learn(entry, time.monotonic() - entry.started)
                self._sort()
                self._changed.notify_all()
            if entry.started is not None:
                release_memory()
                give_up_processor_threads()  # of a run that computed in this thread, such as a search

    def begin(self, entry: QueueEntry, seconds: float) -> bool:
        """Wait up to `seconds` for the turn of `entry`; True if it may begin, or has begun."""
        with self._changed:
            if entry.started is None and self._changed.wait_for(lambda: entry in self._let_in, seconds):
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
            now = time.monotonic()
            if self._forecast_at is None or now - self._forecast_at >= POLL:
                self._foretell(now)
            ahead, begins = self._forecast[entry]
            own = any(other.visitor == entry.visitor and other.started is not None for other in self._entries)
            return Waiting(ahead, None if self._mean_seconds is None else max(0.0, begins - now), own)

    def _check_place(self, entry: QueueEntry) -> None:
        """Raise `QueueFullError` if an entry that has come must wait and may not."""
        if self._room.fits(entry):
            return
        waiting = [one for one in self._order if one not in self._let_in]
        address = entry.visitor.address
        if len(waiting) >= self.waiting:
            raise QueueFullError("error.queue_full", n=self.waiting)
        if sum(one.visitor.address == address for one in waiting) >= self.share:
            here = sum(one.visitor.address == address for one in self._entries)
            raise QueueFullError("error.address_full", n=here)

    def _foretell(self, now: float) -> None:
        """Find out when each waiting run will begin, if no others come and each takes as long as the last ones did.

        One that has taken longer is taken to go on for as long as it is over that.
        """
        running = [one for one in self._entries if one.started is not None]
        taken = {one: now - one.started for one in running if one.started is not None}
        mean = self._mean_seconds
        mean = max([1.0, *taken.values()]) if mean is None else mean
        room = Room(self.rows, running, self._order)
        ends = [(now + abs(mean - taken[one]), one.number, one) for one in running]
        heapq.heapify(ends)
        self._forecast, self._forecast_at, ended, clock = {}, now, 0, now
        while True:
            for one in room.let_in():
                self._forecast[one] = ended, clock
                heapq.heappush(ends, (clock + mean, one.number, one))
            if not ends:
                return
            clock, _, over = heapq.heappop(ends)
            room.end(over)
            ended += 1

    def _learn(self, entry: QueueEntry, took: float) -> None:
        """Count a run that has ended for what it took of the model: long ones and those of many rows as several."""
        work = entry.rows * took
        self._turns.end(entry.visitor, work / self._mean_work if self._mean_work else 1.0)
        self._mean_seconds = _smoothed(self._mean_seconds, took)
        self._mean_work = _smoothed(self._mean_work, work)

    def _measure(self, entry: QueueEntry) -> None:
        """Ask anew how many rows a waiting entry takes."""
        rows = entry.asks()
        entry.rows = self.rows if rows is None else min(rows, self.rows)

    def _sort(self) -> None:
        """Put those that wait into their order anew, and find out which of them may begin."""
        waiting = [entry for entry in self._entries if entry.started is None]
        for entry in waiting:
            self._measure(entry)
        self._order = self._turns.order(waiting)
        self._room = Room(self.rows, [one for one in self._entries if one.started is not None], self._order)
        self._let_in, self._forecast_at = set(self._room.let_in()), None


def _smoothed(mean: float | None, last: float) -> float:
    """A running mean with one more number."""
    return last if mean is None else mean + SMOOTHING * (last - mean)
