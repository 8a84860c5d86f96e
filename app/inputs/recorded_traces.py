"""Traces of the shipped model that come with the page and open at once, before any model has run.

Recorded by `assets/traces/build.py`, which looks for runs that show what their titles say.
"""

from dataclasses import dataclass
from pathlib import Path

from app.inputs.trace_file import open_trace
from app.paths import RECORDED_TRACES
from dola_core.trace.schema import Trace


@dataclass(frozen=True)
class Recorded:
    """One of them; the language files hold its title under `recorded.<name>`."""

    name: str

    @property
    def file(self) -> Path:
        """Where it lies."""
        return RECORDED_TRACES / f"{self.name}.json"

    def read(self) -> Trace:
        """The trace, checked like any other."""
        return open_trace(self.file.read_text(encoding="utf-8"))


RECORDED = tuple(Recorded(name) for name in ("mended", "harmed", "one-token", "endless", "sampled"))
