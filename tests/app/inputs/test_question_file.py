"""A file of questions is a stranger's input: what is in it is measured, or the file gets one sentence."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.inputs.question_file import LONGEST, MAX_LINES, MOST_ANSWERS, QuestionsError, questions_of
from app.language import language
from dola_core.layer_search.dataset import FACTOR_COLUMNS, TRUTHFULQA_COLUMNS, Item

TEXTS = st.text(st.characters(), max_size=12)
"""Lone surrogates included."""
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(["prompt", "answers", "wrong", "domain", "relation", "entity", "a\nb"]) | TEXTS
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
        (f"\ufeff{json.dumps(ONE | {'answers': [1] * 300_001})}", "too many lines or values"),
        (json.dumps(ONE | {"answers": ["b"] * (MOST_ANSWERS + 1)}), "has 33 answers"),
        (json.dumps(ONE | {"domain": "x" * (LONGEST + 1)}), "holds a text of more than 4,000 characters"),
        (json.dumps(ONE | {"x" * 10**6: 1}), "there is no field x{60}."),
        (json.dumps(ONE | {"a\nb": 1}), "there is no field a b."),
    ],
    ids=["lines", "rows", "answers", "no such space", "mark", "a question", "a text", "a name", "a name of two lines"],
)
def test_a_file_that_is_too_much_for_the_page_is_told_so(tmp_path, text, said):
    file = tmp_path / ("x.csv" if text.startswith("Q") else "x.jsonl")
    file.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(QuestionsError, match=said) as error:
        questions_of(str(file))
    assert "\n" not in str(error.value)


def test_without_a_file_there_is_a_sentence_as_well(tmp_path):
    for file in (None, "", str(tmp_path), str(tmp_path / "gone.csv")):
        with pytest.raises(QuestionsError):
            questions_of(file)
