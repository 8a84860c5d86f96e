"""How numbers become shades."""

import numpy as np
import pytest

from app.language import ENGLISH
from app.render.figures.shades import MOST_ENTROPY, scale, shade
from app.render.view_state import HEAT_QUANTITIES
from dola_core.contrast import LN_2

PALE_AND_DEEP = {"JSD": (LN_2, 0), "entropy": (MOST_ENTROPY, 0), "p(chosen)": (1e-4, 1), "rank": (10_000, 1)}


@pytest.mark.parametrize("quantity", HEAT_QUANTITIES)
def test_pale_is_far_or_undecided_and_deep_is_the_same_or_decided(quantity):
    pale, deep = PALE_AND_DEEP[quantity]
    assert shade(quantity, np.array([pale, deep])) == pytest.approx([0, 1])
    between = shade(quantity, np.linspace(pale, deep, 50))
    assert (np.diff(between) > 0).all()


@pytest.mark.parametrize(("quantity", "beyond"), [("entropy", 10.8), ("p(chosen)", 1e-30), ("rank", 65535)])
def test_what_is_beyond_the_pale_end_is_pale(quantity, beyond):
    assert shade(quantity, beyond) == 0


def test_entropies_and_probabilities_of_a_real_model_are_told_apart():
    """Quartiles of SmolLM2's layers: on a scale up to ln V, or from 0 to 1, they would be one shade."""
    assert np.diff(shade("entropy", np.array([1.6, 1.0, 0.5, 0.1]))).min() > 0.08
    assert np.diff(shade("p(chosen)", np.array([0.001, 0.01, 0.1, 0.5]))).min() > 0.15


@pytest.mark.parametrize("quantity", HEAT_QUANTITIES)
def test_the_bar_has_words_at_its_ends_and_its_numbers_in_their_places(quantity):
    bar = scale(quantity, "chosen" if quantity == "p(chosen)" else quantity, ENGLISH)
    assert bar["pale"] != bar["deep"]
    places = [place for place, _ in bar["ticks"]]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0, 1)
    assert min(np.diff(places)) > 0.08, "numbers would touch"
    for place, text in bar["ticks"][1:-1]:
        if "⁻" not in text:
            assert shade(quantity, float(text.replace(",", ""))) == pytest.approx(place, abs=1e-3)
