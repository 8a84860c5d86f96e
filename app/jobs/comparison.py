"""One comparison for the page: what the visitor asked for → a stream of traces."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from sys import intern
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from app.jobs.zero_gpu import gpu_seconds, on_gpu, within
from app.language import VisitorError
from app.render.view_state import View
from dola_core.decoding.beam_search import BeamProgress, BeamResult, beam_search
from dola_core.decoding.lockstep import PromptError, check_comparison, compare
from dola_core.lanes import Decoding, Lane
from dola_core.models.loading import LoadedModel, well_formed
from dola_core.trace.recorder import Recorder
from dola_core.trace.schema import ALPHA_MIN, Trace

MAX_BEAMS = 8
"""The most beams that a visitor can ask for."""
TEXT_INTERVAL = 1 / 12
"""Seconds between updates of the strips: faster than reading, slow enough for the browser."""
CHUNK = 256
"""Tokens of a prompt that are read at a time; between them a run can be stopped."""


class RequestError(VisitorError):
    """What was asked for cannot be run."""


class Request(BaseModel):
    """A comparison as asked for, checked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    layer: int = Field(ge=1, strict=True)
    alpha: float = Field(ge=ALPHA_MIN, le=1.0, allow_inf_nan=False, strict=True)
    decoding: Decoding
    chat: bool = False

    @field_validator("prompt")
    @classmethod
    def _well_formed(cls, prompt: str) -> str:
        return well_formed(prompt)

    @classmethod
    def of(cls, **asked: object) -> "Request":
        """Check what was asked for; raises `RequestError` with one sentence."""
        try:
            return cls.model_validate(asked)
        except ValidationError as error:
            mistake = error.errors()[0]
            if mistake["type"] == "beams_sample":
                raise RequestError("error.beams_sample") from error
            name = str(mistake["loc"][-1]).replace("_", " ") if mistake["loc"] else ""
            text = mistake["msg"].removeprefix("Value error, ")
            text = f"{name}: {text}." if name and not text.endswith(".") else text
            raise RequestError("error.plain", text=text) from error


@dataclass(frozen=True)
class Limits:
    """What bounds a run beside what its request asks for."""

    new_tokens: int = 4096
    """Where a run goes on from an opened trace, which may have asked for more."""
    prompt_tokens: int | None = None
    seconds: float = math.inf


Halt = Literal["stopped", "time", "broken"]
"""Why a run ends before its lanes have come to an end."""


@dataclass(frozen=True)
class Update:
    """What the page shows next."""

    trace: Trace
    note: str = ""
    """The key of words for progress, where there are no tokens to show yet."""
    values: Mapping[str, object] = field(default_factory=dict)
    """What to fill in."""
    finished: bool = False
    """Every lane has come to an end of its own."""
    halt: Halt | None = None
    """Nothing more comes, though not every lane has."""


def run(
    loaded: LoadedModel,
    request: Request,
    limits: Limits | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Update]:
    """Run a comparison, yielding the trace at most about twelve times a second and once when it is over.

    `stopped` is asked at every step and while a long prompt is read. The generator may be closed at any point. Raises
    `RequestError` for a prompt that cannot be completed.
    """
    limits = limits or Limits()
    try:
        prompt_ids = loaded.encode(request.prompt, chat=request.chat)
    except PromptError as error:
        raise _said(error) from error
    if limits.prompt_tokens is not None and len(prompt_ids) > limits.prompt_tokens:
        raise RequestError("error.prompt_limit", size=len(prompt_ids), most=limits.prompt_tokens)
    loaded.memory.forget()  # what a prompt gives must not depend on what was run before
    recorder = _recorder(loaded, request.prompt, prompt_ids, request.layer, request.alpha, request.decoding)
    yield from _run(loaded, recorder, limits, stopped=stopped)


