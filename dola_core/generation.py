"""Any lane for any call of `model.generate`: stock `generate` plus one logits processor.

`generate` prepares inputs, cache, beams, stopping and sampling as it always does. The processor replaces the
next-token scores by the lane's log-probabilities at the place where `transformers` runs user processors: after the
built-in processors (repetition penalty, bad words, minimum length, …) and before the warpers (temperature, top-k, …).
"""

import copy
import weakref
from typing import Any, cast

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    GenerationMixin,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    RepetitionPenaltyLogitsProcessor,
)
from transformers.generation import GenerationMode
from transformers.utils import ModelOutput

from dola_core.contrast import check_alpha, check_layer
from dola_core.errors import UnsupportedModelError
from dola_core.lanes import MIN_TEMPERATURE, DolaStatic, Lane, PenaltyPosition
from dola_core.logits_processors import ContrastProcessor, ReadLastLayer, RowwisePenalty, TakeStates
from dola_core.models.preset import Preset
from dola_core.models.reading.parts import close, model_name, probe_ids
from dola_core.models.reading.readout import Readout

SUPPORTED_MODES = {
    GenerationMode.GREEDY_SEARCH,
    GenerationMode.SAMPLE,
    GenerationMode.BEAM_SEARCH,
    GenerationMode.BEAM_SAMPLE,
}


def generate_with_dola_static(
    model: PreTrainedModel,
    inputs: Tensor | None = None,
    *,
    layer: int | None = None,
    alpha: float | None = None,
    use_dola_lm_static: bool = True,
    early_norm: bool | None = None,
    penalty_position: PenaltyPosition = "before",
    **generate_kwargs: Any,
) -> Tensor | ModelOutput:
    """Run `model.generate(inputs, **generate_kwargs)` with the final layer contrasted with one fixed layer.

    Args:
        model: a decoder-only causal LM of `transformers`, or `JanusForConditionalGeneration` in its text mode.
        inputs: prompt ids `[batch, T]`, padded on the left; everything else that `generate` takes as keywords.
        layer: contrast layer j*, 1..N−1; None takes the one recorded with the model, else `default_layer(N)`.
        alpha: plausibility threshold in [0, 1], 0.05–0.2 is usual; None takes the recorded one, else 0.1.
        use_dola_lm_static: False calls `model.generate` itself, without the contrast.
        early_norm: read layer j* through the final norm; False reads it raw, as the authors' code and the DoLa that
            was once built into `transformers` did. These are different decoders. None takes the recorded one, else
            True.
        penalty_position: apply `repetition_penalty` "before" the contrast, to the mature logits, where plain
            decoding has it, or "after" it, to `F`, as the former built-in DoLa did.
        **generate_kwargs: passed to `generate`.

    Returns:
        What `model.generate` returns. `scores` hold `log p_hat` (normalised; −∞ outside the plausible head), `logits`
        the model's own.

    Raises:
        ValueError: `layer`, `alpha` or `penalty_position` is out of range, or the decoding mode cannot be contrasted
            (assisted, prompt lookup, continuous batching, classifier-free guidance, modes loaded from the Hub).
        UnsupportedModelError: the model's layers cannot be read.
        RuntimeError: `generate` never used the contrast.
    """
    if not use_dola_lm_static:
        return cast(Any, model).generate(inputs, **generate_kwargs)
    if penalty_position not in ("before", "after"):
        raise ValueError(f'penalty_position must be "before" or "after"; got {penalty_position!r}.')
    readout = Readout.of(model)
    if layer is None or alpha is None or early_norm is None:
        preset = Preset.of(model, readout.n_layers)
        layer, alpha = preset.layer if layer is None else layer, preset.alpha if alpha is None else alpha
        early_norm = preset.early_norm if early_norm is None else early_norm
    lane = DolaStatic(
        layer=check_layer(layer, readout.n_layers),
        alpha=check_alpha(alpha),
        early_norm=early_norm,
        penalty_position=penalty_position,
    )
    return generate_with_dola(model, inputs, lane=lane, **generate_kwargs)


