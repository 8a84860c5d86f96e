"""The rows that runs take while they go on, and which of the waiting runs may begin beside them.

They begin strictly in their order: one that does not fit yet is waited for, and none behind it goes first. Only what is
held back by its address's share lets others go before.
"""

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from app.jobs.queue.visitor import Visitor


class Takes(Protocol):
    """A run that takes rows."""

    visitor: Visitor
    rows: int
    """At most all there are."""


Run = TypeVar("Run", bound=Takes)


class Room(Generic[Run]):
    """Rows for runs. The runs under way of one address have at most half of them together, or there is only one."""

    def __init__(self, rows: int, running: Iterable[Run], waiting: Iterable[Run]) -> None:
        """So many rows in all, some runs under way, and others that wait, in the order in which they are to begin."""
        self._half, self._free = rows // 2, rows
        self._taken: Counter[str] = Counter()
        """{address: rows of its runs under way}"""
        self._waiting: defaultdict[str, deque[tuple[int, Run]]] = defaultdict(deque)
        """{address: its waiting runs, each with its place in the order}"""
        for run in running:
            self._take(run)
        for place, run in enumerate(waiting):
            self._waiting[run.visitor.address].append((place, run))
        self._next = [(own[0][0], address) for address, own in self._waiting.items()]
        """A heap of (place of its next run, address), without the addresses that are held back."""
        self._held: set[str] = set()

    def let_in(self) -> list[Run]:
        """The runs that may begin now, whose rows are taken from now on."""
        begun = []
        while self._next:
            _, address = self._next[0]
            _, run = self._waiting[address][0]
            if self._is_beyond_share(run):
                heapq.heappop(self._next)
                self._held.add(address)
                continue
            if run.rows > self._free:
                break
            heapq.heappop(self._next)
            self._waiting[address].popleft()
            self._take(run)
            self._queue_up(address)
            begun.append(run)
        return begun

    def end(self, run: Run) -> None:
        """Free the rows of a run that has begun; afterwards others may be let in."""
        address = run.visitor.address
        self._free += run.rows
        self._taken[address] -= run.rows
        if address in self._held:
            self._held.remove(address)
            self._queue_up(address)

    def fits(self, run: Run) -> bool:
        """Whether a run that has just come could begin at once, after all that can were let in."""
        waits = self._next or self._waiting.get(run.visitor.address)
        return not waits and not self._is_beyond_share(run) and run.rows <= self._free

    def _is_beyond_share(self, run: Run) -> bool:
        taken = self._taken[run.visitor.address]
        return taken > 0 and taken + run.rows > self._half

    def _take(self, run: Run) -> None:
        self._free -= run.rows
        self._taken[run.visitor.address] += run.rows

    def _queue_up(self, address: str) -> None:
        if own := self._waiting[address]:
            heapq.heappush(self._next, (own[0][0], address))
