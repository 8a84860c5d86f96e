"""How a layer's numbers become shades: what each quantity counts from pale to deep, on one range for all charts.

Deep always means the same: the final layer's own view, or a layer that has decided. The ranges are fixed, so that
lanes, steps, prompts and models can be compared.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from app.language import Language
from app.render.figures.style import power_of_ten
from app.render.view_state import HeatQuantity
from app.ui.palette import SCALE
from dola_core.contrast import LN_2

MOST_ENTROPY = 6.0
"""Nats at the pale end: as undecided as among 400 equally likely tokens."""
LEAST_P, LAST_RANK = 1e-4, 10_000
"""The probability and the rank at the pale end."""


def shade(quantity: HeatQuantity, values: np.ndarray | float) -> np.ndarray:
    """Where `values` stand between pale (0) and deep (1).

    A divergence counts linearly and an entropy by its root, in nats; a probability and a rank by their logarithms. Of
    entropies most are below 2 nats, and a tenth of a nat tells more there than above.
    """
    given = np.asarray(values, dtype=np.float64)
    match quantity:
        case "JSD":
            shades = 1 - given / LN_2
        case "entropy":
            shades = 1 - np.sqrt(given / MOST_ENTROPY)
        case "p(chosen)":
            shades = 1 - np.log(np.maximum(given, LEAST_P)) / np.log(LEAST_P)
        case "rank":
            shades = 1 - np.log(given) / np.log(LAST_RANK)
    return np.clip(shades, 0.0, 1.0)


_TICKS: Mapping[HeatQuantity, tuple[tuple[float, str], ...]] = {
    "JSD": ((LN_2, "ln 2"), (0.5, "0.5"), (0.3, "0.3"), (0.1, "0.1"), (0.0, "0")),
    "entropy": ((MOST_ENTROPY, "≥ 6"), (4.0, "4"), (2.0, "2"), (1.0, "1"), (0.3, "0.3"), (0.0, "0")),
    "p(chosen)": ((LEAST_P, f"≤ {power_of_ten(-4)}"), (1e-3, power_of_ten(-3)), (0.01, "0.01"), (0.1, "0.1"), (1, "1")),
    "rank": ((LAST_RANK, "≥ 10,000"), (1000, "1,000"), (100, "100"), (10, "10"), (1, "1")),
}


def scale(quantity: HeatQuantity, key: str, words: Language) -> dict[str, Any]:
    """The bar of shades with words at its ends and numbers below, for `Chart`; `key` is the quantity's in the words."""
    return {
        "pale": words(f"chart.heat_{key}_pale"),
        "deep": words(f"chart.heat_{key}_deep"),
        "colours": list(SCALE),
        "ticks": [[round(float(shade(quantity, value)), 3), name] for value, name in _TICKS[quantity]],
    }