def generate_with_dola(
    model: PreTrainedModel, inputs: Tensor | None = None, *, lane: Lane, **generate_kwargs: Any
) -> Tensor | ModelOutput:
    """Run `model.generate(inputs, **generate_kwargs)` with the scores of a lane.

    Args:
        model: as in `generate_with_dola_static`.
        inputs: prompt ids `[batch, T]`, padded on the left; everything else that `generate` takes as keywords.
        lane: the decoder, such as `DolaDynamic(bucket="high")`. Every row, and every beam, is contrasted on its own.
            Where the lane leaves them open, early layers are read through the final norm, and the penalty is that of
            `generate` and comes before the contrast.
        **generate_kwargs: passed to `generate`.

    Returns:
        What `model.generate` returns. `scores` hold the lane's log-probabilities, `logits` the model's own.

    Raises:
        ValueError: the lane reads layers that the model has not, or the decoding mode cannot be contrasted.
        UnsupportedModelError: the model's layers cannot be read.
        RuntimeError: `generate` never used the contrast.
    """
    readout = Readout.of(model)
    lane = lane.fitted(readout.n_layers, tied=readout.is_tied)
    if lane.repetition_penalty is not None:
        _override(generate_kwargs, repetition_penalty=lane.repetition_penalty)
    if not lane.reads:
        return cast(Any, model).generate(inputs, **generate_kwargs)
    config = _decoding_config(model, generate_kwargs)
    processors = list(generate_kwargs.pop("logits_processor", None) or [])

    after: list[LogitsProcessor] = []
    if lane.penalty_position == "after":
        after = [p for p in processors if isinstance(p, RepetitionPenaltyLogitsProcessor)]
        processors = [p for p in processors if p not in after]
        if not after and config.repetition_penalty not in (None, 1.0):
            padding = _padding_lengths(config, inputs, generate_kwargs)
            after = [RowwisePenalty(config.repetition_penalty, padding)]
        _override(generate_kwargs, repetition_penalty=1.0)
    early_norm = lane.early_norm is not False

    def early(x: Tensor) -> Tensor | None:
        states = [captured.get(layer) for layer in lane.reads]
        known = [h.to(x.device) for h in states if h is not None and len(h) == len(x)]
        if len(known) < len(states):
            return None
        h = torch.cat(known)
        return readout.norm(h) if early_norm else readout.raw(h)

    _prove(readout)
    with readout.capture(lane.reads) as captured, readout.beside_head(early) as product:
        contrast = ContrastProcessor(readout, lane, captured, product, early_norm=early_norm, after=after)
        take = TakeStates(contrast)
        generate_kwargs["logits_processor"] = LogitsProcessorList([take, *processors, contrast])
        output = _generate(model, inputs, generate_kwargs)
    if not contrast.calls:
        raise RuntimeError(f"{type(model).__name__}.generate never called the contrast: it drops logits processors.")
    return output


_PROVED: weakref.WeakSet[PreTrainedModel] = weakref.WeakSet()


@torch.no_grad()
def _prove(readout: Readout) -> None:
    """Prove, once for each model object, that the passes of `generate` are read as they are.

    A pass on a cache may take another way through the model than the passes that `Readout.of` has tried. So the last
    layer is read in three steps of two rows, and must give the logits that `generate` had.

    Raises `UnsupportedModelError` if it does not.
    """
    model, last = readout.model, readout.n_layers
    if model in _PROVED:
        return
    ids = probe_ids(model, rows=2, length=4)
    settings = GenerationConfig(max_new_tokens=3, do_sample=False, num_beams=1, num_return_sequences=1)
    settings.update(output_logits=True, return_dict_in_generate=True, pad_token_id=0)
    with readout.capture([last]) as captured, readout.beside_head(lambda x: readout.norm(captured[last])) as product:
        watch = ReadLastLayer(readout, captured, product)
        output = _generate(
            model,
            ids,
            {
                "generation_config": settings,
                "attention_mask": torch.ones_like(ids),
                "logits_processor": LogitsProcessorList([watch]),
            },
        )
    if not watch.read:
        return  # it drops logits processors, which the caller is told by an error of its own
    own = cast(Any, output).logits
    if len(watch.read) != len(own) or not all(
        early is not None and close(early, logits) and close(readout.logits(h), logits)
        for (early, h), logits in zip(watch.read, own, strict=True)
    ):
        raise UnsupportedModelError(
            f"{model_name(model)} cannot be contrasted in `generate`: its passes on a cache are not those of its "
            "blocks, its norm and its head."
        )
    _PROVED.add(model)


