"""Open a trace from a file, which may come from a stranger: it is checked before anything is shown."""

import re

from pydantic import ValidationError

from app.language import VisitorError
from dola_core.errors import first_mistake
from dola_core.trace.schema import SCHEMA, Trace

MAX_CHARACTERS, MAX_VALUES = 10_000_000, 300_000
"""The largest file that is opened, in characters, and the most JSON values in it; a trace of that size has 110,000."""
STRING = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
MAX_LANES, MAX_SHOWN_LANES = 16, 4
"""Lanes of a trace that can be read, and of one that the page shows."""
MAX_MISTAKES = 1000
"""Mistakes in a document beyond which not even the first is listed: pydantic takes seconds for 100,000 of them."""
MAX_FIELDS, MAX_FIELD, MAX_REASON = 4, 60, 200
"""How much of a mistake is shown: fields of its path, characters of each, and characters of what is wrong."""
MAX_SHOWN, MAX_WORK = 1_000_000, 100_000
"""The most characters of the two strips, and steps × layers of the what-ifs, that the page shows."""


class TraceError(VisitorError):
    """A file holds no trace that can be shown."""


def check_size(characters: object) -> None:
    """Raises `TraceError` for a file that is too large to be read."""
    if isinstance(characters, int) and characters > MAX_CHARACTERS:
        raise TraceError("error.too_large", size=MAX_CHARACTERS // 1_000_000)


def open_trace(text: object) -> Trace:
    """The trace in a JSON document; raises `TraceError` if there is none that the page can show.

    That is one that compares two to `MAX_SHOWN_LANES` lanes, and can be read as `read_trace` says.
    """
    trace = read_trace(text)
    if not 2 <= len(trace.lanes) <= MAX_SHOWN_LANES:
        raise TraceError("error.trace_lanes", n=len(trace.lanes), most=MAX_SHOWN_LANES)
    return trace


def read_trace(text: object) -> Trace:
    """The trace of any lanes in a JSON document; raises `TraceError` if there is none that can be read.

    `Trace` itself checks its shape, sizes and numbers. Here it is checked that the trace has steps of every lane, and
    holds the tokens that its digest was taken of.
    """
    text = text.removeprefix("\ufeff") if isinstance(text, str) else ""
    if not text.strip():
        raise TraceError("error.empty_file")
    check_size(len(text))
    if most_values(text) > MAX_VALUES:
        raise TraceError("error.too_long")
    try:
        trace = Trace.model_validate_json(text)
    except ValidationError as error:
        raise _as_trace_error(error) from error
    except RecursionError as error:
        raise TraceError("error.too_deep") from error
    lanes = range(len(trace.lanes))
    if len(trace.lanes) > MAX_LANES:
        raise TraceError("error.too_long")
    if not trace.lanes or not all(trace.lane_steps(lane) for lane in lanes):
        raise TraceError("error.no_steps")
    shown = [*trace.prompt_ids, *(token for lane in lanes for token in trace.lane_ids(lane))]
    characters = sum(len(trace.pieces.get(token, "")) for token in shown)
    if characters > MAX_SHOWN or len(trace.steps) * trace.model.n_layers > MAX_WORK:
        raise TraceError("error.too_long")
    if not trace.intact():
        raise TraceError("error.damaged")
    return trace


def most_values(text: str) -> int:
    """An upper bound of the values in a JSON document, from its punctuation alone.

    Parsing millions of values takes seconds, and listing what is wrong with each takes gigabytes.
    """
    if _punctuation(text) > MAX_VALUES:
        text = STRING.sub("", text)
    return 1 + _punctuation(text)


def _punctuation(text: str) -> int:
    return sum(map(text.count, ",[{"))


def _as_trace_error(error: ValidationError) -> TraceError:
    if error.error_count() > MAX_MISTAKES:
        return TraceError("error.no_such_trace", reason=f"it has {error.error_count():,} mistakes")
    mistake = first_mistake(error)
    if mistake.field == "schema":
        return TraceError("error.other_version", version=SCHEMA)
    # Whoever wrote the file chose the names of its fields.
    where = ", ".join(" ".join(part.split())[:MAX_FIELD] for part in mistake.name.split(", ")[:MAX_FIELDS])
    reason = mistake.message[:MAX_REASON]
    reason = f"{where}: {reason}" if where else reason
    return TraceError("error.no_such_trace", reason=reason[:1].lower() + reason[1:])
