"""A trace from a file: a stranger's input, checked before anything is shown."""

from pydantic import ValidationError

from dola_core.trace import SCHEMA, Trace

MAX_CHARACTERS = 10_000_000
"""The largest file that is opened."""
TOO_LARGE = f"That file is larger than {MAX_CHARACTERS // 1_000_000} MB; a trace is smaller."


class TraceError(ValueError):
    """The file holds no trace that can be shown; the message is one sentence for the visitor."""


def open_trace(text: object) -> Trace:
    """The trace in a JSON document, if it is one that the page can show; else `TraceError`.

    Its shape, sizes and numbers are checked by the trace itself; here, that it compares a baseline with one DoLa lane,
    has something to show, and that its tokens are the ones it was recorded with.
    """
    if not isinstance(text, str) or not text.strip():
        raise TraceError("That file is empty or no text; choose a trace saved from this page.")
    if len(text) > MAX_CHARACTERS:
        raise TraceError(TOO_LARGE)
    try:
        trace = Trace.model_validate_json(text)
    except ValidationError as error:
        raise TraceError(_sentence(error)) from error
    except RecursionError as error:
        raise TraceError("That file is nested too deeply to be a trace.") from error
    if [lane.layer is None for lane in trace.lanes] != [True, False]:
        raise TraceError("That trace does not compare a baseline with one DoLa-static lane; no other is shown.")
    if not trace.lane_steps(0) or not trace.lane_steps(1):
        raise TraceError("That trace holds no steps; there is nothing to show.")
    if not trace.intact():
        raise TraceError("That trace is damaged: its tokens are not the ones it was saved with.")
    return trace


def _sentence(error: ValidationError) -> str:
    mistake = error.errors()[0]
    where = ".".join(str(part) for part in mistake["loc"][:4])
    if where == "schema":
        return f"That trace has another version than this page reads ({SCHEMA}); open it with the page that saved it."
    reason = mistake["msg"].removeprefix("Value error, ")[:200]
    return f"That file is not a trace: {f'{where}: ' if where else ''}{reason[:1].lower()}{reason[1:].rstrip('.')}."
