"""The lengths at which a model begins to read by another rule, such as those beyond its attention window."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig

WINDOWS = ("sliding_window", "attention_window_size", "attention_chunk_size", "window_size", "index_topk")
"""Fields of configs that hold a number of tokens beyond which attention does not see all that came before."""
LONG_TYPES = ("dynamic", "longrope")
"""Rotary embeddings that turn all positions in another way once a text is longer than the model was first trained for.
What a cache holds from before has been turned in the former way."""


@dataclass(frozen=True)
class TurningPoints:
    """Lengths of texts, in tokens, beyond which something changes."""

    windows: frozenset[int]
    """Beyond these, a layer attends to a part of the text."""
    rope: frozenset[int]
    """Beyond these, positions are embedded in another way."""
    remembered: frozenset[int]
    """Those of `rope` where the model keeps the way of the longest text it has read, so that one disturbs others."""

    @property
    def points(self) -> list[int]:
        """All of them, in ascending order."""
        return sorted(self.windows | self.rope)

    @classmethod
    def of(cls, config: PreTrainedConfig) -> "TurningPoints":
        """What a model's config says."""
        text = config.get_text_config(decoder=True)
        fields = text.to_dict()
        windows = {fields[name] for name in WINDOWS if isinstance(fields.get(name), int) and fields[name] > 0}
        rope: set[int] = set()
        remembered: set[int] = set()
        for parameters in _rope_parameters(fields.get("rope_parameters")):
            kind = str(parameters.get("rope_type", ""))
            if any(name in kind for name in LONG_TYPES):
                length = parameters.get("original_max_position_embeddings")
                length = length or fields.get("original_max_position_embeddings") or fields["max_position_embeddings"]
                rope.add(int(length))
                if "dynamic" in kind:
                    remembered.add(int(length))
        return cls(frozenset(windows), frozenset(rope), frozenset(remembered))


def _rope_parameters(parameters: Any) -> Iterator[dict[str, Any]]:
    """The parameters of each kind of layer; a config holds one dictionary, or one for each kind."""
    if not isinstance(parameters, dict):
        return
    if "rope_type" in parameters:
        yield parameters
    for value in parameters.values():
        if isinstance(value, dict) and "rope_type" in value:
            yield value
