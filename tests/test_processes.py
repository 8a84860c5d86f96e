"""How the tests are shared out to processes."""

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process")
@pytest.mark.parametrize("folder", ["browser", "hosting"])
def test_tests_that_share_a_server_stay_in_one_process(request, folder):
    """Else every process would start each of their servers. pytest-xdist goes by what a test's name ends with."""
    names = [item.nodeid for item in request.session.items if f"tests/{folder}/" in item.nodeid]
    if not names:
        pytest.skip("none of them is run")
    assert [name for name in names if not name.endswith(f"@{folder}")] == []
