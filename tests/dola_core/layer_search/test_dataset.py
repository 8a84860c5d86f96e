"""Reading question files, valid and invalid."""

import csv
import io
import json
import pickle

import pytest

from dola_core.errors import DATASET_ERRORS, DatasetError
from dola_core.layer_search.questions.dataset import PREAMBLE, Item, parse_items, read_items, write_items
from tests.dola_core.layer_search.questions import FACTOR, HEADER, INVALID, ROW, TRUTHFUL

ITEMS = [
    Item(prompt="The capital of Japan is", answers=("Tokyo",), wrong=("Osaka",), domain="geography"),
    Item(prompt="Gold is\u2028a metal", answers=("Au", "a metal."), entity="gold"),
]


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


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text", [TRUTHFUL, FACTOR], ids=["truthfulqa", "factor"])
def test_a_table_reads_the_same_however_a_spreadsheet_saves_it(tmp_path, text, encoding, ends, delimiter):
    expected = read_items(write_file(tmp_path, "x.csv", text))
    rows = list(csv.reader(io.StringIO(text, newline="")))
    saved = io.StringIO()
    csv.writer(saved, delimiter=delimiter, lineterminator="\n").writerows(rows)
    # A line break within a cell is saved like one between rows.
    file = write_file(tmp_path, "y.csv", saved.getvalue().replace("\n", ends), encoding)
    assert read_items(file) == expected


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_json_lines_read_the_same_however_an_editor_saves_them(tmp_path, encoding, ends):
    lines = ends.join(json.dumps(item.model_dump(), ensure_ascii=False) for item in ITEMS)
    assert read_items(write_file(tmp_path, "x.jsonl", lines, encoding)) == ITEMS


GOLD = Item(prompt="Q: What is gold?\nA:", answers=("A metal.", "An element."), wrong=("A gas.",))


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}\n{ROW}\n,,,\n,,,\n",
        f"{HEADER}\n,,,\n{ROW}\n\n , ,,,,,,,\n",
        f",,,\n\n{HEADER}\n{ROW}\n",
        f"{HEADER},,\n{ROW},,\n,,,,,\n",
        f"sep=,\n{HEADER}\n{ROW}\n",
        f"{HEADER}\n{ROW}\n".replace(",", ", ").replace("A gas", '"A gas"'),
        f"Notes,{HEADER},Notes,,\nx,{ROW},y,,\n",
        f"{HEADER}\n{ROW} ; .;\n",
    ],
    ids=["at the end", "between", "before", "wide", "noted delimiter", "spaces", "unused columns", "blank answers"],
)
def test_what_spreadsheets_add_to_a_table_is_no_question(tmp_path, text):
    assert read_items(write_file(tmp_path, "x.csv", text)) == [GOLD]
    assert read_items(write_file(tmp_path, "x.csv", text), "truthfulqa") == [GOLD]


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("more", ["", "{d}Category", "{d}Source{d}Category", "{d}"])
def test_an_unquoted_delimiter_in_any_column_is_refused_with_line_and_count(tmp_path, place, delimiter, more):
    columns = f"{HEADER.replace(',', delimiter)}{more.format(d=delimiter)}"
    last = delimiter * more.count("{d}")
    cells = ["What is gold?", "A metal", "A metal", "A gas"]
    good = delimiter.join(cells) + last
    cells[place] = f"No{delimiter} {cells[place]}"
    bad = delimiter.join(cells) + last
    held, most = bad.count(delimiter) + 1, columns.count(delimiter) + 1
    file = write_file(tmp_path, "x.csv", f"{columns}\n{good}\n{bad}\n{good}\n")
    with pytest.raises(DatasetError) as refused:
        read_items(file)
    shown = delimiter.replace("\t", "\\t")
    assert str(refused.value) == (
        f"x.csv, line 3 (row 3): it has {held} cells where the header has {most}; "
        f"put a text that holds “{shown}” in quotes."
    )


@pytest.mark.parametrize(("name", "prefix"), [("news_factor.csv", "A long, long text. It"), ("wiki_factor.csv", "It")])
def test_factor_is_read_with_the_customary_prefix(tmp_path, name, prefix):
    (item,) = read_items(write_file(tmp_path, name, FACTOR))
    assert item == Item(prompt=prefix, answers=("is true.",), wrong=("is false.", "is odd.", "is even."))


def test_a_factor_file_without_truncated_prefixes_is_read_with_the_whole_prefix(tmp_path):
    text = "Unnamed: 0,full_prefix,completion,contradiction_0,contradiction_1,contradiction_2\n0,It,a,b,c,d\n"
    (item,) = read_items(write_file(tmp_path, "expert_factor.csv", text))
    assert item.prompt == "It"


