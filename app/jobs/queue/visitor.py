"""Who asks: a visitor is a session and the address that it comes from.

A session's name is anyone's to invent; an address is not. Behind a proxy all visitors would have the proxy's, so
uvicorn takes it from `X-Forwarded-For` where a proxy says so that the host trusts (`DOLA_TRUSTED_PROXIES`), and from
nobody else.
"""

from collections.abc import MutableMapping
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any, NamedTuple, Self

import gradio as gr

HOME = 64
"""Bits of an IPv6 address that tell one network from another; the rest is its owner's to choose."""


class Visitor(NamedTuple):
    """A visitor, as far as the server can tell one from another."""

    address: str
    session: str

    @classmethod
    def of(cls, request: gr.Request) -> Self:
        """The visitor who sent a request to an event of the page or of the API."""
        client = getattr(request, "client", None)
        return cls(grouped(str(client.host)) if client else "", str(request.session_hash))


def address_of(scope: MutableMapping[str, Any]) -> str:
    """The address that the request of an ASGI scope comes from, as text; empty if the server does not know it.

    Addresses of IPv6 count by their network, and those of IPv4 that are written as IPv6 as IPv4.
    """
    client = scope.get("client")
    return grouped(str(client[0])) if client else ""


def grouped(host: str) -> str:
    """An address as it counts; what is none is given back as it is."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        if not address.is_loopback:
            return str(IPv6Network((address, HOME), strict=False))
    return str(address)
