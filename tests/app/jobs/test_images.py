"""A run with an image: checked, traced with a hash, run on from, and offered by the API."""

import base64
from dataclasses import replace
from io import BytesIO

import gradio as gr
import pytest
from PIL import Image

from app.jobs.comparison import run, run_on
from app.jobs.model_pool import ModelFacts
from app.jobs.request import ComparisonRequest, Limits, RequestError
from app.language import CODES, language
from app.render.figures import heat_card, layer_card, map_card, plausible_head_card
from app.render.inspection import Inspection
from app.render.token_strips import token_strips
from app.sharing import link
from app.toolbar.open_handlers import OpenHandlers
from dola_core.decoding.engine import Engine
from dola_core.errors import PROMPT_ERRORS
from dola_core.models.images.image_file import prompt_image
from dola_core.models.loading import load_model
from dola_core.trace.schema import Trace
from tests.app.acting import Page, holder
from tests.app.conftest import laid_out
from tests.app.looking import looking, settings_of
from tests.dola_core.models.images.cases import loaded
from tests.dola_core.models.images.families import picture

ASKED = {"prompt": "What is this?", "layer": 12, "alpha": 0.1, "decoding": {"max_new_tokens": 5}}
THREE = [{"kind": "plain"}, {"kind": "static", "layer": 12, "alpha": 0.5}, {"kind": "plain", "image": False}]


def data_url(image: Image.Image | None = None, **how) -> str:
    file = BytesIO()
    (image or picture(1)).save(file, "PNG", **how)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(loaded("llava"))


def ran(engine: Engine, **asked) -> Trace:
    *_, last = run(engine, ComparisonRequest.of(**ASKED | {"image": data_url()} | asked))
    return last.trace


@pytest.fixture(scope="module")
def trace(engine) -> Trace:
    return ran(engine, lanes=THREE)


def test_the_trace_holds_the_hash_and_a_small_picture_and_is_read_again(trace):
    (image,) = trace.images
    assert (image.width, image.height) == picture(1).size
    small = Image.open(BytesIO(base64.b64decode(image.thumbnail)))
    assert small.format == "JPEG"
    again = Trace.model_validate_json(trace.to_json())
    assert again.images == trace.images
    assert again.image_span == trace.image_span
    first, end = trace.image_span
    assert {trace.pieces[token] for token in trace.prompt_ids[first:end]} == {"<image>"}


def test_a_thumbnail_can_be_left_out(engine):
    trace = ran(engine, thumbnail=False)
    assert trace.images[0].thumbnail is None
    assert "thumbnail" not in trace.to_json()
    assert trace.images[0].sha256 == ran(engine).images[0].sha256


def test_a_lane_without_the_image_is_read_beside_the_others_at_every_step(trace):
    assert [reading.image for reading in trace.readings] == [True, False]
    for lane in range(3):
        steps = trace.lane_steps(lane)
        assert [step.index for step in steps] == list(range(5))
        for step in steps:
            assert trace.what_if_at(step, trace.lanes[1]) == step.choices[1].id
            for plain in (0, 2):
                assert trace.step_for(step, trace.lanes[plain]).tokens[0] == step.choices[plain].id
    assert any(step.choices[0].id != step.choices[2].id for step in trace.lane_steps(0))


def test_a_lane_without_the_image_needs_one(engine):
    with pytest.raises(RequestError) as refused:
        ran(engine, image="", lanes=THREE)
    assert refused.value.key == "error.prompt_image_missing"
    assert not ran(engine, image="").images


def test_what_the_charts_say_of_a_step_is_read_as_the_lane_looked_at_sees(trace):
    """The last layer's probability of a lane's own token, in words, on the chart and in the heatmap: one number."""
    for lane in (0, 2):
        inspection = Inspection.of(trace, replace(looking(trace, 1), lane=lane))
        own = trace.lane_steps(lane)[1]
        assert inspection.focus_step.layer_entropy.tolist() == own.layer_entropy.tolist()
        assert inspection.focus_lane.image == inspection.varied.image == trace.lanes[lane].image
        cards = [plausible_head_card(inspection), layer_card(inspection), map_card(inspection)]
        cards.append(heat_card(inspection, lane))
        for card in cards:
            assert ("without the image" in card["sub"]) == (lane == 2)
            assert ("without the image" in card["alt"]) == (lane == 2)


def test_a_text_does_not_go_on_behind_another_image_of_the_models_own(engine, trace):
    mark = engine.loaded.tokenizer.convert_tokens_to_ids("<image>")
    asked = settings_of(looking(trace, 1)) | {"token": mark}
    with pytest.raises(RequestError) as refused:
        list(run_on(engine, trace, **asked, image=data_url(), limits=Limits(3)))
    assert refused.value.key == "error.image_written"


def test_an_opened_trace_says_that_its_image_is_not_there(engine, trace):
    page = Page(engine)
    (opening,) = {holder(f) for f in page.functions if isinstance(holder(f), OpenHandlers)}
    values = {part: getattr(part, "value", None) for part in opening.inspector.inputs | opening.controls.inputs}
    values |= {opening.model: next(iter(opening.pool.titles)), opening.inspector.language: "en"}
    changes = opening.show(values, trace, "opened")
    assert "put the same image there" in str([change for change in changes.values() if isinstance(change, dict)])


def seen(trace: Trace) -> Inspection:
    inspection = Inspection.of(trace, looking(trace, 0))
    assert inspection is not None
    return inspection


def gone_on(engine, trace, index, image):
    *_, last = run_on(engine, trace, **settings_of(looking(trace, index)), image=image, limits=Limits(3))
    return last.trace


