"""How much memory a visitor's values take, by a look at a sample of their parts."""

import random
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

SAMPLE = 48
"""Parts of a long collection that are looked at, and stand for the others."""
MAX_DEPTH = 12


def memory_of(value: Any, depth: int = MAX_DEPTH) -> int:
    """About how many bytes a value takes with all that it holds; what two places share is counted twice."""
    if isinstance(value, np.ndarray):
        return sys.getsizeof(value) if value.base is None else value.nbytes + 112
    own = sys.getsizeof(value, 64)
    if depth == 0 or isinstance(value, (str, bytes, int, float, type(None), type)):
        return own
    if isinstance(value, Mapping):
        return own + _sampled([part for pair in _drawn(value.items()) for part in pair], 2 * len(value), depth)
    if isinstance(value, (list, tuple, set, frozenset)):
        return own + _sampled(_drawn(value), len(value), depth)
    parts = getattr(value, "__dict__", None)
    return own + (memory_of(parts, depth - 1) if parts else 0)


def _drawn(parts: Iterable[Any]) -> list[Any]:
    parts = list(parts)
    return parts if len(parts) <= SAMPLE else random.sample(parts, SAMPLE)


def _sampled(drawn: list[Any], of: int, depth: int) -> int:
    """What `of` parts take, if those that were drawn are like the others."""
    return sum(memory_of(part, depth - 1) for part in drawn) * of // len(drawn) if drawn else 0
