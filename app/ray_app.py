"""The page on Ray Serve: `serve run app.ray_app:page`, or `make ray`.

One front has the page with its queue and everything that is remembered of visitors. It loads no model. Each model has
replicas of its own, on any machine and with any GPU of the cluster, to which the front sends the runs.
"""

import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

# Before gradio and Ray are imported: no telemetry, no version check, no request when the page loads.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import gradio as gr
import ray
from fastapi import FastAPI
from ray import serve
from ray.serve import Application
from starlette.types import ASGIApp

from app.jobs.allocator import freeze_startup_objects, limit_heaps
from app.jobs.engine_pool import names_of
from app.jobs.queue.listeners import Listeners
from app.jobs.replicas.cancel_signals import CancelSignals
from app.jobs.replicas.replica import Replica
from app.jobs.replicas.replica_pool import ReplicaPool
from app.jobs.replicas.settings import RaySettings
from app.page import GRADIO_QUEUE, build, served, threads
from app.server import log_lines
from app.settings import read_settings
from dola_core.errors import LoadError
from dola_core.models.sources.source import find_source, listed, title

MARGIN = 60
"""Seconds that a run may take beyond its limit, to record what it has."""
REQUESTS = 10_000
"""Requests to the page at once, of which each visitor's stream of events is one; the page itself bounds them."""


def page(arguments: Mapping[str, str]) -> Application:
    """The application; `arguments` are settings, as `serve run app.ray_app:page replicas=2` gives them.

    Ends the program with one sentence per mistake in a setting.
    """
    settings = read_settings([], RaySettings, arguments)
    # Ray's proxies take it over: whose X-Forwarded-For they believe is nobody's unless the settings say so.
    os.environ["FORWARDED_ALLOW_IPS"] = settings.trusted_proxies or os.environ.get("FORWARDED_ALLOW_IPS", "")
    try:
        places = listed(names_of(settings))
    except LoadError as error:
        sys.exit(f"app.ray_app: {error}")
    wrong = [sentence for place in places.values() if (sentence := mistake_in(place))]
    if len(wrong) == len(places):
        sys.exit("\n".join(f"app.ray_app: {sentence}" for sentence in wrong))
    titles = [(name, title(name)) for name in places]
    replicas = {
        name: serve.deployment(name=f"model-{number}", **options(settings))(Replica).bind(name, said, settings)
        for number, (name, said) in enumerate(titles, start=1)
    }
    # It has room beside replicas that take every processor, else it would wait for one for ever.
    front = serve.deployment(
        name="page",
        num_replicas=1,
        max_ongoing_requests=REQUESTS,
        ray_actor_options={"num_cpus": 0},
        max_constructor_retry_count=1,  # it has tried every model
    )
    return front(serve.ingress()(Front)).bind(titles, replicas, settings)


def mistake_in(place: str) -> str:
    """What is wrong with a model's name, as far as it shows before anything is loaded, or ""."""
    path = Path(place).expanduser()
    if not path.exists():
        return f"There is no model at {place}; name a folder, a GGUF file or a model of the Hub." * path.is_absolute()
    try:
        find_source(place)
    except LoadError as error:
        return str(error)
    return ""


def options(settings: RaySettings) -> dict[str, Any]:
    """How Ray Serve runs the replicas of a model."""
    own = {
        "max_ongoing_requests": settings.most_requests,
        # A process that is not needed any more first ends what it does.
        "graceful_shutdown_timeout_s": settings.time_limit + MARGIN,
        "ray_actor_options": {"num_cpus": settings.replica_cpus, "num_gpus": settings.replica_gpus},
    }
    if settings.max_replicas is None:
        return own | {"num_replicas": settings.replicas}
    scaling = {
        "min_replicas": settings.replicas,
        "max_replicas": settings.max_replicas,
        # A further process begins to load before those that there are have no rows left.
        "target_ongoing_requests": 1 if settings.compile else max(1, settings.most_runs // 2),
    }
    return own | {"autoscaling_config": scaling}


class Front:
    """Ray Serve makes a deployment of it, with one replica: what a visitor's session holds is in its memory."""

    def __init__(self, titles: Sequence[tuple[str, str]], replicas: Mapping[str, Any], settings: RaySettings) -> None:
        """Wait for the first model. Raises `LoadError` if none can be loaded."""
        log_lines.install(debug=settings.debug)
        limit_heaps()
        # It is started anew where its process is lost, and asked again; it ends with this process.
        how = {"num_cpus": 0, "max_concurrency": 2 * threads(settings), "max_restarts": -1, "max_task_retries": -1}
        signals = ray.remote(CancelSignals).options(**how).remote()
        self.settings = settings
        self.pool = ReplicaPool(titles, replicas, signals, settings.max_rows, settings.time_limit)
        self.pool.find_first()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """What answers the requests that Ray's proxies pass on."""
        listeners = Listeners()
        page = build(self.pool, self.settings, listeners)
        # Where Ray's proxies listen is not known here: further names than those of this machine are to be allowed.
        how = served(page, self.pool, self.settings, listeners, "127.0.0.1")
        app = asgi_app(page, threads(self.settings), how)
        freeze_startup_objects()
        return app


def asgi_app(page: gr.Blocks, most: int, how: dict[str, Any]) -> ASGIApp:
    """A page with so many threads as an ASGI app, without Gradio's own server."""
    page.max_threads = most
    page.queue(max_size=GRADIO_QUEUE)

    @asynccontextmanager
    async def started(_app: FastAPI) -> AsyncIterator[None]:
        page.run_startup_events()
        await page.run_extra_startup_events()
        yield

    how["app_kwargs"]["lifespan"] = started
    outer = gr.mount_gradio_app(FastAPI(), page, path="", **how)
    # The mounted app by itself, so that all that stands before it sees the server begin, and every address.
    return outer.routes[-1].app
