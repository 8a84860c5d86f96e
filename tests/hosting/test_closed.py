"""Beside its events a page serves its own files only, and sends headers that reveal nothing."""

import json

import pytest

from tests.hosting.clients.attack import CANCEL, JOIN, LEAKS, RUN, UPLOAD
from tests.server import ROOT

pytestmark = pytest.mark.usefixtures("alive")
ELSEWHERE = "http://evil.example"
CALL, MCP = "/gradio_api/call/compare", "/gradio_api/mcp/"

UP = "../" * 8 + "etc/passwd"
CLIMBS = (UP, UP.replace("../", "%2e%2e/"), UP.replace("../", "..%2f"), UP.replace("../", "..%5c"), "//etc/passwd")
READ_ATTEMPTS = [
    f"{prefix}{name}"
    for prefix in ("/gradio_api/file=", "/file=", "/gradio_api/file/", "/file/", "/gradio_api/proxy=", "/proxy=")
    for name in (
        *CLIMBS, "/etc/passwd", UP.replace("../", "..%252f"), f"{ROOT}/app.py", "http://192.0.2.1/", "file:///etc/passwd",
        "%00", "~/.bashrc", "\\etc\\passwd",
    )
]  # fmt: skip
FILE_NAMES = [
    f"{prefix}{name}"
    for prefix in (
        "/static/", "/assets/", "/svelte/", "/duet/", "/gradio_api/duet/", "/gradio_api/custom_component/a/client/b/",
        "/gradio_api/", "/",
    )
    for name in (
        *CLIMBS, "%00", "a" * 300, "a" * 5000, "%e4%b8%ad" * 85, "%e4%b8%ad" * 200, "..", "%2e%2e", "%ff", "app.py",
        "texts.css", "index.html", "assets/words/en.toml",
    )
]  # fmt: skip
CLOSED_ROUTES = [
    f"{prefix}{name}"
    for prefix in ("/", "/gradio_api/")
    for name in (
        "deep_link?session_hash=a", "monitoring", "monitoring/summary", "monitoring/x", "docs", "redoc", "runs", "mcp/",
        "run-history/buckets", "run-history/records", "profiling/traces", "profiling/summary", "dev/reload", "token",
        "vibe-starter-queries", "login", "logout", "stream/a/b/1/playlist.m3u8", "stream/a/b/1/playlist-file", "file=",
        "process_recording", "component_server", "custom_component/a/client/b/c", "upload_progress?upload_id=x",
        "custom_component/a%0aTraceback/client/b/c", "pwa_icon", "pwa_icon/-1", "vibe-code", "proxy=",
        "heartbeat/a%0ab", "nowhere",
    )
] + ["/openapi.json"]  # fmt: skip
ODD_HEADERS = (
    "a b", "[::1", "a:99999999", "http://[x", '"><script>', "javascript:x", "xn--\x80", "\xff", "a,b", ":",
)  # fmt: skip


def test_no_file_is_served_but_the_page_s_own(target):
    for path in READ_ATTEMPTS + FILE_NAMES + CLOSED_ROUTES:
        status, _, text = target.raw("GET", path)
        assert 400 <= status < 500, path
        assert not LEAKS.search(text), path
        assert "root:x:" not in text, path


def test_the_page_s_own_files_are_served(target):
    for path in ("/", "/config", "/theme.css", "/gradio_api/info", "/gradio_api/duet/duet.js", "/favicon.ico"):
        assert target.raw("GET", path)[0] == 200, path


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "POST", "QWERTZ"])
def test_other_methods_are_refused(target, method):
    for path in ("/", "/config", "/gradio_api/file=/etc/passwd", "/assets/x.js", "/gradio_api/heartbeat/x"):
        assert 400 <= target.raw(method, path)[0] < 500, path


@pytest.mark.parametrize("header", ["X-Forwarded-Host", "X-Gradio-Server", "X-Forwarded-Proto", "Range"])
def test_a_header_of_any_kind(target, header):
    for value in ODD_HEADERS:
        for path in ("/config", "/", "/gradio_api/duet/duet.js"):
            status, _, text = target.raw("GET", path, **{header: value})
            assert status in (200, 400, 416), (path, value)
            assert "Traceback" not in text, (path, value)
        status, _, text = target.raw("POST", RUN, json.dumps(target.arrival).encode(), **{header: value})
        assert status in (200, 400), value
        assert not LEAKS.search(text), value


