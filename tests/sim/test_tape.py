from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.errors import ConfigError, DataError
from mtquant.risk.gates import Gates
from mtquant.sim.account import round_money
from mtquant.sim.tape import (
    average_true_range,
    contract_rows,
    own_columns,
    rules_row,
    spread_ticks,
    to_ticks,
)

pytestmark = pytest.mark.nojit


@given(st.integers(1, 10**7), st.sampled_from([0.01, 0.25, 0.00001, 0.1, 1.0, 0.05, 5.0]))
def test_prices_on_the_grid_survive_ticks_exactly(toy_spec, ticks, tick_size):
    """A price that was parsed from decimal text comes back as the very same float."""
    spec = toy_spec(tick_size=tick_size, digits=5)
    numerator, denominator = spec.tick_fraction
    price = ticks * numerator / denominator
    assert to_ticks(np.array([price]), spec)[0] == ticks
    assert to_ticks(np.array([float(f"{price:.5f}")]), spec)[0] == ticks


def test_prices_off_the_grid_go_to_the_nearest_tick(toy_spec):
    spec = toy_spec(tick_size=0.25)
    np.testing.assert_array_equal(to_ticks(np.array([1.1, 1.13, 1.2]), spec), [4, 5, 5])


def test_spreads_are_ticks_at_least_one_and_typical_where_not_recorded(toy_spec, toy_bars):
    bars = toy_bars([(1, 1, 1, 1)] * 5, spread=[0, 1, 12, 37, 50])
    # A point is 0.01 and a tick 0.05: 12 points are 2.4 ticks, 37 are 7.4, typical 18 are 3.6.
    spec = toy_spec(tick_size=0.05, typical_spread_points=18)
    np.testing.assert_array_equal(spread_ticks(bars, spec), [4, 1, 2, 7, 10])


@pytest.mark.parametrize(
    ("row", "spread"), [((1, 4, 1, 1), 1), ((4, 4, 1, 4), 1), ((1, 1, 1, 1), 3e9)]
)
def test_a_bar_of_more_ticks_than_32_bits_hold_is_an_error(toy_spec, toy_bars, row, spread):
    """Wrapped around, a rise of three billion ticks would be a fall of one."""
    spec = toy_spec(tick_size=1e-9, digits=9)
    bars = toy_bars([(1, 1, 1, 1), row], spread=[1, spread])
    with pytest.raises(DataError, match=r"2024-.* spans 3,000,000,000 ticks of 1e-09"):
        own_columns(bars, spec, 1, Gates())


def atr_of(bars, spec, length):
    return average_true_range(
        *(to_ticks(getattr(bars, name), spec) for name in ("high", "low", "close")), length
    )


