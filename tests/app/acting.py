"""The page's handlers, called as Gradio calls them."""

import inspect
from collections.abc import Iterator
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import gradio as gr

from app.jobs.engine_pool import EnginePool
from app.page import build
from app.server.api import Api
from app.settings import Settings
from app.tabs.compare.run_handlers import RunHandlers
from app.tabs.search.handlers import SearchHandlers
from app.ui.events import Changes
from dola_core.decoding.engine import Engine
from tests.app.loops import run_apart

VISITOR = SimpleNamespace(session_hash="a", headers={})
HANDLERS = (RunHandlers, SearchHandlers)


def holder(function: Any) -> Any:
    """The object whose method an event calls."""
    return getattr(function.fn, "__self__", None)


class Page:
    """The page's handlers, called as Gradio calls them."""

    def __init__(self, engine: Engine) -> None:
        async def built() -> gr.Blocks:
            return build(EnginePool.of(engine), Settings())

        page = run_apart(built())
        self.functions = [function for function in page.fns.values() if function.fn]

    def run(self, name: str, code: str, values: dict[str, object]) -> list[Changes]:
        """What a handler yields for a visitor who left all but `values` as it was, by the path of its component."""
        own, on = self.handler(name)
        given = {part: getattr(part, "value", None) for part in own.inputs}
        number = "states.number" if isinstance(on, RunHandlers) else "number"
        spoken = "inspector.language" if isinstance(on, RunHandlers) else "language"
        for path, value in ({number: on.cancellations.register("a"), spoken: code} | values).items():
            given[attrgetter(path)(on)] = value
        answer = own.fn(given, VISITOR)
        return list(answer) if isinstance(answer, Iterator) else [answer]

    def handler(self, name: str) -> tuple[Any, Any]:
        """The event that runs or ends runs by this name, and the object whose method it calls."""
        own = next(f for f in self.functions if f.fn.__name__ == name and isinstance(holder(f), HANDLERS))
        return own, holder(own)

    def endpoint(self, name: str, *arguments: object, **named: object) -> list[Any]:
        """What an endpoint of the API yields; `named` stand in the place of its defaults, behind `arguments`."""
        (function,) = [function for function in self.functions if function.api_name == name]
        rest = list(inspect.signature(getattr(Api, name)).parameters.values())[2 + len(arguments) :] if named else []
        more = [named.get(parameter.name, parameter.default) for parameter in rest]
        answer = function.fn(VISITOR, *arguments, *more)
        return list(answer) if isinstance(answer, Iterator) else [answer]
