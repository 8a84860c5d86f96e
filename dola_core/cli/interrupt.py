"""What Ctrl-C does while a comparison runs."""

import signal
from types import FrameType
from typing import Self


class InterruptHandler:
    """SIGINT handler: before the first token, interrupt immediately; later, finish the current step first.

    A second Ctrl-C interrupts immediately. To interrupt is to raise `KeyboardInterrupt`. As a context manager it is
    installed on entry and puts the former handler back on exit.
    """

    def __init__(self) -> None:
        self.requested = False
        """Whether Ctrl-C was pressed."""
        self.finish_step = False
        """Whether the first Ctrl-C only sets `requested`. Set this once there is something to keep."""

    def __enter__(self) -> Self:
        self._former = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._former)

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if Ctrl-C was pressed.

        For use after library code that may catch the first one: some turn an interrupted import into their own error.
        """
        if self.requested:
            raise KeyboardInterrupt

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        again, self.requested = self.requested, True
        if again or not self.finish_step:
            raise KeyboardInterrupt
