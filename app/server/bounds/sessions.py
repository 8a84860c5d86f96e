"""Which visitors' traces are remembered: a bound in bytes for all, which no address uses up at the others' expense."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

MEASURED_SECONDS = 5.0
"""How long a measured size holds: measuring takes some milliseconds, and a look at a trace adds little."""
IDLE_SECONDS = 60.0
"""How long a session must have been inactive for its page to count as closed, which may only be reconnecting."""
TOTAL = 512 * 2**20
"""Bytes of all that is remembered."""
CLOSED = 16 * 2**20
"""Bytes that are kept of sessions whose page is closed, for those that come back."""
CLOSED_SECONDS = 2.0
"""How often is looked for too many of them, among all sessions."""
EMPTY = 64 * 2**10
"""Bytes of a session in which nothing was done yet."""


@dataclass
class _Remembered:
    address: str
    size: int
    used: float
    """When it was last active, by the monotonic clock."""
    measured: float
    """When its size was last measured."""


class Sessions:
    """The sessions that something is remembered of."""

    def __init__(self, total: int = TOTAL, closed: int = CLOSED) -> None:
        """`closed` is the part of `total` that is kept of sessions whose page is closed."""
        self.total, self.closed = total, closed
        self.size = 0
        self._looked = -CLOSED_SECONDS
        """When closed sessions were last looked for, by the monotonic clock."""
        self._sessions: dict[str, _Remembered] = {}
        self._of: Counter[str] = Counter()
        """{address: bytes of its sessions}"""

    def __contains__(self, name: str) -> bool:
        return name in self._sessions

    def address_of(self, name: str) -> str:
        """The address that a session was last active from; empty if nothing is known of it."""
        return self._sessions[name].address if name in self._sessions else ""

    def use(self, name: str, address: str, measure: Callable[[], int]) -> None:
        """A session was active, from an address; `measure` returns how many bytes are remembered of it."""
        now = time.monotonic()
        known = self._sessions.get(name)
        if known and now - known.measured < MEASURED_SECONDS:
            size, measured = known.size, known.measured
        else:
            size, measured = measure() + EMPTY, now
        self.forget(name)
        self._sessions[name] = _Remembered(address, size, now, measured)
        self._of[address] += size
        self.size += size

    def forget(self, name: str) -> None:
        """Nothing is remembered of a session any more."""
        if known := self._sessions.pop(name, None):
            self._of[known.address] -= known.size
            self.size -= known.size
            if not self._of[known.address]:
                del self._of[known.address]

    def surplus(self, is_closed: Callable[[str], bool] = lambda name: False) -> list[str]:
        """Forget what is too much, and return the names of those sessions.

        The first to go are those whose page is closed, then those of the address of which most is remembered; of one
        address those that were active longest ago.
        """
        now = time.monotonic()
        gone = self._closed_surplus(is_closed, now)
        while self.size > self.total and len(self._sessions) > 1:
            idle = (name for name, one in self._sessions.items() if now - one.used > IDLE_SECONDS)
            closed = [name for name in idle if is_closed(name)]
            among = closed or list(self._sessions)
            most = max({self._sessions[name].address for name in among}, key=lambda address: self._of[address])
            own = [name for name in among if self._sessions[name].address == most]
            gone.append(min(own, key=lambda name: self._sessions[name].used))
            self.forget(gone[-1])
        return gone

    def _closed_surplus(self, is_closed: Callable[[str], bool], now: float) -> list[str]:
        """Forget closed sessions beyond what is kept of them, those first that were active longest ago."""
        if now - self._looked < CLOSED_SECONDS:
            return []
        self._looked = now
        idle = {name: one for name, one in self._sessions.items() if now - one.used > IDLE_SECONDS and is_closed(name)}
        size, gone = sum(one.size for one in idle.values()), list[str]()
        for name in sorted(idle, key=lambda name: idle[name].used):
            if size <= self.closed:
                break
            size -= idle[name].size
            self.forget(name)
            gone.append(name)
        return gone
