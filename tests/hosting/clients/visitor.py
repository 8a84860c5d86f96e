"""Visitors without a browser: the requests that the page makes in one, over connections that can break.

A `SoakVisitor` has a session with its heartbeat, presses buttons by their `elem_id`, follows what a run shows, and may
be gone at any moment. It connects to this machine only.
"""

import json
import os
import socket
import struct
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from typing import Any, Self
from urllib.parse import urlsplit

from gradio_client import Client
from gradio_client.client import Job
from gradio_client.utils import apply_diff

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # else gradio_client reports every client to another machine
PATIENCE = 120
"""Seconds after which a server that sends nothing, or does not come to an end, counts as hung."""
LINGER_NO_TIME = struct.pack("ii", 1, 0)
"""With this the connection is reset when it is closed, as if a machine lost its network."""
JSON = {"Content-Type": "application/json"}


class RefusedError(Exception):
    """The server refused a request or a run; the message is its reason."""


class Connection:
    """One request to this machine. Its answer can be followed line by line, and left before its end."""

    def __init__(self, url: str, path: str, body: object = None) -> None:
        host = urlsplit(url)
        if host.hostname not in ("127.0.0.1", "localhost"):
            raise ValueError(f"{host.hostname} is not this machine.")
        self._http = HTTPConnection(host.hostname, host.port, timeout=PATIENCE)
        text = body if isinstance(body, str) or body is None else json.dumps(body)
        self._http.request("GET" if body is None else "POST", f"/{path}", text, JSON)
        self._answer: HTTPResponse = self._http.getresponse()
        if self._answer.status >= 400:
            raise RefusedError(f"{self._answer.status}: {self.read()[:300]}")

    def read(self) -> str:
        """The whole answer."""
        text = self._answer.read().decode()
        self.leave()
        return text

    def events(self) -> Iterator[Any]:
        """The data of server-sent events, as they come; raises `TimeoutError` if they do not end."""
        end = time.monotonic() + PATIENCE
        for line in self._answer:
            if time.monotonic() > end:  # heartbeats alone are no answer
                self.leave()
                raise TimeoutError(f"{PATIENCE} s, and no end")
            if line.startswith(b"data:"):
                yield json.loads(line[5:])

    def leave(self) -> None:
        """Close the connection in good order."""
        self._answer.close()
        self._http.close()

    def lose(self) -> None:
        """Reset the connection."""
        if self._http.sock:
            self._http.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NO_TIME)
        self.leave()


def request_json(url: str, path: str, body: object = None) -> Any:
    """The JSON of an answer, to a POST if there is a `body`; raises `RefusedError`."""
    return json.loads(Connection(url, path, body).read())


def api_client(url: str) -> Client:
    """A client of the API, as a program uses it."""
    return Client(url, verbose=False, analytics_enabled=False)


def job_events(job: Job) -> Iterator[Any]:
    """The events of a call of the API. Raises the error that the call ends with, which iterating a `Job` does not."""
    yield from job
    job.result()


def begin_call(url: str, name: str, **arguments: object) -> str:
    """Call an endpoint of the API by plain HTTP and return the id by which its events can be fetched."""
    return request_json(url, f"gradio_api/call/v2/{name}", arguments)["event_id"]


@dataclass
class Shown:
    """What a page shows of a run."""

    notice: str = ""
    tone: str = ""
    """`busy` or `error`."""
    prompt: str = ""
    texts: list[str] = field(default_factory=list)
    tokens: int = 0
    """How many tokens the longer text has."""
    ends: list[str | None] = field(default_factory=list)

    @property
    def running(self) -> bool:
        """Whether the model is at work."""
        return self.tone == "busy" and not self.notice.startswith("waiting")

    def take(self, *notices: Any, lanes: Any) -> None:
        """Take over the new values of the notices, of which one is about a run, and of the strips.

        An update without a value leaves them as they are.
        """
        said = [notice for notice in notices if notice is None or isinstance(notice, str)]
        if said:
            note = next((json.loads(notice) for notice in said if notice), None)
            self.notice, self.tone = (note["text"], note["tone"]) if note else ("", "")
        if isinstance(lanes, str):
            drawn = json.loads(lanes)
            self.prompt = "".join(token["text"] for token in drawn["prompt"])
            self.texts = [lane["text"] for lane in drawn["lanes"]]
            self.tokens = max(len(lane["tokens"]) for lane in drawn["lanes"])
            self.ends = [lane["end"] for lane in drawn["lanes"]]


