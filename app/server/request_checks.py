"""Checks of what is posted to the page, before Gradio reads it: JSON for events, one file of questions or prompts."""

import json
import math
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import gradio as gr
from gradio.data_classes import CancelBody, PredictBody, SimplePredictBody
from gradio_client.utils import is_http_url_like
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.inputs.question_file import UPLOADS
from app.inputs.trace_file import MAX_VALUES, most_values
from dola_core.errors import first_mistake

MAX_DEPTH = 64
"""How deeply JSON may be nested; what the page sends has 6 levels."""
MAX_DIGITS = 20
"""Characters of an integer; one of 64 bits has no more."""
SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a client may call its session. All that is kept of a visitor is kept under this name."""
CALLS = re.compile(r"/gradio_api/(?:(run|api|call|call/v2)/([^/]+)|(queue/join|cancel))/?")
BODIES: Mapping[str, type[BaseModel]] = {
    "run": PredictBody, "api": PredictBody, "queue/join": PredictBody, "call": SimplePredictBody, "cancel": CancelBody,
}  # fmt: skip
"""{kind of call: the model that Gradio reads it with}. Gradio's own error would repeat what was sent, which may be
impossible to encode."""


class UnfitError(ValueError):
    """A request is refused, with this HTTP status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def parsed(body: bytes) -> Any:
    """Parse a JSON document of bounded size, depth and numbers; raises `UnfitError`."""

    def refuse(name: str) -> None:
        raise UnfitError(400, f"{name} is not a number in JSON.")

    def integer(text: str) -> int:
        if len(text) > MAX_DIGITS:
            raise UnfitError(400, "A number is too large.")
        return int(text)

    def real(text: str) -> float:
        if not math.isfinite(number := float(text)):
            raise UnfitError(400, "A number is too large.")
        return number

    try:
        text = body.decode("utf-8")
        if most_values(text) > MAX_VALUES:
            raise UnfitError(413, "What was sent holds too many values.")
        document = json.loads(text, parse_constant=refuse, parse_int=integer, parse_float=real)
    except UnfitError:
        raise
    except RecursionError:
        raise UnfitError(400, "What was sent is nested too deeply.") from None
    except json.JSONDecodeError as error:
        raise UnfitError(400, f"What was sent is not JSON from character {error.pos:,} on.") from None
    except UnicodeDecodeError:
        raise UnfitError(400, "What was sent is not JSON in UTF-8.") from None
    _check_parts(document)
    return document


def _check_parts(document: Any) -> None:
    """Raises `UnfitError` for too deep nesting, and for the address of a file, which Gradio would fetch."""
    level = [document]
    for _ in range(MAX_DEPTH):
        if any(isinstance(part, dict) and is_http_url_like(part.get("path")) for part in level):
            raise UnfitError(422, "A file is uploaded here, and not fetched from an address.")
        inside = (part.values() if isinstance(part, dict) else part for part in level if isinstance(part, (dict, list)))
        level = [part for parts in inside for part in parts]
        if not level:
            return
    raise UnfitError(400, "What was sent is nested too deeply.")


def check_call(page: gr.Blocks, path: str, document: Any) -> None:
    """Raises `UnfitError` unless a document posted to `path` calls an event by number or a public endpoint by name.

    Paths that call nothing pass.
    """
    called = CALLS.fullmatch(path)
    if not called:
        return
    kind, name = called[1] or called[3], called[2]
    if not isinstance(document, dict):
        raise UnfitError(422, "What was sent is not a JSON object.")
    if kind == "call/v2":
        _check_named(page, name, document)
        return
    try:
        body = BODIES[kind].model_validate(document)
    except ValidationError as error:
        mistake = first_mistake(error)
        raise UnfitError(422, f"{mistake.field.partition('.')[0]}: {mistake.message}.") from None
    session = getattr(body, "session_hash", None)
    if session is not None and not SESSION.fullmatch(session):
        raise UnfitError(422, "session_hash: must be up to 64 letters and digits.")
    number = getattr(body, "fn_index", None)
    if number is None and name is not None:
        _parameters(page, name)
    elif number is not None and number not in page.fns:
        raise UnfitError(404, "There is no such event.")
    elif kind == "queue/join" and number is not None and page.fns[number].queue is False:
        # Gradio would do them one after the other, those of all visitors.
        raise UnfitError(422, "This event is answered at once, by /gradio_api/run/predict.")


def _check_named(page: gr.Blocks, name: str, document: dict[str, Any]) -> None:
    parameters = _parameters(page, name)
    needed = {each["parameter_name"] for each in parameters if not each["parameter_has_default"]}
    for missing in sorted(needed - document.keys()):
        raise UnfitError(422, f"{missing}: is missing.")
    if document.keys() - {each["parameter_name"] for each in parameters}:
        raise UnfitError(422, f"/{name} takes nothing but {', '.join(each['parameter_name'] for each in parameters)}.")


def _parameters(page: gr.Blocks, name: str) -> list[dict[str, Any]]:
    public = page.get_api_info()["named_endpoints"]
    if f"/{name}" not in public:
        raise UnfitError(404, f"There is no such endpoint; there are {', '.join(public)}.")
    return public[f"/{name}"]["parameters"]


async def check_upload(headers: Headers, body: bytes) -> None:
    """Raises `UnfitError` unless the body uploads one file of questions or prompts and nothing else.

    A trace is read in the browser and sent as text.
    """
    if not headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise UnfitError(415, "Files are taken as multipart/form-data.")

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await MultiPartParser(headers, stream(), max_files=1, max_fields=0).parse()
    except MultiPartException:
        raise UnfitError(415, f"Only one file of questions or prompts is taken here, {' or '.join(UPLOADS)}.") from None
    [(field, file)] = form.multi_items() or [("", "")]
    await form.close()
    if field != "files" or not isinstance(file, UploadFile) or not str(file.filename).lower().endswith(UPLOADS):
        raise UnfitError(415, f"Only one file of questions or prompts is taken here, {' or '.join(UPLOADS)}.")
