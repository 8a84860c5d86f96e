"""Between strangers and Gradio: what is asked for that the page does not have, and what is sent that does not fit it.

Gradio opens more routes than this page uses, takes uploads of any kind and answers odd values with a traceback in the
log. Here those routes are closed, what comes in is bounded and looked at before Gradio reads it, and whatever still
goes wrong within an event ends in one sentence for the visitor and one line in the log, without what was sent.
"""

import logging
import re
import traceback
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
from gradio.state_holder import SessionState
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.inputs.trace_file import MAX_CHARACTERS
from app.language import ENGLISH
from app.server.gradio_internals import keep_states_only
from app.server.request_checks import UnfitError, check_call, check_upload, parsed

LOG = logging.getLogger(__name__)
GRADIO = Path(gr.__file__).parent
MAX_BODY = MAX_CHARACTERS + 2_000_000
"""Bytes of a request: a trace as large as any that is opened, and everything else on the page."""
MAX_UPLOAD = 10_000_000
LONGEST_PATH = 255
"""Bytes; no file system looks for a longer name."""
CLOSED = re.compile(
    r"/(gradio_api/)?(deep_link|monitoring|proxy=|file=|file/|stream/|component_server|custom_component"
    r"|process_recording|runs|run-history|profiling|vibe|undo-vibe|reset|dev/|login|logout|token)|/openapi\.json"
)
"""Routes of Gradio that nothing here uses: they read or write files, or tell about other visitors' runs."""
EVENTS = re.compile(r"/gradio_api/(queue/data|call/(?:v2/)?[^/]+/([^/]+))/?")
"""Where what comes of an event is told while it comes."""
HOSTS = ("x-forwarded-host", "x-gradio-server")
"""Headers that say what the page is called from outside."""
OUT_OF_RANGE = re.compile(r"Value \S{1,40} is (less|greater) than (min|max)imum value \S{1,40}\.")
"""What Gradio says of a number; what else it says repeats what was sent, however long, as Python writes it."""
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "strict-origin-when-cross-origin"}
"""On every answer. The page may stand in a frame anywhere, as a Space does."""


class GuardedBlocks(gr.Blocks):
    """A page of which no event ends in a traceback."""

    async def process_api(
        self, block_fn: Any, inputs: list[Any], state: SessionState | None = None, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Gradio's own, not part of its documented interface: every event of the page and the API runs through it."""
        try:
            return await super().process_api(block_fn, inputs, state, *args, **kwargs)
        except gr.Error as error:
            if GRADIO in Path(_frame(error).filename).parents and not OUT_OF_RANGE.fullmatch(error.message):
                raise gr.Error(ENGLISH("error.unfit"), print_exception=False) from error
            error.print_exception = False  # it is told to the visitor, and nobody else can do anything about it
            raise
        except Exception as error:
            frame = _frame(error)
            where = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
            LOG.warning("an event failed at %s: %s", where, type(error).__name__)  # its message may hold a prompt
            LOG.debug("in full", exc_info=error)
            raise gr.Error(ENGLISH("error.unfit"), print_exception=False) from error
        finally:
            keep_states_only(state, self)


def _frame(error: BaseException) -> traceback.FrameSummary:
    return traceback.extract_tb(error.__traceback__)[-1]


class Guard:
    """ASGI middleware: closes routes, bounds and checks what is sent, and adds `HEADERS`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, page = scope["path"].removeprefix(scope.get("root_path", "")), scope["app"].get_blocks()
        answering = False

        async def with_headers(message: Message) -> None:
            nonlocal answering
            if message["type"] == "http.response.start":
                answering = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            _check_address(page, path, Request(scope))
            if scope["method"] in ("POST", "PUT", "PATCH"):
                receive = await _looked_at(page, path, Headers(scope=scope), receive)
        except UnfitError as error:
            await JSONResponse({"detail": str(error)}, error.status)(scope, receive, with_headers)
            return
        try:
            await self.app(scope, receive, with_headers)
        except (HTTPException, RuntimeError, KeyError):
            if not (answering and EVENTS.fullmatch(path)):
                raise
            # Gradio, when somebody else listens under the same name and goes; nothing more can be told.
            await send({"type": "http.response.body", "body": b""})


def _check_address(page: gr.Blocks, path: str, request: Request) -> None:
    """Raises `UnfitError` for a route that is closed or told of events that there are none of, and for odd hosts."""
    if CLOSED.match(path) or len(path.encode()) > LONGEST_PATH:
        raise UnfitError(404, "Not Found")
    events = request.method == "GET" and EVENTS.fullmatch(path)
    name = events and (events[2] or request.query_params.get("session_hash"))
    if name and not _is_told(page, name):
        raise UnfitError(404, "There are no such events.")
    for header in HOSTS:
        if host := request.headers.get(header, "").split(",")[0].strip():
            try:
                httpx.URL(host if "//" in host else f"http://{host}")
            except (httpx.InvalidURL, ValueError):
                raise UnfitError(400, f"{header} names no host.") from None


def _is_told(page: gr.Blocks, name: str) -> bool:
    """Whether there is an event of this identity, or a session that asked for one."""
    queue = page._queue
    sessions = queue.pending_event_ids_session
    return (
        name in queue.pending_messages_per_session
        or name in queue.event_ids_to_events
        or any(name in events for events in sessions.values())
    )


async def _looked_at(page: gr.Blocks, path: str, headers: Headers, receive: Receive) -> Receive:
    """What gives out a body that was read and found to fit; raises `UnfitError`."""
    uploads = path.rstrip("/") == "/gradio_api/upload"
    body = await _read(receive, MAX_UPLOAD if uploads else MAX_BODY)
    if uploads:
        await check_upload(headers, body)
    elif "json" not in headers.get("content-type", "").lower():
        raise UnfitError(415, "Only JSON is taken here.")
    else:
        await run_in_threadpool(lambda: check_call(page, path, parsed(body)))
    return _again(body, receive)


async def _read(receive: Receive, most: int) -> bytes:
    """The body of a request; raises `UnfitError` if it is larger than `most` bytes."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        parts.append(message.get("body", b""))
        size, more = size + len(parts[-1]), message.get("more_body", False)
        if size > most:
            raise UnfitError(413, "What was sent is too large.")
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """Hand out a body that was read already, and then what else comes."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
