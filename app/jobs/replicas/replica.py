"""A process with one model, of which there may be several: it runs what the page sends it."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from typing import Any

from app.inputs.known_model import KnownModel
from app.jobs.allocator import freeze_startup_objects, limit_heaps
from app.jobs.carried_error import CarriedError
from app.jobs.engine_pool import EnginePool, engine_loader
from app.jobs.host import Host
from app.jobs.model_pool import Job, Loading, ModelFacts, Update
from app.jobs.queue.run_queue import RunQueue, Waiting
from app.jobs.queue.visitor import Visitor
from app.jobs.replicas.growing_trace import GrowthSender
from app.jobs.replicas.settings import RaySettings
from app.jobs.request import Limits
from dola_core.errors import LoadError, UnsupportedModelError
from dola_core.models.devices import out_of_memory

OVER = object()
"""Stands behind the last update of a run."""


class Replica:
    """Ray Serve makes a deployment of it for each model.

    A replica takes the rows of one page in its own process, and has a queue of its own for what comes beyond them: a
    run that must be alone is alone here, whatever other replicas do.
    """

    def __init__(self, name: str, title: str, settings: RaySettings) -> None:
        """Load the model. One that cannot be loaded now is tried again when a run asks for it."""
        limit_heaps()
        self.name = name
        self.pool = EnginePool([(name, title)], engine_loader(settings), most=1)
        limits = Limits(settings.max_new_tokens, settings.max_prompt_tokens, settings.time_limit)
        self.host = Host(self.pool, RunQueue(settings.max_rows, 2 * settings.most_requests), limits)
        self._threads = ThreadPoolExecutor(2 * settings.most_requests, thread_name_prefix="run")
        with suppress(LoadError, UnsupportedModelError):
            self.pool.get(name)
        freeze_startup_objects()

    async def run(self, job: Job[Update], rows: int | None, run: str, signals: Any) -> AsyncGenerator[Any, None]:
        """Do a job, until it is over, `signals` cancel the run of this name, or nobody listens.

        First comes None, as soon as the run is here, then whatever `Host.in_turn` yields, comparisons as a `Growth`,
        and the model's facts before anything of the job. What is raised is the last that comes, as a `CarriedError`.
        Runs begin in the order in which they come, since the page has put them into a fair one.
        """
        yield None
        ended = threading.Event()
        watching = asyncio.ensure_future(_watch(signals, run, ended))
        updates = self.host.in_turn(Visitor(run, run), self.name, job, ended.is_set, rows=rows)
        step: Future[Any] | None = None
        sender, told = GrowthSender(), False
        try:
            while True:
                step = self._threads.submit(next, updates, OVER)
                try:
                    update = await asyncio.wrap_future(step)
                except Exception as error:
                    if out_of_memory(error):
                        self.pool.release()
                    yield CarriedError.of(error)
                    return
                if not told and not isinstance(update, Waiting | Loading):
                    told = True
                    yield self._facts()
                if update is OVER:
                    return
                yield sender.packed(update)
        finally:  # also when the request is cancelled, while a thread may still be at a step
            ended.set()
            watching.cancel()
            self._threads.submit(_close, step, updates)

    def _facts(self) -> ModelFacts | None:
        """Those of the model, without what every machine knows of it itself."""
        facts = self.pool.facts(self.name)
        return facts and replace(facts, known=KnownModel())


async def _watch(signals: Any, run: str, ended: threading.Event) -> None:
    """Wait for a run to be cancelled, or for the page to be gone."""
    with suppress(Exception):  # that of Ray which says that the actor has died
        await signals.wait.remote(run)
    ended.set()


def _close(step: Future[Any] | None, updates: Generator[Any, None, None]) -> None:
    """End a run after the step that it is at."""
    if step:
        wait([step])
    updates.close()
