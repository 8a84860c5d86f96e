"""The API from a program: typed steps, a trace at the end, errors as errors."""

import re
import time

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from dola_core.comparison import Comparison
from dola_core.decoding.engine import Engine, compare
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic, parse_lane
from dola_core.layer_search.answers.scoring import ScoringConfig
from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.search import Search
from dola_core.layer_search.search_config import SearchConfig
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.loading import load_model
from dola_core.trace.schema import Trace
from tests.server import ROOT, Server

PROMPT = "The capital of Australia is"
QUESTIONS = [
    {"prompt": "The capital of Japan is", "answers": ["Tokyo"], "wrong": ["Osaka", "Kyoto"]},
    {"prompt": "The capital of Pakistan is", "answers": ["Islamabad"], "wrong": ["Karachi"]},
    {"prompt": "Gold is", "answers": ["a metal"], "wrong": ["a gas"]},
]


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_model(device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def client(faulty: Server) -> Client:
    return Client(faulty.url, verbose=False)


def test_only_three_endpoints_are_named(client):
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(named) == {"/compare", "/what_if", "/layer_curve"}
    assert named["/compare"]["parameters"][0]["type"] == {"type": "string"}


def test_a_comparison_streams_its_steps_and_ends_with_the_trace(client, loaded):
    *steps, last = client.submit(PROMPT, layer=12, alpha=0.1, max_new_tokens=9, api_name="/compare")
    lanes = (Baseline(name="Baseline"), DolaStatic(name="DoLa-static", layer=12, alpha=0.1))
    comparison = Comparison(PROMPT, tuple(loaded.encode(PROMPT)), lanes, DecodingConfig(max_new_tokens=9))
    outputs = list(Engine(loaded).compare(comparison))
    assert [event["type"] for event in steps] == ["step"] * len(outputs)
    for number, (event, output) in enumerate(zip(steps, outputs, strict=True), start=1):
        assert event["step"] == number
        by_name = {lane["lane"]: lane for lane in event["lanes"]}
        assert {name: lane["id"] for name, lane in by_name.items()} == {
            lanes[lane].name: token for lane, token in output.tokens.items()
        }
        assert all(lane["text"] == loaded.piece(lane["id"]) and 0 < lane["p"] <= 1 for lane in by_name.values())
        assert {name: lane["end"] for name, lane in by_name.items() if lane["end"]} == {
            lanes[lane].name: end for lane, end in output.ends.items()
        }
    assert last["type"] == "trace"
    trace = Trace.model_validate(last["trace"])
    assert trace.intact()
    assert last["texts"] == {"Baseline": trace.texts[0], "DoLa-static": trace.texts[1]}
    assert last["halt"] is None


def test_settings_that_are_left_out_are_the_model_s_own(client, loaded):
    *_, last = client.submit(PROMPT, max_new_tokens=1, api_name="/compare")
    lane = last["trace"]["lanes"][1]
    assert (lane["layer"], lane["alpha"]) == (loaded.preset.layer, loaded.preset.alpha)


def test_what_if_reads_a_trace_as_the_trace_itself_does(client):
    *_, last = client.submit(PROMPT, layer=12, max_new_tokens=4, api_name="/compare")
    trace = Trace.model_validate(last["trace"])
    for step in (1, 3):
        for layer, alpha in ((3, 0.5), (28, 0.05)):
            token = client.predict(last["trace"], step, layer, alpha, api_name="/what_if")
            assert token["id"] == trace.what_if(1, step - 1, DolaStatic(layer=layer, alpha=alpha))
            assert token["text"] == trace.pieces[token["id"]]
            assert token["same"] is (token["id"] == token["chosen"]["id"])


LANES = ["plain", "plain,penalty=1.2", "dynamic:high,beta=0.5", "static:12,norm=off"]


@pytest.fixture(scope="module")
def of_any_lanes(client):
    return list(client.submit(PROMPT, lanes=LANES, max_new_tokens=4, api_name="/compare"))


def test_any_lanes_are_compared_and_told_apart_by_name(of_any_lanes, loaded):
    *steps, last = of_any_lanes
    trace = Trace.model_validate(last["trace"])
    assert [lane.kind for lane in trace.lanes] == ["plain", "plain", "dynamic", "static"]
    names = ["Baseline", "Baseline (penalty 1.2)", "DoLa-dynamic", "DoLa-static"]
    assert list(last["texts"]) == names
    for event in steps:
        by_name = {lane["lane"]: lane for lane in event["lanes"]}
        assert set(by_name) <= set(names)
        assert by_name["DoLa-dynamic"]["layer"] in trace.lanes[2].layers
        assert "layer" not in by_name["DoLa-static"]
    own = compare(loaded, PROMPT, [parse_lane(text) for text in LANES], DecodingConfig(max_new_tokens=4))
    assert own.digest == trace.digest


def test_what_if_takes_any_lane(of_any_lanes, client):
    document = of_any_lanes[-1]["trace"]
    trace = Trace.model_validate(document)
    for text, number in (("dynamic:low", 2), ("static:3,beta=0.5,norm=off", 3), ("linear:9=-0.5,20=-0.5", 1)):
        other = parse_lane(text).fitted(trace.model.n_layers, tied=trace.model.tied)
        if 0 in other.reads:  # only what the lanes of the run read is recorded
            with pytest.raises(AppError, match="The trace does not hold what this lane reads"):
                client.predict(document, 2, lane=1, other=text, api_name="/what_if")
            continue
        answer = client.predict(document, 2, lane=1, other=text, api_name="/what_if")
        assert answer["id"] == trace.what_if(1, 1, other)
        assert answer["chosen"]["id"] == trace.step_for(trace.lane_steps(1)[1], other).choices[number].id


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"other": "fast"}, "Lanes are written like"),
        ({"other": "${alert(1)}<script>" * 100}, "Lanes are written like"),
        ({"other": "static:3,penalty=1.7"}, "The trace does not hold what this lane reads"),
        ({"other": "plain"}, "This step is recorded for alpha from"),
        ({"other": "static:30"}, "The trace does not hold what this lane reads"),
        ({"lane": 4, "other": "static:3"}, "step must be a number"),
        ({}, "layer must be a number from 1 to 29."),
    ],
)
def test_what_the_trace_cannot_say_is_refused_in_one_sentence(of_any_lanes, client, asked, sentence):
    with pytest.raises(AppError, match=re.escape(sentence)):
        client.predict(of_any_lanes[-1]["trace"], 1, **asked, api_name="/what_if")


