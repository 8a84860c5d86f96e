"""Which questions the baseline and DoLa-static answer correctly, for every (j*, α)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dola_core.layer_search.answers.scoring import ScoringConfig, score_items
from dola_core.layer_search.metrics import metric_values
from dola_core.layer_search.questions.dataset import Item
from dola_core.models.loaded_model import LoadedModel


@dataclass(frozen=True)
class Outcome:
    """Which questions are answered correctly: arrays of bool, `[items, layers, alphas]` for DoLa-static."""

    layers: tuple[int, ...]
    alphas: tuple[float, ...]
    baseline_mc_correct: np.ndarray
    """`[items]`, as a multiple choice: the likeliest right answer is likelier than every wrong one, by summed
    log-likelihood (MC1 where there is one right answer). True for an item without wrong answers."""
    baseline_greedy_correct: np.ndarray
    """`[items]`, as an open question: greedy decoding begins with a right answer, as whole words."""
    dola_mc_correct: np.ndarray
    dola_greedy_correct: np.ndarray


def search(
    loaded: LoadedModel,
    items: Sequence[Item],
    layers: Sequence[int],
    alphas: Sequence[float],
    *,
    early_norm: bool = True,
) -> Outcome:
    """Answer every item by the baseline and by DoLa-static at every (layer, α).

    An answer's score is the sum of `log q_N`, or of `log p_hat` with `OUTSIDE` for tokens that the constraint excludes.
    """
    layers, alphas = tuple(layers), tuple(alphas)
    shape = (len(items), len(layers), len(alphas))
    mc_correct, greedy_correct = (np.ones((len(items), 1 + len(layers) * len(alphas)), dtype=bool) for _ in range(2))
    for batch in score_items(loaded, items, layers, alphas, ScoringConfig(early_norm=early_norm)):
        for number, scored in batch:
            greedy_correct[number] = scored.greedy_correct
            if len(scored.wrong):
                mc_correct[number] = metric_values(scored, "chose") > 0
    return Outcome(
        layers,
        alphas,
        baseline_mc_correct=mc_correct[:, 0],
        baseline_greedy_correct=greedy_correct[:, 0],
        dola_mc_correct=mc_correct[:, 1:].reshape(shape),
        dola_greedy_correct=greedy_correct[:, 1:].reshape(shape),
    )
