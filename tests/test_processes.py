"""How pytest-xdist distributes the tests to processes."""

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process")
@pytest.mark.parametrize("folder", ["browser", "hosting"])
def test_tests_that_share_a_server_stay_in_one_process(request, folder):
    """Otherwise each process would start every server. pytest-xdist groups by the `@group` that ends a test's name."""
    names = [item.nodeid for item in request.session.items if f"tests/{folder}/" in item.nodeid]
    if not names:
        pytest.skip("none of them is run")
    assert [name for name in names if not name.endswith(f"@{folder}")] == []
