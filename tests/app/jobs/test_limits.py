"""What bounds a run beside what was asked for: length, time, a stop, and what a host can set."""

import re
import time

import pytest
import torch

from app.jobs.comparison import CHUNK, run, run_on
from app.jobs.request import ComparisonRequest, Limits, RequestError
from app.language import language
from app.settings import Settings, read_settings
from tests.app.looking import looking, settings_of

ASKED = {"prompt": "Here are some facts about gold and silver.", "layer": 22, "alpha": 0.1}


def requested(**decoding) -> ComparisonRequest:
    return ComparisonRequest.of(**ASKED, decoding={"max_new_tokens": 12} | decoding)


def steps_of(update) -> list[str]:
    return [step.model_dump_json() for step in update.trace.steps]


def test_a_prompt_may_be_as_long_as_the_page_allows_and_no_longer(engine, loaded):
    size = len(loaded.encode(ASKED["prompt"]))
    *_, last = run(engine, requested(), Limits(prompt_tokens=size))
    assert last.finished
    with pytest.raises(
        RequestError, match=f"The prompt has {size} tokens; this page takes at most {size - 1}"
    ) as refused:
        list(run(engine, requested(), Limits(prompt_tokens=size - 1)))
    assert re.search("[\u4e00-\u9fff]", refused.value.message(language("zh")))


def test_what_was_written_here_can_be_gone_on_from_though_it_is_longer(engine, compared):
    trace = compared(ASKED["prompt"])
    limits = Limits(12, len(trace.prompt_ids))
    view = looking(trace, 3)
    *_, last = run_on(engine, trace, **settings_of(view), limits=limits)
    assert last.finished
    with pytest.raises(RequestError, match="this page takes at most"):
        list(run_on(engine, trace, **settings_of(view), limits=Limits(2, prompt_tokens=1)))


@pytest.mark.parametrize("decoding", [{}, {"num_beams": 3}], ids=["greedy", "beams"])
def test_time_that_is_up_ends_a_run_with_what_it_has(engine, decoding, monkeypatch):
    now = [0.0]

    def tick() -> float:
        now[0] += 1.0
        return now[0]

    monkeypatch.setattr(time, "monotonic", tick)
    *_, last = run(engine, requested(**decoding), Limits(seconds=6))
    assert last.halt == "time"
    assert not last.finished
    assert last.trace.ends == ("time", "time")
    if not decoding:
        *_, whole = run(engine, requested(), Limits())
        assert 0 < len(last.trace.steps) < len(whole.trace.steps)
        assert steps_of(last) == steps_of(whole)[: len(last.trace.steps)]


def test_a_run_can_be_cancelled_at_every_step(engine):
    *_, whole = run(engine, requested())
    for after in (1, 3):
        asked = []

        def cancelled(asked=asked, after=after) -> bool:
            asked.append(1)
            return len(asked) >= after

        *_, last = run(engine, requested(), cancelled=cancelled)
        assert last.halt == "stopped"
        assert len(last.trace.lane_ids(0)) == after
        assert steps_of(last) == steps_of(whole)[: len(last.trace.steps)]
        assert last.trace.ends == ("stopped", "stopped")


def test_a_long_prompt_is_cancelled_between_its_chunks(engine, loaded):
    read = []
    hook = loaded.readout.decoder.register_forward_hook(lambda module, inputs, output: read.append(output[0].shape[1]))
    try:
        request = ComparisonRequest.of(**ASKED | {"prompt": "gold and silver " * 120}, decoding={"max_new_tokens": 4})
        notes = []
        for update in run(engine, request, cancelled=lambda: len(read) == 1):
            notes.append(update.note)
    finally:
        hook.remove()
    assert read == [CHUNK]
    assert update.halt == "stopped"
    assert notes[0] == "page.reading"


def test_reading_a_long_prompt_says_how_far_it_is(engine, loaded):
    request = ComparisonRequest.of(**ASKED | {"prompt": "gold and silver " * 120}, decoding={"max_new_tokens": 1})
    size = len(loaded.encode(request.prompt))
    assert size > CHUNK
    told = [update.values for update in run(engine, request) if update.note == "page.reading_on"]
    assert told == [{"read": CHUNK * (number + 1), "of": size} for number in range(len(told))]
    assert told


def test_numbers_that_are_none_end_a_run_with_what_it_has(engine, loaded):
    calls = []

    def spoil(_module, _inputs, output):
        calls.append(1)
        return output * float("nan") if len(calls) > 4 else output

    hook = loaded.readout.blocks[3].input_layernorm.register_forward_hook(spoil)
    try:
        *_, last = run(engine, requested())
    finally:
        hook.remove()
    assert last.halt == "broken"
    assert last.trace.ends == ("broken", "broken")
    assert len(last.trace.lane_ids(0)) == 4


def test_memory_that_runs_out_can_be_given_back(engine, loaded):
    def run_out(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    hook = loaded.readout.blocks[9].register_forward_hook(run_out)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            list(run(engine, requested()))
    finally:
        hook.remove()
    engine.release()
    *_, last = run(engine, requested())
    assert last.finished


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--max-rows", "0"], "max-rows: must be at least 1"),
        (["--max-rows", "257"], "max-rows: must be at most 256"),
        (["--queue-size", "-1"], "queue-size"),
        (["--time-limit", "0"], "time-limit"),
        (["--time-limit", "nan"], "time-limit"),
        (["--max-prompt-tokens", "0"], "max-prompt-tokens"),
        (["--compile", "--device", "split"], "leave out --device split"),
    ],
)
def test_limits_that_are_none_are_refused_with_a_sentence(arguments, said, capsys):
    with pytest.raises(SystemExit) as refused:
        read_settings(arguments)
    assert refused.value.code == 2
    assert said in capsys.readouterr().err


def test_limits_come_from_the_environment_as_well(monkeypatch):
    for name, value in (
        ("TIME_LIMIT", "30"),
        ("MAX_PROMPT_TOKENS", "99"),
        ("QUEUE_SIZE", "3"),
        ("MAX_ROWS", "2"),
    ):
        monkeypatch.setenv(f"DOLA_{name}", value)
    settings = Settings(_cli_parse_args=False)
    assert (settings.time_limit, settings.max_prompt_tokens, settings.queue_size, settings.max_rows) == (
        30,
        99,
        3,
        2,
    )
