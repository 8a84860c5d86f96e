"""What finds no room or is too large is refused by a status and a sentence, and nothing stays held."""

from types import SimpleNamespace
from urllib.parse import quote

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from app.server import guard
from app.server.bounds import bounds as module
from app.server.bounds.bounds import Bounds
from app.server.bounds.budget import Budget
from app.server.guard import Guard

LARGE = {"data": ["a" * 200_000]}


async def echo(request: Request) -> JSONResponse:
    return JSONResponse({"size": len(await request.body())})


@pytest.fixture
def bounds() -> Bounds:
    return Bounds()


@pytest.fixture
def client(bounds):
    """An app behind the middleware, which answers with the size of what was posted."""
    app = Starlette(
        routes=[Route("/echo", echo, methods=["GET", "POST"])], middleware=[Middleware(Guard, bounds=bounds)]
    )
    app.get_blocks = lambda: SimpleNamespace(_queue=SimpleNamespace(event_ids_to_events={}))
    with TestClient(app, base_url="http://localhost") as served:
        yield served
    budgets = (bounds.requests, bounds.bodies, bounds.short_bodies, bounds.small, bounds.large, bounds.events)
    assert [budget.held for budget in budgets] == [0] * 6


@pytest.mark.parametrize("document", [{}, LARGE], ids=["small", "large"])
def test_what_fits_is_answered(client, document):
    answer = client.post("/echo", json=document)
    assert answer.status_code == 200
    assert answer.json()["size"] > 0


@pytest.mark.parametrize("name", ["requests", "short_bodies", "small", "events"])
@pytest.mark.parametrize("others", [True, False])
def test_what_finds_no_room_is_told_when_to_try_again(client, bounds, name, others):
    """It says whether the address itself has taken the room, or others have."""
    budget = Budget({"requests": 2, "events": 2, "small": 100_000}.get(name, 1000))
    setattr(bounds, name, budget)
    part = budget.take("10.0.0.9" if others else "testclient", budget.total if others else budget.total // 2)
    document = {} if name != "short_bodies" else {"a": "b" * 600}
    with part:
        answer = client.post("/echo", json=document)
    assert (answer.status_code, answer.json()["detail"]) in ((503, guard.NO_ROOM), (429, guard.NO_OWN_ROOM))
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert budget.held == 0


def test_a_large_document_waits_for_room_and_then_is_refused(client, bounds, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    bounds.large = Budget(5_000_000)
    with bounds.large.take("10.0.0.9", 5_000_000):
        assert client.post("/echo", json=LARGE).status_code == 503
    assert client.post("/echo", json=LARGE).status_code == 200


def test_a_body_that_is_too_large_is_refused_by_what_it_says_of_itself(client):
    answer = client.post(
        "/echo", content=b"{}", headers={"Content-Length": "99999999", "Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["detail"]) == (413, "What was sent is too large.")


@pytest.mark.parametrize("path", ["/echo\n", "/echo\x1b[2J", "/echo\u2028", "/" + "a" * 300])
def test_a_path_that_no_page_has_is_not_found(client, path):
    assert client.get(quote(path)).status_code == 404


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_body_in_chunks_is_refused_before_it_is_read(client, method):
    answer = client.request(method, "/echo", content=iter([b"{}"] * 3), headers={"Content-Type": "application/json"})
    assert answer.status_code == 411
