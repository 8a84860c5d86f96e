"""Which model made a trace or a search result."""

from pydantic import BaseModel, ConfigDict, Field


class ModelInfo(BaseModel):
    """What identifies a model in the project's files: its name and revision, its dtype and its shape."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(max_length=300)
    revision: str | None = Field(None, max_length=300)
    """The Hub's commit hash, if the model came from there."""
    dtype: str = Field(max_length=30)
    n_layers: int = Field(ge=2, le=256)
    vocab_size: int = Field(ge=2, le=10_000_000)
