"""The page: its layout, with the parts of each tab wired together, what of it is seen first, and how it is served."""

import os
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from app.jobs.host import Host
from app.jobs.model_pool import ModelPool
from app.jobs.queue.cancellation import Cancellations
from app.jobs.queue.listeners import Listeners
from app.jobs.queue.run_queue import SPARE, RunQueue
from app.jobs.request import Limits
from app.language import CODES, ENGLISH, language
from app.render.first_paint import first_paint
from app.render.inspection import Inspection
from app.render.view_state import View
from app.server.allowed import Allowed, Hosts
from app.server.api import offer_api
from app.server.bounds.bounds import Bounds
from app.server.front_page import FrontPage
from app.server.gate import Gate
from app.server.gradio_internals import GuardedBlocks
from app.server.guard import MAX_UPLOAD, Guard
from app.server.listening import Listening
from app.settings import Settings
from app.tabs.compare.controls import settings_of
from app.tabs.compare.look_handlers import wire_guide, wire_looks
from app.tabs.compare.run_handlers import wire_runs
from app.tabs.compare.tab import lay_out_compare_tab, lead
from app.tabs.prompts.components import lay_out_prompts_tab
from app.tabs.prompts.handlers import PromptsHandlers, wire_prompts
from app.tabs.search.components import lay_out_search_tab
from app.tabs.search.handlers import wire_search
from app.toolbar.arrival_handlers import ArrivalHandlers, wire_arrival
from app.toolbar.components import lay_out_toolbar
from app.toolbar.model_handlers import ModelHandlers, wire_models
from app.toolbar.model_menu import lay_out_model_menu
from app.toolbar.open_handlers import OpenHandlers, wire_opening
from app.toolbar.save_handlers import SaveHandlers, wire_saving
from app.ui.components import routes
from app.ui.events import QUICK
from app.ui.theme import css, style, theme

LATEX = [{"left": "$$", "right": "$$", "display": True}, {"left": "$", "right": "$", "display": False}]
UPLOADS_DELETED = (300, 1800)
"""Seconds between two deletions of visitors' uploads, and their age then."""
THREADS = 40
"""Threads for requests that do not wait in the queue before the model."""
GRADIO_QUEUE = 1000
"""Events that Gradio's own queue takes, far more than `app/server/bounds` lets in."""
NAME = "DoLa Duet"
TITLE = "<h1>Do<b>La</b> <i>Duet</i></h1>"
# Gradio confines `css` to what lies inside this frame, so the frame's own measures go into the head.
FRAME = """<style>
.gradio-container { overflow: clip !important; } /* with "hidden", nothing inside would stay in sight */
.gradio-container .main.fillable { max-width: 1280px; padding: 12px 20px 40px; margin: 0 auto; }
@media (max-width: 760px) { .gradio-container .main.fillable { padding: 10px; } }
</style>"""


