"""Between strangers and Gradio: what is asked for that the page does not have, and what is sent that does not fit it.

Gradio opens more routes than this page uses, takes uploads of any kind and answers odd values with a traceback in the
log. Here those routes are closed, what comes in is bounded and looked at before Gradio reads it, and whatever still
goes wrong within an event ends in one sentence for the visitor and one line in the log.
"""

import json
import logging
import re
import traceback
from typing import Any

import gradio as gr
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.language import ENGLISH
from app.opening import MAX_CHARACTERS

LOG = logging.getLogger(__name__)
MAX_BODY = MAX_CHARACTERS + 2_000_000
"""Bytes of a request: a trace as large as any that is opened, and everything else on the page."""
MAX_UPLOAD = 10_000_000
DEEPEST = 64
"""How deeply JSON may be nested; what the page sends has 6."""
UPLOADS = (".csv", ".jsonl")
"""What is uploaded here: questions. A trace is read in the browser and sent as text."""
CLOSED = re.compile(
    r"/(gradio_api/)?(deep_link|monitoring|proxy=|file=|file/|stream/|component_server|process_recording|runs|run-history"
    r"|profiling|vibe|undo-vibe|reset|dev/|login|logout|token)"
)
"""Routes of Gradio that nothing here uses: they read or write files, or tell about other visitors' runs."""
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "strict-origin-when-cross-origin"}
"""On every answer. The page may stand in a frame anywhere, as a Space does."""


class GuardedBlocks(gr.Blocks):
    """A page of which no event ends in a traceback."""

    async def process_api(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Gradio's own, not part of its documented interface: every event of the page and the API runs through it."""
        try:
            return await super().process_api(*args, **kwargs)
        except gr.Error as error:
            error.print_exception = False  # it is told to the visitor, and nobody else can do anything about it
            raise
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
            LOG.warning("an event failed at %s: %s: %.200s", where, type(error).__name__, " ".join(str(error).split()))
            LOG.debug("in full", exc_info=error)
            raise gr.Error(ENGLISH("error.unfit"), print_exception=False) from error


class Guard:
    """ASGI middleware: closes routes, bounds and checks what is posted, and adds `HEADERS`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = JSONResponse({"detail": "Not Found"}, 404) if CLOSED.match(path) else None
        if refusal is None and scope["method"] in ("POST", "PUT", "PATCH"):
            uploads = path.rstrip("/").endswith("/upload")
            body = await _read(receive, MAX_UPLOAD if uploads else MAX_BODY)
            if body is None:
                refusal = _refused(413, "What was sent is too large.")
            elif uploads:
                refusal = _unfit_upload(body)
            elif "json" in Headers(scope=scope).get("content-type", ""):
                refusal = await run_in_threadpool(_unfit_json, body)
            receive = _again(body or b"", receive)
        await (refusal or self.app)(scope, receive, with_headers)


def _refused(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"detail": sentence}, status)


async def _read(receive: Receive, most: int) -> bytes | None:
    """The body of a request; None if it is larger than `most` bytes."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        parts.append(message.get("body", b""))
        size, more = size + len(parts[-1]), message.get("more_body", False)
        if size > most:
            return None
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """Hand out a body that was read already, and then what else comes."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _unfit_upload(body: bytes) -> JSONResponse | None:
    names = re.findall(rb'filename\*?=(?:"([^"\r\n]*)"|([^;\s]*))', body)
    if len(names) == 1 and (names[0][0] or names[0][1]).lower().endswith(tuple(map(str.encode, UPLOADS))):
        return None
    return _refused(415, f"Only one file of questions is taken here, {' or '.join(UPLOADS)}.")


def _unfit_json(body: bytes) -> JSONResponse | None:
    def not_a_number(name: str) -> None:
        raise ValueError(f"{name} is not a number in JSON.")

    try:
        document = json.loads(body, parse_constant=not_a_number)
    except RecursionError:
        return _refused(400, "What was sent is nested too deeply.")
    except ValueError as error:
        return _refused(400, f"What was sent is not JSON: {str(error)[:100]}")
    level = [document]
    for _ in range(DEEPEST):
        inside = (part.values() if isinstance(part, dict) else part for part in level if isinstance(part, (dict, list)))
        level = [part for parts in inside for part in parts]
        if not level:
            return None
    return _refused(400, "What was sent is nested too deeply.")
