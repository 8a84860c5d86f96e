"""What SmolLM2's card tells was measured, with the commands it names, and ships without a text of a published set."""

import hashlib

import pytest

from app.paths import MODELS
from dola_core.layer_search.arguments import command_line, search_config
from dola_core.layer_search.questions.dataset import read_items
from dola_core.layer_search.result import SearchResult
from dola_core.models.preset import Preset
from tests.server import load_module

FOLDER = MODELS / "smollm2"
measure = load_module(FOLDER / "build" / "measure.py", "measure_smollm2")
DONE = [one for one in measure.MEASUREMENTS if one.file.is_file()]


def result_of(one) -> SearchResult:
    return SearchResult.model_validate_json(one.file.read_bytes())


def test_every_result_is_of_a_measurement_that_can_be_made_again():
    assert {one.file for one in DONE} == set(measure.RESULTS.glob("*"))
    assert len({one.name for one in measure.MEASUREMENTS}) == len(measure.MEASUREMENTS)


@pytest.mark.parametrize("one", DONE, ids=lambda one: one.name)
def test_a_result_is_whole_of_these_weights_and_of_what_its_command_asks_for(one, tmp_path):
    result = result_of(one)
    assert result.complete
    assert result.model.identity == Preset.model_validate_json((FOLDER / "dola_static.json").read_bytes()).identity
    options = command_line().parse_args(one.arguments(tmp_path))
    file = measure.ATLAS / one.data
    items = read_items(file) if file.is_file() else []
    assert search_config(options, items) == result.asked
    assert result.data.name == one.data
    if items:
        assert result.data.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("one", DONE, ids=lambda one: one.name)
def test_a_result_holds_no_texts(one):
    result = result_of(one)
    assert result == result.without_texts()


def test_the_card_holds_the_table_of_what_was_measured():
    card = measure.CARD.read_text(encoding="utf-8")
    assert f"{measure.BEGIN}{measure.table()}{measure.END}" in card
    assert max(map(len, (card.partition(measure.BEGIN)[0]).splitlines())) <= 125
