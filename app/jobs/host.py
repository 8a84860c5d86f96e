"""What the runs of all visitors share: the models, the queue before them, and the limits that the host sets."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

from app.jobs.engine_pool import EnginePool, Loading
from app.jobs.request import Limits
from app.jobs.run_queue import RunQueue, Waiting
from dola_core.decoding.engine import Engine

Update = TypeVar("Update")


@dataclass(frozen=True)
class Host:
    """One page's models with everything that runs of them go through."""

    pool: EnginePool
    queue: RunQueue
    limits: Limits

    def in_turn(
        self,
        visitor: str,
        model: str,
        start: Callable[[Engine], Generator[Update, None, None]],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Generator[Waiting | Loading | Update, None, None]:
        """Wait for the visitor's turn, load the model if it is not, then yield what the run that `start` begins yields.

        Raises `QueueFullError`, `UnknownModelError` and `LoadError`.
        """

        def begin() -> Generator[Loading | Update, None, None]:
            engine = yield from self.pool.loading(model)
            if not cancelled():
                yield from start(engine)

        return self.queue.in_turn(visitor, begin, cancelled)
