"""Many prompts, typed or in a file, as the page takes them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inputs.prompt_file import LONGEST, MOST, PromptsError, prompts_of_file, prompts_of_text
from app.language import CODES, language


def test_each_line_of_the_box_that_is_not_blank_is_a_prompt():
    assert prompts_of_text("One \n\n  \r\n Two\r\nThree") == ["One ", " Two", "Three"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "One\n\nTwo, or more\n"),
        ("a.jsonl", '{"prompt": "One", "id": 7}\n"Two, or more"\n'),
        ("a.csv", 'id,prompt\n1,One\n2,"Two, or more"\n'),
        ("a.tsv", "prompt\tid\nOne\t1\nTwo, or more\t2\n"),
    ],
)
def test_every_kind_of_file_holds_prompts(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    assert prompts_of_file(str(file)) == ["One", "Two, or more"]


BAD_FILES = {
    "a.txt": b" \n\n",
    "b.txt": b"\xff\xfe\xff",
    "c.jsonl": b"{",
    "d.jsonl": b'{"prompt": 7}',
    "e.jsonl": b'{"prompt": " "}',
    "f.jsonl": b"[" * 100_000,
    "g.jsonl": b"[1" + b",1" * 400_000 + b"]",
    "h.csv": b"question\nOne\n",
    "i.csv": b'prompt\n"One\n',
    "j.txt": b"x\n" * (MOST + 1),
    "k.txt": b"x" * (LONGEST + 1),
    "l.txt": b"x" * (MOST * LONGEST + 1),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_cannot_be_completed_is_refused_in_every_language_in_a_short_sentence(tmp_path, name):
    file = tmp_path / name
    file.write_bytes(BAD_FILES[name])
    with pytest.raises(PromptsError) as refused:
        prompts_of_file(str(file))
    sentences = {refused.value.message(language(code)) for code in CODES}
    assert len(sentences) == len(CODES)
    assert all(0 < len(sentence) < 300 for sentence in sentences)


@pytest.mark.parametrize("value", [None, "", 7, ["a"], {"path": "/etc/passwd"}, "/no/such/file.txt"])
def test_what_is_no_upload_is_refused(value):
    with pytest.raises(PromptsError):
        prompts_of_file(value)


@given(st.none() | st.integers() | st.text() | st.lists(st.text()))
def test_whatever_a_browser_sends_as_the_box_is_prompts_or_refused(value):
    try:
        prompts = prompts_of_text(value)
    except PromptsError:
        return
    assert 0 < len(prompts) <= MOST
    assert all(prompt.strip() and json.dumps(prompt).encode() for prompt in prompts)


def test_lone_halves_of_characters_are_replaced():
    assert prompts_of_text("a\ud800b")[0].encode()
