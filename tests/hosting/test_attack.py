"""What `make attack` does, small: some requests of every kind from two addresses, and every bound must hold."""

import sys

import pytest

from tests.hosting.clients.hostile_kinds import KINDS
from tests.hosting.load.attack import attack, judged, table
from tests.server import serve

ROUNDS = 3
TIMES = ("an honest run",)
"""What is left to `make attack`: another test may have the second core at any moment."""


@pytest.mark.skipif(
    sys.platform != "linux", reason="memory is read from /proc, and other loopback addresses are Linux's"
)
def test_every_bound_holds_while_two_addresses_attack():
    with serve() as server:
        found = attack(server, requests=ROUNDS * len(KINDS), addresses=2, seconds=120, hold=12)
    print(table(found))
    assert {kind: sum(counts.values()) for kind, counts in found.outcomes.items()} == dict.fromkeys(KINDS, ROUNDS)
    assert [row for row in judged(found) if not row[-1] and row[0] not in TIMES] == []
    assert set(found.outcomes["slow heads"]) == set(found.outcomes["idle connections"]) == {"cut off"}
    assert found.runs, "an honest visitor was served meanwhile"
