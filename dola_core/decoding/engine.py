"""The engine owns a loaded model and runs comparisons with it, one step at a time."""

from collections.abc import Generator, Mapping, Sequence

import torch

from dola_core.comparison import Comparison
from dola_core.contrast import check_layer
from dola_core.decoding.batch import Batch, DynamicBatch
from dola_core.decoding.beam_search import BeamProgress, BeamResult, search_beams
from dola_core.decoding.lockstep import EndRules, ForcedContinuation, StepOutput, run_lockstep
from dola_core.decoding.model_settings import MatureProcessors, check_settings, not_followed, stop_strings
from dola_core.decoding.prefix_cache import PrefixCache
from dola_core.decoding.static_batch import StaticBatch
from dola_core.errors import PromptError, UnsupportedModelError
from dola_core.lanes import DecodingConfig, Lane
from dola_core.models.loaded_model import LoadedModel, well_formed
from dola_core.models.reading.proof import context_length, reading_rules
from dola_core.models.text_ids import embedded_size
from dola_core.trace.recorder import Recorder
from dola_core.trace.schema import Trace

COMPILED_LENGTH = 1024
"""The longest text, prompt included, that is decoded compiled: every step attends to that many positions."""


class Engine:
    """Runs comparisons with one model and keeps what one of them leaves for the next.

    That is the KV cache of the last comparison (`prefix_cache`) and, if compiled, a batch of fixed size
    (`static_batch`).
    """

    def __init__(self, loaded: LoadedModel, *, compiled: bool = False) -> None:
        """Take over a loaded model.

        With `compiled`, comparisons of two lanes and up to `COMPILED_LENGTH` tokens decode in a `StaticBatch`; the
        first of them compiles it. Raises `UnsupportedModelError` for a model that cannot decode in lock step, cannot be
        compiled, or has a broken generation config.
        """
        self.loaded = loaded
        reading_rules(loaded.readout)  # proved now, and not while a first comparison runs
        check_settings(loaded.readout.model, loaded.readout.vocab_size, loaded.eos_ids)
        self.prefix_cache = PrefixCache()
        self.static_batch = self._compiled_batch() if compiled else None

    @property
    def label(self) -> str:
        """One line for people: the model's label, whether decoding is compiled, and what is not followed."""
        left_out = not_followed(self.loaded.readout.model)
        parts = [self.loaded.label, "compiled" if self.static_batch else ""]
        parts.append(f"its {', '.join(left_out)} not followed" if left_out else "")
        return " · ".join(part for part in parts if part)

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """The texts at which the model's own generation config ends a lane, besides those of a comparison."""
        return stop_strings(self.loaded.readout.model)

    def compare(
        self,
        comparison: Comparison,
        *,
        record: bool = True,
        forced: Mapping[int, ForcedContinuation] | None = None,
        reuse_prefix: bool = False,
        chunk: int | None = None,
    ) -> Generator[StepOutput, None, None]:
        """Complete the prompt in every lane; a generator of steps that may be abandoned at any point.

        Args:
            comparison: the prompt, the lanes and how they decode. `num_beams` is not looked at here; see `beam_search`.
            record: reduce every step to a `Step` of the trace. Off, only the layers that the lanes use are read.
            forced: {lane: (ids, reason to end)} for lanes that are given their text, such as the best beam's, so that
                their steps are only recorded.
            reuse_prefix: take the beginning of the prompt from the last comparison's KV cache, and keep this one's. The
                last bits of a cache depend on how it was read, so this may decide between two equal tokens.
            chunk: read the prompt so many tokens at a time, with a `StepOutput` without tokens after each, so that
                reading a long one can be abandoned. The last bits of the numbers depend on it.

        If a read-out is no longer finite, all lanes end at that step as "broken", without a token.

        Raises:
            PromptError: the prompt is empty, leaves no room in the model's context, or holds an id that it has not.
            ValueError: a lane's layer is not one of the model's, or a forced continuation is empty.
        """
        limit = self.check(comparison)
        forced = dict(forced or {})
        if not all(ids for ids, _ in forced.values()):
            raise ValueError("A forced continuation must hold at least one token.")
        eos_ids, stop = self.loaded.eos_ids, (*comparison.config.stop, *self.stop_strings)
        rules = EndRules(limit, frozenset(eos_ids), stop, self.loaded.text)
        model, config, ids = self.loaded.readout.model, comparison.config, list(comparison.prompt_ids)
        batch = self._batch(comparison, limit, record=record, reuse_prefix=reuse_prefix)
        return run_lockstep(
            batch,
            ids,
            comparison.lanes,
            config,
            rules,
            MatureProcessors(model, config, ids, limit, eos_ids),
            record=record,
            forced=forced,
            chunk=chunk,
        )

    def beam_search(self, comparison: Comparison) -> Generator[BeamProgress | BeamResult, None, None]:
        """Search every lane with `config.num_beams` beams; a generator that may be abandoned at any point.

        Raises `PromptError` and `ValueError` as `compare` does, and `UnsupportedModelError` for a model whose own
        generation config makes another search of it.
        """
        limit, loaded = self.check(comparison), self.loaded
        rules = EndRules(limit, frozenset(loaded.eos_ids), (*comparison.config.stop, *self.stop_strings), loaded.text)
        return search_beams(loaded.readout, comparison, rules, getattr(loaded, "tokenizer", None))

    def check(self, comparison: Comparison) -> int:
        """How many tokens the lanes may write: what is asked for, or what the model's context leaves.

        Raises `PromptError` for a prompt that is empty, fills the context or holds an id that the model has no
        embedding for, `ValueError` for a layer out of range.
        """
        readout, length = self.loaded.readout, len(comparison.prompt_ids)
        if not length:
            raise PromptError("empty")
        size = embedded_size(readout.model, readout.vocab_size)
        if unknown := [str(token) for token in dict.fromkeys(comparison.prompt_ids) if not 0 <= token < size]:
            raise PromptError("vocabulary", texts=", ".join(unknown[:5]))
        for lane in comparison.lanes:
            if lane.layer is not None:
                check_layer(lane.layer, readout.n_layers)
        context = context_length(readout)
        if context is None:
            return comparison.config.max_new_tokens
        if length >= context:
            raise PromptError("tokens", length, context)
        return min(comparison.config.max_new_tokens, context - length)

    def release(self) -> None:
        """Free the prefix cache, and what a GPU's allocator holds for later."""
        self.prefix_cache.forget()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def _batch(self, comparison: Comparison, limit: int, *, record: bool, reuse_prefix: bool) -> Batch:
        readout, early_norm = self.loaded.readout, comparison.config.early_norm
        own = [lane.layer for lane in comparison.lanes]
        layers = set(range(1, readout.n_layers)) if record else {layer for layer in own if layer}
        length = len(comparison.prompt_ids) + limit
        static = self.static_batch
        if static is not None and static.suits(layers, len(own), length, early_norm=early_norm):
            return static
        prefix_cache = self.prefix_cache if reuse_prefix else None
        return DynamicBatch(readout, own, all_layers=record, early_norm=early_norm, prefix_cache=prefix_cache)

    def _compiled_batch(self) -> StaticBatch:
        readout = self.loaded.readout
        if len(set(getattr(self.loaded.model, "hf_device_map", {}).values())) > 1:
            raise UnsupportedModelError(
                "A model that is spread over several devices cannot be compiled; start without --compile."
            )
        length = min(COMPILED_LENGTH, context_length(readout) or COMPILED_LENGTH)
        return StaticBatch(readout, range(1, readout.n_layers), lanes=2, length=length)


