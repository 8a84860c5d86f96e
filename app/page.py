"""The page: its layout, with the parts of each tab wired together."""

import gradio as gr

from app.compare_tab.controls import lay_out_controls
from app.compare_tab.inspector import lay_out_inspector
from app.compare_tab.look_handlers import wire_looks
from app.compare_tab.run_handlers import wire_runs
from app.jobs.cancellation import Cancellations
from app.jobs.engine_pool import EnginePool
from app.jobs.host import Host
from app.jobs.request import Limits
from app.jobs.run_queue import RunQueue
from app.language import ENGLISH
from app.search_tab.components import lay_out_search_tab
from app.search_tab.handlers import wire_search
from app.server.api import offer_api
from app.server.gradio_internals import GuardedBlocks
from app.settings import Settings
from app.toolbar.arrival_handlers import ArrivalHandlers, wire_arrival
from app.toolbar.components import lay_out_toolbar
from app.toolbar.model_menu import MenuHandlers, lay_out_model_menu, wire_model_menu
from app.toolbar.open_handlers import OpenHandlers, wire_opening
from app.toolbar.save_handlers import SaveHandlers, wire_saving

LATEX = [{"left": "$$", "right": "$$", "display": True}, {"left": "$", "right": "$", "display": False}]
UPLOADS_DELETED = (3600, 3600)
"""Seconds between two deletions of visitors' uploads, and their age then."""
TITLE = "<h1>Do<b>La</b> <i>Duet</i></h1>"
# Gradio confines `css` to what lies inside this frame, so the frame's own measures go into the head.
FRAME = """<style>
.gradio-container .main.fillable { max-width: 1280px; padding: 12px 20px 40px; margin: 0 auto; }
@media (max-width: 760px) { .gradio-container .main.fillable { padding: 10px; } }
</style>"""


def build(pool: EnginePool, settings: Settings) -> gr.Blocks:
    """The page for the models of a pool, of which the first is loaded."""
    facts = pool.first
    host = Host(
        pool,
        RunQueue(settings.max_concurrent, settings.queue_size),
        Limits(settings.max_new_tokens, settings.max_prompt_tokens, settings.time_limit),
    )
    with GuardedBlocks(title="DoLa Duet", analytics_enabled=False, delete_cache=UPLOADS_DELETED) as page:
        with gr.Row(elem_classes="duet-head"):
            gr.HTML(TITLE, apply_default_css=False)
            menu = lay_out_model_menu(facts, pool.titles)
            toolbar = lay_out_toolbar()
        with gr.Tabs(elem_classes="duet-tabs") as tabs:
            with gr.Tab(ENGLISH("page.compare_tab"), id="compare") as compare_tab:
                controls, inspector = lay_out_controls(facts, settings), lay_out_inspector(toolbar.language)
                menu.finding.render()
            with gr.Tab(ENGLISH("search.tab"), id="choose") as choose_tab:
                search_tab = lay_out_search_tab(facts.known.search)
            with gr.Tab(ENGLISH("page.how_tab"), id="how") as how_tab:
                guide = gr.Markdown(ENGLISH.guide, latex_delimiters=LATEX, elem_classes="duet-how")
        shared, shown_settings = gr.State(), gr.State()
        translations = {
            compare_tab: lambda words: gr.Tab(label=words("page.compare_tab")),
            choose_tab: lambda words: gr.Tab(label=words("search.tab")),
            how_tab: lambda words: gr.Tab(label=words("page.how_tab")),
            guide: lambda words: words.guide,
        }
        offer_api(host, controls)
        runs, searches = Cancellations(), Cancellations()
        wire_runs(host, menu.model, controls, inspector, shared, shown_settings, runs)
        wire_looks(controls, inspector)
        wire_search(host, menu.model, search_tab, tabs, controls, inspector, toolbar.language, searches)
        abandoned = (runs, searches)
        wire_model_menu(MenuHandlers(host, menu, controls, inspector, search_tab, shared, shown_settings, abandoned))
        arrival = ArrivalHandlers(pool, menu.model, toolbar, controls, inspector, shared, translations)
        wire_arrival(page, arrival, shown_settings)
        wire_saving(SaveHandlers(menu.model, toolbar, controls, inspector, shown_settings))
        wire_opening(OpenHandlers(pool, menu.model, controls, inspector, shown_settings), toolbar)
    return page
