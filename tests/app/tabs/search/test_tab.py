"""The tab where j* is chosen: before there is a result, while a search runs, and what is said above a result."""

from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest

from app.inputs.known_model import KnownModel
from app.inputs.question_file import TRIAL
from app.jobs.layer_search import SearchBegun, SearchUpdate
from app.jobs.model_pool import ModelFacts
from app.jobs.queue.cancellation import Cancellations
from app.jobs.request import Limits
from app.language import ENGLISH, language
from app.render.search_summary import opening, take_label, verdict
from app.tabs.search.components import SearchTab, lay_out_search_tab, said_of
from app.tabs.search.handlers import SearchHandlers
from app.tabs.search.pace import Pace, spoken_time, trial_label
from app.tabs.search.progress import progress
from dola_core.files.paths import SHIPPED_MODEL
from dola_core.layer_search.questions.dataset import read_items
from dola_core.layer_search.result import SearchResult
from dola_core.layer_search.search import search_layers
from dola_core.models.info import ModelInfo
from dola_core.models.preset import Preset, RecordedTest
from tests.app.loops import run_apart
from tests.dola_core.layer_search.questions import CONFIG, ITEMS

CHINESE = language("zh")
FACTS = ModelFacts(
    name="m", label="", info=ModelInfo(name="m", dtype="float32", n_layers=12, vocab_size=97), preset=Preset(layer=9),
    repetition_penalty=1.0, has_chat_template=False, known=KnownModel(), decodes_together=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def found(loaded) -> SearchResult:
    return search_layers(loaded, ITEMS, CONFIG)


@pytest.fixture(scope="module")
def tab() -> SearchTab:
    """The tab of a model that nothing is known about."""

    async def built() -> SearchTab:
        with gr.Blocks():
            return lay_out_search_tab(FACTS)

    return run_apart(built())


def has(found: SearchResult, **more: object) -> ModelFacts:
    """The facts of a model that comes with a result."""
    return replace(FACTS, known=KnownModel(search=found), **more)


@pytest.mark.parametrize("words", [ENGLISH, CHINESE], ids=lambda words: words.code)
def test_a_model_without_a_result_shows_what_a_search_will_show_labelled_as_a_sketch(tab, words):
    shown = tab.show(None, None, FACTS, words)
    assert shown[tab.empty].visible
    assert not shown[tab.charts].visible
    assert not shown[tab.best].visible
    card = shown[tab.sketch]
    assert card["figure"]["layout"]["annotations"][0]["text"] == words("search.sketch_mark")
    assert card["sub"] == words("search.sketch_sub")
    assert all(list(line["x"]) == list(range(1, 12)) for line in card["figure"]["data"])
    assert len(tab.translated(words)[tab.steps].splitlines()) == 3
    assert f"{len(read_items(SHIPPED_MODEL / 'validation.jsonl')):,}" in tab.translated(words)[tab.steps]


def test_a_result_takes_the_place_of_the_sketch(tab, found):
    shown = tab.show(found, None, has(found), ENGLISH)
    assert shown[tab.charts].visible
    assert not shown[tab.empty].visible
    assert shown[tab.best].visible
    assert shown[tab.best].value == take_label(found, ENGLISH)
    few = tab.show(found.model_copy(update={"stability": None}), None, FACTS, ENGLISH)
    assert not few[tab.best].visible


def test_only_above_the_models_own_result_stands_how_its_setting_was_tested(tab, found):
    test = RecordedTest(data="t", questions=99, metric="said", mended=7, broken=2, gain=(5.1, 1.0, 9.0))
    facts = has(found, preset=Preset(layer=9, tested=test))
    own = found.model_copy(update={"seconds": found.seconds + 1})
    said = {one: said_of(result, facts, ENGLISH) for one, result in (("shipped", found), ("visitor's", own))}
    assert said["shipped"] == opening(facts.preset, found, ENGLISH)
    assert said["shipped"].first.startswith("On 99 other questions")
    assert said["shipped"].more == verdict(found, ENGLISH).whole
    assert said["visitor's"] == verdict(found, ENGLISH)


class TestTheButtonThatTries40Questions:
    def test_it_claims_no_time_of_a_model_that_was_never_measured(self):
        assert trial_label(FACTS, Pace(), ENGLISH) == "Try 40 questions"

    def test_it_tells_the_time_of_the_result_that_comes_with_the_model(self, found):
        facts = has(found.model_copy(update={"seconds": 12.6}))  # of 42 questions
        assert trial_label(facts, Pace(), ENGLISH) == "Try 40 questions (about 12 s)"
        assert trial_label(facts, Pace(), CHINESE) == "试测 40 道题（约 12 秒）"

    def test_it_tells_the_time_of_the_last_search_here_if_there_was_one(self, found):
        pace = Pace()
        pace.record("m", 3.0, 9)  # too few to tell
        assert trial_label(FACTS, pace, ENGLISH) == "Try 40 questions"
        pace.record("m", 20.0, 40)
        pace.record("other", 1.0, 40)
        assert trial_label(has(found), pace, ENGLISH) == "Try 40 questions (about 20 s)"
        pace.record("m", 200.0, 40)
        assert trial_label(FACTS, pace, ENGLISH) == "Try 40 questions (about 4 min)"

    def test_it_measures_40_of_the_pages_questions_and_notes_how_long_they_took(self, engine, tab):
        def in_turn(_session, _model, job, cancelled):
            yield from job(engine, cancelled=cancelled)

        pool = SimpleNamespace(facts=lambda name: FACTS, first=FACTS, release=lambda: None)
        host = SimpleNamespace(pool=pool, in_turn=in_turn, limits=Limits())
        cancellations = Cancellations()
        on = SearchHandlers(host, "model", tab, None, None, None, "language", "number", cancellations)
        values = {"model": "m", "language": "en", "number": cancellations.register("someone")}
        before = tab.pace.expected(FACTS, TRIAL)
        first, *_, last = on.search_trial(values, SimpleNamespace(session_hash="someone"))
        assert first[tab.notice] == {"text": "measuring every layer of 40 questions …", "tone": "busy"}
        result = last[tab.result]
        assert (before, result.data.items, result.data.of, result.data.held) == (None, TRIAL, TRIAL, 1842)
        assert result.data.sampled
        known = KnownModel.of(engine.loaded.info).search
        assert (result.asked.metric, result.data.sha256) == (known.asked.metric, known.data.sha256)
        assert 0 < tab.pace.expected(FACTS, TRIAL) < 600
        assert last[tab.notice] is None


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0, "1 s"), (8.2, "9 s"), (89.0, "89 s"), (91.0, "2 min"), (600.0, "10 min")],
)
def test_a_time_is_told_in_whole_seconds_or_minutes(seconds, said):
    assert spoken_time(seconds, ENGLISH) == said


