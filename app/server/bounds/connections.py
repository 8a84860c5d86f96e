"""uvicorn's HTTP protocol with deadlines, and a bound on connections.

By itself uvicorn waits for ever for the end of a request's head, and for a client that does not read its answer.
"""

import asyncio
from contextlib import suppress
from typing import Any

import uvicorn.config
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.jobs.queue.visitor import grouped
from app.server.bounds.budget import Budget, FullError, Held

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

HEAD_SECONDS = 10.0
"""For the head of a request to arrive, from the first byte of the connection or of a further request."""
STALL_SECONDS = 30.0
"""For a client to take at least something of an answer that waits for it."""
MOST = 4000
SPARE = 256
"""Files that the program opens besides its connections."""


class BoundedProtocol(H11Protocol):
    """One connection."""

    budget = Budget(MOST)
    """Connections, shared by all."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, or end a connection for which there is no room."""
        super().connection_made(transport)
        self.ws_protocol_class = None  # else it would take the connection over, which then never ends here
        self._head: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._held: Held | None = None
        peer = transport.get_extra_info("peername")
        try:
            self._held = self.budget.take(grouped(str(peer[0])) if isinstance(peer, tuple) else "", 1)
        except FullError:
            transport.abort()
            return
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Take what arrived; while it is not yet a whole head, the time for it runs."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_head()
        elif self._head is None:
            self._expect_head()

    def pause_writing(self) -> None:
        """The client does not read: give it some time."""
        super().pause_writing()
        self._stop_stall()
        self._stall = self._later(STALL_SECONDS)

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        self._stop_stall()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free what the connection held."""
        self._stop_head()
        self._stop_stall()
        if self._held is not None:
            self._held.release()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._head = self._later(HEAD_SECONDS)

    def _later(self, seconds: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self.transport.abort)

    def _stop_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _stop_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None


def install() -> None:
    """Let uvicorn use this protocol, and the system give the program as many connections as it may have.

    Gradio starts uvicorn and passes on neither protocol nor loop, so the tables are changed from which uvicorn takes
    its own. By itself it takes others where the packages for them happen to be installed, as with Ray; so what is
    served is what was attacked.
    """
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{BoundedProtocol.__name__}"
    uvicorn.config.LOOP_FACTORIES["auto"] = uvicorn.config.LOOP_FACTORIES["asyncio"]
    BoundedProtocol.budget = Budget(min(MOST, max(_open_files() - SPARE, SPARE)))


def _open_files() -> int:
    """How many files the program may have open, after it has asked for as many as it can get."""
    limits: Any = resource
    if limits is None:
        return MOST + SPARE
    soft, hard = limits.getrlimit(limits.RLIMIT_NOFILE)
    wanted = MOST + SPARE if hard == limits.RLIM_INFINITY else min(hard, MOST + SPARE)
    if soft != limits.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            limits.setrlimit(limits.RLIMIT_NOFILE, (wanted, hard))
            return int(wanted)
    return MOST + SPARE if soft == limits.RLIM_INFINITY else int(soft)
