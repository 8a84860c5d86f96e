"""A failure of a run is named for its visitor, logged for the host, and gets advice only where advice helps."""

import logging
import pickle
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.jobs import failures
from app.jobs.failures import FAILED, describe, failure_sentence
from app.language import CODES, ENGLISH, VisitorError, language
from dola_core.errors import (
    PROMPT_ERRORS,
    PromptError,
    QuestionPromptError,
    QuestionTooLongError,
    UnsupportedModelError,
)

ADVICE = re.compile("fewer|shorter|shorten|减少|缩短", re.IGNORECASE)


def no_such_number() -> ValidationError:
    try:
        TypeAdapter(int).validate_python("x")
    except ValidationError as error:
        return error
    raise AssertionError


UNKNOWN = {
    "RuntimeError: shapes do not match": RuntimeError("shapes do not match.\nIn full:\n..."),
    "KeyError: 'layers'": KeyError("layers"),
    "IndexError": IndexError(),
    "ValidationError: 1 validation error for int": no_such_number(),
    "FileNotFoundError: [Errno 2] No such file or directory: …": FileNotFoundError(
        2, "No such file or directory", "/srv/secret/my model/config.json"
    ),
    "RecursionError: a < b & c": RecursionError("a < b & c"),
}
MEMORY = [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB"), MemoryError()]


@pytest.fixture
def released(engine, monkeypatch) -> list[bool]:
    """Gets an entry whenever the engine gives memory back."""
    calls: list[bool] = []
    monkeypatch.setattr(type(engine), "release", lambda self: calls.append(True))
    return calls


@pytest.mark.parametrize("task", FAILED)
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("what", UNKNOWN)
def test_an_unknown_failure_is_named_and_logged_without_advice(engine, released, caplog, task, code, what):
    error = UNKNOWN[what]
    with caplog.at_level(logging.ERROR):
        said = failure_sentence(error, task, engine.release, language(code))
    assert said == language(code)(FAILED[task], what=what)
    assert not ADVICE.search(said)
    assert [record.exc_info[1] for record in caplog.records] == [error]
    assert not released


@pytest.mark.parametrize("task", ["comparison", "search"])
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("error", MEMORY, ids=lambda error: type(error).__name__)
def test_only_where_memory_ran_out_less_is_advised(engine, released, caplog, task, code, error):
    with caplog.at_level(logging.WARNING):
        said = failure_sentence(error, task, engine.release, language(code))
    assert ADVICE.search(said)
    assert type(error).__name__ not in said
    assert released == [True]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


KNOWN = [
    VisitorError("error.queue_full", n=3),
    *(PromptError(kind, 9, 8, texts="U+0007", reason="no") for kind in PROMPT_ERRORS),
    QuestionTooLongError(3, 900, 512),
    QuestionPromptError(3, PromptError("unreadable", texts="U+0007")),
]


@pytest.mark.parametrize("error", KNOWN, ids=lambda error: f"{type(error).__name__} {getattr(error, 'kind', '')}")
def test_what_is_known_is_said_in_its_own_words_and_not_logged(engine, released, caplog, error):
    there = pickle.loads(pickle.dumps(error))  # as out of a run on a GPU that is lent
    with caplog.at_level(logging.DEBUG):
        assert failure_sentence(there, "search", engine.release, ENGLISH) == str(error)
        assert re.search("[\u4e00-\u9fff]", failure_sentence(error, "search", engine.release, language("zh")))
    assert not caplog.records
    assert not released


def test_a_model_that_cannot_be_run_says_why_without_advice(engine, released):
    error = UnsupportedModelError("/srv/models/odd copies no row of its cache.")
    for code in CODES:
        said = failure_sentence(error, "search", engine.release, language(code))
        assert said == language(code)("error.unsupported", reason="… copies no row of its cache")
        assert not ADVICE.search(said)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("cannot open /home/me/x.bin: denied", "cannot open … denied"),
        ("in ['/srv/a b/c', \"/srv/d\"]", "in […, …]"),
        ("C:\\Users\\me\\x.bin is gone", "… is gone"),
        ("\\\\server\\share\\x is gone", "… is gone"),
        ("file:///home/me/x and ~/.cache/x", "… and …"),
        ("path=/srv/x,cause:/srv/y", "path=…,cause:…"),
        ("no model https://huggingface.co/org/name here", "no model https://huggingface.co/org/name here"),
        ("3 / 4 tokens and/or </s>", "3 / 4 tokens and/or </s>"),
        ("<Thing object at 0x7f1234567890>", "<Thing object at …>"),
        ("\n \n  one\x1b[31m\u202e two\ttabs\nmore", "one [31m two tabs"),
        ("x" * 500, "x" * 120 + "…"),
        ("{what} ${x} %s", "{what} ${x} %s"),
    ],
)
def test_of_a_message_the_first_line_is_shown_without_paths_and_at_a_bounded_length(message, shown):
    assert describe(RuntimeError(message)) == f"RuntimeError: {shown}"


PARTS = st.sampled_from(
    ["/", "\\", "home", "me", " ", "'", '"', ":", "C:", "~", "\n", "\u202e", "\ud800", "(", "x", "."]
)


@given(parts=st.lists(PARTS, max_size=40))
def test_whatever_an_error_says_its_description_is_one_short_printable_line(parts):
    said = describe(RuntimeError("".join(parts)))
    assert said.isprintable()
    assert len(said) <= len("RuntimeError: ") + failures.MAX_MESSAGE + 1


@given(folders=st.lists(st.text(st.sampled_from("ab-_.0"), min_size=1, max_size=5), min_size=2, max_size=5))
def test_no_folder_of_the_host_is_shown(folders):
    for path in ("/" + "/".join(folders), "C:\\" + "\\".join(folders), f"'/my files/{'/'.join(folders)}'"):
        assert describe(OSError(f"cannot read {path}")) == "OSError: cannot read …"
