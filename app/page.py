"""The page: its layout, and the events that look at what is recorded."""

from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.components import Component

from app.compare_tab import navigation as moves
from app.compare_tab.controls import Changes, Controls, controls
from app.compare_tab.inspector import Inspector, inspector
from app.compare_tab.run_handlers import wire_runs
from app.jobs.comparison import Limits
from app.jobs.run_queue import Line
from app.language import ENGLISH
from app.render.sentences import say
from app.render.view_state import View
from app.search_tab.components import choosing
from app.search_tab.handlers import wire_choosing
from app.server.api import offer_api
from app.server.guard import GuardedBlocks
from app.settings import Settings
from app.toolbar.handlers import sharing, wire_sharing
from app.ui.components import Sentence
from app.ui.events import QUICK
from dola_core.models.loading import LoadedModel

LATEX = [{"left": "$$", "right": "$$", "display": True}, {"left": "$", "right": "$", "display": False}]
FILES = 3600, 3600
"""Seconds after which, and between which, the files of visitors are deleted."""
TITLE = "<h1>Do<b>La</b> <i>Duet</i></h1>"
# Gradio confines `css` to what lies inside this frame, so the frame's own measures go into the head.
FRAME = """<style>
.gradio-container .main.fillable { max-width: 1280px; padding: 12px 20px 40px; margin: 0 auto; }
@media (max-width: 760px) { .gradio-container .main.fillable { padding: 10px; } }
</style>"""


def build(loaded: LoadedModel, settings: Settings) -> gr.Blocks:
    """The page for one loaded model."""
    with GuardedBlocks(
        title="DoLa Duet", analytics_enabled=False, delete_cache=(3600, 3600)
    ) as page:  # visitors' files
        with gr.Row(elem_classes="duet-head"):
            gr.HTML(TITLE, apply_default_css=False)
            Sentence(say(loaded.label))
            hand = sharing()
        with gr.Tabs(elem_classes="duet-tabs") as tabs:
            with gr.Tab(ENGLISH("page.compare_tab"), id="compare") as compare_tab:
                ask, view = controls(loaded, settings), inspector(hand.language)
                if loaded.preset.finding:
                    Sentence(say(loaded.preset.finding), elem_classes="duet-finding")
            with gr.Tab(ENGLISH("search.tab"), id="choose") as choose_tab:
                chosen = choosing(loaded)
            with gr.Tab(ENGLISH("page.how_tab"), id="how") as how_tab:
                guide = gr.Markdown(ENGLISH.guide, latex_delimiters=LATEX, elem_classes="duet-how")
        shared, ran = gr.State(), gr.State()
        line = Line(settings.max_concurrent, settings.queue_size)
        limits = Limits(settings.max_new_tokens, settings.max_prompt_tokens, settings.time_limit)
        offer_api(loaded, limits, line, ask)
        wire_runs(loaded, limits, line, ask, view, shared, ran)
        _wire_looks(ask, view)
        corner = {
            compare_tab: lambda words: gr.Tab(label=words("page.compare_tab")),
            choose_tab: lambda words: gr.Tab(label=words("search.tab")),
            how_tab: lambda words: gr.Tab(label=words("page.how_tab")),
            guide: lambda words: words.guide,
        }
        wire_choosing(loaded, limits, line, chosen, tabs, ask, view, hand.language)
        wire_sharing(page, loaded, hand, ask, view, shared, ran, corner)
    return page


def _wire_looks(ask: Controls, view: Inspector) -> None:
    inputs: set[Component] = {ask.layer, ask.alpha} | view.inputs
    outputs = {ask.layer, ask.alpha} | view.outputs
    nothing = {view.notice: gr.skip()}  # an empty answer would not be one for every output

    def seen(values: Changes) -> View:
        return view.view(values, values[ask.layer], values[ask.alpha])

    def look(values: Changes) -> Changes:
        return view.at(values[view.trace], seen(values)) or nothing

    def lead(values: Changes, move: moves.Move, data: dict[str, Any]) -> Changes:
        """The view that a move leads to, and the sliders that show it."""
        trace = values[view.trace]
        before = seen(values).within(trace) if trace else None
        if before is None:
            return nothing
        after = move(trace, before, data)
        sliders = {} if (after.layer, after.alpha) == (before.layer, before.alpha) else ask.at(trace, after)
        return view.at(trace, after) | sliders or nothing

    def on_click(move: moves.Move) -> Callable[[Changes, gr.EventData], Changes]:
        def handler(values: Changes, event: gr.EventData) -> Changes:
            return lead(values, move, moves.read(event))

        return handler

    def on_press(move: moves.Move) -> Callable[[Changes], Changes]:
        return lambda values: lead(values, move, {})

    # One event of all sliders and switches: while its answer is under way the next waits, so that no answer to an
    # earlier move of one comes after that to a later move of another.
    moved = [ask.layer.input, ask.alpha.input, *(switch.input for switch in view.switches)]
    gr.on(moved, look, inputs, view.outputs, trigger_mode="always_last", **QUICK)
    clicks = [
        (view.lanes.select, moves.to_token),
        (view.lanes.key_up, moves.by_layers),
        (view.spine.select, moves.to_step),
        (view.head.select, moves.pin),
        (view.layers.select, moves.to_layer),
        (view.heat_base.select, moves.to_cell(0)),
        (view.heat_dola.select, moves.to_cell(1)),
        (view.map.select, moves.to_setting),
        (view.sweep.select, moves.to_layer),
    ]
    for clicked, move in clicks:
        # "always_last" would send the event data of the first of several clicks again.
        clicked(on_click(move), inputs, outputs, trigger_mode="multiple", **QUICK)
    for button, direction in ((view.previous, -1), (view.next, 1)):
        button.click(on_press(moves.to_difference(direction)), inputs, outputs, trigger_mode="multiple", **QUICK)
