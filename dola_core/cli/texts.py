"""The lanes' texts while they grow: what they share, and what each has of its own after they differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dola_core.decoding.lockstep import StepOutput


@dataclass(frozen=True)
class TokenText:
    """What one token adds to a text."""

    text: str
    piece: str
    """The token by itself, to show where `text` is empty: end of text, or the first bytes of a character."""
    differs: bool
    """Whether the decoders chose different tokens on the same text."""


class LaneTexts:
    """The texts of a comparison's lanes, token by token, from its steps."""

    def __init__(
        self,
        prompt: str,
        text_of: Callable[[list[int]], str],
        piece_of: Callable[[int], str],
        stop: Sequence[str] = (),
        *,
        lanes: int = 2,
    ) -> None:
        """Start with empty texts; `text_of` gives the text of new ids, `piece_of` that of one id, `stop` ends texts."""
        self.prompt, self.text_of, self.piece_of, self.stop_strings = prompt, text_of, piece_of, tuple(stop)
        self.ids: tuple[list[int], ...] = tuple([] for _ in range(lanes))
        self.shared: list[TokenText] = []
        """What all lanes wrote before `fork`."""
        self.own: tuple[list[TokenText], ...] = tuple([] for _ in range(lanes))
        """What each lane wrote from `fork` on."""
        self.ends: list[str | None] = [None] * lanes
        """Why each lane ended; None while it runs."""
        self.ended_by: list[str | None] = [None] * lanes
        """What ended it: the text of the token that ends a text, or a stop string."""
        self.fork: int | None = None
        """The first index at which the lanes take different tokens."""
        self._length = [0] * lanes

    def add(self, output: "StepOutput") -> None:
        """Add one step of the comparison."""
        if self.fork is None and len(set(output.tokens.values())) > 1:
            self.fork = output.index
        differs = {lane: len({c.id for c in step.choices}) > 1 for step in output.steps for lane in step.lanes}
        for lane, token_id in output.tokens.items():
            self.ids[lane].append(token_id)
            text = self._new_text(lane, final=lane in output.ends)
            self._append(lane, TokenText(text, self.piece_of(token_id), differs.get(lane, False)))
        for lane, end in output.ends.items():
            self._end(lane, end)

    def stop(self) -> None:
        """End the lanes that still run, as "stopped"."""
        for lane, end in enumerate(self.ends):
            if end is None:
                self._end(lane, "stopped")

    def _end(self, lane: int, end: str) -> None:
        self.ends[lane] = end
        if end == "eos":
            self.ended_by[lane] = self.piece_of(self.ids[lane][-1])
        elif end == "stop":
            text = self.text_of(self.ids[lane])
            self.ended_by[lane] = next((one for one in self.stop_strings if one in text), None)
        if rest := self._new_text(lane, final=True):
            self._append(lane, TokenText(rest, "", False))

    def _new_text(self, lane: int, *, final: bool) -> str:
        """The text that `lane` gained since the last call.

        Unless `final`, without replacement characters at its end: they are the first bytes of a character that further
        tokens may complete.
        """
        text = self.text_of(self.ids[lane])
        text = text if final else text.rstrip("\ufffd")
        length, self._length[lane] = self._length[lane], max(self._length[lane], len(text))
        return text[length:]

    def _append(self, lane: int, token: TokenText) -> None:
        if self.fork is not None:
            self.own[lane].append(token)
        elif lane == 0:
            self.shared.append(token)
