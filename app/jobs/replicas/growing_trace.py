"""Send of a trace that grows with each update only what the other side has not.

A trace of many steps is a megabyte, and comes a dozen times a second while they are recorded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from app.jobs.comparison import ComparisonUpdate
from dola_core.trace.schema import Trace
from dola_core.trace.step import Step


@dataclass(frozen=True)
class Growth:
    """An update of a run without the steps that were sent before."""

    kept: int
    """How many of the steps that were sent before are the first of the trace."""
    steps: Sequence[Step]
    """Those behind them."""
    ahead: Sequence[Sequence[int]]
    """What each lane has written beyond its steps."""
    fields: dict[str, Any]
    """The trace's other fields."""
    update: ComparisonUpdate
    """The update itself, without its trace."""


class GrowthSender:
    """The side that has the traces of one run."""

    def __init__(self) -> None:
        self._steps: tuple[Step, ...] = ()

    def packed(self, update: Any) -> Any:
        """An update as it is sent; of another kind than a comparison's, the update itself."""
        if not isinstance(update, ComparisonUpdate):
            return update
        trace = update.trace
        pairs = zip(self._steps, trace.steps, strict=False)
        kept = sum(1 for _ in takewhile(lambda pair: pair[0] is pair[1], pairs))
        self._steps = trace.steps
        ahead = [trace.lane_ids(lane)[len(trace.lane_steps(lane)) :] for lane in range(len(trace.lanes))]
        fields = {name: getattr(trace, name) for name in Trace.model_fields if name != "steps"}
        return Growth(kept, trace.steps[kept:], ahead, fields, replace(update, trace=None))  # type: ignore[arg-type]


class GrowthReceiver:
    """The side that gets them, in the order in which they were sent."""

    def __init__(self) -> None:
        self._steps: tuple[Step, ...] = ()

    def unpacked(self, sent: Any) -> Any:
        """The update that was packed, whole again."""
        if not isinstance(sent, Growth):
            return sent
        self._steps = (*self._steps[: sent.kept], *sent.steps)
        trace = Trace.model_construct(**sent.fields, steps=self._steps)
        return replace(sent.update, trace=trace.with_more(sent.ahead))
