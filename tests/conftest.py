"""Settings that every test shares."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

from tests.browser.chromium import FLAGS, executable

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

settings.register_profile("project", derandomize=True, deadline=None, max_examples=60, database=None)
settings.load_profile("project")


SERVED = ("browser", "hosting")
"""Folders of tests that ask a served page."""
LOOKING = ("test_inspector.py", "test_sharing.py", "test_choosing.py")
"""About half of the work in a browser; these need the shipped model's page only."""


def group(item: pytest.Item) -> str | None:
    """Tests that share servers."""
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return "looking" if folder == "browser" and item.path.name in LOOKING else folder if folder in SERVED else None


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In several processes (`-n 3 --dist loadgroup`) each group stays in one, and begins first."""
    for item in items:
        if name := group(item):
            item.add_marker(pytest.mark.xdist_group(name))
    items.sort(key=lambda item: group(item) is None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, one in a process."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable(), args=list(FLAGS), headless=True)
        yield opened
        opened.close()
