"""Run one comparison for a visitor: a request in, a stream of growing traces out."""

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache
from sys import intern
from typing import Literal

from app.jobs.request import MAX_BEAMS, ComparisonRequest, Limits, RequestError, lanes_refused, prompt_refused
from app.jobs.zero_gpu import ZERO_GPU, gpu_seconds, on_gpu, within
from dola_core.comparison import ChatTurn, Comparison, Prompt
from dola_core.decoding.beam_search import BeamProgress
from dola_core.decoding.engine import Engine
from dola_core.decoding.lockstep import ForcedContinuation
from dola_core.errors import PromptError
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic, Lane
from dola_core.models.images.image_file import PromptImage, data_url_content, read_image
from dola_core.models.images.image_prompts import PromptImages
from dola_core.models.info import ModelInfo
from dola_core.trace.recorder import Recorder
from dola_core.trace.schema import Trace

UPDATES = 12
"""Updates of a run's texts in a second at most: faster than reading, slow enough for the browser."""
ALL_UPDATES = 24
"""Of all runs under way together. Each takes 2 to 4 ms of the interpreter, which passes need as well."""
CHUNK = 256
"""Tokens of a prompt that are read at a time; between two chunks a run can be cancelled."""

Halt = Literal["stopped", "time", "broken"]
"""Why a run ends before its lanes have come to an end. The values are those of a trace's end reasons."""


@dataclass(frozen=True)
class ComparisonUpdate:
    """What there is of a run so far."""

    trace: Trace
    """Its texts may be ahead of its steps."""
    note: str = ""
    """The language key of a sentence about progress, while there are no tokens to show yet."""
    values: Mapping[str, object] = field(default_factory=dict)
    """What fills in that sentence."""
    finished: bool = False
    """Whether every lane has come to an end of its own."""
    halt: Halt | None = None
    """Why this is the last update although not every lane has ended."""
    unread: str = ""
    """What was left out of the prompt, since the model has no token for it; said with the last update."""


def run(
    engine: Engine,
    request: ComparisonRequest,
    limits: Limits | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    text_first: bool = True,
) -> Generator[ComparisonUpdate, None, None]:
    """Run a comparison, yielding its trace a few times a second and once when it is over.

    With `text_first` the texts do not wait for their steps, which come into the trace afterwards.

    `cancelled` is asked at every step and between the chunks of a long prompt. The generator may be closed at any
    point. Raises `RequestError` for a prompt that cannot be completed.
    """
    limits = limits or Limits()
    text_ids = engine.loaded.text_ids
    (prompt, unread), (system, unread_too) = map(text_ids.without_control, (request.prompt, request.system))
    try:
        turn = None
        if request.chat:
            turn = ChatTurn(system=system, template_arguments=request.template_arguments)
        asked = Prompt(prompt, _images(request.image), turn)
        prompt_ids, images = engine.loaded.read_prompt(asked, blank=not all(lane.image for lane in request.lanes))
    except PromptError as error:
        raise prompt_refused(error) from error
    if limits.prompt_tokens is not None and len(prompt_ids) > limits.prompt_tokens:
        raise RequestError("error.prompt_limit", size=len(prompt_ids), most=limits.prompt_tokens)
    lanes = request.lanes or (Baseline(), DolaStatic(layer=request.layer, alpha=request.alpha))
    comparison = _comparison(engine, prompt, prompt_ids, lanes, request.decoding, images)
    comparison = replace(comparison, chat=turn, thumbnails=request.thumbnail)
    unread = ", ".join(filter(None, (unread, unread_too)))
    # A prompt's numbers must not depend on what was run before, so nothing is reused.
    how = {"reuse_prefix": False, "text_first": text_first}
    with closing(_run(engine, comparison, limits, **how, cancelled=cancelled)) as updates:
        for update in updates:
            yield replace(update, unread=unread) if update.finished or update.halt else update


