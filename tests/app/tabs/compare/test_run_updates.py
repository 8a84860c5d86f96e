"""When the charts of a run open, and what comes after them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr
import pytest

from app.inputs.trace_file import read_trace
from app.jobs import comparison
from app.language import ENGLISH
from app.render.inspection import Inspection
from app.render.view_state import View
from app.sharing.link import SharedLink
from app.tabs.compare.navigation import to_token
from app.tabs.compare.run_handlers import RunHandlers
from app.toolbar import open_handlers
from app.toolbar.components import SAVES
from app.ui.events import Changes
from dola_core.decoding.late_record import LateRecord
from dola_core.decoding.lockstep import _is_finite
from tests.app.acting import VISITOR, Page


@pytest.fixture(scope="module")
def page(engine) -> Page:
    return Page(engine)


@pytest.fixture
def on(page) -> RunHandlers:
    return page.handler("compare")[1]


@pytest.fixture(autouse=True)
def every_update(monkeypatch) -> None:
    monkeypatch.setattr(comparison, "text_interval", lambda running: -1.0)


def compared(page: Page, on: RunHandlers, **more: object) -> list[Changes]:
    """What Compare changes on the page."""
    values = {"controls.prompt": "The capital of Australia is", "controls.max_new_tokens": 40}
    return page.run("compare", "en", values | more)


def opening(on: RunHandlers, changes: list[Changes]) -> int:
    """Which of the changes opens the charts."""
    (first, *others) = [number for number, change in enumerate(changes) if on.inspector.layers in change]
    assert not others, "they are drawn once; what comes later must not undo what the visitor does meanwhile"
    return first


def test_the_charts_open_before_all_steps_are_recorded(page, on):
    inspector, changes = on.inspector, compared(page, on)
    number = opening(on, changes)
    opened, trace = changes[number], changes[-1][inspector.trace]
    early = opened[inspector.trace]
    assert len(early.steps) < len(trace.steps)
    assert trace.fork is not None
    assert opened[inspector.step] == trace.fork + 1
    lanes = opened[inspector.lanes]["lanes"]
    texts = [trace.lane_ids(lane) for lane in range(2)]
    assert [len(lane["tokens"]) for lane in lanes] == [*map(len, texts)], "the whole texts are shown"
    assert [lane["fork"] for lane in lanes] == [trace.fork] * 2
    assert early.digest == trace.digest
    assert early.intact()
    assert not any(on.inspector.drawn_parts & change.keys() for change in changes[number + 1 :])
    assert opened[inspector.bar]["differ"].endswith("so far")
    assert opened[inspector.notice] is None, "what is looked at would be moved when it goes"
    assert not any(change.get(inspector.notice) for change in changes[number:])


def test_when_all_steps_are_there_the_charts_are_drawn_as_the_visitor_looks_by_then(page, on):
    inspector, changes = on.inspector, compared(page, on)
    state: Changes = {}
    for change in changes:
        state |= change
    trace = state[inspector.trace]
    assert state[on.updates.grown] is True
    own, _ = page.handler("end")
    now = {part: getattr(part, "value", None) for part in own.inputs} | {
        inspector.trace: trace, inspector.trail: state[inspector.trail], inspector.lane: 0, inspector.step: 7,
        inspector.overlay: "entropy", on.updates.grown: True,
    }  # fmt: skip
    drawn = own.fn(now, VISITOR)
    view = replace(inspector.view(now, on.controls.panes.seen(now)), lane=0, index=6)
    expected = inspector.drawn(Inspection.of(trace, view))
    assert {part: drawn[part] for part in (inspector.lanes, inspector.bar, inspector.sentence)} == {
        part: expected[part] for part in (inspector.lanes, inspector.bar, inspector.sentence)
    }
    assert drawn[on.updates.grown] is False
    assert not inspector.drawn_parts & own.fn(now | {on.updates.grown: False}, VISITOR).keys()


@pytest.mark.parametrize("what", range(len(SAVES)), ids=SAVES)
def test_a_trace_is_not_saved_before_all_its_steps_are_recorded(page, on, what):
    """Its file would be refused, for it would lack what its texts have."""
    inspector, changes = on.inspector, compared(page, on)
    own = next(function for function in page.functions if getattr(function.fn, "__name__", "") == "save")
    save, values = own.fn.__self__, {part: getattr(part, "value", None) for part in own.inputs}
    traces = [change[inspector.trace] for change in changes if inspector.trace in change]
    saved = []
    for trace in traces:
        now = values | {inspector.trace: trace, inspector.trail: [], inspector.lane: 1, inspector.step: 1}
        answer = save.save(now, gr.EventData(None, {"by": what}))
        if trace.unrecorded:
            assert f"{trace.unrecorded} steps to go" in answer[save.toolbar.notice]["text"]
            assert save.toolbar.outbox not in answer
        elif trace.steps:
            saved.append(answer[save.toolbar.outbox]["kind"])
    assert sum(bool(trace.unrecorded) for trace in traces) > 5
    assert saved


def opened_early(page: Page, on: RunHandlers) -> Changes:
    """What the page holds when the charts have just opened."""
    changes = compared(page, on)
    return {part: value for change in changes[: opening(on, changes) + 1] for part, value in change.items()}


def test_nobody_runs_on_from_a_trace_that_is_still_being_recorded(page, on):
    """The way back would lead to a trace that lacks steps for ever."""
    inspector, now = on.inspector, opened_early(page, on)
    trace = now[inspector.trace]
    shown = {"inspector.trace": trace, "inspector.trail": now[inspector.trail], "inspector.lane": 1}
    (answer,) = page.run("run_on_here", "en", shown | {"inspector.step": 2, "states.asked_on": trace.digest})
    assert f"{trace.unrecorded} steps to go" in answer[inspector.bar_notice]["text"]


def test_a_token_that_is_not_recorded_yet_leads_nowhere(page, on):
    trace = opened_early(page, on)[on.inspector.trace]
    recorded = len(trace.lane_steps(1))
    here = Inspection.of(trace, View(lane=1, index=1, lanes=trace.lanes))
    for step in range(1, len(trace.lane_ids(1)) + 1):
        expected = here.view if step > recorded else replace(here.view, index=step - 1)
        assert to_token(here, {"lane": 1, "step": step}) == expected


def test_what_is_still_recorded_of_a_run_does_not_come_over_a_later_one(page, on, monkeypatch):
    inspector, register = on.inspector, on.cancellations.register
    changes = []
    for change in iterated(page, on):
        changes.append(change)
        if inspector.layers in change:
            register("a")  # another run is asked for
    assert inspector.layers in changes[-1]


def test_a_run_that_is_recorded_ends_unseen_where_another_trace_is_opened(page, on, monkeypatch):
    monkeypatch.setattr(open_handlers, "SETTLING", 0)
    inspector = on.inspector
    opening_chip = next(f for f in page.functions if getattr(f.fn, "__name__", "") == "open_chip")
    changes = []
    for change in iterated(page, on):
        changes.append(change)
        if inspector.layers in change:
            values = {part: getattr(part, "value", None) for part in opening_chip.inputs}
            shown = opening_chip.fn.__self__.open_chip(values, gr.EventData(None, {"by": 0}), VISITOR)
            assert shown[inspector.trace].digest != change[inspector.trace].digest
    assert inspector.layers in changes[-1]


def iterated(page: Page, on: RunHandlers) -> Iterator[Changes]:
    """The same as `compared`, change by change."""
    own, _ = page.handler("compare")
    given = {part: getattr(part, "value", None) for part in own.inputs}
    given |= {on.states.number: on.cancellations.register("a"), on.controls.prompt: "The capital of Australia is"}
    return own.fn(given | {on.inspector.language: "en"}, VISITOR)


def test_a_shared_link_opens_its_step_as_soon_as_that_is_recorded(page, on):
    inspector = on.inspector
    (*_, last) = compared(page, on)
    trace, settings = last[inspector.trace], last[on.states.shown_settings]
    most, fork = len(trace.lane_ids(1)), trace.fork + 1
    for step, digest, opens in ((7, trace.digest, 7), (7, "another", fork), (999, trace.digest, most)):
        changes = compared(page, on, **{"states.shared": SharedLink(settings, digest=digest, step=step)})
        assert changes[opening(on, changes)][inspector.step] == opens
        verdict = "page.same_text" if digest == trace.digest else "page.other_text"
        assert changes[-1][inspector.notice]["text"] == ENGLISH(verdict)


def test_a_failure_after_the_charts_have_opened_leaves_them_as_they_are(page, on, monkeypatch):
    inspector, whole = on.inspector, LateRecord.next

    def failing(self: LateRecord) -> Any:
        if len(self) <= 3:
            raise ZeroDivisionError
        return whole(self)

    monkeypatch.setattr(LateRecord, "next", failing)
    changes = compared(page, on)
    opening(on, changes)
    assert changes[-1][inspector.notice]["tone"] == "error"
    kept = changes[-1][inspector.trace]
    written = max(len(change[inspector.trace].lane_ids(1)) for change in changes if inspector.trace in change)
    assert 0 < len(kept.lane_steps(1)) == len(kept.lane_ids(1)) < written
    assert kept.ends[1] == "stopped"
    assert changes[-1][on.states.shown_settings] is None, "a link would name the whole text for the part that is kept"
    assert read_trace(kept.to_json()).texts == kept.texts, "it can be saved and opened"
    assert changes[-1][on.updates.grown] is True
    assert Inspection.of(kept, View(lane=1, index=999)).view.index == len(kept.lane_steps(1)) - 1


def test_a_run_that_breaks_is_opened_when_it_is_over(page, on, monkeypatch):
    asked = iter(range(99))
    monkeypatch.setattr("dola_core.decoding.lockstep._is_finite", lambda batch: next(asked) < 4 and _is_finite(batch))
    changes = compared(page, on)
    assert opening(on, changes) == len(changes) - 1
    assert changes[-1][on.inspector.notice]["tone"] == "error"
    assert len(changes[-1][on.inspector.trace].lane_steps(1)) == 4
