"""Many visitors on one model: who leaves gives it back, nobody sees another's run, nothing fails unexplained."""

import time
from collections.abc import Callable, Iterator

import pytest

from tests.browser.conftest import Server
from tests.hosting.soak import first_token, held, page, settled, soak
from tests.hosting.visiting import Connection, Visitor, heard, program

AT_LENGTH = {"alpha": 0.01, "temperature": 2}
WAYS: dict[str, Callable[[str], None]] = {}
SOON = 3.0
"""Seconds within which the model is free again: a step takes some 20 ms, and Gradio looks every half second."""


@pytest.fixture(scope="module")
def watched() -> Iterator[Server]:
    """A page that tells what it holds."""
    with page(3) as started:
        yield started
        assert "Traceback" not in "".join(started.log)


def way(leave: Callable[[str], None]) -> Callable[[str], None]:
    """One of the ways to leave a run that would go on for long."""
    WAYS[leave.__name__.replace("_", " ")] = leave
    return leave


@way
def stop(url: str) -> None:
    with Visitor(url) as visitor:
        run = visitor.compare("The world", new_tokens=256, **AT_LENGTH)
        assert run.until(tokens=3)
        visitor.stop()
        assert "stopped by you" in run.finish().ends


@way
def lose_the_network(url: str) -> None:
    visitor = Visitor(url)
    run = visitor.compare("The world", new_tokens=256, **AT_LENGTH)
    assert run.until(tokens=3)
    run.lose()


@way
def cancel_by_client(url: str) -> None:
    job = program(url).submit("The world", max_new_tokens=256, api_name="/compare", **AT_LENGTH)
    next(event for event in job if event["type"] == "step")
    job.cancel()


@way
def hang_up(url: str) -> None:
    event = heard(url, "compare", prompt="The world", max_new_tokens=256, **AT_LENGTH)
    answer = Connection(url, f"gradio_api/call/compare/{event}")
    next(iter(answer.events()))
    answer.lose()


@pytest.mark.parametrize("leave", WAYS.values(), ids=WAYS)
def test_whoever_leaves_gives_the_model_back(watched, leave):
    before = settled(watched)
    leave(watched.url)
    until = time.monotonic() + SOON
    while (after := held(watched))["places"] and time.monotonic() < until:
        time.sleep(0.05)
    assert after["places"] == 0
    assert after["hooks"] == before["hooks"]
    assert first_token(program(watched.url)) < SOON


def test_two_visitors_each_get_what_they_asked_for(watched):
    prompts = ("The capital of Japan is", "The capital of Peru is")
    with Visitor(watched.url) as one, Visitor(watched.url) as other:
        runs = [
            visitor.compare(prompt, temperature=0, new_tokens=6)
            for visitor, prompt in zip((one, other), prompts, strict=True)
        ]
        shown = [run.finish() for run in runs]
    for prompt, city, page_ in zip(prompts, ("Tokyo", "Lima"), shown, strict=True):
        assert prompt.replace(" ", "␣") in page_.prompt
        assert city in page_.texts[0]


def test_nothing_fails_unexplained_while_four_do_what_they_like(watched):
    report = soak(watched, clients=4, runs=16, seconds=60)
    assert report.failures == []
    assert report.runs >= 16
