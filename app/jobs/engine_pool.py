"""The models of a page in its own process: the first is loaded at start, each other one when it is first asked for."""

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing

from app.jobs.allocator import release_startup_objects
from app.jobs.model_pool import Asked, Job, Loading, ModelFacts, UnknownModelError, Update
from app.jobs.zero_gpu import ZERO_GPU
from app.settings import Settings
from dola_core.decoding.engine import Engine
from dola_core.errors import LoadError
from dola_core.models.loading import Stage, load_model
from dola_core.models.sources.smollm2 import NAME as SMOLLM2
from dola_core.models.sources.smollm2 import is_here as smollm2_is_here
from dola_core.models.sources.source import ATLAS, listed, title

Load = Callable[[str, Callable[[Stage], None]], Engine]
"""The name of a model, and what is told about each stage of loading it → its engine. Raises `LoadError`."""
POLL = 0.5
"""Seconds between two looks at a model that is being loaded."""


class EnginePool:
    """Keeps the engines of at most `most` models; the least recently used one goes first. Safe to use from threads.

    A `ModelPool`.
    """

    def __init__(self, titles: Sequence[tuple[str, str]], load: Load, most: int = 2) -> None:
        """`titles` are the models: (what the list and links call it, what people call it), the first choice first."""
        self.titles: Mapping[str, str] = dict(titles)
        self._load, self._most = load, most
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._facts: dict[str, ModelFacts] = {}
        self._changed = threading.RLock()
        self._one_at_a_time = threading.Lock()

    @classmethod
    def of(cls, engine: Engine) -> "EnginePool":
        """A pool of one engine that is loaded already."""
        name = engine.loaded.info.name
        pool = cls([(name, name)], lambda _name, _on_stage: engine, most=1)
        pool.get(name)
        return pool

    @property
    def first(self) -> ModelFacts:
        """The facts of the first model, which must be loaded."""
        return self._facts[next(iter(self.titles))]

    def facts(self, name: object) -> ModelFacts | None:
        """The facts of a model that was loaded before, or None."""
        return self._facts.get(name) if isinstance(name, str) else None

    def is_loaded(self, name: str) -> bool:
        """Whether a run with the model can begin at once."""
        with self._changed:
            return name in self._engines

    def get(self, name: str, on_stage: Callable[[Stage], None] = lambda stage: None) -> Engine:
        """The engine of a model, which is loaded if it is not.

        Raises `UnknownModelError` for one that is not on the list, and `LoadError`.
        """
        if name not in self.titles:
            raise UnknownModelError("error.no_such_model", models=", ".join(self.titles))
        if engine := self._found(name):
            return engine
        with self._one_at_a_time:
            if engine := self._found(name):
                return engine
            self._make_room()
            engine = self._load(name, on_stage)
            with self._changed:
                self._engines[name] = engine
                self._facts[name] = ModelFacts.of(name, engine)
            return engine

    def loading(self, name: str) -> Generator[Loading, None, Engine]:
        """The same, yielding about twice a second how far it is; returns the engine."""
        if name in self.titles and (engine := self._found(name)):
            return engine
        stages: list[Stage] = ["finding"]
        done: list[Engine | BaseException] = []

        def load() -> None:
            try:
                done.append(self.get(name, stages.append))
            except BaseException as error:  # it is raised where the engine is waited for
                done.append(error)

        thread = threading.Thread(target=load, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(POLL)
            if thread.is_alive():
                yield Loading(self.titles.get(name, name), stages[-1])
        if isinstance(done[0], BaseException):
            raise done[0]
        return done[0]

    def rows(self, name: str, asked: int | None) -> int | None:
        """None on a model that is not loaded, since nothing else runs while one is, or that decodes one run at a time;
        else what is `asked` for."""
        facts = self.facts(name)
        together = not ZERO_GPU and self.is_loaded(name) and facts is not None and facts.decodes_together
        return asked if together else None

    def run(
        self, name: str, job: Job[Update], cancelled: Asked, rows: int | None
    ) -> Generator[Loading | Update, None, None]:
        """Load the model if it is not, then yield what the job does with it, unless it was cancelled meanwhile."""
        engine = yield from self.loading(name)
        if not cancelled():
            with closing(job(engine, cancelled=cancelled)) as updates:
                yield from updates

    def release(self) -> None:
        """Free what the engines keep for a next run."""
        with self._changed:
            engines = list(self._engines.values())
        for engine in engines:
            engine.release()

    def _found(self, name: str) -> Engine | None:
        with self._changed:
            if name in self._engines:
                self._engines.move_to_end(name)
                return self._engines[name]
            return None

    def _make_room(self) -> None:
        """Let go of engines until one more may be loaded. A run that still uses one keeps it until it ends."""
        with self._changed:
            gone = [self._engines.popitem(last=False)[1] for _ in range(len(self._engines) - self._most + 1)]
        for engine in gone:
            engine.release()
        if gone:
            del engine, gone
            release_startup_objects()


def engine_loader(settings: Settings) -> Load:
    """What loads one of the host's models as the settings say."""
    places = listed(names_of(settings))

    def load(name: str, on_stage: Callable[[Stage], None]) -> Engine:
        loaded = load_model(
            places[name],
            settings.device,
            settings.dtype,
            quantize=settings.quantize,
            gpu_later=ZERO_GPU,
            on_stage=on_stage,
        )
        if settings.compile:
            on_stage("compiling")
            program = settings.model_config.get("cli_prog_name")
            print(f"{program}: compiling {title(name)}, which takes a minute or two …", file=sys.stderr, flush=True)
        return Engine(loaded, compiled=settings.compile)

    return load


def names_of(settings: Settings) -> tuple[str, ...]:
    """The models of the page by name: those that were asked for, or what is here."""
    return settings.names or ((SMOLLM2, ATLAS) if smollm2_is_here() else (ATLAS,))


def load_pool(settings: Settings) -> EnginePool:
    """The models of the settings, the first of them loaded; on ZeroGPU, where a GPU comes and goes, all of them.

    Where the first cannot be loaded, the page comes up on the next one, and the others stay in its menu, since what was
    missing may be there later. Raises `LoadError` if none can be loaded.
    """
    left, refused, load = list(listed(names_of(settings))), list[str](), engine_loader(settings)
    while True:
        titles = [(name, title(name)) for name in (*left, *refused)]
        # A compiled model stays, for its step holds weights of its own that nothing frees.
        most = len(titles) if ZERO_GPU or settings.compile else settings.max_loaded
        pool = EnginePool(titles, load, most)
        try:
            for name in left if ZERO_GPU else left[:1]:
                pool.get(name)
            return pool
        except LoadError as error:
            left.remove(name)
            if not left:
                raise
            refused.append(name)
            print(f"app.py: {error} The page comes up on {title(left[0])}.", file=sys.stderr)
