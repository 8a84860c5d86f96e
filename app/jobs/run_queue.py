"""The line before the model: runs of all visitors, a few of them at a time, in an order that is fair to visitors."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition

from app.jobs.allocator import give_back
from app.language import Language, VisitorError

LOOK = 0.5
"""Seconds between two looks of a run whether it may begin."""
SPARE = 8
"""Events that may come in beyond the line's places, to be told that it is full."""
LEARNT = 0.3
"""How much the last run counts in what a run is expected to take."""


class FullError(VisitorError):
    """So many runs are waiting that no further one is taken."""


@dataclass(eq=False)
class Place:
    """One run's place in the line."""

    line: "Line"
    visitor: str
    number: int
    """Counts arrivals."""
    started: float | None = field(default=None, init=False)

    def waits(self) -> Iterator["Place"]:
        """Itself again and again until the run may begin."""
        while not self.line.begin(self, LOOK):
            yield self

    @property
    def ahead(self) -> int:
        """How many runs begin before this one, those under way included."""
        return self.line.ahead(self)

    @property
    def behind_own(self) -> bool:
        """Whether it waits for a run of the same visitor that is under way."""
        return self.line.runs(self.visitor)

    @property
    def expected(self) -> float | None:
        """Seconds until it may begin, going by the last runs; None as long as there were none."""
        return self.line.expected(self.ahead)

    def said(self, words: Language) -> str:
        """How many runs are before this one, and how long it may take."""
        ahead, seconds = self.ahead, self.expected
        text = words("line.one") if ahead == 1 else words("line.ahead", n=ahead)
        return text if seconds is None else text + words("line.expected", seconds=max(1, round(seconds)))


class Line:
    """Who runs and who waits. Safe to use from several threads.

    Places are taken in the order of arrival, but a visitor's second run waits until the others have had their first.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        """`at_once` runs go on together, and at most `waiting` more are kept waiting."""
        self.at_once, self.waiting = at_once, waiting
        self.most = at_once + waiting
        self._changed = Condition()
        self._places: list[Place] = []
        self._arrivals = 0
        self._usual: float | None = None

    @contextmanager
    def place(self, visitor: str) -> Iterator[Place]:
        """A place for one run of a visitor, given up when the body ends; raises `FullError` if there is none."""
        with self._changed:
            if len(self._places) >= self.most:
                raise FullError("error.line_full", n=self.waiting)
            self._arrivals += 1
            mine = Place(self, visitor, self._arrivals)
            self._places.append(mine)
        try:
            yield mine
        finally:
            with self._changed:
                self._places.remove(mine)
                if mine.started is not None:
                    took = time.monotonic() - mine.started
                    self._usual = took if self._usual is None else self._usual + LEARNT * (took - self._usual)
                self._changed.notify_all()
            if mine.started is not None:
                give_back()

    def begin(self, place: Place, seconds: float) -> bool:
        """Let a run begin if it is its turn within `seconds`."""
        with self._changed:
            if self._changed.wait_for(lambda: self._ahead(place) < self.at_once, seconds):
                place.started = place.started or time.monotonic()
            return place.started is not None

    def ahead(self, place: Place) -> int:
        """How many runs begin before that of a place, or are under way."""
        with self._changed:
            return self._ahead(place)

    def runs(self, visitor: str) -> bool:
        """Whether a run of a visitor is under way."""
        with self._changed:
            return any(place.visitor == visitor and place.started is not None for place in self._places)

    def expected(self, ahead: int) -> float | None:
        """Seconds until so many runs have begun and one of them has ended."""
        with self._changed:
            return None if self._usual is None else self._usual * max(0, ahead - self.at_once + 1) / self.at_once

    def _ahead(self, place: Place) -> int:
        order = sorted(self._places, key=self._turn)
        return order.index(place)

    def _turn(self, place: Place) -> tuple[bool, int, int]:
        """Places in order: those that run, then by how many runs the same visitor has before, then by arrival."""
        own = sum(other.visitor == place.visitor and other.number < place.number for other in self._places)
        return place.started is None, own, place.number