def run_on(
    engine: Engine,
    trace: Trace,
    *,
    lanes: Sequence[Lane],
    lane: int,
    index: int,
    token: int | None = None,
    image: str = "",
    limits: Limits | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[ComparisonUpdate, None, None]:
    """Run `lanes` on from step `index` of `lane`'s text in a trace, after the forced `token` if one is given.

    They decode as in the trace, and at most `limits.new_tokens` tokens. The part of the text that is still in the
    prefix cache is not read again. A prompt with an image needs it again as `image`, a data URL: a trace does not hold
    it. Raises `RequestError` if the trace is another model's, the text leaves no room, or the image is another one.
    """
    check_same_model(trace.model, engine.loaded.info)
    limits = limits or Limits()
    written = trace.lane_ids(lane)[:index] + ([] if token is None else [token])
    bounds = {
        "max_new_tokens": min(trace.decoding.max_new_tokens, limits.new_tokens),
        "num_beams": min(trace.decoding.num_beams, MAX_BEAMS),
    }
    config = trace.decoding.model_copy(update=bounds)
    prompt_ids = [*trace.prompt_ids, *written]
    most = math.inf if limits.prompt_tokens is None else limits.prompt_tokens + limits.new_tokens
    if len(prompt_ids) > most:  # only of an opened trace: a text that was written here is never longer
        raise RequestError("error.prompt_limit", size=len(prompt_ids), most=int(most))
    said = engine.loaded.text(written)
    prompt = trace.prompt if trace.chat or trace.images else trace.prompt + said
    images = _images_again(engine, trace, lanes, image)
    _check_written(engine, prompt_ids, images)
    comparison = _comparison(engine, prompt, prompt_ids, tuple(lanes), config, images)
    if trace.chat or trace.images:
        kept = all(one.thumbnail for one in trace.images)
        comparison = replace(comparison, chat=trace.chat, begun=trace.begun + said, thumbnails=kept)
    yield from _run(engine, comparison, limits, reuse_prefix=True, text_first=True, cancelled=cancelled)


def _images(url: str) -> tuple[PromptImage, ...]:
    """The image of a request; raises `PromptError`."""
    return (read_image(data_url_content(url)),) if url else ()


def _images_again(engine: Engine, trace: Trace, lanes: Sequence[Lane], url: str) -> PromptImages | None:
    """What the model reads of the image of a trace's prompt, from which it goes on; raises `RequestError`."""
    if not trace.images:
        return None
    try:
        shown = _images(url)
        if [image.sha256 for image in shown] != [image.sha256 for image in trace.images]:
            raise RequestError("error.image_again")
        blank = not all(lane.image for lane in lanes)
        ids, images = engine.loaded.read_prompt(Prompt(trace.prompt, shown, trace.chat), blank=blank)
    except PromptError as error:
        raise prompt_refused(error) from error
    if tuple(ids) != trace.prompt_ids[: len(ids)]:
        raise RequestError("error.image_again")
    return images


def _check_written(engine: Engine, ids: Sequence[int], images: PromptImages | None) -> None:
    """Raise `RequestError` where a text to go on from holds, behind its images, what the model takes for another."""
    mark = getattr(engine.loaded.model.config, "image_token_id", None) if images else None
    if images and mark is not None and mark in ids[images.span[1] :]:
        raise RequestError("error.image_written")


def check_same_model(traced: ModelInfo, ours: ModelInfo) -> None:
    """Raise `RequestError` if a trace is not of the page's model."""
    if traced.is_same_model(ours):
        return
    if traced.name == ours.name and traced.identity and ours.identity:
        parts = zip(traced.identity.split("-"), ours.identity.split("-"), strict=True)
        weights, text = (a == b for a, b in parts)
        raise RequestError("error.other_tokenizer" if weights and not text else "error.other_weights", model=ours.name)
    raise RequestError("error.other_model", model=traced.name)


def _comparison(
    engine: Engine,
    prompt: str,
    prompt_ids: list[int],
    lanes: tuple[Lane, ...],
    config: DecodingConfig,
    images: PromptImages | None = None,
) -> Comparison:
    """The lanes on a prompt; raises `RequestError` if the model cannot run them."""
    last = engine.loaded.readout.n_layers - 1
    if beyond := [lane.layer for lane in lanes if isinstance(lane, DolaStatic) and lane.layer > last]:
        raise RequestError("error.layer", layer=beyond[0], last=last)
    try:
        comparison = engine.fitted(Comparison(prompt, tuple(prompt_ids), lanes, config, images=images))
        engine.check(comparison)
    except PromptError as error:
        raise prompt_refused(error) from error
    except ValueError as error:
        raise lanes_refused(engine.loaded.readout.n_layers) from error
    return comparison


def text_interval(running: int) -> float:
    """Seconds between two updates of a run's texts while so many runs are under way."""
    return max(1 / UPDATES, running / ALL_UPDATES)


def _gpu_seconds(_engine: Engine, comparison: Comparison, *_: object, **_named: object) -> int:
    config = comparison.config
    return gpu_seconds(len(comparison.prompt_ids), config.max_new_tokens, config.num_beams)


@on_gpu(_gpu_seconds)  # here, after the checks, so that nobody is lent a GPU to learn that a prompt is empty
def _run(
    engine: Engine,
    comparison: Comparison,
    limits: Limits,
    *,
    reuse_prefix: bool,
    text_first: bool,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[ComparisonUpdate, None, None]:
    loaded, recorder = engine.loaded, Recorder(comparison, engine.loaded.info)
    piece = cache(lambda token: intern(loaded.piece(token)))  # needed at every update, and kept in many a trace
    end = time.monotonic() + within(limits.seconds, _gpu_seconds(engine, comparison))

    def update(note: str = "", **values: object) -> ComparisonUpdate:
        return ComparisonUpdate(recorder.trace(piece, loaded.text), note, values)

    def over(halt: Halt) -> ComparisonUpdate:
        return ComparisonUpdate(recorder.trace(piece, loaded.text).stopped(halt), halt=halt)

    def halt_now() -> Halt | None:
        return "stopped" if cancelled() else "time" if time.monotonic() > end else None

    yield update("page.reading")
    forced: dict[int, ForcedContinuation] = {}
    if comparison.config.num_beams > 1:
        for event in engine.beam_search(comparison):
            if isinstance(event, BeamProgress):
                if halt := halt_now():
                    yield over(halt)
                    return
                yield update("page.searching", lane=comparison.lanes[event.lane].name, step=event.step)
            else:
                best = event.beams[0]
                forced[event.lane] = (best.ids, best.end)
                recorder.beams_found.append(len(event.beams))
    halts: list[Halt] = []

    def stopped() -> bool:  # the engine asks it between two steps, and between two chunks of the prompt
        halts.extend(filter(None, [halt_now()]))
        return bool(halts)

    steps = engine.compare(
        comparison,
        forced=forced,
        reuse_prefix=reuse_prefix,
        keep_prefix=True,
        chunk=CHUNK,
        together=not ZERO_GPU,
        text_first=text_first and not ZERO_GPU,  # there `cancelled` closes the run, which would lose the steps
        stopped=stopped,
    )
    shown = -math.inf
    try:
        with closing(steps) as outputs:
            for output in outputs:
                recorder.add(output.tokens, output.ends, output.steps)
                is_written = None not in recorder.ends or bool(halts)
                if output.read:
                    yield update("page.reading_on", read=output.read, of=len(comparison.prompt_ids))
                elif time.monotonic() - shown >= text_interval(engine.running) and (output.pending or not is_written):
                    yield update("page.recording" if is_written else "", left=output.pending)
                    shown = time.monotonic()
    except Exception:
        recorder.forget_unrecorded()
        yield update()  # with what has been recorded until then
        raise
    if halts and None in recorder.ends:
        yield over(halts[0])
    elif "broken" in recorder.ends:
        yield over("broken")
    else:
        yield ComparisonUpdate(recorder.trace(piece, loaded.text), finished=True)
