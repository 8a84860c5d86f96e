"""ASGI middleware between strangers and Gradio: closes routes, and bounds and checks what is sent.

Gradio opens more routes than this page uses, takes uploads of any kind and answers odd values with a traceback. Here
those routes are closed, and every request is bounded and checked before Gradio reads it.
"""

import asyncio
import re
from contextlib import nullcontext

import gradio as gr
import httpx
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.inputs.trace_file import MAX_CHARACTERS
from app.jobs.queue.visitor import address_of
from app.server.bounds.bounds import Bounds
from app.server.bounds.budget import FullError
from app.server.gate import BusyError
from app.server.gradio_internals import GuardedBlocks, is_known_event
from app.server.request_checks import UnfitError, check_call, check_upload, parsed

MAX_BODY = MAX_CHARACTERS + 2_000_000
"""Bytes of a request: the largest trace that is opened, and everything else on the page."""
MAX_UPLOAD = 10_000_000
MAX_PATH = 255
"""Bytes of a path; no file system has a longer name."""
CLOSED = re.compile(
    r"/(gradio_api/)?(deep_link|monitoring|proxy=|file=|file/|stream/|component_server|custom_component"
    r"|process_recording|upload_progress|runs|run-history|profiling|vibe|undo-vibe|reset|dev/|login|logout|token)|/openapi\.json"
)
"""Routes of Gradio that nothing here uses: they read or write files, or show other visitors' runs."""
EVENTS = re.compile(r"/gradio_api/(queue/data|call/(?:v2/)?[^/]+/([^/]+))/?")
"""Routes that stream what an event yields; the second group is the event's id, if it is in the path."""
COSTLY = ("", "/", "/config", "/gradio_api/info", "/gradio_api/info/")
"""Routes that take some milliseconds to answer, and wait for their turn as looks at traces do."""
HOST_HEADERS = ("x-forwarded-host", "x-gradio-server")
"""Headers in which a proxy names the host that the page is reached by."""
RESPONSE_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "strict-origin-when-cross-origin"}
"""On every response. None of them forbids a frame: a Space stands in one."""


RETRY = {"Retry-After": "5"}
"""Seconds after which a request that found no room may find some."""
NO_ROOM = "So much of what was sent is being worked on that there is no room for more. Try again in some seconds."
NO_OWN_ROOM = "So much of what you sent is being worked on that there is no room for more. Try again in some seconds."


class Guard:
    """The middleware."""

    def __init__(self, app: ASGIApp, *, bounds: Bounds | None = None) -> None:
        """`bounds` are those of the page."""
        self.app, self.bounds = app, bounds or Bounds()
        self._keeping: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                self._keeping = asyncio.get_running_loop().create_task(self.bounds.keep_up(scope["app"].get_blocks))
            await self.app(scope, receive, send)
            return
        path, has_begun = scope["path"].removeprefix(scope.get("root_path", "")), False

        async def with_headers(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                headers = MutableHeaders(scope=message)
                for name, value in RESPONSE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            with self.bounds.requests.take(address_of(scope), 1):
                await self._answer(scope, path, receive, with_headers)
        except UnfitError as error:
            await JSONResponse({"detail": str(error)}, error.status)(scope, receive, with_headers)
        except BusyError:
            await JSONResponse({"detail": NO_ROOM}, 503, RETRY)(scope, receive, with_headers)
        except FullError as error:
            status, sentence = (429, NO_OWN_ROOM) if error.is_own else (503, NO_ROOM)
            await JSONResponse({"detail": sentence}, status, RETRY)(scope, receive, with_headers)
        except (HTTPException, RuntimeError, KeyError):
            if not (has_begun and EVENTS.fullmatch(path)):
                raise
            # Gradio raises this in a stream when another client of the same session has gone. The response has begun,
            # so all that is left is to end it.
            await send({"type": "http.response.body", "body": b""})

    async def _answer(self, scope: Scope, path: str, receive: Receive, send: Send) -> None:
        """Pass on a request that is fit; raises `UnfitError` and `FullError`."""
        page = scope["app"].get_blocks()
        _check_address(page, path, Request(scope))
        if scope["method"] not in ("POST", "PUT", "PATCH"):
            if "transfer-encoding" in Headers(scope=scope):
                raise UnfitError(411, "Nothing is to be sent with such a request.")
            costly = path in COSTLY and isinstance(page, GuardedBlocks)
            async with page.gate.turn(address_of(scope)) if costly else nullcontext():
                await self.app(scope, receive, send)
        elif path.rstrip("/") == "/gradio_api/upload":
            async with self.bounds.upload(scope, receive, MAX_UPLOAD) as (body, keep):
                await check_upload(Headers(scope=scope), body)

                async def kept(message: Message) -> None:
                    if message["type"] == "http.response.start" and message["status"] == 200:
                        keep()
                    await send(message)

                scope["query_string"] = b""  # by a name in it Gradio would keep how far each upload is
                await self.app(scope, _replay(body, receive), kept)
        elif "json" not in Headers(scope=scope).get("content-type", "").lower():
            raise UnfitError(415, "Only JSON is taken here.")
        else:
            async with self.bounds.body(scope, receive, MAX_BODY) as body:
                await run_in_threadpool(lambda: check_call(page, path, parsed(body)))
                await self.app(scope, _replay(body, receive), send)


def _check_address(page: gr.Blocks, path: str, request: Request) -> None:
    """Raises `UnfitError` for a closed route, the stream of an event that does not exist, and a malformed host."""
    if CLOSED.match(path) or len(path.encode()) > MAX_PATH or not path.isprintable():
        raise UnfitError(404, "Not Found")
    stream = EVENTS.fullmatch(path) if request.method == "GET" else None
    name = stream and (stream[2] or request.query_params.get("session_hash"))
    if name and not is_known_event(page, name):
        raise UnfitError(404, "There are no such events.")
    for header in HOST_HEADERS:
        if host := request.headers.get(header, "").split(",")[0].strip():
            try:
                httpx.URL(host if "//" in host else f"http://{host}")
            except (httpx.InvalidURL, ValueError):
                raise UnfitError(400, f"{header} names no host.") from None


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that hands out a body which was read already, and then what else comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
