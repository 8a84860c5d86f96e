"""What the rest of the project knows of a lane: the layers it reads, how it scores a row, and its fields.

A further decoder is one more subclass of `Lane`. It names its `kind`, by which traces and links find it again.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, WrapValidator
from pydantic_core import PydanticCustomError
from torch import Tensor

from dola_core.lanes.decoding_config import MAX_PENALTY, MIN_PENALTY, DecodingConfig, PenaltyPosition
from dola_core.lanes.sampling import apply_repetition_penalty

_KINDS: dict[str, "type[Lane]"] = {}


class Reading(NamedTuple):
    """How the layers are read for a lane. Lanes with one reading share read-outs and the steps of a trace."""

    early_norm: bool
    """Whether early layers are read through the final norm."""
    penalty: float
    """The repetition penalty that acts on the mature logits before the contrast; 1 is none."""
    image: bool = True
    """Whether the images of the prompt are seen."""


class Lane(BaseModel):
    """One decoder with its settings. Fields that are None are as the comparison's `DecodingConfig` has them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    name: str = Field(max_length=100)
    repetition_penalty: float | None = Field(None, ge=MIN_PENALTY, le=MAX_PENALTY, allow_inf_nan=False)
    penalty_position: PenaltyPosition | None = None
    early_norm: bool | None = None
    image: bool = Field(True, exclude_if=bool)
    """Whether it sees the images of the prompt. If not, it sees grey ones of their sizes behind the same text."""

    main: ClassVar[str | None] = None
    """The field that stands first in the lane's text; see `lane_text`."""
    chooses_layer: ClassVar[bool] = False
    """Whether it chooses a layer at each step, by the layers' closeness to the last."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Make the kind known, so that a document that names it can be read."""
        _KINDS[cls.model_fields["kind"].default] = cls

    @property
    def called(self) -> str:
        """Its name, which says of a lane without the image that it is one, unless somebody has given it another."""
        is_own = self.name != type(self).model_fields["name"].default
        return self.name if self.image or is_own else f"{self.name} without the image"

    @property
    def reads(self) -> tuple[int, ...]:
        """The early layers it reads, 0 (the embeddings) to N−1; none for a plain lane."""
        return ()

    @property
    def least_share(self) -> float:
        """Tokens less probable than this share of the most probable one are never chosen; 0 where any may be."""
        return 0.0

    @property
    def settings(self) -> list[str]:
        """Its settings for people, such as "j* = 22" and "α = 0.1"; empty for a plain lane without any of its own.

        Whether it sees the image belongs to what it is `called`.
        """
        own = [] if self.repetition_penalty is None else [f"penalty {self.repetition_penalty:g}"]
        own += [] if self.penalty_position is None else [f"penalty {self.penalty_position} the contrast"]
        return own + ([] if self.early_norm is None else ["normed" if self.early_norm else "raw"])

    def fitted(self, n_layers: int, *, tied: bool) -> "Lane":
        """The same lane, for a model of `n_layers` whose head is `tied` to its embeddings or not.

        Raises `ValueError` if it names layers that the model has not.
        """
        return self

    def decoding(self, shared: DecodingConfig) -> DecodingConfig:
        """How the lane decodes in a comparison whose lanes share `shared`."""
        names = ("repetition_penalty", "penalty_position", "early_norm")
        own = {name: value for name in names if (value := getattr(self, name)) is not None}
        return shared.model_copy(update=own) if own else shared

    def reading(self, shared: DecodingConfig) -> Reading:
        """How layers are read for it in a comparison whose lanes share `shared`."""
        config = self.decoding(shared)
        before = config.penalty_position == "before" or not self.reads
        return Reading(config.early_norm, config.repetition_penalty if before else 1.0, self.image)

    def scores(self, log_q_N: Tensor, log_q: Tensor, closeness: Tensor | None) -> Tensor:
        """What it decodes from, before a penalty that comes after the contrast: `[rows, V]`.

        Args:
            log_q_N: log-probabilities of the last layer, penalised if that comes before; `[rows, V]`.
            log_q: those of the layers that it `reads`, in that order; `[L, rows, V]`.
            closeness: of these layers to the last, `[L, rows]`, if it `chooses_layer`, else None; see
                `dola_core.contrast.closeness`.
        """
        raise NotImplementedError

    def contrasted(self, closeness: Tensor) -> Tensor:
        """The layer that it contrasts with in each row, if it `chooses_layer`: `[L, rows]` → `[rows]`."""
        raise NotImplementedError


def distinct_names(lanes: Sequence[Lane]) -> list[str]:
    """The lanes' names, with their settings where another has the same name, and a number where that says no more."""
    names = [lane.called for lane in lanes]
    found: list[str] = []
    for lane, name in zip(lanes, names, strict=True):
        if names.count(name) > 1 and lane.settings:
            name = f"{name} ({' · '.join(lane.settings)})"
        same = sum(other == name or other.startswith(f"{name} #") for other in found)
        found.append(f"{name} #{same + 1}" if same else name)
    return found


def lane_kinds() -> dict[str, type[Lane]]:
    """{name: class} of all kinds of lanes."""
    return dict(_KINDS)


def lane_scores(
    lane: Lane, shared: DecodingConfig, ids: Tensor, log_q_N: Tensor, log_q: Tensor, closeness: Tensor | None = None
) -> Tensor:
    """A lane's scores, penalised if the penalty comes after its contrast; arguments and result as in `Lane.scores`.

    They are not normalised: a constant changes neither the greedy choice nor a draw, and the penalty "after" acts on
    `F` itself. `ids` `[rows, T]` are the tokens so far, as indices into the last dimension.
    """
    scores, config = lane.scores(log_q_N, log_q, closeness), lane.decoding(shared)
    after = lane.reads and config.penalty_position == "after"
    return apply_repetition_penalty(config, ids, scores) if after else scores


def _of_its_kind(value: Any, make: Any) -> Any:
    """A document's lane as an object of the kind that it names."""
    if isinstance(value, Lane):
        return value
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise PydanticCustomError(
            "lane_kind", "a lane must be of one of the kinds {kinds}", {"kinds": ", ".join(_KINDS)}
        )
    return _KINDS[kind].model_validate(value)


AnyLane = Annotated[SerializeAsAny[Lane], WrapValidator(_of_its_kind)]
"""A field that holds a lane of any kind, in JSON as in Python."""
