"""What the log of a served page may hold: one line for each record, of bounded length, and no text of strangers.

Such a text is a prompt that nobody should read, or line breaks and escape codes that forge other lines or control the
terminal of whoever reads them. Libraries that answer requests log and print what they were sent, so all records and
tracebacks of the program are made here, whoever makes them.
"""

import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

MOST = 300
"""Characters of a line."""
SPEAKING = frozenset((
    "__main__", "accelerate", "app", "bitsandbytes", "dola_core", "huggingface_hub", "peft", "ray", "spaces", "torch",
    "transformers", "uvicorn",
))  # fmt: skip
"""Whose messages are written: ours, and those of libraries that see no request, or say nothing of what is in it. Of all
others the log tells the place alone, for they repeat what they were sent."""
WARNINGS = "py.warnings"
WARNED = re.compile(r"[^\n]*?:\d+: \w+")
"""The place and the kind of a warning, whose text may repeat a value."""
ACCESS = "uvicorn.access"
"""The logger whose formatter needs the parts of its message apart."""
LOG = logging.getLogger(__name__)

MakeRecord = Callable[..., logging.LogRecord]


def one_line(text: str, most: int = MOST) -> str:
    r"""`text` on one line of at most `most` characters, with what cannot be printed spelled out, as `\x1b`."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: most + 1].strip())
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def kind_and_place(error: BaseException) -> str:
    """What an error is and where it was raised, such as `ValueError at trace_file.py:81`, without its message."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


def made_safe(record: logging.LogRecord) -> logging.LogRecord:
    """The record as it may be written; a traceback becomes a few words, and is kept, line by line, for who debugs."""
    if record.name == ACCESS and isinstance(record.args, tuple):
        record.args = tuple(one_line(part) if isinstance(part, str) else part for part in record.args)
        return record
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and LOG.isEnabledFor(logging.DEBUG):
        lines = "".join(traceback.format_exception(error)).splitlines()
        record.exc_text = "\n".join(f"| {one_line(line)}" for line in lines)
    told = [_message(record).strip(), f"({kind_and_place(error)})" if error else ""]
    record.msg, record.args = one_line(" ".join(filter(None, told))), ()
    record.exc_info = record.stack_info = None
    return record


def _message(record: logging.LogRecord) -> str:
    if record.name.partition(".")[0] not in SPEAKING and record.name != WARNINGS:
        return f"{record.name} has something to say at {PurePath(record.pathname).name}:{record.lineno}"
    try:
        text = record.getMessage()
    except Exception:  # its arguments do not fit its text, or one of them cannot be written
        return record.msg if isinstance(record.msg, str) else type(record.msg).__name__
    warned = WARNED.match(text) if record.name == WARNINGS else None
    return warned[0] if warned else text


def install(*, debug: bool = False) -> Callable[[], None]:
    """From now on make every record safe, and turn tracebacks that are printed into records; returns what ends that.

    With `debug`, the log holds whole tracebacks, line by line, in which prompts may stand.
    """
    make, level = logging.getLogRecordFactory(), LOG.level
    former = traceback.print_exc, threading.excepthook, sys.unraisablehook

    def safely(*args: Any, **more: Any) -> logging.LogRecord:
        return made_safe(make(*args, **more))

    def print_exc(limit: int | None = None, file: Any = None, chain: bool = True) -> None:
        if file is None:
            _told(sys.exception())
        else:
            former[0](limit, file, chain)

    def of_thread(failed: threading.ExceptHookArgs) -> None:
        _told(failed.exc_value)

    def unraisable(failed: Any) -> None:
        _told(failed.exc_value)

    logging.basicConfig(format="%(levelname)s:%(name)s:%(message)s")  # else nobody would hear of warnings
    logging.setLogRecordFactory(safely)
    logging.captureWarnings(True)
    # Its warnings are about requests that are none: whoever sends many would fill the log.
    logging.getLogger("uvicorn.error").addFilter(_is_error)
    # Gradio prints the traceback of an event that fails outside of the page's own code.
    traceback.print_exc = print_exc
    threading.excepthook, sys.unraisablehook = of_thread, unraisable
    LOG.setLevel(logging.DEBUG if debug else level)

    def end() -> None:
        logging.setLogRecordFactory(make)
        logging.captureWarnings(False)
        logging.getLogger("uvicorn.error").removeFilter(_is_error)
        traceback.print_exc, threading.excepthook, sys.unraisablehook = former
        LOG.setLevel(level)

    return end


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _told(error: BaseException | None) -> None:
    if error is not None and not isinstance(error, SystemExit):
        LOG.error("something failed that nobody has seen to", exc_info=error)
