"""The model `dola` of lm-evaluation-harness: its model `hf`, decoding and scoring by any lane.

`docs/lm-eval.md` tells how to run it. Loading, tokenising and batching of generation are the harness's own, so that
`lane=plain` is `hf`, number for number.
"""

import contextlib
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils_hf import stop_sequences_criteria
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from dola_core.errors import UnsupportedModelError
from dola_core.evaluation.answer_scores import Score, batches, read_texts, score_batch
from dola_core.evaluation.model_args import ModelArgsError, check_outside, take_lane
from dola_core.files.paths import KNOWN_MODELS
from dola_core.generation import generate_with_dola
from dola_core.lanes import DolaStatic, Lane, lane_text
from dola_core.layer_search.answers.plausible_heads import OUTSIDE
from dola_core.models.identity import model_identity
from dola_core.models.preset import Preset
from dola_core.models.reading.readout import Readout
from dola_core.models.sources.source import SHORT_NAMES, find_source

logger = logging.getLogger(__name__)

Request = tuple[Any, list[int], list[int]]
"""What the harness asks the log-likelihood of: the texts, the context's ids and the answer's ids."""


@register_model("dola")
class DolaLM(HFLM):
    """A causal LM of `transformers` whose log-likelihoods and texts are those of a lane.

    Its scores are `log p_hat`, normalised over the plausible head. A penalty of the lane acts on texts that are
    written, not on answers that are given.
    """

    NAME: ClassVar[str] = "dola"

    def __init__(
        self,
        pretrained: str | PreTrainedModel,
        *,
        lane: Lane | str | None = None,
        outside: float = OUTSIDE,
        **arguments: Any,
    ) -> None:
        """Load the model as `hf` does.

        Args:
            pretrained: what `hf` takes, or `smollm2` or `atlas-30l`.
            lane: a lane or its text. None takes DoLa-static with the layer, α and norm recorded with the model.
            outside: the score of an answer's token outside the plausible head; −∞ would make shares of answers NaN.
            **arguments: settings of the lane by their names in its text, and whatever else `hf` takes.

        Raises:
            ModelArgsError: the lane or `outside` cannot be used; before the model is loaded if that can tell.
            UnsupportedModelError: the model's layers cannot be read.
        """
        named = take_lane(lane, arguments)
        self.outside = check_outside(outside)
        short = str(pretrained) if pretrained in SHORT_NAMES else None
        super().__init__(find_source(short).place if short else pretrained, **arguments)
        self.readout = Readout.of(_whole_model(self.model))
        if named is None:
            named = self._recorded_lane(short)
            logger.warning("No lane is named; dola takes %s.", lane_text(named))
        try:
            self.lane = named.fitted(self.readout.n_layers, tied=self.readout.is_tied)
        except ValueError as error:
            raise ModelArgsError(str(error)) from error

    def _recorded_lane(self, short: str | None) -> Lane:
        """DoLa-static as it is recorded with the model, which the project may know by a `short` name."""
        model, about = self.readout.model, dict[str, Any]()
        if short:
            about = {"identity": model_identity(model, self.tokenizer), "known": KNOWN_MODELS / short}
        preset = Preset.of(model, self.readout.n_layers, **about)
        # Read through the norm is the default, which a lane's text leaves out.
        return DolaStatic(layer=preset.layer, alpha=preset.alpha, early_norm=None if preset.early_norm else False)

    def _loglikelihood_tokens(
        self, requests: Sequence[Request], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[Score]:
        """The score of each request's answer after its context; every task of log-likelihoods ends here."""
        if not self.lane.reads:
            return super()._loglikelihood_tokens(requests, disable_tqdm=disable_tqdm, override_bs=override_bs)
        found: dict[int, Score] = {}
        texts = read_texts([(context, answer) for _, context, answer in requests], self.max_length)
        size = self.batch_size if isinstance(self.batch_size, int) else None
        with tqdm(total=len(requests), disable=disable_tqdm or self.rank != 0, desc="Scoring answers") as bar:
            for batch in batches(texts, size):
                with self._precision():
                    scores = score_batch(self.readout, self.lane, batch, self.outside)
                found |= scores
                bar.update(len(scores))
        for number, (strings, _, _) in enumerate(requests):
            if strings is not None:  # None for the windows of a long text
                self.cache_hook.add_partial("loglikelihood", strings, found[number])
        results = [found[number] for number in range(len(requests))]
        self._warn_of_lost_contexts(requests, results)
        return results

    def _warn_of_lost_contexts(self, requests: Sequence[Request], results: Sequence[Score]) -> None:
        """Tell how many contexts have several answers, each of probability 0 in float64."""
        of_context: dict[tuple[int, ...], list[float]] = defaultdict(list)
        for (_, context, _), (score, _) in zip(requests, results, strict=True):
            of_context[tuple(context)].append(score)
        lost = sum(len(scores) > 1 and not np.exp(scores).any() for scores in of_context.values())
        if lost:
            logger.warning(
                "%d of %d contexts have no answer of a probability above 0. Tasks that divide by the answers' sum, "
                "such as truthfulqa_mc2, are NaN there; set outside=-20 or alpha=0, or see docs/lm-eval.md.",
                lost,
                len(of_context),
            )

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        """What `hf` runs the model in, if it was given a `mixed_precision_dtype`."""
        dtype = getattr(self, "mixed_precision_dtype", None)  # not in older versions
        return torch.autocast(self.device.type, dtype) if dtype else contextlib.nullcontext()

    def _model_generate(
        self, context: Tensor, max_length: int, stop: list[str], **settings: Any
    ) -> Tensor | ModelOutput:
        """The ids of `context` and what the lane writes after it. Settings are handled as `hf` does."""
        if not self.lane.reads and self.lane.repetition_penalty is None:
            return super()._model_generate(context, max_length, stop, **settings)
        temperature = settings.setdefault("temperature", 0.0)
        if temperature == 0.0 and settings.get("do_sample") in (None, False):
            del settings["temperature"]
            settings["do_sample"] = False
        with self._precision():
            return generate_with_dola(
                self.readout.model,
                context,
                lane=self.lane,
                max_length=max_length,
                stopping_criteria=stop_sequences_criteria(self.tokenizer, stop, context.shape[1], context.shape[0]),
                pad_token_id=self.tokenizer.pad_token_id,
                use_cache=True,
                **settings,
            )

    def get_model_info(self) -> dict[str, Any]:
        """What the file of results says of the model: also the lane."""
        return super().get_model_info() | {"dola_lane": lane_text(self.lane), "dola_outside": self.outside}


def _whole_model(model: Any) -> PreTrainedModel:
    """The model itself; of PEFT's wrapper the model within, whose weights the adapter has changed."""
    if not hasattr(model, "get_base_model"):
        return model
    if model.active_peft_config.is_prompt_learning:
        raise UnsupportedModelError("The adapter changes no weights; choose one that does, such as LoRA.")
    return model.get_base_model()
