"""A comparison as text for a terminal: both lanes' texts as they are written, in colour or plain, and what differs.

Text in, text out. Reads nothing but the standard library, so that `--help` does not wait for PyTorch.
"""

import os
import re
import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dola_core.decoding.lockstep import Advance
    from dola_core.lanes import Decoding, Lane
    from dola_core.trace.schema import Trace

ENDS = {
    "eos": "end of text",
    "length": "length limit",
    "stop": "stop string",
    "stopped": "stopped by you",
    "time": "time limit",
    "broken": "numbers that are not finite",
}
"""Why a lane ended, in words."""
LISTED = 12
"""Differing choices that are listed; a trace has all of them."""
INTERVAL = 1 / 12
"""Seconds between two pictures of a live screen."""

Style = Literal["prompt", "quiet", "base", "dola", "base differs", "dola differs"]
Paint = Callable[[str, Style], str]

_CODES: dict[Style, str] = {
    "prompt": "1",
    "quiet": "2",
    # Of the 256 colours, a blue and a vermilion that can be read on white and on black.
    "base": "1;38;5;33",
    "dola": "1;38;5;166",
    "base differs": "1;4;38;5;33",
    "dola differs": "1;4;38;5;166",
}
_LANES: tuple[tuple[str, Style, Style], ...] = (("●", "base", "base differs"), ("◆", "dola", "dola differs"))


def coloured(text: str, style: Style) -> str:
    """`text` for a terminal that knows colours; differing choices are underlined."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m"


def plain(text: str, style: Style) -> str:
    """`text` for a file or a pipe, without escape codes; differing choices are in brackets."""
    return f"⟦{text}⟧" if style.endswith("differs") else text


def visible(text: str) -> str:
    """`text` with whatever a terminal would obey, control and direction characters, spelled out, such as `\\x1b`.

    Line breaks and tabs stay, and so do the joiners that scripts and emoji are written with.
    """
    return "".join(c.encode("unicode_escape").decode() if _obeyed(c) else c for c in text)


def _obeyed(c: str) -> bool:
    return c not in "\n\t\u200c\u200d" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def token(piece: str) -> str:
    """One token by itself, with its white space made visible; never empty."""
    return visible(piece.translate(_WHITESPACE)) or "∅"


_WHITESPACE = str.maketrans({" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥", "\u00a0": "⍽"})


@dataclass(frozen=True)
class _Written:
    """What one token adds to a text."""

    text: str
    piece: str
    """The token by itself, where it adds none: the end of text, or the first bytes of a character."""
    differs: bool
    """Whether the two decoders disagree on it, on the same text."""


class Texts:
    """Both lanes' texts, token by token: what they share, and what each has of its own after they part."""

    def __init__(self, prompt: str, text_of: Callable[[list[int]], str], piece_of: Callable[[int], str]) -> None:
        self.prompt, self.text_of, self.piece_of = prompt, text_of, piece_of
        self.ids: tuple[list[int], ...] = ([], [])
        self.shared: list[_Written] = []
        self.own: tuple[list[_Written], ...] = ([], [])
        self.ends: list[str | None] = [None, None]
        self.fork: int | None = None
        """The first index at which the lanes take different tokens."""
        self._length = [0, 0]

    def add(self, advance: "Advance") -> None:
        """One step of the comparison."""
        if self.fork is None and len(set(advance.tokens.values())) > 1:
            self.fork = advance.index
        differs = {lane: len({c.id for c in step.choices}) > 1 for step in advance.steps for lane in step.lanes}
        for lane, token_id in advance.tokens.items():
            self.ids[lane].append(token_id)
            text = self._grown(lane, whole=lane in advance.ends)
            self._append(lane, _Written(text, self.piece_of(token_id), differs.get(lane, False)))
        for lane, end in advance.ends.items():
            self._end(lane, end)

    def stop(self) -> None:
        """End the lanes that are still running, as the user wishes."""
        for lane, end in enumerate(self.ends):
            if end is None:
                self._end(lane, "stopped")

    def _end(self, lane: int, end: str) -> None:
        self.ends[lane] = end
        if rest := self._grown(lane, whole=True):
            self._append(lane, _Written(rest, "", False))

    def _grown(self, lane: int, *, whole: bool) -> str:
        """What the text of `lane` has gained; unless it is whole, without a character whose last bytes may follow."""
        text = self.text_of(self.ids[lane])
        text = text if whole else text.rstrip("\ufffd")
        length, self._length[lane] = self._length[lane], max(self._length[lane], len(text))
        return text[length:]

    def _append(self, lane: int, written: _Written) -> None:
        if self.fork is not None:
            self.own[lane].append(written)
        elif lane == 0:
            self.shared.append(written)


