"""How the page says things: one place that formats a token for the eye, and the sentences made from a trace."""

from dola_core.trace import EndReason, Trace

WHITESPACE = str.maketrans({" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥", "\u00a0": "⍽"})

END_WORDS: dict[EndReason, str] = {
    "eos": "end of text",
    "length": "length limit",
    "stop": "stop string",
    "stopped": "stopped by you",
}


def visible(text: str) -> str:
    """`text` of a token with its white space and control characters made visible; never empty."""
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text.translate(WHITESPACE))
    return shown or "∅"


def token(trace: Trace, token_id: int) -> str:
    """A recorded token as the eye sees it."""
    return visible(trace.pieces.get(token_id, f"#{token_id}"))


def number(p: float) -> str:
    """A probability or divergence for reading: two digits, or one significant where it is small."""
    return "0" if p == 0 else f"{p:.2f}" if p >= 0.01 else f"{p:.1g}"
