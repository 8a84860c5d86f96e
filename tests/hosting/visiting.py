"""Visitors without a browser: the requests that the page in a browser makes, and connections that can break.

A `Visitor` has a session and its heartbeat, presses buttons by their `elem_id`, follows what a run shows, and may be
gone at any moment. It talks to this machine only.
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
"""Seconds without a word from the server, or without an end to its words, after which it counts as hung."""
LOST = struct.pack("ii", 1, 0)
"""Linger for no time: the connection is reset, as when a machine loses its network."""
JSON = {"Content-Type": "application/json"}


class RefusedError(Exception):
    """The server answered a request with a status that says no, and with a sentence."""


class Connection:
    """One request to this machine, whose answer may be followed line by line, and left."""

    def __init__(self, url: str, path: str, body: object = None) -> None:
        host = urlsplit(url)
        if host.hostname not in ("127.0.0.1", "localhost"):
            raise ValueError(f"{host.hostname} is not this machine.")
        self._http = HTTPConnection(host.hostname, host.port, timeout=PATIENCE)
        text = body if isinstance(body, str) or body is None else json.dumps(body)
        self._http.request("GET" if body is None else "POST", f"/{path}", text, JSON)
        self._answer: HTTPResponse = self._http.getresponse()
        if self._answer.status >= 400:
            said = f"{self._answer.status}: {self.read()[:300]}"
            raise RefusedError(said)

    def read(self) -> str:
        """The whole answer."""
        text = self._answer.read().decode()
        self.leave()
        return text

    def events(self) -> Iterator[Any]:
        """The data of server-sent events, as they come; raises `TimeoutError` if they do not end."""
        until = time.monotonic() + PATIENCE
        for line in self._answer:
            if time.monotonic() > until:  # a sign of life every few seconds is no answer
                self.leave()
                raise TimeoutError(f"{PATIENCE} s, and no end")
            if line.startswith(b"data:"):
                yield json.loads(line[5:])

    def leave(self) -> None:
        """Close it in good order."""
        self._answer.close()
        self._http.close()

    def lose(self) -> None:
        """Break it off."""
        if self._http.sock:
            self._http.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LOST)
        self.leave()


def ask(url: str, path: str, body: object = None) -> Any:
    """The JSON in an answer; raises `RefusedError`."""
    return json.loads(Connection(url, path, body).read())


def program(url: str) -> Client:
    """A program that uses the API."""
    return Client(url, verbose=False, analytics_enabled=False)


def told(job: Job) -> Iterator[Any]:
    """What a job tells, and the error that it ends with, which a `Job` keeps to itself."""
    yield from job
    job.result()


def heard(url: str, name: str, **asked: object) -> str:
    """Ask a question of the API by plain HTTP and return the event's id, whose answer may or may not be fetched."""
    return ask(url, f"gradio_api/call/v2/{name}", asked)["event_id"]


@dataclass
class Shown:
    """What a page shows after an answer to a run."""

    notice: str = ""
    tone: str = ""
    """`busy` or `error`."""
    prompt: str = ""
    texts: list[str] = field(default_factory=list)
    tokens: int = 0
    """Steps of the longer text."""
    ends: list[str | None] = field(default_factory=list)

    @property
    def running(self) -> bool:
        """Whether the model is at work."""
        return self.tone == "busy" and not self.notice.startswith("waiting")

    def take(self, notice: Any, lanes: Any) -> None:
        """What the notice and the strips became; an update without a value leaves them as they are."""
        if notice is None or isinstance(notice, str):
            note = json.loads(notice) if notice else None
            self.notice, self.tone = (note["text"], note["tone"]) if note else ("", "")
        if isinstance(lanes, str):
            drawn = json.loads(lanes)
            self.prompt = "".join(token["text"] for token in drawn["prompt"])
            self.texts = [lane["text"] for lane in drawn["lanes"]]
            self.tokens = max(len(lane["tokens"]) for lane in drawn["lanes"])
            self.ends = [lane["end"] for lane in drawn["lanes"]]


