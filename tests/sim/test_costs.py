from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.sim.costs import (
    SLIPPAGE_MODELS,
    SLIPPAGE_POINTS,
    commission_of,
    modelled_slippage,
    paid_ticks,
    round_up,
)
from mtquant.sim.records import BAR, RULES
from mtquant.sim.tape import average_volume, contract_rows

pytestmark = pytest.mark.nojit


def market(volume: float = 200.0) -> np.void:
    """A bar of 40 ticks' range, ATR 0.50, on average 200 lots."""
    bar = np.zeros(1, BAR)
    bar["open"], bar["above"], bar["below"], bar["close"] = 10_000, 30, 10, 10_010
    bar["spread"], bar["atr"], bar["value"], bar["volume"] = 7, 50.0, 1.0, volume
    return bar[0]


def rules(**changes: float) -> np.void:
    row = np.zeros(1, RULES)
    row["money_scale"] = 100.0
    for name, value in changes.items():
        row[name] = value
    return row[0]


@pytest.mark.parametrize(
    ("model", "coefficient", "steps", "ticks"),
    [
        ("range", 0.1, 1, 4),  # a tenth of 40 ticks
        ("range", 0.1, 5_000, 4),  # whatever the size
        ("range", 0.11, 1, 5),  # 4.4 against the trader
        ("range", 0.0, 1, 0),
        # 2,000 steps are 20 lots, a tenth of 200; ATR is 50 ticks
        ("volume", 1.0, 2_000, 5),
        ("volume", 1.0, -2_000, 5),
        ("volume", 1.0, 4_000, 10),  # linear
        ("volume", 0.5, 2_000, 3),  # 2.5
        ("volume", 1.0, 1, 1),  # 0.0025
        # 200 steps are 2 lots, a hundredth: a tenth of 50 ticks
        ("sqrt", 1.0, 200, 5),
        ("sqrt", 1.0, 800, 10),  # four times the order, twice the slippage
        ("sqrt", 1.0, -800, 10),
    ],
)
def test_slippage(toy_spec, model, coefficient, steps, ticks):
    contract = contract_rows([toy_spec()], 100.0, 3.0)[0]
    chosen = rules(slippage_model=SLIPPAGE_MODELS[model], slippage_coefficient=coefficient)
    assert modelled_slippage(contract, chosen, market(), steps) == ticks


@pytest.mark.parametrize("model", ["volume", "sqrt"])
def test_without_recorded_volume_the_constant_stands_in(toy_spec, model):
    contract = contract_rows([toy_spec()], 100.0, 3.0)[0]
    chosen = rules(slippage_model=SLIPPAGE_MODELS[model], slippage_coefficient=9.0)
    assert modelled_slippage(contract, chosen, market(volume=0.0), 2_000) == 3


def test_a_lanes_factor_scales_both_and_rounds_against_the_trader(toy_spec):
    contract = contract_rows([toy_spec()], 100.0, 3.0)[0]
    bar = market()
    off, on = rules(), rules(cheapest=0.5, dearest=2.0)
    assert paid_ticks(contract, off, bar, bar, 1.5, 1) == (7, 3)
    assert paid_ticks(contract, on, bar, bar, 1.5, 1) == (11, 5)  # 10.5 and 4.5
    assert paid_ticks(contract, on, bar, bar, 1.0, 1) == (7, 3)
    assert paid_ticks(contract, on, bar, bar, 0.5, -1) == (4, 2)


@given(st.integers(0, 10**6), st.floats(0.01, 100.0))
def test_ticks_are_whole_and_never_for_the_trader(ticks, factor):
    rounded = round_up(ticks * factor)
    assert ticks * factor - 2e-6 <= rounded < ticks * factor + 1.0
    assert round_up(float(ticks)) == ticks
    assert round_up(ticks * 0.1 * 10.0) == ticks


def test_commission_is_the_sum_of_three(toy_spec):
    """50 steps of 0.01 lots at 3.5 a lot are 1.75; 2 a deal; 0.1 % of 5,000 are 5."""
    contract = contract_rows([toy_spec(commission_per_lot=3.5)], 100.0, 0.0)[0]
    charged: dict[str, Any] = {}
    total = 1.75
    assert commission_of(contract, rules(), -50, 5_000.0) == total
    charged["commission_per_fill"] = 2.0
    assert commission_of(contract, rules(**charged), 50, 5_000.0) == total + 2.0
    charged["commission_fraction"] = 0.001
    assert commission_of(contract, rules(**charged), 50, 5_000.0) == total + 7.0
    assert commission_of(contract, rules(**charged), 50, -5_000.0) == total + 7.0
    charged["commission_fraction"] = 0.001001
    assert commission_of(contract, rules(**charged), 50, 5_000.0) == 8.76  # half away from zero


def test_no_slippage_is_the_constant_model_with_nothing():
    assert SLIPPAGE_MODELS["none"] == SLIPPAGE_MODELS["points"] == SLIPPAGE_POINTS == 0


@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_average_volume_of_a_window_is_that_of_the_whole_history(toy_bars, seed, length):
    rng = np.random.default_rng(seed)
    bars = toy_bars([(1.0,) * 4] * 30)
    object.__setattr__(bars, "volume", rng.uniform(0.1, 1e6, 30))
    whole = average_volume(bars, length)
    assert not whole[: length - 1].any()
    for t in range(length - 1, 30):
        assert whole[t] == average_volume(bars[t - length + 1 : t + 1], length)[-1]
        assert whole[t] == pytest.approx(bars.volume[t - length + 1 : t + 1].mean())
