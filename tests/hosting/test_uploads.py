"""The page takes one kind of upload, a file of questions, and reads no other file and no address."""

import json
from pathlib import Path

import pytest

from tests.hosting.clients.attack import MARK, UPLOAD, Target
from tests.server import ROOT

pytestmark = pytest.mark.usefixtures("alive")


@pytest.fixture
def search(target: Target) -> str:
    """The event that measures an uploaded file of questions."""
    return target.event_after(target.event_on("questions", "upload"))


def asking(target: Target, search: str, file: dict) -> list:
    """What the browser sends to have a file measured."""
    parts = [target.components[part]["props"].get("elem_id") for part in target.events[search]["inputs"]]
    assert "questions" in parts
    return [file if part == "questions" else value for part, value in zip(parts, target.start(search), strict=True)]


def form_part(
    name: str = "files", file: bytes | None = b"x.csv", content: bytes = b"a,b\n1,2\n", key: bytes = b"filename"
):
    """One part of a multipart form."""
    named = b"" if file is None else b"; " + key + b'="' + file + b'"'
    head = b'--B\r\nContent-Disposition: form-data; name="' + name.encode() + b'"' + named
    return head + b"\r\nContent-Type: text/csv\r\n\r\n" + content + b"\r\n"


END, FORM = b"--B--\r\n", {"Content-Type": "multipart/form-data; boundary=B"}
DECOY = form_part("a", None, b'filename="x.csv"')
REFUSED = {
    "a page": form_part(file=b"evil.html") + END,
    "no extension": form_part(file=b"x") + END,
    "two files": form_part() * 2 + END,
    "a page beside a decoy": form_part(file=b"evil.html", key=b"FILENAME") + DECOY + END,
    "a page with a space beside a decoy": form_part(file=b"evil.html", key=b"filename ") + DECOY + END,
    "a quote in its name": form_part(file=b'x.csv\\".html') + END,
    "no name": form_part(file=b"") + END,
    "a field": form_part(file=None) + END,
    "another field": form_part("other") + END,
    "a field as well": form_part() + form_part("files", None, b"abc") + END,
    "nothing": b"",
    "only an end": END,
    "no end": form_part(),
    "no form": b'filename="x.csv"',
    "cut": form_part()[:40],
    "a thousand fields": form_part("a", None) * 1000 + form_part() + END,
    "a long header": form_part(file=b"y" * 100_000 + b".exe") + END,
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_upload_that_is_not_one_file_of_questions_is_refused(target, what):
    reply = target.post(UPLOAD, REFUSED[what], FORM)
    assert (reply.status, reply.is_sound) == (415, True)


@pytest.mark.parametrize(
    "kind",
    [None, "text/csv", "application/json", "multipart/form-data", "multipart/form-data; boundary=",
     "multipart/form-data; boundary=Z", f"multipart/form-data; boundary={'B' * 500}", "multipart/mixed; boundary=B"],
)  # fmt: skip
def test_an_upload_that_is_no_form_is_refused(target, kind):
    reply = target.post(UPLOAD, form_part() + END, {"Content-Type": kind} if kind else {})
    assert (reply.status, reply.is_sound) == (415, True)


def test_an_upload_that_is_too_large_is_refused(target):
    assert target.post(UPLOAD, form_part(content=b"x" * 10_000_001) + END, FORM).status == 413


def upload(target: Target, content: bytes, name: bytes = b"x.csv") -> str:
    """Upload a file and return the path at which the page keeps it."""
    reply = target.post(UPLOAD, form_part(file=name, content=content) + END, FORM)
    assert reply.status == 200, reply
    [path] = json.loads(reply.text)
    return path


def file_data(path: object) -> dict:
    """An uploaded file as the browser sends it with an event."""
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize(
    "name",
    [
        b"x.csv",
        b"x.JSONL",
        b"x.tsv",
        b"x.Txt",
        b"../../../x.csv",
        b"..\\..\\x.csv",
        b"/etc/x.csv",
        b"\xff\xfe.csv",
        b"a" * 300 + b".csv",
    ],
)
def test_a_file_of_questions_goes_into_a_folder_of_its_own_whatever_it_is_called(target, name):
    path = Path(upload(target, b'filename="z.html"', name)).resolve()
    assert path.parent.parent.name == "gradio"
    assert len(path.parent.name) == 64


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x00" * 1000, b"\xff" * 1000, MARK.encode(), b'{"prompt":' * 10**5, b'{"a":' + b"1," * 10**6,
        b"Question,Best Answer,Correct Answers,Incorrect Answers\n" + b"a,b,c,d\n" * 10**6,
        b'{"prompt": "a", "answers": [' + b"1," * 3 * 10**6 + b"1]}", b'{"prompt": "a", "answers": ["b"]}\n' * 10**5,
        b"{" + b",".join(b'"%d": 1' % number for number in range(500_000)) + b"}",
    ],
    ids=["empty", "nulls", "no text", "words", "deep", "no json", "rows", "answers", "lines", "fields"],
)  # fmt: skip
def test_questions_made_to_take_long_are_refused_at_once(target, search, content):
    reply = target.ask(search, asking(target, search, file_data(upload(target, content))))
    assert reply.is_sound
    assert '\\"tone\\": \\"error\\"' in reply.text


def test_a_file_that_was_not_uploaded_is_not_read(target, search, tmp_path):
    own = tmp_path / "own.jsonl"
    own.write_text(json.dumps({"prompt": MARK, "answers": ["a"]}), encoding="utf-8")
    beside = Path(upload(target, b"a")).parent
    shipped = ROOT / "assets" / "models" / "atlas-30l" / "validation.jsonl"
    for path in (own, shipped, f"{beside}/../../../etc/passwd", beside, beside / "none.jsonl", "", "x"):
        reply = target.ask(search, asking(target, search, file_data(path)))
        assert reply.is_sound
        assert reply.refusal or '\\"tone\\": \\"error\\"' in reply.text, path


@pytest.mark.parametrize("scheme", ["http://", "https://"])
def test_a_file_elsewhere_is_not_fetched(target, search, world, scheme):
    for address in (f"{scheme}example.com/x.csv", world.url.replace("http://", scheme), f"{scheme}169.254.169.254/"):
        for name, data in (
            (search, asking(target, search, file_data(address))),
            ("what_if", [file_data(address), 1, 1, 0.1, 1]),
        ):
            assert target.ask(name, data).status == 422
        assert target.ask(search, asking(target, search, file_data("x.csv") | {"url": address})).is_sound
    assert world.requests == []
