"""Whatever strangers send to the API is answered or refused in one sentence, and is not logged."""

import json
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from tests.hosting.clients.attack import LEAKS, MARK, RUN, Target, reply_of, unsound
from tests.hosting.clients.bad_values import VALUES

pytestmark = pytest.mark.usefixtures("alive")
PROMPT = f"{MARK} says that the capital of Peru is"


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


GOOD: dict[str, dict[str, Any]] = {
    "compare": {"prompt": PROMPT, "max_new_tokens": 1, "with_trace": False},
    "what_if": {"trace": {}, "step": 1, "layer": 3, "alpha": 0.5, "lane": 1},
    "layer_curve": {"questions": [{"prompt": PROMPT, "answers": ["Lima"]}], "alphas": [0.1]},
}
"""Arguments that each endpoint takes."""
QUESTIONS = {
    "none": [], "no object": [MARK], "no answers": [{"prompt": MARK, "answers": []}], "no prompt": [{"answers": ["a"]}],
    "an unknown field": [{"prompt": MARK, "answers": ["a"], MARK: 1}], "half": [{"prompt": "\ud800", "answers": ["a"]}],
    "numbers": [{"prompt": 1, "answers": [2]}], "a thousand": [{"prompt": MARK, "answers": ["a"]}] * 1000,
    "long": [{"prompt": MARK * 1000, "answers": ["a"]}], "many answers": [{"prompt": MARK, "answers": ["a"] * 100}],
    "one that is long in tokens": [{"prompt": "1 " * 1900, "answers": ["a"]}], "nested": [[[[MARK]]]],
}  # fmt: skip


LANE_TEXTS = {
    "no lane": "", "a name": MARK, "markup": "<b>${alert(1)}</b>", "half": "\ud800",
    "a null": "plain\0", "lines": "plain\n,\n",
    "long": "plain," * 1000, "many weights": "linear:" + ",".join(f"{layer}=1" for layer in range(300)),
    "weights of nothing": "linear", "a weight twice": "linear:3=1,3=2", "a huge weight": "linear:3=1e400",
    "no number": "static:22,alpha=nan", "digits": "static:" + "9" * 5000, "a layer below": "static:-1",
    "a layer beyond": "static:30", "the last layer": "linear:30=1", "a bucket beyond": "dynamic:9000-9999",
    "a stride of none": "dynamic:1-9/0", "turned round": "dynamic:9-1", "its own layers": "dynamic:high,layers=(1,2)",
    "a field twice": "static:22,layer=3", "an attribute": "plain,__class__=x", "the kind": "plain,kind=static",
    "arabic digits": "static:٢٢", "a penalty beyond": "plain,penalty=1e9", "nothing but signs": ":,=,:=",
}  # fmt: skip


def test_whatever_is_called_a_lane_is_refused_or_compared(target, trace):
    attempts = []
    for what, text in LANE_TEXTS.items():
        for lanes in ([text], ["plain", text], [text] * 4):
            attempts.append((("lanes", what), partial(target.call, "compare", GOOD["compare"] | {"lanes": lanes})))
        asked = GOOD["what_if"] | {"trace": trace, "other": text}
        attempts.append((("other", what), partial(target.call, "what_if", asked)))
    for lanes in ([], [[]], [{}], [None, None], "plain", {"plain": 1}, ["plain"] * 5, [MARK] * 1000):
        attempts.append(
            (("lanes", str(lanes)[:20]), partial(target.call, "compare", GOOD["compare"] | {"lanes": lanes}))
        )
    assert unsound(attempts) == {}


def test_every_parameter_of_an_endpoint_takes_a_wrong_value(target, trace):
    attempts = []
    for name, arguments in GOOD.items():
        arguments = arguments | ({"trace": trace} if name == "what_if" else {})
        parameters = target.http.get("/gradio_api/info").json()["named_endpoints"][f"/{name}"]["parameters"]
        whole = {each["parameter_name"]: each["parameter_default"] for each in parameters} | arguments
        for parameter in whole:
            for what, value in VALUES.items():
                data = list((whole | {parameter: value}).values())
                attempts.append(((name, parameter, what), partial(target.ask, name, data)))
        for missing in arguments:
            rest = {key: value for key, value in arguments.items() if key != missing}
            attempts.append(((name, "without", missing), partial(target.call, name, rest)))
        attempts.append(((name, "with more"), partial(target.call, name, arguments | {MARK: 1})))
    attempts += [(what, partial(target.call, "layer_curve", {"questions": each})) for what, each in QUESTIONS.items()]
    attempts += [
        (("alphas", str(alphas)[:20]), partial(target.call, "layer_curve", GOOD["layer_curve"] | {"alphas": alphas}))
        for alphas in ([], [0], [2.0], [MARK], [True], [0.1] * 11, {"a": 1})
    ]
    assert unsound(attempts) == {}


@pytest.fixture(scope="module")
def trace(target: Target) -> dict[str, Any]:
    """The trace of a short comparison."""
    events = json.loads(target.call("compare", GOOD["compare"] | {"max_new_tokens": 3, "with_trace": True}).text)
    return events[0]["trace"]


@pytest.mark.parametrize(
    ("arguments", "api_name"),
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
def test_a_client_gets_one_sentence(client, arguments, api_name):
    with pytest.raises((AppError, ValueError, httpx.HTTPStatusError)) as refused:
        client.predict(**arguments, api_name=api_name)
    if isinstance(refused.value, httpx.HTTPStatusError):  # refused before the event
        assert reply_of(refused.value.response).is_sound
    else:
        assert len(str(refused.value)) < 300
        assert not LEAKS.search(str(refused.value))


@pytest.fixture(scope="module")
def client(target: Target) -> Client:
    return Client(target.server.url, verbose=False)


def test_a_run_called_without_gradio_s_queue_keeps_no_place_in_the_queue(target):
    for _ in range(40):
        assert target.post("/gradio_api/run/compare", {"data": [PROMPT, *target.start("compare")[1:]]}).is_sound


def test_a_model_that_a_stranger_names_is_never_loaded(target, world, trace):
    name, session = "evil/model", uuid4().hex
    assert target.http.get("/", params={"model": name, "prompt": PROMPT}).status_code == 200
    assert target.post(f"{RUN}?model={name}&prompt=a", target.arrival | {"session_hash": session}).is_sound
    arrive = target.event_on("inbox", "submit")
    linked = target.ask(arrive, target.start(arrive), session=session)
    assert name in linked.text, "the page says that the link is of another model"
    asked = target.call("compare", GOOD["compare"] | {"model": name})
    assert asked.is_sound
    assert "There is no such model here; there are atlas-30l." in asked.text
    model = trace["model"] | {"name": name, "revision": "main", "identity": None}
    foreign = json.dumps(trace | {"model": model})
    press_run_on = target.event_on("run-on")
    open_file, run_on = target.event_on("inbox", "upload"), target.event_after(press_run_on)
    for event, data in ((open_file, {"event_data": {"text": foreign}}), (press_run_on, {}), (run_on, {})):
        reply = target.ask(event, target.start(event), session=session, **data)
        assert reply.is_sound
    assert f"This trace is of the model {name}; start the page with that model" in reply.text
    assert world.requests == []
