"""The end of the program by a signal: what it made is cleared up, and nothing is waited for.

Python runs signal handlers in the main thread alone, which may be inside PyTorch for long, and at a normal end of the
interpreter it stops threads that may be inside PyTorch too, which then aborts the process. So another thread waits for
the signals, clears up, and ends the process by `os._exit`.
"""

import atexit
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

STATUS: dict[int, int] = {signal.SIGINT: 130, signal.SIGTERM: 0}
"""{signal: exit status}. SIGTERM is how a system asks a server to end, which is no failure."""
if hasattr(signal, "SIGHUP"):  # a terminal that was closed; not on Windows
    STATUS[signal.SIGHUP] = 129
LIMIT = 0.6
"""The most seconds that clearing up takes; the next start clears up the rest."""
HASTE = 0.1
"""The same once a second signal has come. Some terminals and systems send two at once."""


class Ending:
    """What is done at the end of this process, whether it ends by itself, by an error, or by a signal of `STATUS`."""

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []
        self._former: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
        self._mask = threading.local()
        """The signals that a thread does not take, while it forks."""

    def do_last(self, step: Callable[[], object]) -> None:
        """Call `step` at the end, before the steps that were added earlier. What it raises is ignored."""
        self._steps.append(step)

    def watch(self) -> None:
        """From now on do the steps at the end, and end at a signal; call it once, in the main thread."""
        atexit.register(self.clear_up)
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        # Python writes each signal's number there at once, whatever the main thread does.
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in STATUS:
            is_ignored = signal.getsignal(number) == signal.SIG_IGN
            # Under nohup SIGHUP stays ignored. Shells have background jobs ignore SIGINT, and other servers do not.
            if number in (signal.SIGINT, signal.SIGTERM) or not is_ignored:
                self._former[number] = signal.signal(number, _do_nothing)
        threading.Thread(target=self._wait, args=(reader, writer), daemon=True, name="ending").start()
        if hasattr(os, "register_at_fork"):
            # A signal to a fork that has not forgotten yet would end this process, as both write to one socket.
            os.register_at_fork(before=self._hold, after_in_parent=self._let_go, after_in_child=self._forget)

    def clear_up(self) -> None:
        """Do every step, and each once."""
        while self._steps:
            with suppress(Exception):
                self._steps.pop()()

    def _wait(self, reader: socket.socket, _writer: socket.socket) -> None:
        """End the process at the first signal. `_writer` is kept, or it would be closed."""
        status = _next_status(reader)
        leaving = threading.Thread(target=self._leave, args=(status,), daemon=True)
        leaving.start()
        reader.settimeout(LIMIT)
        with suppress(TimeoutError):
            _next_status(reader)
            leaving.join(HASTE)
        os._exit(status)

    def _leave(self, status: int) -> None:
        self.clear_up()
        with suppress(Exception):
            if status == STATUS[signal.SIGINT] and sys.stderr.isatty():
                print(file=sys.stderr)  # ends the line in which the terminal shows ^C
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # closed, or nobody reads it any more
                stream.flush()
        os._exit(status)

    def _hold(self) -> None:
        """Before a fork: keep signals from the thread that forks, and from the fork."""
        self._mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, STATUS)

    def _let_go(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask.before)

    def _forget(self) -> None:
        """In a fork, which has neither the thread nor a say in what this process made: be as if never called."""
        self._steps.clear()
        signal.set_wakeup_fd(-1)
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._let_go()


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """A handler that leaves everything to the thread. Without one, Python would not report the signal to it."""


def _next_status(reader: socket.socket) -> int:
    """Wait for a signal of `STATUS`, and return its exit status; raises `TimeoutError` at the reader's time-out."""
    while True:
        (number,) = reader.recv(1)
        if number in STATUS:
            return STATUS[number]
