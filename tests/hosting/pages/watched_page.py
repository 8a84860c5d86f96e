"""A page that reports what its process holds, seen from outside: counts, memory, and how soon it answers."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from gradio_client import Client

from tests.hosting.clients.visitor import job_events
from tests.server import Server, serve

COUNTS = '{"hooks": '
"""How the line of counts begins that `serve_watched.py` prints."""
SETTLED = 5
"""Seconds within which everything is given back after the last run."""


@contextmanager
def watched_page(queue_size: int, *options: str) -> Iterator[Server]:
    """The page with room for `queue_size` waiting runs."""
    script = ("tests/hosting/pages/serve_watched.py",)
    with serve("--queue-size", str(queue_size), *options, script=script) as server:
        yield server


def counts(server: Server) -> dict[str, int]:
    """What the page holds now: hooks, runs, sessions, …"""
    seen = len(server.log)
    server.process.send_signal(signal.SIGUSR1)
    for _ in range(200):
        for line in server.log[seen:]:
            if line.startswith(COUNTS):
                return json.loads(line)
        time.sleep(0.05)
    raise TimeoutError("The page does not report what it holds.")


def settled_counts(server: Server) -> dict[str, int]:
    """What the page holds once nobody runs anything, or after `SETTLED` seconds."""
    end = time.monotonic() + SETTLED
    while (now := counts(server))["runs"] and time.monotonic() < end:
        pass
    return now


def memory(server: Server) -> int:
    """Resident memory of the page's process, in bytes."""
    return psutil.Process(server.process.pid).memory_info().rss


def trim(server: Server) -> None:
    """Let the page's allocator return what nobody uses."""
    server.process.send_signal(signal.SIGUSR2)
    time.sleep(1)


def first_token_seconds(client: Client) -> float:
    """Seconds to the first token of a short comparison."""
    begin = time.perf_counter()
    job = client.submit("Gold is", max_new_tokens=2, api_name="/compare")
    next(event for event in job_events(job) if event["type"] == "step")
    return time.perf_counter() - begin
