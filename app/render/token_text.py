"""How the page writes tokens and numbers: one place that formats them for the eye."""

import re
from collections.abc import Sequence

from dola_core.trace.schema import Trace

BYTES = re.compile(r"(<0x[0-9A-F]{2}>)+")

WHITESPACE = str.maketrans({" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥", "\u00a0": "⍽"})


def visible(text: str) -> str:
    """`text` of a token with its white space and control characters made visible; never empty."""
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text.translate(WHITESPACE))
    return shown or "∅"


def token(trace: Trace, token_id: int) -> str:
    """A recorded token as the eye sees it."""
    return visible(trace.pieces.get(token_id, f"#{token_id}"))


def running_text(trace: Trace, ids: Sequence[int]) -> list[str]:
    """Tokens of a text as the eye sees them there: bytes that only together are a character show it at the last."""
    shown, pending = [], b""
    for token_id in ids:
        piece = trace.pieces.get(token_id, "")
        if not BYTES.fullmatch(piece):
            shown.append(token(trace, token_id))
            pending = b""
            continue
        pending += bytes.fromhex(piece.replace("<0x", "").replace(">", ""))
        try:
            shown.append(visible(pending.decode("utf-8")))
            pending = b""
        except UnicodeDecodeError as error:
            # "unexpected end" may yet become a character; anything else never will.
            pending = pending if error.reason == "unexpected end of data" else b""
            shown.append("…" if pending else visible(piece))
    return shown


def number(p: float) -> str:
    """A probability or divergence for reading: two digits, or one significant where it is small."""
    return "0" if p == 0 else f"{p:.2f}" if p >= 0.01 else f"{p:.1g}"
