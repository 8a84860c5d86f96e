"""What the runs of all visitors share: the models, the queue before them, and the limits that the host sets."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass

from app.jobs.model_pool import Job, Loading, ModelPool, Update
from app.jobs.queue.listeners import Listeners
from app.jobs.queue.run_queue import RunQueue, Waiting
from app.jobs.queue.visitor import Visitor
from app.jobs.request import Limits


@dataclass(frozen=True)
class Host:
    """One page's models with everything that runs of them go through."""

    pool: ModelPool
    queue: RunQueue
    limits: Limits
    listeners: Listeners | None = None
    """Who listens to what runs yield; None where nothing notes it, and every run goes on to its end."""

    def in_turn(
        self,
        visitor: Visitor,
        model: str,
        job: Job[Update],
        cancelled: Callable[[], bool] = lambda: False,
        *,
        rows: int | None = None,
    ) -> Generator[Waiting | Loading | Update, None, None]:
        """Wait for the visitor's turn, load the model if it is not, then yield what the job does with it.

        A run to which nobody listens any more is ended, whether it waits or is under way. `cancelled` says whether the
        visitor has ended it. `rows` is how many texts it decodes, beside those of others; None for a run that must be
        alone, as any is on a model that is not loaded yet or cannot decode several together. Raises `QueueFullError`,
        `UnknownModelError` and `LoadError`.
        """

        if self.listeners:
            self.listeners.expect(visitor.session)

        def is_over() -> bool:
            return cancelled() or self._is_deserted(visitor)

        def begin() -> Generator[Waiting | Loading | Update, None, None]:
            return self._while_heard(visitor, self.pool.run(model, job, is_over, rows))

        return self.queue.in_turn(visitor, begin, is_over, lambda: self.pool.rows(model, rows))

    def _while_heard(
        self, visitor: Visitor, updates: Generator[Waiting | Loading | Update, None, None]
    ) -> Generator[Waiting | Loading | Update, None, None]:
        """What a run yields, until nobody listens any more. A model that is being loaded is waited for."""
        with closing(updates):
            for update in updates:
                yield update
                if not isinstance(update, Loading) and self._is_deserted(visitor):
                    return

    def _is_deserted(self, visitor: Visitor) -> bool:
        return bool(self.listeners and self.listeners.is_deserted(visitor.session))
