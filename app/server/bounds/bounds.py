"""All that strangers can make the server hold, each part with its bound, and what gives it back."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import gradio as gr
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import Receive, Scope

from app.inputs.trace_file import MAX_VALUES, most_values
from app.jobs.allocator import release_memory
from app.jobs.queue.listeners import Listeners
from app.jobs.queue.visitor import address_of
from app.server.bounds.answers import surplus_answers
from app.server.bounds.body import declared_size, read_body
from app.server.bounds.budget import Budget, FullError, Held
from app.server.gradio_internals import drop_answers, is_pending, pending_event, unread_answers

LOG = logging.getLogger(__name__)
MEGABYTE = 2**20
UPLOADED_SECONDS = 1800 + 300
"""How long an upload can lie there: it is deleted when half an hour old, and that is looked for every five minutes."""
SHORT = 64 * 2**10
"""Bytes of a body that counts as short, which is all that the page sends but traces."""
SMALL = MEGABYTE
"""Bytes that a document may cost to be answered without waiting for room."""
PATIENCE = 10.0
"""Seconds that a large document waits for room."""
POLL = 0.25
"""Seconds between two looks whether an event is over."""
UPKEEP = 2.0
"""Seconds between two rounds in which memory is given back."""
LARGE_RELEASED = 4 * MEGABYTE
"""Bytes of documents after which memory is worth giving back to the system."""


def document_cost(body: bytes) -> int:
    """How many bytes it takes at most to parse a JSON document and to answer it, copies included.

    A single character beyond U+FFFF makes a text take four bytes for each, and two copies are needed at a time; a body
    of ASCII alone, such as an image in base64, takes one. Each value is an object of its own, in some of which others
    lie. One of more than `MAX_VALUES` is never parsed.
    """
    values = min(most_values(body.decode("utf-8", "replace")), MAX_VALUES)
    is_plain = body.isascii() and b"\\u" not in body
    return (5 if is_plain else 10) * len(body) + 250 * values + 64 * 2**10


@dataclass
class Bounds:
    """The bounds of one page. They belong to the event loop that serves it."""

    requests: Budget = field(default_factory=lambda: Budget(2000))
    """Requests that are being answered, streams among them."""
    bodies: Budget = field(default_factory=lambda: Budget(192 * MEGABYTE))
    """Bytes of bodies that are being read."""
    short_bodies: Budget = field(default_factory=lambda: Budget(32 * MEGABYTE))
    """The same of those of up to `SHORT` bytes, from which long ones take no room."""
    events: Budget = field(default_factory=lambda: Budget(400))
    """Events in Gradio's own queue, and under way."""
    small: Budget = field(default_factory=lambda: Budget(64 * MEGABYTE))
    """Bytes of documents in memory, of those that cost up to `SMALL`, which is all that the page sends but traces."""
    large: Budget = field(default_factory=lambda: Budget(576 * MEGABYTE))
    """The same of those that cost more. They wait for room, and take none from the small ones."""
    uploads: Budget = field(default_factory=lambda: Budget(200 * MEGABYTE))
    """Bytes of files."""
    listeners: Listeners | None = None
    """Who listens; without it no answer is taken to be unread."""
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set, init=False)
    _released: int = field(default=0, init=False)
    """Bytes of documents that were released since memory was given back."""

    @asynccontextmanager
    async def body(self, scope: Scope, receive: Receive, most: int) -> AsyncIterator[bytes]:
        """The body of a request that posts a JSON document, of at most `most` bytes.

        What it takes is held until the request is answered, and its event is over if it has begun one. Raises
        `UnfitError` and `FullError`.
        """
        # A page inside of this one, such as that of the Model Context Protocol, would take its place in the scope.
        page, address = scope["app"].get_blocks(), address_of(scope)
        size = declared_size(Headers(scope=scope), most)
        with (self.short_bodies if size <= SHORT else self.bodies).take(address, size):
            body = await read_body(receive, most)
            cost = document_cost(body) if len(body) < MEGABYTE else await run_in_threadpool(document_cost, body)
            held = self.small.take(address, cost) if cost <= SMALL else await self.large.wait(address, cost, PATIENCE)
        try:
            event = self.events.take(address, 1)
        except FullError:
            held.release()
            raise
        try:
            yield body
        finally:
            self._release_when_over((held, event), page, scope)

    @asynccontextmanager
    async def upload(
        self, scope: Scope, receive: Receive, most: int
    ) -> AsyncIterator[tuple[bytes, Callable[[], None]]]:
        """The body of a request that uploads a file, and what to call once the file is kept.

        Raises `UnfitError` and `FullError`.
        """
        size = declared_size(Headers(scope=scope), most)
        with self.bodies.take(address_of(scope), size):
            held = self.uploads.take(address_of(scope), size)
            kept = False

            def keep() -> None:
                nonlocal kept
                kept = True
                asyncio.get_running_loop().call_later(UPLOADED_SECONDS, held.release)

            try:
                yield await read_body(receive, most), keep
            finally:
                if not kept:
                    held.release()

    async def keep_up(self, page: Callable[[], gr.Blocks]) -> None:
        """Drop what nobody fetches, and give memory back, again and again. Run it while the page is served."""
        while True:
            await asyncio.sleep(UPKEEP)
            try:
                await self._clear(page())
            except Exception:  # the next round may do better, and without one everything would be kept
                LOG.warning("what nobody fetches could not be dropped", exc_info=True)

    async def _clear(self, page: gr.Blocks) -> None:
        if self.listeners is not None:
            for session in surplus_answers(unread_answers(page, self.listeners.alone_for)):
                drop_answers(page, session)
                self._released += LARGE_RELEASED
        if self._released >= LARGE_RELEASED:
            self._released = 0
            await run_in_threadpool(release_memory)

    def _release_when_over(self, held: Sequence[Held], page: gr.Blocks, scope: Scope) -> None:
        event = pending_event(page, scope)
        if event is None:
            self._release(held)
            return

        async def wait() -> None:
            try:
                while is_pending(page, event):
                    await asyncio.sleep(POLL)
            finally:
                self._release(held)

        task = asyncio.get_running_loop().create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _release(self, held: Sequence[Held]) -> None:
        for part in held:
            self._released += part.size if part.size > SMALL else 0
            part.release()
