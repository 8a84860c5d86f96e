"""What the runs of all visitors share: the engine, the queue before it, and the limits that the host sets."""

from dataclasses import dataclass

from app.jobs.request import Limits
from app.jobs.run_queue import RunQueue
from dola_core.decoding.engine import Engine
from dola_core.models.loaded_model import LoadedModel


@dataclass(frozen=True)
class Host:
    """One page's engine with everything that runs of it go through."""

    engine: Engine
    queue: RunQueue
    limits: Limits

    @property
    def loaded(self) -> LoadedModel:
        """The engine's model."""
        return self.engine.loaded

    @property
    def n_layers(self) -> int:
        """N, the number of the model's blocks."""
        return self.engine.loaded.readout.n_layers
