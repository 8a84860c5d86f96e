"""An attacker's means: raw HTTP, and a server that stands for the outside, to which the page must never connect."""

import http.client
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler
from typing import Any
from uuid import uuid4

import httpx

from tests.http_server import listen
from tests.server import ROOT, Server, faults

MARK = "Qwertzuiop"
"""A word in every text that is sent, in place of a visitor's secret. No log may hold it."""
JSON = {"Content-Type": "application/json"}
JOIN, RUN, CANCEL = "/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/cancel"
UPLOAD = "/gradio_api/upload"
LEAKS = re.compile(rf"Traceback|File \"|site-packages|<class '|object at 0x|{re.escape(str(ROOT))}|/etc/passwd|\.py\b")
"""Text that reveals how the page works inside."""
AT_ONCE = 6
"""Attempts that are made in parallel."""


@dataclass(frozen=True)
class Reply:
    """What the page answered."""

    status: int
    """Of HTTP."""
    refusal: str | None
    """The sentence of a refusal, else None."""
    text: str
    """The whole answer."""

    @property
    def is_sound(self) -> bool:
        """Whether it is an answer, or a refusal with a fitting status in one sentence, and reveals nothing."""
        if self.refusal is None:
            return self.status == 200 and not LEAKS.search(self.text)
        sentence = self.refusal
        ends_well = sentence.endswith((".", "Not Found", "Forbidden", "Bad Request", "Method Not Allowed"))
        is_sentence = ends_well and "\n" not in sentence and len(sentence) < 300
        # Gradio answers an error in an event that has no queue by status 500 and a sentence.
        fits = 400 <= self.status < 500 or (self.status in (200, 500) and self.text.startswith('{"error": '))
        return fits and is_sentence and not LEAKS.search(sentence)


def reply_of(response: httpx.Response) -> Reply:
    """The reply of an answer that comes at once."""
    try:
        body = response.json()
    except ValueError:
        refused = response.status_code != 200
        return Reply(response.status_code, response.text if refused else None, response.text[:100_000])
    refusal = None
    if isinstance(body, dict) and (response.status_code != 200 or body.get("error")):
        refusal = body.get("detail", body.get("error"))
        refusal = refusal if isinstance(refusal, str) else repr(refusal)
    return Reply(response.status_code, refusal, json.dumps(body))


