"""How charts write numbers and cut texts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.language import ENGLISH
from app.render.figures.style import layer_axis, power_of_ten, short, small_number, times

RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1.0, "1"), (0.359, "0.36"), (0.0457, "0.046"), (0.00131, "0.0013"), (9.96e-4, "0.001"), (9.4e-4, "9.4·10⁻⁴"),
        (3.4468e-20, "3.4·10⁻²⁰"), (9.96e-7, "1.0·10⁻⁶"), (9.94e-7, "9.9·10⁻⁷"), (1e-300, "1.0·10⁻³⁰⁰"),
    ],
)  # fmt: skip
def test_a_small_number_is_written_with_a_power_of_ten(value, written):
    assert small_number(math.log(value)) == written


def test_numbers_too_small_for_a_float_are_written_all_the_same():
    assert small_number(-2000.0) == "2.6·10⁻⁸⁶⁹"
    assert small_number(-math.inf) == "0"


@given(log=st.floats(-700, 0))
def test_what_is_written_is_the_number_to_two_digits(log):
    mantissa, _, power = small_number(log).partition("·10")
    value = float(mantissa) * 10.0 ** int(power.translate(RAISED) or 0)
    assert value == pytest.approx(math.exp(log), rel=0.051)


@pytest.mark.parametrize(
    ("factor", "written"), [(1.0, "1.0"), (9.94, "9.9"), (9.96, "10"), (34115.2, "34,115"), (3.4e7, "3.4·10⁷")]
)
def test_a_factor_is_written_whole_as_long_as_it_can_be_read(factor, written):
    assert times(math.log(factor)) == written


def test_powers_of_ten():
    assert [power_of_ten(n) for n in (0, -4, 12)] == ["1", "10⁻⁴", "10¹²"]


def test_a_long_token_is_cut():
    assert short("Canberra") == "Canberra"
    assert short("a" * 15) == "a" * 13 + "…"


@pytest.mark.parametrize("n_layers", [1, 4, 30, 80, 126])
def test_an_axis_of_layers_has_at_most_eight_ticks(n_layers):
    axis = layer_axis(ENGLISH, n_layers)
    assert n_layers / axis["dtick"] <= 8