@pytest.mark.parametrize(("name", "text", "message"), INVALID)
def test_an_invalid_file_raises_one_sentence_with_line_and_column(tmp_path, name, text, message):
    file = write_file(tmp_path, name, text)
    if message is None:
        assert len(read_items(file)) == 2
        return
    with pytest.raises(DatasetError, match=message) as refused:
        read_items(file)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(name)  # the name alone: the page shows it to visitors
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_every_kind_of_mistake_but_those_of_bytes_is_among_the_invalid_files(tmp_path):
    kinds = set()
    for name, text, message in INVALID:
        if message is not None:
            with pytest.raises(DatasetError) as refused:
                read_items(write_file(tmp_path, name, text))
            kinds.add(refused.value.kind)
    assert kinds == set(DATASET_ERRORS) - {"encoding", "unreadable", "image"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("é".encode("latin-1"), "x.csv is not UTF-8 text .byte 0.; save it as UTF-8."),
        (b"\xef\xbb\xbfa\xff", "x.csv is not UTF-8 text .byte 4."),
        ("Question".encode("utf-16") + b"x", "x.csv is not UTF-16 text .byte 18."),
        (b"PK\x03\x04\x14\x00\x06\x00\xff", "x.csv is not UTF-8 text .byte 8.; save it as UTF-8."),
        ("".encode("utf-16"), "x.csv is empty"),
    ],
)
def test_a_file_of_other_bytes_is_told_its_encoding_and_the_first_byte_that_is_wrong(tmp_path, data, message):
    file = tmp_path / "x.csv"
    file.write_bytes(data)
    with pytest.raises(DatasetError, match=message):
        read_items(file)


def test_an_unreadable_file_raises_one_sentence(tmp_path):
    for path in (tmp_path / "nowhere.jsonl", tmp_path):
        with pytest.raises(DatasetError, match="cannot be read: "):
            read_items(path)


POPE = [
    {"question_id": 1, "image": "a.jpg", "text": "Is there a snowboard in the image?", "label": "yes"},
    {"question_id": 2, "image": "a.jpg", "text": "Is there a car in the image?", "label": "no"},
]


def lines_of(*questions):
    return "\n".join(map(json.dumps, questions))


@pytest.mark.parametrize("format", ["auto", "yesno"])
@pytest.mark.parametrize("name", ["coco_pope_random.json", "x.jsonl"])
def test_questions_answered_by_yes_or_no_are_read_as_pope_publishes_them(tmp_path, name, format):
    first, second = read_items(write_file(tmp_path, name, lines_of(*POPE)), format)
    image = str(tmp_path / "a.jpg")
    about = {"image": image, "entity": "a.jpg"}
    assert first == Item(prompt="Is there a snowboard in the image?", answers=("Yes",), wrong=("No",), **about)
    assert second == Item(prompt="Is there a car in the image?", answers=("No",), wrong=("Yes",), **about)


@pytest.mark.parametrize(
    ("question", "right", "domain"),
    [
        ({"question": "Is it?", "answer": "Yes"}, "Yes", ""),
        ({"question": "Is it?", "label": " NO. ", "category": "count", "meta": {"text": [1]}}, "No", "count"),
        ({"text": "Is it?", "answer": "no", "image": None, "id": 7}, "No", ""),
    ],
)
def test_other_names_and_other_fields_are_read_too(tmp_path, question, right, domain):
    (item,) = read_items(write_file(tmp_path, "x.jsonl", json.dumps(question)))
    assert (item.prompt, item.answers, item.domain, item.image) == ("Is it?", (right,), domain, None)
    assert {*item.answers, *item.wrong} == {"Yes", "No"}


def test_images_lie_beside_the_file_or_in_a_folder_that_is_named_or_where_their_path_says(tmp_path, monkeypatch):
    own = {"prompt": "What is it?", "answers": ["a cat"]}
    absolute = str(tmp_path / "else" / "c.png")
    text = lines_of(own | {"image": "a.png"}, own | {"image": "sub/b.png"}, own | {"image": absolute}, own)
    file = write_file(tmp_path, "x.jsonl", text)
    found = [item.image for item in read_items(file)]
    assert found == [str(tmp_path / "a.png"), str(tmp_path / "sub" / "b.png"), absolute, None]
    found = [item.image for item in read_items(file, images=tmp_path / "more")]
    assert found[:3] == [str(tmp_path / "more" / "a.png"), str(tmp_path / "more" / "sub" / "b.png"), absolute]
    monkeypatch.chdir(tmp_path)
    assert read_items("x.jsonl")[0].image == str(tmp_path / "a.png")
    write_items(tmp_path / "y.jsonl", read_items(file))
    assert read_items(tmp_path / "y.jsonl") == read_items(file)


@pytest.mark.parametrize("question", [{"prompt": "a", "answers": ["b"], "image": "/etc/passwd"}, POPE[0]])
def test_without_a_folder_a_question_that_names_an_image_is_refused(question):
    plain = {key: value for key, value in question.items() if key != "image"}
    assert len(parse_items("x.jsonl", lines_of(plain, plain))) == 2
    with pytest.raises(DatasetError, match=r"^x\.jsonl, line 2: it names an image, which is not read here; measure"):
        parse_items("x.jsonl", lines_of(plain, question))
