"""What a comparison is asked for, as one value that everything which runs or records it takes."""

from dataclasses import dataclass

from dola_core.lanes import DecodingConfig, Lane


@dataclass(frozen=True)
class Comparison:
    """One prompt, the lanes that complete it, and how all of them decode."""

    prompt: str
    """The prompt as the user typed it, for the trace. Decoding reads `prompt_ids` alone."""
    prompt_ids: tuple[int, ...]
    """The prompt as tokenised, with BOS or chat template."""
    lanes: tuple[Lane, ...]
    """Their names need not be unique."""
    config: DecodingConfig

    def __post_init__(self) -> None:
        if not self.lanes:
            raise ValueError("A comparison needs at least one lane.")