def compare(
    loaded: LoadedModel, prompt: str, lanes: Sequence[Lane], config: DecodingConfig | None = None, *, chat: bool = False
) -> Trace:
    """Complete `prompt` in every lane, in lock step, and return everything recorded.

    The short form of `Engine.compare`, which yields the steps while they are decoded.

    Args:
        loaded: what `load_model` returns.
        prompt: the text to complete, or with `chat` the user's turn of the model's chat template.
        lanes: the decoders, such as `[Lane(name="baseline"), Lane(name="dola", layer=22, alpha=0.1)]`.
        config: how all of them decode; None decodes greedily, at most 48 tokens, with the model's own repetition
            penalty. What else its generation config forbids or forces holds in any case.

    Raises:
        PromptError: the prompt is blank, too long or cannot be read, or there is no chat template or it fails.
        ValueError: a lane's layer is not one of the model's.
    """
    ids = loaded.encode(prompt, chat=chat)
    config = config or DecodingConfig(repetition_penalty=loaded.repetition_penalty)
    comparison = Comparison(well_formed(prompt), tuple(ids), tuple(lanes), config)
    recorder = Recorder(comparison, loaded.info)
    for output in Engine(loaded).compare(comparison):
        recorder.add(output.tokens, output.ends, output.steps)
    return recorder.trace(loaded.piece, loaded.text)
