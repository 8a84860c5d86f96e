"""Settings that every test shares."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

from app.jobs.allocator import freeze_startup_objects
from tests.browser.chromium import FLAGS, executable

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

settings.register_profile("project", derandomize=True, deadline=None, max_examples=60, database=None)
settings.load_profile("project")


SERVED = ("browser", "hosting")
"""Folders of tests that ask a served page."""


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In two processes (`-n 2 --dist loadgroup`), each has one of `SERVED`, from the beginning, and both all else."""
    tests = Path(__file__).parent

    def folder(item: pytest.Item) -> str:
        return item.path.relative_to(tests).parts[0]

    for item in items:
        if folder(item) in SERVED:
            item.add_marker(pytest.mark.xdist_group(folder(item)))
    items.sort(key=lambda item: folder(item) not in SERVED)


@pytest.fixture(scope="session", autouse=True)
def kept_for_good() -> None:
    """As when the page is built: a run's end collects, and would look through all of PyTorch each time."""
    freeze_startup_objects()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, one in a process."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable(), args=list(FLAGS), headless=True)
        yield opened
        opened.close()
