"""Read a request's body within bounds: so many bytes, and none of them too slowly."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import Receive

from app.server.request_checks import UnfitError

GRACE = 10.0
"""Seconds that every body may take."""
DIGITS = 20
"""Of the largest number that any length is."""
RATE = 20_000
"""Bytes a second that it must have brought beyond that."""


def declared_size(headers: Headers, most: int) -> int:
    """How many bytes a body has, as the request says; raises `UnfitError` if it says more than `most`, or nothing.

    A body that comes in chunks says nothing. Chunks of one byte each would keep the server from all else.
    """
    said = headers.get("content-length", "")
    if "transfer-encoding" in headers or not (said.isascii() and said.isdigit()):
        raise UnfitError(411, "What is sent must say its length in Content-Length.")
    size = int(said[:DIGITS])
    if size > most or len(said) > DIGITS:
        raise UnfitError(413, "What was sent is too large.")
    return size


async def read_body(receive: Receive, most: int) -> bytes:
    """The body of a request; raises `UnfitError` if it has more than `most` bytes, or comes too slowly."""
    parts: list[bytes] = []
    size, more = 0, True
    begun = asyncio.get_running_loop().time()
    while more:
        try:
            async with asyncio.timeout_at(begun + GRACE + size / RATE):
                message = await receive()
        except TimeoutError:
            raise UnfitError(408, "What was sent came too slowly.") from None
        if message["type"] != "http.request":
            break
        parts.append(message.get("body", b""))
        size, more = size + len(parts[-1]), message.get("more_body", False)
        if size > most:
            raise UnfitError(413, "What was sent is too large.")
    return b"".join(parts)
