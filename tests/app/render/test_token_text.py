import pytest

from app.render.token_text import number, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" Tokyo", "␣Tokyo"),
        ("\n\n", "⏎⏎"),
        ("\t", "⇥"),
        ("\x00\x1b[31m", "\\x00\\x1b[31m"),
        ("", "∅"),
        ("<b>", "<b>"),
        ("\u202eevil", "\\x202eevil"),
    ],
)
def test_every_token_can_be_seen(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize(("p", "said"), [(0, "0"), (1, "1.00"), (0.456, "0.46"), (0.0042, "0.004"), (3e-7, "3e-07")])
def test_numbers_are_short(p, said):
    assert number(p) == said
