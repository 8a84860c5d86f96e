"""Measure questions on several processors, cards or machines at once, by Ray: every worker has the model.

Workers get the batches in which one process would read the questions, one after another, so that each question has the
numbers that it has there. Images are opened by the workers, on their machines, and must be the same there. Ray starts a
worker that is lost anew, and asks it again for what it had not answered.
"""

import importlib.util
import logging
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dola_core.errors import LoadError, QuestionPromptError, QuestionTooLongError
from dola_core.lanes import Lane
from dola_core.layer_search.answers.batches import batches_of
from dola_core.layer_search.answers.stopping import CheckStop
from dola_core.layer_search.evaluate import Measured, MetricTable, check_prompts, evaluate_here, renumbered
from dola_core.layer_search.metrics import Metric
from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.questions.image_files import image_facts, images_sha256
from dola_core.layer_search.search_config import SearchConfig
from dola_core.models.identity import memory_identity
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.loading import load_model

CPUS_OF_WORKER = 2
"""Processors of a worker where there is no GPU; fewer if there are not as many."""
LOST = 3
"""How often a worker may be lost and started anew."""
POLL = 0.2
"""Seconds between two questions whether the search is to stop."""


@dataclass(frozen=True)
class TableSettings:
    """What a worker measures beside the search's own configuration, as a `MetricTable` has it."""

    metrics: tuple[Metric, ...]
    layers: tuple[int, ...]
    alphas: tuple[float, ...]
    lanes: tuple[Lane, ...]


class Worker:
    """A process with the model; Ray makes an actor of it."""

    def __init__(self, model: str | None, device: str, dtype: str, identity: str) -> None:
        """Have the model loaded when it is first asked: of an error here, Ray would tell nothing but that."""
        self.model, self.device, self.dtype, self.identity = model, device, dtype, identity

    @cached_property
    def loaded(self) -> LoadedModel:
        """The model; `LoadError` unless its weights are those of `identity`."""
        loaded = load_model(self.model, device=self.device, dtype=self.dtype)
        if memory_identity(loaded.model) != self.identity:
            raise LoadError(f"A worker has other weights of {loaded.info.name}; give all machines the same model.")
        return loaded

    def measure(
        self, items: Sequence[Item], config: SearchConfig, settings: TableSettings, images: str | None
    ) -> list[tuple[int, np.ndarray]]:
        """The metrics of some items, each `[metrics, S]`, with their indices; `LoadError` for other images."""
        if images_sha256(items, image_facts(items)) != images:
            raise LoadError("A worker has other images under the same paths; give all machines the same folder.")
        table = MetricTable(len(items), settings.metrics, settings.layers, settings.alphas, settings.lanes)
        return list(evaluate_here(self.loaded, items, config, table))


class RayWorkers:
    """Measures on workers; `evaluate` is an `Evaluate`. They start with the first questions and end with the last.

    Where the environment names a cluster (`RAY_ADDRESS`) they run there, each on a GPU if it has any. Else Ray is
    started on this machine.
    """

    def __init__(self, model: str | None = None, *, device: str = "auto", count: int | None = None) -> None:
        """`count` workers that load a model by name, in the dtype that it has here.

        None is one for each GPU, or else for each two processors.

        Raises `LoadError` if Ray is not installed.
        """
        if importlib.util.find_spec("ray") is None:
            raise LoadError("Workers are run by Ray; install it: pip install -r requirements-ray.txt.")
        self.model, self.device, self.count = model, device, count

    def evaluate(
        self,
        loaded: LoadedModel,
        items: Sequence[Item],
        config: SearchConfig,
        table: MetricTable,
        check_stop: CheckStop,
    ) -> Measured:
        """Measure items.

        Raises what a worker raises, and `LoadError` if there cannot be so many or all of them are lost for good.
        """
        if not items:
            return
        if config.task == "generate":
            check_prompts(loaded, items, config)  # what cannot be read is refused before anything is measured
            batches = [[index] for index in range(len(items))]
        else:
            batches = [list(batch.indices) for batch in batches_of(loaded, items, chat=config.chat)]
        settings = TableSettings(table.metrics, table.layers, table.alphas, table.lanes)
        import ray

        started = not ray.is_initialized()
        if started:
            _start_ray()
        workers: list[Any] = []
        try:
            workers += self._start(memory_identity(loaded.model), loaded.info.dtype, len(batches))
            yield from self._measure(workers, batches, items, config, settings, check_stop)
        finally:
            if started:
                ray.shutdown()
            else:
                for worker in workers:
                    with suppress(Exception):
                        ray.kill(worker)

    def _start(self, identity: str, dtype: str, most: int) -> list[Any]:
        """Start workers, no more than there is work for and than have room on the machines, each on one of them."""
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = sum(int(min(node.get("GPU", 0), node.get("CPU", 0))) for node in nodes)
        on_gpu = gpus > 0 and self.device != "cpu"
        cpus = [int(node.get("CPU", 0)) for node in nodes]
        there = gpus if on_gpu else sum(cpus)
        if self.count and self.count > there:
            kind = "GPUs" if on_gpu else "processors"
            raise LoadError(f"Ray has {there} {kind} for {self.count} workers; ask for fewer workers.")
        usual = gpus if on_gpu else max(1, sum(own // CPUS_OF_WORKER for own in cpus))
        count = max(1, min(most, self.count or usual))
        fitting = [size for size in range(CPUS_OF_WORKER, 0, -1) if sum(own // size for own in cpus) >= count]
        share = {"num_gpus": 1, "num_cpus": 1} if on_gpu else {"num_cpus": fitting[0] if fitting else 1}
        actor = ray.remote(Worker).options(max_restarts=LOST, max_task_retries=LOST, **share)
        return [actor.remote(self.model, self.device, dtype, identity) for _ in range(count)]

    def _measure(
        self,
        workers: Sequence[Any],
        batches: Sequence[list[int]],
        items: Sequence[Item],
        config: SearchConfig,
        settings: TableSettings,
        check_stop: CheckStop,
    ) -> Measured:
        """Give every worker a batch, and the next one when it has measured it."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        left, under_way = list(reversed(batches)), dict[Any, tuple[Any, list[int]]]()
        idle, lost = list(workers), ""
        while left or under_way:
            while left and idle:
                worker, batch = idle.pop(), left.pop()
                own = [items[index] for index in batch]
                asked = worker.measure.remote(own, config, settings, images_sha256(own, image_facts(own)))
                under_way[asked] = worker, batch
            if not under_way:
                what = f" ({lost})" if lost else ""
                raise LoadError(f"All workers are lost{what}; look at their machines, and go on with --resume.")
            done, _ = ray.wait(list(under_way), timeout=POLL)
            check_stop()
            for asked in done:
                worker, batch = under_way.pop(asked)
                try:
                    measured = ray.get(asked)
                except RayTaskError as error:
                    cause = error.cause
                    numbered = isinstance(cause, QuestionPromptError | QuestionTooLongError)
                    raise renumbered(cause, batch) if numbered else cause from None
                except RayError as error:  # lost for good: others go on with what it had
                    lost = next(iter(str(error).strip().splitlines()), "")
                    left.append(batch)
                    continue
                idle.append(worker)
                for place, values in measured:
                    yield batch[place], values


def _start_ray() -> None:
    """Start Ray here, or join the cluster that the environment names; signals go on to end the program as before."""
    import ray

    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if is_main else None
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    if before is not None:
        signal.signal(signal.SIGTERM, before)
