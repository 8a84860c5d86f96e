"""What both cards tell was measured, with the commands they name, and ships without a text of a published set."""

import hashlib
import re

import pytest

from app.paths import MODELS
from dola_core.layer_search.arguments import command_line, search_config
from dola_core.layer_search.questions.dataset import read_items
from dola_core.layer_search.result import SearchResult
from tests.server import load_module

measure = load_module(MODELS / "smollm2" / "build" / "measure.py", "measure_smollm2")
EVERY = [*measure.MEASUREMENTS, *measure.SIDE_BY_SIDE]
DONE = [one for one in EVERY if one.file.is_file()]
SIDE = [one for one in measure.SIDE_BY_SIDE if one.file.is_file()]


def result_of(one) -> SearchResult:
    return SearchResult.model_validate_json(one.file.read_bytes())


def called(one) -> str:
    return f"{one.model} {one.name}"


def card_of(model: str) -> str:
    return (MODELS / model / "README.md").read_text(encoding="utf-8")


def test_every_result_is_of_a_measurement_that_can_be_made_again():
    assert {one.file for one in DONE} == set(MODELS.glob("*/measured/*"))
    assert len({one.file for one in EVERY}) == len(EVERY)


@pytest.mark.parametrize("one", DONE, ids=called)
def test_a_result_is_whole_of_these_weights_and_of_what_its_command_asks_for(one, tmp_path):
    result = result_of(one)
    assert result.complete
    searched = SearchResult.model_validate_json((MODELS / one.model / "layer_search" / "result.json").read_bytes())
    assert result.model.identity == searched.model.identity
    options = command_line().parse_args(one.arguments(tmp_path))
    file = measure.ATLAS / one.data
    items = read_items(file) if file.is_file() else []
    assert search_config(options, items) == result.asked
    assert result.data.name == one.data
    if items:
        assert result.data.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("one", DONE, ids=called)
def test_a_result_holds_no_texts(one):
    result = result_of(one)
    assert result == result.without_texts()


def test_the_card_holds_the_table_of_what_was_measured():
    card = card_of("smollm2")
    assert f"{measure.BEGIN}{measure.table()}{measure.END}" in card
    assert max(map(len, (card.partition(measure.BEGIN)[0]).splitlines())) <= 125


@pytest.mark.parametrize("model", measure.DTYPES)
def test_the_card_holds_the_table_of_the_decoders_side_by_side(model):
    card = card_of(model)
    assert f"{measure.SIDE_BEGIN}{measure.side_table(model)}{measure.SIDE_END}" in card
    assert card.count(measure.SIDE_BEGIN) == card.count(measure.SIDE_END) == 1
    text = card.partition(measure.SIDE_BEGIN)[0].rpartition("\n## ")[2]
    assert max(map(len, text.splitlines())) <= 125


@pytest.mark.parametrize("one", SIDE, ids=called)
def test_a_line_of_the_card_tells_each_decoders_metric_and_its_gain_on_plain(one):
    """Read from the result without the code that wrote the line."""
    result = result_of(one)
    metric, lanes = result.asked.metric, {lane.lane: lane for lane in result.lanes}
    curve, alpha = result.curves[metric], result.asked.alphas[0]
    beside = [lanes.get(text) for text in ("plain,penalty=1.2", f"dynamic:low,{alpha=}", f"dynamic:high,{alpha=}")]
    penalty, *dynamic = [lane and (lane.values[metric], lane.difference) for lane in beside]
    decoders = [(curve.baseline,), penalty, (curve.settings[0][0], result.chosen.difference), *dynamic]
    side = card_of(one.model).partition(measure.SIDE_BEGIN)[2]
    (line,) = [row for row in side.splitlines() if row.startswith(f"| {one.what} | ")]
    _, items, named, *cells, seconds = [cell.strip() for cell in line.strip("|").split("|")]
    assert (items, named, seconds) == (f"{result.data.items:,}", f"`{metric}`", f"{result.seconds:,.0f}")
    for cell, intervals in zip(cells, decoders, strict=True):
        told = [float(number.replace("−", "-")) for number in re.findall(r"[−+]?\d+\.\d", cell)]
        assert told == pytest.approx([100 * number for interval in intervals or () for number in interval], abs=0.0501)
        assert ("**" in cell) == (len(told) == 6 and told[4] * told[5] > 0)
        assert bool(told) == (cell != "–")


@pytest.mark.parametrize("one", SIDE, ids=called)
def test_the_decoders_are_compared_at_the_setting_that_was_recorded_before(one):
    """One line is of another α, and says so."""
    asked, preset = result_of(one).asked, measure.preset(one.model)
    alpha = 0.2 if one == measure.ATLAS_TRUTHFULQA else preset.alpha
    assert (asked.layers, asked.alphas) == ((preset.layer,), (alpha,))
    assert ("α" in one.what) == (alpha != preset.alpha)
    assert (asked.buckets, asked.betas) == (("low", "high"), ())
    assert asked.lanes == (("plain,penalty=1.2",) if asked.task == "generate" else ())
    if asked.decoding:
        assert asked.decoding.repetition_penalty == 1


def test_what_stands_in_both_tables_is_the_same():
    results = {one.name: result_of(one) for one in DONE if one.model == "smollm2"}
    for first, second in (("test", "side-test"), ("test-few-shot", "side-few-shot")):
        assert results[first].chosen == results[second].chosen
