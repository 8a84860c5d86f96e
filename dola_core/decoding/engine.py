"""The engine owns a loaded model and runs comparisons with it, one step at a time."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import torch

from dola_core.comparison import ChatTurn, Comparison, Prompt
from dola_core.decoding.batch import Batch, DynamicBatch, EarlyReadout
from dola_core.decoding.beam_search import BeamProgress, BeamResult, search_beams
from dola_core.decoding.compiled.static_batch import StaticBatch
from dola_core.decoding.compiled.static_step import StaticStep
from dola_core.decoding.late_record import ReadLater
from dola_core.decoding.lockstep import EndRules, ForcedContinuation, StepOutput, lockstep, run_lockstep
from dola_core.decoding.model_settings import MatureProcessors, check_settings, not_followed, stop_strings
from dola_core.decoding.prefix_cache import PrefixCache
from dola_core.decoding.processor_threads import give_up_processor_threads
from dola_core.decoding.scheduler import SCHEDULER
from dola_core.decoding.shared_batch import SharedBatch
from dola_core.decoding.step_chooser import early_readouts
from dola_core.errors import PromptError, UnsupportedModelError
from dola_core.lanes import DecodingConfig, Lane
from dola_core.models.loaded_model import LoadedModel, well_formed
from dola_core.models.reading.image_inputs import ImageInputs
from dola_core.models.reading.proof import context_length, reading_rules
from dola_core.models.text_ids import embedded_size
from dola_core.trace.recorder import Recorder
from dola_core.trace.schema import Trace, recorded_readings

COMPILED_LENGTH, COMPILED_LENGTH_ON_CPU = 1024, 256
"""The longest text, prompt included, that is decoded compiled: every step attends to that many positions, which on a
CPU takes longer than what reordered weights save."""


class Engine:
    """Runs comparisons with one model and keeps what one of them leaves for the next.

    That is the KV cache of the last comparison (`prefix_cache`) and, if compiled, a step of fixed size
    (`static_step`).
    """

    def __init__(self, loaded: LoadedModel, *, compiled: bool = False) -> None:
        """Take over a loaded model.

        With `compiled`, short comparisons of up to two lanes decode by a `StaticStep`, which is
        compiled now; that takes a minute or more. Raises `UnsupportedModelError` for a model that cannot decode in lock
        step, cannot be compiled, or has a broken generation config.
        """
        self.loaded = loaded
        reading_rules(loaded.readout)  # proved now, and not while a first comparison runs
        check_settings(loaded.readout.model, loaded.readout.vocab_size, loaded.eos_ids)
        self.prefix_cache = PrefixCache()
        self._shared_batch, self.scheduler = SharedBatch(), SCHEDULER
        self.static_step = self._compiled_step() if compiled else None
        give_up_processor_threads()  # for where it was loaded, nobody may decode

    @property
    def label(self) -> str:
        """One line for people: the model's label, whether decoding is compiled, and what is not followed."""
        left_out = not_followed(self.loaded.readout.model)
        parts = [self.loaded.label, "compiled" if self.static_step else ""]
        parts.append(f"its {', '.join(left_out)} not followed" if left_out else "")
        return " · ".join(part for part in parts if part)

    @property
    def decodes_together(self) -> bool:
        """Whether comparisons of several callers can be decoded in one batch; not if compiled, with fixed rows."""
        return self.static_step is None and reading_rules(self.loaded.readout).padded

    @property
    def running(self) -> int:
        """How many comparisons are under way together."""
        return self.scheduler.count(self._shared_batch)

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
        keep_prefix: bool = False,
        chunk: int | None = None,
        together: bool = False,
        text_first: bool = False,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Generator[StepOutput, None, None]:
        """Complete the prompt in every lane; a generator of steps that may be abandoned at any point.

        Args:
            comparison: the prompt, the lanes and how they decode. `num_beams` is not looked at here; see `beam_search`.
            record: reduce every step to a `Step` of the trace. Off, only the layers that the lanes use are read.
            forced: {lane: (ids, reason to end)} for lanes that are given their text, such as the best beam's, so that
                their steps are only recorded.
            reuse_prefix: take the beginning of the prompt from the last comparison's KV cache, and keep this one's. The
                last bits of a cache depend on how it was read, so this may decide between two equal tokens.
            keep_prefix: keep this comparison's KV cache for the next one, but take nothing from the last.
            chunk: read the prompt so many tokens at a time, with a `StepOutput` without tokens after each, so that
                reading a long one can be abandoned. The last bits of the numbers depend on it.
            together: decode it in one forward pass with all other comparisons that are under way together, in a thread
                of the process, if the engine `decodes_together`. The last bits of the numbers depend on the others.
            text_first: let the text go on at the pace of one that is not recorded. Its steps are recorded when it has
                ended, in further outputs without tokens, or meanwhile if there are many. Other layers than those that
                lanes chose by are then read in another product: in bfloat16 their log-probabilities differ by what the
                rounding of the head's product does. Ignored in float16, which can overflow.
            stopped: asked after each step and each chunk of the prompt, perhaps in another thread. Once it is true, no
                further one is read and what is left is recorded.

        If a read-out is no longer finite, all lanes end at that step as "broken", without a token.

        Raises:
            PromptError: the prompt is empty, leaves no room in the model's context, or holds an id that it has not.
            ValueError: a lane reads a layer that the model has not, or a forced continuation is empty.
        """
        comparison = self.fitted(comparison)
        limit = self.check(comparison)
        forced = dict(forced or {})
        if not all(ids for ids, _ in forced.values()):
            raise ValueError("A forced continuation must hold at least one token.")
        eos_ids, stop = self.loaded.eos_ids, (*comparison.config.stop, *self.stop_strings)
        rules = EndRules(limit, frozenset(eos_ids), stop, self.loaded.text)
        model, config, ids = self.loaded.readout.model, comparison.config, list(comparison.prompt_ids)
        later = self._read_later(comparison) if record and text_first else None
        batch = self._batch(
            comparison, limit, record=record, later=later, reuse_prefix=reuse_prefix, keep_prefix=keep_prefix
        )
        pace = lockstep(
            batch,
            self.loaded.readout.n_layers,
            ids,
            comparison.lanes,
            config,
            rules,
            MatureProcessors(model, ids, limit, eos_ids),
            record=record,
            forced=forced,
            chunk=chunk,
            later=later,
            stopped=stopped,
        )
        if together and self.decodes_together and isinstance(batch, DynamicBatch):
            return self.scheduler.run(pace, batch, self._shared_batch, len(ids), chunk)
        return run_lockstep(pace, batch)

    def run(self, comparison: Comparison) -> Trace:
        """Complete the prompt in every lane to the end, and return everything recorded; raises as `compare` does."""
        comparison = self.fitted(comparison)
        recorder = Recorder(comparison, self.loaded.info)
        for output in self.compare(comparison):
            recorder.add(output.tokens, output.ends, output.steps)
        return recorder.trace(self.loaded.piece, self.loaded.text)

    def beam_search(self, comparison: Comparison) -> Generator[BeamProgress | BeamResult, None, None]:
        """Search every lane with `config.num_beams` beams; a generator that may be abandoned at any point.

        Raises `PromptError` and `ValueError` as `compare` does, and `UnsupportedModelError` for a model whose own
        generation config makes another search of it.
        """
        comparison = self.fitted(comparison)
        limit, loaded = self.check(comparison), self.loaded
        rules = EndRules(limit, frozenset(loaded.eos_ids), (*comparison.config.stop, *self.stop_strings), loaded.text)
        return search_beams(loaded.readout, comparison, rules, getattr(loaded, "tokenizer", None))

    def fitted(self, comparison: Comparison) -> Comparison:
        """The comparison with its lanes fitted to the model, as a trace records them.

        Raises `PromptError` for a lane without the image where there is none, `ValueError` for one that reads layers
        which the model has not.
        """
        readout = self.loaded.readout
        tied = readout.is_tied
        lanes = tuple(lane.fitted(readout.n_layers, tied=tied) for lane in comparison.lanes)
        shown = comparison.images
        if (shown is None or shown.blank is None) and not all(lane.image for lane in lanes):
            raise PromptError("image_missing")
        return replace(comparison, lanes=lanes)

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
        self.fitted(comparison)
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

    def _read_later(self, comparison: Comparison) -> ReadLater | None:
        """What reads the layers of a step after its text; None if its numbers might not be finite then."""
        readout = self.loaded.readout
        if readout.model.dtype is torch.float16:
            return None
        early = _recorded_readouts(readout.n_layers, comparison.lanes, comparison.config)
        return ReadLater(readout, early, tuple(_images_seen(comparison)) or (True,))

    def _batch(
        self,
        comparison: Comparison,
        limit: int,
        *,
        record: bool,
        later: ReadLater | None,
        reuse_prefix: bool,
        keep_prefix: bool,
    ) -> Batch:
        readout, lanes, config = self.loaded.readout, comparison.lanes, comparison.config
        of_lanes = [early_readouts(lane, config) for lane in lanes]
        everywhere = _recorded_readouts(readout.n_layers, lanes, config) if record else []
        of_every_row, keep = ([], later.layers) if later else (everywhere, [])
        step, length = self.static_step, len(comparison.prompt_ids) + limit
        shown = _images_seen(comparison)
        if (
            step is not None
            and not shown
            and StaticBatch.suits(step, [*everywhere, *chain(*of_lanes)], len(lanes), length)
        ):
            return StaticBatch(step, of_lanes, of_every_row=of_every_row, keep=keep)
        prefix_cache = self.prefix_cache if reuse_prefix or keep_prefix else None
        return DynamicBatch(
            readout,
            of_lanes,
            of_every_row=of_every_row,
            keep=keep,
            images=shown,
            prefix_cache=prefix_cache,
            reuse_prefix=reuse_prefix,
        )

    def _compiled_step(self) -> StaticStep:
        readout = self.loaded.readout
        if len(set(getattr(self.loaded.model, "hf_device_map", {}).values())) > 1:
            raise UnsupportedModelError(
                "A model that is spread over several devices cannot be compiled; start without --compile."
            )
        most = COMPILED_LENGTH_ON_CPU if readout.device.type == "cpu" else COMPILED_LENGTH
        length = min(most, context_length(readout) or most)
        return StaticStep(readout, rows=2, length=length)


