"""A search as the page and programs run it: the same as the search itself, halted where asked."""

import pickle
import time

import pytest

from app.jobs import layer_search
from app.jobs.layer_search import run_search
from app.jobs.request import Limits, RequestError
from dola_core.errors import QuestionTooLongError
from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.search import Search
from dola_core.layer_search.search_config import SearchConfig

CITIES = {"Japan": "Tokyo", "Pakistan": "Islamabad", "Peru": "Lima", "Norway": "Oslo", "Kenya": "Nairobi"}
# Of different lengths, so that they are read in several batches.
ITEMS = [
    Item(prompt=f"{'Here is a fact. ' * number}The capital of {land} is", answers=(city,), wrong=("Osaka", "Karachi"))
    for number, (land, city) in enumerate(CITIES.items())
]
ASKED = SearchConfig(alphas=(0.1,), metric="accuracy")


def searched(engine, limits=None, *, errors=False, **more):
    return list(run_search(engine, ITEMS, ASKED, "questions", "hash", limits or Limits(), errors, **more))


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


@pytest.mark.parametrize("halt", ["stopped", "time"])
def test_a_halt_keeps_what_was_read(engine, halt, monkeypatch):
    if halt == "time":
        now = [0.0]
        monkeypatch.setattr(time, "monotonic", lambda: now.__setitem__(0, now[0] + 1) or now[0])
        found = searched(engine, Limits(seconds=2.5))
    else:
        asked = []
        found = searched(engine, cancelled=lambda: asked.append(1) or len(asked) > 2)
    assert found[-1].finished
    assert found[-1].halt == halt
    assert 0 < found[-1].result.data.items < len(ITEMS)


def test_what_goes_to_and_comes_from_another_process_can_be_pickled(engine):
    found = searched(engine)[-1]
    assert pickle.loads(pickle.dumps((ITEMS, ASKED, Limits(), found))) == (ITEMS, ASKED, Limits(), found)
    for error in (QuestionTooLongError(3, 500, 400), RequestError("error.layer", layer=30, last=29)):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
