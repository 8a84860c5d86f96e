"""From which address a visitor comes."""

import pytest

from app.jobs.queue.visitor import address_of


@pytest.mark.parametrize(
    ("host", "counts_as"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("testclient", "testclient"),
    ],
)
def test_addresses_count_by_what_their_owner_cannot_choose(host, counts_as):
    assert address_of({"client": (host, 1234)}) == counts_as


def test_a_server_on_a_socket_knows_no_address():
    assert address_of({"client": None}) == address_of({}) == ""