def _images_seen(comparison: Comparison) -> dict[bool, ImageInputs]:
    """What lanes read that see the images of the prompt, and what those read that do not; empty if there are none."""
    shown = comparison.images
    if shown is None:
        return {}
    both = {True: shown.inputs, False: shown.blank}
    sees = sorted({lane.image for lane in comparison.lanes}, reverse=True)
    return {seen: read for seen in sees if (read := both[seen]) is not None}


def _recorded_readouts(n_layers: int, lanes: Sequence[Lane], config: DecodingConfig) -> list[EarlyReadout]:
    """What is read on every row for the trace: the embeddings, if a lane reads them, then each way of all layers."""
    ways = list(dict.fromkeys((way.early_norm, way.image) for way in recorded_readings(lanes, config)))
    first = [EarlyReadout(0, *way) for way in ways if any(0 in lane.reads for lane in lanes)]
    return [*first, *(EarlyReadout(layer, *way) for way in ways for layer in range(1, n_layers))]


def compare(
    loaded: LoadedModel,
    prompt: str | Prompt,
    lanes: Sequence[Lane],
    config: DecodingConfig | None = None,
    *,
    chat: bool = False,
) -> Trace:
    """Complete `prompt` in every lane, in lock step, and return everything recorded.

    The short form of `Engine.compare`, which yields the steps while they are decoded.

    Args:
        loaded: what `load_model` returns.
        prompt: the text to complete, or with `chat` the user's turn of the model's chat template; or a `Prompt`, which
            says that itself and may hold images.
        lanes: the decoders, such as `[Baseline(), DolaStatic(layer=22), DolaDynamic(bucket="high")]`.
        config: how all of them decode; None decodes greedily, at most 48 tokens, with the model's own repetition
            penalty. What else its generation config forbids or forces holds in any case.

    Raises:
        PromptError: the prompt is blank, too long or cannot be read, there is no chat template or it fails, or the
            model does not read images.
        ValueError: a lane reads a layer that the model has not.
    """
    engine = Engine(loaded)
    prompt = Prompt(prompt, chat=ChatTurn() if chat else None) if isinstance(prompt, str) else prompt
    ids, images = loaded.read_prompt(prompt, blank=not all(lane.image for lane in lanes))
    config = config or DecodingConfig(repetition_penalty=loaded.repetition_penalty)
    comparison = Comparison(well_formed(prompt.text), tuple(ids), tuple(lanes), config, prompt.chat, images=images)
    return engine.run(comparison)
