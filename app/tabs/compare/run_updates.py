"""What a run shows on the page: its place in the queue, its texts as they come, and then its charts.

The charts open as soon as the texts are complete and the step is recorded that they open at. The other steps come
after it; when all of them are there, the page is drawn again as the visitor looks at it by then.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import NamedTuple

import gradio as gr

from app.jobs.comparison import ComparisonUpdate
from app.jobs.failures import failure_sentence
from app.jobs.host import Host
from app.jobs.model_pool import Job, Loading
from app.jobs.queue.run_queue import Waiting
from app.jobs.queue.visitor import Visitor
from app.jobs.zero_gpu import ZERO_GPU
from app.language import Language, VisitorError
from app.render.inspection import Inspection, lane_name
from app.render.sentences import ended_at_once
from app.tabs.compare.controls import Controls
from app.tabs.compare.inspector import Crumb, Inspector
from app.ui.components import Notice
from app.ui.events import Changes
from dola_core.trace.schema import Trace


@dataclass(frozen=True)
class AskedRun:
    """A run that a visitor asked for."""

    job: Job[ComparisonUpdate]
    rows: int | None
    """How many rows of the model's batch it may take."""
    trail: list[Crumb]
    """The runs that it goes on from."""
    label: str
    """How it came about, in a few words."""
    at: Notice
    """Where it is said how it goes."""
    opens_at: Callable[[Trace], int]
    """The step that its charts open at, from 0, once its texts are complete."""
    cancelled: Callable[[], bool]


class RunChanges(NamedTuple):
    """What a run changes on the page."""

    changes: Changes
    trace: Trace | None = None
    """What there is of it, if its charts are open and all lanes came to an end of their own."""
    finished: bool = False
    """Whether nothing more comes of it."""