class SoakVisitor:
    """The page in a browser, from its opening to the closing of its tab."""

    def __init__(self, url: str) -> None:
        self.url, self.session = url, uuid.uuid4().hex
        config = request_json(url, "config")
        self._parts = {part["id"]: part["props"] for part in config["components"]}
        self._values = {number: props.get("value") for number, props in self._parts.items()}
        self._events = {event["id"]: event for event in config["dependencies"]}
        self._heartbeat = Connection(url, f"gradio_api/heartbeat/{self.session}")
        loading = next(event for event in self._events.values() if any(how == "load" for _, how in event["targets"]))
        self._call(loading)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the tab."""
        self._heartbeat.leave()

    def lose(self) -> None:
        """Lose the network."""
        self._heartbeat.lose()

    def compare(self, prompt: str, **controls: object) -> "VisitorRun":
        """Set controls, by their `elem_id`, label with underscores for spaces, or field of the second pane, and press
        Compare."""
        for name, value in ({"prompt": prompt} | controls).items():
            self._values[self._named(name)] = value
        return self.press("compare")

    def press(self, button: str) -> "VisitorRun":
        """Press a button that starts a run."""
        pressed = self._call(self._event(button))
        return VisitorRun(
            self, next(event for event in self._events.values() if event["trigger_after"] == pressed["id"])
        )

    def stop(self) -> None:
        """Press Stop."""
        self._call(self._event("stop"))

    def _named(self, name: str) -> int:
        for number, props in self._parts.items():
            label = (props.get("label") or "").partition(",")[0].replace(" ", "_")
            if name in (props.get("elem_id"), label) or props.get("elem_id") == f"{name}-2":
                return number
        raise LookupError(name)

    def _event(self, button: str) -> dict[str, Any]:
        target = [self._named(button), "click"]
        return next(event for event in self._events.values() if target in event["targets"])

    def request(self, event: dict[str, Any]) -> dict[str, Any]:
        """What the browser sends for an event. States stay with the server."""
        data = [self._values[number] for number in event["inputs"]]
        return {"data": data, "fn_index": event["id"], "session_hash": self.session, "trigger_id": None}

    def _call(self, event: dict[str, Any]) -> dict[str, Any]:
        """Let an event happen that needs no queue."""
        answer = request_json(self.url, "gradio_api/run/predict", self.request(event))
        self.take_answer(event, answer["data"])
        return event

    def take_answer(self, event: dict[str, Any], data: list[Any]) -> None:
        """Take over the values that an answer sets."""
        for number, change in zip(event["outputs"], data, strict=True):
            if not isinstance(change, dict):
                self._values[number] = change
            elif "value" in change:
                self._values[number] = change["value"]

    def output_indices(self, event: dict[str, Any], class_: str) -> list[int]:
        """Indices among an event's outputs of those whose HTML has a class of the style sheet."""
        parts = [self._parts[number] for number in event["outputs"]]
        return [index for index, props in enumerate(parts) if class_ in (props.get("html_template") or "")]


class VisitorRun:
    """A run; iterating it follows what the page shows, to the run's end."""

    def __init__(self, visitor: SoakVisitor, event: dict[str, Any]) -> None:
        self.visitor, self.event, self.shown = visitor, event, Shown()
        self.id = request_json(visitor.url, "gradio_api/queue/join", visitor.request(event))["event_id"]
        self._stream = Connection(visitor.url, f"gradio_api/queue/data?session_hash={visitor.session}")
        self._indices = [i for kind in ("notice", "strips") for i in visitor.output_indices(event, f"duet-{kind}")]

    def __iter__(self) -> Iterator[Shown]:
        parts: list[Any] = []
        for message in self._stream.events():
            output = message.get("output") or {}
            if message["msg"] == "close_stream":
                break
            if message["msg"] == "unexpected_error" or "error" in output:
                self.finish()
                raise RefusedError(output.get("error") or message.get("message"))
            if message["msg"] not in ("process_generating", "process_completed") or "data" not in output:
                continue
            new = [output["data"][index] for index in self._indices]
            whole = message["msg"] == "process_completed" or not parts
            parts = new if whole else [apply_diff(old, change) for old, change in zip(parts, new, strict=True)]
            *notices, lanes = parts
            self.shown.take(*notices, lanes=lanes)
            if message["msg"] == "process_completed":
                self.visitor.take_answer(self.event, output["data"])
            yield self.shown
        self._stream.leave()

    def until(self, *, tokens: int) -> bool:
        """Follow the run to so many tokens, and return whether it came so far."""
        return any(shown.running and shown.tokens >= tokens for shown in self)

    def finish(self) -> Shown:
        """Follow the run to its end."""
        for _ in self:
            pass
        return self.shown

    def lose(self) -> None:
        """Lose the connection in the middle of the run, with the whole page."""
        self._stream.lose()
        self.visitor.lose()
