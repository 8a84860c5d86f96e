"""A trace as flat tables: its steps, what every layer said at them, and the tokens that were recorded.

Steps are counted from 1, as on the page, and lanes from 0, as in `Trace.lanes`. Where lanes share a text, each of them
has rows of its own.
"""

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from dola_core.files.csv_text import Cell, csv_text
from dola_core.lanes import Lane, distinct_names

if TYPE_CHECKING:
    import pandas

    from dola_core.trace.schema import Trace
    from dola_core.trace.step import Choice, Step

TableName = Literal["steps", "layers", "tokens"]
Record = dict[str, Cell]
WHOLE = re.compile("step|lane|layer|rank|(.*_)?id")
"""Columns of whole numbers; some of their cells may be empty."""


def records(
    trace: "Trace", table: TableName = "steps", *, lane: int | None = None, step: int | None = None
) -> Iterator[Record]:
    """The rows of a table, as {column: cell}; of one lane or one step alone if asked for.

    - "steps": a row a step and lane. What was written and chosen, its probability and rank, whether another lane
      chooses otherwise after the same text, and the layer that the lane contrasts with.
    - "layers": a row a step, lane and layer. The layer's first token, divergence and entropy, and what it thinks of
      the lane's choice.
    - "tokens": a row a step, lane and recorded token, with its log-probability in every layer.

    Raises `ValueError` for a table that there is not, `IndexError` for such a lane or step.
    """
    if table not in _ROWS:
        raise ValueError(f"There is no table of that name; choose from {', '.join(get_args(TableName))}.")
    if lane is not None and not 0 <= lane < len(trace.lanes):
        raise IndexError(f"lane must be from 0 to {len(trace.lanes) - 1}, the lanes of the trace; got {lane}.")
    lanes = range(len(trace.lanes)) if lane is None else [lane]
    most = max(len(trace.lane_steps(number)) for number in lanes)
    if step is not None and not 1 <= step <= most:
        raise IndexError(f"step must be from 1 to {most}, the steps of the text; got {step}.")
    names = distinct_names(trace.lanes)
    for number in lanes:
        for one in trace.lane_steps(number):
            if step is None or one.index == step - 1:
                place: Record = {"step": one.index + 1, "lane": number, "name": names[number]}
                yield from (place | row for row in _ROWS[table](trace, one, number))


def to_csv(trace: "Trace", table: TableName, *, lane: int | None, step: int | None) -> str:
    """See `Trace.to_csv`."""
    rows = list(records(trace, table, lane=lane, step=step))
    return csv_text(list(rows[0]), ([*row.values()] for row in rows)) if rows else ""


def to_dataframe(trace: "Trace", table: TableName) -> "pandas.DataFrame":
    """See `Trace.to_dataframe`."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError("A data frame needs pandas; install it with pip install pandas.") from error
    frame = pandas.DataFrame.from_records(list(records(trace, table)))
    return frame.astype({name: "Int64" for name in frame.columns if WHOLE.fullmatch(name)})


def contrast_layer(lane: Lane, choice: "Choice") -> int | None:
    """The one layer that a lane contrasted with for a choice; None if there was none, or more than one."""
    if lane.chooses_layer:
        return choice.layer
    return lane.reads[0] if len(lane.reads) == 1 else None


def _steps(trace: "Trace", step: "Step", lane: int) -> Iterator[Record]:
    choice, taken = step.choices[lane], step.taken[step.lanes.index(lane)]
    layer = contrast_layer(trace.lanes[lane], choice)
    yield {
        **_token(trace, taken, "token_id", "token"),
        **_token(trace, choice.id, "choice_id", "choice"),
        "p": choice.p,
        "rank": choice.rank,
        "entropy": choice.entropy + 0.0,  # not −0
        "differs": any(other.id != choice.id for other in step.choices),
        **_token(trace, step.choices[0].id, "first_lane_id", "first_lane_choice"),
        "layer": layer,
        "jsd": float(step.jsd[layer - 1]) if layer else None,
        "log_q": _log_q(step, choice.id, len(step.top_ids)),
        "log_q_layer": _log_q(step, choice.id, layer) if layer else None,
    }


def _layers(trace: "Trace", step: "Step", lane: int) -> Iterator[Record]:
    choice = step.choices[lane].id
    for column, top in enumerate(step.top_ids.tolist()):
        yield {
            "layer": column + 1,
            **_token(trace, top, "top_id", "top"),
            "top_p": float(step.top_p[column]),
            "jsd": float(step.jsd[column]),
            "entropy": float(step.layer_entropy[column]),
            **_token(trace, choice, "choice_id", "choice"),
            "rank": int(step.rank_table[lane, column]),
            "log_q": _log_q(step, choice, column + 1),
        }


def _tokens(trace: "Trace", step: "Step", lane: int) -> Iterator[Record]:
    names, chosen = distinct_names(trace.lanes), [choice.id for choice in step.choices]
    for number, (token_id, log_q) in enumerate(zip(step.tokens.tolist(), step.log_q_table.tolist(), strict=True)):
        yield {
            **_token(trace, token_id, "token_id", "token"),
            "chosen_by": "; ".join(name for name, one in zip(names, chosen, strict=True) if one == token_id),
            "exact": number < len(step.exact_log_q),
            **{f"log_q_{layer}": value for layer, value in enumerate(log_q, start=1)},
        }


_ROWS: dict[str, Callable[["Trace", "Step", int], Iterator[Record]]] = {
    "steps": _steps,
    "layers": _layers,
    "tokens": _tokens,
}


def _token(trace: "Trace", token_id: int, id_column: str, text_column: str) -> Record:
    return {id_column: token_id, text_column: trace.pieces.get(token_id, "")}


def _log_q(step: "Step", token_id: int, layer: int) -> float:
    """The log-probability of a recorded token in a layer from 1 on."""
    row = int(np.flatnonzero(step.tokens == token_id)[0])
    return float(step.log_q_table[row, layer - 1])
