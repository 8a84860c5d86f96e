"""The page's three questions for programs: `/compare`, `/what_if` and `/layer_curve`, by client, HTTP or MCP.

Plain JSON in and out, bounded like the page, in the same line before the model. What cannot be answered ends in one
sentence, as an error.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from app.compare_tab.controls import Controls
from app.inputs.question_file import ALPHAS, MOST, asked_for, questions_of
from app.inputs.trace_file import open_trace
from app.jobs.comparison import Limits, Request, RequestError, Update, run
from app.jobs.layer_search import run_search
from app.jobs.run_queue import SPARE, Line
from app.server.endpoint import answering, description
from dola_core.lanes import PenaltyPosition
from dola_core.layer_search.dataset import Item
from dola_core.layer_search.scoring import Rule
from dola_core.models.loading import LoadedModel
from dola_core.trace.schema import ALPHA_MIN, Trace

MOST_ALPHAS = 10
LOOKS = 8
"""What-ifs that are read at a time."""
Event = dict[str, Any]


def offer_api(loaded: LoadedModel, limits: Limits, line: Line, ask: Controls) -> None:
    """Offer the endpoints; what they take is bounded as the controls of the page are."""
    preset = loaded.preset

    def compare(
        visitor: gr.Request,
        prompt: str,
        layer: int | None = None,
        alpha: float | None = None,
        max_new_tokens: int = 48,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        repetition_penalty: float = 1.0,
        penalty_position: PenaltyPosition = "before",
        early_norm: bool | None = None,
        num_beams: int = 1,
        seed: int = 0,
        stop: str = "",
        chat: bool = False,
        with_trace: bool = True,
    ) -> Iterator[Event]:
        """Complete a prompt twice with the same model, plainly and with DoLa-static, and tell every step.

        Args:
            prompt: the text to complete.
            layer: the contrast layer j*, from 1 to one less than the model's layers; leave it out for the model's own.
            alpha: the plausibility threshold, from 0.01 to 1; leave it out for the model's own.
            max_new_tokens: the most tokens that each of the two completions may have.
            temperature: 0 decodes greedily; above, tokens are drawn, with the same noise for both completions.
            top_p: draw from the most probable tokens that together have this probability.
            top_k: draw from so many most probable tokens; 0 takes all.
            repetition_penalty: 1 is none.
            penalty_position: the penalty acts "before" the contrast or "after" it.
            early_norm: read the contrast layer through the model's final norm; leave it out for the model's own.
            num_beams: search with so many beams; 1 does not search.
            seed: of the noise that tokens are drawn with.
            stop: a completion ends where this text appears.
            chat: put the prompt as a turn of the model's chat template.
            with_trace: end with the trace, some 100 kB; without, only with the texts and why they end.

        Returns:
            One object after the other, told apart by "type": "waiting" (ahead, seconds), "reading" (read, of),
            "searching" (lane, step), "step" (step, counted from 1, and for each lane its token, the token's
            probability, and why the lane ends with it, or null) and in the end "trace" (texts, ends, fork, halt,
            trace), whose trace holds all that was recorded and is what what_if reads.
        """
        asked = {
            "max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p, "top_k": top_k,
            "repetition_penalty": repetition_penalty, "num_beams": num_beams, "seed": seed,
        }  # fmt: skip
        _within(ask, asked)
        request = Request.of(
            prompt=prompt,
            chat=chat,
            layer=preset.layer if layer is None else layer,
            alpha=max(preset.alpha, ALPHA_MIN) if alpha is None else alpha,
            decoding=asked
            | {
                "penalty_position": penalty_position,
                "early_norm": preset.early_norm if early_norm is None else early_norm,
                "stop": (stop,) if stop else (),
            },
        )
        told = 0
        with line.place(str(visitor.session_hash)) as place, closing(run(loaded, request, limits)) as updates:
            for _ in place.waits():
                yield {"type": "waiting", "ahead": place.ahead, "seconds": place.expected}
            for update in updates:
                events = _steps(update.trace, told)
                told += len(events)
                yield from events
                if update.note in PROGRESS:
                    yield {"type": PROGRESS[update.note], **update.values}
                if update.finished or update.halt:
                    yield _end(update, with_trace=with_trace)

    def what_if(
        visitor: gr.Request, trace: dict[str, Any], step: int, layer: int, alpha: float, lane: Literal[0, 1] = 1
    ) -> Event:
        """Which token DoLa-static would choose at a recorded step with another j* and α, read without the model.

        Args:
            trace: the trace that compare ended with.
            step: which step of the text, counted from 1.
            layer: the contrast layer j* to ask about.
            alpha: the plausibility threshold to ask about.
            lane: on whose text: 0 is the baseline's, 1 is DoLa-static's.

        Returns:
            The token's "id" and "text", what was "chosen" there in the run, and whether the two are the "same".
        """
        recorded = open_trace(_dumped(trace))
        steps = recorded.lane_steps(lane) if lane in (0, 1) and not isinstance(lane, bool) else ()
        for name, whole, most in (("step", step, len(steps)), ("layer", layer, recorded.model.n_layers - 1)):
            if isinstance(whole, bool) or not isinstance(whole, int) or not 1 <= whole <= most:
                raise RequestError("error.range", name=name, least=1, most=max(1, most))
        if not _is_alpha(alpha):
            raise RequestError("error.range", name="alpha", least=ALPHA_MIN, most=1)
        try:
            token = recorded.what_if(lane, step - 1, layer, alpha)
        except ValueError as error:  # the step is not recorded for so small an α
            raise RequestError("error.plain", text=str(error)) from error
        chosen = steps[step - 1].choices[1].id
        text = {"id": token, "text": recorded.pieces.get(token)}
        return {**text, "chosen": {"id": chosen, "text": recorded.pieces.get(chosen)}, "same": token == chosen}

    def layer_curve(
        visitor: gr.Request, questions: list[dict[str, Any]], alphas: list[float] | None = None
    ) -> Iterator[Event]:
        """Measure every contrast layer j* and several α on questions with known answers.

        Args:
            questions: each with "prompt", "answers" (right ones) and, if there are any, "wrong" (others), "domain".
            alphas: the plausibility thresholds to measure; leave it out for 0.05, 0.1, 0.2 and 0.5.

        Returns:
            One object after the other, told apart by "type": "waiting" (ahead, seconds), "reading" (done, of) and in
            the end "curve": the metrics of the baseline and of every layer and α with 95 % intervals, the best
            setting, and whether the questions show that it is better than plain decoding.
        """
        items, sha256 = _questions(questions)
        asked = asked_for(items, Rule(early_norm=preset.early_norm))
        asked = asked.model_copy(update={"alphas": _alphas(alphas)})
        with line.place(str(visitor.session_hash)) as place:
            for _ in place.waits():
                yield {"type": "waiting", "ahead": place.ahead, "seconds": place.expected}
            with closing(run_search(loaded, items, asked, "questions", sha256, limits, False)) as updates:
                for found in updates:
                    if found.finished:
                        result = found.result.model_dump(mode="json", by_alias=True)
                        yield {"type": "curve", "halt": found.halt, **result}
                    else:
                        yield {"type": "reading", "done": found.done, "of": found.of}

    waits: dict[str, Any] = {"concurrency_limit": line.most + SPARE, "concurrency_id": "model"}
    for answer, how in ((compare, waits), (what_if, {"concurrency_limit": LOOKS}), (layer_curve, waits)):
        name, told = answer.__name__, description(answer)
        gr.api(answering(answer, loaded), api_name=name, api_description=told, **how)


PROGRESS = {"page.reading_on": "reading", "page.searching": "searching"}
"""What an update's note is called here."""


