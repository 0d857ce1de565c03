from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.risk.sizing import FIXED_FRACTIONAL, SIZING_FIELDS, VOLATILITY, full_size, target_steps

pytestmark = pytest.mark.nojit

NAN = float("nan")
LARGEST = 10_000


def sizing(**changes: float) -> np.void:
    rules = np.zeros(1, np.dtype(SIZING_FIELDS))
    plain = {
        "sizing_method": VOLATILITY,
        "risk_fraction": 0.02,
        "atr_multiple": 2.0,
        "notional_fraction": 1.5,
        "rebalance_band": 0.1,
    }
    for name, value in {**plain, **changes}.items():
        rules[name] = value
    return rules[0]


@pytest.mark.parametrize(
    ("equity", "atr", "unit_value", "lot_steps"),
    [
        (50_000.0, 20.0, 1.0, 25.0),  # 1,000 / 40: 0.25 lots of 100 units in steps of one unit
        (50_000.0, 10.0, 1.0, 50.0),
        (25_000.0, 20.0, 1.0, 12.5),
        (50_000.0, 20.0, 100.0, 0.25),  # a step of a whole lot
        (50_000.0, 0.0, 1.0, 0.0),  # not enough bars for an ATR
        (50_000.0, NAN, 1.0, 0.0),
        (50_000.0, 20.0, 0.0, 0.0),
        (0.0, 20.0, 1.0, 0.0),
        (-1.0, 20.0, 1.0, 0.0),
    ],
)
def test_volatility_sizing(equity, atr, unit_value, lot_steps):
    assert full_size(sizing(), equity, 2000.0, atr, unit_value) == pytest.approx(lot_steps)


@pytest.mark.parametrize(
    ("equity", "price", "unit_value", "lot_steps"),
    [
        (10_000.0, 2000.0, 1.0, 7.5),  # 15,000 of notional
        (10_000.0, 1.25, 1_000.0, 12.0),
        (10_000.0, 0.0, 1.0, 0.0),
        (10_000.0, -37.0, 1.0, 0.0),  # oil has been there
        (0.0, 2000.0, 1.0, 0.0),
    ],
)
def test_fixed_fractional_sizing_does_not_look_at_atr(equity, price, unit_value, lot_steps):
    rules = sizing(sizing_method=FIXED_FRACTIONAL)
    for atr in (0.0, 5.0):
        assert full_size(rules, equity, price, atr, unit_value) == pytest.approx(lot_steps)


@pytest.mark.parametrize(
    ("action", "full", "held", "steps"),
    [
        (1.0, 25.0, 0, 25),
        (0.5, 25.0, 0, 12),
        (-0.5, 25.0, 0, -12),
        (-1.0, 25.9, 0, -25),
        (0.0, 25.0, 7, 0),
        (-0.0, 25.0, -7, 0),
        (3.0, 25.0, 0, 25),
        (-3.0, 25.0, 0, -25),
        (NAN, 25.0, 7, 7),
        (NAN, 25.0, -7, -7),
        (float("inf"), 25.0, 0, 25),
        (1.0, 24.999999999999996, 0, 25),  # float noise below the grid
        (1.0, 24.99, 0, 24),
        (0.1, 25.0, 0, 2),
        (0.1, 19.0, 0, 0),  # 1 step, two are the smallest order
        (1.0, 1e12, 0, LARGEST),
        (-1.0, 1e12, 0, -LARGEST),
        # within 2.5 steps of what is held, on its side of zero
        (1.0, 25.0, 23, 23),
        (1.0, 25.0, 22, 25),
        (0.9, 25.0, 24, 24),
        (-1.0, 25.0, -23, -23),
        (-1.0, 25.0, -22, -25),
        (1.0, 25.0, 27, 27),
        # the band never holds on to a side that is no longer wanted, nor to dust
        (-0.1, 25.0, 2, -2),
        (0.0, 25.0, 2, 0),
        (0.04, 25.0, 2, 0),
        (0.0, 25.0, -2, 0),
    ],
)
def test_target(action, full, held, steps):
    assert target_steps(sizing(), action, full, held, 2, LARGEST) == steps


def test_without_a_band_every_step_counts():
    assert target_steps(sizing(rebalance_band=0.0), 1.0, 25.0, 24, 1, LARGEST) == 25
    assert target_steps(sizing(rebalance_band=0.0), 1.0, 25.0, 25, 1, LARGEST) == 25


@given(
    st.floats(-2, 2), st.floats(0, 1e6), st.integers(-100, 100), st.integers(1, 9), st.booleans()
)
def test_a_target_is_on_the_grid_and_never_more_than_was_asked(action, full, held, least, flat):
    held = 0 if flat else held
    target = target_steps(sizing(), action, full, held, least, 500)
    if target == held:
        return
    assert target == 0 or least <= abs(target) <= 500
    assert abs(target) <= min(abs(action), 1.0) * full + 1e-6
    assert target * action >= 0
    mirrored = target_steps(sizing(), -action, full, -held, least, 500)
    assert mirrored == -target


@pytest.mark.parametrize(
    ("action", "max_steps", "most", "steps"),
    [
        (0.05, LARGEST, 500.0, 250),  # a share of full size would be 500 steps wide
        (0.11, LARGEST, 500.0, 500),  # 550, within 50 of what is held
        (0.5, 500, float("inf"), 250),  # the symbol's largest position bounds it as well
        (0.9, 500, float("inf"), 500),
    ],
)
def test_the_band_is_a_share_of_what_can_be_held(action, max_steps, most, steps):
    """Full size is 5,000 steps, 500 are all that may be held and are."""
    assert target_steps(sizing(), action, 5_000.0, 500, 1, max_steps, most) == steps
    assert target_steps(sizing(), -action, 5_000.0, -500, 1, max_steps, most) == -steps
