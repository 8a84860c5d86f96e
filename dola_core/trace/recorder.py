"""Collect the steps of a running comparison into a trace."""

from collections.abc import Callable, Mapping, Sequence

from dola_core.comparison import Comparison
from dola_core.models.info import ModelInfo
from dola_core.trace.images import TraceImage
from dola_core.trace.schema import EndReason, Trace, digest_of
from dola_core.trace.step import Step


class Recorder:
    """Takes the steps of one comparison as they come; `trace()` is what there is so far."""

    def __init__(self, comparison: Comparison, model: ModelInfo) -> None:
        self.comparison, self.model = comparison, model
        self.steps: list[Step] = []
        self.ids: list[list[int]] = [[] for _ in comparison.lanes]
        """The new ids of each lane."""
        self.ends: list[EndReason | None] = [None for _ in comparison.lanes]
        """Why each lane ended; None while it runs."""
        self._images: tuple[TraceImage, ...] = ()
        self._image_span: tuple[int, int] | None = None
        if shown := comparison.images:
            self._images = tuple(TraceImage.of(one, thumbnail=comparison.thumbnails) for one in shown.images)
            self._image_span = shown.span
        self.beams_found: list[int] = []
        """How many beams of each lane found a text of their own, if beams were searched."""

    def add(self, tokens: Mapping[int, int], ends: Mapping[int, EndReason], steps: Sequence[Step]) -> None:
        """Add one step: {lane: its token}, {lane: why it ended} and the records of the rows."""
        self.steps.extend(steps)
        for lane, token in tokens.items():
            self.ids[lane].append(token)
        for lane, end in ends.items():
            self.ends[lane] = end

    def forget_unrecorded(self) -> None:
        """Forget what lanes wrote after their last recorded steps, such as when these will never come."""
        for lane, count in enumerate(self._recorded()):
            if count < len(self.ids[lane]):
                del self.ids[lane][count:]
                self.ends[lane] = None

    def _recorded(self) -> list[int]:
        """How many steps of each lane are recorded."""
        recorded = [0] * len(self.ids)
        for step in self.steps:
            for lane in step.lanes:
                recorded[lane] = step.index + 1
        return recorded

    def trace(self, piece: Callable[[int], str], text: Callable[[Sequence[int]], str]) -> Trace:
        """The trace so far, whose texts may be ahead of its steps.

        `piece` gives the text of one id and `text` that of a sequence of ids.
        """
        comparison = self.comparison
        ids = set(comparison.prompt_ids).union(*self.ids)
        for step in self.steps:
            ids.update(step.tokens.tolist(), step.top_ids.tolist(), step.taken)
        trace = Trace(
            model=self.model,
            prompt=comparison.prompt,
            chat=comparison.chat,
            begun=comparison.begun,
            prompt_ids=comparison.prompt_ids,
            images=self._images,
            image_span=self._image_span,
            lanes=comparison.lanes,
            decoding=comparison.config,
            steps=tuple(self.steps),
            texts=tuple(text(lane) for lane in self.ids),
            ends=tuple(self.ends),
            pieces={i: piece(i) for i in sorted(ids)},
            digest=digest_of(self.ids),
            beams_found=tuple(self.beams_found) if len(self.beams_found) == len(comparison.lanes) else (),
        )
        ahead = [ids[count:] for ids, count in zip(self.ids, self._recorded(), strict=True)]
        return trace.with_more(ahead) if any(ahead) else trace