def test_atr_is_the_mean_of_true_ranges(toy_spec, toy_bars):
    rows = [
        (100, 101, 99, 100),  # the first bar has no close before it
        (100, 104, 100, 103),  # range 4
        (107, 108, 106, 107),  # from the close before: 108 - 103 = 5
        (100, 101, 98, 100),  # from the close before: 107 - 98 = 9
    ]
    atr = atr_of(toy_bars(rows), toy_spec(), 2)
    # Before length + 1 bars there is none: bar 2 needs the ranges of bars 1 and 2.
    np.testing.assert_array_equal(atr, [0.0, 0.0, 450.0, 700.0])
    np.testing.assert_array_equal(atr_of(toy_bars(rows), toy_spec(), 4), np.zeros(4))
    np.testing.assert_array_equal(atr_of(toy_bars(rows), toy_spec(), 3)[3], 600.0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_atr_of_a_window_is_that_of_the_whole_history(toy_spec, toy_bars, seed, length):
    rng = np.random.default_rng(seed)
    close = 100.0 + np.cumsum(rng.integers(-50, 51, 30)) / 100.0
    rows = np.stack([close, close + 0.3, close - 0.2, close], axis=1)
    bars, spec = toy_bars(np.round(rows, 2)), toy_spec()
    whole = atr_of(bars, spec, length)
    for t in range(length, 30):
        window = atr_of(bars[t - length : t + 1], spec, length)
        assert window[-1] == whole[t] > 0.0


@pytest.mark.parametrize(
    ("margin_mode", "margin_rate", "share"),
    [
        ("forex", 1.0, 0.01),
        ("cfd_leverage", 1.0, 0.01),
        ("cfd_leverage", 5.0, 0.05),
        ("cfd", 1.0, 1.0),
        ("cfd", 0.2, 0.2),
    ],
)
def test_margin_per_unit_of_notional(toy_spec, margin_mode, margin_rate, share):
    spec = toy_spec(margin_mode=margin_mode, margin_rate=margin_rate)
    assert contract_rows([spec], 100.0, 0.0)["margin_share"][0] == pytest.approx(share)


def test_contracts_count_in_lot_steps(toy_spec):
    spec = toy_spec(
        contract_size=100_000,
        tick_size=0.00001,
        digits=5,
        lot_min=0.1,
        lot_step=0.05,
        lot_max=7.5,
        commission_per_lot=3.5,
        swap_mode="points",
        swap_long=-7.0,
        swap_short=3.0,
    )
    row = contract_rows([spec], 100.0, 2.0)[0]
    assert row["step_lots"] == pytest.approx(0.05)
    assert (row["min_steps"], row["max_steps"], row["slippage_ticks"]) == (2, 150, 2)
    assert row["commission"] == pytest.approx(0.175)
    # A point is a tick here; what a tick is worth stands in the bars.
    assert row["swap_long"] == pytest.approx(-7.0)
    assert row["swap_short"] == pytest.approx(3.0)
    assert contract_rows([spec], 100.0, 2.0, 10.0)["commission"][0] == pytest.approx(0.5)
    assert contract_rows([spec], 100.0, 2.0, 0.0)["commission"][0] == 0.0


@pytest.mark.parametrize(
    ("points", "ticks"), [(0.0, 0), (0.1, 1), (12.5, 1), (25.0, 1), (25.1, 2), (75.0, 3)]
)
def test_a_part_of_a_tick_slips_a_whole_one(toy_spec, points, ticks):
    spec = toy_spec(tick_size=0.25, digits=2)
    assert contract_rows([spec], 100.0, points)["slippage_ticks"][0] == ticks


@pytest.mark.parametrize(("lot_max", "steps"), [(1.0, 3), (0.9, 3), (1.19, 3), (1.2, 4)])
def test_no_position_is_larger_than_the_largest_lot(toy_spec, lot_max, steps):
    spec = toy_spec(lot_min=0.3, lot_step=0.3, lot_max=lot_max)
    assert contract_rows([spec], 100.0, 0.0)["max_steps"][0] == steps


@pytest.mark.parametrize(("volume_limit", "largest"), [(None, 10), (0.55, 5), (0.1, 1), (7.0, 10)])
def test_what_an_account_may_hold_in_all_bounds_the_position(toy_spec, volume_limit, largest):
    spec = toy_spec(lot_min=0.1, lot_step=0.1, lot_max=1.0, volume_limit=volume_limit)
    assert contract_rows([spec], 100.0, 0.0)[0]["max_steps"] == largest


def test_rules_are_exactly_those_of_the_kernel(toy_tape, toy_bars):
    rules = toy_tape(toy_bars([(1, 1, 1, 1)] * 2)).rules
    numbers = {name: rules[name][0] for name in rules.dtype.names}
    assert rules_row(numbers) == rules
    with pytest.raises(ConfigError, match="capital"):
        rules_row({k: v for k, v in numbers.items() if k != "capital"})
    with pytest.raises(ConfigError, match="leverrage"):
        rules_row({**numbers, "leverrage": 3.0})


def test_the_broker_day_and_the_nights_follow_the_servers_clock(toy_spec, toy_bars, toy_tape):
    """In January a day on ny+7 ends at 22:00 UTC."""
    spec = toy_spec(clock="ny+7", swap_mode="points", swap_long=-1.0)
    bars = toy_bars([(1, 1, 1, 1)] * 4, start="2024-01-02T20:00")
    tape = toy_tape(bars, spec)
    np.testing.assert_array_equal(np.diff(tape.day), [0, 1, 0])
    np.testing.assert_array_equal(tape.market["nights"][:, 0], [0, 1, 0, 0])


@pytest.mark.parametrize(
    ("amount", "rounded"),
    [
        (1.005, 1.01),  # 1.00499999999999989... is meant as half a cent
        (-1.005, -1.01),
        (2.675, 2.68),
        (-2.675, -2.68),
        (1.0049, 1.0),
        (-1.0049, -1.0),
        (0.0, 0.0),
        (123_456.785, 123_456.79),
    ],
)
def test_money_is_rounded_half_away_from_zero(amount, rounded):
    assert round_money(amount, 100.0) == rounded


@given(st.integers(-(10**9), 10**9), st.sampled_from([1.0, 100.0, 1e8]))
def test_rounded_money_stays(units, scale):
    assert round_money(units / scale, scale) == units / scale
