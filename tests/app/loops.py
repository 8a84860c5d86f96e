"""An event loop for a test, wherever the test runs.

Playwright's loop runs in the thread of the tests from the first test with a browser until the last test of the process,
and `asyncio.run` refuses to run inside another loop. Which tests share a process is chance, so no test calls it itself.
"""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


def run_apart(work: Coroutine[Any, Any, Result]) -> Result:
    """What `work` returns, or the error it raises; it has a loop and a thread of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
