"""The page's three questions for programs: `/compare`, `/what_if` and `/layer_curve`, by client, HTTP or MCP.

Plain JSON in and out, bounded like the page, in the same queue before the model. What cannot be answered ends in one
sentence, as an error.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import gradio as gr

from app.inputs.question_file import search_config
from app.inputs.trace_file import read_trace
from app.jobs.comparison import ComparisonUpdate, run
from app.jobs.failures import Task
from app.jobs.host import Host
from app.jobs.layer_search import SearchUpdate, run_search
from app.jobs.model_pool import Asked, Loading, ModelFacts, UnknownModelError
from app.jobs.queue.run_queue import SPARE, Waiting
from app.jobs.queue.visitor import Visitor
from app.jobs.request import LEAST_LANES, ComparisonRequest, Limits, RequestError, parsed_lanes, rows_of, texts_of
from app.jobs.request import template_arguments as parsed_arguments
from app.server.api_events import (
    Event,
    dumped,
    is_alpha,
    parsed_alphas,
    parsed_questions,
    progress_events,
    search_event,
    waiting_event,
)
from app.server.endpoint import as_endpoint, description
from app.tabs.compare.controls import Controls
from dola_core.decoding.engine import Engine
from dola_core.lanes import DolaStatic, Lane, PenaltyPosition
from dola_core.layer_search.answers.scoring import ScoringConfig
from dola_core.layer_search.questions.dataset import Item
from dola_core.trace.schema import Trace
from dola_core.trace.step import ALPHA_MIN

CONCURRENT_WHAT_IFS = 8


def _request(facts: ModelFacts, numbers: dict[str, Any], asked: dict[str, Any]) -> ComparisonRequest:
    """What was asked for, with the model's own value wherever None stands; raises `RequestError`."""
    preset = facts.preset
    own = {
        "layer": preset.layer,
        "alpha": max(preset.alpha, ALPHA_MIN),
        "early_norm": preset.early_norm,
        "repetition_penalty": facts.repetition_penalty,
    }
    given = {name: own[name] if value is None and name in own else value for name, value in (numbers | asked).items()}
    decoding = {name: given.pop(name) for name in (*numbers, "early_norm", "penalty_position", "stop")}
    return ComparisonRequest.of(decoding=decoding, **given)


def _compare(
    engine: Engine, *, name: str, numbers: dict[str, Any], asked: dict[str, Any], limits: Limits, cancelled: Asked
) -> Generator[ComparisonUpdate, None, None]:
    """The job of `/compare`. What was left out is the model's own, which may not be known before."""
    request = _request(ModelFacts.of(name, engine), numbers, asked)
    return run(engine, request, limits, cancelled=cancelled, text_first=False)


def _layer_curve(
    engine: Engine, *, items: list[Item], sha256: str, alphas: tuple[float, ...], limits: Limits, cancelled: Asked
) -> Generator[SearchUpdate, None, None]:
    """The job of `/layer_curve`."""
    config = search_config(items, ScoringConfig(early_norm=engine.loaded.preset.early_norm))
    config = config.model_copy(update={"alphas": alphas})
    return run_search(engine, items, config, "questions", sha256, limits, False, cancelled=cancelled)


def offer_api(host: Host, controls: Controls) -> None:
    """Add the endpoints to the page; their numbers are bounded as the page's controls are."""
    api = Api(host, controls)
    waits: dict[str, Any] = {"concurrency_limit": host.queue.most + SPARE, "concurrency_id": "model"}
    offered: tuple[tuple[Callable[..., Any], Task, dict[str, Any]], ...] = (
        (api.compare, "comparison", waits),
        (api.what_if, "what-if", {"concurrency_limit": CONCURRENT_WHAT_IFS}),
        (api.layer_curve, "search", waits),
    )
    for answer, task, how in offered:
        endpoint = as_endpoint(answer, task, host.pool.release)
        gr.api(endpoint, api_name=answer.__name__, api_description=description(answer), **how)


