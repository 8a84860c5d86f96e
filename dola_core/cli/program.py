"""What every part of the command shares: the program's name, its exit statuses, and the error that ends it."""

import sys
from pathlib import Path

FAILED, REFUSED, INTERRUPTED, UNREAD = 1, 2, 130, 141
"""Exit statuses: the work failed; the arguments make no sense; Ctrl-C; the reader of standard output is gone.

Another signal that ends a command has a status of its own; see `InterruptHandler.status`."""


class CommandError(Exception):
    """Ends the command. The message is one sentence for the user."""

    def __init__(self, message: str, status: int = REFUSED) -> None:
        super().__init__(message)
        self.status = status


def program_name(script: str, module: str) -> str:
    """The program as the user started it: by the installed `script`, or else by `python -m module`."""
    started = Path(sys.argv[0]).stem if sys.argv else ""
    return script if started == script else f"python -m {module}"
