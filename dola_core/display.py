"""How tokens and numbers are written for people: on the page, in the terminal and in reports."""

WHITESPACE = {" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥", "\u00a0": "⍽"}
"""White space → the mark that stands for it."""
EMPTY = "∅"
"""Stands for a token without text."""
_MARKS = str.maketrans(WHITESPACE)


def mark_whitespace(text: str) -> str:
    """`text` with every white-space character replaced by its mark."""
    return text.translate(_MARKS)


def visible_token(text: str) -> str:
    """The text of one token with white space marked and unprintable characters as `\\x…`; never empty."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in mark_whitespace(text)) or EMPTY


def format_number(value: float) -> str:
    """A probability or divergence: two decimals, or one significant digit below 0.01."""
    return "0" if value == 0 else f"{value:.2f}" if value >= 0.01 else f"{value:.1g}"


def format_signed(value: float, unit: str = "") -> str:
    """An estimate with its sign, the minus as a true minus sign.

    In "points" it is written in hundredths with one decimal, in any other unit as it is with three.
    """
    text = f"{100 * value:+.1f}" if unit == "points" else f"{value:+.3f}"
    return text.replace("-", "−")
