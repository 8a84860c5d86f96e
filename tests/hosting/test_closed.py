"""What a page has beside its events: only its own files, one kind of upload, and headers that give nothing away."""

import json
from pathlib import Path

import pytest

from tests.browser.conftest import ROOT
from tests.hosting.attack import JOIN, LEAKS, MARK, RUN, Target

pytestmark = pytest.mark.usefixtures("alive")
UPLOAD = "/gradio_api/upload"
ELSEWHERE = "http://evil.example"

UP = "../" * 8 + "etc/passwd"
CLIMBS = (UP, UP.replace("../", "%2e%2e/"), UP.replace("../", "..%2f"), UP.replace("../", "..%5c"), "//etc/passwd")
READ = [
    f"{prefix}{name}"
    for prefix in ("/gradio_api/file=", "/file=", "/gradio_api/file/", "/file/", "/gradio_api/proxy=", "/proxy=")
    for name in (
        *CLIMBS, "/etc/passwd", UP.replace("../", "..%252f"), f"{ROOT}/app.py", "http://192.0.2.1/", "file:///etc/passwd",
        "%00", "~/.bashrc", "\\etc\\passwd",
    )
]  # fmt: skip
NAMED = [
    f"{prefix}{name}"
    for prefix in (
        "/static/", "/assets/", "/svelte/", "/duet/", "/gradio_api/duet/", "/gradio_api/custom_component/a/client/b/",
        "/gradio_api/", "/",
    )
    for name in (
        *CLIMBS, "%00", "a" * 300, "a" * 5000, "%e4%b8%ad" * 85, "%e4%b8%ad" * 200, "..", "%2e%2e", "%ff", "app.py",
        "duet.css", "index.html", "assets/words/en.toml",
    )
]  # fmt: skip
CLOSED = [
    f"{prefix}{name}"
    for prefix in ("/", "/gradio_api/")
    for name in (
        "deep_link?session_hash=a", "monitoring", "monitoring/summary", "monitoring/x", "docs", "redoc", "runs", "mcp/",
        "run-history/buckets", "run-history/records", "profiling/traces", "profiling/summary", "dev/reload", "token",
        "vibe-starter-queries", "login", "logout", "stream/a/b/1/playlist.m3u8", "stream/a/b/1/playlist-file", "file=",
        "process_recording", "component_server", "custom_component/a/client/b/c", "upload_progress?upload_id=x",
        "custom_component/a%0aTraceback/client/b/c", "pwa_icon", "pwa_icon/-1", "vibe-code", "proxy=",
        "nowhere",
    )
] + ["/openapi.json"]  # fmt: skip


def test_no_file_is_served_but_the_page_s_own(target):
    for path in READ + NAMED + CLOSED:
        status, _, said = target.raw("GET", path)
        assert 400 <= status < 500, path
        assert not LEAKS.search(said), path
        assert "root:x:" not in said, path


def test_what_the_page_is_made_of_is_served(target):
    for path in ("/", "/config", "/theme.css", "/gradio_api/info", "/gradio_api/duet/duet.js", "/favicon.ico"):
        assert target.raw("GET", path)[0] == 200, path


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "POST", "QWERTZ"])
def test_other_methods_are_refused(target, method):
    for path in ("/", "/config", "/gradio_api/file=/etc/passwd", "/assets/x.js", "/gradio_api/heartbeat/x"):
        assert 400 <= target.raw(method, path)[0] < 500, path


@pytest.mark.parametrize(
    "header", ["Host", "X-Forwarded-Host", "X-Gradio-Server", "X-Forwarded-Proto", "Origin", "Range"]
)
def test_a_header_of_any_kind(target, header):
    for value in (
        "a b",
        "[::1",
        "a:99999999",
        "http://[x",
        '"><script>',
        "javascript:x",
        "xn--\x80",
        "\xff",
        "a,b",
        ":",
    ):
        for path in ("/config", "/", "/gradio_api/duet/duet.js"):
            status, _, said = target.raw("GET", path, **{header: value})
            assert status in (200, 400, 416), (path, value)
            assert "Traceback" not in said, (path, value)
        status, _, said = target.raw("POST", RUN, json.dumps(target.arrival).encode(), **{header: value})
        assert status in (200, 400), value
        assert not LEAKS.search(said), value


@pytest.mark.parametrize("origin", [ELSEWHERE, "null", "https://127.0.0.1.evil.example", "file://", "http://["])
def test_a_page_elsewhere_is_not_allowed_to_read_answers(target, origin):
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    arrival = json.dumps(target.arrival).encode()
    for _, headers, _ in (
        target.raw("GET", "/config", Origin=origin),
        target.raw("OPTIONS", JOIN, Origin=origin, **asked),
        target.raw("POST", RUN, arrival, Origin=origin),
        target.raw("GET", "/gradio_api/file=/etc/passwd", Origin=origin),
    ):
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_what_a_form_elsewhere_can_send_without_being_allowed_to_is_refused(target, kind):
    assert target.post(RUN, target.arrival, {"Content-Type": kind, "Origin": ELSEWHERE}).status == 415


