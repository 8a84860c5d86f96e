"""The models of a page, wherever they are loaded: what is known of each, and how a run gets to one."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from app.inputs.known_model import KnownModel
from app.jobs.queue.run_queue import Waiting
from app.language import Language, VisitorError
from dola_core.decoding.engine import Engine
from dola_core.lanes import Baseline, DolaStatic, Lane
from dola_core.models.info import ModelInfo
from dola_core.models.loading import Stage
from dola_core.models.preset import Preset
from dola_core.trace.step import ALPHA_MIN

Update = TypeVar("Update")
Update_co = TypeVar("Update_co", covariant=True)
Asked = Callable[[], bool]
"""Says whether a run is to end, whenever it is asked."""


class Job(Protocol[Update_co]):
    """What is to be done with a model.

    It can be pickled, since it may be done in another process: a function of a module, or a `partial` of one with plain
    data.
    """

    def __call__(self, engine: Engine, *, cancelled: Asked) -> Generator[Update_co, None, None]:
        """Do it, yielding what there is so far. Once `cancelled` says so, nobody wants it any more."""


@dataclass(frozen=True)
class Loading:
    """A model that is being loaded."""

    title: str
    stage: Stage | Literal["replica"]
    """How far it is; "replica" while a process with the model is waited for."""

    def message(self, words: Language) -> str:
        """The same as a sentence."""
        return words(f"models.{self.stage}", model=self.title)


@dataclass(frozen=True)
class ModelFacts:
    """What the page needs to know of a model before a run, which stays when the model itself is no longer loaded."""

    name: str
    """What the host's list calls it, and links do."""
    label: str
    """One line for people."""
    info: ModelInfo
    preset: Preset
    repetition_penalty: float
    has_chat_template: bool
    known: KnownModel
    decodes_together: bool
    """Whether its engine decodes the texts of several runs as rows of one batch."""
    reads_images: bool = False
    """Whether a prompt can hold an image."""

    @property
    def n_layers(self) -> int:
        """N, the number of the model's blocks."""
        return self.info.n_layers

    @property
    def usual_lanes(self) -> tuple[Lane, Lane]:
        """What the page begins with: the baseline beside DoLa-static, as recorded for the model."""
        return Baseline(), DolaStatic(layer=self.preset.layer, alpha=max(self.preset.alpha, ALPHA_MIN))

    @classmethod
    def of(cls, name: str, engine: Engine) -> "ModelFacts":
        """Those of a loaded model."""
        loaded = engine.loaded
        known = KnownModel.of(loaded.info)
        return cls(
            name,
            engine.label,
            loaded.info,
            loaded.preset,
            loaded.repetition_penalty,
            loaded.has_chat_template,
            known,
            engine.decodes_together,
            loaded.reads_images,
        )


class UnknownModelError(VisitorError):
    """A model is not on the host's list."""


class ModelPool(Protocol):
    """The models of a page. The page knows this much of them, and nothing of where they are."""

    titles: Mapping[str, str]
    """{what the list and links call a model: what people call it}, the first choice first."""

    @property
    def first(self) -> ModelFacts:
        """The facts of the first model, which must be known."""

    def facts(self, name: object) -> ModelFacts | None:
        """The facts of a model that was loaded before, or None."""

    def rows(self, name: str, asked: int | None) -> int | None:
        """How many rows of the queue a run takes that decodes so many texts, or None if it must be alone.

        `asked` is None for a run that decodes nothing together. The answer changes as models are loaded.
        """

    def run(
        self, name: str, job: Job[Update], cancelled: Asked, rows: int | None
    ) -> Generator[Waiting | Loading | Update, None, None]:
        """Yield what a job does, whose turn has come, after its model was loaded if it is not.

        Raises `UnknownModelError`, `LoadError` and what the job raises.
        """

    def release(self) -> None:
        """Free what is kept for a next run, after memory has run out."""


def nothing(engine: Engine, *, cancelled: Asked) -> Generator[Waiting | Loading, None, None]:
    """The job that only needs the model to be there."""
    yield from ()
