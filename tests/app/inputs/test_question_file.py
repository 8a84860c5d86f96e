"""A file of questions is a stranger's input: what is in it is measured, or the file gets one sentence."""

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.inputs.question_file import (
    LONGEST,
    MAX_LINES,
    MOST,
    MOST_ANSWERS,
    USUAL,
    QuestionsError,
    limit_of,
    questions_of,
)
from app.language import language
from app.server.api_events import parsed_questions
from dola_core.layer_search.questions.dataset import FACTOR_COLUMNS, TRUTHFULQA_COLUMNS, Item
from tests.dola_core.layer_search.questions import INVALID

TEXTS = st.text(st.characters(), max_size=12)
"""Lone surrogates included."""
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
FIELDS = (
    st.sampled_from(["prompt", "answers", "wrong", "domain", "relation", "entity", "image", "text", "label", "a\nb"])
    | TEXTS
)
QUESTIONS = st.lists(
    st.one_of(
        st.dictionaries(FIELDS, ANYTHING, max_size=4),
        st.fixed_dictionaries(
            {"prompt": TEXTS, "answers": st.lists(TEXTS, max_size=3)}, optional={"wrong": st.lists(TEXTS, max_size=3)}
        ),
    ),
    max_size=4,
).map(lambda questions: "\n".join(map(json.dumps, questions)))
CELLS = st.sampled_from(
    [*TRUTHFULQA_COLUMNS, *FACTOR_COLUMNS, "full_prefix", "turncated_prefixes", "", " ", "a", "a; b", ";;", "."]
)
CSV = st.tuples(
    st.sampled_from(
        [",".join(TRUTHFULQA_COLUMNS), ",".join(("full_prefix", *FACTOR_COLUMNS)), "Question", "completion,x", ""]
    ),
    st.lists(st.lists(CELLS | st.text(',;"\n\r\0 a', max_size=6), max_size=6).map(",".join), max_size=4),
).map(lambda table: "\n".join([table[0], *table[1]]))
FILES = st.one_of(QUESTIONS, CSV, TEXTS).map(lambda text: text.encode("utf-8", "replace")) | st.binary(max_size=60)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=FILES, name=st.sampled_from(["x.jsonl", "x.csv", "news.csv"]))
def test_whatever_a_file_holds_its_questions_are_read_or_it_gets_a_sentence(tmp_path, content, name):
    file = tmp_path / name
    file.write_bytes(content)
    try:
        items, _ = questions_of(str(file))
    except QuestionsError as error:
        for said in (error.message(language("en")), error.message(language("zh"))):
            assert 0 < len(said) < 400
            assert len(said.splitlines()) == 1
        return
    assert items
    assert all(isinstance(item, Item) and item.prompt.strip() and item.answers for item in items)


ONE = {"prompt": "a", "answers": ["b"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{json.dumps(ONE)}\n" * (2 * MAX_LINES + 1), "too many lines or values"),
        ("Question,Best Answer,Correct Answers,Incorrect Answers\n" + "a,b,c,d\r" * 50_000, "too many lines or values"),
        (json.dumps(ONE | {"answers": [1] * 300_001}), "too many lines or values"),
        (f"\u2003\ufeff{json.dumps(ONE | {'answers': [1] * 300_001})}", "neither JSON Lines nor a CSV"),
        (f"[{json.dumps(ONE | {'answers': [1] * 300_001})}]", "too many lines or values"),
        (f"\ufeff{json.dumps(ONE | {'answers': [1] * 300_001})}", "too many lines or values"),
        (json.dumps(ONE | {"answers": ["b"] * (MOST_ANSWERS + 1)}), "has 33 answers"),
        (json.dumps(ONE | {"domain": "x" * (LONGEST + 1)}), "holds a text of more than 4,000 characters"),
        (json.dumps(ONE | {"x" * 10**6: 1}), "there is no field x{60}."),
        (json.dumps(ONE | {"a\nb": 1}), "there is no field a b."),
    ],
    ids=[
        "lines",
        "rows",
        "answers",
        "no such space",
        "a list",
        "mark",
        "a question",
        "a text",
        "a name",
        "a name of two lines",
    ],
)
def test_a_file_that_is_too_much_for_the_page_is_told_so(tmp_path, text, said):
    file = tmp_path / ("x.csv" if text.startswith("Q") else "x.jsonl")
    file.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(QuestionsError, match=said) as error:
        questions_of(str(file))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig", "utf-32"])