def build(pool: ModelPool, settings: Settings, listeners: Listeners | None = None) -> gr.Blocks:
    """The page for the models of a pool, of which the first is loaded.

    A run ends once none of `listeners` listens to it, if they are given.
    """
    facts = pool.first
    host = Host(
        pool,
        RunQueue(settings.all_rows, settings.queue_size),
        Limits(settings.max_new_tokens, settings.max_prompt_tokens, settings.time_limit),
        listeners,
    )
    gate = Gate(model_runs=host.queue.is_running)
    with GuardedBlocks(gate, title=NAME, analytics_enabled=False, delete_cache=UPLOADS_DELETED) as page:
        with gr.Row(elem_classes="duet-head"):
            gr.HTML(TITLE, apply_default_css=False)
            menu = lay_out_model_menu(facts, pool.titles)
            toolbar = lay_out_toolbar()
        toolbar.outbox.render()
        toolbar.notice.render()
        with gr.Tabs(elem_classes="duet-tabs") as tabs:
            with gr.Tab(ENGLISH("page.compare_tab"), id="compare") as compare_tab:
                tab = lay_out_compare_tab(facts, settings, toolbar.language)
                menu.finding.render()
            with gr.Tab(ENGLISH("prompts.tab"), id="prompts") as many_tab:
                prompts_tab = lay_out_prompts_tab()
            with gr.Tab(ENGLISH("search.tab"), id="choose") as choose_tab:
                search_tab = lay_out_search_tab(facts)
            with gr.Tab(ENGLISH("page.how_tab"), id="how") as how_tab:
                tab.inspector.folded.guide.render()
                guide = gr.Markdown(ENGLISH.guide, latex_delimiters=LATEX, elem_classes="duet-how")
        controls, inspector = tab.controls, tab.inspector
        first = facts.known.first
        shared, pending = gr.State(), gr.State()
        shown_settings = gr.State(settings_of(first.read()) if first else None)
        translations = {
            compare_tab: lambda words: gr.Tab(label=words("page.compare_tab")),
            many_tab: lambda words: gr.Tab(label=words("prompts.tab")),
            choose_tab: lambda words: gr.Tab(label=words("search.tab")),
            how_tab: lambda words: gr.Tab(label=words("page.how_tab")),
            guide: lambda words: words.guide,
        }
        offer_api(host, controls)
        runs, searches, many = Cancellations(), Cancellations(), Cancellations()
        opening = OpenHandlers(pool, menu.model, toolbar, controls, inspector, shown_settings, pending, runs)
        running = wire_runs(host, menu.model, controls, inspector, shared, shown_settings, runs)
        looks = wire_looks(pool, menu.model, controls, inspector)
        wire_guide(looks, tabs, 3)
        wire_search(host, menu.model, search_tab, tabs, controls, inspector, toolbar.language, searches)
        prompts = PromptsHandlers(
            host,
            menu.model,
            prompts_tab,
            tabs,
            controls,
            inspector,
            toolbar.outbox,
            lambda values, trace: opening.show(values, trace, "opened"),
            shown_settings,
            gr.State(0),
            many,
        )
        wire_prompts(prompts)
        wire_models(ModelHandlers(host, menu, tab, search_tab, opening, shared, (runs, searches, many)))
        wire_arrival(page, ArrivalHandlers(pool, menu, toolbar, tab, opening, shared, gr.State(), translations))
        wire_saving(SaveHandlers(pool, menu.model, toolbar, controls, inspector, shown_settings))
        wire_opening(opening, running)
        menu.verdict.click(lambda: gr.Tabs(selected="choose"), None, [tabs], **QUICK)
    return page


def first_paints(pool: ModelPool) -> dict[str, tuple[str, str]]:
    """{language: (what the page is in a sentence, the page before its scripts have loaded)}, for the first model.

    Where nothing was recorded of the model, nothing stands there.
    """
    facts = pool.first
    trace = facts.known.first.read() if facts.known.first else None
    paints = {}
    for code in CODES:
        words = language(code)
        said = lead(facts, words)
        view = View(lane=1, index=(trace.fork or 0) if trace else 0, origin="recorded", words=words)
        inspection = Inspection.of(trace, view)
        paints[code] = (f"{said['title']} {said['text']}", first_paint(inspection, said) if inspection else "")
    return paints


def threads(settings: Settings) -> int:
    """How many threads the page needs: a run that waits in the queue holds one, and looking at traces takes others."""
    return settings.all_rows + settings.queue_size + SPARE + THREADS


def served(page: gr.Blocks, pool: ModelPool, settings: Settings, listeners: Listeners, bind: str) -> dict[str, Any]:
    """How the page is served where a server listens at the host `bind`, as arguments that Gradio takes."""
    hosts = Hosts.of(bind, settings.allowed_hosts, os.environ.get("SPACE_HOST", ""))
    middleware = [
        Middleware(Allowed, hosts=hosts, shared=lambda: page.share_url),
        Middleware(Guard, bounds=Bounds(listeners=listeners)),
        Middleware(Listening, listeners=listeners),
        Middleware(FrontPage, title=NAME, style=css(), paints=first_paints(pool)),
    ]
    return {
        "theme": theme(),
        "css": style(),
        "head": FRAME,
        "footer_links": [],
        "mcp_server": settings.mcp,
        "run_history": False,
        "enable_monitoring": False,
        "max_file_size": MAX_UPLOAD,
        "app_kwargs": {"routes": routes(), "middleware": middleware},
    }
