"""How tokens and numbers are written."""

import pytest

from dola_core.display import format_number, format_signed, mark_whitespace, visible_token


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" Tokyo", "␣Tokyo"),
        ("\n\n", "⏎⏎"),
        ("\t", "⇥"),
        ("\r\u00a0", "␍⍽"),
        ("\x00\x1b[31m", "\\x00\\x1b[31m"),
        ("", "∅"),
        ("<b>", "<b>"),
        ("\u202eevil", "\\x202eevil"),
    ],
)
def test_every_token_can_be_seen(text, shown):
    assert visible_token(text) == shown


def test_marking_white_space_changes_nothing_else():
    assert mark_whitespace(" a\n\x1b") == "␣a⏎\x1b"


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (1, "1.00"), (0.456, "0.46"), (0.004, "0.004"), (3e-7, "3e-07")])
def test_numbers_are_short(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.0123, "points", "+1.2"), (-0.0123, "points", "−1.2"), (0.5, "nats", "+0.500"), (-0.25, "", "−0.250")],
)
def test_estimates_are_written_with_their_sign(value, unit, text):
    assert format_signed(value, unit) == text
