"""The parts of Gradio that this page reaches into although they are not documented, each with its reason.

`tests/app/server/test_gradio_internals.py` and the hostile tests in `tests/hosting` notice when an update of Gradio
changes one of them. Nothing outside this file touches Gradio's private attributes.
"""

import inspect
import logging
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.blocks import Block, Blocks
from gradio.state_holder import SessionState

from app.jobs.visitor import Visitor
from app.language import ENGLISH
from app.server.gate import BusyError, Gate

LOG = logging.getLogger(__name__)
GRADIO = Path(gr.__file__).parent
APP = Path(__file__).resolve().parents[1]
LONGEST_MESSAGE = 120
"""Characters of Gradio's message about a number out of its range, which repeats the number."""
VALUE_LIMITS = "minimum", "maximum", "step", "choices"
"""Attributes that decide which values a component accepts."""


class GuardedBlocks(gr.Blocks):
    """A page of which no event ends in a traceback, and which keeps little of each visitor.

    `process_api` is what every event of the page and of the API runs through. Gradio offers no documented hook there,
    and would print what a visitor sent, prompts included, into the log.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gate = Gate()

    async def process_api(
        self, block_fn: Any, inputs: list[Any], state: SessionState | None = None, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Run an event; whatever it raises becomes one sentence for the visitor and at most one line in the log.

        What runs no model waits at a gate. What does is a generator, which waits in the queue before the model.
        """
        request = kwargs.get("request", args[0] if args else None)
        address = Visitor.of(request).address if isinstance(request, gr.Request) else ""
        waits = nullcontext() if inspect.isgeneratorfunction(block_fn.fn) else self.gate.turn(address)
        try:
            async with waits:
                return await super().process_api(block_fn, inputs, state, *args, **kwargs)
        except BusyError as error:
            raise gr.Error(error.message(ENGLISH), print_exception=False) from error
        except gr.Error as error:
            if GRADIO in Path(_frame(error).filename).parents and not _is_out_of_range(error):
                raise gr.Error(ENGLISH("error.unfit"), print_exception=False) from error
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


def _frame(error: BaseException) -> traceback.FrameSummary:
    return traceback.extract_tb(error.__traceback__)[-1]


def _is_out_of_range(error: gr.Error) -> bool:
    """Whether Gradio refused a number that a component does not take, in a message that is short enough to be shown.

    Its other messages repeat what was sent, however long, as Python writes it.
    """
    codes = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    return codes[-1] is gr.Number.raise_if_out_of_bounds.__code__ and len(error.message) <= LONGEST_MESSAGE


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
