"""The models of a page whose engines are replicas on Ray Serve; the page itself loads none."""

import asyncio
import itertools
import logging
import math
import sys
import threading
import time
import uuid
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException

from app.inputs.known_model import KnownModel
from app.jobs.carried_error import CarriedError
from app.jobs.model_pool import Asked, Job, Loading, ModelFacts, UnknownModelError, Update, nothing
from app.jobs.queue.run_queue import Waiting
from app.jobs.replicas.growing_trace import GrowthReceiver
from app.language import VisitorError
from dola_core.errors import LoadError, UnsupportedModelError

LOG = logging.getLogger(__name__)
OVER = object()
"""Stands behind the last update of a run."""
POLL = 0.1
"""Seconds between two questions whether a run is cancelled."""
TOLD = 0.5
"""Seconds between two updates of a run that waits for a replica."""


class LostReplicaError(VisitorError):
    """The process that ran something has died."""


class NoReplicaError(VisitorError):
    """No process with the model has become free in time."""


class ReplicaPool:
    """Sends each run to a replica of its model, and passes on what comes of it. Safe to use from threads.

    A `ModelPool`.
    """

    def __init__(
        self,
        titles: Sequence[tuple[str, str]],
        handles: Mapping[str, Any],
        signals: Any,
        rows: int,
        patience: float = math.inf,
    ) -> None:
        """`handles` {name of a model: the handle of its deployment}; `signals` a `CancelSignals` actor; each replica
        has so many rows, and one is waited for so many seconds."""
        self.titles: Mapping[str, str] = dict(titles)
        self._signals, self._rows, self._patience = signals, rows, patience
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
                for _ in self._run(name, nothing, lambda: False, 1, math.inf):
                    pass
            except (LoadError, UnsupportedModelError, VisitorError) as error:
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
        """What is `asked` for, or the rows of a whole replica for a run that must be alone there.

        Where nothing is known of the model yet, a process with it may be long in coming: nobody else waits for that.
        """
        facts = self.facts(name)
        if facts is None:
            return asked or 1
        return asked if asked is not None and facts.decodes_together else self._rows

    def run(
        self, name: str, job: Job[Update], cancelled: Asked, rows: int | None
    ) -> Generator[Waiting | Loading | Update, None, None]:
        """Have a replica do the job.

        Raises `UnknownModelError`, `LoadError`, what the job raises, `NoReplicaError` if no replica comes in time, and
        `LostReplicaError` if it dies.
        """
        if name not in self.titles:
            raise UnknownModelError("error.no_such_model", models=", ".join(self.titles))
        yield from self._run(name, job, cancelled, rows, self._patience)

    def release(self) -> None:
        """Nothing: the replica whose memory ran out has freed what it can."""

    def _run(
        self, name: str, job: Job[Update], cancelled: Asked, rows: int | None, patience: float
    ) -> Generator[Waiting | Loading | Update, None, None]:
        run = f"{self._own}-{next(self._numbers)}"
        stream = self._streams[name].run.remote(job, rows, run, self._signals)
        signal, receiver = _Signal(self._signals, run), GrowthReceiver()
        try:
            step = self._next(stream)
            yield from self._told(name, step, cancelled, patience)
            if not step.done():  # it was cancelled before any replica had it
                return
            _result(step)
            while True:
                step = self._next(stream)
                signal.give_if(cancelled)  # also where one update comes right after the other
                while not _is_done(step):
                    signal.give_if(cancelled)
                update = _result(step)
                if update is OVER:
                    return
                if isinstance(update, CarriedError):
                    update.raise_here()
                if isinstance(update, ModelFacts):
                    # What the page shows of the model comes from its own files.
                    self._facts[name] = replace(update, known=KnownModel.of(update.info))
                elif update is not None:
                    yield receiver.unpacked(update)
        finally:
            signal.give()
            with suppress(RayError, RayServeException):  # it says anew what went wrong
                stream.cancel()  # of one that is over this does nothing

    def _next(self, stream: Any) -> "Future[Any]":
        return asyncio.run_coroutine_threadsafe(_next(stream), self._loop)

    def _told(
        self, name: str, step: "Future[Any]", cancelled: Asked, patience: float
    ) -> Generator[Loading, None, None]:
        """Wait for a replica to take a run, saying now and then that it is waited for."""
        begun = told = time.monotonic()
        while not _is_done(step) and not cancelled():
            now = time.monotonic()
            if now - begun > patience:
                raise NoReplicaError("error.no_replica", model=self.titles[name])
            if now - told >= TOLD:
                told = now
                yield Loading(self.titles[name], "replica")


class _Signal:
    """What cancels one run, or says that it is over, once."""

    def __init__(self, signals: Any, run: str) -> None:
        self._signals, self._run, self._is_given = signals, run, False

    def give_if(self, cancelled: Asked) -> None:
        if not self._is_given and cancelled():
            self.give()

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
