"""What strangers send: whatever it is, an answer, a 4xx, or an error of one sentence; nothing of it in the log."""

import json
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from tests.browser.conftest import ROOT
from tests.hosting.attack import CANCEL, JOIN, LEAKS, MARK, RUN, Target, answer_of, unsound

pytestmark = pytest.mark.usefixtures("alive")
PROMPT = f"{MARK} says that the capital of Peru is"
DEEP = 10_000

VALUES: dict[str, Any] = {
    "nothing": None, "a text": MARK, "no text": "", "a number": 7, "a negative number": -1, "a fraction": 1.5,
    "a huge number": 10**30, "a huger number": 10**4000, "a large real number": 1e308, "a truth value": True,
    "a list": [MARK], "an object": {"a": MARK}, "nested": [[[[{"a": [{}, MARK]}]]]],
    "half a character": f"\ud800{MARK}",
    "a null character": f"\0{MARK}", "a long text": MARK * 10_000, "many values": [[]] * 2000,
    "a file": {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
    "a file of the page": {"path": str(ROOT / f"{MARK}.csv"), "meta": {"_type": "gradio.FileData"}},
    "an address": {"path": MARK, "url": "http://192.0.2.1/a.csv", "meta": {"_type": "gradio.FileData"}},
    "an address as path": {"path": "http://192.0.2.1/a.csv", "meta": {"_type": "gradio.FileData"}},
    "an update": {"__type__": "update", "value": MARK, "choices": [MARK]},
}  # fmt: skip
SOME = {name: VALUES[name] for name in ("nothing", "a text", "an object", "a list", "a large real number", "a file")}


def test_every_component_takes_a_wrong_value(target):
    """Each once with every value, in the event that least comes of, of those that it is sent with."""
    seen, tried = set(), []
    for name, event in sorted(target.events.items(), key=lambda item: (item[1]["queue"], len(item[1]["outputs"]))):
        start = target.start(name)
        for place, part in enumerate(event["inputs"]):
            kind = target.components[part]["type"]
            if part in seen or kind in ("state", "api"):
                continue
            seen.add(part)
            for what, value in VALUES.items():
                data = [*start[:place], value, *start[place + 1 :]]
                tried.append(((name, kind, part, what), partial(target.ask, name, data)))
    assert len(seen) > 20
    assert unsound(tried) == {}


def test_every_event_takes_too_few_too_many_and_wrong_values(target):
    tried, session = [], uuid4().hex
    for name in target.events:
        start = target.start(name)
        cases = {"none": [], "one too few": start[:-1], "too many": [*start, *VALUES.values()]}
        cases |= {f"all are {what}": [value] * len(start) for what, value in SOME.items()}
        own = {} if target.events[name]["queue"] else {"session": session + name}  # some open what others would draw
        tried += [((name, what), partial(target.ask, name, data, **own)) for what, data in cases.items()]
    assert unsound(tried) == {}


CLICKS = {
    "nothing": None, "a text": MARK, "a number": 5, "a list": [MARK], "no fields": {},
    "texts": {"lane": MARK, "step": MARK, "x": MARK, "y": MARK, "by": MARK, "custom": MARK, "text": MARK, "size": MARK},
    "beyond": {"lane": 9, "step": 10**15, "x": 10**15, "y": 10**15, "by": 10**15, "custom": [10**15] * 2, "size": 1e15},
    "below": {"lane": -1, "step": -5, "x": -5, "y": "-1e308", "by": -5, "custom": [-1, -1], "size": -1},
    "lists": {"lane": [], "step": [1], "x": [[]], "y": [], "by": [1], "custom": [[], {}], "text": [MARK], "size": []},
    "objects": {"lane": {}, "step": {}, "x": {}, "y": {}, "by": {}, "custom": {}, "text": {}, "size": {}},
    "fractions": {"lane": 0.5, "step": 1.5, "x": 2.5, "y": "nan", "by": 1.5, "custom": [0.1, 0.5], "text": 1.5},
    "names of attributes": {"__class__": MARK, "_data": {}, "target": None, "custom": None, "x": True, "by": True},
}  # fmt: skip


def test_every_click_takes_event_data_of_any_kind(target):
    session = uuid4().hex
    opened = next(name for name, event in target.events.items() if event["targets"] == [[_button(target), "click"]])
    assert target.ask(opened, target.start(opened), session=session).is_sound
    clicked = [name for name, event in target.events.items() if event["collects_event_data"]]
    assert len(clicked) > 10
    tried = [
        ((name, what), partial(target.ask, name, target.start(name), session=session, event_data=data))
        for name in clicked
        for what, data in CLICKS.items()
    ]
    assert unsound(tried) == {}


def _button(target: Target) -> int:
    """The button that opens the first recorded comparison."""
    return next(i for i, part in target.components.items() if str(part["props"].get("elem_id")).startswith("recorded-"))


def test_what_triggers_an_event_may_be_any_part_of_the_page_or_none(target):
    tried = [
        (part, partial(target.ask, "hear", target.start("hear"), trigger_id=part))
        for part in (0, -1, 10**6, *target.components)
    ]
    assert unsound(tried) == {}
    assert target.http.get("/").status_code == 200


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
        JOIN, RUN, "/gradio_api/run/compare", "/gradio_api/api/hear", "/gradio_api/call/compare", CANCEL,
        "/gradio_api/call/v2/compare", "/gradio_api/call/v2/layer_curve", "/gradio_api/run/nowhere",
        "/gradio_api/call/nowhere", "/gradio_api/call/v2/nowhere", "/gradio_api/call/hear", "/gradio_api/call/v2/hear",
    ],
)  # fmt: skip
def test_a_request_of_any_shape(target, path):
    session = {"session_hash": uuid4().hex}
    tried = []
    for what, body in ENVELOPES.items():
        tried.append((what, partial(target.post, path, body)))
        if isinstance(body, dict) and path == JOIN:
            tried.append((f"{what}, with a session", partial(target.post, path, session | body)))
    assert unsound(tried) == {}


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
    tried = [
        ((what, kind), partial(target.post, path, body, {"Content-Type": kind} if kind else {}))
        for what, body in BODIES.items()
        for kind in (KINDS if path == JOIN else KINDS[:5])
    ]
    assert unsound(tried) == {}


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