def test_the_time_left_stands_beside_what_is_measured(tab, found):
    def updates():
        yield SearchUpdate(10, 42, found, seconds=5.0)
        yield SearchUpdate(42, 42, found, finished=True, seconds=21.0)

    first, last = progress(tab, updates(), lambda: False, Limits(), ENGLISH)
    assert first[tab.notice]["text"] == "measuring every layer: 10 of 42 questions, about 16 s left …"
    assert not first[tab.empty].visible
    assert last[tab.notice] is None


def test_what_a_search_measured_before_it_was_stopped_is_told(tab, found):
    part = found.model_copy(update={"complete": False, "data": found.data.model_copy(update={"items": 7})})
    halted = SearchUpdate(7, 42, part, finished=True, halt="stopped")
    (last,) = progress(tab, (one for one in [halted]), lambda: True, Limits(), ENGLISH)
    assert last[tab.notice]["text"] == "Stopped: 7 of 42 questions were measured."
    (nothing,) = progress(tab, (one for one in ()), lambda: True, Limits(), ENGLISH)
    assert nothing == {tab.notice: None}
    _, early = progress(tab, (one for one in [SearchBegun(42)]), lambda: True, Limits(), ENGLISH)
    assert early[tab.notice]["text"] == "Stopped before any question was measured."


def test_of_a_file_as_many_questions_are_drawn_as_the_field_says(engine, tab, tmp_path):
    def in_turn(_session, _model, job, cancelled):
        yield from job(engine, cancelled=cancelled)

    pool = SimpleNamespace(facts=lambda name: FACTS, first=FACTS, release=lambda: None)
    cancellations, before = Cancellations(), tab.pace.expected(FACTS, TRIAL)
    host = SimpleNamespace(pool=pool, in_turn=in_turn, limits=Limits())
    on = SearchHandlers(host, "model", tab, None, None, None, "language", "number", cancellations)
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(f"{item.model_dump_json()}\n" for item in ITEMS), encoding="utf-8")
    values = {"model": "m", "language": "en", tab.upload: str(file), tab.limit: 21}
    *_, last = on.search(values | {"number": cancellations.register("a")}, SimpleNamespace(session_hash="a"))
    data = last[tab.result].data
    assert (data.name, data.items, data.of, data.held, data.sampled) == ("mine.jsonl", 21, 21, len(ITEMS), True)
    assert tab.pace.expected(FACTS, TRIAL) == before  # it is told of the page's own questions alone