def test_a_layer_curve_is_the_search_s_own(client, loaded):
    *_, last = client.submit(QUESTIONS, [0.1, 0.5], api_name="/layer_curve")
    items = [Item.model_validate(question) for question in QUESTIONS]
    asked = SearchConfig(alphas=(0.1, 0.5), metric="accuracy", rule=ScoringConfig(early_norm=loaded.preset.early_norm))
    search = Search(loaded, items, asked, name="questions", sha256=last["data"]["sha256"])
    for _ in search.run():
        pass
    expected = search.result(errors=0).model_dump(mode="json", by_alias=True)
    assert last["type"] == "curve"
    assert last["curves"] == expected["curves"]
    assert last["chosen"] == expected["chosen"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"prompt": ""}, "The prompt is empty"),
        ({"prompt": "word " * 60}, "this page takes at most 40"),
        ({"prompt": PROMPT, "layer": 30}, "choose j* from 1 to 29"),
        ({"prompt": PROMPT, "max_new_tokens": 65}, "max_new_tokens must be a number from 1 to 64."),
        ({"prompt": PROMPT, "temperature": 2.5}, "temperature must be a number from 0 to 2."),
        ({"prompt": PROMPT, "num_beams": True}, "num_beams must be a number from 1 to 8."),
        ({"prompt": PROMPT, "num_beams": 2, "temperature": 1.0}, "Beam search does not sample"),
        ({"prompt": PROMPT, "chat": True}, "This model has no chat template; leave out chat."),
        ({"prompt": 5}, "prompt: must be a text."),
        ({"prompt": PROMPT, "lanes": ["fast"]}, "Lanes are written like plain,penalty=1.2"),
        ({"prompt": PROMPT, "lanes": ["static:30"]}, "choose j* from 1 to 29"),
        ({"prompt": PROMPT, "lanes": ["linear:30=1"]}, "of layers up to 29"),
        ({"prompt": PROMPT, "lanes": ["static:3,alpha=0.001"]}, "with alpha from 0.01"),
        ({"prompt": PROMPT, "lanes": ["plain"] * 5}, "at most 4"),
        ({"prompt": PROMPT, "lanes": []}, "Lanes are written like"),
        ({"prompt": PROMPT, "lanes": "plain"}, "Lanes are written like"),
        ({"prompt": PROMPT, "lanes": [{"kind": "plain"}]}, "Lanes are written like"),
    ],
)
def test_errors_arrive_as_errors_of_one_sentence(client, arguments, sentence):
    with pytest.raises(AppError, match=re.escape(sentence)) as refused:
        client.predict(**arguments, api_name="/compare")
    assert "\n" not in str(refused.value)


