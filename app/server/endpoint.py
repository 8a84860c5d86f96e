"""How a function becomes an endpoint: its answers as they are asked for, its mistakes as errors of one sentence."""

import inspect
import json
import logging
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import gradio as gr

from app.language import ENGLISH, VisitorError
from dola_core.layer_search.scoring import TooLongError
from dola_core.models.loading import LoadedModel, out_of_memory

LOG = logging.getLogger(__name__)
MCP_HEADER = "mcp-protocol-version"
"""What tells a tool call of the Model Context Protocol from other requests."""


def description(answer: Callable[..., Any]) -> str:
    """What a function does and returns, by its docstring, in one paragraph."""
    text, _, returns = (inspect.getdoc(answer) or "").partition("Returns:")
    return " ".join(" ".join([text.partition("Args:")[0], returns]).split())


def answering(answer: Callable[..., Any], loaded: LoadedModel) -> Callable[..., Any]:
    """The same function, of which whatever goes wrong arrives as an error of one sentence.

    Its first parameter is the request. Gradio writes what a tool returns as Python would, so tools get JSON as text.
    """

    def told(error: Exception) -> gr.Error:
        if isinstance(error, VisitorError):
            said = str(error)
        elif isinstance(error, TooLongError):
            said = ENGLISH("search.too_many_tokens", n=error.number, size=error.size, most=error.most)
        elif out_of_memory(error):
            loaded.release()
            LOG.warning("%s ran out of memory: %s", answer.__name__, error)
            said = ENGLISH("error.out_of_memory")
        else:
            LOG.error("%s failed", answer.__name__, exc_info=error)
            said = ENGLISH("error.failed", what=type(error).__name__)
        return gr.Error(said, print_exception=False)

    def form(visitor: gr.Request) -> Callable[[Any], Any]:
        tool = MCP_HEADER in (visitor.headers or {})
        return (lambda event: json.dumps(event, ensure_ascii=False)) if tool else lambda event: event

    if not inspect.isgeneratorfunction(answer):

        @wraps(answer)
        def once(visitor: gr.Request, *args: Any) -> Any:
            try:
                return form(visitor)(answer(visitor, *args))
            except Exception as error:
                raise told(error) from error

        return once

    @wraps(answer)
    def streaming(visitor: gr.Request, *args: Any) -> Iterator[Any]:
        try:
            yield from map(form(visitor), answer(visitor, *args))
        except Exception as error:
            raise told(error) from error

    return streaming
