"""Traces of the shipped model that come with the page and open without running the model.

Recorded by `assets/models/atlas-30l/build/traces.py`, which looks for runs that show what their titles say.
"""

from dataclasses import dataclass
from pathlib import Path

from app.inputs.trace_file import open_trace
from app.paths import RECORDED_TRACES
from dola_core.trace.schema import Trace


@dataclass(frozen=True)
class RecordedTrace:
    """One recorded trace; the language files hold its title under `recorded.<name>`."""

    name: str

    @property
    def file(self) -> Path:
        """Its path."""
        return RECORDED_TRACES / f"{self.name}.json"

    def read(self) -> Trace:
        """Read and check it like any other trace file."""
        return open_trace(self.file.read_text(encoding="utf-8"))


RECORDED = tuple(RecordedTrace(name) for name in ("mended", "harmed", "one-token", "endless", "sampled"))
