"""Whatever strangers send to the page's own events is answered or refused in one sentence, and is not logged."""

import json
from functools import partial
from uuid import uuid4

import pytest

from tests.hosting.clients.attack import CANCEL, JOIN, MARK, reply_of, unsound
from tests.hosting.clients.bad_values import FEW, VALUES

pytestmark = pytest.mark.usefixtures("alive")


def test_every_component_takes_a_wrong_value(target):
    """Each once with every value, in the cheapest of the events that it is sent with."""
    seen, attempts = set(), []
    for name, event in sorted(target.events.items(), key=lambda item: (item[1]["queue"], len(item[1]["outputs"]))):
        start = target.start(name)
        for index, part in enumerate(event["inputs"]):
            kind = target.components[part]["type"]
            if part in seen or kind in ("state", "api"):
                continue
            seen.add(part)
            for what, value in VALUES.items():
                data = [*start[:index], value, *start[index + 1 :]]
                attempts.append(((name, kind, part, what), partial(target.ask, name, data)))
    assert len(seen) > 20
    assert unsound(attempts) == {}


def test_every_event_takes_too_few_too_many_and_wrong_values(target):
    attempts, session = [], uuid4().hex
    for name in target.events:
        start = target.start(name)
        cases = {"none": [], "one too few": start[:-1], "too many": [*start, *VALUES.values()]}
        cases |= {f"all are {what}": [value] * len(start) for what, value in FEW.items()}
        # A session of its own, for some events open a trace that others would then draw.
        own = {} if target.events[name]["queue"] else {"session": session + name}
        attempts += [((name, what), partial(target.ask, name, data, **own)) for what, data in cases.items()]
    assert unsound(attempts) == {}


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
    open_recorded = target.event_on("chips", "select")
    assert target.ask(open_recorded, target.start(open_recorded), session=session, event_data={"by": 0}).is_sound
    clicked = [name for name, event in target.events.items() if event["collects_event_data"]]
    assert len(clicked) > 10
    attempts = [
        ((name, what), partial(target.ask, name, target.start(name), session=session, event_data=data))
        for name in clicked
        for what, data in CLICKS.items()
    ]
    assert unsound(attempts) == {}


def test_what_triggers_an_event_may_be_any_part_of_the_page_or_none(target):
    event = target.event_on("compare")
    attempts = [
        (part, partial(target.ask, event, target.start(event), trigger_id=part))
        for part in (0, -1, 10**6, *target.components)
    ]
    assert unsound(attempts) == {}
    assert target.http.get("/").status_code == 200


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
    event = target.event_on("inbox", "upload")
    reply = target.ask(event, target.start(event), event_data={"text": text})
    assert reply.is_sound
    assert '\\"tone\\": \\"error\\"' in reply.text


def test_the_stream_of_an_unknown_session_is_not_found(target):
    for path in ("call/compare/nobody", "call/nowhere/nobody", "call/v2/compare/nobody", "queue/data?session_hash=no"):
        reply = reply_of(target.http.get(f"/gradio_api/{path}"))
        assert (reply.status, reply.is_sound) == (404, True), path


def test_several_may_listen_to_one_session_leave_and_cancel(target):
    session, run = uuid4().hex, target.event_after(target.event_on("compare"))
    body = {"data": target.start(run), "fn_index": target.events[run]["id"], "session_hash": session}
    events = [json.loads(target.post(JOIN, body).text)["event_id"] for _ in range(3)]
    for _ in range(3):  # each reads the beginning and goes
        with target.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
            next(stream.iter_raw(), b"")
    for event in events * 2:
        assert target.post(CANCEL, {"session_hash": session, "fn_index": body["fn_index"], "event_id": event}).is_sound
    listening = [partial(target.http.stream, "GET", "/gradio_api/queue/data", params={"session_hash": session})] * 2
    target.post(JOIN, body)
    with listening[0]() as first, listening[1]() as second:
        next(first.iter_raw(), b"")
        assert second.status_code in (200, 404)
