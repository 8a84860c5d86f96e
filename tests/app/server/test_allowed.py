"""Which requests are answered: only those for a name of the page, and from the page itself or from no page at all."""

import pytest
from gradio.route_utils import CustomCORSMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from app.server.allowed import Allowed, Hosts, listens_to_this_machine
from tests.app.loops import run_apart

LOCAL, PUBLIC = Hosts.of("127.0.0.1"), Hosts.of("0.0.0.0")
LAB = Hosts.of("0.0.0.0", ["lab.example", "*.lab.example", "[fd00::5]", "door.example:8443"])
SPACE = Hosts.of("0.0.0.0", space="Me-Duet.hf.space")
SHARED = "https://3b1c.gradio.live"
EVIL = "http://evil.example"

Header = tuple[str, str]


def answer(
    hosts: Hosts,
    *headers: Header,
    method: str = "POST",
    path: str = "/gradio_api/run/predict",
    shared: str | None = None,
    **more: object,
) -> int:
    """The status of the middleware's answer to a request with these headers; 200 where it lets the request through."""
    scope = {
        "type": "http", "scheme": "http", "method": method, "path": path, "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    } | more  # fmt: skip
    sent = []

    async def inside(scope, receive, send) -> None:
        sent.append({"status": 200})

    async def receive() -> dict:
        raise AssertionError("a request that is refused is not read")

    async def send(message) -> None:
        sent.append(message)

    run_apart(Allowed(inside, hosts=hosts, shared=lambda: shared)(scope, receive, send))
    return sent[0]["status"]


@pytest.mark.parametrize(
    ("status", "hosts"),
    [
        (200, ["localhost", "localhost:7860", "LocalHost:7860", "duet.localhost:1", "127.0.0.1", "127.0.0.1:7860"]),
        (200, ["127.9.8.7:65535", "[::1]", "[::1]:7860", "[0:0:0:0:0:0:0:1]:7860"]),
        (403, ["evil.example", "evil.example:7860", "localhost.evil.example", "evil-localhost",
            "127.0.0.1.nip.example"]),
        (403, ["localhost.", "localhost.:7860", "127.0.0.1.", "duet.localhost."]),
        (403, ["0.0.0.0:7860", "192.168.0.2:7860", "128.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "[::]",
            "[fd00::1]"]),
        (403, ["[::ffff:127.0.0.1]", "localhost.localdomain", "me-duet.hf.space", "3b1c.gradio.live"]),
        (400, ["", "localhost:", "localhost:0", "localhost:07860", "localhost:65536", "localhost:7860:7860"]),
        (400, ["user@localhost", "user:word@localhost:7860", "localhost/", "http://localhost", "//localhost",
            "localhost?"]),
        (400, ["localhost, localhost", "local host", " localhost", "localhost\t", "localhost\n", "localhost\0",
            "localhost#"]),
        (400, ["::1", "[::1", "[::1%lo]", "[127.0.0.1]", "[]", "[evil.example]", ".", "..", ".localhost",
            "localhost.."]),
        (400, ["loc\xe4lhost", "localhost\xff", "\xe2\x80\xa4localhost", "localhost:\xd9\xa3"]),
    ],
)  # fmt: skip
def test_on_a_loopback_address_only_the_names_of_loopback_are_answered(status, hosts):
    for host in hosts:
        for method, path in (("GET", "/"), ("GET", "/config"), ("POST", "/gradio_api/queue/join")):
            assert answer(LOCAL, ("Host", host), method=method, path=path) == status, host


@pytest.mark.parametrize(
    ("bind", "is_local"),
    [
        ("127.0.0.1", True), ("127.0.0.9", True), ("localhost", True), ("LOCALHOST", True), ("::1", True),
        ("[::1]", True), ("0.0.0.0", False), ("::", False), ("[::]", False), ("", False), ("192.0.2.7", False),
        ("x" * 80, True), ("nowhere.invalid", True),
    ],
)  # fmt: skip
def test_it_is_known_where_only_this_machine_can_reach_the_page(bind, is_local):
    """An address that does not exist cannot be listened to; it counts as closed."""
    assert listens_to_this_machine(bind) is is_local
    assert answer(Hosts.of(bind), ("Host", "evil.example")) == (403 if is_local else 200)


@pytest.mark.parametrize(
    ("hosts", "host", "status"),
    [
        (PUBLIC, "anything.example:7860", 200), (PUBLIC, "example.", 200), (PUBLIC, "[fd00::1]:7860", 200),
        (PUBLIC, "any thing", 400), (PUBLIC, "", 400), (SPACE, "anything.example", 200),
        (LAB, "lab.example", 200), (LAB, "LAB.example:7860", 200), (LAB, "a.lab.example", 200),
        (LAB, "a.b.lab.example", 200),
        (LAB, "[fd00:0::5]:7860", 200), (LAB, "door.example", 200), (LAB, "a.door.example", 403),
        (LAB, "lab.example.", 403),
        (LAB, "evillab.example", 403), (LAB, "lab.example.evil", 403), (LAB, "[fd00::6]", 403),
        (LAB, "192.0.2.7", 403),
        (LAB, "localhost:7860", 200),
        (Hosts.of("127.0.0.1", ["*"]), "anything.example", 200),
        (Hosts.of("127.0.0.1", ["lab.example"]), "lab.example", 200),
        (Hosts.of("127.0.0.1", ["lab.example"]), "evil.example", 403),
        (Hosts.of("192.0.2.7", ["x.example"]), "192.0.2.7", 200),
        (Hosts.of("fd00::5", ["x.example"]), "[fd00::5]:7860", 200),
        (Hosts.of("0.0.0.0", ["x.example"]), "[::1]", 200),
    ],
)  # fmt: skip
def test_elsewhere_any_name_is_answered_or_those_of_the_list(hosts, host, status):
    assert answer(hosts, ("Host", host)) == status


OWN = [
    (LOCAL, "localhost:7860", "http://localhost:7860"), (LOCAL, "LOCALHOST:7860", "HTTP://localhost:7860"),
    (LOCAL, "[::1]:7860", "http://[::1]:7860"), (LOCAL, "[0::1]:7860", "http://[::1]:7860"),
    (LOCAL, "127.0.0.1", "http://127.0.0.1"), (LOCAL, "127.0.0.1:80", "http://127.0.0.1"),
    (PUBLIC, "example.org", "https://example.org"), (PUBLIC, "example.org:443", "https://example.org"),
    (PUBLIC, "example.org.", "https://example.org."), (PUBLIC, "example.org", "https://example.org:443"),
    (LAB, "door.example:7860", "https://door.example:8443"), (LAB, "localhost:7860", "https://door.example:8443"),
    (SPACE, "me-duet.hf.space", "https://me-duet.hf.space"), (SPACE, "10.1.2.3:7860", "https://me-duet.hf.space"),
]  # fmt: skip
FOREIGN = [
    (host, origin)
    for host in ("localhost:7860", "127.0.0.1:7860", "[::1]:7860")
    for origin in (
        EVIL, "https://evil.example:7860", "null", "", "NULL", "file://", "http://", "http://[", "x", "*",
        "localhost:7860",
        "//localhost:7860", "http://localhost", "https://localhost", "http://localhost:7861",
        "http://localhost.:7860",
        "http://localhost:7860.evil.example", "http://evil.example#localhost:7860",
        "http://localhost:7860@evil.example",
        "http://user@localhost:7860", "http://user:word@127.0.0.1:7860", "http://127.0.0.1", "http://127.0.0.2:7860",
        "http://0.0.0.0:7860", "http://[::1]", "http://[::]:7860", "http://[::1]:7860/", "http://localhost:7860/",
        "ws://localhost:7860", "ftp://localhost:7860", "chrome-extension://localhost:7860", "httpx://localhost:7860",
        "http://localhost:7860 http://evil.example", "http://localhost:7860, http://localhost:7860",
        "http://evil.example http://localhost:7860", "http://loc\xe4lhost:7860", "http://localhost:7860\xa0", "\xff",
        "http://evil.localhost:7860",
    )
]  # fmt: skip
ROUTES = [
    ("POST", "/gradio_api/run/predict"), ("POST", "/gradio_api/api/predict/"), ("POST", "/gradio_api/call/compare"),
    ("POST", "/gradio_api/call/v2/compare"), ("GET", "/gradio_api/call/compare/1"),
    ("POST", "/gradio_api/queue/join"),
    ("GET", "/gradio_api/queue/data"), ("GET", "/gradio_api/queue/status"), ("POST", "/gradio_api/cancel"),
    ("POST", "/gradio_api/upload"), ("GET", "/gradio_api/upload_progress"), ("GET", "/gradio_api/heartbeat/1"),
    ("GET", "/gradio_api/startup-events"), ("GET", "/gradio_api/mcp/"), ("POST", "/gradio_api/mcp/"),
    ("DELETE", "/gradio_api/mcp/"), ("GET", "/gradio_api/mcp/sse"), ("POST", "/gradio_api/mcp/messages/"),
    ("GET", "/gradio_api/mcp"), ("GET", "/gradio_api/file=/x"), ("GET", "/gradio_api/duet/../cancel"), ("POST", "/"),
    ("PUT", "/config"), ("PATCH", "/nowhere"), ("QWERTZ", "/"), ("GET", "/gradio_api"),
    ("HEAD", "/gradio_api/queue/data"),
    ("POST", "/login"), ("OPTIONS", "/"), ("OPTIONS", "/gradio_api/queue/join"), ("POST", "/gradio_api/duet/duet.js"),
]  # fmt: skip
"""Routes that do something, or may do one day."""
LINKS = [
    ("GET", "/"), ("HEAD", "/"), ("GET", "/config"), ("GET", "/assets/index.js"), ("GET", "/favicon.ico"),
    ("GET", "/gradio_api/duet/preview.png"), ("GET", "/gradio_api/info"), ("GET", "/gradio_api/theme.css"),
]  # fmt: skip
"""Routes that pages elsewhere may link to."""


@pytest.mark.parametrize(("hosts", "host", "origin"), OWN)
def test_the_page_s_own_requests_are_answered(hosts, host, origin):
    for method, path in ROUTES + LINKS:
        for site in ((), (("Sec-Fetch-Site", "same-origin"),)):
            assert answer(hosts, ("Host", host), ("Origin", origin), *site, method=method, path=path) == 200, path


@pytest.mark.parametrize(("method", "path"), ROUTES + LINKS)
def test_a_foreign_origin_is_refused_on_every_route_however_it_is_written(method, path):
    for host, origin in FOREIGN:
        if origin.removeprefix("http://") == host:
            continue
        for site in ((), (("Sec-Fetch-Site", "same-origin"),)):
            headers = (("Host", host), ("Origin", origin), *site)
            assert answer(LOCAL, *headers, method=method, path=path) == 403, (host, origin)
            assert answer(PUBLIC, *headers, method=method, path=path) == 403, (host, origin)


@pytest.mark.parametrize("own", ["http://localhost:7860", "https://a.example", "http://127.0.0.1:80"])
def test_an_origin_that_differs_in_one_character_is_foreign(own):
    """But in the case of its letters, and in the scheme, which a proxy may have changed."""
    host = own.partition("//")[2]
    same = {f"{scheme}://{host}" for scheme in ("http", "https")}
    others = map(chr, range(256))
    near = {own[:at] + put + own[at + cut :] for at in range(len(own) + 1) for cut in (0, 1) for put in ("", *others)}
    for origin in near:
        is_own = origin.lower() in same and origin.isascii()
        assert answer(PUBLIC, ("Host", host), ("Origin", origin)) == (200 if is_own else 403), repr(origin)


def test_several_origins_or_hosts_are_none():
    one, other = ("Origin", "http://localhost:7860"), ("Origin", EVIL)
    host = ("Host", "localhost:7860")
    for origins in ((one, other), (other, one), (one, one)):
        assert answer(LOCAL, host, *origins) == 403
    for hosts in ((), (host, host), (host, ("Host", "evil.example"))):
        assert answer(LOCAL, *hosts) == answer(PUBLIC, *hosts) == 400


@pytest.mark.parametrize("path", ["http://localhost:7860/", "http://evil.example/config", "*", "", "localhost:7860"])
def test_a_target_that_is_no_path_is_refused(path):
    assert answer(LOCAL, ("Host", "localhost:7860"), method="GET", path=path) == 400


@pytest.mark.parametrize("site", ["cross-site", "same-site", "CROSS-SITE", "anything", ""])
def test_without_an_origin_a_browser_says_whether_the_request_comes_from_elsewhere(site):
    """Another port of this machine is the same site, and a page elsewhere all the same."""
    headers = (("Host", "localhost:7860"), ("Sec-Fetch-Site", site))
    for method, path in ROUTES:
        assert answer(LOCAL, *headers, method=method, path=path) == 403, path
        assert answer(SPACE, *headers, method=method, path=path) == 403, path
        assert answer(LOCAL, *headers, method=method, path=f"/duet{path}", root_path="/duet") == 403, path
    for method, path in LINKS:
        assert answer(LOCAL, *headers, method=method, path=path) == 200, path
        assert answer(LOCAL, *headers, method=method, path=f"/duet{path}", root_path="/duet") == 200, path


@pytest.mark.parametrize("sites", [(), ("same-origin",), ("none",)])
def test_programs_and_addresses_that_were_typed_are_answered(sites):
    for method, path in ROUTES + LINKS:
        headers = [("Host", "localhost:7860"), *(("Sec-Fetch-Site", site) for site in sites)]
        assert answer(LOCAL, *headers, method=method, path=path) == 200, path


@pytest.mark.parametrize(
    ("hosts", "told", "origin", "status"),
    [
        (LOCAL, "duet.example", "https://duet.example", 200),
        (LOCAL, "duet.example, inner", "https://duet.example", 200),
        (LOCAL, "duet.example:8443", "https://duet.example:8443", 200),
        (LOCAL, "duet.example", "https://duet.example:1", 403),
        (LOCAL, "inner, evil.example", "https://evil.example", 403),
        (LOCAL, "evil example", "http://evil example", 403),
        (LAB, "lab.example", "https://lab.example", 200), (LAB, "evil.example", "https://evil.example", 403),
        (LAB, "evil.example", "http://localhost:7860", 403),
        (LAB, "evil.example/.lab.example", "http://localhost:7860", 403),
        (LAB, "http://evil.example", "http://localhost:7860", 403),
        (LAB, "http://lab.example", "http://lab.example", 200),
    ],
)  # fmt: skip
def test_a_proxy_can_tell_by_which_name_it_was_asked(hosts, told, origin, status):
    """Of several names the first is the visitor's. A list of names holds for a proxy's word as well."""
    headers = (("Host", "localhost:7860"), ("X-Forwarded-Host", told), ("Origin", origin))
    assert answer(hosts, *headers) == status


def test_a_proxy_s_word_opens_no_name_of_loopback():
    """A page whose name leads to this machine can send any header to itself, but for the host."""
    headers = (("Host", "evil.example:7860"), ("X-Forwarded-Host", "localhost:7860"))
    assert answer(LOCAL, *headers, ("Origin", "http://localhost:7860")) == 403
    assert answer(LAB, *headers) == 403


@pytest.mark.parametrize("host", ["3b1c.gradio.live", "127.0.0.1:7860"])
def test_a_public_link_is_a_name_of_the_page_and_others_like_it_are_not(host):
    for hosts in (LOCAL, LAB):
        headers = (("Host", host), ("Origin", SHARED))
        assert answer(hosts, *headers, shared=SHARED) == 200
        assert answer(hosts, *headers) == 403
        assert answer(hosts, ("Host", host), ("Origin", "https://4d5e.gradio.live"), shared=SHARED) == 403
        assert answer(hosts, ("Host", "4d5e.gradio.live"), shared=SHARED) == 403


def test_a_page_without_encryption_is_foreign_to_one_with_it():
    host, origin = ("Host", "example.org"), "://example.org"
    assert answer(PUBLIC, host, ("Origin", f"http{origin}"), scheme="https") == 403
    assert answer(PUBLIC, host, ("Origin", f"https{origin}"), scheme="https") == 200


def test_a_websocket_is_refused():
    sent = []

    async def send(message) -> None:
        sent.append(message)

    run_apart(Allowed(None, hosts=PUBLIC)({"type": "websocket", "path": "/"}, None, send))
    assert [message["type"] for message in sent] == ["websocket.close"]


@pytest.fixture(params=["0.0.0.0", "127.0.0.1"])
def client(request):
    """An app behind the middleware, which Gradio has put one of its own before."""

    async def served(request: Request) -> PlainTextResponse:
        return PlainTextResponse("served")

    routes = [Route("/{path:path}", served, methods=["GET", "POST"])]
    app = Starlette(routes=routes, middleware=[Middleware(Allowed, hosts=Hosts.of(request.param))])
    app.add_middleware(CustomCORSMiddleware)
    with TestClient(app, base_url="http://localhost:7860") as client:
        yield client


def test_a_foreign_page_is_allowed_nothing_by_gradio_either(client):
    """Gradio's middleware answers preflight requests by itself, and on names that it does not know it allows all."""
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-forwarded-host,content-type"}
    for host in ("localhost:7860", "localhost.:7860", "[::1]:7860", "127.0.0.2:7860", "example.org"):
        for method, path in (("OPTIONS", "/gradio_api/run/echo"), ("GET", "/config"), ("POST", "/gradio_api/run/echo")):
            for origin in (EVIL, "null", "http://localhost.:8000"):
                reply = client.request(method, path, headers=ask | {"Host": host, "Origin": origin})
                assert reply.status_code == 403, (host, path)
                assert [name for name in reply.headers if name.startswith("access-control")] == [], (host, path)
                assert reply.json()["detail"].endswith(".")
                assert "evil" not in reply.text


def test_the_own_page_is_served_behind_both(client):
    headers = {"Origin": "http://localhost:7860"}
    assert client.post("/gradio_api/run/echo", headers=headers).text == "served"
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).text == "served"
