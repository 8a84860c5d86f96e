"""What a trace says of the images in its prompt, and what no document may say of them."""

import base64
from io import BytesIO

import pytest
from PIL import Image
from pydantic import ValidationError

from dola_core.comparison import Comparison
from dola_core.errors import PromptError
from dola_core.lanes import (
    Baseline,
    DecodingConfig,
    DolaDynamic,
    DolaStatic,
    Lane,
    LinearContrast,
    distinct_names,
    lane_text,
    parse_lane,
)
from dola_core.models.images.image_file import prompt_image
from dola_core.trace.images import TraceImage
from dola_core.trace.recorder import Recorder
from dola_core.trace.schema import Trace, recorded_readings
from tests.dola_core.models.images.cases import case
from tests.dola_core.models.images.families import picture

GREEDY = DecodingConfig(max_new_tokens=3)


def trace_of(*lanes: Lane) -> Trace:
    one = case("llava")
    comparison = one.engine.fitted(one.comparison(lanes, GREEDY))
    recorder = Recorder(comparison, one.engine.loaded.info)
    for output in one.engine.compare(comparison):
        recorder.add(output.tokens, output.ends, output.steps)
    return recorder.trace(str, lambda ids: " ".join(map(str, ids)))


@pytest.fixture(scope="module")
def trace() -> Trace:
    return trace_of(Baseline(), DolaStatic(layer=12, image=False))


def test_it_comes_back_from_json_as_it_was(trace):
    again = Trace.model_validate_json(trace.to_json())
    assert again.to_json() == trace.to_json()
    assert again.lanes == trace.lanes
    assert again.readings == trace.readings


def test_a_step_of_a_reading_that_no_lane_has_is_refused(trace):
    document = trace.model_dump(by_alias=True)
    more = {**document["steps"][-1], "reading": len(trace.readings)}
    with pytest.raises(ValidationError, match="a step is of a reading that no lane has"):
        Trace.model_validate(document | {"steps": [*document["steps"], more]})


def test_a_trace_without_images_says_nothing_of_them(trace):
    document = trace.model_dump(by_alias=True)
    for gone in ("images", "image_span"):
        document.pop(gone)
    document["lanes"] = [{**lane, "image": True} for lane in document["lanes"]]
    document["steps"] = [step for step in document["steps"] if step.get("reading", 0) == 0]
    text = Trace.model_validate(document).to_json()
    assert '"image' not in text


@pytest.mark.parametrize(
    "change",
    [
        {"images": []},
        {"image_span": None},
        {"image_span": [5, 5]},
        {"image_span": [-1, 5]},
        {"image_span": [3, 10_000]},
        {"image_span": [3]},
    ],
    ids=str,
)
def test_images_and_their_place_belong_together(trace, change):
    with pytest.raises(ValidationError):
        Trace.model_validate(trace.model_dump(by_alias=True) | change)


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "x" * 64},
        {"width": 0},
        {"height": 1 << 40},
        {"thumbnail": "PHN2Zz4="},
        {"thumbnail": "/9j/" + "A" * 50_000},
        {"thumbnail": "javascript:alert(1)"},
        {"thumbnail": '/9j/A" onerror=alert(1) x="'},
        {"thumbnail": "data:image/jpeg;base64,/9j/"},
        {"name": "cat.png"},
    ],
    ids=str,
)
def test_a_forged_image_is_refused(trace, change):
    document = trace.images[0].model_dump() | change
    with pytest.raises(ValidationError):
        TraceImage.model_validate(document)


def test_a_small_picture_is_a_jpeg_and_can_be_left_out():
    kept = TraceImage.of(prompt_image(picture(1)), thumbnail=True)
    assert Image.open(BytesIO(base64.b64decode(kept.thumbnail))).format == "JPEG"
    assert "thumbnail" not in TraceImage.of(prompt_image(picture(1)), thumbnail=False).model_dump_json()


@pytest.mark.parametrize(
    ("lanes", "expected"),
    [
        (["plain"], [True]),
        (["plain", "plain,image=off"], [True, False]),
        (["plain,image=off"], [False]),
        (["plain", "static:12", "plain,image=off"], [True, False]),
        (["plain", "static:12,image=off"], [True, False]),
        (["static:12,image=off", "static:22"], [False, True]),
        (["plain,image=off", "plain,penalty=1.3,image=off"], [False]),
    ],
    ids=str,
)
def test_every_way_of_seeing_is_recorded_once(lanes, expected):
    readings = recorded_readings([parse_lane(text) for text in lanes], DecodingConfig())
    assert [reading.image for reading in readings] == expected


def test_a_plain_lane_looks_at_steps_that_see_what_it_sees():
    """Its own penalty is that of no lane that contrasts layers, so that its own reading is not recorded."""
    unseen = DolaStatic(layer=12, image=False)
    plain, plain_unseen = Baseline(repetition_penalty=1.2), Baseline(repetition_penalty=1.2, image=False)
    trace = trace_of(unseen, DolaStatic(layer=22), plain, plain_unseen)
    assert [trace.readings[trace.reading_of(lane)].image for lane in trace.lanes] == [False, True, True, False]
    for number in range(4):
        assert [step.index for step in trace.lane_steps(number)] == [0, 1, 2]


@pytest.mark.parametrize(
    "lane",
    [
        Baseline(image=False),
        DolaStatic(layer=3, image=False),
        DolaDynamic(bucket="high", image=False, repetition_penalty=1.1),
        LinearContrast(weights={2: -0.5}, image=False),
    ],
    ids=lane_text,
)
def test_a_lane_without_the_image_has_a_text(lane):
    assert "image=off" in lane_text(lane)
    assert parse_lane(lane_text(lane)) == lane
    assert lane.called == f"{lane.name} without the image"
    assert distinct_names([lane]) == [lane.called]
    assert lane.model_copy(update={"name": "mine"}).called == "mine"
    assert '"image":false' in lane.model_dump_json()
    assert "image" not in lane.model_copy(update={"image": True}).model_dump()


def test_a_lane_without_the_image_needs_one():
    one = case("llava")
    comparison = Comparison("p", (4, 5, 6), (Baseline(image=False),), GREEDY)
    with pytest.raises(PromptError, match="needs an image before the prompt"):
        one.engine.fitted(comparison)
