"""What the allocator and Gradio keep: a page that runs for weeks must not hold what nobody uses any more."""

import ctypes
import gc
from typing import Any

from gradio.blocks import Block, Blocks
from gradio.state_holder import SessionState

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


class _Unkept(dict[int, dict[str, Any]]):
    """Takes whatever is put in, and keeps nothing."""

    def __setitem__(self, key: int, value: dict[str, Any]) -> None: ...

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: int) -> dict[str, Any]:
        return {}


LIMITS = "minimum", "maximum", "step", "choices"
"""What decides which values a component takes."""


def keep_states_only(session: SessionState | None, page: Blocks) -> None:
    """Of what `page` shows a visitor, keep the states alone. For the end of an event.

    Gradio also keeps how every component is configured and its last value, texts and charts included, for links to
    what is shown, which this page makes by itself; and whole anew each component of which an answer changed a word.
    Neither is a documented interface; whether it still is so, a test watches.
    """
    if session is None:
        return
    if not isinstance(session.config_values, _Unkept):
        session.config_values = _Unkept()
    shown = session.blocks_config.blocks
    for key, block in page.blocks.items():
        if shown[key] is not block and _limits(shown[key]) == _limits(block):
            shown[key] = block


def _limits(block: Block) -> list[Any]:
    return [getattr(block, name, None) for name in LIMITS]