@pytest.mark.parametrize(
    "text",
    [
        '{"schema": 1, "steps": [' + "{}," * 3_000_000 + "{}]}",
        '{"schema": 1, "steps": [{"taken": [' + "[]," * 3_000_000 + "[]]}]}",
        '{"schema": 1, "texts": [' + "1," * 280_000 + "1]}",
        '{"schema": 1, "pieces": {' + ",".join(f'"a{n}": 1' for n in range(140_000)) + "}}",
        "{" + ",".join(f'"a{n}": 1' for n in range(140_000)) + "}",
        '{"prompt": "' + ',[{\\"' * 1_200_000 + '"}',
    ],
    ids=["steps", "numbers", "texts", "pieces", "fields", "punctuation"],
)
def test_a_trace_made_to_take_long_is_refused_at_once(target, text):
    answer = target.ask("bring", target.start("bring"), event_data={"text": text})
    assert answer.is_sound
    assert '\\"tone\\": \\"error\\"' in answer.text


def test_only_the_three_endpoints_are_called_by_name(target):
    named = target.http.get("/gradio_api/info").json()
    assert set(named["named_endpoints"]) == {"/compare", "/what_if", "/layer_curve"}
    assert set(target.http.get("/gradio_api/info", params={"all_endpoints": "true"}).json()["named_endpoints"]) == {
        "/compare", "/what_if", "/layer_curve",
    }  # fmt: skip
    public = {name for name, event in target.events.items() if event["api_visibility"] == "public"}
    assert public == {"compare", "what_if", "layer_curve"}
    for name in set(target.events) - public:
        for path in ("call", "call/v2", "run", "api"):
            answer = target.post(f"/gradio_api/{path}/{name}", {"data": target.start(name)})
            assert answer.status == 404, (path, name)


TAKEN = {
    "compare": {"prompt": PROMPT, "max_new_tokens": 1, "with_trace": False},
    "what_if": {"trace": {}, "step": 1, "layer": 3, "alpha": 0.5, "lane": 1},
    "layer_curve": {"questions": [{"prompt": PROMPT, "answers": ["Lima"]}], "alphas": [0.1]},
}
QUESTIONS = {
    "none": [], "no object": [MARK], "no answers": [{"prompt": MARK, "answers": []}], "no prompt": [{"answers": ["a"]}],
    "an unknown field": [{"prompt": MARK, "answers": ["a"], MARK: 1}], "half": [{"prompt": "\ud800", "answers": ["a"]}],
    "numbers": [{"prompt": 1, "answers": [2]}], "a thousand": [{"prompt": MARK, "answers": ["a"]}] * 1000,
    "long": [{"prompt": MARK * 1000, "answers": ["a"]}], "many answers": [{"prompt": MARK, "answers": ["a"] * 100}],
    "one that is long in tokens": [{"prompt": "1 " * 1900, "answers": ["a"]}], "nested": [[[[MARK]]]],
}  # fmt: skip


def test_every_parameter_of_an_endpoint_takes_a_wrong_value(target, trace):
    tried = []
    for name, asked in TAKEN.items():
        asked = asked | ({"trace": trace} if name == "what_if" else {})
        parameters = target.http.get("/gradio_api/info").json()["named_endpoints"][f"/{name}"]["parameters"]
        whole = {each["parameter_name"]: each["parameter_default"] for each in parameters} | asked
        for parameter in whole:
            for what, value in VALUES.items():
                data = list((whole | {parameter: value}).values())
                tried.append(((name, parameter, what), partial(target.ask, name, data)))
        for missing in asked:
            rest = {key: value for key, value in asked.items() if key != missing}
            tried.append(((name, "without", missing), partial(target.call, name, rest)))
        tried.append(((name, "with more"), partial(target.call, name, asked | {MARK: 1})))
    tried += [(what, partial(target.call, "layer_curve", {"questions": each})) for what, each in QUESTIONS.items()]
    tried += [
        (("alphas", str(alphas)[:20]), partial(target.call, "layer_curve", TAKEN["layer_curve"] | {"alphas": alphas}))
        for alphas in ([], [0], [2.0], [MARK], [True], [0.1] * 11, {"a": 1})
    ]
    assert unsound(tried) == {}


