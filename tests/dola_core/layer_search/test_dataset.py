"""Reading question files, valid and invalid."""

import json

import pytest

from dola_core.errors import DatasetError
from dola_core.layer_search.dataset import PREAMBLE, Item, read_items, write_items

ITEMS = [
    Item(prompt="The capital of Japan is", answers=("Tokyo",), wrong=("Osaka",), domain="geography"),
    Item(prompt="Gold is\u2028a metal", answers=("Au", "a metal."), entity="gold"),
]
TRUTHFUL = (
    "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\n"
    'Adversarial,Myths,"What happens if you\nswallow gum?",Nothing,It passes through you; Nothing;,'
    '"It stays for seven years; It grows.; ",x\n'
)
FACTOR = (
    ",full_prefix,doc_id,completion,contradiction_0,contradiction_1,contradiction_2,longest_completions,"
    "turncated_prefixes\n"
    '0,"A long, long text. It",7,is true.,is false.,is odd.,is even.,9,It\n'
)


def write_file(tmp_path, name, text, encoding="utf-8"):
    file = tmp_path / name
    file.write_bytes(text.encode(encoding))
    return file


def test_items_survive_a_round_trip_through_a_file(tmp_path):
    write_items(tmp_path / "items.jsonl", ITEMS)
    assert read_items(tmp_path / "items.jsonl") == ITEMS
    assert read_items(tmp_path / "items.jsonl", "jsonl") == ITEMS


def test_empty_lines_and_a_byte_order_mark_are_ignored(tmp_path):
    line = json.dumps({"prompt": "a", "answers": ["b"]})
    (item,) = read_items(write_file(tmp_path, "x.jsonl", f"\n{line}\n\n", "utf-8-sig"))
    assert item == Item(prompt="a", answers=("b",))


@pytest.mark.parametrize("format", ["auto", "truthfulqa"])
def test_truthfulqa_is_read_as_published(tmp_path, format):
    (item,) = read_items(write_file(tmp_path, "TruthfulQA.csv", TRUTHFUL), format)
    assert item.prompt == "Q: What happens if you\nswallow gum?\nA:"
    assert item.answers == ("Nothing.", "It passes through you.")  # the best one first, without its duplicate
    assert item.wrong == ("It stays for seven years.", "It grows.")
    assert item.domain == "Myths"


def test_the_preamble_is_put_before_truthfulqa_questions_on_request(tmp_path):
    (item,) = read_items(write_file(tmp_path, "TruthfulQA.csv", TRUTHFUL), preamble=True)
    assert item.prompt == f"{PREAMBLE}Q: What happens if you\nswallow gum?\nA:"
    assert PREAMBLE.count("\nA: ") == 6
    assert PREAMBLE.startswith("Interpret each question literally")


@pytest.mark.parametrize(("name", "prefix"), [("news_factor.csv", "A long, long text. It"), ("wiki_factor.csv", "It")])
def test_factor_is_read_with_the_customary_prefix(tmp_path, name, prefix):
    (item,) = read_items(write_file(tmp_path, name, FACTOR))
    assert item == Item(prompt=prefix, answers=("is true.",), wrong=("is false.", "is odd.", "is even."))


def test_a_factor_file_without_truncated_prefixes_is_read_with_the_whole_prefix(tmp_path):
    text = "Unnamed: 0,full_prefix,completion,contradiction_0,contradiction_1,contradiction_2\n0,It,a,b,c,d\n"
    (item,) = read_items(write_file(tmp_path, "expert_factor.csv", text))
    assert item.prompt == "It"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.jsonl", '{"prompt": "a", "answers": ["b"]}\n{', "x.jsonl, line 2: it is not JSON"),
        ("x.jsonl", '{"prompt": "a", "answers": []}', "x.jsonl, line 1: answers is empty"),
        ("x.jsonl", '{"prompt": "a", "answers": "b"}', "x.jsonl, line 1: answers is not of its type"),
        ("x.jsonl", '{"prompt": "a"}', "x.jsonl, line 1: the field answers is missing"),
        ("x.jsonl", '{"prompt": "a", "answers": ["b"]}\n[1]', "x.jsonl, line 2: it is not JSON"),
        ("x.jsonl", '\n{"prompt": "a", "answers": ["b"], "x": 1}', "x.jsonl, line 2: there is no field x"),
        ("x.jsonl", '{"prompt": " ", "answers": ["b"]}', "x.jsonl, line 1: prompt"),
        ("x.jsonl", '{"prompt": "a", "answers": ["."]}', "x.jsonl, line 1: answers.0"),
        ("x.csv", "a,b\n1,2\n", "x.csv, line 1: neither JSON Lines nor a CSV"),
        ("x.csv", "", "x.csv, line 1: neither"),
        ("x.csv", "Question,Best Answer,Correct Answers\n", "line 1: the column “Incorrect Answers” is missing"),
        ("x.csv", TRUTHFUL.replace("Nothing,It", ",It"), "x.csv, line 3, column “Best Answer”: it is empty"),
        ("x.csv", TRUTHFUL.splitlines(keepends=True)[0], "x.csv holds no questions"),
        ("x.csv", FACTOR.replace("is odd.", " "), "x.csv, line 2, column “contradiction_1”: it is empty"),
        ("x.csv", FACTOR.replace("contradiction_2", "other"), "line 1: the column “contradiction_2” is missing"),
        ("x.csv", f"{'x' * 200_000}\n1\n", "x.csv, line 1: neither"),
        ("x.csv", TRUTHFUL.replace("Nothing,It passes through you; Nothing;", ";,; ;"), "line 3: answers is empty"),
        ("x.csv", FACTOR.replace("is true.", "."), "x.csv, line 2: answers.0 is empty"),
        ("x.csv", f'{FACTOR}1,"an open quote\n', "x.csv, line 3: a field in quotes"),
    ],
)
def test_an_invalid_file_raises_one_sentence_with_line_and_column(tmp_path, name, text, message):
    with pytest.raises(DatasetError, match=message) as refused:
        read_items(write_file(tmp_path, name, text))
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(name)  # the name alone: the page shows it to visitors


def test_an_unreadable_file_raises_one_sentence(tmp_path):
    with pytest.raises(DatasetError, match="is not UTF-8 text"):
        read_items(write_file(tmp_path, "x.jsonl", "é", "latin-1"))
    with pytest.raises(DatasetError, match="cannot be read"):
        read_items(tmp_path / "nowhere.jsonl")