@dataclass(frozen=True)
class Target:
    """A served page, addressed without Gradio's client."""

    server: Server
    http: httpx.Client
    _own: threading.local = field(default_factory=threading.local)

    @property
    def session(self) -> str:
        """This thread's own session; opening a new one costs Gradio more than most answers."""
        self._own.session = getattr(self._own, "session", None) or uuid4().hex
        return self._own.session

    @cached_property
    def config(self) -> dict[str, Any]:
        """The page's components and events, as the browser gets them."""
        return self.http.get("/config").json()

    @cached_property
    def components(self) -> dict[int, dict[str, Any]]:
        """{identity: component}"""
        return {part["id"]: part for part in self.config["components"]}

    @cached_property
    def events(self) -> dict[str, dict[str, Any]]:
        """{name: event}, the private ones too."""
        return {event["api_name"]: event for event in self.config["dependencies"]}

    @property
    def log(self) -> str:
        """Everything that the server has printed."""
        return "".join(self.server.log)

    @property
    def arrival(self) -> dict[str, Any]:
        """The body that the browser posts when the page has loaded."""
        name, loaded = next(
            (name, event) for name, event in self.events.items() if any(how == "load" for _, how in event["targets"])
        )
        return {"data": self.start(name), "fn_index": loaded["id"]}

    def event_on(self, elem_id: str, trigger: str = "click") -> str:
        """The name of the event that a component triggers, such as a click on a button."""
        part = next(number for number, part in self.components.items() if part["props"].get("elem_id") == elem_id)
        return next(name for name, event in self.events.items() if [part, trigger] in event["targets"])

    def event_after(self, name: str) -> str:
        """The name of the event that follows an event."""
        return next(other for other, event in self.events.items() if event["trigger_after"] == self.events[name]["id"])

    def start(self, name: str) -> list[Any]:
        """The values that the browser sends with an event of a page just opened."""
        return [self.components[part]["props"].get("value") for part in self.events[name]["inputs"]]

    def post(self, path: str, body: bytes | Any, headers: Mapping[str, str] = JSON) -> Reply:
        """Post bytes as they are, and anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return reply_of(self.http.post(path, content=content, headers=headers))

    def raw(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], str]:
        """Status, headers and text of a request whose path is sent as it is written, dots and all."""
        connection = http.client.HTTPConnection(self.http.base_url.host, self.http.base_url.port, timeout=20)
        sent = {"Host": connection.host, "Content-Type": "application/json"} | headers
        with closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                connection.putheader(name, value.encode("latin-1"))
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            answered = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, answered, answer.read().decode("utf-8", "replace")

    def ask(self, name: str, data: list[Any], *, session: str | None = None, **more: Any) -> Reply:
        """Let an event happen, as the browser does, and wait for its reply."""
        event, session = self.events[name], session or self.session
        body = {"data": data, "fn_index": event["id"], "session_hash": session} | more
        if not event["queue"]:
            return self.post("/gradio_api/run/predict", body)
        joined = self.post("/gradio_api/queue/join", body)
        return joined if joined.refusal is not None else self.listen("/gradio_api/queue/data", session_hash=session)

    def call(self, name: str, data: list[Any] | Mapping[str, Any]) -> Reply:
        """Call a named endpoint with a list of arguments, or with a mapping of named ones."""
        named = isinstance(data, Mapping)
        joined = self.post(f"/gradio_api/call/{'v2/' if named else ''}{name}", data if named else {"data": data})
        if joined.refusal is not None:
            return joined
        return self.listen(f"/gradio_api/call/{name}/{json.loads(joined.text)['event_id']}")

    def listen(self, path: str, **query: str) -> Reply:
        """The last reply of a stream of server-sent events."""
        kind, last = "", Reply(200, None, "")
        with self.http.stream("GET", path, params=query) as stream:
            if stream.status_code != 200:
                stream.read()
                return reply_of(stream)
            for line in stream.iter_lines():
                key, _, value = line.partition(": ")
                if key == "event":
                    kind = value
                elif key == "data":
                    last = _reply_of_message(kind, json.loads(value)) or last
        return last


def _reply_of_message(kind: str, value: Any) -> Reply | None:
    """The reply in one message of a stream, if it holds one; `kind` is "" in a session's own stream."""
    if not kind:
        if value["msg"] == "unexpected_error":
            return Reply(200, value["message"], "")
        if value["msg"] not in ("process_generating", "process_completed"):
            return None
        kind, value = ("complete" if value["success"] else "error"), value["output"]
    if kind == "error":
        return Reply(200, str((value or {}).get("error")), json.dumps(value))
    return Reply(200, None, json.dumps(value))


def unsound(attempts: Iterable[tuple[Any, Callable[[], Reply]]]) -> dict[str, Reply]:
    """Make every attempt, given by name, and return {name: reply} of those whose reply is not sound."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        running = [(str(name), threads.submit(attempt)) for name, attempt in attempts]
        replies = {name: reply.result() for name, reply in running}
    assert replies, "nothing was attempted"
    return {name: reply for name, reply in replies.items() if not reply.is_sound}


def assert_reveals_nothing(lines: Iterable[str]) -> None:
    """Raises `AssertionError` if a log tells of a failure, or holds what was sent."""
    lines = list(lines)
    assert faults(lines) == []
    assert MARK not in "".join(lines)


@dataclass(frozen=True)
class Outside:
    """A server that stands for the rest of the world."""

    url: str
    requests: list[str]
    """Method and path of every request that came."""


@contextmanager
def outside() -> Iterator[Outside]:
    """Run such a server; it answers every request with 404."""
    requests: list[str] = []

    def refuse(request: BaseHTTPRequestHandler) -> None:
        requests.append(f"{request.command} {request.path}")
        request.send_error(404)

    with listen(refuse) as port:
        yield Outside(f"http://127.0.0.1:{port}", requests)
