"""Fair timing: several ways of doing one thing take turns in one process; ratios are taken round by round."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from tqdm import tqdm


@dataclass(frozen=True)
class Ratio:
    """How long one thing takes relative to another: median, least and most over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, times: list[float], against: list[float]) -> Self:
        """The ratio of two lists of times, or of anything else, of the same rounds."""
        ratios = [one / other for one, other in zip(times, against, strict=True)]
        return cls(statistics.median(ratios), min(ratios), max(ratios))

    def __str__(self) -> str:
        digits = 2 if self.low >= 0.1 else 3
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}–{self.high:.{digits}f})"


def in_turn(ways: Mapping[str, Callable[[], None]], rounds: int, name: str) -> dict[str, list[float]]:
    """Seconds of every way in every round. Ways take turns, A B C, A B C, …, so that a slow moment hits all."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    with tqdm(total=(rounds + 1) * len(ways), desc=name, leave=False) as bar:
        for number in range(rounds + 1):  # the first one warms up
            for way, run in ways.items():
                start = time.perf_counter()
                run()
                if number:
                    times[way].append(time.perf_counter() - start)
                bar.update()
    return times
