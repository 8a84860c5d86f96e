"""Standard output and standard error: writing at once, a reader that is gone, and messages of one line."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from dola_core.cli.render import visible


def is_terminal(stream: TextIO | None) -> bool:
    """Whether `stream` is there, which it is not in every process, and a person reads it."""
    return stream is not None and stream.isatty()


def wants_live_screen(*, no_color: bool) -> bool:
    """Whether standard output is a terminal that may get colours and cursor movements."""
    plain = no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return is_terminal(sys.stdout) and not plain


def print_error(program: str, message: str) -> None:
    """Write `message` to standard error as one line that begins with the program's name."""
    print(visible(f"{program}: {' '.join(message.split())}"), file=sys.stderr)


def stdout_writer(*, ignore_broken_pipe: bool) -> Callable[[str], None]:
    """A function that writes text to standard output at once.

    With `ignore_broken_pipe`, text is dropped once the reader is gone, or the terminal is closed, so that a run can
    still finish its trace. Otherwise the `OSError` is raised, `BrokenPipeError` for a reader.
    """

    def write(text: str) -> None:
        try:
            print(text, end="", flush=True)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            discard_stdout()
            if not ignore_broken_pipe:
                raise

    return write


def discard_stdout() -> None:
    """Send what is still buffered nowhere. Python would try to write it at exit, and complain."""
    with suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def transient_note(text: str, write: Callable[[str], None]) -> Iterator[None]:
    """Show a line of text in the terminal while the body runs, and erase it afterwards."""
    write(text)
    try:
        yield
    finally:
        write("\r\x1b[K")
