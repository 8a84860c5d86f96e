"""What an attacker has: raw HTTP, and a place outside that nothing of the page should ever ask."""

import http.client
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import httpx

from tests.browser.conftest import ROOT, Server

MARK = "Qwertzuiop"
"""Stands in every text that is sent, as a visitor's secret would; no log may hold it."""
JSON = {"Content-Type": "application/json"}
JOIN, RUN, CANCEL = "/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/cancel"
LEAKS = re.compile(rf"Traceback|File \"|site-packages|<class '|object at 0x|{re.escape(str(ROOT))}|/etc/passwd|\.py\b")
"""What tells about the inside."""
AT_ONCE = 6


@dataclass(frozen=True)
class Answer:
    """What came back: an HTTP status, the sentence if it is a refusal, and what was answered if it is not."""

    status: int
    refusal: str | None
    text: str

    @property
    def is_sound(self) -> bool:
        """Whether it is an answer, or a refusal that anybody may read: by status, in a sentence, without insides."""
        if self.refusal is None:
            return self.status == 200 and not LEAKS.search(self.text)
        said = self.refusal
        one = said.endswith((".", "Not Found", "Forbidden", "Bad Request", "Method Not Allowed")) and "\n" not in said
        # Gradio answers an event's error, asked for without its queue, by 500 and a sentence.
        status = 400 <= self.status < 500 or (self.status in (200, 500) and self.text.startswith('{"error": '))
        return status and one and len(said) < 300 and not LEAKS.search(said)


def answer_of(response: httpx.Response) -> Answer:
    """An answer that comes at once."""
    try:
        told = response.json()
    except ValueError:
        refused = response.status_code != 200
        return Answer(response.status_code, response.text if refused else None, response.text[:100_000])
    said = None
    if isinstance(told, dict) and (response.status_code != 200 or told.get("error")):
        said = told.get("detail", told.get("error"))
        said = said if isinstance(said, str) else repr(said)
    return Answer(response.status_code, said, json.dumps(told))


@dataclass(frozen=True)
class Target:
    """A served page, spoken to without a client of Gradio's."""

    server: Server
    http: httpx.Client
    _own: threading.local = field(default_factory=threading.local)

    @property
    def session(self) -> str:
        """A visitor of this thread's own; a new one costs Gradio more than most answers."""
        self._own.session = getattr(self._own, "session", None) or uuid4().hex
        return self._own.session

    @cached_property
    def config(self) -> dict[str, Any]:
        """What the page tells the browser of itself."""
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
        """What the server has printed."""
        return "".join(self.server.log)

    @property
    def arrival(self) -> dict[str, Any]:
        """What the browser sends when the page has loaded."""
        return {"data": [], "fn_index": self.events["arrive"]["id"]}

    def start(self, name: str) -> list[Any]:
        """What the browser sends with an event of a page just opened."""
        return [self.components[part]["props"].get("value") for part in self.events[name]["inputs"]]

    def post(self, path: str, body: bytes | Any, headers: Mapping[str, str] = JSON) -> Answer:
        """Post bytes as they are, and anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return answer_of(self.http.post(path, content=content, headers=headers))

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
            told = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, told, answer.read().decode("utf-8", "replace")

    def ask(self, name: str, data: list[Any], *, session: str | None = None, **more: Any) -> Answer:
        """Let an event happen, as the browser does, and wait for what comes of it."""
        event, session = self.events[name], session or self.session
        body = {"data": data, "fn_index": event["id"], "session_hash": session} | more
        if not event["queue"]:
            return self.post("/gradio_api/run/predict", body)
        joined = self.post("/gradio_api/queue/join", body)
        return joined if joined.refusal is not None else self.listen("/gradio_api/queue/data", session_hash=session)

    def call(self, name: str, data: list[Any] | Mapping[str, Any]) -> Answer:
        """Call a named endpoint: in the order of its parameters, or by their names."""
        named = isinstance(data, Mapping)
        joined = self.post(f"/gradio_api/call/{'v2/' if named else ''}{name}", data if named else {"data": data})
        if joined.refusal is not None:
            return joined
        return self.listen(f"/gradio_api/call/{name}/{json.loads(joined.text)['event_id']}")

    def listen(self, path: str, **query: str) -> Answer:
        """What comes of an event, to its end."""
        kind, last = "", Answer(200, None, "")
        with self.http.stream("GET", path, params=query) as stream:
            if stream.status_code != 200:
                stream.read()
                return answer_of(stream)
            for line in stream.iter_lines():
                key, _, value = line.partition(": ")
                if key == "event":
                    kind = value
                elif key == "data":
                    last = _told(kind, json.loads(value)) or last
        return last


def _told(kind: str, value: Any) -> Answer | None:
    """A message of a stream, if it says what comes of the event; `kind` is "" in a session's own stream."""
    if not kind:
        if value["msg"] == "unexpected_error":
            return Answer(200, value["message"], "")
        if value["msg"] not in ("process_generating", "process_completed"):
            return None
        kind, value = ("complete" if value["success"] else "error"), value["output"]
    if kind == "error":
        return Answer(200, str((value or {}).get("error")), json.dumps(value))
    return Answer(200, None, json.dumps(value))


def unsound(tried: Iterable[tuple[Any, Any]]) -> dict[str, Answer]:
    """{what was tried: what came of it} of what must not come of it; `tried` holds names and what to call for each."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        running = [(str(name), threads.submit(attempt)) for name, attempt in tried]
        answers = {name: answer.result() for name, answer in running}
    assert answers, "nothing was tried"
    return {name: answer for name, answer in answers.items() if not answer.is_sound}


@dataclass
class Outside:
    """A server that stands for the rest of the world."""

    url: str
    asked: list[str] = field(default_factory=list)


@contextmanager
def outside() -> Iterator[Outside]:
    """Every request that somebody makes to it is noted, and answered with 404."""

    class Note(BaseHTTPRequestHandler):
        def note(self) -> None:
            world.asked.append(f"{self.command} {self.path}")
            self.send_error(404)

        do_GET = do_HEAD = do_POST = do_CONNECT = note

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Note)
    world = Outside(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()
