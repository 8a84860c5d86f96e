"""Whether anybody still listens to what a visitor's runs yield, so that a run of which nobody hears anything ends."""

import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

PATIENCE = 10.0
"""Seconds without a listener after which a run is deserted; who asks for it and fetches it in two calls is sooner."""
SESSIONS = 10_000
"""Sessions remembered; the one that was heard of longest ago is forgotten first."""


@dataclass
class _Session:
    streams: int = 0
    """Connections that receive its events."""
    since: float = 0.0
    """When the last one ended, or the first run was asked for, by the monotonic clock."""


class Listeners:
    """The connections that receive events, by session. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    @contextmanager
    def listening(self, session: str) -> Iterator[None]:
        """While the body goes on, somebody listens to a session."""
        with self._lock:
            self._of(session).streams += 1
        try:
            yield
        finally:
            with self._lock:
                known = self._of(session)
                known.streams -= 1
                known.since = time.monotonic()

    def expect(self, session: str) -> None:
        """A session has asked for a run: from now on somebody should listen."""
        with self._lock:
            known = self._of(session)
            known.since = max(known.since, time.monotonic())

    def is_deserted(self, session: str) -> bool:
        """Whether nobody has listened to a session for some seconds, since it asked for its last run."""
        return self.alone_for(session) > PATIENCE

    def alone_for(self, session: str) -> float:
        """For how many seconds nobody has listened to a session, since it asked for its last run; 0 if somebody does.

        The first time that it is asked of a session, that counts as the beginning.
        """
        with self._lock:
            known = self._of(session)
            return 0.0 if known.streams else time.monotonic() - known.since

    def _of(self, session: str) -> _Session:
        known = self._sessions.setdefault(session, _Session(since=time.monotonic()))
        self._sessions.move_to_end(session)
        if len(self._sessions) > SESSIONS:
            oldest = next((name for name, one in self._sessions.items() if not one.streams and name != session), None)
            if oldest is not None:
                del self._sessions[oldest]
        return known