@pytest.fixture(scope="module")
def trace(target: Target) -> dict[str, Any]:
    """A short comparison."""
    told = json.loads(target.call("compare", TAKEN["compare"] | {"max_new_tokens": 3, "with_trace": True}).text)
    return told[0]["trace"]


@pytest.mark.parametrize(
    ("asked", "api_name"),
    [
        ({"prompt": None}, "/compare"), ({"prompt": ["a"]}, "/compare"), ({"prompt": "p", "layer": "x"}, "/compare"),
        ({"prompt": "p", "alpha": float("nan")}, "/compare"), ({"prompt": "p", "alpha": float("inf")}, "/compare"),
        ({"prompt": "p", "temperature": -1}, "/compare"), ({"prompt": "p", "top_p": 0}, "/compare"),
        ({"prompt": "p", "seed": 10**20}, "/compare"), ({"prompt": "p", "penalty_position": "x"}, "/compare"),
        ({"prompt": "p", "early_norm": "x"}, "/compare"), ({"prompt": "p", "stop": 5}, "/compare"),
        ({"prompt": "p", "chat": True}, "/compare"), ({"prompt": "p", "num_beams": 1000}, "/compare"),
        ({"trace": {}, "step": 1, "layer": 1, "alpha": 0.1}, "/what_if"),
        ({"trace": None, "step": 1, "layer": 1, "alpha": 0.1}, "/what_if"),
        ({"questions": []}, "/layer_curve"), ({"questions": {}}, "/layer_curve"), ({"questions": None}, "/layer_curve"),
    ],
)  # fmt: skip
def test_a_client_gets_one_sentence(client, asked, api_name):
    with pytest.raises((AppError, ValueError, httpx.HTTPStatusError)) as refused:
        client.predict(**asked, api_name=api_name)
    if isinstance(refused.value, httpx.HTTPStatusError):  # it never came to the event
        assert answer_of(refused.value.response).is_sound
    else:
        assert len(str(refused.value)) < 300
        assert not LEAKS.search(str(refused.value))


@pytest.fixture(scope="module")
def client(target: Target) -> Client:
    return Client(target.server.url, verbose=False)


def test_a_stream_of_nobody_s_is_not_found(target):
    for path in ("call/compare/nobody", "call/nowhere/nobody", "call/v2/compare/nobody", "queue/data?session_hash=no"):
        answer = answer_of(target.http.get(f"/gradio_api/{path}"))
        assert (answer.status, answer.is_sound) == (404, True), path


def test_several_may_listen_under_one_name_leave_and_cancel(target):
    session = uuid4().hex
    body = {"data": target.start("compare_1"), "fn_index": target.events["compare_1"]["id"], "session_hash": session}
    events = [json.loads(target.post(JOIN, body).text)["event_id"] for _ in range(3)]
    for _ in range(3):  # each hears the beginning and goes
        with target.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
            next(stream.iter_raw(), b"")
    for event in events * 2:
        assert target.post(CANCEL, {"session_hash": session, "fn_index": body["fn_index"], "event_id": event}).is_sound
    listening = [partial(target.http.stream, "GET", "/gradio_api/queue/data", params={"session_hash": session})] * 2
    target.post(JOIN, body)
    with listening[0]() as first, listening[1]() as second:
        next(first.iter_raw(), b"")
        assert second.status_code in (200, 404)


def test_a_run_asked_for_past_the_queue_keeps_no_place_in_line(target):
    for _ in range(40):
        assert target.post("/gradio_api/run/compare", {"data": [PROMPT, *target.start("compare")[1:]]}).is_sound


def test_a_model_s_name_from_a_stranger_is_never_loaded(target, world, trace):
    name, session = "evil/model", uuid4().hex
    assert target.http.get("/", params={"model": name, "prompt": PROMPT}).status_code == 200
    linked = target.post(f"{RUN}?model={name}&prompt=a", target.arrival | {"session_hash": session})
    assert name in linked.text, "the page says that the link is of another model"
    assert target.call("compare", TAKEN["compare"] | {"model": name}).status == 422
    foreign = json.dumps(trace | {"model": trace["model"] | {"name": name, "revision": "main"}})
    for event, data in (("bring", {"event_data": {"text": foreign}}), ("hear_1", {}), ("run_on_here", {})):
        answer = target.ask(event, target.start(event), session=session, **data)
        assert answer.is_sound
    assert f"This trace is of the model {name}; start the page with that model" in answer.text
    assert world.asked == []
