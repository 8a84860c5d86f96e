"""How a function becomes an API endpoint: every error arrives as one sentence, and MCP tools get JSON as text."""

import inspect
import json
import logging
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import gradio as gr

from app.language import ENGLISH, VisitorError
from dola_core.decoding.engine import Engine
from dola_core.errors import QuestionTooLongError
from dola_core.models.devices import out_of_memory

LOG = logging.getLogger(__name__)
MCP_HEADER = "mcp-protocol-version"
"""The header by which a tool call of the Model Context Protocol differs from other requests."""


def description(answer: Callable[..., Any]) -> str:
    """What a function does and returns, by its docstring, as one paragraph."""
    text, _, returns = (inspect.getdoc(answer) or "").partition("Returns:")
    return " ".join(" ".join([text.partition("Args:")[0], returns]).split())


def as_endpoint(answer: Callable[..., Any], engine: Engine) -> Callable[..., Any]:
    """Wrap `answer`, whose first parameter is the request, so that whatever it raises is a `gr.Error` of one sentence.

    Gradio would write a tool's result as Python does, so a tool gets it as JSON text.
    """
    if not inspect.isgeneratorfunction(answer):

        @wraps(answer)
        def once(visitor: gr.Request, *args: Any) -> Any:
            try:
                return _form(visitor)(answer(visitor, *args))
            except Exception as error:
                raise _as_gradio_error(error, answer.__name__, engine) from error

        return once

    @wraps(answer)
    def streaming(visitor: gr.Request, *args: Any) -> Iterator[Any]:
        try:
            yield from map(_form(visitor), answer(visitor, *args))
        except Exception as error:
            raise _as_gradio_error(error, answer.__name__, engine) from error

    return streaming


def _form(visitor: gr.Request) -> Callable[[Any], Any]:
    """What an answer is turned into before it is sent."""
    is_tool_call = MCP_HEADER in (visitor.headers or {})
    return (lambda event: json.dumps(event, ensure_ascii=False)) if is_tool_call else lambda event: event


def _as_gradio_error(error: Exception, endpoint: str, engine: Engine) -> gr.Error:
    if isinstance(error, VisitorError):
        message = str(error)
    elif isinstance(error, QuestionTooLongError):
        message = ENGLISH("search.too_many_tokens", n=error.number, size=error.size, most=error.most)
    elif out_of_memory(error):
        engine.release()
        LOG.warning("%s ran out of memory: %s", endpoint, error)
        message = ENGLISH("error.out_of_memory")
    else:
        LOG.error("%s failed", endpoint, exc_info=error)
        message = ENGLISH("error.failed", what=type(error).__name__)
    return gr.Error(message, print_exception=False)