def _within(ask: Controls, asked: dict[str, Any]) -> None:
    """Raises `RequestError` for a number outside the range of the control that it would be set by."""
    for name, value in asked.items():
        control = getattr(ask, name)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not control.minimum <= value <= control.maximum:
            raise RequestError("error.range", name=name, least=control.minimum, most=control.maximum)


def _steps(trace: Trace, told: int) -> list[Event]:
    """The steps of a trace beyond the first `told`, as they are told."""
    texts = [trace.lane_steps(lane) for lane in range(len(trace.lanes))]
    return [_step(trace, texts, index) for index in range(told, max(map(len, texts)))]


def _step(trace: Trace, texts: list[Any], index: int) -> Event:
    lanes = []
    for lane, steps in enumerate(texts):
        if index < len(steps):
            step = steps[index]
            token = step.taken[step.lanes.index(lane)]
            choice = step.choices[lane]
            lanes.append(
                {
                    "lane": trace.lanes[lane].name,
                    "id": token,
                    "text": trace.pieces[token],
                    "p": choice.p if choice.id == token else None,
                    "end": trace.ends[lane] if index + 1 == len(steps) else None,
                }
            )
    return {"type": "step", "step": index + 1, "lanes": lanes}


def _end(update: Update, *, with_trace: bool) -> Event:
    trace = update.trace
    names = [lane.name for lane in trace.lanes]
    end = {
        "type": "trace",
        "texts": dict(zip(names, trace.texts, strict=True)),
        "ends": dict(zip(names, trace.ends, strict=True)),
        "fork": None if trace.fork is None else trace.fork + 1,
        "halt": update.halt,
    }
    return end | {"trace": json.loads(trace.to_json())} if with_trace else end


def _dumped(document: object) -> str:
    try:
        return json.dumps(document)
    except (ValueError, RecursionError) as error:
        raise RequestError("error.too_deep") from error


def _questions(questions: object) -> tuple[list[Item], str]:
    """Read as a file of JSON Lines is, so that a mistake is told with the number of its question."""
    if not isinstance(questions, list) or not 1 <= len(questions) <= MOST:
        raise RequestError("error.questions", most=MOST)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "questions.jsonl")
        file.write_text("\n".join(map(_dumped, questions)), encoding="utf-8")
        return questions_of(str(file))


def _alphas(alphas: object) -> tuple[float, ...]:
    if alphas is None:
        return ALPHAS
    numbers = alphas if isinstance(alphas, list) else []
    if not numbers or not all(map(_is_alpha, numbers)) or len(numbers) > MOST_ALPHAS:
        raise RequestError("error.alphas", most=MOST_ALPHAS, least=ALPHA_MIN)
    return tuple(map(float, dict.fromkeys(numbers)))


def _is_alpha(alpha: object) -> bool:
    return isinstance(alpha, (int, float)) and not isinstance(alpha, bool) and ALPHA_MIN <= alpha <= 1
