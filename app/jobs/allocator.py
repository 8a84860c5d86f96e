"""Python's and glibc's memory: a page that runs for weeks must not hold what nobody uses any more."""

import ctypes
import gc

ARENAS = -8
"""glibc's name for how many heaps threads may share out among them; by default eight for each core."""
FEW = 2


def _libc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows
        return None
    return libc if hasattr(libc, "malloc_trim") else None  # macOS and musl have none


LIBC = _libc()


def few_heaps() -> None:
    """From now on few heaps for all threads, of which less stays unused. For the beginning of a program."""
    if LIBC is not None:
        LIBC.mallopt(ARENAS, FEW)


def keep_for_good() -> None:
    """What there is now stays to the end: the collector need not look through it again, which takes it a quarter of a
    second. For when the page is built."""
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Return to the system what nobody uses; takes milliseconds after `keep_for_good`."""
    gc.collect()
    if LIBC is not None:
        LIBC.malloc_trim(0)
