"""The JSON objects that the API's endpoints yield and take."""

import json
import tempfile
from pathlib import Path
from typing import Any

from app.inputs.question_file import ALPHAS, MOST, questions_of
from app.jobs.comparison import ComparisonUpdate
from app.jobs.layer_search import SearchUpdate
from app.jobs.model_pool import Loading
from app.jobs.queue.run_queue import Waiting
from app.jobs.request import RequestError
from dola_core.lanes import distinct_names
from dola_core.layer_search.questions.dataset import Item
from dola_core.trace.schema import Trace
from dola_core.trace.step import ALPHA_MIN, Step

MOST_ALPHAS = 10
PROGRESS = {"page.reading_on": "reading", "page.searching": "searching"}
"""{an update's note: the type of the event that it becomes}"""
Event = dict[str, Any]


def waiting_event(waiting: Waiting | Loading) -> Event:
    """A run that waits in the queue, or for its model."""
    if isinstance(waiting, Loading):
        return {"type": "loading", "stage": waiting.stage}
    return {"type": "waiting", "ahead": waiting.ahead, "seconds": waiting.seconds}


def progress_events(update: ComparisonUpdate, *, sent: int, with_trace: bool) -> list[Event]:
    """What an update of a comparison adds after the first `sent` steps: steps, progress and, if it is over, the end."""
    events = step_events(update.trace, sent)
    if update.note in PROGRESS:
        events.append({"type": PROGRESS[update.note], **update.values})
    if update.finished or update.halt:
        events.append(_end_event(update, with_trace=with_trace))
    return events


def step_events(trace: Trace, sent: int) -> list[Event]:
    """The steps of a trace after the first `sent`."""
    lane_steps = [trace.lane_steps(lane) for lane in range(len(trace.lanes))]
    names = distinct_names(trace.lanes)
    return [_step_event(trace, names, lane_steps, index) for index in range(sent, max(map(len, lane_steps)))]


def _step_event(trace: Trace, names: list[str], lane_steps: list[list[Step]], index: int) -> Event:
    lanes = []
    for lane, steps in enumerate(lane_steps):
        if index < len(steps):
            step = steps[index]
            token = step.taken[step.lanes.index(lane)]
            choice = step.choices[lane]
            lanes.append(
                {
                    "lane": names[lane],
                    "id": token,
                    "text": trace.pieces[token],
                    "p": choice.p if choice.id == token else None,
                    "end": trace.ends[lane] if index + 1 == len(steps) else None,
                }
                | ({"layer": choice.layer} if choice.layer is not None else {})
            )
    return {"type": "step", "step": index + 1, "lanes": lanes}


def _end_event(update: ComparisonUpdate, *, with_trace: bool) -> Event:
    trace = update.trace
    names = distinct_names(trace.lanes)
    end: Event = {
        "type": "trace",
        "texts": dict(zip(names, trace.texts, strict=True)),
        "ends": dict(zip(names, trace.ends, strict=True)),
        "ended_by": {name: trace.ended_by(lane) for lane, name in enumerate(names)},
        "fork": None if trace.fork is None else trace.fork + 1,
        "halt": update.halt,
    }
    if trace.beams_found:
        end["beams"] = dict(zip(names, trace.beams_found, strict=True))
    if update.unread:
        end["unread"] = update.unread
    return end | {"trace": json.loads(trace.to_json())} if with_trace else end


def search_event(update: SearchUpdate) -> Event:
    """A layer search under way, or its result."""
    if not update.finished:
        return {"type": "reading", "done": update.done, "of": update.of}
    return {"type": "curve", "halt": update.halt, **update.result.model_dump(mode="json", by_alias=True)}


def dumped(document: object) -> str:
    """A JSON document as text; raises `RequestError` if it is nested too deeply."""
    try:
        return json.dumps(document)
    except (ValueError, RecursionError) as error:
        raise RequestError("error.too_deep") from error


def parsed_questions(questions: object) -> tuple[list[Item], str]:
    """The questions of a call and their hash. They are read as a JSON Lines file is, so that a mistake is reported with
    the number of its question; raises `RequestError` or `QuestionsError`."""
    if not isinstance(questions, list) or not 1 <= len(questions) <= MOST:
        raise RequestError("error.questions", most=MOST)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "questions.jsonl")
        file.write_text("\n".join(map(dumped, questions)), encoding="utf-8")
        return questions_of(str(file), "jsonl")


def parsed_alphas(alphas: object) -> tuple[float, ...]:
    """The α of a call, or the usual ones for None; raises `RequestError`."""
    if alphas is None:
        return ALPHAS
    numbers = alphas if isinstance(alphas, list) else []
    if not numbers or not all(map(is_alpha, numbers)) or len(numbers) > MOST_ALPHAS:
        raise RequestError("error.alphas", most=MOST_ALPHAS, least=ALPHA_MIN)
    return tuple(map(float, dict.fromkeys(numbers)))


def is_alpha(alpha: object) -> bool:
    """Whether a value is an α that the page takes."""
    return isinstance(alpha, (int, float)) and not isinstance(alpha, bool) and ALPHA_MIN <= alpha <= 1
