"""Many visitors on one model: leaving frees it, nobody sees another's run, and nothing fails unexplained."""

import time
from collections.abc import Callable, Iterator

import pytest

from tests.hosting.clients.visitor import Connection, SoakVisitor, api_client, begin_call
from tests.hosting.load.soak import soak
from tests.hosting.load.soak_report import SoakEnd
from tests.hosting.pages.watched_page import counts, first_token_seconds, settled_counts, watched_page
from tests.server import Server

AT_LENGTH = {"alpha": 0.01, "temperature": 2}
WAYS: dict[str, Callable[[str], None]] = {}
SOON = 3.0
"""Seconds within which the model is free again. A step takes some 20 ms, and Gradio checks every half second."""


@pytest.fixture(scope="module")
def watched() -> Iterator[Server]:
    """A page that reports what it holds."""
    with watched_page(queue_size=3) as server:
        yield server
        assert server.faults == []


def way(leave: Callable[[str], None]) -> Callable[[str], None]:
    """Register one of the ways to leave a run that would go on for long."""
    WAYS[leave.__name__.replace("_", " ")] = leave
    return leave


@way
def stop(url: str) -> None:
    with SoakVisitor(url) as visitor:
        run = visitor.compare("The world", new_tokens=256, **AT_LENGTH)
        assert run.until(tokens=3)
        visitor.stop()
        assert "stopped by you" in run.finish().ends


@way
def lose_the_network(url: str) -> None:
    visitor = SoakVisitor(url)
    run = visitor.compare("The world", new_tokens=256, **AT_LENGTH)
    assert run.until(tokens=3)
    run.lose()


@way
def cancel_by_client(url: str) -> None:
    job = api_client(url).submit("The world", max_new_tokens=256, api_name="/compare", **AT_LENGTH)
    next(event for event in job if event["type"] == "step")
    job.cancel()


@way
def hang_up(url: str) -> None:
    event = begin_call(url, "compare", prompt="The world", max_new_tokens=256, **AT_LENGTH)
    answer = Connection(url, f"gradio_api/call/compare/{event}")
    next(iter(answer.events()))
    answer.lose()


@pytest.mark.parametrize("leave", WAYS.values(), ids=WAYS)
def test_a_run_that_is_left_frees_the_model(watched, leave):
    before = settled_counts(watched)
    leave(watched.url)
    end = time.monotonic() + SOON
    free = {"runs": 0, "hooks": before["hooks"]}  # the model's pass under way ends after the run has left the queue
    while (after := counts(watched)) | free != after and time.monotonic() < end:
        time.sleep(0.05)
    assert after | free == after
    assert first_token_seconds(api_client(watched.url)) < SOON


def test_two_visitors_each_get_what_they_asked_for(watched):
    prompts = ("The capital of Japan is", "The capital of Peru is")
    with SoakVisitor(watched.url) as one, SoakVisitor(watched.url) as other:
        runs = [
            visitor.compare(prompt, temperature=0, new_tokens=6)
            for visitor, prompt in zip((one, other), prompts, strict=True)
        ]
        shown = [run.finish() for run in runs]
    for prompt, city, page in zip(prompts, ("Tokyo", "Lima"), shown, strict=True):
        assert prompt.replace(" ", "␣") in page.prompt
        assert city in page.texts[0]


def test_nothing_fails_unexplained_while_four_clients_act_at_random(watched):
    report = soak(watched, clients=4, end=SoakEnd(16, time.monotonic() + 60))
    assert report.failures == []
    assert report.runs >= 16