class Visitor:
    """The page in a browser, from its opening to the closing of its tab."""

    def __init__(self, url: str) -> None:
        self.url, self.session = url, uuid.uuid4().hex
        config = ask(url, "config")
        self._parts = {part["id"]: part["props"] for part in config["components"]}
        self._values = {number: props.get("value") for number, props in self._parts.items()}
        self._events = {event["id"]: event for event in config["dependencies"]}
        self._heartbeat = Connection(url, f"gradio_api/heartbeat/{self.session}")
        loading = next(event for event in self._events.values() if any(how == "load" for _, how in event["targets"]))
        self._at_once(loading)

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

    def compare(self, prompt: str, **controls: object) -> "Run":
        """Set controls, by their `elem_id` or label with underscores for spaces, and press Compare."""
        for name, value in ({"prompt": prompt} | controls).items():
            self._values[self._named(name)] = value
        return self.press("compare")

    def press(self, button: str) -> "Run":
        """Press a button that starts a run."""
        pressed = self._at_once(self._event(button))
        return Run(self, next(event for event in self._events.values() if event["trigger_after"] == pressed["id"]))

    def stop(self) -> None:
        """Press Stop."""
        self._at_once(self._event("stop"))

    def _named(self, name: str) -> int:
        for number, props in self._parts.items():
            label = (props.get("label") or "").partition(",")[0].replace(" ", "_")
            if name in (props.get("elem_id"), label):
                return number
        raise LookupError(name)

    def _event(self, button: str) -> dict[str, Any]:
        target = [self._named(button), "click"]
        return next(event for event in self._events.values() if target in event["targets"])

    def request(self, event: dict[str, Any]) -> dict[str, Any]:
        """What the browser sends for an event; states stay with the server."""
        data = [self._values[number] for number in event["inputs"]]
        return {"data": data, "fn_index": event["id"], "session_hash": self.session, "trigger_id": None}

    def _at_once(self, event: dict[str, Any]) -> dict[str, Any]:
        answer = ask(self.url, "gradio_api/run/predict", self.request(event))
        self.answered(event, answer["data"])
        return event

    def answered(self, event: dict[str, Any], data: list[Any]) -> None:
        """Take over what an answer set."""
        for number, change in zip(event["outputs"], data, strict=True):
            if not isinstance(change, dict):
                self._values[number] = change
            elif "value" in change:
                self._values[number] = change["value"]

    def place(self, event: dict[str, Any], class_: str) -> int:
        """Where among an event's outputs the one with a class of the style sheet stands."""
        parts = [self._parts[number] for number in event["outputs"]]
        return next(place for place, props in enumerate(parts) if class_ in (props.get("html_template") or ""))


class Run:
    """A run that was asked for; iterating follows what the page shows of it, to its end."""

    def __init__(self, visitor: Visitor, event: dict[str, Any]) -> None:
        self.visitor, self.event, self.shown = visitor, event, Shown()
        self.id = ask(visitor.url, "gradio_api/queue/join", visitor.request(event))["event_id"]
        self._stream = Connection(visitor.url, f"gradio_api/queue/data?session_hash={visitor.session}")
        self._places = [visitor.place(event, f"duet-{kind}") for kind in ("notice", "strips")]

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
            new = [output["data"][place] for place in self._places]
            whole = message["msg"] == "process_completed" or not parts
            parts = new if whole else [apply_diff(old, change) for old, change in zip(parts, new, strict=True)]
            self.shown.take(*parts)
            if message["msg"] == "process_completed":
                self.visitor.answered(self.event, output["data"])
            yield self.shown
        self._stream.leave()

    def until(self, *, tokens: int) -> bool:
        """Follow it to so many tokens; whether it came so far."""
        return any(shown.running and shown.tokens >= tokens for shown in self)

    def finish(self) -> Shown:
        """Follow it to its end."""
        for _ in self:
            pass
        return self.shown

    def lose(self) -> None:
        """Lose the connection in the middle, with the whole page."""
        self._stream.lose()
        self.visitor.lose()
