"""A budget of bytes, or of anything else that is counted, which strangers share by their addresses.

Nobody knows beforehand how many addresses will come. So an address may hold as much as is still free: one alone gets
half of the budget, and two that grow together a third each. What one holds is not taken away for another, so ten or so
can fill the budget if they come one after the other. Deadlines end most of what they can hold within minutes.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from typing import Self

MOST_WAITING, MOST_OWN = 64, 8
"""Who may wait for room, in all and from one address."""
MOST_PASSED = 8
"""How many others, who ask for less, may come first for whom there is too little room in all."""


class FullError(Exception):
    """There is no room now."""

    def __init__(self, *, is_own: bool) -> None:
        """`is_own` says that the address itself holds what is missing, and not others."""
        super().__init__("there is no room")
        self.is_own = is_own


@dataclass(eq=False)
class Turn:
    """Somebody who waits for `size`."""

    size: int
    granted: "asyncio.Future[Held]"
    passed: int = 0
    """How many others came first."""


@dataclass(eq=False)
class Held:
    """A part of a budget, until it is released or the body of a `with` ends."""

    budget: "Budget"
    address: str
    size: int
    is_held: bool = field(default=True, init=False)

    def release(self) -> None:
        """Give it back. Nothing happens the second time."""
        if self.is_held:
            self.is_held = False
            self.budget._give_back(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Budget:
    """The budget. It belongs to one thread, and `wait` to one event loop."""

    def __init__(self, total: int) -> None:
        self.total, self.held = total, 0
        self._of: Counter[str] = Counter()
        """{address: what it holds}"""
        self._waiting: OrderedDict[str, deque[Turn]] = OrderedDict()
        """{address: what it waits for}; the address whose turn is next comes first"""

    @property
    def free(self) -> int:
        """What nobody holds."""
        return self.total - self.held

    def take(self, address: str, size: int) -> Held:
        """Hold `size` of the budget for an address; raises `FullError`."""
        if self._of[address] + size > self.free:
            raise FullError(is_own=size <= self.free)
        return self._hold(address, size)

    async def wait(self, address: str, size: int, patience: float) -> Held:
        """As `take`, but wait up to `patience` seconds for room, in which addresses take turns."""
        if not self._waiting:
            try:
                return self.take(address, size)
            except FullError:
                pass
        own = self._waiting.setdefault(address, deque())
        if len(own) >= MOST_OWN or sum(map(len, self._waiting.values())) >= MOST_WAITING:
            self._tidy(address)
            raise FullError(is_own=len(own) >= MOST_OWN)
        turn = Turn(size, asyncio.get_running_loop().create_future())
        own.append(turn)
        self._serve()
        try:
            return await asyncio.wait_for(asyncio.shield(turn.granted), patience)
        except (TimeoutError, asyncio.CancelledError) as error:
            if turn.granted.done():
                turn.granted.result().release()  # it came in the moment of leaving
            else:
                turn.granted.cancel()
                self._waiting[address].remove(turn)
                self._tidy(address)
                self._serve()
            if isinstance(error, TimeoutError):
                raise FullError(is_own=size <= self.free) from None
            raise

    def _hold(self, address: str, size: int) -> Held:
        self.held += size
        self._of[address] += size
        return Held(self, address, size)

    def _give_back(self, part: Held) -> None:
        self.held -= part.size
        self._of[part.address] -= part.size
        if self._of[part.address] <= 0:
            del self._of[part.address]
        self._serve()

    def _tidy(self, address: str) -> None:
        if not self._waiting[address]:
            del self._waiting[address]

    def _serve(self) -> None:
        """Give room to those who wait, by turns. One for whom there is too little in all lets some others come first,
        and then keeps them waiting, since room for much would else never come together."""
        while address := self._next():
            turn = self._waiting[address].popleft()
            self._waiting.move_to_end(address)
            self._tidy(address)
            turn.granted.set_result(self._hold(address, turn.size))

    def _next(self) -> str | None:
        passed: list[Turn] = []
        for address, own in self._waiting.items():
            turn = own[0]
            if self._of[address] + turn.size <= self.free:
                for one in passed:
                    one.passed += 1
                return address
            if turn.size > self.free:
                if turn.passed >= MOST_PASSED:
                    return None
                passed.append(turn)
        return None
