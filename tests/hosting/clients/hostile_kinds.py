"""What attackers send to fill a page's memory, take its time, or keep it waiting: one function for each kind."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx

from tests.hosting.clients.attack import MARK

MEGABYTE = 10**6
LONG_RUN = {"prompt": f"Here are some facts about {MARK}", "max_new_tokens": 200, "alpha": 0.01, "temperature": 2}
WAIT = 60.0
"""Seconds after which an attacker gives up to wait for an answer."""


@dataclass
class Attacker:
    """A program at an address of its own."""

    url: str
    address: str
    trace: str
    """A recorded trace, as JSON."""
    arrival: dict[str, Any]
    """What the browser posts when the page has loaded."""
    opening: dict[str, Any]
    """What it posts when a visitor opens the trace."""
    look: dict[str, Any]
    """What it posts when a visitor looks at it with other settings."""
    chance: random.Random
    hold: float = 40.0
    """Seconds for which it keeps a connection on which it does nothing, unless the server ends it before."""
    http: httpx.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        transport = httpx.AsyncHTTPTransport(local_address=self.address, limits=httpx.Limits(max_connections=None))
        self.http = httpx.AsyncClient(base_url=self.url, transport=transport, timeout=WAIT, trust_env=False)

    async def post(self, path: str, body: bytes | Any, **headers: str) -> str:
        """Post a document, and say what became of it."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await self.http.post(path, content=content, headers={"Content-Type": "application/json"} | headers)
        return str(answer.status_code)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection, on which nothing is sent yet."""
        place = urlsplit(self.url)
        return await asyncio.open_connection(place.hostname, place.port, local_addr=(self.address, 0), limit=1024)

    def padded_trace(self, size: int) -> dict[str, Any]:
        """A trace that was blown up to about so many bytes of JSON, and stays whole."""
        document = json.loads(self.trace)
        document["prompt"] += "a" * max(0, size - len(self.trace))
        return document


Kind = Callable[[Attacker], Awaitable[str]]


async def large_what_if(one: Attacker) -> str:
    """A large trace for `/what_if`, the answer of which is not fetched."""
    size = one.chance.randint(3, 9) * MEGABYTE
    return await one.post("/gradio_api/call/what_if", {"data": [one.padded_trace(size), 5, 0.1]})


async def many_values(one: Attacker) -> str:
    """A document of as many values as are taken, for an event of the page."""
    values = [one.chance.random() for _ in range(290_000)]
    return await one.post("/gradio_api/run/predict", one.arrival | {"data": [values], "session_hash": uuid4().hex})


async def half_a_body(one: Attacker) -> str:
    """A body of which most never comes."""
    head = f"POST /gradio_api/run/predict HTTP/1.1\r\nHost: {_host(one)}\r\nContent-Type: application/json\r\n"
    return await _hold(one, f'{head}Content-Length: 11000000\r\n\r\n{{"data": ['.encode(), drip=b"1")


async def slow_head(one: Attacker) -> str:
    """A request whose head comes letter by letter."""
    return await _hold(one, b"GET / HTTP/1.1\r\nHost: ", drip=b"a")


async def upload(one: Attacker) -> str:
    """A large file, of the kind that is taken."""
    content = b'{"question": "?", "answer": "!"}\n' * (9 * MEGABYTE // 33)
    answer = await one.http.post("/gradio_api/upload", files={"files": (f"{uuid4().hex}.jsonl", content)})
    return str(answer.status_code)


async def deserted_run(one: Attacker) -> str:
    """A long run to which nobody listens."""
    return await one.post("/gradio_api/call/v2/compare", LONG_RUN)


async def unread_answers(one: Attacker) -> str:
    """Short runs with their whole trace, which is never fetched."""
    return await one.post("/gradio_api/call/v2/compare", LONG_RUN | {"max_new_tokens": 4})


async def arrival(one: Attacker) -> str:
    """A visitor who was never there before, and will not come again."""
    return await one.post("/gradio_api/run/predict", one.arrival | {"session_hash": uuid4().hex})


async def opened_trace(one: Attacker) -> str:
    """A trace that is opened on the page, in a session of its own, so that it is remembered, and looked at."""
    session = {"session_hash": uuid4().hex}
    opened = await one.post("/gradio_api/run/predict", one.opening | session)
    return opened if opened != "200" else await one.post("/gradio_api/run/predict", one.look | session)


async def deaf_reader(one: Attacker) -> str:
    """A client that asks for much and reads nothing."""
    request = f"GET /config HTTP/1.1\r\nHost: {_host(one)}\r\n\r\n".encode() * 40
    return await _hold(one, request, reads=False)


async def idle_connection(one: Attacker) -> str:
    """A connection on which nothing comes."""
    return await _hold(one, b"")


async def nested(one: Attacker) -> str:
    """JSON that is nested deeply."""
    return await one.post("/gradio_api/run/predict", b'{"data": ' + b"[" * 50_000 + b"]" * 50_000 + b"}")


async def foreign_page(one: Attacker) -> str:
    """What a page elsewhere could make a visitor's browser send."""
    return await one.post("/gradio_api/call/v2/compare", LONG_RUN, Origin="https://evil.example")


async def other_name(one: Attacker) -> str:
    """A name that leads here, by a name server that somebody else runs."""
    return await one.post("/gradio_api/call/v2/compare", LONG_RUN, Host="evil.example")


KINDS: dict[str, Kind] = {
    "large what-ifs": large_what_if,
    "many values": many_values,
    "half a body": half_a_body,
    "slow heads": slow_head,
    "uploads": upload,
    "runs nobody listens to": deserted_run,
    "answers nobody fetches": unread_answers,
    "arrivals": arrival,
    "looks at a trace": opened_trace,
    "readers that do not read": deaf_reader,
    "idle connections": idle_connection,
    "nested JSON": nested,
    "pages elsewhere": foreign_page,
    "other names": other_name,
}  # fmt: skip


def _host(one: Attacker) -> str:
    return urlsplit(one.url).netloc


async def _hold(one: Attacker, request: bytes, *, drip: bytes = b"", reads: bool = True) -> str:
    """Send a request, perhaps a letter a second more, and wait for the server to end the connection."""
    reader, writer = await one.connect()

    async def dripping() -> None:
        while drip and not writer.transport.is_closing():
            await asyncio.sleep(1)
            writer.write(drip)

    slowly = asyncio.create_task(dripping())
    try:
        writer.write(request)
        async with asyncio.timeout(one.hold):
            while not reads or await reader.read(1024):
                await asyncio.sleep(0 if reads else one.hold)
        return "cut off"
    except TimeoutError:
        return "left in the end"
    except OSError:
        return "cut off"
    finally:
        slowly.cancel()
        writer.transport.abort()
