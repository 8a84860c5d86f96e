"""ASGI middleware that answers only requests for a name of this page, from this page or from no page at all.

A browser lets any site send requests to any address, and lets the owner of a domain point it at another's machine. So
a page elsewhere could use an instance that runs on a visitor's own computer, or run up a Space's bill. Two headers that
no site can forge tell such requests: `Host` says which name was asked for, `Origin` whose page asks.
"""

import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.server.guard import HOST_HEADERS, RESPONSE_HEADERS
from app.server.request_checks import UnfitError
from app.settings import PLACE, SUBDOMAINS

ORIGIN = re.compile(r"(https?)://(.+)", re.IGNORECASE)
PORTS = {"http": 80, "https": 443}
"""The port of an address that names none."""
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
LINKABLE = re.compile(r"/(?!gradio_api(?:/|$)).*|/gradio_api/(?:duet/[^/]+|info/?|theme\.css/?)", re.DOTALL)
"""What a page elsewhere may link to or show: the page and its files. Reading the rest uses the model or a session."""
OTHER_NAME = "The page is not served under this name. Whoever runs it can allow the name by --allowed-hosts."
OTHER_SITE = "Requests from pages of other sites are not answered."
OWN_SITE = ("same-origin", "none")
"""What `Sec-Fetch-Site` says of the page's own requests, and of an address that somebody typed."""


class Place(NamedTuple):
    """A host and a port, as the header `Host` names them."""

    name: str
    """In lower case; an IPv6 address in brackets."""
    port: int | None
    """None for the usual one."""


def place_of(text: str) -> Place | None:
    """The place that a header names, or None if it names none; user names, paths and blanks are not part of one."""
    match = PLACE.fullmatch(text)
    port = int(match[2]) if match and match[2] else None
    if match is None or (port or 0) > 65535:
        return None
    name = match[1].lower()
    if name.startswith("["):
        try:
            name = f"[{IPv6Address(name[1:-1])}]"
        except ValueError:
            return None
    return Place(name, port)


def split_origin(text: str) -> tuple[str, Place] | None:
    """The scheme and the place, port included, of an origin such as `https://example.org`; None of anything else."""
    match = ORIGIN.fullmatch(text)
    place = place_of(match[2]) if match else None
    if match is None or place is None:
        return None
    scheme = match[1].lower()
    return scheme, Place(place.name, place.port or PORTS[scheme])


def is_loopback(name: str) -> bool:
    """Whether a name leads to the machine of whoever asks for it, whatever a name server says.

    No browser asks one for `localhost` and the names below it. `localhost.` is not taken for the same name.
    """
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return any(address in network for network in LOOPBACK)


def listens_to_this_machine(bind: str) -> bool:
    """Whether only programs on this machine can reach what listens at the host `bind`."""
    name = bind.removeprefix("[").removesuffix("]")
    if is_loopback(name) or not name:
        return bool(name)  # an empty name is every address of the machine
    try:
        found = socket.getaddrinfo(name, None)
    except (OSError, UnicodeError):
        return True
    return all(is_loopback(str(address[0])) for *_, address in found)


@dataclass(frozen=True)
class Hosts:
    """The names that the page answers to."""

    names: frozenset[str]
    domains: tuple[str, ...]
    """Ends of further names, such as `.example.org`."""
    outside: frozenset[Place]
    """Where visitors reach the page, whatever name a proxy then asks it for."""
    is_open: bool
    """Whether any name is answered."""
    is_listed: bool
    """Whether whoever serves the page has said which names are."""

    @classmethod
    def of(cls, bind: str, listed: Sequence[str] = (), space: str = "") -> "Hosts":
        """The names of a page that listens at the host `bind`, with `Settings.allowed_hosts`.

        `space` is the host under which a Hugging Face Space is reached, or empty.
        """
        places = [place for entry in listed if (place := place_of(entry))]
        outside = [place for place in places if place.port] + [Place(space.lower(), PORTS["https"])] * bool(space)
        bound = [place for name in (bind, f"[{bind}]") if (place := place_of(name))]
        return cls(
            names=frozenset(place.name for place in (*places, *outside, *bound)),
            domains=tuple(entry[1:].lower() for entry in listed if entry.startswith(SUBDOMAINS)),
            outside=frozenset(outside),
            is_open="*" in listed or not (listed or listens_to_this_machine(bind)),
            is_listed=bool(listed),
        )

    def answer_to(self, name: str) -> bool:
        """Whether a request for this name is answered. Gradio itself asks for names of this machine at start."""
        return self.is_open or is_loopback(name) or name in self.names or name.endswith(self.domains)


class Allowed:
    """The middleware."""

    def __init__(self, app: ASGIApp, *, hosts: Hosts, shared: Callable[[], str | None] = lambda: None) -> None:
        """`shared` returns the address of a public link to the page, once there is one."""
        self.app, self.hosts, self.shared = app, hosts, shared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it in one sentence before anything of its body is read."""
        if scope["type"] == "websocket":  # the page opens none
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "lifespan":
            self._go_first(scope["app"])
        else:
            try:
                self._check(scope)
            except UnfitError as error:
                refusal = JSONResponse({"detail": str(error)}, error.status, RESPONSE_HEADERS)
                await refusal(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _go_first(self, app: Starlette) -> None:
        """Stand before Gradio's own middleware, of which one would tell a foreign page that it may send anything.

        Gradio puts them before those that it is given; when the app starts, all of them are in place.
        """
        if app.middleware_stack and not isinstance(app.middleware_stack, Allowed):
            app.middleware_stack = Allowed(app.middleware_stack, hosts=self.hosts, shared=self.shared)

    def _check(self, scope: Scope) -> None:
        """Raises `UnfitError` if the request is for another name, or comes from a page elsewhere."""
        headers = Headers(scope=scope)
        asked = headers.getlist("host")
        place = place_of(asked[0]) if len(asked) == 1 else None
        if place is None or not scope["path"].startswith("/"):
            raise UnfitError(400, "The request does not name one host and one path.")
        told = _told_by_proxy(headers)
        link = split_origin(self.shared() or "")
        shared = link[1] if link else None
        for each in (place, *(told if self.hosts.is_listed else ())):
            if each is None or not (self.hosts.answer_to(each.name) or (shared and each.name == shared.name)):
                raise UnfitError(403, OTHER_NAME)
        if not self._is_own(headers, scope, [place, *told, shared]):
            raise UnfitError(403, OTHER_SITE)

    def _is_own(self, headers: Headers, scope: Scope, places: Sequence[Place | None]) -> bool:
        """Whether a request comes from the page, from no page at all, or merely follows a link to the page."""
        origins = headers.getlist("origin")
        if origins:
            origin = split_origin(origins[0])
            if len(origins) > 1 or origin is None or (origin[0], scope["scheme"]) == ("http", "https"):
                return False
            scheme, came_from = origin
            own = [Place(each.name, each.port or PORTS[scheme]) for each in (*places, *self.hosts.outside) if each]
            return came_from in own
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        is_link = scope["method"] in ("GET", "HEAD") and LINKABLE.fullmatch(path) is not None
        return is_link or all(site in OWN_SITE for site in headers.getlist("sec-fetch-site"))


def _told_by_proxy(headers: Headers) -> list[Place | None]:
    """The places by which a proxy says that the page was asked for, None for what can be none.

    A page elsewhere cannot set these headers: its browser would have to ask for permission first, and gets none.
    """
    values = [headers.get(name, "").split(",")[0].strip() for name in HOST_HEADERS]
    return [place_of(value.removeprefix("http://").removeprefix("https://")) for value in values if value]