def test_the_limits_hold_in_every_encoding(tmp_path, encoding):
    file = tmp_path / "x.jsonl"
    for text in (json.dumps(ONE | {"answers": [1] * 300_001}), f"{json.dumps(ONE)}\r" * (2 * MAX_LINES + 1)):
        file.write_bytes(text.encode(encoding))
        with pytest.raises(QuestionsError, match="too many lines or values"):
            questions_of(str(file))


@pytest.mark.parametrize(("name", "text", "message"), [case for case in INVALID if case[2]])
def test_a_mistake_is_told_in_both_languages_with_the_same_values(tmp_path, name, text, message):
    file = tmp_path / name
    file.write_bytes(text.encode())
    with pytest.raises(QuestionsError, match=message) as refused:
        questions_of(str(file))
    said, numbers = refused.value.message(language("zh")), re.compile(r"\d+")
    assert re.search("[\u4e00-\u9fff]", said)
    assert sorted(numbers.findall(said)) == sorted(numbers.findall(str(refused.value)))


@pytest.mark.parametrize(
    "question",
    [
        ONE | {"image": "/etc/passwd"},
        ONE | {"image": "a.png"},
        {"text": "Is it?", "label": "yes", "image": "../secret.png"},
        {"question": "Is it?", "answer": "no", "image": "file:///etc/passwd"},
    ],
)
@pytest.mark.parametrize("format", ["auto", "jsonl"])
def test_no_question_of_a_visitor_makes_the_server_open_an_image(tmp_path, question, format, monkeypatch):
    monkeypatch.setattr("dola_core.models.images.image_file.open_image", lambda *_: pytest.fail("it was opened"))
    picture = tmp_path / "a.png"
    picture.write_bytes(b"a secret")
    file = tmp_path / "x.jsonl"
    file.write_text(f"{json.dumps(question | {'image': None})}\n{json.dumps(question)}")
    with pytest.raises(QuestionsError) as refused:
        questions_of(str(file), format)
    said, chinese = str(refused.value), refused.value.message(language("zh"))
    if "prompt" in question or format == "auto":
        assert said.startswith("x.jsonl, line 2: it names an image, which is not read here; measure such questions by ")
        assert "此处不读取图片" in chinese
        assert said.count("\n") == chinese.count("\n") == 0


def test_questions_of_a_call_that_name_an_image_are_refused():
    with pytest.raises(QuestionsError, match=r"^questions\.jsonl, line 1: it names an image, which is not read here"):
        parsed_questions([ONE | {"image": "/etc/passwd"}])
    items, _ = parsed_questions([ONE])
    assert items[0].image is None


def test_what_a_visitor_asks_to_be_answered_by_yes_or_no_is_measured(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps({"text": "Is gold a metal?", "label": "yes", "category": "metals"}))
    (item,), _ = questions_of(str(file))
    assert item == Item(prompt="Is gold a metal?", answers=("Yes",), wrong=("No",), domain="metals")


def test_an_empty_file_is_said_to_be_empty_in_both_languages(tmp_path):
    file = tmp_path / "x.csv"
    file.write_bytes(b"")
    with pytest.raises(QuestionsError, match=r"x\.csv is empty") as refused:
        questions_of(str(file))
    assert refused.value.message(language("zh")).startswith("x.csv 是空的")


def test_without_a_file_there_is_a_sentence_as_well(tmp_path):
    for file in (None, "", str(tmp_path), str(tmp_path / "gone.csv")):
        with pytest.raises(QuestionsError):
            questions_of(file)


def test_a_question_that_is_too_long_is_told_wherever_it_stands_since_any_may_be_drawn(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text(f"{json.dumps(ONE)}\n" * (MOST + 7) + json.dumps(ONE | {"prompt": "a" * (LONGEST + 1)}))
    with pytest.raises(QuestionsError, match=f"Question {MOST + 8} holds a text"):
        questions_of(str(file))


@pytest.mark.parametrize(
    ("asked", "limit"),
    [(200, 200), (7.9, 7), (1, 1), (0, 1), (-3, 1), (MOST + 1, MOST), (1e300, MOST), (float("inf"), MOST)],
)
def test_as_many_questions_are_measured_as_were_asked_for_within_bounds(asked, limit):
    assert limit_of(asked) == limit


@pytest.mark.parametrize("asked", [None, "", "9", [9], {"n": 9}, True, float("nan")])
def test_what_is_no_number_asks_for_the_usual_one(asked):
    assert limit_of(asked) == USUAL
