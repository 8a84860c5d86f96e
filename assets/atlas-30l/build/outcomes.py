"""Which questions the baseline and DoLa-static answer rightly, for every (j*, α)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dola_core.layer_search.dataset import Item
from dola_core.layer_search.metrics import value
from dola_core.layer_search.scoring import Rule, score_items
from dola_core.models.loading import LoadedModel


@dataclass(frozen=True)
class Outcome:
    """Which questions were answered rightly. The settings' arrays are `[items, layers, alphas]`, of bool."""

    layers: tuple[int, ...]
    alphas: tuple[float, ...]
    baseline_chose: np.ndarray
    """`[items]`: the likeliest right answer is likelier than every wrong one, by summed log-likelihood (MC1 where there
    is one right answer). True where nothing wrong is offered."""
    baseline_said: np.ndarray
    """`[items]`: greedy decoding begins with a right answer, as whole words."""
    dola_chose: np.ndarray
    dola_said: np.ndarray


def search(
    loaded: LoadedModel,
    items: Sequence[Item],
    layers: Sequence[int],
    alphas: Sequence[float],
    *,
    early_norm: bool = True,
) -> Outcome:
    """Answer every item by the baseline and by DoLa-static at every (layer, α).

    Scores are sums of `log q_N`, or of `log p_hat` with `OUTSIDE` for tokens that the head excludes.
    """
    layers, alphas = tuple(layers), tuple(alphas)
    shape = (len(items), len(layers), len(alphas))
    chose, said = (np.ones((len(items), 1 + len(layers) * len(alphas)), dtype=bool) for _ in range(2))
    for batch in score_items(loaded, items, layers, alphas, Rule(early_norm=early_norm)):
        for number, scored in batch:
            said[number] = scored.said
            if len(scored.wrong):
                chose[number] = value(scored, "chose") > 0
    return Outcome(layers, alphas, chose[:, 0], said[:, 0], chose[:, 1:].reshape(shape), said[:, 1:].reshape(shape))
