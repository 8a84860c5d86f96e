"""Settings that every test shares."""

from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import settings

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

settings.register_profile("project", derandomize=True, deadline=None, max_examples=60, database=None)
settings.load_profile("project")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In two processes (`-n 2 --dist loadgroup`), one has the browser, from the beginning, and the other all else."""
    browser = Path(__file__).parent / "browser"
    for item in items:
        if browser in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("browser"))
    items.sort(key=lambda item: browser not in item.path.parents)
