"""How tokens and numbers are written."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dola_core.display import LONGEST, MOST_MARKS, cut, format_number, format_signed, mark_whitespace, visible_token


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


TEXTS = st.text(st.one_of(st.characters(), st.sampled_from("&<>\"' \n\u0301\u202e\u2028")), max_size=200)


@given(TEXTS, st.integers(1, 9))
def test_any_token_is_one_line_of_a_readable_length(text, times):
    shown = visible_token(text * times)
    assert 1 <= len(shown) <= LONGEST
    assert shown.isprintable()
    assert not set(shown) & set(" \n\t")
    if not shown.endswith("…"):
        assert shown == visible_token(text * times, most=10**6)


@given(TEXTS, st.integers(1, 80))
def test_a_text_is_cut_between_letters(text, most):
    shown = cut(text, most)
    assert len(shown) <= most
    assert shown == text or text.startswith(shown.removesuffix("…"))
    if shown != text and len(shown) > most - MOST_MARKS:
        assert not unicodedata.combining(text[len(shown) - 1])


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
