"""Many prompts of one visitor: a row for each, in turn with others, and what is kept of it."""

import pytest

from app.jobs import many_prompts
from app.jobs.comparison import run
from app.jobs.engine_pool import EnginePool
from app.jobs.host import Host
from app.jobs.many_prompts import PromptProgress, PromptResult, run_many
from app.jobs.queue.run_queue import RunQueue, Waiting
from app.jobs.queue.visitor import Visitor
from app.jobs.request import ComparisonRequest, Limits
from app.language import ENGLISH
from dola_core.lanes import Baseline, DolaStatic
from dola_core.many_prompts.rows import settings_digest

LANES = (Baseline(), DolaStatic(layer=12, alpha=0.01))
VISITOR = Visitor("one", "1.2.3.4")


def asked(prompt: str) -> ComparisonRequest:
    return ComparisonRequest.of(prompt=prompt, lanes=LANES, decoding={"max_new_tokens": 12})


@pytest.fixture
def host(engine) -> Host:
    return Host(EnginePool.of(engine), RunQueue(1, 4), Limits())


def results(host: Host, prompts: list[str], cancelled=lambda: False) -> list[PromptResult]:
    requests = [asked(prompt) for prompt in prompts]
    updates = run_many(host, VISITOR, host.pool.first.name, requests, cancelled, ENGLISH)
    return [update for update in updates if isinstance(update, PromptResult)]


def test_each_row_is_what_the_prompt_gives_alone_and_opens_its_trace(host, engine):
    prompts = ["The capital of Australia is", "", "The largest city of Kenya is"]
    found = results(host, prompts)
    assert [result.row.number for result in found] == [1, 2, 3]
    assert [bool(result.row.error) for result in found] == [False, True, False]
    assert found[1].trace() is None
    for result, prompt in zip(found, prompts, strict=True):
        if prompt:
            *_, last = run(engine, asked(prompt))
            assert result.trace().to_json() == last.trace.to_json()
            assert tuple(result.row.texts.values()) == last.trace.texts
            assert result.row.digest == last.trace.digest
            trace = last.trace
            assert result.row.settings == settings_digest(engine.loaded.info, trace.lanes, trace.decoding, chat=False)


def test_another_visitor_who_came_meanwhile_is_served_between_two_prompts(host):
    model, said = host.pool.first.name, []

    def one(engine, cancelled):
        said.append("other")
        yield "other"

    requests = [asked("The capital of Australia is"), asked("The largest city of Kenya is")]
    many = run_many(host, VISITOR, model, requests, lambda: False, ENGLISH)
    assert isinstance(next(many), PromptProgress)
    other = host.in_turn(Visitor("two", "5.6.7.8"), model, one)
    assert isinstance(next(other), Waiting)
    first = next(update for update in many if isinstance(update, PromptResult))
    assert first.row.number == 1
    assert isinstance(next(many), Waiting)
    assert list(other)[-1] == "other"
    assert [update.row.number for update in many if isinstance(update, PromptResult)] == [2]
    assert said == ["other"]


def test_what_is_cancelled_has_no_row_and_the_rest_is_not_begun(host):
    seen = []

    def cancelled() -> bool:
        seen.append(1)
        return len(seen) > 8

    found = results(host, ["The capital of Australia is"] * 5, cancelled)
    assert len(found) < 2


def test_no_more_traces_are_kept_than_there_is_room_for(host, monkeypatch):
    monkeypatch.setattr(many_prompts, "KEPT", 1)
    [result] = results(host, ["The capital of Australia is"])
    assert result.row.texts
    assert result.trace() is None
