"""What a soak measures, what it must find, and the table that is printed in the end."""

import statistics
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WARM_RUNS = 20
"""After so many runs memory is looked at first."""
MAX_GROWTH = 0.05
"""By how much memory may grow from then on."""
RUN_KINDS = ("completed", "stopped", "disconnected")
"""How a run can end that had the model, or waited for it until it was given up."""


class UnexpectedError(Exception):
    """Something was not as it must be."""


@dataclass
class SoakReport:
    """What a soak measured. Its clients write into it at the same time."""

    counts: Counter[str] = field(default_factory=Counter)
    """{how something ended: how often}."""
    failures: list[str] = field(default_factory=list)
    first_from_request: list[float] = field(default_factory=list)
    """Seconds from each request to its first token."""
    first_from_start: list[float] = field(default_factory=list)
    """Seconds from the moment a run left the queue to its first token."""
    per_token: list[float] = field(default_factory=list)
    """Seconds a token, for each run."""
    memory: list[tuple[int, int]] = field(default_factory=list)
    """(runs so far, bytes) after each run."""
    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """{prompt: its greedy texts}."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def runs(self) -> int:
        """How many runs have ended."""
        return sum(self.counts[kind] for kind in RUN_KINDS)

    def count(self, kind: str) -> int | None:
        """Count one more that ended so; returns the number of runs so far if it was a run, else None."""
        with self.lock:
            self.counts[kind] += 1
            return self.runs if kind in RUN_KINDS else None

    def fail(self, action: str, error: Exception) -> None:
        """Note that an action of a client failed."""
        with self.lock:
            self.counts["failed"] += 1
            self.failures.append(f"{action}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")

    def time_run(self, *, requested: float, started: float | None, first: float, last: float, tokens: int) -> None:
        """Note the moments at which a run was requested, left the queue, and wrote its first and its last token."""
        with self.lock:
            self.first_from_request.append(first - requested)
            if started is not None:
                self.first_from_start.append(first - started)
            if tokens > 1:
                self.per_token.append((last - first) / (tokens - 1))

    def check_texts(self, prompt: str, texts: Sequence[str]) -> None:
        """Raises `UnexpectedError` unless every client gets the same greedy texts for a prompt."""
        with self.lock:
            known = self.texts.setdefault(prompt, tuple(texts))
        if known != tuple(texts):
            raise UnexpectedError(f"{prompt!r} became {texts}, for another visitor {known}")


@dataclass(frozen=True)
class SoakEnd:
    """When a soak is over."""

    runs: int
    at: float
    """A moment of `time.monotonic`."""

    def reached(self, report: SoakReport) -> bool:
        """Whether there is nothing more to do."""
        return report.runs >= self.runs or time.monotonic() > self.at


@dataclass(frozen=True)
class FinalState:
    """What the page held before a soak and after it."""

    before: Mapping[str, int]
    after: Mapping[str, int]
    memory: int
    """Bytes at the end."""
    trimmed: int
    """Bytes in use: what is left once the allocator has returned the rest."""
    first_token: float
    """Seconds to the first token of one more run."""
    faults: int
    """Lines about failures in the log of the page."""


def memory_growth(memory: Sequence[tuple[int, int]]) -> tuple[int, int, float] | None:
    """Bytes after `WARM_RUNS` runs and at the end, and the relative growth; None of too few runs.

    Both are medians over as many runs: around the first place, and up to the last. What a single run has in hand is up
    to a twentieth of the whole.
    """
    levels = [size for _, size in memory]
    if len(levels) <= 2 * WARM_RUNS:
        return None
    around = levels[WARM_RUNS // 2 : WARM_RUNS // 2 + WARM_RUNS]
    before, after = (int(statistics.median(part)) for part in (around, levels[-WARM_RUNS:]))
    return before, after, after / before - 1


def mistakes(report: SoakReport, state: FinalState) -> list[str]:
    """One sentence for everything that must not be."""
    found = list(report.failures)
    growth = memory_growth(report.memory)
    if state.faults:
        found.append(f"{state.faults} failures in the log of the page")
    if state.after["hooks"] != state.before["hooks"] or state.after["runs"]:
        found.append(f"not everything was given back: {state.after}, in the beginning {state.before}")
    if growth and growth[2] > MAX_GROWTH:
        found.append(f"memory grew by {growth[2]:.1%}, at most {MAX_GROWTH:.0%} is right")
    return found


def table(report: SoakReport, state: FinalState, runs: str) -> dict[str, str]:
    """{quantity: its value in words}; `runs` describes the runs as a whole."""
    growth = memory_growth(report.memory)
    return {
        "runs": runs,
        **{kind: str(report.counts[kind]) for kind in (*RUN_KINDS, "refused", "answered", "failed")},
        "first token, from the request": quantiles(report.first_from_request),
        "first token, from the start": quantiles(report.first_from_start),
        "per token": quantiles(report.per_token),
        f"memory after {WARM_RUNS} runs": megabytes(growth[0]) if growth else "–",
        "memory at the end": f"{megabytes(state.memory)}, {megabytes(state.trimmed)} of it in use",
        "memory grew by": f"{growth[2]:.1%}, budget {MAX_GROWTH:.0%}" if growth else "–",
        "held at the end": ", ".join(f"{count} {name}" for name, count in state.after.items()),
        "first token of one more run": f"{1000 * state.first_token:.0f} ms",
        "failures in the log": str(state.faults),
    }


def quantiles(times: Sequence[float]) -> str:
    """The median and the slow end of some times in seconds."""
    if len(times) < 2:
        return "–"
    cuts = statistics.quantiles(times, n=20, method="inclusive")
    return f"p50 {1000 * cuts[9]:,.0f} ms, p95 {1000 * cuts[18]:,.0f} ms ({len(times)} runs)"


def megabytes(size: int) -> str:
    """Bytes as `123 MB`."""
    return f"{size / 2**20:.0f} MB"
