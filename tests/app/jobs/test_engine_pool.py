"""Models are loaded when they are first asked for, one at a time, and no more are kept than may be."""

import gc
import threading
import weakref
from types import SimpleNamespace
from typing import get_args

import pytest

from app.inputs.examples import NEUTRAL
from app.jobs.engine_pool import EnginePool
from app.jobs.host import Host
from app.jobs.model_pool import Loading, UnknownModelError
from app.jobs.queue.run_queue import RunQueue
from app.jobs.queue.visitor import Visitor
from app.jobs.request import Limits
from app.language import CODES, language
from dola_core.errors import LoadError
from dola_core.models.info import ModelInfo
from dola_core.models.loading import Stage
from dola_core.models.preset import Preset

NAMES = ("a", "b", "c")


class FakeEngine:
    """An engine with nothing but what the page asks about a model."""

    def __init__(self, name: str) -> None:
        self.label, self.released, self.decodes_together = f"{name} · 30 layers", 0, True
        info = ModelInfo(name=name, dtype="float32", n_layers=30, vocab_size=100)
        self.loaded = SimpleNamespace(
            info=info, preset=Preset(layer=3), repetition_penalty=1.0, has_chat_template=False, reads_images=False
        )

    def release(self) -> None:
        self.released += 1


class Loader:
    """Makes engines and counts how often."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.fails: set[str] = set()
        self.at_once = self.most_at_once = 0
        self.hold = threading.Event()
        self.hold.set()

    def __call__(self, name, on_stage):
        self.loads.append(name)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            for stage in get_args(Stage):
                on_stage(stage)
                assert self.hold.wait(10)
            if name in self.fails:
                raise LoadError(f"{name} is not there; choose another.")
            return FakeEngine(name)
        finally:
            self.at_once -= 1


@pytest.fixture
def loader():
    return Loader()


def pool_of(loader, most):
    return EnginePool([(name, name.upper()) for name in NAMES], loader, most)


def drained(generator):
    """What a generator yields, and what it returns."""
    yielded = []
    while True:
        try:
            yielded.append(next(generator))
        except StopIteration as end:
            return yielded, end.value


def test_a_model_is_loaded_once_and_its_facts_stay(loader):
    pool = pool_of(loader, 1)
    assert pool.facts("a") is None
    first = pool.get("a")
    assert pool.get("a") is first
    assert loader.loads == ["a"]
    pool.get("b")
    assert not pool.is_loaded("a")
    assert (pool.facts("a").name, pool.facts("a").n_layers) == ("a", 30)
    assert pool.facts("a").known.examples == NEUTRAL
    pool.get("a")
    assert loader.loads == ["a", "b", "a"]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_more_are_kept_than_may_be_and_the_least_recently_used_goes_first(loader, most):
    pool, used = pool_of(loader, most), []
    for name in "abcabacbbca":
        pool.get(name)
        used = [*(other for other in used if other != name), name][-most:]
        assert [other for other in NAMES if pool.is_loaded(other)] == sorted(used)


def test_what_goes_is_released_and_its_memory_is_free(loader):
    pool = pool_of(loader, 1)
    engine = pool.get("a")
    gone = weakref.ref(engine)
    gc.freeze()  # as the page does when it starts
    pool.get("b")
    assert engine.released == 1
    del engine
    assert gone() is None


def test_who_asks_for_a_model_that_is_being_loaded_gets_the_same_and_nothing_is_loaded_beside_it(loader):
    pool, found = pool_of(loader, 2), []
    loader.hold.clear()
    threads = [threading.Thread(target=lambda name=name: found.append(pool.get(name))) for name in "aabb"]
    for thread in threads:
        thread.start()
    loader.hold.set()
    for thread in threads:
        thread.join(10)
    assert len({id(engine) for engine in found}) == 2
    assert sorted(loader.loads) == ["a", "b"]
    assert loader.most_at_once == 1


def test_a_model_that_is_not_on_the_list_is_not_looked_for(loader):
    pool = pool_of(loader, 2)
    for name in ("d", "../a", "", "owner/model"):
        with pytest.raises(UnknownModelError, match="there are a, b, c"):
            pool.get(name)
        with pytest.raises(UnknownModelError):
            drained(pool.loading(name))
    assert loader.loads == []


def test_a_model_that_cannot_be_loaded_leaves_the_others_as_they_were_and_may_be_tried_again(loader):
    pool = pool_of(loader, 2)
    pool.get("a")
    loader.fails = {"b"}
    for _ in range(2):
        with pytest.raises(LoadError, match="b is not there"):
            drained(pool.loading("b"))
    assert pool.is_loaded("a")
    assert pool.facts("b") is None
    loader.fails = set()
    assert drained(pool.loading("b"))[1].loaded.info.name == "b"


def test_a_visitor_is_told_how_far_it_is_in_both_languages(loader):
    pool = pool_of(loader, 2)
    loader.hold.clear()
    waiting = pool.loading("a")
    told = next(waiting)
    loader.hold.set()
    assert told == Loading("A", "finding")
    for code in CODES:
        for stage in get_args(Stage):
            assert "A" in Loading("A", stage).message(language(code))
    assert drained(waiting)[1] is pool.get("a")


def label(engine, cancelled):
    """A job that yields what the model is called."""
    yield engine.label


def test_a_run_of_a_model_that_went_loads_it_again_in_its_turn(loader):
    pool = pool_of(loader, 1)
    host = Host(pool, RunQueue(1, 4), Limits())
    for name in ("a", "b", "a"):
        updates = list(host.in_turn(Visitor("", "visitor"), name, label))
        assert updates[-1] == f"{name} · 30 layers"
    assert loader.loads == ["a", "b", "a"]


def test_a_run_that_is_cancelled_while_its_model_is_loaded_does_not_start(loader):
    pool, cancelled = pool_of(loader, 1), threading.Event()
    host = Host(pool, RunQueue(1, 4), Limits())
    loader.hold.clear()
    updates = host.in_turn(Visitor("", "visitor"), "a", label, cancelled.is_set)
    assert isinstance(next(updates), Loading)
    cancelled.set()
    loader.hold.set()
    assert [update for update in updates if not isinstance(update, Loading)] == []
