"""Whether the page can be served at an address, asked before the model is loaded.

Gradio asks only afterwards, reports every failure as a port that is taken, and spends five seconds on each port.
"""

import errno
import os
import socket
from dataclasses import dataclass
from typing import Any

from app.server.lifetime.errors import StartError

MOST = 65535
"""The highest port."""
PORT, PORTS = "GRADIO_SERVER_PORT", "GRADIO_NUM_PORTS"
NAME = "GRADIO_SERVER_NAME"
LOCAL = "127.0.0.1"
ADVICE = f"name an address of this machine by --host, such as {LOCAL}, or 0.0.0.0 for all of them"
UNAVAILABLE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""Errors of an address that this machine does not have, or of a kind that it does not know."""
UNPRIVILEGED = 1024
"""The lowest port that every user can take."""


@dataclass(frozen=True)
class Interface:
    """One address of a host, without a port."""

    family: socket.AddressFamily
    address: tuple[Any, ...]
    """As `bind` takes it, with a port that does not count."""

    def try_port(self, port: int) -> None:
        """Take a port as uvicorn does, and give it back; raises `OSError` if it cannot be taken."""
        with socket.socket(self.family, socket.SOCK_STREAM) as probe:
            if os.name == "posix":  # else a port stays taken for a minute after its program has ended
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((self.address[0], port, *self.address[2:]))


def server_name(host: str | None) -> str | None:
    """A host as Gradio takes it, which writes it into an address: IPv6 in brackets."""
    return f"[{host}]" if host and ":" in host and not host.startswith("[") else host


def check_address(host: str | None, port: int | None) -> None:
    """Whether Gradio can serve at a host and a port, as `Settings` has them; None leaves the choice to Gradio.

    Raises `StartError` if not.
    """
    ports = [port] if port else _gradio_ports()
    named = os.environ.get(NAME, LOCAL)
    bind = host or named
    # Gradio itself looks for a free port at the name in its variable alone, whatever the host is.
    interfaces = [(bind, _interfaces(bind)), (named, _gradio_interfaces(named))]
    refusal: OSError | None = None
    for number in ports:
        try:
            for name, each in interfaces:
                _try_port(name, each, number)
        except OSError as error:
            refusal = error
        else:
            return
    raise StartError(_why_no_port(ports, refusal, chosen=bool(port)))


def _gradio_ports() -> range:
    """The ports that Gradio tries where it was given none."""
    first, count = (_number(name, default) for name, default in ((PORT, 7860), (PORTS, 100)))
    return range(first, min(first + count, MOST + 1))


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, str(default))
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= MOST:
        raise StartError(f"{variable} is {text!r}; set it to a number from 1 to {MOST}, or unset it.")
    return number


def _interfaces(name: str) -> list[Interface]:
    """The addresses of a host; raises `StartError` if it has none."""
    plain = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        return _resolved(plain, socket.AF_UNSPEC)
    except (OSError, ValueError) as error:
        raise StartError(f"The host {name!r} cannot be found; {ADVICE}.") from error


def _gradio_interfaces(name: str) -> list[Interface]:
    """The addresses at which Gradio looks for a free port; raises `StartError` if there are none."""
    try:
        return _resolved(name, socket.AF_INET)
    except (OSError, ValueError) as error:
        raise StartError(
            f"Gradio looks for a free port by IPv4, where {NAME}={name} is no address; unset it, and name the address "
            "by --host."
        ) from error


def _resolved(name: str, family: socket.AddressFamily) -> list[Interface]:
    """Raises `OSError` of a name that nobody knows, and `ValueError` of one that no name server can be asked for."""
    found = socket.getaddrinfo(name or None, 0, family, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
    return [Interface(family, address) for family, _, _, _, address in found]


def _try_port(name: str, interfaces: list[Interface], port: int) -> None:
    """Take a port at each address; raises `OSError` if it cannot be taken, `StartError` if no port can be."""
    absent = 0
    for interface in interfaces:
        try:
            interface.try_port(port)
        except OSError as error:
            if error.errno not in UNAVAILABLE:
                raise
            absent += 1
    if absent == len(interfaces):
        raise StartError(f"The host {name!r} is no address of this machine; {ADVICE}.")


def _why_no_port(ports: list[int] | range, refusal: OSError | None, *, chosen: bool) -> str:
    """The sentence where every port was refused, the last of them by `refusal`."""
    which = f"Port {ports[0]}" if len(ports) == 1 else f"Each port from {ports[0]} to {ports[-1]}"
    other = "choose another one by --port" if chosen else f"choose one by --port, or another first one by {PORT}"
    if isinstance(refusal, PermissionError):
        return f"{which} needs rights that this program does not have; {other}, from {UNPRIVILEGED} on."
    if refusal and refusal.errno == errno.EADDRINUSE:
        return f"{which} is taken by another program; end that one, or {other}."
    return f"{which} cannot be taken ({refusal.strerror if refusal else 'none is left'}); {other}."
