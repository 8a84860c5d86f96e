"""A model on ZeroGPU: a GPU that many Spaces share, lent to a run for the seconds that it asks for.

There a run is another process, a fork of this one, in which the model lies on the GPU. What it is given and what it
yields is pickled on the way, so it is plain data in the memory of the CPU. Anywhere else a run is what it always was.

Import this before anything sets CUDA up, and decorate runs before the page is launched.
"""

import math
import os
import pickle
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import wraps
from typing import Any

import gradio as gr

from app.language import VisitorError

ZERO_GPU = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
"""Whether this is a Space on ZeroGPU, by the rule of the package spaces."""
if ZERO_GPU:
    import spaces

START = 10.0
"""Seconds, at most, from a GPU's being lent to a model's being on it."""
PROMPT_TOKEN, STEP, BEAM = 0.001, 0.06, 0.1
"""Seconds for a token of the prompt and for a step of both decoders, every layer read, and what of a step each beam
costs: assumed for a model of 7 billion weights, and not measured."""
LEAST, MOST = 15, 120
"""Seconds that a run asks for. What a visitor may have in a day is of the order of the most."""

Run = Callable[..., Iterator[Any]]


def gpu_seconds(prompt_tokens: int, new_tokens: int, beams: int = 1) -> int:
    """How long to ask for a GPU: for so many tokens of a prompt, new ones at most, and beams."""
    # Both decoders search one after the other, and then the texts that they found are decoded in lock step.
    steps = 1 if beams == 1 else 1 + 2 * (1 + BEAM * beams)
    seconds = START + prompt_tokens * PROMPT_TOKEN + new_tokens * STEP * steps
    return min(max(math.ceil(seconds), LEAST), MOST)


def within(limit: float, seconds: int) -> float:
    """The time limit of a run that asked for a GPU for so many `seconds`: it ends before the GPU is taken away."""
    return min(limit, seconds - START) if ZERO_GPU else limit


def on_gpu(seconds: Callable[..., int]) -> Callable[[Run], Run]:
    """Let a generator function `run(loaded, …)` have a GPU; away from ZeroGPU it stays the very same function.

    `seconds`, called with the same arguments, says for how long. The model stays where it is, and a run finds it in its
    copy of this process; the rest is handed over. A keyword `stopped` cannot be and is left out: whoever iterates looks
    at it, and closes the generator. Errors come as they were raised, with where they were raised as a note, and what
    ZeroGPU tells a visitor, as of a quota that is used up, as a `VisitorError`.
    """

    def decorate(run: Run) -> Run:
        if not ZERO_GPU:
            return run

        def there(model: int, *data: object, **named: object) -> Iterator[Any]:
            try:
                yield from run(_MODELS[model], *data, **named)
            except Exception as error:
                yield _failure(error)

        def how_long(model: int, *data: object, **named: object) -> int:
            return seconds(_MODELS[model], *data, **named)

        lent = spaces.GPU(duration=how_long)(there)

        @wraps(run)
        def here(loaded: object, *data: object, stopped: object = None, **named: object) -> Iterator[Any]:
            try:
                with closing(lent(_number(loaded), *data, **named)) as items:
                    for item in items:
                        if isinstance(item, _Failure):
                            item.error.add_note(item.trace)
                            raise item.error
                        yield item
            except gr.Error as error:
                raise VisitorError("error.plain", text=str(error.message)) from error

        return here

    return decorate


_MODELS: list[object] = []
"""The models that runs were asked of. A run finds the one that it is about at the same place."""


def _number(loaded: object) -> int:
    for number, known in enumerate(_MODELS):
        if known is loaded:
            return number
    _MODELS.append(loaded)
    return len(_MODELS) - 1


@dataclass(frozen=True)
class _Failure:
    """An error on its way from a run."""

    error: Exception
    trace: str
    """Where it was raised; a traceback cannot be pickled."""


def _failure(error: Exception) -> _Failure:
    """What can be handed over: the error itself, or what it says where it cannot be pickled."""
    trace = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever an error holds, or makes of what it held
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return _Failure(error, trace)
