"""What Ctrl-C, and a polite request of the system to end, do while a command runs."""

import signal
import threading
from types import FrameType
from typing import Self

from dola_core.cli.program import INTERRUPTED

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that are handled like the first Ctrl-C: `kill` or a batch system's limit, and a terminal that was closed."""


class InterruptHandler:
    """SIGINT handler: before the first token, interrupt immediately; later, finish the current step first.

    A second Ctrl-C interrupts immediately. To interrupt is to raise `KeyboardInterrupt`. The signals of `ENDING` do the
    same, but count once: systems repeat them, and what is being saved then must not be lost. As a context manager it is
    installed on entry and puts the former handlers back on exit. It does nothing outside the main thread, which gets
    all signals.
    """

    def __init__(self) -> None:
        self.requested = False
        """Whether an interruption was asked for."""
        self.finish_step = False
        """Whether the first Ctrl-C only sets `requested`. Set this once there is something to keep."""
        self.status = INTERRUPTED
        """The exit status that tells how the command was ended: 128 and the number of the signal."""

    def __enter__(self) -> Self:
        self._former = {}
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, *ENDING):
                former = signal.getsignal(signum)
                ignored = signum != signal.SIGINT and former == signal.SIG_IGN  # as under nohup
                if former is not None and not ignored:
                    self._former[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._former.items():
            signal.signal(signum, handler)

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if an interruption was asked for.

        For use after library code that may catch the first one: some turn an interrupted import into their own error.
        """
        if self.requested:
            raise KeyboardInterrupt

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        again, self.requested = self.requested, True
        if not again:
            self.status = 128 + signum
        elif signum != signal.SIGINT:
            return
        if again or not self.finish_step:
            raise KeyboardInterrupt
