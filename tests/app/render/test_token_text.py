"""Tokens of a trace as text."""

from app.render.token_text import running_text, token


def test_a_token_is_shown_by_its_text_or_else_by_its_id(forked):
    trace = forked.model_copy(update={"pieces": {7: " Tokyo\n"}})
    assert token(trace, 7) == "␣Tokyo⏎"
    assert token(trace, 8) == "#8"


def test_bytes_of_one_character_show_it_at_the_last(forked):
    pieces = {n: f"<0x{byte:02X}>" for n, byte in enumerate("é".encode())} | {9: "x"}
    trace = forked.model_copy(update={"pieces": pieces})
    assert running_text(trace, [0, 1, 9]) == ["…", "é", "x"]


def test_bytes_that_are_no_character_are_shown_as_bytes(forked):
    trace = forked.model_copy(update={"pieces": {0: "<0xFF>", 1: "<0xC3>", 2: "x"}})
    assert running_text(trace, [0, 0, 1, 2]) == ["<0xFF>", "<0xFF>", "…", "x"]
