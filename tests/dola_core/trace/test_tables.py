"""Tables of a trace: their rows are the trace's own numbers, as records, data frames and CSV."""

import csv
import io
import sys

import numpy as np
import pandas
import pytest

from dola_core.lanes import Baseline, DecodingConfig, DolaDynamic, DolaStatic, LinearContrast
from dola_core.trace.tables import records
from tests.dola_core.tiny import prompt, recorded

TABLES = ("steps", "layers", "tokens")


@pytest.fixture(scope="module")
def of_every_kind(readout):
    lanes = (
        Baseline(),
        DolaStatic(layer=22),
        DolaStatic(layer=9, early_norm=False),
        DolaDynamic(bucket="high"),
        LinearContrast(weights={3: -0.5, 20: -0.5}),
    )
    return recorded(readout, prompt(7), lanes, DecodingConfig(max_new_tokens=6))


def test_steps_are_what_each_lane_wrote_in_order(of_every_kind):
    trace = of_every_kind
    rows = list(records(trace))
    for lane in range(len(trace.lanes)):
        own = [row for row in rows if row["lane"] == lane]
        assert [row["step"] for row in own] == list(range(1, len(own) + 1))
        assert [row["token_id"] for row in own] == trace.lane_ids(lane)
        assert [row["token"] for row in own] == [trace.pieces[token] for token in trace.lane_ids(lane)]


def test_a_step_tells_the_choice_and_the_contrasted_layer(of_every_kind):
    trace = of_every_kind
    for row in records(trace):
        step = trace.lane_steps(row["lane"])[row["step"] - 1]
        choice = step.choices[row["lane"]]
        assert (row["choice_id"], row["p"], row["rank"]) == (choice.id, choice.p, choice.rank)
        assert row["differs"] == (len({other.id for other in step.choices}) > 1)
        layers = {0: None, 1: 22, 2: 9, 3: choice.layer, 4: None}
        assert row["layer"] == layers[row["lane"]]
        assert row["jsd"] == (None if row["layer"] is None else step.jsd[row["layer"] - 1])
        place = step.tokens.tolist().index(choice.id)
        assert row["log_q"] == step.log_q_table[place, -1]
        assert row["log_q_layer"] == (None if row["layer"] is None else step.log_q_table[place, row["layer"] - 1])


def test_layers_and_tokens_are_a_row_for_each(of_every_kind):
    trace = of_every_kind
    for lane in range(len(trace.lanes)):
        for step in trace.lane_steps(lane):
            place = {"lane": lane, "step": step.index + 1}
            layers = list(records(trace, "layers", **place))
            assert [row["layer"] for row in layers] == list(range(1, trace.model.n_layers + 1))
            assert [row["jsd"] for row in layers] == step.jsd.tolist()
            assert [row["rank"] for row in layers] == step.rank_table[lane].tolist()
            tokens = list(records(trace, "tokens", **place))
            assert [row["token_id"] for row in tokens] == step.tokens.tolist()
            table = [[row[f"log_q_{layer}"] for layer in range(1, trace.model.n_layers + 1)] for row in tokens]
            assert np.array_equal(np.array(table, np.float32), step.log_q_table)
            assert sum(row["exact"] for row in tokens) == len(step.exact_log_q)
            assert sum(len(row["chosen_by"].split("; ")) for row in tokens if row["chosen_by"]) == len(trace.lanes)


@pytest.mark.parametrize("table", TABLES)
def test_a_data_frame_has_the_same_rows(of_every_kind, table):
    frame = of_every_kind.to_dataframe(table)
    rows = list(records(of_every_kind, table))
    assert list(frame.columns) == list(rows[0])
    assert len(frame) == len(rows)
    for column in frame.columns:
        for cell, row in zip(frame[column], rows, strict=True):
            assert pandas.isna(cell) if row[column] is None else cell == row[column]
    whole = [name for name in frame.columns if name in ("step", "lane", "layer", "rank") or name.endswith("id")]
    assert {str(frame[name].dtype) for name in whole} == {"Int64"}


@pytest.mark.parametrize("table", TABLES)
def test_csv_is_of_the_whole_run_or_of_one_step(of_every_kind, table):
    def read(**place):
        return list(csv.DictReader(io.StringIO(of_every_kind.to_csv(table, **place), newline="")))

    whole = read()
    assert len(whole) == len(list(records(of_every_kind, table)))
    one = read(lane=1, step=3)
    assert one == [row for row in whole if (row["lane"], row["step"]) == ("1", "3")]
    assert one


def test_no_text_of_a_trace_is_a_formula_in_its_csv(trace):
    hostile = trace.model_copy(update={"pieces": dict.fromkeys(trace.pieces, "=HYPERLINK(1)")})
    lanes = tuple(lane.model_copy(update={"name": "@x"}) for lane in trace.lanes)
    hostile = hostile.model_copy(update={"lanes": lanes})
    for table in TABLES:
        for row in csv.reader(io.StringIO(hostile.to_csv(table), newline="")):
            assert not [cell for cell in row if cell.startswith(("=", "@", "+"))]


def test_without_a_step_there_are_no_rows(trace):
    empty = trace.model_copy(update={"steps": ()})
    assert list(records(empty)) == []
    assert empty.to_csv() == ""
    assert len(empty.to_dataframe()) == 0


@pytest.mark.parametrize(
    ("asked", "kind", "message"),
    [
        ({"table": "rows"}, ValueError, "There is no table of that name; choose from steps, layers, tokens."),
        ({"lane": 2}, IndexError, "lane must be from 0 to 1, the lanes of the trace; got 2."),
        ({"lane": -1}, IndexError, "lane must be from 0 to 1, the lanes of the trace; got -1."),
        ({"step": 0}, IndexError, "step must be from 1 to 4, the steps of the text; got 0."),
        ({"step": 5}, IndexError, "step must be from 1 to 4, the steps of the text; got 5."),
    ],
)
def test_what_there_is_not_is_refused(trace, asked, kind, message):
    with pytest.raises(kind) as refused:
        trace.to_csv(**asked)
    assert str(refused.value) == message


def test_without_pandas_the_error_says_what_to_install(trace, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="A data frame needs pandas; install it with pip install pandas"):
        trace.to_dataframe()
    assert trace.to_csv()