@pytest.mark.parametrize(("header", "statuses"), [("Host", (400,)), ("Origin", (403,))])
def test_an_odd_host_or_origin_is_refused(target, header, statuses):
    for value in ODD_HEADERS:
        for method, path in (("GET", "/config"), ("GET", "/"), ("GET", "/gradio_api/duet/duet.js"), ("POST", RUN)):
            status, _, text = target.raw(method, path, json.dumps(target.arrival).encode(), **{header: value})
            assert status in statuses, (path, value)
            assert not LEAKS.search(text), (path, value)


@pytest.mark.parametrize(
    "origin",
    [
        ELSEWHERE,
        "null",
        "https://127.0.0.1.evil.example",
        "file://",
        "http://[",
        "http://localhost.",
        "http://127.0.0.1:1",
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2", "[::1]", "localhost.", "evil.example"])
def test_a_page_elsewhere_gets_no_answer_on_any_route_under_any_name(target, origin, host):
    """Each of these routes would be answered by Gradio, which takes names that it does not know for public ones."""
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    arrival = json.dumps(target.arrival).encode()
    for method, path, body, more in (
        ("GET", "/config", b"", {}), ("OPTIONS", JOIN, b"", preflight), ("OPTIONS", "/config", b"", preflight),
        ("POST", RUN, arrival, {}), ("POST", JOIN, arrival, {}), ("POST", CANCEL, b"{}", {}), ("POST", CALL, b"{}", {}),
        ("POST", UPLOAD, b"x", {"Content-Type": "multipart/form-data; boundary=x"}), ("POST", MCP, b"{}", {}),
        ("GET", MCP, b"", {}), ("DELETE", MCP, b"", {}), ("GET", "/gradio_api/heartbeat/x", b"", {}),
        ("GET", "/gradio_api/file=/etc/passwd", b"", {}),
    ):  # fmt: skip
        status, headers, text = target.raw(method, path, body, Host=host, Origin=origin, **more)
        assert status == 403, (method, path)
        assert not [name for name in headers if name.startswith("access-control")], (method, path)
        assert json.loads(text)["detail"].endswith("."), (method, path)
        assert headers["x-content-type-options"] == "nosniff", (method, path)


def test_a_page_whose_name_leads_to_this_machine_gets_no_answer(target):
    """The browser takes the two for one site, and sends no word of another."""
    own = {"Host": "evil.example:7860", "Origin": "http://evil.example:7860", "Sec-Fetch-Site": "same-origin"}
    for method, path in (("GET", "/"), ("GET", "/config"), ("POST", RUN), ("GET", "/gradio_api/duet/duet.js")):
        assert target.raw(method, path, b"{}", **own)[0] == 403, path


def test_a_link_elsewhere_leads_to_the_page_and_to_nothing_else(target):
    linked = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    for path in ("/", "/?__theme=dark", "/gradio_api/duet/preview.png", "/config"):
        assert target.raw("GET", path, **linked)[0] == 200, path
    for method, path in (("GET", "/gradio_api/heartbeat/x"), ("GET", f"{JOIN[:-4]}data?session_hash=x"), ("POST", RUN)):
        assert target.raw(method, path, b"{}", **linked)[0] == 403, path


def test_the_page_s_own_requests_are_answered_under_every_name_of_this_machine(target):
    arrival = json.dumps(target.arrival).encode()
    for host in ("localhost:7860", "127.0.0.1", "127.0.0.2:7860", "[::1]:7860", "duet.localhost"):
        for scheme in ("http", "https"):
            own = {"Host": host, "Origin": f"{scheme}://{host}", "Sec-Fetch-Site": "same-origin"}
            assert target.raw("POST", RUN, arrival, **own)[0] == 200, own


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_what_a_form_elsewhere_can_send_without_being_allowed_to_is_refused(target, kind):
    assert target.post(RUN, target.arrival, {"Content-Type": kind, "Origin": ELSEWHERE}).status == 403
    assert target.post(RUN, target.arrival, {"Content-Type": kind}).status == 415


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
