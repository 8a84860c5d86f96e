"""Which of a visitor's runs are cancelled, and which of them are not to be shown any more.

Gradio can cancel an event, but a run that is started right after the cancel may be cancelled with it. Here every run
gets a number when it is asked for, and cancelling names the last number given, so it ends exactly the earlier runs.
"""

from collections import OrderedDict
from threading import Lock

VISITORS = 10_000
"""Visitors remembered; the least recently active one is forgotten first."""


class Cancellations:
    """Numbers of runs and what is cancelled of them, by the visitor's session. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._visitors: OrderedDict[str, list[int]] = OrderedDict()
        """{session: [last number given, last number cancelled, last number abandoned, how many have ended]}"""

    def register(self, session: str) -> int:
        """A number for a run that was just asked for; greater than all before it."""
        with self._lock:
            visitor = self._of(session)
            visitor[0] += 1
            return visitor[0]

    def cancel(self, session: str) -> None:
        """Cancel every run registered so far."""
        with self._lock:
            visitor = self._of(session)
            visitor[1] = visitor[0]

    def abandon(self, session: str) -> bool:
        """Cancel every run registered so far, and let nothing more of them be shown: the page shows another model.

        Returns whether there was any that had not been abandoned before.
        """
        with self._lock:
            visitor = self._of(session)
            some = visitor[2] < visitor[0]
            visitor[1] = visitor[2] = visitor[0]
            return some

    def is_running(self, session: str) -> bool:
        """Whether a run that was asked for has not ended."""
        with self._lock:
            visitor = self._of(session)
            return visitor[3] < visitor[0]

    def is_abandoned(self, session: str, number: int) -> bool:
        """Whether nothing of the run with this number may be shown any more.

        A run without a number (0) was not asked for on the page: it is cancelled, but whoever sent it is told why.
        """
        with self._lock:
            return 0 < number <= self._of(session)[2]

    def is_cancelled(self, session: str, number: int) -> bool:
        """Whether the run with this number must end."""
        with self._lock:
            return number <= self._of(session)[1]

    def is_last(self, session: str, number: int) -> bool:
        """Whether no other run was asked for after the one with this number."""
        with self._lock:
            return number >= self._of(session)[0]

    def end(self, session: str) -> bool:
        """Count one run as ended; returns whether the visitor has none left."""
        with self._lock:
            visitor = self._of(session)
            visitor[3] += 1
            return visitor[3] >= visitor[0]

    def _of(self, session: str) -> list[int]:
        visitor = self._visitors.setdefault(session, [0, 0, 0, 0])
        self._visitors.move_to_end(session)
        if len(self._visitors) > VISITORS:
            self._visitors.popitem(last=False)
        return visitor
