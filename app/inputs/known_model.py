"""What the project knows about a model: `assets/models/<name>/` with examples, recorded traces and a layer search.

All of it was made with one model, and is shown for that one alone: never another model's traces under its name.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from app.inputs.examples import NEUTRAL, Example
from app.inputs.trace_file import open_trace
from app.paths import MODELS
from dola_core.layer_search.result import SearchResult
from dola_core.models.info import ModelInfo
from dola_core.trace.schema import Trace

TITLES = ("mended", "harmed", "one-token", "endless", "sampled")
"""What recorded traces show, in the order of the page; the language files hold the titles under `recorded.<name>`."""
EXAMPLES, TRACES, SEARCH = "examples.json", "traces", Path("layer_search", "result.json")
_EXAMPLES = TypeAdapter(tuple[Example, ...])


@dataclass(frozen=True)
class RecordedTrace:
    """A trace that comes with the page and opens without running the model."""

    title: str
    """One of `TITLES`."""
    file: Path

    def read(self) -> Trace:
        """Read and check it like any other trace file; from then on it is kept."""
        return _opened(self.file)


@dataclass(frozen=True)
class KnownModel:
    """What is known about one model; of a model that nobody has looked at, nothing but prompts to start with."""

    examples: tuple[Example, ...] = NEUTRAL
    recorded: tuple[RecordedTrace, ...] = ()
    search: SearchResult | None = None

    @property
    def first(self) -> RecordedTrace | None:
        """The run that the page opens with, if one was recorded."""
        return next(iter(self.recorded), None)

    @property
    def prompts(self) -> set[str]:
        """Those of the examples and of the recorded runs."""
        return {example.prompt for example in self.examples} | {one.read().prompt for one in self.recorded}

    def recorded_as(self, digest: str) -> RecordedTrace | None:
        """The recorded run of a digest, if there is one."""
        return next((one for one in self.recorded if one.read().digest == digest), None) if digest else None

    @classmethod
    def of(cls, info: ModelInfo) -> "KnownModel":
        """What is known about a model.

        Other weights under the same name, such as the ones that a known model was quantised from, get its prompts
        without a word about what becomes of them.
        """
        folder = MODELS / info.name
        if info.name != folder.name or folder.parent != MODELS or not (folder / EXAMPLES).is_file():
            return cls()
        known = _read(folder)
        if known.search is not None and known.search.model.is_same_model(info):
            return known
        return cls(tuple(example.model_copy(update={"outcome": None}) for example in known.examples))


@cache
def _opened(file: Path) -> Trace:
    return open_trace(file.read_text(encoding="utf-8"))


@cache
def _read(folder: Path) -> KnownModel:
    files = ((title, folder / TRACES / f"{title}.json") for title in TITLES)
    search = folder / SEARCH
    return KnownModel(
        _EXAMPLES.validate_json((folder / EXAMPLES).read_bytes()),
        tuple(RecordedTrace(title, file) for title, file in files if file.is_file()),
        SearchResult.model_validate_json(search.read_text(encoding="utf-8")) if search.is_file() else None,
    )
