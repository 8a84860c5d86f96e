"""How a function becomes an API endpoint: every error arrives as one sentence, and MCP tools get JSON as text."""

import inspect
import json
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import gradio as gr

from app.jobs.failures import Task, failure_sentence
from app.language import ENGLISH

MCP_HEADER = "mcp-protocol-version"
"""The header by which a tool call of the Model Context Protocol differs from other requests."""


def description(answer: Callable[..., Any]) -> str:
    """What a function does and returns, by its docstring, as one paragraph."""
    text, _, returns = (inspect.getdoc(answer) or "").partition("Returns:")
    return " ".join(" ".join([text.partition("Args:")[0], returns]).split())


def as_endpoint(answer: Callable[..., Any], task: Task, release: Callable[[], None]) -> Callable[..., Any]:
    """Wrap `answer`, whose first parameter is the request, so that whatever it raises is a `gr.Error` of one sentence.

    `task` is what it runs, and `release` gives back memory if it ran out. Gradio would write a tool's result as Python
    does, so a tool gets it as JSON text.
    """
    if not inspect.isgeneratorfunction(answer):

        @wraps(answer)
        def once(visitor: gr.Request, *args: Any) -> Any:
            try:
                return _form(visitor)(answer(visitor, *args))
            except Exception as error:
                raise _as_gradio_error(error, task, release) from error

        return once

    @wraps(answer)
    def streaming(visitor: gr.Request, *args: Any) -> Iterator[Any]:
        try:
            yield from map(_form(visitor), answer(visitor, *args))
        except Exception as error:
            raise _as_gradio_error(error, task, release) from error

    return streaming


def _form(visitor: gr.Request) -> Callable[[Any], Any]:
    """What an answer is turned into before it is sent."""
    is_tool_call = MCP_HEADER in (visitor.headers or {})
    return (lambda event: json.dumps(event, ensure_ascii=False)) if is_tool_call else lambda event: event


def _as_gradio_error(error: Exception, task: Task, release: Callable[[], None]) -> gr.Error:
    return gr.Error(failure_sentence(error, task, release, ENGLISH), print_exception=False)