def _decoding_config(model: PreTrainedModel, kwargs: dict[str, Any]) -> GenerationConfig:
    """The settings `generate` will use, with those refused that the contrast cannot follow."""
    config = copy.deepcopy(kwargs.get("generation_config")) or GenerationConfig()
    config.update(**model.generation_config.to_dict(), defaults_only=True)
    config.update(**kwargs)
    assisted = kwargs.get("assistant_model") is not None or config.use_mtp
    if assisted or config.prompt_lookup_num_tokens is not None or config.assistant_early_exit is not None:
        raise ValueError(
            "DoLa cannot be combined with assisted or prompt-lookup decoding, which check drafted tokens at "
            "several positions at once; drop the assistant arguments."
        )
    if config.cache_implementation == "paged":
        raise ValueError("DoLa cannot run with continuous batching (cache_implementation='paged'); use another cache.")
    if isinstance(kwargs.get("custom_generate"), str):
        raise ValueError("DoLa does not run generation code from the Hub; drop custom_generate.")
    if config.guidance_scale not in (None, 1, 1.0) and model.config.model_type != "janus":
        raise ValueError("DoLa cannot be combined with classifier-free guidance; drop guidance_scale.")
    if config.do_sample and config.temperature is not None and 0 < config.temperature < MIN_TEMPERATURE:
        raise ValueError(
            f"temperature must be at least {MIN_TEMPERATURE:.6f}, or scores overflow; drop do_sample to be greedy."
        )
    mode = config.get_generation_mode()
    if mode not in SUPPORTED_MODES:
        raise ValueError(f"DoLa works with greedy search, sampling and beam search, not with {mode.value}.")
    return config


def _generate(model: PreTrainedModel, inputs: Tensor | None, kwargs: dict[str, Any]) -> Tensor | ModelOutput:
    """`model.generate`; for Janus's text mode the inherited one, since Janus's own drops logits processors."""
    if model.config.model_type != "janus":
        return cast(Any, model).generate(inputs, **kwargs)
    if kwargs.pop("generation_mode", "text") != "text":
        raise UnsupportedModelError("DoLa contrasts Janus's text head; images have a head of their own.")
    _override(kwargs, guidance_scale=1.0)
    return GenerationMixin.generate(cast(Any, model), inputs, **kwargs)


def _override(kwargs: dict[str, Any], **settings: Any) -> None:
    """Override settings in a copy of the caller's `GenerationConfig`, or else as keywords."""
    if kwargs.get("generation_config") is not None:
        kwargs["generation_config"] = copy.deepcopy(kwargs["generation_config"])
        kwargs["generation_config"].update(**settings)
        for name in settings.keys() & kwargs.keys():
            kwargs[name] = settings[name]
    else:
        kwargs.update(settings)


def _padding_lengths(config: GenerationConfig, inputs: Tensor | None, kwargs: dict[str, Any]) -> Tensor | None:
    """Length of each prompt's left padding `[batch]`, from the mask or, as `generate` infers it, from the pad token."""
    ids = kwargs.get("input_ids") if inputs is None else inputs
    if ids is None:
        return None
    mask = kwargs.get("attention_mask")
    if mask is None:
        eos = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
        if config.pad_token_id is None or config.pad_token_id in eos:
            return None
        mask = ids != config.pad_token_id
    return (mask != 0).int().argmax(1).to(torch.long)
