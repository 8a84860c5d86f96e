"""Bodies are read within bounds: so many bytes, and none of them too slowly."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from app.server.bounds import body as module
from app.server.bounds.body import declared_size, read_body
from app.server.request_checks import UnfitError
from tests.app.loops import run_apart

MOST = 100


def read(parts: list[bytes], *, pauses: list[float] | None = None, ends: bool = True) -> bytes:
    """The body of a request that comes in these parts, each after a pause; without its end if the client has gone."""

    async def work() -> bytes:
        messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
        messages.append({"type": "http.request"} if ends else {"type": "http.disconnect"})
        waits = iter(pauses or [])

        async def receive() -> dict:
            await asyncio.sleep(next(waits, 0))
            return messages.pop(0)

        return await read_body(receive, MOST)

    return run_apart(work())


@given(st.lists(st.binary(max_size=60), max_size=6), st.booleans())
def test_a_body_is_read_whole_or_refused_as_too_large(parts, ends):
    whole = b"".join(parts)
    if len(whole) <= MOST:
        assert read(parts, ends=ends) == whole
    else:
        with pytest.raises(UnfitError) as refused:
            read(parts, ends=ends)
        assert refused.value.status == 413


@pytest.mark.parametrize(
    ("pauses", "is_fast_enough"),
    [([0.02] * 3, True), ([1.2], False), ([0.35, 0.35, 0.35], False), ([0.01, 0.01, 1.2], False)],
)
def test_each_part_has_to_come_at_a_rate(monkeypatch, pauses, is_fast_enough):
    monkeypatch.setattr(module, "GRACE", 0.7)
    monkeypatch.setattr(module, "RATE", 10_000)
    parts = [b"a" * 10] * len(pauses)  # a millisecond each
    if is_fast_enough:
        assert read(parts, pauses=pauses) == b"".join(parts)
    else:
        with pytest.raises(UnfitError) as refused:
            read(parts, pauses=pauses)
        assert refused.value.status == 408


@pytest.mark.parametrize("size", [0, 7, MOST])
def test_a_request_says_how_large_its_body_is(size):
    assert declared_size(Headers({"content-length": str(size)}), MOST) == size


SILENT = [{}, {"content-length": ""}, {"content-length": "-1"}, {"content-length": "7.0"}]
CHUNKED = [{"transfer-encoding": "chunked"}, {"transfer-encoding": "chunked", "content-length": "7"}]


@pytest.mark.parametrize("headers", [*SILENT, *CHUNKED], ids=str)
def test_one_that_does_not_say_so_is_refused_before_it_is_read(headers):
    with pytest.raises(UnfitError) as refused:
        declared_size(Headers(headers), MOST)
    assert refused.value.status == 411


@pytest.mark.parametrize("said", ["101", "9" * 5000, "0" * 5000], ids=["more", "a long number", "a long zero"])
def test_what_says_that_it_is_too_large_is_refused_before_it_is_read(said):
    with pytest.raises(UnfitError) as refused:
        declared_size(Headers({"content-length": said}), MOST)
    assert refused.value.status == 413
