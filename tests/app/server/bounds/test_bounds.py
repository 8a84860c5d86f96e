"""What a request takes is held until it is answered, and until the event that it began is over."""

import asyncio
import json
import tracemalloc
from types import SimpleNamespace

import pytest

from app.server.bounds import bounds as module
from app.server.bounds.bounds import Bounds, document_cost
from app.server.bounds.budget import FullError
from app.server.guard import MAX_BODY
from app.server.request_checks import parsed
from tests.app.loops import run_apart

ADDRESS = "10.0.0.7"


def page_with(events: dict[str, object]) -> SimpleNamespace:
    """As much of a page as knows its events."""
    return SimpleNamespace(_queue=SimpleNamespace(event_ids_to_events=events))


def scope_of(events: dict[str, object], length: int = 2) -> dict:
    headers = [(b"content-length", str(length).encode())]
    app = SimpleNamespace(get_blocks=lambda: page_with(events))
    return {"type": "http", "headers": headers, "client": (ADDRESS, 1), "app": app}


def receiver(body: bytes):
    async def receive() -> dict:
        return {"type": "http.request", "body": body}

    return receive


def test_a_document_is_held_until_its_request_is_answered():
    async def work() -> None:
        bounds, body = Bounds(), b"[" * 1000
        async with bounds.body(scope_of({}, 1000), receiver(body), MAX_BODY) as read:
            assert read == body
            assert (bounds.bodies.held, bounds.small.held) == (0, document_cost(body))
        assert bounds.small.held == 0

    run_apart(work())


def test_a_document_is_held_until_the_event_is_over_that_it_has_begun(monkeypatch):
    monkeypatch.setattr(module, "POLL", 0.01)

    async def work() -> None:
        bounds, events = Bounds(), {}
        scope = scope_of(events)
        async with bounds.body(scope, receiver(b"{}"), MAX_BODY):
            events["other"] = SimpleNamespace(request=SimpleNamespace(scope={}))
            events["own"] = SimpleNamespace(request=SimpleNamespace(scope=scope))
        await asyncio.sleep(0.1)
        assert bounds.small.held == document_cost(b"{}")
        del events["own"]
        await asyncio.sleep(0.1)
        assert bounds.small.held == 0
        assert not bounds._tasks

    run_apart(work())


@pytest.mark.parametrize("fault", [RuntimeError, asyncio.CancelledError])
def test_whatever_goes_wrong_nothing_stays_held(fault):
    async def work() -> None:
        bounds = Bounds()
        for way in (bounds.body, bounds.upload):
            with pytest.raises(fault):
                async with way(scope_of({}), receiver(b"{}"), MAX_BODY):
                    raise fault
        assert [bounds.bodies.held, bounds.small.held, bounds.large.held, bounds.uploads.held] == [0] * 4

    run_apart(work())


def test_a_file_that_is_kept_is_held_until_it_is_deleted(monkeypatch):
    monkeypatch.setattr(module, "UPLOADED_SECONDS", 0.1)

    async def work() -> None:
        bounds = Bounds()
        async with bounds.upload(scope_of({}, 500), receiver(b"a" * 500), MAX_BODY) as (body, keep):
            assert len(body) == 500
            keep()
        assert (bounds.bodies.held, bounds.uploads.held) == (0, 500)
        await asyncio.sleep(0.2)
        assert bounds.uploads.held == 0

    run_apart(work())


def test_one_address_can_upload_only_so_much_and_another_still_can():
    async def work() -> None:
        bounds = Bounds()

        async def is_taken(address: str) -> bool:
            scope = scope_of({}, 10_000_000) | {"client": (address, 1)}
            try:
                async with bounds.upload(scope, receiver(b""), MAX_BODY) as (_, keep):
                    keep()
            except FullError:
                return False
            return True

        taken = [await is_taken(ADDRESS) for _ in range(30)]
        assert 5 < taken.index(False) < 15
        assert not any(taken[taken.index(False) :])
        assert await is_taken("10.0.0.8")

    run_apart(work())


def test_the_largest_document_that_is_taken_finds_room():
    bounds = Bounds()
    most = max(document_cost(b"a" * MAX_BODY), document_cost(b"[" * MAX_BODY))
    for address in ("10.0.0.1", "10.0.0.2"):
        bounds.large.take(address, most)


@pytest.mark.parametrize(
    "document",
    [["a" * 3_000_000], {"image": "data:image/png;base64," + "A" * 10_000_000}, ["a" * 3_000_000 + "😀"],
     ["漢" * 1_000_000], [{"a": {}}] * 70_000, [1.5] * 250_000,
     {f"k{number}": number for number in range(250_000)}],
    ids=["text", "an image", "text with one wide character", "Chinese", "objects", "numbers", "names"],
)  # fmt: skip
def test_a_document_takes_no_more_memory_than_is_reckoned(document):
    body = json.dumps(document, ensure_ascii=False).encode()
    tracemalloc.start()
    parsed(body)  # as it is checked
    kept = json.loads(body)  # as Gradio reads it
    assert json.dumps(kept)  # as an endpoint passes it on
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < document_cost(body)


def test_one_escaped_character_can_make_a_text_wide():
    """An escape is ASCII as it is sent, and takes four bytes for every character of its text once it is read."""
    body = b'["' + b"a" * 3_000_000 + rb'\ud83d\ude00"]'
    tracemalloc.start()
    parsed(body)
    kept = json.loads(body)
    assert json.dumps(kept)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 5 * len(body) < peak < document_cost(body)


def test_large_documents_take_no_room_from_small_ones_of_the_same_address():
    async def work() -> None:
        bounds, text = Bounds(), b'"' + b"a" * (MAX_BODY - 2) + b'"'
        async with (
            bounds.body(scope_of({}), receiver(text), MAX_BODY),
            bounds.body(scope_of({}), receiver(text), MAX_BODY),
        ):
            assert bounds.large.held == 2 * document_cost(text)
            async with bounds.body(scope_of({}), receiver(b"{}"), MAX_BODY) as body:
                assert body == b"{}"

    run_apart(work())
