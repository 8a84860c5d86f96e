"""Prompts are read from lines, from JSON Lines and from tables, or refused with the line that is wrong."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dola_core.errors import DatasetError
from dola_core.many_prompts.prompts import PromptFileError, parse_prompts, read_prompts

LINE = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), min_size=1).filter(str.strip)
PROMPT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(st.lists(LINE, min_size=1), st.sampled_from(["\n", "\n\n", "\n \n"]))
def test_every_line_of_a_text_file_is_a_prompt(prompts, between):
    assert parse_prompts("a.txt", between.join(prompts)) == prompts


@given(st.lists(PROMPT, min_size=1), st.booleans())
def test_json_lines_hold_texts_or_objects(prompts, objects):
    lines = [json.dumps({"prompt": prompt, "id": 5} if objects else prompt, ensure_ascii=False) for prompt in prompts]
    assert parse_prompts("a.jsonl", "\n".join(lines)) == prompts


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("column", ["prompt", "Prompt", "PROMPT"])
def test_a_table_has_a_column_of_prompts(delimiter, column):
    rows = [("id", column), ("1", "Gold is"), ("2", f'"a{delimiter} b"')]
    text = "\n".join(delimiter.join(row) for row in rows)
    assert parse_prompts("a.csv", text) == ["Gold is", f"a{delimiter} b"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "", "a.txt holds no prompts"),
        ("a.txt", " \n\n", "a.txt holds no prompts"),
        ("a.jsonl", '{"prompt": "a"}\n{', "a.jsonl, line 2: it is not JSON"),
        ("a.jsonl", '{"text": "a"}', "a.jsonl, line 1: it is neither a text nor an object with a text called prompt"),
        ("a.jsonl", "[1]", "a.jsonl, line 1: it is neither"),
        ("a.jsonl", '{"prompt": 5}', "a.jsonl, line 1: it is neither"),
        ("a.jsonl", '{"prompt": " "}', "a.jsonl, line 1: prompt is empty"),
        ("a.jsonl", "[" * 100_000, "a.jsonl, line 1: it is not JSON"),
        ("a.csv", "id,text\n1,a", "the column “prompt” is missing; it has id, text"),
        ("a.csv", "id,prompt\n1,", "column “prompt”: it is empty"),
        ("a.csv", "prompt,prompt\na,b", "twice"),
        ("a.csv", "id,prompt\n", "a.csv holds no prompts"),
    ],
)
def test_what_is_no_prompt_is_named_with_its_line(name, text, said):
    with pytest.raises((DatasetError, PromptFileError)) as refused:
        parse_prompts(name, text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_files_of_spreadsheets_are_read(tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes("prompt\r\nGold is\r\n金は\r\n".encode("utf-16"))
    assert read_prompts(file) == ["Gold is", "金は"]
    for data, said in ((b"\xff\xfe\xff", "is not UTF-16 text"), (b"a\xff", "is not UTF-8 text")):
        file.write_bytes(data)
        with pytest.raises(DatasetError, match=said):
            read_prompts(file)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_prompts(tmp_path / "none.txt")
