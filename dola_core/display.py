"""How tokens and numbers are written for people: on the page, in the terminal and in reports."""

import unicodedata

WHITESPACE = {" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥", "\u00a0": "⍽"}
"""White space → the mark that stands for it."""
EMPTY = "∅"
"""Stands for a token without text."""
LONGEST = 60
"""Characters of a token that are shown; some tokenizers have ones of hundreds."""
MOST_MARKS = 8
"""Marks that belong to one letter, at most, in any language."""
LANE_MARKS = ("●", "◆", "▲", "■")
"""The shapes that mark the lanes, beside their colours."""
END_REASONS = {
    "eos": "end of text",
    "length": "length limit",
    "stop": "stop string",
    "stopped": "stopped by you",
    "time": "time limit",
    "broken": "numbers that are not finite",
}
"""Why a lane ended, in words."""
_MARKS = str.maketrans(WHITESPACE)


def mark_whitespace(text: str) -> str:
    """`text` with every white-space character replaced by its mark."""
    return text.translate(_MARKS)


def cut(text: str, most: int = LONGEST) -> str:
    """`text` if it has at most `most` characters, else its beginning and `…`; no letter loses its marks.

    Cut first and escape afterwards: a cut entity of HTML would show its letters.
    """
    if len(text) <= most:
        return text
    end = most - 1
    for _ in range(min(MOST_MARKS, end)):
        if not unicodedata.combining(text[end]):
            break
        end -= 1
    return text[:end] + "…"


def visible_token(text: str, most: int = LONGEST) -> str:
    """One token on one line: white space marked, unprintable characters as `\\x…`, cut to `most`; never empty."""
    shown = mark_whitespace(text[: most + MOST_MARKS])
    return cut("".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in shown), most) or EMPTY


def format_number(value: float) -> str:
    """A probability or divergence: two decimals, or one significant digit below 0.01."""
    return "0" if value == 0 else f"{value:.2f}" if value >= 0.01 else f"{value:.1g}"


def format_signed(value: float, unit: str = "") -> str:
    """An estimate with its sign, the minus as a true minus sign.

    In "points" it is written in hundredths with one decimal, in any other unit as it is with three.
    """
    text = f"{100 * value:+.1f}" if unit == "points" else f"{value:+.3f}"
    return text.replace("-", "−")