def test_every_answer_has_sane_headers(target):
    arrival = json.dumps(target.arrival).encode()
    for method, path, body in (
        ("GET", "/", b""), ("GET", "/config", b""), ("GET", "/nowhere", b""), ("GET", "/monitoring", b""),
        ("GET", "/gradio_api/duet/duet.js", b""), ("PUT", "/", b"{}"), ("GET", "/static/../x", b""),
        ("POST", JOIN, b"{"), ("POST", JOIN, b"x" * 13_000_000), ("POST", RUN, arrival), ("POST", UPLOAD, b"x"),
    ):  # fmt: skip
        _, headers, _ = target.raw(method, path, body)
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "strict-origin-when-cross-origin", path
        assert headers["content-type"], path
        assert "set-cookie" not in headers, path


def test_nothing_is_counted_recorded_or_monitored(target):
    config = target.config
    assert config["analytics_enabled"] is config["run_history"] is config["show_error"] is False
    assert config["footer_links"] == []
    assert str(ROOT) not in json.dumps(config)


def part(name: str = "files", file: bytes | None = b"x.csv", content: bytes = b"a,b\n1,2\n", key: bytes = b"filename"):
    named = b"" if file is None else b"; " + key + b'="' + file + b'"'
    head = b'--B\r\nContent-Disposition: form-data; name="' + name.encode() + b'"' + named
    return head + b"\r\nContent-Type: text/csv\r\n\r\n" + content + b"\r\n"


END, FORM = b"--B--\r\n", {"Content-Type": "multipart/form-data; boundary=B"}
DECOY = part("a", None, b'filename="x.csv"')
REFUSED = {
    "a page": part(file=b"evil.html") + END,
    "no extension": part(file=b"x") + END,
    "two files": part() * 2 + END,
    "a page beside a decoy": part(file=b"evil.html", key=b"FILENAME") + DECOY + END,
    "a page with a space beside a decoy": part(file=b"evil.html", key=b"filename ") + DECOY + END,
    "a quote in its name": part(file=b'x.csv\\".html') + END,
    "no name": part(file=b"") + END,
    "a field": part(file=None) + END,
    "another field": part("other") + END,
    "a field as well": part() + part("files", None, b"abc") + END,
    "nothing": b"",
    "only an end": END,
    "no end": part(),
    "no form": b'filename="x.csv"',
    "cut": part()[:40],
    "a thousand fields": part("a", None) * 1000 + part() + END,
    "a long header": part(file=b"y" * 100_000 + b".exe") + END,
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_upload_that_is_not_one_file_of_questions_is_refused(target, what):
    answer = target.post(UPLOAD, REFUSED[what], FORM)
    assert (answer.status, answer.is_sound) == (415, True)


@pytest.mark.parametrize(
    "kind",
    [None, "text/csv", "application/json", "multipart/form-data", "multipart/form-data; boundary=",
     "multipart/form-data; boundary=Z", f"multipart/form-data; boundary={'B' * 500}", "multipart/mixed; boundary=B"],
)  # fmt: skip
def test_an_upload_that_is_no_form_is_refused(target, kind):
    answer = target.post(UPLOAD, part() + END, {"Content-Type": kind} if kind else {})
    assert (answer.status, answer.is_sound) == (415, True)


def test_an_upload_that_is_too_large_is_refused(target):
    assert target.post(UPLOAD, part(content=b"x" * 10_000_001) + END, FORM).status == 413


def uploaded(target: Target, content: bytes, name: bytes = b"x.csv") -> str:
    """Where the page puts a file."""
    answer = target.post(UPLOAD, part(file=name, content=content) + END, FORM)
    assert answer.status == 200, answer
    [path] = json.loads(answer.text)
    return path


@pytest.mark.parametrize(
    "name",
    [b"x.csv", b"x.JSONL", b"../../../x.csv", b"..\\..\\x.csv", b"/etc/x.csv", b"\xff\xfe.csv", b"a" * 300 + b".csv"],
)
def test_a_file_of_questions_goes_into_a_folder_of_its_own_whatever_it_is_called(target, name):
    path = Path(uploaded(target, b'filename="z.html"', name)).resolve()
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
def test_questions_made_to_take_long_are_refused_at_once(target, content):
    answer = target.ask("search", ["en", file_data(uploaded(target, content)), None])
    assert answer.is_sound
    assert '\\"tone\\": \\"error\\"' in answer.text


def file_data(path: object) -> dict:
    """A file as Gradio's browser sends one that it has uploaded."""
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def test_a_file_that_was_not_uploaded_is_not_read(target, tmp_path):
    own = tmp_path / "own.jsonl"
    own.write_text(json.dumps({"prompt": MARK, "answers": ["a"]}), encoding="utf-8")
    beside = Path(uploaded(target, b"a")).parent
    shipped = ROOT / "assets" / "atlas-30l" / "validation.jsonl"
    for path in (own, shipped, f"{beside}/../../../etc/passwd", beside, beside / "none.jsonl", "", "x"):
        answer = target.ask("search", ["en", file_data(path), None])
        assert answer.is_sound
        assert answer.refusal or '\\"tone\\": \\"error\\"' in answer.text, path


@pytest.mark.parametrize("scheme", ["http://", "https://"])
def test_a_file_elsewhere_is_not_fetched(target, world, scheme):
    for address in (f"{scheme}example.com/x.csv", world.url.replace("http://", scheme), f"{scheme}169.254.169.254/"):
        for name, data in (
            ("search", ["en", file_data(address), None]),
            ("what_if", [file_data(address), 1, 1, 0.1, 1]),
        ):
            assert target.ask(name, data).status == 422
        assert target.ask("search", ["en", file_data("x.csv") | {"url": address}, None]).is_sound
    assert world.asked == []
