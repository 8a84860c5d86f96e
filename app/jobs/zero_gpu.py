"""Run on ZeroGPU: a GPU that many Spaces share, lent to one run for the seconds that it asks for.

There a run is a fork of this process, in which the model lies on the GPU. Arguments and results are pickled on the way,
so they are plain data in CPU memory. Anywhere else a run stays the very same function.

Import this before anything initialises CUDA, and decorate runs before the page is launched.
"""

import math
import os
from collections.abc import Callable, Generator
from contextlib import closing
from functools import wraps
from typing import Any

import gradio as gr

from app.jobs.carried_error import CarriedError
from app.language import VisitorError

ZERO_GPU = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
"""Whether this is a Space on ZeroGPU, by the rule of the package `spaces`."""
if ZERO_GPU:
    import spaces

START = 10.0
"""The most seconds between the lending of a GPU and a model that lies on it."""
PROMPT_TOKEN, STEP, BEAM = 0.001, 0.06, 0.1
"""Seconds for a token of the prompt and for a step of both lanes with every layer read, and the part of a step that
each beam costs. Assumed for a model of 7 billion weights, not measured."""
LEAST, MOST = 15, 120
"""Bounds of the seconds that a run asks for. A visitor's quota for a whole day is of the order of the most."""

RunFunction = Callable[..., Generator[Any, None, None]]


def gpu_seconds(prompt_tokens: int, new_tokens: int, beams: int = 1) -> int:
    """The seconds to ask for: for so many tokens of a prompt, at most so many new ones, and beams."""
    # Both lanes are searched one after the other, and then their best texts are decoded in lock step.
    steps = 1 if beams == 1 else 1 + 2 * (1 + BEAM * beams)
    seconds = START + prompt_tokens * PROMPT_TOKEN + new_tokens * STEP * steps
    return min(max(math.ceil(seconds), LEAST), MOST)


def within(limit: float, seconds: int) -> float:
    """The time limit of a run that asked for `seconds` of a GPU, so that it ends before the GPU is taken away."""
    return min(limit, seconds - START) if ZERO_GPU else limit


def on_gpu(seconds: Callable[..., int]) -> Callable[[RunFunction], RunFunction]:
    """Let a generator function `run(engine, …)` have a GPU; away from ZeroGPU it stays the very same function.

    `seconds` is called with the same arguments and returns how long to ask for. The engine is not pickled: the fork
    finds it in its copy of this process. Nor can the keyword `cancelled` be, so it is left out: whoever iterates asks
    it and closes the generator. Errors arrive as they were raised, with their traceback as a note. What ZeroGPU tells a
    visitor, such as that a quota is used up, arrives as a `VisitorError`.
    """

    def decorate(run: RunFunction) -> RunFunction:
        if not ZERO_GPU:
            return run

        def in_fork(engine: int, *data: object, **named: object) -> Generator[Any, None, None]:
            try:
                yield from run(_ENGINES[engine], *data, **named)
            except Exception as error:
                yield CarriedError.of(error)

        def duration(engine: int, *data: object, **named: object) -> int:
            return seconds(_ENGINES[engine], *data, **named)

        lent = spaces.GPU(duration=duration)(in_fork)

        @wraps(run)
        def here(
            engine: object, *data: object, cancelled: object = None, **named: object
        ) -> Generator[Any, None, None]:
            try:
                with closing(lent(_number(engine), *data, **named)) as items:
                    for item in items:
                        if isinstance(item, CarriedError):
                            item.raise_here()
                        yield item
            except gr.Error as error:
                raise VisitorError("error.plain", text=str(error.message)) from error

        return here

    return decorate


_ENGINES: list[object] = []
"""The engines that runs were asked of. A fork finds the one of its run by its index."""


def _number(engine: object) -> int:
    for number, known in enumerate(_ENGINES):
        if known is engine:
            return number
    _ENGINES.append(engine)
    return len(_ENGINES) - 1
