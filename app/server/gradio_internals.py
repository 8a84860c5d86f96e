"""The parts of Gradio that this page reaches into although they are not documented, each with its reason.

`tests/app/server/test_gradio_internals.py` and the hostile tests in `tests/hosting` notice when an update of Gradio
changes one of them. Nothing outside this file touches Gradio's private attributes.
"""

import inspect
import logging
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.blocks import Block, Blocks
from gradio.state_holder import SessionState
from starlette.types import Scope

from app.jobs.queue.visitor import Visitor
from app.language import ENGLISH
from app.server.bounds.answers import Unread
from app.server.bounds.memory import memory_of
from app.server.bounds.sessions import Sessions
from app.server.gate import BusyError, Gate

LOG = logging.getLogger(__name__)
GRADIO = Path(gr.__file__).parent
APP = Path(__file__).resolve().parents[1]
NOBODY = Visitor("", "")
VALUE_LIMITS = "minimum", "maximum", "step", "choices"
"""Attributes that decide which values a component accepts."""


class GuardedBlocks(gr.Blocks):
    """A page of which no event ends in a traceback, and which keeps little of each visitor.

    `process_api` is what every event of the page and of the API runs through. Gradio offers no documented hook there,
    and would print what a visitor sent, prompts included, into the log.
    """

    def __init__(self, gate: Gate | None = None, **kwargs: Any) -> None:
        """`gate` is for what runs no model."""
        super().__init__(**kwargs)
        self.gate = gate or Gate()
        self.sessions = Sessions()

    async def process_api(
        self, block_fn: Any, inputs: list[Any], state: SessionState | None = None, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Run an event; whatever it raises becomes one sentence for the visitor and at most one line in the log.

        What runs no model waits at a gate. What does is a generator, which waits in the queue before the model.
        """
        request = kwargs.get("request", args[0] if args else None)
        visitor = Visitor.of(request) if isinstance(request, gr.Request) else NOBODY
        waits = nullcontext() if inspect.isgeneratorfunction(block_fn.fn) else self.gate.turn(visitor.address)
        try:
            async with waits:
                return await super().process_api(block_fn, inputs, state, *args, **kwargs)
        except BusyError as error:
            raise gr.Error(error.message(ENGLISH), print_exception=False) from error
        except gr.Error as error:
            if GRADIO in Path(_frame(error).filename).parents:
                raise gr.Error(_sentence_for(error), print_exception=False) from error
            error.print_exception = False  # the visitor sees it, and nobody else can do anything about it
            raise
        except Exception as error:
            frame = _frame(error)
            where = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
            LOG.warning("an event failed at %s: %s", where, type(error).__name__)  # its message may hold a prompt
            LOG.debug("in full", exc_info=error)
            # In Gradio's own code it is about a value that no browser sends, else about ours.
            sentence = ENGLISH("error.event_failed", what=type(error).__name__)
            raise gr.Error(sentence if _is_ours(error) else ENGLISH("error.unfit"), print_exception=False) from error
        finally:
            drop_session_copies(state, self)
            self._remember(visitor, state)

    def _remember(self, visitor: Visitor, state: SessionState | None) -> None:
        """Note how much is remembered of a visitor, and forget others where it is too much in all."""
        if state is None or not visitor.session:
            return
        self.sessions.use(visitor.session, visitor.address, lambda: _memory_of_state(state, self))
        holder = self.state_holder
        for name in self.sessions.surplus(lambda name: name not in holder or holder.session_data[name].is_closed):
            holder.session_data.pop(name, None)
            holder.time_last_used.pop(name, None)


def _memory_of_state(state: SessionState, page: Blocks) -> int:
    """Bytes of what a session has that not all others have, too."""
    common = {key: getattr(page.blocks.get(key), "value", None) for key in state.state_data}
    return sum(memory_of(value) for key, value in state.state_data.items() if value is not common[key])


def _frame(error: BaseException) -> traceback.FrameSummary:
    return traceback.extract_tb(error.__traceback__)[-1]


def _sentence_for(error: gr.Error) -> str:
    """What to say for an error of Gradio's own, whose message repeats what was sent, as Python writes it.

    Where a number was out of the range of a component, its bounds are named; Gradio tells them nowhere else.
    """
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    least, most = frame.f_locals.get("minimum"), frame.f_locals.get("maximum")
    if frame.f_code is not gr.Number.raise_if_out_of_bounds.__code__ or least is None or most is None:
        return ENGLISH("error.unfit")
    return ENGLISH("error.number", least=least, most=most)


def _is_ours(error: BaseException) -> bool:
    """Whether an error came out of the page's own code."""
    files = {Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)} - {Path(__file__)}
    return any(APP in file.parents for file in files)