@dataclass(frozen=True)
class Api:
    """The endpoints. Their signatures and docstrings are what programs and MCP clients see."""

    host: Host
    controls: Controls

    def compare(
        self,
        visitor: gr.Request,
        prompt: str,
        layer: int | None = None,
        alpha: float | None = None,
        max_new_tokens: int = 48,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        repetition_penalty: float | None = None,
        penalty_position: PenaltyPosition = "before",
        early_norm: bool | None = None,
        num_beams: int = 1,
        seed: int = 0,
        stop: str = "",
        chat: bool = False,
        with_trace: bool = True,
        min_p: float = 0.0,
        model: str = "",
        system: str = "",
        template_arguments: str = "",
        lanes: list[str] | None = None,
        image: str = "",
        thumbnail: bool = True,
    ) -> Iterator[Event]:
        """Complete a prompt with the same model, plainly and with DoLa-static or any lanes, and report every step.

        Args:
            prompt: the text to complete.
            layer: the contrast layer j*, from 1 to one less than the model's layers; leave it out for the model's own.
            alpha: the plausibility threshold, from 0.01 to 1; leave it out for the model's own.
            max_new_tokens: the most tokens that each of the two completions may have.
            temperature: 0 decodes greedily; above, tokens are drawn, with the same noise for both completions.
            top_p: draw from the most probable tokens that together have this probability.
            top_k: draw from so many most probable tokens; 0 takes all.
            repetition_penalty: 1 is none; leave it out for the model's own, which mostly is none.
            penalty_position: the penalty acts "before" the contrast or "after" it.
            early_norm: read the contrast layer through the model's final norm; leave it out for the model's own.
            num_beams: search with so many beams; 1 does not search.
            seed: of the noise that tokens are drawn with.
            stop: a completion ends where this text appears.
            chat: put the prompt as a turn of the model's chat template.
            with_trace: end with the trace, some 100 kB; without, only with the texts and why they end.
            min_p: draw from tokens at least this times as probable as the most probable one; 0 takes all.
            model: the name of one of the page's models; leave it out for the first.
            system: the system prompt of a chat; leave it out for the template's own.
            template_arguments: what the chat template reads beside the turns, as a JSON object in text.
            lanes: up to four decoders in place of the baseline and DoLa-static, such as "plain,penalty=1.2",
                "static:22,alpha=0.1,beta=0.5", "dynamic:high" or "linear:22=-0.5"; layer and alpha then mean nothing.
                With an image, "plain,image=off" completes the same text behind a grey image.
            image: an image before the prompt as a data URL, data:image/png;base64,…, of at most 8 MB; PNG, JPEG, WebP,
                GIF or BMP. The model must be one that reads images.
            thumbnail: keep a small picture of the image in the trace, which holds its hash in any case.

        Returns:
            One object after the other, told apart by "type": "waiting" (ahead, seconds), "loading" (a model that nobody
            has used for a while: stage), "reading" (read, of),
            "searching" (lane, step), "step" (step, counted from 1, and for each lane its token, the token's
            probability, the layer if the lane chose one, and why it ends there, or null) and in the end "trace" (texts,
            ends, ended_by with the token or stop string that ended each text, fork, halt, trace, and after a search
            beams with how many found a text of their own; unread, with the control characters of the prompt that have
            no token, if there are any), whose trace holds all that was recorded and is what what_if reads.
        """
        numbers = {
            "max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p, "top_k": top_k,
            "min_p": min_p, "repetition_penalty": repetition_penalty, "num_beams": num_beams, "seed": seed,
        }  # fmt: skip
        self._check_ranges({name: number for name, number in numbers.items() if number is not None})
        asked: dict[str, Any] = {
            "prompt": prompt, "layer": layer, "alpha": alpha, "early_norm": early_norm, "chat": chat, "system": system,
            "template_arguments": parsed_arguments(template_arguments), "penalty_position": penalty_position,
            "stop": (stop,) if stop else (), "image": image, "thumbnail": thumbnail,
        }  # fmt: skip
        name, limits = self._model(model), self.host.limits
        facts = self.host.pool.facts(name)
        asked["lanes"] = parsed_lanes(lanes, (facts or self.host.pool.first).n_layers)
        if facts:
            _request(facts, numbers, asked)  # what is wrong is said before the run waits in the queue
        job = partial(_compare, name=name, numbers=numbers, asked=asked, limits=limits)
        sent = 0
        texts = texts_of(asked["lanes"], image=bool(image)) if asked["lanes"] else LEAST_LANES
        rows = rows_of(texts, num_beams)
        with closing(self.host.in_turn(Visitor.of(visitor), name, job, rows=rows)) as updates:
            for update in updates:
                if isinstance(update, Waiting | Loading):
                    yield waiting_event(update)
                    continue
                events = progress_events(update, sent=sent, with_trace=with_trace)
                sent += sum(event["type"] == "step" for event in events)
                yield from events

    def what_if(
        self,
        visitor: gr.Request,
        trace: dict[str, Any],
        step: int,
        layer: int = 0,
        alpha: float = 0.0,
        lane: Literal[0, 1, 2, 3] = 1,
        other: str = "",
    ) -> Event:
        """Which token a lane would choose at a recorded step with other settings, read without the model.

        Args:
            trace: the trace that compare ended with.
            step: which step of the text, counted from 1.
            layer: the contrast layer j* of DoLa-static to ask about.
            alpha: the plausibility threshold to ask about.
            lane: on whose text, as the trace numbers its lanes: 0 is the baseline's, 1 is DoLa-static's.
            other: a lane to ask about in place of layer and alpha, such as "dynamic:low" or "static:22,beta=0.5".

        Returns:
            The token's "id" and "text", what was "chosen" there in the run by the first lane of the kind that is asked
            about, or else by the lane of the text, and whether the two are the "same".
        """
        recorded = read_trace(dumped(trace))
        is_lane = isinstance(lane, int) and not isinstance(lane, bool) and 0 <= lane < len(recorded.lanes)
        steps, n_layers = recorded.lane_steps(lane) if is_lane else [], recorded.model.n_layers
        for name, number, most in (("step", step, len(steps)), ("layer", layer, n_layers - 1)):
            given = name == "step" or not other
            if given and (isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= most):
                raise RequestError("error.range", name=name, least=1, most=max(1, most))
        if not other and not is_alpha(alpha):
            raise RequestError("error.range", name="alpha", least=ALPHA_MIN, most=1)
        asked = parsed_lanes([other], n_layers)[0] if other else DolaStatic(layer=layer, alpha=alpha)
        return self._what_if(recorded, lane, step - 1, asked)

    def _what_if(self, recorded: Trace, lane: int, index: int, asked: Lane) -> Event:
        """The answer of `what_if` for step `index` of `lane`'s text, which there is."""
        number = next((n for n, one in enumerate(recorded.lanes) if one.kind == asked.kind), lane)
        step = recorded.lane_steps(lane)[index]
        try:
            fitted = asked.fitted(recorded.model.n_layers, tied=bool(recorded.model.tied))
            if fitted.reading(recorded.decoding) in recorded.readings:
                step = recorded.step_for(step, fitted)
            least, known = step.exact_alpha, fitted.least_share >= step.exact_alpha
            token = recorded.what_if(lane, index, fitted) if known else 0
        except ValueError as error:
            raise RequestError("error.unrecorded") from error
        if not known:
            raise RequestError("error.recorded_alpha", least=least)
        chosen = step.choices[number].id
        return {
            "id": token,
            "text": recorded.pieces.get(token),
            "chosen": {"id": chosen, "text": recorded.pieces.get(chosen)},
            "same": token == chosen,
        }

    def layer_curve(
        self,
        visitor: gr.Request,
        questions: list[dict[str, Any]],
        alphas: list[float] | None = None,
        model: str = "",
    ) -> Iterator[Event]:
        """Measure every contrast layer j* and several α on questions with known answers.

        Args:
            questions: each with "prompt", "answers" (right ones) and, if there are any, "wrong" (others), "domain".
            alphas: the plausibility thresholds to measure; leave it out for 0.05, 0.1, 0.2 and 0.5.
            model: the name of one of the page's models; leave it out for the first.

        Returns:
            One object after the other, told apart by "type": "waiting" (ahead, seconds), "loading" (stage), "reading"
            (done, of) and in the end "curve": the metrics of the baseline, of every layer and α, and beside them of
            DoLa-dynamic and other strengths, with 95 % intervals; the best setting, whether the questions show that it
            is better than plain decoding, and whether dynamic is better still.
        """
        items, sha256 = parsed_questions(questions)
        measured, limits, name = parsed_alphas(alphas), self.host.limits, self._model(model)
        job = partial(_layer_curve, items=items, sha256=sha256, alphas=measured, limits=limits)
        with closing(self.host.in_turn(Visitor.of(visitor), name, job)) as updates:
            for update in updates:
                yield waiting_event(update) if isinstance(update, Waiting | Loading) else search_event(update)

    def _model(self, name: object) -> str:
        """The name of a model of the host's list, the first if none is asked for; raises `UnknownModelError`."""
        titles = self.host.pool.titles
        if isinstance(name, str) and (not name or name in titles):
            return name or next(iter(titles))
        raise UnknownModelError("error.no_such_model", models=", ".join(titles))

    def _check_ranges(self, numbers: dict[str, Any]) -> None:
        """Raises `RequestError` for a number outside the range of its control on the page."""
        for name, value in numbers.items():
            control = getattr(self.controls, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not is_number or not control.minimum <= value <= control.maximum:
                raise RequestError("error.range", name=name, least=control.minimum, most=control.maximum)
