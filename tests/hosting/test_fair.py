"""Visitors from several addresses on one model: each gets its turns, and what nobody listens to makes room."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Self

import httpx
import pytest

from app.jobs.queue.listeners import PATIENCE
from tests.server import Server, serve

PROMPT = "Here are some facts"
AT_LENGTH = {"prompt": PROMPT, "max_new_tokens": 200, "alpha": 0.01, "temperature": 2, "with_trace": False}
SHORT = {"prompt": PROMPT, "max_new_tokens": 2, "with_trace": False}


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    """A page for a few visitors, one run of two lanes at a time."""
    with serve("--queue-size", "8", "--max-rows", "2") as server:
        yield server
        assert server.faults == []


class Stranger:
    """A program at an address of its own, which calls the API without a session."""

    def __init__(self, url: str, address: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=60, transport=httpx.HTTPTransport(local_address=address))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def ask(self, asked: dict) -> str:
        """Ask for a comparison; returns the event's id."""
        answer = self.http.post("/gradio_api/call/v2/compare", json=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()["event_id"]

    def events(self, event_id: str) -> Iterator[dict]:
        """What a comparison yields."""
        with self.http.stream("GET", f"/gradio_api/call/compare/{event_id}") as answer:
            for line in answer.iter_lines():
                if line.startswith("data: ") and line != "data: null":
                    data = json.loads(line.removeprefix("data: "))
                    yield from data if isinstance(data, list) else [data]


def first_steps(strangers: list[tuple[str, Stranger, dict]]) -> list[str]:
    """The names in the order in which their runs begin, if all ask for them in this order and listen."""
    order, threads = [], []
    for name, stranger, asked in strangers:
        event_id = stranger.ask(asked)

        def listen(name: str = name, stranger: Stranger = stranger, event_id: str = event_id) -> None:
            for event in stranger.events(event_id):
                if event.get("type") == "step" and event["step"] == 1:
                    order.append(name)

        threads.append(threading.Thread(target=listen))
        threads[-1].start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    return order


def test_another_address_is_served_next_however_many_runs_one_has_asked_for(shared):
    with Stranger(shared.url, "127.0.0.2") as one, Stranger(shared.url, "127.0.0.3") as other:
        asked = [("one", one, AT_LENGTH)] * 4 + [("other", other, SHORT)]
        assert first_steps(asked) == ["one", "other", "one", "one", "one"]


def test_runs_that_nobody_listens_to_make_room(faulty, failing):
    """One run is under way and one waits, which is all that this page takes; nobody fetches what they yield."""
    with Stranger(faulty.url, "127.0.0.4") as deaf, Stranger(faulty.url, "127.0.0.5") as honest:
        with failing("hold"):
            deaf.ask(AT_LENGTH | {"max_new_tokens": 64})
            time.sleep(0.5)  # until it is inside the model
            deaf.ask(AT_LENGTH | {"max_new_tokens": 64})
            assert "The queue is full" in str(list(honest.events(honest.ask(SHORT))))
            time.sleep(PATIENCE + 2)
            heard = honest.ask(SHORT)
            events = honest.events(heard)
            first = next(events)
            assert (first["type"], first["ahead"]) == ("waiting", 1)
        *_, last = events
    assert last["type"] == "trace"
