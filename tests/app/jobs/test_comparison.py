import re
import time

import pytest

from app.inputs.examples import outcome
from app.inputs.known_model import KnownModel
from app.jobs import comparison
from app.jobs.comparison import ALL_UPDATES, UPDATES, run, run_on, text_interval
from app.jobs.request import ComparisonRequest, Limits, RequestError
from app.language import language
from dola_core.decoding.compiled.static_step import StaticStep
from dola_core.decoding.engine import Engine
from dola_core.decoding.scheduler import SCHEDULER
from dola_core.lanes import DolaStatic
from dola_core.trace.schema import Trace
from tests.app.looking import looking, settings_of

ASKED = {"prompt": "The capital of Japan is", "layer": 22, "alpha": 0.1, "decoding": {"max_new_tokens": 6}}


@pytest.mark.parametrize("prompt", ["", " \n\t "])
def test_a_blank_prompt_is_refused_with_what_to_do(engine, prompt):
    with pytest.raises(RequestError, match="The prompt is empty; type something"):
        list(run(engine, ComparisonRequest.of(**ASKED | {"prompt": prompt})))


@pytest.mark.parametrize("prompt", ["word " * 2000, "x" * 300_000])
def test_a_prompt_past_the_context_is_refused_with_its_length(engine, prompt):
    with pytest.raises(RequestError, match=r"The prompt has [\d,]+ (tokens|characters).*Shorten it"):
        list(run(engine, ComparisonRequest.of(**ASKED | {"prompt": prompt})))


