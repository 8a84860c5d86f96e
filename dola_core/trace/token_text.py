"""Tokens of a trace as text for the eye."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from dola_core.display import WHITESPACE, visible_token

if TYPE_CHECKING:
    from dola_core.trace.schema import Trace

BYTES = re.compile(r"(<0x[0-9A-F]{2}>)+")
"""The text of a token that is no whole character: its bytes."""


def token(trace: "Trace", token_id: int) -> str:
    """One token by itself, with its white space visible; `#id` if the trace holds no text for it."""
    return visible_token(trace.pieces.get(token_id, f"#{token_id}"))


def own_part(trace: "Trace") -> tuple[int, int]:
    """Which of the prompt's tokens hold what the visitor wrote: from, and up to but without.

    The others are a chat template's, or a BOS. All of them, if the prompt as it was written is not found in them. What
    the assistant had begun to say is shown with it.
    """
    texts = [trace.pieces.get(token_id, "") for token_id in trace.prompt_ids]
    written, whole = trace.prompt.strip(), "".join(texts)
    start = whole.rfind(written, 0, len(whole) - len(trace.begun)) if written else -1
    if start < 0:
        return 0, len(texts)
    ends = list(accumulate(map(len, texts)))
    end = len(texts) if trace.begun else bisect_left(ends, start + len(written)) + 1
    return bisect_right(ends, start), end


class Piece(NamedTuple):
    """One token of a running text."""

    text: str
    """For the view of tokens: white space visible; `…` for a token that only begins a character."""
    plain: str
    """For the view of text: as it is read; empty for a token that only begins a character."""


def running_text(trace: "Trace", ids: Sequence[int]) -> list[Piece]:
    """The tokens of a text, one piece each.

    Where several tokens are the bytes of one character, the last of them shows the character.
    """
    shown, pending = [], b""
    for token_id in ids:
        piece = trace.pieces.get(token_id, "")
        if not BYTES.fullmatch(piece):
            shown.append(Piece(token(trace, token_id), _readable(piece)))
            pending = b""
            continue
        pending += bytes.fromhex(piece.replace("<0x", "").replace(">", ""))
        try:
            character = pending.decode("utf-8")
            shown.append(Piece(visible_token(character), _readable(character)))
            pending = b""
        except UnicodeDecodeError as error:
            # "unexpected end" may still become a character with the next token; other errors cannot.
            pending = pending if error.reason == "unexpected end of data" else b""
            shown.append(Piece("…", "") if pending else Piece(visible_token(piece), visible_token(piece)))
    return shown


def _readable(text: str) -> str:
    """A piece with its spaces, tabs and line ends as they are, and other unprintable characters as `\\x…`."""
    return "".join(c if c in WHITESPACE or c.isprintable() else visible_token(c) for c in text)
