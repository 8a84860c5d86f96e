"""A gate before the work beside the model, such as looks at traces: a few pieces at a time, by turns of the addresses.

All of it shares one interpreter with the model, whose runs would wait for it without end if any number went on at once.
While a run is under way, one piece goes on at a time, and where others wait, the model has it alone for as long as each
took.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from app.language import VisitorError

AT_ONCE = 2
"""Pieces of work that go on at once while no model runs."""
LONGEST_PAUSE = 1.0
"""Seconds for which those who wait are kept waiting at most for the model's sake, after each piece."""
MOST = 1000
"""Pieces of work that may wait."""
SHARE = 40
"""Pieces of work that may wait of one address."""


class BusyError(VisitorError):
    """So much work waits, in all or of one address, that no more is taken."""


class Gate:
    """The gate. It belongs to the event loop in which it is first used."""

    def __init__(
        self, at_once: int = AT_ONCE, most: int = MOST, share: int = SHARE, model_runs: Callable[[], bool] | None = None
    ) -> None:
        """`model_runs` tells whether a run is under way."""
        self.at_once, self.most, self.share = at_once, most, share
        self.model_runs = model_runs or (lambda: False)
        self._going = 0
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """{address: its pieces of work}; the address whose turn is next comes first"""

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Wait for the turn of an address, and let the next one in when the body ends; raises `BusyError`."""
        if self._going < self._most_now() and not self._waiting:
            self._going += 1
        else:
            await self._wait(address)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            yield
        finally:
            if self._waiting and self.model_runs():
                loop.call_later(min(loop.time() - begun, LONGEST_PAUSE), self._leave)
            else:
                self._leave()

    async def _wait(self, address: str) -> None:
        own = self._waiting.get(address, ())
        if len(own) >= self.share or sum(map(len, self._waiting.values())) >= self.most:
            raise BusyError("error.busy")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(address, deque()).append(turn)
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # its turn had come already
            else:
                self._drop(address, turn)
            raise

    def _drop(self, address: str, turn: asyncio.Future[None]) -> None:
        own = self._waiting.get(address)
        if own and turn in own:  # else it was passed over already
            own.remove(turn)
            if not own:
                del self._waiting[address]

    def _most_now(self) -> int:
        return 1 if self.model_runs() else self.at_once

    def _leave(self) -> None:
        self._going -= 1
        self._let_in()

    def _let_in(self) -> None:
        """Give free places to those addresses that have waited longest since their last turn."""
        while self._waiting and self._going < self._most_now():
            address, own = self._waiting.popitem(last=False)
            turn = own.popleft()
            if own:
                self._waiting[address] = own
            if not turn.done():  # else who waited has gone
                turn.set_result(None)
                self._going += 1
