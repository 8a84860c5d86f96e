"""The page: layout and the wiring of its events. Handlers are a few lines over pure functions."""

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.components import ASSETS, Chart, Notice, Sentence, Strips
from app.controls import Controls, controls
from app.figures import head_card, layer_card, step_sentence
from app.palette import css_variables
from app.run import RequestError, run
from app.settings import Settings
from app.stops import Stops
from app.strips import difference_sentence, strips
from dola_core.models import LoadedModel
from dola_core.trace import Trace

LOG = logging.getLogger(__name__)
TITLE = "<h1>Do<b>La</b> <i>Duet</i></h1>"
SILENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
# One at a time and in order, so that an older answer never overtakes a newer one; each takes milliseconds.
QUICK: dict[str, Any] = {"concurrency_id": "look", "concurrency_limit": 1, **SILENT}


# Gradio confines `css` to what lies inside this frame, so the frame's own measures go into the head.
FRAME = """<style>
.gradio-container .main.fillable { max-width: 1280px; padding: 12px 20px 40px; margin: 0 auto; }
@media (max-width: 760px) { .gradio-container .main.fillable { padding: 10px; } }
</style>"""


def css() -> str:
    """The page's style sheet."""
    return css_variables() + (ASSETS / "duet.css").read_text(encoding="utf-8")


def build(loaded: LoadedModel, settings: Settings) -> gr.Blocks:
    """The page for one loaded model."""
    with gr.Blocks(title="DoLa Duet", analytics_enabled=False) as page:
        with gr.Row(elem_classes="duet-head"):
            gr.HTML(TITLE, apply_default_css=False)
            Sentence(say(loaded.label))
        _wire(loaded, controls(loaded, settings), inspector())
        if loaded.preset.finding:
            Sentence(say(loaded.preset.finding), elem_classes="duet-finding")
    return page


@dataclass(frozen=True)
class Inspector:
    """The components below the controls, and what they show."""

    trace: gr.State
    notice: Notice
    lanes: Strips
    below: gr.Column
    count: Sentence
    lane: gr.Radio
    step: gr.Slider
    sentence: Sentence
    head: Chart
    layers: Chart

    @property
    def outputs(self) -> set[Component]:
        """Everything a handler may change."""
        return set(vars(self).values())

    def streaming(self, trace: Trace, note: str) -> dict[Component, Any]:
        """A comparison under way: the strips only, nothing selected."""
        return {
            self.trace: trace,
            self.notice: {"text": note, "tone": "busy"},
            self.lanes: strips(trace, lane=1, index=-1, running=True),
        }

    def done(self, trace: Trace, layer: int, alpha: float) -> dict[Component, Any]:
        """A comparison at its end, opened where the texts part or else at the first step."""
        shown = self.at(trace, 1, trace.fork or 0, layer, alpha)
        return {self.trace: trace, self.notice: None, self.lanes: strips(trace, lane=1, index=0), **shown}

    def failed(self, sentence: str) -> dict[Component, Any]:
        """One sentence instead of a comparison; what is on the page stays."""
        return {self.notice: {"text": sentence, "tone": "error"}}

    def at(self, trace: Trace | None, lane: int, index: int, layer: int, alpha: float) -> dict[Component, Any]:
        """One step of one lane's text, seen with (j*, α); nothing changes if there is none."""
        steps = trace.lane_steps(lane) if trace is not None else []
        if trace is None or not steps:
            return {}
        index = min(max(index, 0), len(steps) - 1)
        return {
            self.lanes: strips(trace, lane=lane, index=index),
            self.below: gr.Column(visible=True),
            self.count: say(difference_sentence(trace)),
            self.lane: trace.lanes[lane].name,
            self.step: gr.Slider(value=index + 1, maximum=max(2, len(steps))),
            self.sentence: step_sentence(trace, steps[index], layer, alpha),
            self.head: head_card(trace, steps[index], layer, alpha),
            self.layers: layer_card(trace, steps[index], layer, alpha),
        }


