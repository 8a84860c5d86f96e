"""Which model made a trace or a search result."""

from pydantic import BaseModel, ConfigDict, Field

IDENTITY_PATTERN = r"^[0-9a-f]{24}-[0-9a-f]{16}$"
"""Two hashes, of the weights and of what turns text into ids."""


class ModelInfo(BaseModel):
    """What identifies a model in the project's files: its name and revision, its dtype and its shape."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(max_length=300)
    revision: str | None = Field(None, max_length=300)
    """The Hub's commit hash, if the model came from there."""
    dtype: str = Field(max_length=30)
    n_layers: int = Field(ge=2, le=256)
    vocab_size: int = Field(ge=2, le=10_000_000)
    identity: str | None = Field(None, pattern=IDENTITY_PATTERN)
    """Hash of weights, tokenizer and chat template; None in files of earlier versions. See `model_identity`."""

    tied: bool | None = Field(None, exclude_if=lambda tied: tied is None)
    """Whether the head has the weights of the embeddings; None in files of earlier versions."""

    def is_same_model(self, other: "ModelInfo") -> bool:
        """Whether both are one model: by their identities, or if one has none, by name and shape.

        The dtype does not count.
        """
        if self.identity and other.identity:
            return self.identity == other.identity
        shape = self.name, self.n_layers, self.vocab_size
        return shape == (other.name, other.n_layers, other.vocab_size)
