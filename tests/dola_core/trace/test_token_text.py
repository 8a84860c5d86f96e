"""Tokens of a trace as text."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from dola_core.trace.token_text import own_part, running_text, token


def test_a_token_is_shown_by_its_text_or_else_by_its_id(trace):
    trace = trace.model_copy(update={"pieces": {7: " Tokyo\n"}})
    assert token(trace, 7) == "␣Tokyo⏎"
    assert token(trace, 8) == "#8"


def test_bytes_of_one_character_show_it_at_the_last(trace):
    pieces = {n: f"<0x{byte:02X}>" for n, byte in enumerate("é".encode())} | {9: "x"}
    trace = trace.model_copy(update={"pieces": pieces})
    assert running_text(trace, [0, 1, 9]) == [("…", ""), ("é", "é"), ("x", "x")]


def test_bytes_that_are_no_character_are_shown_as_bytes(trace):
    trace = trace.model_copy(update={"pieces": {0: "<0xFF>", 1: "<0xC3>", 2: "x"}})
    assert [piece.text for piece in running_text(trace, [0, 0, 1, 2])] == ["<0xFF>", "<0xFF>", "…", "x"]


def test_as_text_spaces_and_line_ends_are_as_they_are_and_nothing_else_is_unseen(trace):
    trace = trace.model_copy(update={"pieces": {0: " a", 1: "\n\n", 2: "\x07", 3: "\u202e", 4: "…"}})
    assert [piece.plain for piece in running_text(trace, range(5))] == [" a", "\n\n", "\\x07", "\\x202e", "…"]


@given(st.text(max_size=30))
def test_the_pieces_of_a_text_read_as_the_text(text):
    """Whatever the bytes of its characters are split into."""
    raw = text.encode("utf-8", "ignore")
    pieces = {n: f"<0x{byte:02X}>" for n, byte in enumerate(raw)}
    trace = SimpleNamespace(pieces=pieces)
    read = "".join(piece.plain for piece in running_text(trace, range(len(raw))))
    assert read == "".join(running_text(SimpleNamespace(pieces={0: c}), [0])[0].plain for c in raw.decode())


@given(st.data())
def test_what_the_visitor_wrote_is_found_among_a_templates_tokens(trace, data):
    words = st.lists(st.sampled_from(["<s>", "user", "\n", " a", "b", " b", "c ", "ab", "a"]), max_size=6)
    before, own, after = data.draw(words), data.draw(words), data.draw(words)
    texts = [*before, *own, *after]
    written = "".join(own).strip()
    changed = trace.model_copy(
        update={"pieces": dict(enumerate(texts)), "prompt_ids": tuple(range(len(texts))), "prompt": "".join(own)}
    )
    start, end = own_part(changed)
    assert 0 <= start <= end <= len(texts)
    assert written in "".join(texts[start:end])
    if written:  # no token at either end without a part of it
        assert written not in "".join(texts[start + 1 : end])
        assert written not in "".join(texts[start : end - 1])


def test_a_prompt_that_is_not_found_is_the_visitors_whole(trace):
    trace = trace.model_copy(update={"prompt": "something else"})
    assert own_part(trace) == (0, len(trace.prompt_ids))