def inspector() -> Inspector:
    """Lay out the strips and the inspector."""
    trace, notice, lanes = gr.State(), Notice(), Strips()
    with gr.Column(visible=False) as below:
        with gr.Row(elem_classes="duet-spine duet-columns"):
            count = Sentence()
            lane = gr.Radio(
                ["Baseline", "DoLa-static"], value="DoLa-static", type="index", label="text", elem_id="lane",
                elem_classes="duet-quiet",
            )  # fmt: skip
            step = gr.Slider(1, 2, value=1, step=1, label="step", elem_id="step", elem_classes="duet-quiet")
        sentence = Sentence(elem_classes="duet-say")
        with gr.Row(elem_classes="duet-columns"):
            with gr.Column(elem_classes="duet-card"):
                head = Chart(elem_id="head")
            with gr.Column(elem_classes="duet-card"):
                layers = Chart(elem_id="layers")
    return Inspector(trace, notice, lanes, below, count, lane, step, sentence, head, layers)


def say(text: str) -> list[dict[str, str]]:
    """A plain sentence for `Sentence`."""
    return [{"text": text, "side": ""}]


def _wire(loaded: LoadedModel, ask: Controls, view: Inspector) -> None:
    stops, ticket = Stops(), gr.State(0)
    nothing = {view.notice: gr.skip()}  # an empty answer would not be one for every output

    def hear(visitor: gr.Request) -> dict[Component, Any]:
        waiting = {"text": "waiting for the model …", "tone": "busy"}
        return {ticket: stops.ticket(str(visitor.session_hash)), view.notice: waiting}

    def stop(visitor: gr.Request) -> None:
        stops.stop(str(visitor.session_hash))

    def compare(values: dict[Component, Any], visitor: gr.Request) -> Iterator[dict[Component, Any]]:
        last = None
        try:
            request = ask.request(values)
            with closing(run(loaded, request)) as updates:
                for last in updates:
                    if last.finished:
                        yield view.done(last.trace, request.layer, request.alpha)
                    elif stops.stopped(str(visitor.session_hash), values[ticket]):
                        yield view.done(last.trace.stopped(), request.layer, request.alpha)
                        return
                    else:
                        yield view.streaming(last.trace, last.note)
        except RequestError as error:
            yield view.failed(str(error))
        except Exception as error:  # whatever it is, the visitor gets a sentence and the log the traceback
            LOG.exception("a comparison failed")
            kept = view.done(last.trace.stopped(), request.layer, request.alpha) if last else {}
            what = type(error).__name__
            yield {**kept, **view.failed(f"The comparison failed ({what}). Try again, with fewer tokens.")}

    def look(trace: Trace | None, lane: int, step: int, layer: int, alpha: float) -> dict[Component, Any]:
        return view.at(trace, lane, step - 1, layer, alpha) or nothing

    def pick(trace: Trace | None, layer: int, alpha: float, event: gr.EventData) -> dict[Component, Any]:
        lane, step = (getattr(event, name, None) for name in ("lane", "step"))
        if lane not in (0, 1) or not isinstance(step, int):
            return nothing
        return view.at(trace, lane, step - 1, layer, alpha) or nothing

    settings = [ask.layer, ask.alpha]
    # First a word that needs no place in the queue, so that a visitor who has to wait sees that it was heard.
    at_once: dict[str, Any] = {"queue": False, "trigger_mode": "multiple", **SILENT}
    heard = gr.on([ask.compare.click, ask.prompt.submit], hear, None, [ticket, view.notice], **at_once)
    heard.then(
        compare,
        ask.inputs | {ticket},
        view.outputs,
        concurrency_limit=1,
        concurrency_id="model",
        trigger_mode="multiple",  # else a press while the last run still ends would be dropped
        **SILENT,
    )
    ask.stop.click(stop, **at_once)
    for moved in (view.step.input, view.lane.input, ask.layer.input, ask.alpha.input):
        moved(look, [view.trace, view.lane, view.step, *settings], view.outputs, trigger_mode="always_last", **QUICK)
    # "always_last" would send the event data of the first of several clicks again.
    view.lanes.select(pick, [view.trace, *settings], view.outputs, trigger_mode="multiple", **QUICK)
