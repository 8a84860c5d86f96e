"""Which answers are dropped unread: those that nobody came for, and the oldest where there are too many."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

KEPT_SECONDS = 60.0
"""How long an answer waits for somebody to fetch it."""
TOTAL = 128 * 2**20
"""Bytes of all answers that wait."""


class Unread(NamedTuple):
    """What one session has not fetched, while nobody listens to it."""

    session: str
    address: str
    alone: float
    """Seconds since anybody listened, or asked."""
    size: int
    """Bytes in memory."""


def surplus_answers(waiting: Iterable[Unread], total: int = TOTAL) -> list[str]:
    """The sessions whose answers are dropped: those that are late, and the oldest of the address that has most."""
    late, kept = list[str](), list[Unread]()
    for one in waiting:
        if one.alone > KEPT_SECONDS:
            late.append(one.session)
        else:
            kept.append(one)
    size = sum(one.size for one in kept)
    of = Counter[str]()
    for one in kept:
        of[one.address] += one.size
    while size > total:
        address = max(of, key=lambda name: of[name])
        oldest = max((one for one in kept if one.address == address), key=lambda one: one.alone)
        kept.remove(oldest)
        of[address] -= oldest.size
        size -= oldest.size
        late.append(oldest.session)
    return late
