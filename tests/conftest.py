"""Settings that every test shares."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

from app.jobs.allocator import freeze_startup_objects
from dola_core.decoding.scheduler import SCHEDULER
from dola_core.models.reading import remembered
from dola_core.models.sources import smollm2
from tests.browser.chromium import FLAGS, executable

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

settings.register_profile("project", derandomize=True, deadline=None, max_examples=60, database=None)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def _no_run_goes_on():
    """What a test has abandoned is over before the next one begins."""
    yield
    assert SCHEDULER.wait(60)


SERVED = ("browser", "hosting")
"""Folders of tests that ask a served page."""


CACHE = "DOLA_DUET_TEST_CACHE"
"""The variable that names the folder for converted models, one for all processes of a run."""


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder, and remove it at the run's end."""
    if CACHE not in os.environ:
        os.environ[CACHE] = tempfile.mkdtemp(prefix="dola-duet-tests-")
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(CACHE), ignore_errors=True))


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In two processes (`-n 2 --dist loadgroup`), each has one of `SERVED`, from the beginning, and both all else.

    Tests of SmolLM2 stay in one process, as it fills half a gigabyte of memory.
    """
    tests = Path(__file__).parent

    def folder(item: pytest.Item) -> str:
        return item.path.relative_to(tests).parts[0]

    for item in items:
        if folder(item) in SERVED:
            item.add_marker(pytest.mark.xdist_group(folder(item)))
        elif "smollm2_cache" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("smollm2"))
    items.sort(key=lambda item: folder(item) not in SERVED)


@pytest.fixture(scope="session", autouse=True)
def kept_for_good() -> None:
    """As when the page is built: a run's end collects, and would look through all of PyTorch each time."""
    freeze_startup_objects()


@pytest.fixture(scope="session", autouse=True)
def rules_of_this_run() -> Iterator[None]:
    """No test takes what an earlier run has proved of a model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remembered, "rules_folder", lambda: Path(os.environ[CACHE]) / "rules")
        yield


@pytest.fixture(scope="session")
def smollm2_cache() -> Iterator[Path]:
    """A cache of this run, in which SmolLM2 is converted once; skips a test where its package is not installed."""
    if smollm2.packaged_file() is None:
        pytest.skip(f"{smollm2.PACKAGE} is not installed: {smollm2.INSTALL}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", os.environ[CACHE])
        yield Path(os.environ[CACHE])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, one in a process."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable(), args=list(FLAGS), headless=True)
        yield opened
        opened.close()
