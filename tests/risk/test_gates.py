from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.errors import ConfigError
from mtquant.market.bars import Bars
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe
from mtquant.risk.gates import (
    Gates,
    Prohibition,
    banded_codes,
    barred_codes,
    bars_per_day,
    gate_rules,
    read_gates,
)
from mtquant.risk.reasons import (
    MAX_SPREAD,
    MIN_PRICE,
    MIN_VALUE,
    MIN_VOLUME,
    OUT_OF_HOURS,
    PRICE_BAND,
    PROHIBITED,
)

pytestmark = pytest.mark.nojit

HOUR = 3_600 * 10**9
# Tuesday 2024-01-02 00:00 UTC
START = int(np.datetime64("2024-01-02T00:00", "ns").astype(np.int64))


def spec(**changes: object) -> SymbolSpec:
    """100 units a lot, a point of 0.01, 10 points of spread where none is recorded."""
    plain = {
        "name": "TOYUSD",
        "asset_class": "metal",
        "base": "TOY",
        "quote": "USD",
        "contract_size": 100,
        "tick_size": 0.01,
        "digits": 2,
        "pip_size": 0.1,
        "typical_spread_points": 10,
        "clock": "utc",
        "hours": {"mon-fri": "00:00-24:00"},
    }
    return SymbolSpec.model_validate({**plain, **changes})


def bars(close, *, opened=None, spread=0.0, start=START, timeframe=Timeframe.H1) -> Bars:
    close = np.asarray(close, np.float64)
    opened = close if opened is None else np.asarray(opened, np.float64)
    time = start + np.arange(close.size) * timeframe.nanoseconds
    high, low = np.maximum(opened, close), np.minimum(opened, close)
    spreads = np.broadcast_to(np.asarray(spread, np.float64), close.shape).copy()
    return Bars("TOYUSD", timeframe, time, opened, high, low, close, np.zeros(close.size), spreads)


def codes(gates: Gates, some: Bars, volume=0.0, **changes: object) -> list[int]:
    average = np.broadcast_to(np.asarray(volume, np.float64), len(some))
    found = barred_codes(gates, some, spec(**changes), average)
    assert found.dtype == np.int8
    return found.tolist()


def test_nothing_is_barred_by_default():
    assert codes(Gates(), bars([100.0, 0.01], spread=500)) == [0, 0]
    assert banded_codes(Gates(), bars([100.0, 1.0], opened=[100.0, 900.0])).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("gates", "barred"),
    [
        # 20, 21 and an unrecorded spread, which is the typical one of 10 points
        (Gates(max_spread_points=20.0), [0, MAX_SPREAD, 0]),
        (Gates(max_spread_points=9.0), [MAX_SPREAD, MAX_SPREAD, MAX_SPREAD]),
        # 0.20 and 0.21 at a price of 10 are 2 % and 2.1 %; 0.10 at 4 are 2.5 %
        (Gates(max_spread_fraction=0.02), [0, MAX_SPREAD, MAX_SPREAD]),
        (Gates(max_spread_fraction=0.03), [0, 0, 0]),
    ],
)
def test_a_wide_spread(gates, barred):
    assert codes(gates, bars([10.0, 10.0, 4.0], spread=[20.0, 21.0, 0.0])) == barred


def test_thin_volume_and_unknown_volume():
    assert codes(Gates(min_volume=5.0), bars([10.0] * 3), volume=[5.0, 4.99, 0.0]) == [
        0,
        MIN_VOLUME,
        MIN_VOLUME,
    ]


def test_the_value_of_a_day():
    """5 lots an hour of 100 units at 10, 24 hours: 120,000 a day."""
    some = bars([10.0, 9.99, 20.0, 10.0])
    barred = codes(Gates(min_day_value=120_000.0), some, volume=[5.0, 5.0, 2.5, 0.0])
    assert barred == [0, MIN_VALUE, 0, MIN_VALUE]


@pytest.mark.parametrize(
    ("hours", "timeframe", "bars_a_day"),
    [
        ({"mon-fri": "00:00-24:00"}, "H1", 24.0),
        ({"mon-fri": "01:00-24:00"}, "H1", 23.0),
        ({"mon-fri": "16:30-23:00"}, "M5", 78.0),
        ({"mon-fri": "16:30-23:00"}, "H1", 7.0),
        ({"mon-fri": "16:30-23:00"}, "D1", 1.0),
        ({"mon-thu": "00:00-24:00", "fri": "00:00-12:00"}, "H1", 108 / 5),
        ({"sun-sat": "00:00-24:00"}, "W1", 1 / 7),
        ({"mon-fri": "00:00-24:00"}, "MN1", 12 / (365.25 * 5 / 7)),
    ],
)
def test_bars_of_a_day(hours, timeframe, bars_a_day):
    assert bars_per_day(spec(hours=hours), Timeframe[timeframe]) == pytest.approx(bars_a_day)


def test_a_low_price():
    assert codes(Gates(min_price=5.0), bars([5.0, 4.99])) == [0, MIN_PRICE]


def test_hours_are_those_of_the_order_and_on_the_symbols_clock():
    """Bars open at 08, 09, 10 and 11 UTC: their orders go out an hour later."""
    gates = Gates(hours={"tue": "10:00-12:00"})
    some = bars([10.0] * 4, start=START + 8 * HOUR)
    assert codes(gates, some) == [OUT_OF_HOURS, 0, 0, OUT_OF_HOURS]
    assert codes(gates, some, clock="utc+2") == [0, OUT_OF_HOURS, OUT_OF_HOURS, OUT_OF_HOURS]
    days = bars([10.0] * 4, timeframe=Timeframe.D1)
    assert codes(gates, days) == [0, 0, 0, 0], "a daily bar has no hour"


