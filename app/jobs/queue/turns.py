"""Fair turns: which of the waiting runs begins next, by what their visitors have been served before.

Each begun run is a turn, and one that is more work than usual counts as several. The address that has been served least
is next, and of its sessions the one that has been served least; at the same level the run that came first. So neither
many runs, nor long ones, nor many sessions get an address more of the model than its share while others wait.
"""

import heapq
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from app.jobs.queue.visitor import Visitor

FORGOTTEN = 600.0
"""Seconds after its last run in which an address is remembered; what it was served does not count after that."""
MOST_ADDRESSES = 10_000
"""Addresses remembered; the one that was served longest ago is forgotten first."""
MOST_TURNS = 10.0
"""A run counts as no more turns than this, so that nobody waits for ever."""


class Waits(Protocol):
    """A run that waits."""

    visitor: Visitor
    number: int
    """Counts arrivals."""


Run = TypeVar("Run", bound=Waits)


@dataclass
class _Served:
    """What one address has been served, in turns."""

    turns: float = 0.0
    sessions: dict[str, float] = field(default_factory=dict)
    """{session: turns of its own}"""
    clock: float = 0.0
    """The level of the session of this address that began last."""
    at: float = 0.0
    """When it was served last, by the monotonic clock."""


class Turns:
    """What every visitor has been served. Not safe to use from several threads by itself."""

    def __init__(self) -> None:
        self._addresses: OrderedDict[str, _Served] = OrderedDict()
        self._clock = 0.0
        """The level of the address that began last. Who comes anew begins there: to have stayed away is no credit."""

    def join(self, visitor: Visitor, present: Iterable[Visitor]) -> None:
        """Note that a visitor waits; `present` are those with runs that wait or are under way."""
        self._forget({one.address for one in present})
        served = self._addresses.setdefault(visitor.address, _Served(at=time.monotonic()))
        if all(one.address != visitor.address for one in present):
            served.turns = max(served.turns, self._clock)
            served.sessions = {name: turns for name, turns in served.sessions.items() if turns > served.clock}
        if visitor not in present:
            served.sessions[visitor.session] = max(served.sessions.get(visitor.session, 0.0), served.clock)

    def begin(self, visitor: Visitor) -> None:
        """Note that a run of a visitor begins."""
        served = self._addresses[visitor.address]
        self._clock, served.clock = served.turns, served.sessions[visitor.session]
        self._add(visitor, 1.0)

    def end(self, visitor: Visitor, turns: float) -> None:
        """Note that a run ends that was as much work as so many usual ones."""
        self._add(visitor, min(max(turns, 1.0), MOST_TURNS) - 1.0)

    def _add(self, visitor: Visitor, turns: float) -> None:
        served = self._addresses[visitor.address]
        served.turns += turns
        served.sessions[visitor.session] += turns
        served.at = time.monotonic()
        self._addresses.move_to_end(visitor.address)

    def _forget(self, present: set[str]) -> None:
        """Forget addresses that have nothing here and were served long ago, or too long ago of too many."""
        old = time.monotonic() - FORGOTTEN
        spare = len(self._addresses) - MOST_ADDRESSES
        for address, served in list(self._addresses.items()):
            if served.at > old and spare <= 0:
                return
            if address not in present:
                del self._addresses[address]
                spare -= 1

    def order(self, waiting: Iterable[Run]) -> list[Run]:
        """The waiting runs in the order in which they will begin, if no others come."""
        queues: dict[str, dict[str, list[Run]]] = {}
        for one in sorted(waiting, key=lambda one: one.number, reverse=True):
            queues.setdefault(one.visitor.address, {}).setdefault(one.visitor.session, []).append(one)
        sessions = {address: self._heap(address, own) for address, own in queues.items()}
        addresses = [(self._addresses[address].turns, heap[0][1], address) for address, heap in sessions.items()]
        heapq.heapify(addresses)
        ordered: list[Run] = []
        while addresses:
            turns, _, address = heapq.heappop(addresses)
            heap = sessions[address]
            level, _, session = heapq.heappop(heap)
            queue = queues[address][session]
            ordered.append(queue.pop())
            if queue:
                heapq.heappush(heap, (level + 1.0, queue[-1].number, session))
            if heap:
                heapq.heappush(addresses, (turns + 1.0, heap[0][1], address))
        return ordered

    def _heap(self, address: str, own: dict[str, list[Run]]) -> list[tuple[float, int, str]]:
        levels = self._addresses[address].sessions
        heap = [(levels[session], queue[-1].number, session) for session, queue in own.items()]
        heapq.heapify(heap)
        return heap
