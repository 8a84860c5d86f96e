"""Whatever strangers send as a request is answered or refused in one sentence, and is not logged."""

from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from tests.hosting.clients.attack import CANCEL, JOIN, MARK, RUN, unsound

pytestmark = pytest.mark.usefixtures("alive")
DEEP = 10_000

ENVELOPES: dict[str, Any] = {
    "nothing in it": {}, "a list": [], "null": None, "a number": 5, "a text": MARK, "only data": {"data": []},
    "data as text": {"data": MARK}, "data as object": {"data": {"a": MARK}}, "half a letter": {"data": "\ud800"},
    "no such event": {"data": [], "fn_index": 9999}, "a negative event": {"data": [], "fn_index": -1},
    "an event as text": {"data": [], "fn_index": MARK}, "half an event": {"data": [], "fn_index": 1.5},
    "a huge event": {"data": [], "fn_index": 10**400}, "no event": {"data": [], "fn_index": None},
    "an event as list": {"data": [], "fn_index": [0]},
    "session as number": {"data": [], "fn_index": 0, "session_hash": 5},
    "session as list": {"data": [], "fn_index": 0, "session_hash": ["a"]},
    "session as object": {"data": [], "fn_index": 0, "session_hash": {"a": 1}},
    "half a character as session": {"data": [], "fn_index": 0, "session_hash": "\ud800"},
    "a path as session": {"data": [], "fn_index": 0, "session_hash": "../../etc/passwd"},
    "a megabyte as session": {"data": [], "fn_index": 0, "session_hash": "a" * 10**6},
    "no session": {"data": [], "fn_index": 0, "session_hash": None}, "empty session": {"data": [], "session_hash": ""},
    "trigger as text": {"data": [], "fn_index": 0, "trigger_id": MARK},
    "trigger as list": {"data": [], "fn_index": 0, "trigger_id": []},
    "identity as number": {"data": [], "fn_index": 0, "event_id": 5},
    "identity of nobody": {"data": [], "fn_index": 0, "event_id": "x"},
    "batched": {"data": [["en"], [None]], "fn_index": 0, "batched": True},
    "batched as text": {"data": [], "fn_index": 0, "batched": MARK},
    "simple as text": {"data": [], "fn_index": 0, "simple_format": MARK},
    "a token": {"data": [], "fn_index": 0, "oauth_token": MARK}, "a token as object": {"data": [], "oauth_token": {}},
    "half a character as name": {"\ud800": 1}, "a request": {"data": [], "fn_index": 0, "request": {"url": MARK}},
    "a thousand names": {f"{MARK}{number}": number for number in range(1000)},
}  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        JOIN, RUN, "/gradio_api/run/compare", "/gradio_api/api/{private}", "/gradio_api/call/compare", CANCEL,
        "/gradio_api/call/v2/compare", "/gradio_api/call/v2/layer_curve", "/gradio_api/run/nowhere",
        "/gradio_api/call/nowhere", "/gradio_api/call/v2/nowhere", "/gradio_api/call/{private}",
        "/gradio_api/call/v2/{private}",
    ],
)  # fmt: skip
def test_a_request_of_any_shape(target, path):
    path = path.format(private=target.event_on("compare"))
    session = {"session_hash": uuid4().hex}
    attempts = []
    for what, body in ENVELOPES.items():
        attempts.append((what, partial(target.post, path, body)))
        if isinstance(body, dict) and path == JOIN:
            attempts.append((f"{what}, with a session", partial(target.post, path, session | body)))
    assert unsound(attempts) == {}


BODIES = {
    "nothing": b"", "cut": b'{"data": [', "cut in a text": b'{"data": ["' + MARK.encode(), "no JSON": MARK.encode(),
    "bytes": b"\xff\xfe\x00", "a bad character": b'{"data": ["\xff"]}',
    "a mark of byte order": b'\xef\xbb\xbf{"data": []}',
    "UTF-16": '{"data": []}'.encode("utf-16"), "UTF-32": '{"data": []}'.encode("utf-32-le"),
    "half a character": b'{"data": ["\xed\xa0\x80"]}', "not a number": b'{"data": [NaN], "fn_index": 0}',
    "endless": b'{"data": [Infinity], "fn_index": 0}', "minus endless": b'{"data": [], "fn_index": -Infinity}',
    "a real number too large": b'{"data": [], "fn_index": 1e999}', "and below": b'{"data": -1e999}',
    "a long number": b'{"data": [], "fn_index": ' + b"9" * 5000 + b"}", "digits": b"1" * 10**6,
    "deep lists": b'{"data": ' + b"[" * DEEP + b"]" * DEEP + b"}", "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "lists that do not end": b"[" * 10**5, "twice": b'{"data": [], "data": 5}',
    "a control character": b'{"data": ["\x00"]}',
    "a null character": b"\x00",
}  # fmt: skip
KINDS = (
    "application/json", "Application/JSON", "application/json; charset=latin-1", "application/ld+json", "text/plain",
    "application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary=x", None,
    "application/octet-stream",
)  # fmt: skip


@pytest.mark.parametrize("path", [JOIN, RUN, "/gradio_api/call/compare", "/gradio_api/call/v2/compare", CANCEL])
def test_bytes_of_any_kind(target, path):
    attempts = [
        ((what, kind), partial(target.post, path, body, {"Content-Type": kind} if kind else {}))
        for what, body in BODIES.items()
        for kind in (KINDS if path == JOIN else KINDS[:5])
    ]
    assert unsound(attempts) == {}


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("more than is taken", b'{"data": ["' + b"x" * 20_000_000 + b'"]}'),
        ("millions of lists", b'{"data": [' + b"[]," * 3_900_000 + b"[]]}"),
        ("millions of texts", b'{"data": [' + b'"",' * 3_900_000 + b'""]}'),
        ("millions of objects", b'{"data": [' + b"{}," * 3_900_000 + b"{}]}"),
    ],
)
def test_much_is_refused_before_it_is_read(target, what, body):
    assert target.post(JOIN, body).status == 413, what
