"""How a run in another process learns that nobody wants it any more."""

import asyncio
from collections import deque

REMEMBERED = 1000
"""Runs that were ended before anything asked for them, of which so many are remembered."""


class CancelSignals:
    """Ray makes an actor of it, for a page. It ends with the page, and who waits for it then learns that."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Event] = {}
        self._given: deque[str] = deque(maxlen=REMEMBERED)

    async def wait(self, run: str) -> None:
        """Return once the run is cancelled."""
        if run in self._given:
            self._given.remove(run)
            return
        event = self._waiting[run] = asyncio.Event()
        try:
            await event.wait()
        finally:
            del self._waiting[run]

    async def give(self, run: str) -> None:
        """Cancel a run, or say that it is over."""
        if run in self._waiting:
            self._waiting[run].set()
        else:
            self._given.append(run)