def test_memory_that_runs_out_is_reported_and_the_next_comparison_works(client, failing):
    with failing("memory"), pytest.raises(AppError, match="ran out of memory"):
        client.predict(PROMPT, api_name="/compare")
    *_, last = client.submit(PROMPT, max_new_tokens=2, api_name="/compare")
    assert last["ends"] == {"Baseline": "length", "DoLa-static": "length"}


def test_numbers_that_are_not_finite_end_a_comparison_with_what_it_has(client, failing):
    with failing("numbers"):
        *steps, last = client.submit(PROMPT, layer=12, max_new_tokens=9, api_name="/compare")
    assert last["halt"] == "broken"
    assert len(steps) == 3
    assert "broken" in last["ends"].values()


def test_a_run_in_the_queue_is_reported_and_so_is_a_full_queue(client, failing):
    with failing("hold"):
        first = client.submit(PROMPT, max_new_tokens=1, api_name="/compare")
        time.sleep(0.5)  # until it is inside the model
        second = client.submit(PROMPT, max_new_tokens=1, api_name="/compare")
        assert next(second) | {"seconds": None} == {"type": "waiting", "ahead": 1, "seconds": None}
        with pytest.raises(AppError, match="The queue is full, with 1 waiting"):
            client.predict(PROMPT, api_name="/compare")
    assert list(first)[-1]["type"] == list(second)[-1]["type"] == "trace"


def readme_example(url: str) -> str:
    """The README's code that asks a running page, for the page at `url`."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [code] = [code for code in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "Client(" in code]
    assert "http://127.0.0.1:7860" in code
    return code.replace("http://127.0.0.1:7860", url)


def test_the_example_in_the_readme_runs(faulty, capsys):
    exec(compile(readme_example(faulty.url), "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "1 {'Baseline': ' Canberra', 'DoLa-static': ' Canberra'}" in printed
    assert "'same':" in printed


@pytest.mark.parametrize(
    ("text", "instead", "sentence"),
    [
        ('"The capital of Australia is"', '""', "The prompt is empty; type something to complete."),
        ('"The capital of Australia is"', '"word " * 60', "this page takes at most 40. Shorten it."),
        ("layer=12", "layer=30", "The model has no layer 30 to contrast with; choose j* from 1 to 29."),
        ("layer=12", "layer=12, alpha=1.5", "alpha: must be at most 1."),
        ("layer=12", "layer=12, chat=True", "This model has no chat template; leave out chat."),
        ("max_new_tokens=12", "max_new_tokens=65", "max_new_tokens must be a number from 1 to 64."),
        ("step=1", "step=99", "step must be a number from 1 to "),
        ("layer=3,", "layer=30,", "layer must be a number from 1 to 29."),
        ("alpha=0.5", "alpha=0.001", "alpha must be a number from 0.01 to 1."),
        ('end["trace"]', '{"schema": 7}', "That trace has another version than this page reads"),
    ],
)
def test_the_example_in_the_readme_raises_for_a_mistake(faulty, text, instead, sentence):
    code = readme_example(faulty.url)
    assert code.count(text) == 1
    with pytest.raises(AppError, match=re.escape(sentence)) as refused:
        exec(compile(code.replace(text, instead), "README.md", "exec"), {})
    assert "\n" not in str(refused.value)


def test_the_example_in_the_readme_raises_where_a_run_fails(faulty, failing):
    with failing("memory"), pytest.raises(AppError, match="ran out of memory"):
        exec(compile(readme_example(faulty.url), "README.md", "exec"), {})
