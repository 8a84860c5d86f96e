"""An address at which the page cannot be served is refused in one sentence, before anything is loaded."""

import errno
import socket

import pytest

from app.server.lifetime import address
from app.server.lifetime.address import Interface, check_address, server_name
from app.server.lifetime.errors import StartError
from tests.server import free_port


@pytest.fixture(autouse=True)
def plain(monkeypatch) -> None:
    """No setting of Gradio's."""
    for name in (address.NAME, address.PORT, address.PORTS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def taken():
    """A port at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def sentence(host: str | None = None, port: int | None = None) -> str:
    with pytest.raises(StartError) as refused:
        check_address(host, port)
    said = str(refused.value)
    assert said.endswith(".")
    assert ". " not in said
    assert "\n" not in said
    return said


@pytest.mark.parametrize("host", [None, "127.0.0.1", "127.0.0.2", "0.0.0.0", "localhost", "127.1"])
def test_addresses_of_this_machine_are_taken(host):
    check_address(host, free_port())
    check_address(host, None)


@pytest.mark.parametrize("host", ["::1", "[::1]", "::"])
def test_so_are_those_of_version_six(host):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has none")
    check_address(host, free_port())


@pytest.mark.parametrize("host", ["192.0.2.1", "198.51.100.7", "2001:db8::1", "[2001:db8::1]"])
def test_an_address_of_another_machine_is_refused(host):
    assert "is no address of this machine" in sentence(host, free_port())
    assert "is no address of this machine" in sentence(host)


@pytest.mark.parametrize(
    "host", ["nowhere.invalid", "a..b", "x" * 64, "http://127.0.0.1", "127.0.0.1:80", "[::1", "a b"]
)
def test_a_host_that_nobody_knows_is_refused(host):
    assert "cannot be found" in sentence(host, free_port())


@pytest.mark.parametrize("host", [None, "127.0.0.1", "0.0.0.0", "127.0.0.2"])
def test_a_port_that_is_taken_is_refused(host, taken):
    """Also where Gradio alone minds: it asks on 127.0.0.1, whatever the host is."""
    assert sentence(host, taken).startswith(f"Port {taken} is taken by another program; end that one, or")


@pytest.mark.parametrize(("code", "said"), [(errno.EACCES, "needs rights"), (errno.EPERM, "needs rights"),
                                            (errno.ENOBUFS, "cannot be taken")])  # fmt: skip
def test_any_other_refusal_is_one_sentence_too(monkeypatch, code, said):
    def refuse(*_: object) -> None:
        raise OSError(code, "why")

    monkeypatch.setattr(Interface, "try_port", refuse)
    assert said in sentence(None, 80)
    assert said in sentence()


def test_without_a_port_any_of_gradios_range_will_do(monkeypatch, taken):
    monkeypatch.setenv(address.PORT, str(taken))
    check_address(None, None)
    monkeypatch.setenv(address.PORTS, "1")
    assert sentence().startswith(f"Port {taken} is taken")
    monkeypatch.setenv(address.PORT, "65535")
    monkeypatch.setenv(address.PORTS, "100")
    check_address(None, None)


def test_a_range_that_is_taken_names_its_ends(monkeypatch):
    monkeypatch.setattr(Interface, "try_port", lambda *_: (_ for _ in ()).throw(OSError(errno.EADDRINUSE, "taken")))
    assert sentence().startswith("Each port from 7860 to 7959 is taken by another program; end that one, or choose")


@pytest.mark.parametrize("variable", [address.PORT, address.PORTS])
@pytest.mark.parametrize("value", ["", "x", "0", "-1", "65536", "7860.5", "9" * 5000])
def test_a_variable_of_gradios_that_is_no_number_is_named(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    assert sentence().startswith(f"{variable} is ")


@pytest.mark.parametrize("name", ["::1", "[::1]"])
def test_gradios_variable_takes_no_address_of_version_six(monkeypatch, name):
    monkeypatch.setenv(address.NAME, name)
    assert f"{address.NAME}={name}" in sentence()


def test_gradios_variable_names_the_host(monkeypatch):
    monkeypatch.setenv(address.NAME, "")
    check_address(None, None)
    monkeypatch.setenv(address.NAME, "192.0.2.1")
    assert "'192.0.2.1' is no address of this machine" in sentence()
    assert "'192.0.2.1' is no address of this machine" in sentence("127.0.0.1")


@pytest.mark.parametrize("host", ["[::1]", "a.org", "1.2.3.4", None])
def test_gradio_gets_version_six_in_brackets(host):
    assert server_name(host) == host
    assert server_name("::1") == "[::1]"
