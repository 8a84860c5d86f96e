"""Who pressed Stop: which of a visitor's runs must end.

Gradio can cancel an event, but a run started right after the cancel may be cancelled with it. Here every press of
Compare takes a ticket and Stop names the last one taken, so it ends exactly the runs that were asked for before it.
"""

from collections import OrderedDict
from threading import Lock

VISITORS = 10_000
"""Visitors remembered; the one heard of least recently is forgotten first."""


class Stops:
    """Tickets and stops of all visitors, by their session. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._visitors: OrderedDict[str, list[int]] = OrderedDict()  # session → [last ticket, stopped up to]

    def ticket(self, session: str) -> int:
        """A number for a run that was just asked for; greater than all before it."""
        with self._lock:
            visitor = self._of(session)
            visitor[0] += 1
            return visitor[0]

    def stop(self, session: str) -> None:
        """End every run asked for so far."""
        with self._lock:
            visitor = self._of(session)
            visitor[1] = visitor[0]

    def stopped(self, session: str, ticket: int) -> bool:
        """Whether the run with `ticket` must end."""
        with self._lock:
            return ticket <= self._of(session)[1]

    def _of(self, session: str) -> list[int]:
        visitor = self._visitors.setdefault(session, [0, 0])
        self._visitors.move_to_end(session)
        if len(self._visitors) > VISITORS:
            self._visitors.popitem(last=False)
        return visitor
