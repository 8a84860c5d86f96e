"""Memory that a page which runs for weeks must not keep: what Python's collector and glibc's allocator hold."""

import ctypes
import gc

M_ARENA_MAX = -8
"""glibc's parameter for the number of heaps that all threads share; its default is eight for each core."""
HEAPS = 2


def _libc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows
        return None
    return libc if hasattr(libc, "malloc_trim") else None  # macOS and musl have none


LIBC = _libc()


def limit_heaps() -> None:
    """Let all threads share few heaps, of which less stays unused. Call it when the program begins."""
    if LIBC is not None:
        LIBC.mallopt(M_ARENA_MAX, HEAPS)


def freeze_startup_objects() -> None:
    """Exempt all present objects from garbage collection, so that a collection takes milliseconds, not a quarter of a
    second. Call it when the page is built."""
    gc.collect()
    gc.freeze()


def release_startup_objects() -> None:
    """Collect what was exempted and is no longer used, such as a model that another one takes the place of."""
    gc.unfreeze()
    release_memory()
    gc.freeze()


def release_memory() -> None:
    """Return unused memory to the system. Takes milliseconds after `freeze_startup_objects`."""
    gc.collect()
    if LIBC is not None:
        LIBC.malloc_trim(0)
