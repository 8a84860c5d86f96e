"""Questions that one decoder has right and the other wrong, with the distributions at the token that decides."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dola_core.contrast import log_softmax
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.layer_search.answers.question_ids import QuestionIds
from dola_core.layer_search.answers.scoring import score_items
from dola_core.layer_search.answers.stopping import CheckStop, go_on, stop_between_blocks
from dola_core.layer_search.evaluate import generate_ids
from dola_core.layer_search.metrics import COMPARING_METRICS, is_right, normalised_scores
from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.result import Candidate, ErrorCase
from dola_core.layer_search.search_config import SearchConfig
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.reading.cached_texts import CachedTexts, read_states
from dola_core.models.reading.proof import reading_rules
from dola_core.models.reading.readout import last_position

CANDIDATES = 10
"""The most probable tokens of a distribution that an error case holds."""

Decoder = Literal["baseline", "dola"]


def error_cases(
    loaded: LoadedModel,
    items: Sequence[Item],
    values: np.ndarray,
    config: SearchConfig,
    setting: tuple[int, float],
    *,
    most: int,
    analysed: int | None = None,
    check_stop: CheckStop = go_on,
) -> list[ErrorCase]:
    """At most `most` items that the baseline has right and DoLa wrong, and at most as many the other way round.

    Of each kind the first `analysed` (None: all) hold what the model says to them, which takes a while; the others the
    question alone. What `check_stop` raises ends the analysis.

    `values` `[n, 2]` is the metric of each item for the baseline and for DoLa at `setting` (layer, α); `is_right` says
    which of them are right.
    """
    right = is_right(values, config.metric)
    only_baseline = np.flatnonzero(right[:, 0] & ~right[:, 1])[:most].tolist()
    only_dola = np.flatnonzero(right[:, 1] & ~right[:, 0])[:most].tolist()
    cases = []
    decoders: tuple[tuple[Decoder, list[int]], ...] = (("baseline", only_baseline), ("dola", only_dola))
    for decoder, places in decoders:
        for number, index in enumerate(places):
            item = items[index]
            case = ErrorCase(
                item=index,
                prompt=item.prompt,
                image=item.image_name,
                domain=item.domain,
                answers=item.answers,
                right=decoder,
            )
            if analysed is None or number < analysed:
                case = _analysed(loaded, item, case, config, setting, check_stop)
            cases.append(case)
    return cases


def _analysed(
    loaded: LoadedModel,
    item: Item,
    case: ErrorCase,
    config: SearchConfig,
    setting: tuple[int, float],
    check_stop: CheckStop,
) -> ErrorCase:
    """The case with what the other decoder says, and both distributions at the token that decides."""
    by_scores = config.task == "mc" and config.metric in COMPARING_METRICS
    ids_pair = _preferred_ids if by_scores else _generated_ids
    question = QuestionIds.of_item(loaded, item, chat=config.chat)
    right_ids, wrong_ids = ids_pair(question, item, case.right, config, setting, check_stop)
    common = 0
    while common < min(len(right_ids), len(wrong_ids)) and right_ids[common] == wrong_ids[common]:
        common += 1
    early_norm = config.decoding.early_norm if config.decoding else config.rule.early_norm
    with stop_between_blocks(loaded.readout, check_stop):
        q_N, q_J = _next_tokens(question, right_ids[:common], setting[0], early_norm=early_norm)
    wrong, shared = loaded.text(wrong_ids).strip(), loaded.text(right_ids[:common]).strip()
    return case.model_copy(update={"wrong": wrong, "common": shared, "q_N": q_N, "q_J": q_J})


def _preferred_ids(
    question: QuestionIds,
    item: Item,
    right: Decoder,
    config: SearchConfig,
    setting: tuple[int, float],
    check_stop: CheckStop,
) -> tuple[list[int], list[int]]:
    """The right answer that the decoder `right` scores highest, and the wrong one that the other scores highest."""
    layer, alpha = setting
    ((_, scored),) = next(
        score_items(question.loaded, [item], (layer,), (alpha,), config.rule, chat=config.chat, check_stop=check_stop)
    )
    column = ("baseline", "dola").index(right)
    right_scores, wrong_scores = normalised_scores(scored, config.normalisation)
    return (
        question.answer(item.answers[int(right_scores[:, column].argmax())]),
        question.answer(item.wrong[int(wrong_scores[:, 1 - column].argmax())]),
    )


def _generated_ids(
    question: QuestionIds,
    item: Item,
    right: Decoder,
    config: SearchConfig,
    setting: tuple[int, float],
    check_stop: CheckStop,
) -> tuple[list[int], list[int]]:
    """What the decoder `right` generates, and what the other one generates."""
    longest = max(len(question.answer(answer)) for answer in item.answers) + 1
    decoding = DecodingConfig(max_new_tokens=longest, early_norm=config.rule.early_norm)
    if config.task == "generate":
        decoding = config.decoding or DecodingConfig()
    lanes = (Baseline(), DolaStatic(layer=setting[0], alpha=setting[1]))
    baseline, dola = generate_ids(question, lanes, decoding, check_stop=check_stop)
    return (baseline, dola) if right == "baseline" else (dola, baseline)


@torch.no_grad()
def _next_tokens(
    question: QuestionIds, behind: list[int], layer: int, *, early_norm: bool
) -> tuple[tuple[Candidate, ...], tuple[Candidate, ...]]:
    """The most probable next tokens after a prompt and the ids `behind` it, read from the last layer and `layer`."""
    loaded, images = question.loaded, [question.images.inputs] if question.images else ()
    readout = loaded.readout
    ids = torch.tensor([[*question.prompt, *behind]], device=readout.device)
    texts = CachedTexts(readout, ids, reading_rules(readout), images)
    h = read_states(texts, [layer, readout.n_layers], last_position)
    log_q_N = log_softmax(readout.logits(h[readout.n_layers]))[0]
    log_q_J = log_softmax(readout.logits(h[layer], early_norm=early_norm))[0]
    return _candidates(loaded, log_q_N), _candidates(loaded, log_q_J)


def _candidates(loaded: LoadedModel, log_q: Tensor) -> tuple[Candidate, ...]:
    """The most probable tokens of `log_q` `[V]`."""
    top = log_q.topk(min(CANDIDATES, loaded.readout.vocab_size))
    return tuple(
        Candidate(text=loaded.piece(token), p=round(p, 6))
        for p, token in zip(top.values.exp().tolist(), top.indices.tolist(), strict=True)
    )
