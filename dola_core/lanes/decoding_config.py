"""How a lane decodes from its scores: sampling, beams, penalty, length."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

PenaltyPosition = Literal["before", "after"]
"""Where a repetition penalty acts: on the mature logits before the contrast, or on `F` after it."""
MAX_SEED = 2**32 - 1
MIN_TEMPERATURE = 1e-6
"""Below, a draw differs from the greedy choice only where scores are equal but for rounding, and what is divided by
less and less overflows in the end."""
MIN_PENALTY, MAX_PENALTY = 0.1, 10.0


class DecodingConfig(BaseModel):
    """How the lanes of a comparison decode. A lane may have a penalty and a norm of its own; all else is the same for
    each, so that only the contrast differs.

    Sampling, beams, penalty and length are as said here, whatever the model's own `generation_config` starts with. What
    that forbids or forces, such as tokens to suppress, holds in every lane.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_new_tokens: int = Field(48, ge=1, le=4096)
    early_norm: bool = True
    penalty_position: PenaltyPosition = "before"
    repetition_penalty: float = Field(1.0, ge=MIN_PENALTY, le=MAX_PENALTY, allow_inf_nan=False)
    """1 is none, also for a model whose own generation config brings one."""
    temperature: float = Field(0.0, ge=0.0, le=10.0, allow_inf_nan=False)
    """0 decodes greedily, and so does what is below `MIN_TEMPERATURE`, which becomes 0."""
    top_k: int = Field(0, ge=0)
    """0 keeps every token."""
    top_p: float = Field(1.0, gt=0.0, le=1.0, allow_inf_nan=False)
    min_p: float = Field(0.0, ge=0.0, le=1.0, allow_inf_nan=False)
    """Keeps tokens at least this times as probable as the most probable one; 0 keeps every token."""
    num_beams: int = Field(1, ge=1, le=16)
    seed: int = Field(0, ge=0, le=MAX_SEED)
    stop: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], FailFast(), Field(max_length=8)
    ] = ()
    """A lane ends when its new text contains one of these."""

    @field_validator("temperature")
    @classmethod
    def _greedy_where_draws_could_not_differ(cls, temperature: float) -> float:
        return temperature if temperature >= MIN_TEMPERATURE else 0.0

    @model_validator(mode="after")
    def _beams_do_not_sample(self) -> "DecodingConfig":
        if self.num_beams > 1 and self.samples:
            # A type of its own, so that a page can say it in another language.
            raise PydanticCustomError(
                "beams_sample", "Beam search does not sample; set temperature to 0 or use one beam."
            )
        return self

    @property
    def samples(self) -> bool:
        """Whether tokens are drawn rather than the best one taken."""
        return self.temperature > 0