def heading(label: str, lane: "Lane", decoding: "Decoding", paint: Paint) -> str:
    """Two lines: the model, and how both lanes decode."""
    how = ["greedy"]
    if decoding.samples:
        how = [f"temperature {decoding.temperature:g}"]
        how += [f"top-k {decoding.top_k}"] if decoding.top_k else []
        how += [f"top-p {decoding.top_p:g}"] if decoding.top_p < 1 else []
        how += [f"seed {decoding.seed}"]
    if decoding.repetition_penalty != 1:
        how.append(f"repetition penalty {decoding.repetition_penalty:g} {decoding.penalty_position} the contrast")
    norm = "" if decoding.early_norm else ", read without the final norm"
    settings = [f"j* = {lane.layer}{norm}", f"α = {lane.alpha:g}", *how, f"at most {decoding.max_new_tokens} tokens"]
    return paint(visible(label), "quiet") + "\n" + paint(" · ".join(settings), "quiet") + "\n\n"


def opening(texts: Texts, paint: Paint) -> str:
    """The prompt, what both lanes share, and the line where they part or end together."""
    shared = "".join(_painted(written, 0, paint) for written in texts.shared)
    text = paint(visible(texts.prompt), "prompt") + shared
    line = "" if (shared or texts.prompt).endswith("\n") else "\n"
    if texts.fork is not None:
        return text + line + paint(f"── the texts part at step {texts.fork + 1} ──", "quiet") + "\n"
    if texts.ends[0] is None:
        return text
    size, end = len(texts.ids[0]), ENDS.get(texts.ends[0], texts.ends[0])
    said = f"Both wrote the same {_tokens(size)}: {end}." if size else f"Nothing was written: {end}."
    return text + line + paint(said, "quiet") + "\n"


def own_text(texts: Texts, lane: int, names: Sequence[str], paint: Paint) -> str:
    """The text of one lane after they parted: its name, the text, and, once it has ended, why."""
    mark, style, _ = _LANES[lane]
    text = "".join(_painted(written, lane, paint) for written in texts.own[lane])
    said = paint(f"{mark} {names[lane]}", style) + "\n" + text
    end = texts.ends[lane]
    if end is None:
        return said
    line = "" if text.endswith("\n") else "\n"
    return said + line + paint(f"{_tokens(len(texts.ids[lane]))}: {ENDS.get(end, end)}", "quiet") + "\n"


def _painted(written: _Written, lane: int, paint: Paint) -> str:
    text = visible(written.text)
    if not written.differs:
        return text
    style = _LANES[lane][2]
    core = text.strip()
    if core:  # white space stays outside the mark
        before, after = text.split(core, 1)
        return before + paint(core, style) + after
    return paint(token(written.text or written.piece), style) + "\n" * text.count("\n")


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count} tokens"


def differences(trace: "Trace", paint: Paint) -> str:
    """How many of DoLa's choices differ from the baseline's on DoLa's own text, and a list of the first of them.

    Each with its probability in its decoder's own distribution.
    """
    steps = trace.lane_steps(1)
    differ = [step for step in steps if step.choices[0].id != step.choices[1].id]
    if not steps:
        return ""
    if not differ:
        return f"\nNone of {_choices(len(steps))} differs.\n"
    many, first = len(differ) > 1, differ[0].index + 1
    where = f"differ, the first at step {first}" if many else f"differs, at step {first}"
    on = f"On the text of {trace.lanes[1].name}, {len(differ)} of {_choices(len(steps))} {where}:"
    table = [("step", trace.lanes[1].name, "p_hat", trace.lanes[0].name, "q_N")]
    for step in differ[:LISTED]:
        base, dola = step.choices
        told = (token(trace.pieces[dola.id]), _number(dola.p), token(trace.pieces[base.id]), _number(base.p))
        table.append((str(step.index + 1), *told))
    widths = [max(map(width_of, column)) for column in zip(*table, strict=True)]
    styles: tuple[Style, ...] = ("quiet", "dola", "quiet", "base", "quiet")
    lines = [
        "  ".join(_padded(cell, width, paint(cell, s)) for cell, width, s in zip(row, widths, styles, strict=True))
        for row in table
    ]
    more = len(differ) - LISTED
    rest = [f"… and {more} more, which a trace has (--trace FILE)"] if more > 0 else []
    return "\n" + "\n".join([on, *(line.rstrip() for line in lines), *rest]) + "\n"


