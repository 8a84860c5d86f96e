"""The page's own components: their value is plain data, which the scripts in `assets/page` draw.

No prompt or model text ever enters an HTML or CSS template, because Gradio evaluates `${…}` and `{{…}}` in them. The
templates here are constants; text is passed in `value` and written with `textContent`.
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
# Under gradio_api, because every proxy in front of a Gradio app, such as the Node server of SSR, passes that to Python.
PREFIX = "gradio_api/duet"
PLOTLY = f"plotly-{get_plotlyjs_version()}.min.js"
PARTS = ("tools", "parts", "strips", "charts", "files")
"""The scripts in `assets/page`, in the order in which they need each other; the browser gets them as one, `duet.js`."""
# Relative addresses, so that they work below a root path.
HEAD = f'<script src="{PREFIX}/duet.js"></script>'
COLOURS = json.dumps(TO_DARK)


def routes() -> list[Route]:
    """Routes that serve the page's scripts, and nothing else of their folders."""

    def serve(request: Request) -> Response:
        name = request.path_params["name"]
        if name == PLOTLY:
            year = {"Cache-Control": "public, max-age=31536000"}
            return FileResponse(PLOTLY_JS, media_type="text/javascript", headers=year)
        if name != "duet.js":
            return Response(status_code=404)
        return Response(script(), media_type="text/javascript", headers={"Cache-Control": "public, max-age=0"})

    return [Route(f"/{PREFIX}/{{name}}", serve)]


def script() -> str:
    """`duet.js`: all scripts of the page in one."""
    return "\n".join((PAGE_FILES / f"{part}.js").read_text(encoding="utf-8") for part in PARTS)


class _Drawn(gr.HTML):
    """A component whose value, any JSON, is drawn by `Duet.<kind>` into an empty element."""

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
        """The value as JSON text: Gradio's page would copy and watch every number of an object. As text, all charts of
        a view together take a third of the time."""
        return None if value is None else json.dumps(value, ensure_ascii=False)

    def get_block_name(self) -> str:
        """The component in the browser: Gradio's own HTML."""
        return "html"


class TokenStrips(_Drawn):
    """Both token strips (`token_strips`). A click on a token triggers `select` with `lane` and `step`."""

    kind = "strips"


class Sentence(_Drawn):
    """A sentence in parts (see `app.render.sentences`), which screen readers read out when it changes."""

    kind = "sentence"


class Notice(_Drawn):
    """A message to the visitor: `{"text": …, "tone": "error" | "busy" | ""}`."""

    kind = "notice"


class Crumbs(_Drawn):
    """The runs from the first to the one shown, `[text, …]`. A click triggers `select` with the run's index as `by`."""

    kind = "crumbs"


class Outbox(_Drawn):
    """Hands something out: `{"kind": "file" | "link" | "report", …}` is saved, copied, or assembled and saved."""

    kind = "outbox"


class Inbox(_Drawn):
    """Reads a file that is chosen or dropped on the page and triggers `upload` with its `text`. Nothing is stored."""

    kind = "inbox"


class Rows(_Drawn):
    """A table: `{"title", "sub", "head": […], "rows": [[…], …], "open"}`. If `open`, each row has a button that
    triggers `select` with the row's index as `by`."""

    kind = "rows"


class StepSlider(gr.Slider):
    """A slider whose range follows the text shown; a value that was in range a moment ago must not be an error."""

    def get_block_name(self) -> str:
        """The component in the browser: Gradio's own slider."""
        return "slider"

    def preprocess(self, payload: float) -> int:
        """The value unchecked, for `View.within` moves it to a step that exists; 1 if it is no usable number."""
        return int(payload) if isinstance(payload, int | float) and abs(payload) < 1e9 else 1


class Chart(_Drawn):
    """A Plotly figure under a title and one grey line: `{"title", "sub", "alt", "figure"}`, redrawn in place."""

    kind = "chart"