def is_known_event(page: gr.Blocks, name: str) -> bool:
    """Whether `name` is an event, or a session that has asked for one.

    Gradio would wait for the events of any other name until the connection ends, and hold memory for each.
    """
    queue = page._queue
    sessions = queue.pending_event_ids_session
    return (
        name in queue.pending_messages_per_session
        or name in queue.event_ids_to_events
        or any(name in events for events in sessions.values())
    )


def pending_event(page: gr.Blocks, scope: Scope) -> str | None:
    """The event that the request of an ASGI scope has begun, if it is not over yet."""
    events = page._queue.event_ids_to_events
    return next((name for name, event in events.items() if event.request.scope is scope), None)


def is_pending(page: gr.Blocks, event: str) -> bool:
    """Whether an event is not over yet."""
    return event in page._queue.event_ids_to_events


def unread_answers(page: gr.Blocks, alone_for: Callable[[str], float]) -> list[Unread]:
    """What sessions have not fetched to which nobody listens; `alone_for` is for how many seconds that is so."""
    queue, waiting = page._queue, []
    going_on = {event.session_hash for event in queue.event_ids_to_events.values()}
    messages = dict(queue.pending_messages_per_session.items())
    # What was fetched leaves entries without messages behind.
    for name in {*messages, *queue.pending_event_ids_session} - going_on:
        if alone := alone_for(name):
            address = page.sessions.address_of(name) if isinstance(page, GuardedBlocks) else ""
            left = list(messages[name]._queue) if name in messages else []
            waiting.append(Unread(name, address, alone, memory_of(left)))
    return waiting


def drop_answers(page: gr.Blocks, session: str) -> None:
    """Forget what a session has not fetched."""
    queue = page._queue
    queue.pending_messages_per_session.pop(session, None)
    queue.pending_event_ids_session.pop(session, None)


def session_of(page: gr.Blocks, name: str) -> str:
    """The session of an event, by the event's id; a name that is no event's is a session's own."""
    event = page._queue.event_ids_to_events.get(name)
    return str(event.session_hash) if event else name


class _KeepsNothing(dict[int, dict[str, Any]]):
    """Stands in for a session's dictionary of component configs: accepts every entry and stores none."""

    def __setitem__(self, key: int, value: dict[str, Any]) -> None: ...

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: int) -> dict[str, Any]:
        return {}


def drop_session_copies(session: SessionState | None, page: Blocks) -> None:
    """After each event, drop Gradio's per-session copies of component values and configs; keep only `gr.State`.

    Gradio keeps every component's config and last value, texts and charts included, for its deep links, which this page
    does not use. It also keeps a whole copy of each component of which an answer changed a property; one that accepts
    other values than before is still needed, the others are not.
    """
    if session is None:
        return
    if not isinstance(session.config_values, _KeepsNothing):
        session.config_values = _KeepsNothing()
    shown = session.blocks_config.blocks
    for key, block in page.blocks.items():
        if shown[key] is not block and _value_limits(shown[key]) == _value_limits(block):
            shown[key] = block


def _value_limits(block: Block) -> list[Any]:
    return [getattr(block, name, None) for name in VALUE_LIMITS]
