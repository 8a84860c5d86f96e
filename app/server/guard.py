"""ASGI middleware between strangers and Gradio: closes routes, and bounds and checks what is sent.

Gradio opens more routes than this page uses, takes uploads of any kind and answers odd values with a traceback. Here
those routes are closed, and every request is bounded and checked before Gradio reads it.
"""

import re

import gradio as gr
import httpx
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.inputs.trace_file import MAX_CHARACTERS
from app.server.gradio_internals import is_known_event
from app.server.request_checks import UnfitError, check_call, check_upload, parsed

MAX_BODY = MAX_CHARACTERS + 2_000_000
"""Bytes of a request: the largest trace that is opened, and everything else on the page."""
MAX_UPLOAD = 10_000_000
MAX_PATH = 255
"""Bytes of a path; no file system has a longer name."""
CLOSED = re.compile(
    r"/(gradio_api/)?(deep_link|monitoring|proxy=|file=|file/|stream/|component_server|custom_component"
    r"|process_recording|runs|run-history|profiling|vibe|undo-vibe|reset|dev/|login|logout|token)|/openapi\.json"
)
"""Routes of Gradio that nothing here uses: they read or write files, or show other visitors' runs."""
EVENTS = re.compile(r"/gradio_api/(queue/data|call/(?:v2/)?[^/]+/([^/]+))/?")
"""Routes that stream what an event yields; the second group is the event's id, if it is in the path."""
HOST_HEADERS = ("x-forwarded-host", "x-gradio-server")
"""Headers in which a proxy names the host that the page is reached by."""
RESPONSE_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "strict-origin-when-cross-origin"}
"""On every response. None of them forbids a frame: a Space stands in one."""


class Guard:
    """The middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, page = scope["path"].removeprefix(scope.get("root_path", "")), scope["app"].get_blocks()
        has_begun = False

        async def with_headers(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                headers = MutableHeaders(scope=message)
                for name, value in RESPONSE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            _check_address(page, path, Request(scope))
            if scope["method"] in ("POST", "PUT", "PATCH"):
                receive = await _checked_body(page, path, Headers(scope=scope), receive)
        except UnfitError as error:
            await JSONResponse({"detail": str(error)}, error.status)(scope, receive, with_headers)
            return
        try:
            await self.app(scope, receive, with_headers)
        except (HTTPException, RuntimeError, KeyError):
            if not (has_begun and EVENTS.fullmatch(path)):
                raise
            # Gradio raises this in a stream when another client of the same session has gone. The response has begun,
            # so all that is left is to end it.
            await send({"type": "http.response.body", "body": b""})


def _check_address(page: gr.Blocks, path: str, request: Request) -> None:
    """Raises `UnfitError` for a closed route, the stream of an event that does not exist, and a malformed host."""
    if CLOSED.match(path) or len(path.encode()) > MAX_PATH:
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


async def _checked_body(page: gr.Blocks, path: str, headers: Headers, receive: Receive) -> Receive:
    """Read and check the body of a request; returns what hands it out again. Raises `UnfitError`."""
    is_upload = path.rstrip("/") == "/gradio_api/upload"
    body = await _read(receive, MAX_UPLOAD if is_upload else MAX_BODY)
    if is_upload:
        await check_upload(headers, body)
    elif "json" not in headers.get("content-type", "").lower():
        raise UnfitError(415, "Only JSON is taken here.")
    else:
        await run_in_threadpool(lambda: check_call(page, path, parsed(body)))
    return _replay(body, receive)


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


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that hands out a body which was read already, and then what else comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
