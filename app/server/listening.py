"""ASGI middleware that notes which sessions somebody listens to: the connections over which their events are sent."""

import re

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.jobs.queue.listeners import Listeners
from app.server.gradio_internals import session_of

STREAMS = re.compile(r"/gradio_api/(?:queue/data|call/(?:v2/)?[^/]+/([^/]+))/?")
"""Routes that send what an event yields; the group is the event's id, if it is in the path."""


class Listening:
    """The middleware."""

    def __init__(self, app: ASGIApp, *, listeners: Listeners) -> None:
        self.app, self.listeners = app, listeners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; while it is a stream of events, somebody listens to its session."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        stream = STREAMS.fullmatch(path) if scope["type"] == "http" and scope["method"] == "GET" else None
        name = stream and (stream[1] or Request(scope).query_params.get("session_hash"))
        if not name:
            await self.app(scope, receive, send)
            return
        with self.listeners.listening(session_of(scope["app"].get_blocks(), name)):
            await self.app(scope, receive, send)