@pytest.mark.parametrize(
    "asked",
    [
        {"prompt": ""},
        {"prompt": "word " * 2000},
        {"prompt": "x" * 300_000},
        {"layer": 30},
        {"decoding": {"num_beams": 2, "temperature": 1.0}},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_what_cannot_be_run_is_said_in_the_visitors_language_and_in_python_in_english(engine, asked):
    with pytest.raises(RequestError) as refused:
        list(run(engine, ComparisonRequest.of(**ASKED | asked)))
    assert re.search("[\u4e00-\u9fff]", refused.value.message(language("zh")))
    cause = refused.value.__cause__
    assert cause is None or str(refused.value) in str(cause)


@pytest.mark.parametrize(
    "prompt",
    ["مرحبا بالعالم", "😀👍🏽", "<script>alert(1)</script>", "${alert(1)} {{x}}", "\x00\x07\x1b[31m", "\ud800", "</s>"],
)
def test_any_text_is_completed(engine, prompt):
    *_, last = run(engine, ComparisonRequest.of(**ASKED | {"prompt": prompt}))
    assert all(last.trace.ends)
    assert Trace.model_validate_json(last.trace.to_json()).to_json() == last.trace.to_json()


@pytest.mark.parametrize(
    "asked",
    [
        {"layer": 0}, {"layer": 30}, {"layer": 2.5}, {"layer": "x"}, {"layer": None},
        {"alpha": 0.0}, {"alpha": 1.1}, {"alpha": float("nan")}, {"alpha": None},
        {"decoding": {"max_new_tokens": 0}}, {"decoding": {"top_p": 0.0}}, {"decoding": {"seed": -1}},
        {"decoding": {"temperature": float("inf")}}, {"decoding": {"num_beams": 2, "temperature": 1.0}},
        {"decoding": {"penalty_position": "between"}}, {"decoding": {"surprise": 1}}, {"prompt": 5},
    ],
)  # fmt: skip
def test_settings_out_of_range_end_in_one_sentence(engine, asked):
    with pytest.raises(RequestError) as refused:
        list(run(engine, ComparisonRequest.of(**ASKED | asked)))
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")


def test_the_stream_ends_with_a_finished_trace_and_grows_towards_it(engine):
    updates = list(run(engine, ComparisonRequest.of(**ASKED)))
    assert [u.finished for u in updates] == [False] * (len(updates) - 1) + [True]
    final = updates[-1].trace
    assert all(u.trace.steps == final.steps[: len(u.trace.steps)] for u in updates)
    assert None not in final.ends


def test_beams_are_searched_then_opened_step_by_step(compared, loaded):
    trace = compared("The capital of Japan is", decoding={"num_beams": 3, "max_new_tokens": 8})
    prompt = loaded.tokenizer("The capital of Japan is", return_tensors="pt")
    best = loaded.model.generate(**prompt, num_beams=3, do_sample=False, max_new_tokens=8)[0]
    written = best[prompt["input_ids"].shape[1] :].tolist()
    assert trace.lane_ids(0) == written


def test_closing_the_stream_in_the_middle_leaves_no_hook(engine, loaded):
    for decoding in ({"max_new_tokens": 6}, {"max_new_tokens": 6, "num_beams": 3}):
        stream = run(engine, ComparisonRequest.of(**ASKED | {"decoding": decoding}))
        next(stream), next(stream)
        stream.close()
        assert SCHEDULER.wait(10)
        assert not any(block._forward_hooks for block in loaded.readout.blocks)


def test_a_stop_string_ends_both_lanes(compared):
    trace = compared("The capital of Japan is", decoding={"stop": (".",), "max_new_tokens": 40})
    assert all("." in text for text, end in zip(trace.texts, trace.ends, strict=True) if end == "stop")
    assert "stop" in trace.ends


def test_stopping_marks_only_what_still_ran(engine):
    stream = run(engine, ComparisonRequest.of(**ASKED))
    trace = next(stream).trace.stopped()
    stream.close()
    assert trace.ends == ("stopped", "stopped")


@pytest.fixture(scope="module")
def shown(engine, loaded):
    """Every example's trace at the settings that the page starts with."""
    start = {"layer": loaded.preset.layer, "alpha": loaded.preset.alpha, "decoding": {"max_new_tokens": 24}}
    return {
        e: list(run(engine, ComparisonRequest.of(**start, prompt=e.prompt)))[-1].trace
        for e in KnownModel.of(loaded.info).examples
    }


def test_every_example_is_labelled_as_what_it_is(shown):
    for example, trace in shown.items():
        assert outcome(*trace.texts, example.answer) == example.outcome, (example.prompt, trace.texts)


def test_the_examples_include_mended_harmed_and_unchanged_ones(shown):
    assert {"mended", "harmed", "right in both"} <= {example.outcome for example in shown}
    assert any(trace.texts[0] == trace.texts[1] for trace in shown.values())


def test_a_quarter_of_the_examples_fork(shown):
    assert sum(trace.fork is not None for trace in shown.values()) >= 0.25 * len(shown)


@pytest.mark.parametrize("decoding", [{}, {"temperature": 1.0, "seed": 7}], ids=["greedy", "sampled"])
def test_going_on_from_a_step_with_the_same_settings_writes_the_same(engine, compared, decoding):
    trace = compared(layer=12, alpha=0.01, decoding={"max_new_tokens": 12} | decoding)
    for lane in (0, 1):
        for index in (0, len(trace.lane_ids(lane)) // 2):
            view = looking(trace, index, lane=lane)
            on = list(run_on(engine, trace, **settings_of(view), limits=Limits(12)))[-1].trace
            rest = trace.lane_ids(lane)[index:]
            assert on.lane_ids(lane)[: len(rest)] == rest
            assert on.prompt_ids == (*trace.prompt_ids, *trace.lane_ids(lane)[:index])


def test_going_on_does_not_read_again_what_was_read_and_a_new_run_reads_all(engine, loaded):
    asked = ComparisonRequest.of(prompt="Here are some facts", layer=12, alpha=0.1, decoding={"max_new_tokens": 6})
    read = []
    hook = loaded.readout.decoder.register_forward_hook(lambda module, inputs, output: read.append(output[0].shape[1]))
    try:
        for _ in range(2):
            read.clear()
            *_, last = run(engine, asked)
            assert read[0] == len(last.trace.prompt_ids)
        read.clear()
        list(run_on(engine, last.trace, **settings_of(looking(last.trace, 3)), limits=Limits(6)))
        assert read[0] == 1
    finally:
        hook.remove()


def test_going_on_with_other_settings_writes_what_the_what_if_said(engine, compared):
    trace = compared(layer=12, alpha=0.01, decoding={"max_new_tokens": 12})
    for step in trace.lane_steps(1):
        for layer, alpha in ((3, 0.5), (28, 0.1)):
            if alpha >= step.exact_alpha:
                view = looking(trace, step.index, layer=layer, alpha=alpha)
                on = list(run_on(engine, trace, **settings_of(view), limits=Limits(1)))[-1].trace
                assert on.lane_ids(1) == [step.what_if(DolaStatic(layer=layer, alpha=alpha), trace.decoding)]


def test_a_forced_token_is_read_as_part_of_the_prompt(engine, loaded, compared):
    trace = compared()
    view = looking(trace, 1)
    other = int(trace.lane_steps(1)[1].tokens[3])
    on = list(run_on(engine, trace, **settings_of(view), token=other, limits=Limits(3)))[-1].trace
    assert on.prompt_ids == (*trace.prompt_ids, trace.lane_ids(1)[0], other)
    assert on.prompt.endswith(loaded.piece(other))
    assert len(on.lane_ids(0)) <= 3


OTHER_WEIGHTS, OTHER_TEXT = "0" * 24, "0" * 16


def identity_of(model, *, weights=None, text=None):
    ours = model.identity.split("-")
    return f"{weights or ours[0]}-{text or ours[1]}"


@pytest.mark.parametrize(
    ("changes", "identity", "said"),
    [
        ({"name": "other"}, {"weights": OTHER_WEIGHTS}, "is of the model other"),
        ({}, {"weights": OTHER_WEIGHTS}, "with other weights of"),
        ({}, {"text": OTHER_TEXT}, "with another tokenizer or chat template of"),
        ({}, {"weights": OTHER_WEIGHTS, "text": OTHER_TEXT}, "with other weights of"),
        ({"name": "other"}, None, "is of the model other"),
        ({"vocab_size": 7000}, None, "is of the model"),
    ],
)
def test_another_models_trace_cannot_be_gone_on_from(engine, compared, changes, identity, said):
    trace = compared()
    changes = changes | {"identity": None if identity is None else identity_of(trace.model, **identity)}
    foreign = trace.model_copy(update={"model": trace.model.model_copy(update=changes)})
    with pytest.raises(RequestError, match=said):
        next(run_on(engine, foreign, **settings_of(looking(foreign, 0)), limits=Limits(3)))


@pytest.mark.parametrize("changes", [{"identity": None}, {"name": "a copy in another folder"}, {"dtype": "bfloat16"}])
def test_a_trace_of_the_same_model_can_be_gone_on_from(engine, compared, changes):
    """Of an earlier version that recorded no identity, under another name, or in another dtype."""
    trace = compared()
    same = trace.model_copy(update={"model": trace.model.model_copy(update=changes)})
    assert next(run_on(engine, same, **settings_of(looking(same, 0)), limits=Limits(3)))


def test_a_compiled_engine_runs_in_its_static_step(engine, loaded):
    steps = []

    def counted(step):
        def run_step(*inputs):
            steps.append(inputs)
            return step(*inputs)

        return run_step

    compiled = Engine(loaded)
    compiled.static_step = StaticStep(loaded.readout, rows=2, length=64, compiler=counted)
    *_, plain = run(engine, ComparisonRequest.of(**ASKED))
    *_, fixed = run(compiled, ComparisonRequest.of(**ASKED))
    assert fixed.trace.texts == plain.trace.texts
    assert len(steps) == max(len(plain.trace.lane_steps(lane)) for lane in (0, 1)) - 1


@pytest.mark.parametrize("running", range(40))
def test_texts_are_shown_often_but_not_more_often_in_all_than_the_interpreter_can_bear(running):
    shown = 1 / text_interval(running)
    assert 0 < shown <= UPDATES
    assert shown * running <= ALL_UPDATES + 1e-9
    assert shown == UPDATES or shown * running >= ALL_UPDATES - 1e-9


@pytest.mark.parametrize("running", [1, 1000])
def test_the_first_token_is_shown_at_once_however_many_runs_there_are(engine, monkeypatch, running):
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    monkeypatch.setattr(Engine, "running", running)
    *updates, last = run(engine, ComparisonRequest.of(**ASKED))
    shown = [len(update.trace.lane_ids(0)) for update in updates]
    assert shown == [0, 1], "others come too soon, as the clock stands still"
    assert len(last.trace.lane_ids(0)) > 1


def test_the_texts_do_not_wait_for_their_steps(engine, monkeypatch):
    """They are complete while their steps are still recorded, which is said."""
    monkeypatch.setattr(comparison, "text_interval", lambda running: -1.0)
    *updates, last = run(engine, ComparisonRequest.of(**ASKED))
    traces = [(update, update.trace) for update in updates if update.trace.digest == last.trace.digest]
    ahead = [update for update, trace in traces if len(trace.steps) < len(last.trace.steps)]
    assert all(update.trace.intact() for update in ahead)
    assert ahead
    assert {update.note for update in ahead[1:]} == {"page.recording"}
    left = [update.values["left"] for update in ahead]
    assert left == sorted(left, reverse=True)
    assert last.finished


def test_who_wants_the_steps_with_the_text_gets_them(engine, monkeypatch):
    monkeypatch.setattr(comparison, "text_interval", lambda running: -1.0)
    for update in run(engine, ComparisonRequest.of(**ASKED), text_first=False):
        for lane in range(2):
            assert len(update.trace.lane_ids(lane)) == len(update.trace.lane_steps(lane))