def test_empty_hours_never_open():
    """Two hours without a common minute are tightened to these: they are no gate left out."""
    assert codes(Gates(hours={}), bars([10.0] * 48)) == [OUT_OF_HOURS] * 48


def test_hours_that_cannot_be_read():
    with pytest.raises(ConfigError, match="cannot read the trading hours"):
        codes(Gates(hours={"mon": "nine to five"}), bars([10.0]))


def test_prohibitions_bind_from_their_first_to_before_their_last_moment():
    """Closes at 01, 02, 03 and 04."""
    news = Prohibition("TOYUSD", START + 2 * HOUR, START + 4 * HOUR, "news")
    some = bars([10.0] * 4)
    assert codes(Gates(prohibited=(news,)), some) == [0, PROHIBITED, PROHIBITED, 0]
    everywhere = Gates(prohibited=(replace(news, symbol="*"),))
    assert codes(everywhere, some) == [0, PROHIBITED, PROHIBITED, 0]
    elsewhere = Gates(prohibited=(replace(news, symbol="EURUSD"),))
    assert codes(elsewhere, some) == [0, 0, 0, 0]
    two = Gates(prohibited=(news, replace(news, begins_ns=START, ends_ns=START + HOUR + 1)))
    assert codes(two, some) == [PROHIBITED, PROHIBITED, PROHIBITED, 0]


def test_the_first_gate_gives_the_reason():
    everything = Gates(
        max_spread_points=5.0,
        min_volume=5.0,
        min_day_value=1e9,
        min_price=50.0,
        hours={"sat": "00:00-24:00"},
        prohibited=(Prohibition("*", 0, START * 2, "ever"),),
    )
    order = [
        ("max_spread_points", MAX_SPREAD),
        ("min_volume", MIN_VOLUME),
        ("min_day_value", MIN_VALUE),
        ("min_price", MIN_PRICE),
        ("hours", OUT_OF_HOURS),
        ("prohibited", PROHIBITED),
    ]
    off = {name: getattr(Gates(), name) for name, _ in order}
    for name, code in order:
        assert codes(everything, bars([10.0])) == [code]
        everything = replace(everything, **{name: off[name]})
    assert codes(everything, bars([10.0])) == [0]


def test_an_open_beyond_the_band():
    some = bars([100.0, 100.0, 100.0, 50.0], opened=[70.0, 110.0, 110.1, 89.9])
    found = banded_codes(Gates(price_band=0.1), some)
    assert found.dtype == np.int8
    assert found.tolist() == [0, 0, PRICE_BAND, PRICE_BAND]
    assert banded_codes(Gates(price_band=0.2), some).tolist() == [0, 0, 0, 0]


WINDOWS = st.lists(
    st.tuples(st.floats(1, 1e4), st.floats(1, 1e4), st.integers(0, 60), st.floats(0, 9)),
    min_size=2,
    max_size=30,
)


@given(WINDOWS, st.data())
def test_a_window_of_bars_gives_what_the_history_gave(rows, data):
    gates = Gates(0.005, 40.0, 2.0, 1e5, 3.0, 0.1, {"mon-fri": "07:00-19:30"})
    opened, close, spread, volume = np.array(rows, np.float64).T
    some = bars(close, opened=opened, spread=spread)
    barred, banded = barred_codes(gates, some, spec(), volume), banded_codes(gates, some)
    first = data.draw(st.integers(0, len(rows) - 2))
    window = some[first:]
    assert np.array_equal(barred_codes(gates, window, spec(), volume[first:]), barred[first:])
    assert np.array_equal(banded_codes(gates, window)[1:], banded[first + 1 :])


def test_what_each_gate_measures_at_the_newest_close():
    """Spread 15 points of 0.01 at a price of 10, 5 lots an hour of 100 units; closed at 11 UTC."""
    news = Prohibition("TOYUSD", START + 11 * HOUR, START + 12 * HOUR, "news")
    gates = Gates(
        max_spread_points=20.0,
        max_spread_fraction=0.02,
        min_volume=1.0,
        min_day_value=1.0,
        min_price=1.0,
        price_band=0.1,
        hours={"tue": "10:00-11:00"},
        prohibited=(news, replace(news, symbol="*"), replace(news, symbol="EURUSD")),
    )
    some = bars([12.0, 10.0], spread=[99.0, 15.0], start=START + 9 * HOUR)
    read = read_gates(gates, some, spec(), np.array([9.0, 5.0]))
    assert read.tolist()[:-1] == pytest.approx([15.0, 0.015, 5.0, 120_000.0, 10.0, 1.0, 2.0])
    assert np.isnan(read[-1]), "nobody knows the next open"
    assert np.isnan(read_gates(Gates(), some, spec(), np.zeros(2))).all(), "off is not measured"


@given(WINDOWS)
def test_what_is_read_is_what_bars(rows):
    gates = Gates(0.005, 40.0, 2.0, 1e5, 3.0, 0.0, {"mon-fri": "07:00-19:30"})
    opened, close, spread, volume = np.array(rows, np.float64).T
    some = bars(close, opened=opened, spread=spread)
    read, table = read_gates(gates, some, spec(), volume), gate_rules(gates)
    against = [
        row["code"]
        for number, row in zip(read, table, strict=True)
        if row["on"] and (number < row["limit"] if row["least"] else number > row["limit"])
    ]
    assert barred_codes(gates, some, spec(), volume)[-1] == next(iter(against), 0)


def test_a_price_that_is_none_has_an_infinite_spread():
    """Oil closed below zero in April 2020."""
    below = bars([-10.0], spread=1.0)
    assert codes(Gates(max_spread_fraction=0.5), below) == [MAX_SPREAD]
    assert read_gates(Gates(max_spread_fraction=0.5), below, spec(), np.zeros(1))[1] == np.inf
