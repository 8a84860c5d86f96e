"""The page's own components: plain data as value, drawn by `assets/page/duet.js`.

No prompt or model text ever enters an HTML or CSS template: Gradio evaluates `${…}` and `{{…}}` in them. Templates
here are constants; the text travels in `value` and is written with `textContent`.
"""

import json
from pathlib import Path
from typing import Any

import gradio as gr
import plotly
from plotly.offline import get_plotlyjs_version
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from app.paths import PAGE_FILES
from app.ui.palette import TO_DARK

PLOTLY_JS = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
# Under gradio_api, which every proxy in front of a Gradio app (the Node server of SSR included) hands to Python.
PREFIX = "gradio_api/duet"
PLOTLY = f"plotly-{get_plotlyjs_version()}.min.js"
SCRIPTS = {PLOTLY: PLOTLY_JS, "duet.js": PAGE_FILES / "duet.js"}
# Addresses are relative, so that they work below a root path.
HEAD = f'<script src="{PREFIX}/duet.js"></script>'
COLOURS = json.dumps(TO_DARK)


def routes() -> list[Route]:
    """Routes that serve the page's scripts from this machine; nothing else in those folders is reachable."""

    def serve(request: Request) -> Response:
        file = SCRIPTS.get(request.path_params["name"])
        if file is None:
            return Response(status_code=404)
        age = 31_536_000 if file is PLOTLY_JS else 0
        return FileResponse(file, media_type="text/javascript", headers={"Cache-Control": f"public, max-age={age}"})

    return [Route(f"/{PREFIX}/{{name}}", serve)]


class _Drawn(gr.HTML):
    """A component whose value, any JSON, `Duet.<kind>` draws into an empty element."""

    kind = ""

    def __init__(self, value: Any = None, *, elem_classes: str = "", **kwargs: Any) -> None:
        root = f"element.querySelector('.duet-{self.kind}')"
        draw = f"Duet.{self.kind}({root}, props, watch, trigger, {COLOURS}, '{PREFIX}/{PLOTLY}');"
        super().__init__(
            value,
            elem_classes=["duet-drawn", *elem_classes.split()],
            html_template=f'<div class="duet-{self.kind}"></div>',
            js_on_load=draw,
            head=HEAD,
            apply_default_css=False,
            **kwargs,
        )

    def postprocess(self, value: Any) -> str | None:
        """The value as JSON text. Of an object, Gradio's page would copy and watch every number in it; all charts
        of a view together take a third of the time as text."""
        return None if value is None else json.dumps(value, ensure_ascii=False)

    def get_block_name(self) -> str:
        """In the browser every one of these is Gradio's own HTML component."""
        return "html"


class Strips(_Drawn):
    """Both token strips (`token_strips`). A click on a token triggers `select` with `lane` and `step`."""

    kind = "strips"


class Sentence(_Drawn):
    """Text in parts (`app.render.figures.step_sentence`), read out when it changes."""

    kind = "sentence"


class Notice(_Drawn):
    """One line for the visitor: `{"text": …, "tone": "error" | "busy" | ""}`."""

    kind = "notice"


class Crumbs(_Drawn):
    """The way from the first run to the one shown, `[text, …]`; clicking one triggers `select` with its `by`."""

    kind = "crumbs"


class Outbox(_Drawn):
    """Hands something over: `{"kind": "file" | "link" | "report", …}` is saved, copied, or put together and saved."""

    kind = "outbox"


class Inbox(_Drawn):
    """Reads a trace that is chosen or dropped on the page, and triggers `upload` with its `text`. Nothing is stored."""

    kind = "inbox"


class Rows(_Drawn):
    """A table: `{"title", "sub", "head": […], "rows": [[…], …], "open"}`; a row of an open one triggers `select` with
    its number as `by` when it is clicked or entered."""

    kind = "rows"


class StepSlider(gr.Slider):
    """A slider whose range follows what is shown: a value that was in range a moment ago is no error."""

    def get_block_name(self) -> str:
        """In the browser it is Gradio's own slider."""
        return "slider"

    def preprocess(self, payload: float) -> int:
        """The value as it comes; a view moves it to a step that there is."""
        return int(payload) if isinstance(payload, int | float) and abs(payload) < 1e9 else 1


class Chart(_Drawn):
    """A Plotly figure under a title and one grey line: `{"title", "sub", "figure"}`, redrawn in place."""

    kind = "chart"
