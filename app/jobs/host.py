"""What the runs of all visitors share: the models, the queue before them, and the limits that the host sets."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

from app.jobs.engine_pool import EnginePool, Loading
from app.jobs.queue.listeners import Listeners
from app.jobs.queue.run_queue import RunQueue, Waiting
from app.jobs.queue.visitor import Visitor
from app.jobs.request import Limits
from app.jobs.zero_gpu import ZERO_GPU
from dola_core.decoding.engine import Engine

Update = TypeVar("Update")


@dataclass(frozen=True)
class Host:
    """One page's models with everything that runs of them go through."""

    pool: EnginePool
    queue: RunQueue
    limits: Limits
    listeners: Listeners | None = None
    """Who listens to what runs yield; None where nothing notes it, and every run goes on to its end."""

    def in_turn(
        self,
        visitor: Visitor,
        model: str,
        start: Callable[[Engine], Generator[Update, None, None]],
        cancelled: Callable[[], bool] = lambda: False,
        *,
        rows: int | None = None,
    ) -> Generator[Waiting | Loading | Update, None, None]:
        """Wait for the visitor's turn, load the model if it is not, then yield what the run that `start` begins yields.

        A run to which nobody listens any more is ended, whether it waits or is under way. `cancelled` says whether the
        visitor has ended it. `rows` is how many texts it decodes, beside those of others; None for a run that must be
        alone, as any is on a model that is not loaded yet or cannot decode several together. Raises `QueueFullError`,
        `UnknownModelError` and `LoadError`.
        """

        if self.listeners:
            self.listeners.expect(visitor.session)

        def is_over() -> bool:
            return cancelled() or self._is_deserted(visitor)

        def begin() -> Generator[Loading | Update, None, None]:
            engine = yield from self.pool.loading(model)
            if not is_over():
                yield from self._while_heard(visitor, start(engine))

        def taken() -> int | None:
            return rows if rows is not None and self._decodes_together(model) else None

        return self.queue.in_turn(visitor, begin, is_over, taken)

    def _decodes_together(self, model: str) -> bool:
        """Whether runs of the model can go on beside others now. Nothing else runs while one is loaded."""
        facts = self.pool.facts(model)
        return not ZERO_GPU and self.pool.is_loaded(model) and facts is not None and facts.decodes_together

    def _while_heard(self, visitor: Visitor, updates: Generator[Update, None, None]) -> Generator[Update, None, None]:
        """What a run yields, until nobody listens any more."""
        with closing(updates):
            for update in updates:
                yield update
                if self._is_deserted(visitor):
                    return

    def _is_deserted(self, visitor: Visitor) -> bool:
        return bool(self.listeners and self.listeners.is_deserted(visitor.session))
