"""A trace from a file: a stranger's input, checked before anything is shown."""

import re

from pydantic import ValidationError

from app.language import VisitorError
from dola_core.trace.schema import SCHEMA, Trace

MAX_CHARACTERS, MAX_VALUES = 10_000_000, 300_000
"""The largest file that is opened, and values in it; of a trace of that size, 110,000 are to be expected."""
STRING = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
MAX_MISTAKES = 1000
"""Of a document's mistakes the first is told; to list a hundred thousand takes seconds."""
MAX_SHOWN, MAX_WORK = 1_000_000, 100_000
"""Characters of the strips, and steps × layers of the what-ifs, that are shown."""


class TraceError(VisitorError):
    """The file holds no trace that can be shown."""


def check_size(characters: object) -> None:
    """Raises `TraceError` for a file that is too large to be read."""
    if isinstance(characters, int) and characters > MAX_CHARACTERS:
        raise TraceError("error.too_large", size=MAX_CHARACTERS // 1_000_000)


def open_trace(text: object) -> Trace:
    """The trace in a JSON document, if it is one that the page can show; else `TraceError`.

    Its shape, sizes and numbers are checked by the trace itself; here, that it compares a baseline with one DoLa lane,
    has something to show, and that its tokens are the ones it was recorded with.
    """
    if not isinstance(text, str) or not text.strip():
        raise TraceError("error.empty_file")
    check_size(len(text))
    if most_values(text) > MAX_VALUES:
        raise TraceError("error.too_long")
    try:
        trace = Trace.model_validate_json(text)
    except ValidationError as error:
        raise _mistake(error) from error
    except RecursionError as error:
        raise TraceError("error.too_deep") from error
    if [lane.layer is None for lane in trace.lanes] != [True, False]:
        raise TraceError("error.other_lanes")
    if not trace.lane_steps(0) or not trace.lane_steps(1):
        raise TraceError("error.no_steps")
    shown = [*trace.prompt_ids, *trace.lane_ids(0), *trace.lane_ids(1)]
    characters = sum(len(trace.pieces.get(token, "")) for token in shown)
    if characters > MAX_SHOWN or len(trace.steps) * trace.model.n_layers > MAX_WORK:
        raise TraceError("error.too_long")
    if not trace.intact():
        raise TraceError("error.damaged")
    return trace


def most_values(text: str) -> int:
    """How many values a JSON document can hold, by its punctuation alone: to parse millions takes seconds, and to say
    of each what is wrong with it takes gigabytes."""
    if _marks(text) > MAX_VALUES:
        text = STRING.sub("", text)
    return 1 + _marks(text)


def _marks(text: str) -> int:
    return sum(map(text.count, ",[{"))


def _mistake(error: ValidationError) -> TraceError:
    if error.error_count() > MAX_MISTAKES:
        return TraceError("error.no_such_trace", reason=f"it has {error.error_count():,} mistakes")
    mistake = error.errors(include_input=False)[0]  # the input may be the whole document, once for each mistake
    where = ".".join(" ".join(str(part).split())[:60] for part in mistake["loc"][:4])
    if where == "schema":
        return TraceError("error.other_version", version=SCHEMA)
    reason = mistake["msg"].removeprefix("Value error, ")[:200].rstrip(".")
    reason = f"{where}: {reason}" if where else reason
    return TraceError("error.no_such_trace", reason=reason[:1].lower() + reason[1:])
