"""What a model's own `generation_config` brings to decoding, in lock step as in `generate`.

What it forbids, forces or penalises holds. How it samples or searches, and for how long, is said by the
`DecodingConfig` alone; so is the repetition penalty, which starts with the model's own.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    EncoderNoRepeatNGramLogitsProcessor,
    EncoderRepetitionPenaltyLogitsProcessor,
    ExponentialDecayLengthPenalty,
    ForcedBOSTokenLogitsProcessor,
    ForcedEOSTokenLogitsProcessor,
    GenerationConfig,
    InfNanRemoveLogitsProcessor,
    LogitsProcessorList,
    MinLengthLogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    PreTrainedModel,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
)

from dola_core.errors import UnsupportedModelError

NOT_FOLLOWED = ("guidance_scale", "token_healing", "watermarking_config", "constraints", "force_words_ids")
"""Settings that change what plain `generate` writes and that lock step leaves out."""


def not_followed(model: PreTrainedModel) -> tuple[str, ...]:
    """Those of `NOT_FOLLOWED` that the model's generation config asks for."""
    config = model.generation_config
    off = {"guidance_scale": (None, 1, 1.0)}
    names = [name for name in NOT_FOLLOWED if getattr(config, name, None) not in off.get(name, (None, False))]
    # Janus guides only the images that it draws.
    return tuple(name for name in names if not (name == "guidance_scale" and model.config.model_type == "janus"))


def stop_strings(model: PreTrainedModel) -> tuple[str, ...]:
    """The texts at which the model's generation config ends a text."""
    named = getattr(model.generation_config, "stop_strings", None) or ()
    return (named,) if isinstance(named, str) else tuple(named)


class MatureProcessors:
    """What acts on the mature logits of one comparison: ids `[rows, T]`, logits `[rows, V]` → `[rows, V]`.

    The processors that `generate` makes of the model's generation config, in its order, with a lane's repetition
    penalty in place of the model's own.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        prompt_ids: Sequence[int],
        limit: int,
        eos_ids: Iterable[int],
    ) -> None:
        """For texts that go on from `prompt_ids` by at most `limit` tokens and end at `eos_ids`."""
        self.own: GenerationConfig = model.generation_config or GenerationConfig()
        self.prompt_ids, self.limit, self.eos_ids = list(prompt_ids), limit, list(eos_ids)
        self._made: dict[float, LogitsProcessorList] = {}

    @property
    def mend_values(self) -> bool:
        """Whether logits that are not finite are replaced, as the model's `remove_invalid_values` asks for."""
        return self.own.remove_invalid_values is True

    def __call__(self, ids: Tensor, logits: Tensor, penalty: float = 1.0) -> Tensor:
        """Apply them, with a repetition penalty."""
        # Made at the first step: which device the logits are on is known by then.
        if penalty not in self._made:
            self._made[penalty] = self._processors(penalty, logits.device)
        processors: Any = self._made[penalty]
        return processors(ids, logits)

    def _processors(self, penalty: float, device: torch.device) -> LogitsProcessorList:
        """The order is that of `GenerationMixin._get_logits_processor`, which is private."""
        own, start = self.own, len(self.prompt_ids)
        prompt: Any = torch.tensor([self.prompt_ids], device=device)
        eos = torch.tensor(self.eos_ids, device=device) if self.eos_ids else None
        found = LogitsProcessorList()
        if own.sequence_bias is not None:
            found.append(SequenceBiasLogitsProcessor(own.sequence_bias))
        if own.encoder_repetition_penalty not in (None, 1.0):
            found.append(EncoderRepetitionPenaltyLogitsProcessor(own.encoder_repetition_penalty, prompt))
        if penalty != 1.0:
            found.append(RepetitionPenaltyLogitsProcessor(penalty))
        if own.no_repeat_ngram_size:
            found.append(NoRepeatNGramLogitsProcessor(own.no_repeat_ngram_size))
        if own.encoder_no_repeat_ngram_size:
            found.append(EncoderNoRepeatNGramLogitsProcessor(own.encoder_no_repeat_ngram_size, prompt))
        if own.bad_words_ids is not None:
            found.append(NoBadWordsLogitsProcessor(own.bad_words_ids, eos))
        if eos is not None and own.min_length:
            found.append(MinLengthLogitsProcessor(own.min_length, eos, device=str(device)))
        if eos is not None and own.min_new_tokens:
            found.append(MinNewTokensLengthLogitsProcessor(start, own.min_new_tokens, eos, device=str(device)))
        if own.forced_bos_token_id is not None:
            found.append(ForcedBOSTokenLogitsProcessor(own.forced_bos_token_id))
        if own.forced_eos_token_id is not None:
            last = start + self.limit
            found.append(ForcedEOSTokenLogitsProcessor(last, own.forced_eos_token_id, device=str(device)))
        if self.mend_values:
            found.append(InfNanRemoveLogitsProcessor())
        if eos is not None and own.exponential_decay_length_penalty is not None:
            found.append(ExponentialDecayLengthPenalty(own.exponential_decay_length_penalty, eos, start))
        if own.suppress_tokens is not None:
            found.append(SuppressTokensLogitsProcessor(own.suppress_tokens, device=str(device)))
        if own.begin_suppress_tokens is not None:
            begin = start if start > 1 or own.forced_bos_token_id is None else start + 1
            found.append(SuppressTokensAtBeginLogitsProcessor(own.begin_suppress_tokens, begin, device=str(device)))
        return found


def check_settings(model: PreTrainedModel, vocab_size: int, eos_ids: Iterable[int]) -> None:
    """Try the model's generation config on one step, so that a broken one is refused before a text is begun.

    Raises `UnsupportedModelError` with what `transformers` says of it.
    """
    processors = MatureProcessors(model, [0], 1, eos_ids)
    try:
        processors(torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, vocab_size))
    except Exception as error:  # each setting is checked by code of its own
        said = " ".join(str(error).split()).removesuffix(".")
        raise UnsupportedModelError(
            f"The model's generation_config cannot be followed ({said}); mend or remove that entry of it."
        ) from error
