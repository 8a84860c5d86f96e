"""Stop a search within a pass of the model: somebody waits for it to end, and a pass over long texts takes a while."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from dola_core.models.reading.readout import Readout

CheckStop = Callable[[], None]
"""Called between parts of the work; what it raises ends the work."""


def go_on() -> None:
    """The check of work that nobody stops."""


@contextmanager
def stop_between_blocks(readout: Readout, check_stop: CheckStop) -> Iterator[None]:
    """While the body runs the model on a CPU, call `check_stop` before each block.

    On an accelerator a pass is short, and may be one that is being captured, in which nothing must be raised. Passes
    that other threads run on the same model are left alone.
    """
    owner = threading.get_ident()

    def ask(_module: nn.Module, _args: tuple) -> None:
        if threading.get_ident() == owner:
            check_stop()

    blocks = readout.blocks if readout.device.type == "cpu" and check_stop is not go_on else ()
    handles = [block.register_forward_pre_hook(ask) for block in blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