@dataclass(frozen=True)
class RunUpdates:
    """Turns the updates of a run into changes of the page."""

    host: Host
    model: gr.Dropdown
    controls: Controls
    inspector: Inspector
    grown: gr.State
    """Whether the shown trace has more steps than when its charts were drawn."""

    def of(self, asked: AskedRun, values: Changes, visitor: gr.Request) -> Iterator[RunChanges]:
        """Run what was asked for; whatever goes wrong, the visitor gets a sentence, and what there is stays."""
        words, at, is_open = self.inspector.words(values), asked.at, False
        last: ComparisonUpdate | None = None

        def busy(text: str) -> Changes:
            return {at: {"text": text, "tone": "busy"}}

        def ended(trace: Trace) -> Changes:
            trail = [*asked.trail, Crumb(asked.label, trace)]
            return self._grown(trail) if is_open else self._opened(values, trail, asked.opens_at(trace))

        try:
            updates = self.host.in_turn(
                Visitor.of(visitor), values[self.model], asked.job, asked.cancelled, rows=asked.rows
            )
            with closing(updates):
                for update in updates:
                    if isinstance(update, Waiting):
                        if not update.behind_own:  # else the page shows the visitor's own run that is under way
                            yield RunChanges(busy(update.message(words)))
                        continue
                    if isinstance(update, Loading):
                        yield RunChanges(busy(update.message(words)))
                        continue
                    last, trace, told = update, update.trace, busy(_progress(update, words))
                    if last.finished:
                        yield RunChanges(ended(trace) | self._said(last, values, at), trace, finished=True)
                    elif last.halt or (ZERO_GPU and asked.cancelled()):  # there a run does not learn of it
                        note = self._said(last, values, at) | self._halt_notice(last, words, at)
                        yield RunChanges(ended(trace.stopped()) | note)
                        return
                    elif is_open:
                        yield RunChanges({self.inspector.trace: trace}, trace)
                    elif _can_open(trace, asked.opens_at):
                        opened, is_open = ended(trace), True
                        yield RunChanges(opened, trace)
                    else:
                        yield RunChanges(self.inspector.streaming(last, self.inspector.view(values, ())) | told)
            if last is None:  # cancelled before its turn
                yield RunChanges({at: None})
        except VisitorError as error:
            yield RunChanges(self.refused(error, values, at))
        except Exception as error:  # whatever it is, the visitor gets a sentence
            sentence = failure_sentence(error, "comparison", self.host.pool.release, words)
            kept = ended(last.trace.stopped()) if last else {}
            yield RunChanges(kept | failed(sentence, at))

    def redrawn(self, values: Changes) -> Changes:
        """The charts with the steps that have come since they were drawn, as the visitor looks at them now."""
        inspector, panes = self.inspector, self.controls.panes
        inspection = inspector.inspection(values, panes.seen(values)) if values[self.grown] else None
        return (inspector.drawn(inspection) if inspection else {}) | {self.grown: False}

    def refused(self, error: VisitorError, values: Changes, at: Notice) -> Changes:
        """A sentence that says what cannot be run, and controls back in the range of the model."""
        words = self.inspector.words(values)
        facts = self.host.pool.facts(values[self.model])
        own = self.controls.panes.ranges(values, facts.n_layers, words) if facts else {}
        return failed(error.message(words), at) | own

    def _opened(self, values: Changes, trail: list[Crumb], index: int) -> Changes:
        """The last run of a trail with its own settings, at a step."""
        trace = trail[-1].trace
        view = replace(self.inspector.view(values, trace.lanes), lane=1, index=index, pinned=())
        return self.inspector.finished(trail, view) | self.controls.at(Inspection(trace, view), values)

    def _grown(self, trail: list[Crumb]) -> Changes:
        """All steps of the run whose charts are open already, to be drawn by `redrawn`."""
        return self.inspector.remembering(trail) | {self.grown: True}

    def _said(self, update: ComparisonUpdate, values: Changes, at: Notice) -> Changes:
        """What a visitor should know of a run that has ended: what was not read of the prompt, why a text is empty."""
        words, trace = self.inspector.words(values), update.trace
        if update.unread:
            return {at: {"text": words("page.unread", texts=update.unread), "tone": ""}}
        facts = self.host.pool.facts(values[self.model])
        can_chat = bool(facts and facts.has_chat_template and not trace.chat)
        inspection = Inspection.of(trace, self.inspector.view(values, trace.lanes))
        text = ended_at_once(inspection, can_chat=can_chat) if inspection else ""
        if not text and trace.prompt.endswith(" ") and not trace.chat:
            text = words("page.ends_in_space")
        return {at: {"text": text, "tone": ""}} if text else {}

    def _halt_notice(self, last: ComparisonUpdate, words: Language, at: Notice) -> Changes:
        """Why a run ended, if its visitor did not stop it."""
        if last.halt == "time":
            return failed(words("error.time", seconds=self.host.limits.seconds), at)
        if last.halt == "broken":
            longest = max(len(last.trace.lane_ids(lane)) for lane in range(len(last.trace.lanes)))
            return failed(words("error.broken", step=1 + longest), at)
        return {}


def at_fork(trace: Trace) -> int:
    """The step at which the texts part, or the first."""
    return trace.fork or 0


def _can_open(trace: Trace, opens_at: Callable[[Trace], int]) -> bool:
    """Whether all lanes came to an end of their own, and the step is recorded at which the charts open."""
    if None in trace.ends or "broken" in trace.ends:
        return False
    lane = min(1, len(trace.lanes) - 1)
    index = min(opens_at(trace), len(trace.lane_ids(lane)) - 1)
    return 0 <= index < len(trace.lane_steps(lane))


def _progress(update: ComparisonUpdate, words: Language) -> str:
    """How far a run is that has no tokens to show yet, or whose steps are being recorded."""
    called = {lane.name: lane_name(lane, words) for lane in update.trace.lanes}
    values = {name: called.get(str(value), value) if name == "lane" else value for name, value in update.values.items()}
    return words(update.note, **values) if update.note else ""


def failed(sentence: str, at: Notice) -> Changes:
    """One sentence instead of what was asked for; what is on the page stays."""
    return {at: {"text": sentence, "tone": "error"}}
