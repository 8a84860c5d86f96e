"""Connections have deadlines: for the head of a request, and for a client to read; and there are only so many."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.server.bounds import connections
from app.server.bounds.budget import Budget
from app.server.bounds.connections import BoundedProtocol, install

LARGE = 50_000_000
"""Bytes of an answer that no buffer of the system holds."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server as Gradio makes one, with short deadlines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "HEAD_SECONDS", 0.5)
        patch.setattr(connections, "STALL_SECONDS", 0.5)
        patch.setitem(uvicorn.config.HTTP_PROTOCOLS, "auto", uvicorn.config.HTTP_PROTOCOLS["auto"])
        patch.setitem(uvicorn.config.LOOP_FACTORIES, "auto", uvicorn.config.LOOP_FACTORIES["auto"])
        patch.setattr(BoundedProtocol, "budget", BoundedProtocol.budget)
        install()
        answers = {"/": "answered", "/large": "a" * LARGE}
        routes = [Route(path, lambda _, text=text: PlainTextResponse(text)) for path, text in answers.items()]
        routes.append(Route("/endless", lambda _: StreamingResponse(endless())))
        own = socket.socket()
        own.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="warning"))
        thread = threading.Thread(target=server.run, args=([own],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield own.getsockname()[1]
        server.should_exit = True
        thread.join()
        own.close()


def test_one_parser_and_one_loop_serve_wherever_others_are_installed(port):
    served = uvicorn.Config(Starlette())
    served.load()
    assert served.http_protocol_class is BoundedProtocol
    assert issubclass(BoundedProtocol, H11Protocol)
    assert served.get_loop_factory() is uvicorn.Config(Starlette(), loop="asyncio").get_loop_factory()


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"a" * 100_000
        await asyncio.sleep(0)


def seconds_open(port: int, *sent: bytes, every: float = 0.0) -> tuple[float, bytes]:
    """How long the server keeps a connection on which this is sent, and what it answers; 3 seconds are looked at."""
    with socket.create_connection(("127.0.0.1", port), timeout=3) as client:
        begun, answer = time.monotonic(), bytearray()
        try:
            for part in sent:
                client.sendall(part)
                time.sleep(every)
            while part := client.recv(1 << 20):
                answer += part
        except OSError:
            pass
        return time.monotonic() - begun, bytes(answer)


@pytest.mark.parametrize(
    ("sent", "every"),
    [((), 0), ((b"GET / HTTP/1.1\r\nHost: a",), 0), ((b"GET /", *[b"a"] * 20), 0.1)],
    ids=["nothing", "half a head", "letter by letter"],
)
def test_a_head_that_does_not_come_ends_the_connection(port, sent, every):
    seconds, answer = seconds_open(port, *sent, every=every)
    assert 0.4 < seconds < 2.5
    assert b"200" not in answer


def test_a_second_head_that_does_not_come_does_so_too(port):
    seconds, answer = seconds_open(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HT", every=0.2)
    assert answer.endswith(b"answered")
    assert 0.5 < seconds < 2.5


def test_a_client_that_reads_nothing_is_cut_off(port):
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        begun = time.monotonic()
        time.sleep(0.2)
        assert BoundedProtocol.budget.held == 1
        while BoundedProtocol.budget.held and time.monotonic() - begun < 5:
            time.sleep(0.05)
        assert 0.3 < time.monotonic() - begun < 4


def test_what_still_answers_one_that_was_cut_off_does_not_fail(port, caplog):
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.2)
        assert BoundedProtocol.budget.held == 1
        begun = time.monotonic()
        while BoundedProtocol.budget.held and time.monotonic() - begun < 5:
            time.sleep(0.05)
        time.sleep(0.2)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_one_that_reads_gets_all_of_it(port):
    _, answer = seconds_open(port, b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.count(b"a") > LARGE


def test_there_are_only_so_many_connections_and_each_end_makes_room(port, monkeypatch):
    monkeypatch.setattr(BoundedProtocol, "budget", Budget(6))
    clients = [socket.create_connection(("127.0.0.1", port), timeout=3) for _ in range(5)]
    time.sleep(0.2)
    kept = []
    for client in clients:
        client.settimeout(0.05)
        try:
            kept.append(client.recv(1) != b"")
        except TimeoutError:
            kept.append(True)
        except OSError:
            kept.append(False)
    assert sum(kept) == 3, "an address alone has half of them"
    for client in clients:
        client.close()
    begun = time.monotonic()
    while BoundedProtocol.budget.held and time.monotonic() - begun < 5:
        time.sleep(0.05)
    assert BoundedProtocol.budget.held == 0
    assert seconds_open(port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")[1].endswith(b"answered")