def _choices(count: int) -> str:
    return "1 choice" if count == 1 else f"{count} choices"


def _padded(cell: str, width: int, painted: str) -> str:
    return painted + " " * (width - width_of(cell))


def _number(p: float) -> str:
    return "0" if p == 0 else f"{p:.2f}" if p >= 0.01 else f"{p:.1g}"


def width_of(text: str) -> int:
    """Cells that `text`, of one line and without escape codes, takes in a terminal."""
    return sum(_cells(c) for c in text)


def _cells(c: str) -> int:
    if c == "\u200d" or unicodedata.category(c) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1


def rows(text: str, width: int) -> list[str]:
    """`text` with its colours in rows of at most `width` cells; every row is complete by itself."""
    found, row, code, used = [], "", "", 0

    def end_row() -> None:
        nonlocal row, used
        found.append(row + ("\x1b[0m" if code else ""))
        row, used = code, 0

    for part in re.split(r"(\x1b\[[0-9;]*m)", text.replace("\t", "    ")):
        if part.startswith("\x1b"):
            code = "" if part == "\x1b[0m" else part
            row += part
            continue
        for c in part:
            if c == "\n":
                end_row()
                continue
            if used + _cells(c) > width:
                end_row()
            row, used = row + c, used + _cells(c)
    if used:
        end_row()
    return found


def frame(blocks: Sequence[str], size: os.terminal_size) -> list[str]:
    """Rows of a screen that show both blocks: the first row of each, and the last ones as far as there is room."""
    first, second = (rows(block, size.columns) for block in blocks)
    room = max(size.lines - 1, 2)  # the cursor stands in the row below
    first = _ends(first, max(room // 2, room - len(second)))
    return first + _ends(second, room - len(first))


def _ends(lines: list[str], most: int) -> list[str]:
    return lines if len(lines) <= most else [lines[0], *lines[len(lines) - most + 1 :]]


class Stream:
    """Writes texts as they grow and never takes anything back: the baseline's own text first, then DoLa's."""

    paint: Paint = staticmethod(plain)

    def __init__(self, write: Callable[[str], None], names: Sequence[str]) -> None:
        self.write, self.names = write, names
        self._written = 0

    def show(self, texts: Texts) -> None:
        """Write what is new."""
        self._write_on(self._told(texts))

    def finish(self, texts: Texts) -> None:
        """Write what is left once both lanes have ended."""
        self._write_on(self._told(texts))

    def _told(self, texts: Texts) -> str:
        told = opening(texts, self.paint)
        for lane in (0, 1) if texts.fork is not None else ():
            told += own_text(texts, lane, self.names, self.paint)
            if texts.ends[lane] is None:
                break
        return told

    def _write_on(self, told: str) -> None:
        new, self._written = told[self._written :], max(self._written, len(told))
        if new:
            self.write(new)


class Live(Stream):
    """In a terminal: once the texts have parted, both grow before the reader's eyes, and stand there whole at last."""

    paint: Paint = staticmethod(coloured)

    def __init__(
        self, write: Callable[[str], None], names: Sequence[str], size: Callable[[], os.terminal_size]
    ) -> None:
        super().__init__(write, names)
        self.size = size
        self._drawn, self._when = 0, 0.0

    def show(self, texts: Texts) -> None:
        """Write what is new of the shared text, or draw both lanes again."""
        self._write_on(opening(texts, self.paint))
        now = time.monotonic()
        if texts.fork is None or now - self._when < INTERVAL:
            return
        lines = frame([own_text(texts, lane, self.names, self.paint) for lane in (0, 1)], self.size())
        # Without wrapping: a character that is wider than thought must not add a row that nobody counted.
        self.write(self._wiped() + "\x1b[?7l" + "".join(f"{line}\n" for line in lines) + "\x1b[?7h")
        self._drawn, self._when = len(lines), now

    def finish(self, texts: Texts) -> None:
        """Write both texts whole, without line breaks of the screen's own, so that they can be copied."""
        if self._drawn:
            self.write(self._wiped())
        super().finish(texts)

    def _wiped(self) -> str:
        return f"\x1b[{self._drawn}A\r\x1b[J" if self._drawn else "\r\x1b[J"
