"""A search as the page and programs run it: the same as the search itself, halted where asked."""

import itertools
import pickle
import time

import pytest

from app.jobs import layer_search
from app.jobs.layer_search import SlowSearchError, run_search
from app.jobs.request import Limits, RequestError
from dola_core.errors import QuestionTooLongError
from dola_core.files.paths import SHIPPED_MODEL
from dola_core.layer_search.evaluate import MetricTable
from dola_core.layer_search.questions.dataset import Item, read_items
from dola_core.layer_search.result import SearchResult
from dola_core.layer_search.search import Search
from dola_core.layer_search.search_config import SearchConfig

CITIES = {"Japan": "Tokyo", "Pakistan": "Islamabad", "Peru": "Lima", "Norway": "Oslo", "Kenya": "Nairobi"}
# Of different lengths, so that they are read in several batches.
ITEMS = [
    Item(prompt=f"{'Here is a fact. ' * number}The capital of {land} is", answers=(city,), wrong=("Osaka", "Karachi"))
    for number, (land, city) in enumerate(CITIES.items())
]
ASKED = SearchConfig(alphas=(0.1,), metric="accuracy")


KNOWN = SearchResult.model_validate_json((SHIPPED_MODEL / "layer_search" / "result.json").read_bytes())
QUESTIONS = read_items(SHIPPED_MODEL / "validation.jsonl")
OTHERS = [QUESTIONS[case.item] for case in KNOWN.errors[-24:]]
CHANGING = SearchConfig(alphas=(KNOWN.chosen.alpha,), metric="said", layers=(KNOWN.chosen.layer,))
"""Questions, and the setting that mended or broke them."""


def searched(engine, limits=None, *, items=ITEMS, asked=ASKED, errors=False, **more):
    return list(run_search(engine, items, asked, "questions", "hash", limits or Limits(), errors, **more))


def test_the_last_result_is_the_search_s_own(engine):
    search = Search(engine.loaded, ITEMS, ASKED, name="questions", sha256="hash")
    for _ in search.run():
        pass
    *_, last = searched(engine, errors=True)
    assert last.finished
    assert last.halt is None
    whole = search.result(errors=50)
    assert last.result.model_dump(exclude={"seconds"}) == whole.model_dump(exclude={"seconds"})
    assert searched(engine)[-1].result.errors == ()


def test_it_grows_while_questions_are_read(engine, monkeypatch):
    monkeypatch.setattr(layer_search, "RESULT_INTERVAL", 0.0)
    *parts, last = searched(engine)
    assert parts
    assert [part.result.data.items for part in parts] == sorted({part.result.data.items for part in parts})
    assert all(not part.finished and part.result.data.items < last.result.data.items for part in parts[:-1])


@pytest.fixture
def read(monkeypatch) -> list[int]:
    """The questions that were read so far; each takes a second."""
    numbers: list[int] = []
    add = MetricTable.add
    monkeypatch.setattr(MetricTable, "add", lambda table, n, values: numbers.append(n) or add(table, n, values))
    monkeypatch.setattr(time, "monotonic", lambda: float(len(numbers)))
    return numbers


@pytest.mark.parametrize("halt", ["stopped", "time"])
def test_a_halt_keeps_what_was_read(engine, halt, read):
    limits = Limits(seconds=2.5 if halt == "time" else 100)
    found = searched(engine, limits, errors=True, cancelled=lambda: halt == "stopped" and len(read) > 2)
    assert (found[-1].finished, found[-1].halt, found[-1].result.data.items) == (True, halt, 3)
    assert not found[-1].result.complete


def test_questions_of_a_halted_search_are_listed_without_asking_the_model_again(engine, read):
    last = searched(engine, items=OTHERS, asked=CHANGING, errors=True, cancelled=lambda: len(read) > 20)[-1]
    whole = searched(engine, items=OTHERS, asked=CHANGING, errors=True)[-1]
    assert len(last.result.errors) == last.result.chosen.mended + last.result.chosen.broken > 0
    assert all(case.prompt and case.answers and not case.wrong and not case.q_N for case in last.result.errors)
    assert all(case.wrong and case.q_N for case in whole.result.errors)


def test_a_search_that_is_cancelled_while_its_last_questions_are_looked_at_again_is_whole(engine, read):
    told = []

    def cancelled() -> bool:
        told.append(len(read) == len(OTHERS))
        return sum(told) > 50

    last = searched(engine, items=OTHERS, asked=CHANGING, errors=True, cancelled=cancelled)[-1]
    assert (last.halt, last.result.complete, last.result.data.items) == (None, True, len(OTHERS))
    assert last.result.errors
    assert not any(case.q_N for case in last.result.errors)


@pytest.mark.parametrize("after", [0, 1, 12, 40, 75])
def test_a_cancelled_search_runs_no_further_block_of_the_model(engine, after):
    """Wherever in a pass or in the read-outs it is cancelled."""
    asked, late = itertools.count(1), []
    stopped = []

    def cancelled() -> bool:
        stopped.append(next(asked) > after)
        return stopped[-1]

    hooks = [
        block.register_forward_hook(lambda *_: late.append(1) if stopped and stopped[-1] else None)
        for block in engine.loaded.readout.blocks
    ]
    try:
        assert searched(engine, cancelled=cancelled) == []
    finally:
        for hook in hooks:
            hook.remove()
    assert len(stopped) == after + 1
    assert late == []
    assert not any(block._forward_pre_hooks for block in engine.loaded.readout.blocks)


def test_a_search_in_which_no_question_is_read_in_time_says_what_to_do(engine, monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    with pytest.raises(SlowSearchError, match=r"within 5 s, this page's time limit\. Shorten the questions"):
        searched(engine, Limits(seconds=5))


def test_the_time_left_is_what_the_others_take_at_the_pace_so_far(engine, read, monkeypatch):
    monkeypatch.setattr(layer_search, "RESULT_INTERVAL", 0.0)
    *parts, last = searched(engine)
    assert [(part.done, part.seconds, part.seconds_left) for part in parts] == [
        (done, done, len(ITEMS) - done) for done in range(2, len(ITEMS) + 1)
    ]
    assert last.seconds_left == 0


def test_what_goes_to_and_comes_from_another_process_can_be_pickled(engine):
    found = searched(engine)[-1]
    assert pickle.loads(pickle.dumps((ITEMS, ASKED, Limits(), found))) == (ITEMS, ASKED, Limits(), found)
    for error in (QuestionTooLongError(3, 500, 400), RequestError("error.layer", layer=30, last=29)):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
