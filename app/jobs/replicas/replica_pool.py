"""The models of a page whose engines are replicas on Ray Serve; the page itself loads none."""

import asyncio
import itertools
import logging
import sys
import threading
import time
import uuid
from collections.abc import Coroutine, Generator, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from typing import Any, TypeVar

from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException

from app.inputs.known_model import KnownModel
from app.jobs.carried_error import CarriedError
from app.jobs.model_pool import Asked, Job, Loading, ModelFacts, UnknownModelError, Update
from app.jobs.queue.run_queue import Waiting
from app.language import VisitorError
from dola_core.errors import LoadError

LOG = logging.getLogger(__name__)
Result = TypeVar("Result")
OVER = object()
"""Stands behind the last update of a run."""
POLL = 0.1
"""Seconds between two questions whether a run is cancelled."""
TOLD = 0.5
"""Seconds between two updates of a run that waits for a replica."""


class LostReplicaError(VisitorError):
    """The process that ran something has died."""


class ReplicaPool:
    """Sends each run to a replica of its model, and passes on what comes of it. Safe to use from threads.

    A `ModelPool`.
    """

    def __init__(self, titles: Sequence[tuple[str, str]], handles: Mapping[str, Any], signals: Any, rows: int) -> None:
        """`handles` {name of a model: the handle of its deployment}; `signals` a `CancelSignals` actor; each replica
        has so many rows."""
        self.titles: Mapping[str, str] = dict(titles)
        self._handles, self._signals, self._rows = dict(handles), signals, rows
        self._streams = {name: handle.options(stream=True) for name, handle in handles.items()}
        self._facts: dict[str, ModelFacts] = {}
        self._numbers, self._own = itertools.count(), uuid.uuid4().hex
        self._loop = asyncio.new_event_loop()
        """In which the page waits for replicas: Gradio's handlers run in threads."""
        threading.Thread(target=self._loop.run_forever, daemon=True, name="replicas").start()

    def find_first(self) -> None:
        """Learn the facts of the first model that can be loaded, which becomes the first of the list.

        Raises `LoadError` if none can be.
        """
        for name in list(self.titles):
            try:
                self._start(self._learn(name)).result()
            except LoadError as error:
                print(f"app.ray_app: {error}", file=sys.stderr)
                # To the end: what is missing may be there later.
                others = {one: said for one, said in self.titles.items() if one != name}
                self.titles = others | {name: self.titles[name]}
            else:
                return
        raise LoadError("None of the models can be loaded; see the lines above.")

    @property
    def first(self) -> ModelFacts:
        """The facts of the first model, after `find_first`."""
        return self._facts[next(iter(self.titles))]

    def facts(self, name: object) -> ModelFacts | None:
        """The facts of a model that a replica has told, or None."""
        return self._facts.get(name) if isinstance(name, str) else None

    def rows(self, name: str, asked: int | None) -> int:
        """What is `asked` for, or the rows of a whole replica for a run that must be alone there."""
        facts = self.facts(name)
        return asked if asked is not None and facts is not None and facts.decodes_together else self._rows

    def run(
        self, name: str, job: Job[Update], cancelled: Asked, rows: int | None
    ) -> Generator[Waiting | Loading | Update, None, None]:
        """Have a replica do the job.

        Raises `UnknownModelError`, `LoadError`, what the job raises, and `LostReplicaError` if the replica dies.
        """
        if name not in self.titles:
            raise UnknownModelError("error.no_such_model", models=", ".join(self.titles))
        if self.facts(name) is None:
            learned = self._start(self._learn(name))
            yield from self._told(name, learned, cancelled)
            if cancelled():
                return
            _result(learned)
        run = f"{self._own}-{next(self._numbers)}"
        stream = self._streams[name].run.remote(job, rows, run, self._signals)
        signals = _Signal(self._signals, run)
        try:
            step = self._start(_next(stream))
            yield from self._told(name, step, lambda: signals.give_if(cancelled))
            while (update := _result(step)) is not OVER:
                if isinstance(update, CarriedError):
                    update.raise_here()
                yield update
                step = self._start(_next(stream))
                signals.give_if(cancelled)  # also where one update comes right after the other
                while not _is_done(step):
                    signals.give_if(cancelled)
        finally:
            signals.give()
            stream.cancel()  # of one that is over this does nothing

    def release(self) -> None:
        """Nothing: the replica whose memory ran out has freed what it can."""

    def _start(self, work: Coroutine[Any, Any, Result]) -> "Future[Result]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _told(self, name: str, step: "Future[Any]", is_over: Asked) -> Generator[Loading, None, None]:
        """Wait for the first answer of a replica, saying now and then that it is waited for, until it `is_over`."""
        told = time.monotonic()
        while not _is_done(step) and not is_over():
            if time.monotonic() - told >= TOLD:
                told = time.monotonic()
                yield Loading(self.titles[name], "replica")

    async def _learn(self, name: str) -> None:
        """Ask a replica for the facts of its model; raises `LoadError` if it cannot load it."""
        facts = await self._handles[name].facts.remote()
        if isinstance(facts, CarriedError):
            facts.raise_here()
        # What the page shows of the model comes from its own files.
        self._facts[name] = replace(facts, known=KnownModel.of(facts.info))


class _Signal:
    """What cancels one run, or says that it is over, once."""

    def __init__(self, signals: Any, run: str) -> None:
        self._signals, self._run, self._is_given = signals, run, False

    def give_if(self, cancelled: Asked) -> bool:
        """Give it if the run is cancelled. Returns False: what the run then ends with is waited for."""
        if not self._is_given and cancelled():
            self.give()
        return False

    def give(self) -> None:
        if not self._is_given:
            self._is_given = True
            self._signals.give.remote(self._run)


async def _next(stream: Any) -> Any:
    return await anext(stream, OVER)


def _is_done(step: "Future[Any]") -> bool:
    """Whether a step has come to an end, after waiting for it a little."""
    return bool(wait([step], POLL).done)


def _result(step: "Future[Any]") -> Any:
    """What came of a step; raises `LostReplicaError` if its replica has died."""
    try:
        return step.result()
    except RayTaskError:  # a mistake of the program, which says what it is
        raise
    except (RayError, RayServeException) as error:
        LOG.warning("a replica was lost: %s", type(error).__name__)
        raise LostReplicaError("error.replica_lost") from error
