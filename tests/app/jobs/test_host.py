"""How many rows a visitor's run takes, and visitors who run together on one model."""

import threading
from types import SimpleNamespace

import pytest

from app.jobs.engine_pool import EnginePool
from app.jobs.host import Host
from app.jobs.queue.run_queue import RunQueue, Waiting
from app.jobs.queue.visitor import Visitor
from app.jobs.request import ComparisonRequest, Limits, rows_of
from dola_core.lanes import Baseline, DolaStatic
from dola_core.models.info import ModelInfo
from dola_core.models.preset import Preset

ROWS = 16


class EngineDouble:
    """An engine with nothing but what the page asks about a model, and a count of the runs that go on in it."""

    def __init__(self, name: str, *, together: bool = True) -> None:
        info = ModelInfo(name=name, dtype="float32", n_layers=30, vocab_size=100)
        self.label, self.decodes_together = name, together
        self.loaded = SimpleNamespace(
            info=info, preset=Preset(layer=3), repetition_penalty=1.0, has_chat_template=False, reads_images=False
        )

    def release(self) -> None:
        pass


def host_of(names: str = "m", *, together: bool = True, most: int = 2) -> Host:
    """A host of some models, of which the first is loaded."""
    pool = EnginePool([(name, name) for name in names], lambda name, _: EngineDouble(name, together=together), most)
    pool.get(names[0])
    return Host(pool, RunQueue(ROWS, 32), Limits())


def of(name: str) -> Visitor:
    """A visitor alone at an address."""
    return Visitor(name, name)


def endless(engine, cancelled):
    while True:
        yield engine.label


def taken(host: Host) -> list[int]:
    """The rows of the runs in the queue."""
    return [entry.rows for entry in host.queue._entries]


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr("app.jobs.queue.run_queue.POLL", 0.01)


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ({}, 2),
        ({"lanes": (Baseline(),)}, 1),
        ({"lanes": (Baseline(), *(DolaStatic(layer=layer, alpha=0.1) for layer in (3, 12, 22)))}, 4),
        ({"decoding": {"temperature": 1.0}}, 2),
        ({"decoding": {"num_beams": 3}}, None),
    ],
    ids=["usual", "one", "four", "drawn", "beams"],
)
def test_a_comparison_takes_a_row_for_each_lane_and_a_beam_search_all(asked, rows):
    assert ComparisonRequest.of(**{"prompt": "a", "decoding": {}} | asked).rows == rows
    assert rows_of(3, 1) == 3


@pytest.mark.parametrize(("rows", "found"), [(2, 2), (4, 4), (99, ROWS), (None, ROWS)])
def test_a_run_takes_the_rows_that_are_asked_for_and_no_more_than_there_are(rows, found):
    host = host_of()
    with_rows = host.in_turn(of("a"), "m", endless, rows=rows)
    assert next(with_rows) == "m"
    assert taken(host) == [found]
    with_rows.close()
    assert taken(host) == []


def test_a_model_that_decodes_one_run_at_a_time_gives_it_all_rows():
    host = host_of(together=False)
    first, second = (host.in_turn(of(name), "m", endless, rows=2) for name in "ab")
    assert next(first) == "m"
    assert isinstance(next(second), Waiting)
    assert taken(host) == [ROWS, ROWS]


def test_on_zero_gpu_a_run_is_alone(monkeypatch):
    monkeypatch.setattr("app.jobs.engine_pool.ZERO_GPU", True)
    host = host_of()
    first = host.in_turn(of("a"), "m", endless, rows=2)
    assert next(first) == "m"
    assert taken(host) == [ROWS]


def test_a_model_is_loaded_alone_and_those_who_waited_for_it_go_on_together():
    host = host_of("mn")
    loading = host.in_turn(of("a"), "n", endless, rows=2)
    assert [update for update, _ in zip(loading, range(9), strict=False) if update == "n"]
    others = [host.in_turn(of(name), "n", endless, rows=2) for name in "bc"]
    assert all(isinstance(next(other), Waiting) for other in others)
    loading.close()
    assert [next(other) for other in others] == ["n", "n"]
    assert taken(host) == [2, 2]


def test_a_model_that_was_let_go_of_is_loaded_alone_again():
    host = host_of("mn", most=1)
    host.pool.get("n")
    assert not host.pool.is_loaded("m")
    back = host.in_turn(of("a"), "m", endless, rows=2)
    assert "m" in [update for update, _ in zip(back, range(9), strict=False)]
    assert taken(host) == [ROWS]


def test_eight_visitors_compare_at_once_and_the_others_as_soon_as_one_has_ended():
    host = host_of()
    runs = [host.in_turn(of(str(number)), "m", endless, rows=2) for number in range(10)]
    first = [next(run) for run in runs]
    assert first[:8] == ["m"] * 8
    assert [update.ahead for update in first[8:]] == [1, 2]
    runs[3].close()
    ninth, tenth = (next(run) for run in runs[8:])
    assert (ninth, tenth.ahead) == ("m", 1)


def test_many_visitors_in_threads_all_come_to_an_end_and_never_take_more_rows_than_there_are():
    host, lock, under_way, most, ended = host_of(), threading.Lock(), [], [], []

    def run(rows):
        def start(engine, cancelled):
            with lock:
                under_way.append(rows)
                most.append(sum(under_way))
            yield rows
            with lock:
                under_way.remove(rows)

        return start

    def visit(number: int) -> None:
        rows = (2, 4, None, 1)[number % 4]
        updates = host.in_turn(Visitor(str(number % 3), str(number)), "m", run(rows or ROWS), rows=rows)
        ended.extend(update for update in updates if not isinstance(update, Waiting))

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(ended) == sorted([2, 4, ROWS, 1] * 6)
    assert max(most) <= ROWS
    assert taken(host) == []