def run_on(
    loaded: LoadedModel,
    trace: Trace,
    view: View,
    token: int | None = None,
    limits: Limits | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Update]:
    """Run both decoders on from a step of a trace: what its lane wrote before the step, and then `token` if given.

    They decode as the trace did, with the view's (j*, α) and at most `limits.new_tokens` tokens. What the model still
    remembers of the prefix is not read again, the rest in one forward pass. Raises `RequestError` if the trace is
    another model's or the prefix leaves no room.
    """
    if _made_by(trace) != _made_by(loaded):
        raise RequestError("error.other_model", model=trace.model.name)
    written = trace.lane_ids(view.lane)[: view.index] + ([] if token is None else [token])
    asked, limits = trace.decoding, limits or Limits()
    new_tokens = min(asked.max_new_tokens, limits.new_tokens)
    bounds = {"max_new_tokens": new_tokens, "num_beams": min(asked.num_beams, MAX_BEAMS)}
    decoding = asked.model_copy(update=bounds)
    prompt_ids = [*trace.prompt_ids, *written]
    most = math.inf if limits.prompt_tokens is None else limits.prompt_tokens + limits.new_tokens
    if len(prompt_ids) > most:  # of an opened trace; what was written here may always be gone on from
        raise RequestError("error.prompt_limit", size=len(prompt_ids), most=int(most))
    recorder = _recorder(loaded, trace.prompt + loaded.text(written), prompt_ids, view.layer, view.alpha, decoding)
    yield from _run(loaded, recorder, limits, stopped=stopped)


def _made_by(source: Trace | LoadedModel) -> tuple[str, int, int]:
    info = source.model if isinstance(source, Trace) else source.info
    return info.name, info.n_layers, info.vocab_size


def _recorder(
    loaded: LoadedModel, prompt: str, prompt_ids: list[int], layer: int, alpha: float, decoding: Decoding
) -> Recorder:
    lanes = (Lane(name="Baseline"), Lane(name="DoLa-static", layer=layer, alpha=alpha))
    last = loaded.readout.n_layers - 1
    if layer > last:
        raise RequestError("error.layer", layer=layer, last=last)
    try:
        check_comparison(loaded.readout, prompt_ids, lanes, decoding)
    except PromptError as error:
        raise _said(error) from error
    return Recorder(loaded.info, prompt, prompt_ids, lanes, decoding)


def _said(error: PromptError) -> RequestError:
    return RequestError(f"error.prompt_{error.kind}", size=error.size, most=error.most)


def _seconds(_loaded: LoadedModel, recorder: Recorder, *_: object) -> int:
    asked = recorder.decoding
    return gpu_seconds(len(recorder.prompt_ids), asked.max_new_tokens, asked.num_beams)


@on_gpu(_seconds)  # here, so that nobody is lent a GPU to be told that a prompt is empty
def _run(
    loaded: LoadedModel, recorder: Recorder, limits: Limits, *, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Update]:
    piece = cache(lambda token: intern(loaded.piece(token)))  # asked for at every update, and kept in many a trace
    end = time.monotonic() + within(limits.seconds, _seconds(loaded, recorder))

    def update(note: str = "", **values: object) -> Update:
        return Update(recorder.trace(piece, loaded.text), note, values)

    def over(halt: Halt) -> Update:
        return Update(recorder.trace(piece, loaded.text).stopped(halt), halt=halt)

    def halted() -> Halt | None:
        return "stopped" if stopped() else "time" if time.monotonic() > end else None

    yield update("page.reading")
    scripts = {}
    if recorder.decoding.num_beams > 1:
        for event in _search(loaded, recorder):
            if isinstance(event, BeamProgress):
                if halt := halted():
                    yield over(halt)
                    return
                yield update("page.searching", lane=recorder.lanes[event.lane].name, step=event.step)
            else:
                best = event.beams[0]
                scripts[event.lane] = (best.ids, best.end)
    steps = compare(
        loaded.readout,
        recorder.prompt_ids,
        recorder.lanes,
        recorder.decoding,
        eos_ids=loaded.eos_ids,
        text_of=loaded.text,
        scripts=scripts,
        memory=loaded.memory,
        fixed=loaded.fixed,
        chunk=CHUNK,
    )
    shown = 0.0
    with closing(steps):
        for advance in steps:
            recorder.add(advance.tokens, advance.ends, advance.steps)
            if None not in recorder.ends:
                break
            if halt := halted():
                yield over(halt)
                return
            if advance.read:
                yield update("page.reading_on", read=advance.read, of=len(recorder.prompt_ids))
            elif time.monotonic() - shown >= TEXT_INTERVAL:
                yield update()
                shown = time.monotonic()
    if "broken" in recorder.ends:
        yield over("broken")
    else:
        yield Update(recorder.trace(piece, loaded.text), finished=True)


def _search(loaded: LoadedModel, recorder: Recorder) -> Iterator[BeamProgress | BeamResult]:
    return beam_search(
        loaded.readout,
        recorder.prompt_ids,
        recorder.lanes,
        recorder.decoding,
        eos_ids=loaded.eos_ids,
        text_of=loaded.text,
    )