@pytest.mark.parametrize("chat", [False, True], ids=["complete", "chat"])
def test_a_run_goes_on_from_a_step_with_the_same_image_alone(engine, chat):
    trace = ran(engine, chat=chat)
    on = gone_on(engine, trace, 2, data_url())
    assert on.prompt_ids == (*trace.prompt_ids, *trace.lane_ids(1)[:2])
    assert (on.images, on.image_span, on.prompt) == (trace.images, trace.image_span, "What is this?")
    assert on.lane_ids(1) == trace.lane_ids(1)[2:], "it goes on as it went on"
    further = gone_on(engine, on, 1, data_url())
    assert further.begun == engine.loaded.text(trace.lane_ids(1)[:2]) + engine.loaded.text(on.lane_ids(1)[:1])
    for other in ("", data_url(picture(2))):
        with pytest.raises(RequestError) as refused:
            gone_on(engine, trace, 2, other)
        assert refused.value.key == "error.image_again"


def test_what_is_kept_of_one_image_is_not_taken_for_another(engine):
    """Two prompts with the same ids and other images must not share what is cached of them."""
    first, second = ran(engine), ran(engine, image=data_url(picture(2)))
    assert first.prompt_ids == second.prompt_ids
    gone_on(engine, first, 2, data_url())  # leaves its cache for the next
    on = gone_on(engine, second, 2, data_url(picture(2)))
    assert on.lane_ids(1) == second.lane_ids(1)[2:]
    assert first.digest != second.digest


@pytest.mark.parametrize(
    ("image", "key"),
    [
        ("https://example.org/a.png", "image_url"),
        ("data:image/png;base64,AAAA", "image_format"),
        ("data:image/png;base64,aé==", "image_url"),
        (data_url(Image.new("RGB", (60, 1))), "image_shape"),
        (data_url()[:-400], "image_damaged"),
        ("data:image/svg+xml;base64," + base64.b64encode(b"<svg/>").decode(), "image_format"),
    ],
)
def test_what_is_no_image_is_refused_in_both_languages(engine, image, key):
    with pytest.raises(RequestError) as refused:
        ran(engine, image=image)
    assert refused.value.key == f"error.prompt_{key}"
    for code in CODES:
        assert refused.value.message(language(code))


def test_every_refusal_of_an_image_has_its_words():
    for kind in PROMPT_ERRORS:
        for code in CODES:
            values = {"size": 1, "most": 2, "texts": "x", "reason": "y"}
            assert language(code)(f"error.prompt_{kind}", **values)


def test_a_model_without_eyes_says_so():
    with pytest.raises(RequestError) as refused:
        ran(Engine(load_model(device="cpu", dtype="float32")))
    assert refused.value.key == "error.prompt_images"


def test_a_look_at_the_request_does_not_show_the_image():
    assert "base64" not in repr(ComparisonRequest.of(**ASKED, image=data_url()))


def test_texts_are_counted_twice_where_they_are_read_twice():
    assert ComparisonRequest.of(**ASKED, image=data_url(), lanes=THREE).rows == 6
    assert ComparisonRequest.of(**ASKED, image=data_url()).rows == 2
    assert ComparisonRequest.of(**ASKED, lanes=THREE).rows == 3


def test_the_strips_fold_the_image_into_its_small_picture(trace, engine):
    strips = token_strips(seen(trace))
    (image,) = strips["images"]
    assert image["url"].startswith("data:image/jpeg;base64,/9j/")
    (fold,) = [part for part in strips["folded"] if part["images"]]
    first, end = trace.image_span
    assert fold["from"] == first
    assert fold["to"] == first + 1, "all of the image is one entry"
    assert len(strips["prompt"]) == len(trace.prompt_ids) - (end - first) + 1
    own = [piece["plain"] for piece in strips["prompt"][slice(*strips["own"])]]
    assert "".join(own).strip() == "What is this?"
    bare = token_strips(seen(ran(engine, thumbnail=False)))["images"]
    assert bare[0]["url"] is None
    assert "40 × 28" in bare[0]["text"]


def test_a_link_says_that_there_was_an_image_and_does_not_hold_it(engine, trace):
    facts = ModelFacts.of("llava", engine)
    settings = {name: getattr(laid_out(facts), name).value for name in link.NAMES.values()}
    settings |= {"lanes": ("plain", "static:12,alpha=0.1", "plain,image=off")}
    query = link.query(settings, facts, step=1, digest=trace.digest, image=True)
    assert "image=1" in query
    assert "image=1" not in link.query(settings, facts, step=1, digest=trace.digest)
    assert len(query) < 1000


def test_the_api_takes_an_image_and_bounds_it(engine):
    page, asked = Page(engine), {"max_new_tokens": 4, "layer": 12}
    *_, last = page.endpoint("compare", "What is this?", **asked)
    assert "images" not in last["trace"]
    *_, last = page.endpoint("compare", "What is this?", **asked, image=data_url(), thumbnail=False)
    assert last["trace"]["images"] == [
        {"sha256": prompt_image(picture(1)).sha256, "width": 40, "height": 28},
    ]
    lanes = ["plain", "plain,image=off"]
    *_, last = page.endpoint("compare", "What is this?", **asked, image=data_url(), lanes=lanes)
    assert [lane.get("image", True) for lane in last["trace"]["lanes"]] == [True, False]
    for image, said in (
        ("x", "no data URL"),
        (7, "image: must be a text"),
        ("data:image/png;base64," + "A" * 12_000_000, "image: must have at most 11,000,000 characters"),
        (data_url()[:-400], "damaged or cut off"),
    ):
        with pytest.raises(gr.Error, match=said):
            page.endpoint("compare", "What is this?", **asked, image=image)
