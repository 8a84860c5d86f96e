"""The page's own components: their value is plain data, which the scripts in `assets/page` draw.

No prompt or model text ever enters an HTML or CSS template, because Gradio evaluates `${…}` and `{{…}}` in them. The
templates here are constants; text is passed in `value` and written with `textContent`.
"""

import gzip
import json
from functools import cache
from typing import Any, NamedTuple

import gradio as gr
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from app.paths import PAGE_FILES, PICTURES, PLOTLY_JS
from app.ui.palette import TO_DARK

# Under gradio_api, because every proxy in front of a Gradio app, such as the Node server of SSR, passes that to Python.
PREFIX = "gradio_api/duet"
PLOTLY = "plotly-4.1.1.min.js"
"""Its address names its version, for browsers keep it for a year."""
PARTS = ("tools", "parts", "strips", "bar", "picture", "charts", "guide", "files", "image")
"""The scripts in `assets/page`, in the order in which they need each other; the browser gets them as one, `duet.js`."""
PREVIEW = f"{PREFIX}/preview.png"
"""The picture of the page that is shown with a link to it."""
# Relative addresses, so that they work below a root path.
HEAD = f'<script src="{PREFIX}/duet.js"></script>'
COLOURS = json.dumps(TO_DARK)


def routes() -> list[Route]:
    """Routes that serve the page's scripts, and nothing else of their folders."""

    def serve(request: Request) -> Response:
        name = request.path_params["name"]
        if name == PLOTLY:
            headers = {"Cache-Control": "public, max-age=31536000", "Vary": "Accept-Encoding"}
            if "gzip" not in request.headers.get("accept-encoding", ""):
                return FileResponse(PLOTLY_JS, media_type="text/javascript", headers=headers)
            packed = headers | {"Content-Encoding": "gzip"}
            return Response(_packed_plotly(), media_type="text/javascript", headers=packed)
        if name == "preview.png":
            return FileResponse(
                PICTURES / name, media_type="image/png", headers={"Cache-Control": "public, max-age=3600"}
            )
        if name != "duet.js":
            return Response(status_code=404)
        return Response(script(), media_type="text/javascript", headers={"Cache-Control": "public, max-age=0"})

    return [Route(f"/{PREFIX}/{{name}}", serve)]


@cache
def _packed_plotly() -> bytes:
    """Plotly, packed once instead of for each visitor."""
    return gzip.compress(PLOTLY_JS.read_bytes())


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
    """The lanes' texts (`token_strips`). A click on a token triggers `select` with `lane` and `step`, the button of an
    `invitation` triggers `submit`."""

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
    """Reads a file that is chosen or dropped on the page and triggers `upload` with its `text`. Nothing is stored.

    A value with `arrive` makes it trigger `submit`; one with a `code` says that the page is ready, in that language.
    """

    kind = "inbox"


class ChosenImage(NamedTuple):
    """An image as the browser holds it."""

    url: str = ""
    """A data URL; empty without an image."""
    thumbnail: bool = True
    """Whether the trace is to keep a small picture of it."""


NO_IMAGE = ChosenImage()


class ImageField(_Drawn):
    """Takes an image that is chosen, pasted or dropped on the page, and keeps it in the browser, as a data URL.

    Its value from the server is the words it shows, and whether it is `shown`. A handler gets a `ChosenImage`. A button
    triggers `select`, which asks for a lane without the image.
    """

    kind = "image"

    def preprocess(self, payload: str | None) -> ChosenImage:  # type: ignore[override]
        """What is chosen. The browser may have sent anything."""
        try:
            value = json.loads(payload or "null")
        except (TypeError, ValueError, RecursionError):
            value = None
        chosen = value if isinstance(value, dict) else {}
        url = chosen.get("image")
        return ChosenImage(url if isinstance(url, str) else "", chosen.get("thumbnail") is not False)


class Rows(_Drawn):
    """A table: `{"title", "sub", "head": […], "rows": [[…], …], "open"}`. If `open`, each row has a button that
    triggers `select` with the row's index as `by`, or with what stands for the row in the list `keys`."""

    kind = "rows"


class StepBar(_Drawn):
    """The bar under the texts (`app.render.step_bar`). Its buttons trigger `select`: `text` is "step", "difference",
    with 1 or −1 as `by`, "back", or "reset", with a pane and a field as `custom`."""

    kind = "bar"


class Chips(_Drawn):
    """What a visitor can try with one click (`app.tabs.compare.chips`). A click triggers `select` for what is recorded
    and `submit` for what is run, with the chip's index as `by`."""

    kind = "chips"


class Folds(_Drawn):
    """Buttons that show and hide parts of the page: `{"items": [[name, text], …]}`, for the elements `fold-<name>`.

    The browser remembers which of them are open, and triggers `select` with their names as `custom` whenever they
    change, and at first if there are any.
    """

    kind = "folds"


class Lead(_Drawn):
    """What the page is: `{"title", "text"}`."""

    kind = "lead"


class Menu(_Drawn):
    """A button that opens a short list: `{"title", "items": […]}`. A click on an item triggers `select` with its
    index as `by`."""

    kind = "menu"


class GuideSteps(_Drawn):
    """How one word was chosen, in three cards (`app.render.guide_steps`). Its button triggers `select` with `lane` and
    `step`."""

    kind = "guide"


class Chart(_Drawn):
    """A Plotly figure under a title and one grey line, redrawn in place; see `app.render.figures.style.card`."""

    kind = "chart"
