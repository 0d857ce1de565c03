from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.errors import DataError
from mtquant.market.bars import Bars
from mtquant.market.finrl import finrl_panel, from_finrl, indicator_columns, to_finrl
from mtquant.market.panel import Panel
from mtquant.market.timeframe import Timeframe

NAMES = ["date", "tic", "open", "high", "low", "close", "volume", "day"]


def bars(symbol: str, dates: list[str], first: float, timeframe: str = "D1", spread: float = 0.0):
    """Bars that rise by 1 a bar from ``first``."""
    opened = first + np.arange(len(dates), dtype=np.float64)
    return Bars(
        symbol,
        Timeframe[timeframe],
        np.array(dates, "datetime64[ns]").astype(np.int64),
        opened,
        opened + 2.0,
        opened - 1.0,
        opened + 1.0,
        np.full(len(dates), 7.0),
        np.full(len(dates), spread),
    )


DAYS = ["2024-01-02", "2024-01-03", "2024-01-05"]  # Tuesday, Wednesday, Friday


@pytest.fixture
def frame() -> pd.DataFrame:
    return to_finrl([bars("MSFT", DAYS, 50.0), bars("AAPL", DAYS, 10.0)])


def test_the_layout_is_finrls(frame):
    """By hand, and unmoved by what FinRL's ``data_split`` does to every frame."""
    assert list(frame.columns) == NAMES
    assert frame.values.tolist() == [
        ["2024-01-02", "AAPL", 10.0, 12.0, 9.0, 11.0, 7.0, 1],
        ["2024-01-02", "MSFT", 50.0, 52.0, 49.0, 51.0, 7.0, 1],
        ["2024-01-03", "AAPL", 11.0, 13.0, 10.0, 12.0, 7.0, 2],
        ["2024-01-03", "MSFT", 51.0, 53.0, 50.0, 52.0, 7.0, 2],
        ["2024-01-05", "AAPL", 12.0, 14.0, 11.0, 13.0, 7.0, 4],
        ["2024-01-05", "MSFT", 52.0, 54.0, 51.0, 53.0, 7.0, 4],
    ]
    assert frame.index.tolist() == [0, 0, 1, 1, 2, 2]
    split = frame.sort_values(["date", "tic"], ignore_index=True)
    split.index = split["date"].factorize()[0]
    pd.testing.assert_frame_equal(frame, split)
    assert frame.loc[1, :].close.values.tolist() == [12.0, 52.0]


def test_bars_inside_a_day_carry_their_time():
    hours = ["2024-01-07T23:00", "2024-01-08T00:00", "2024-01-08T01:00"]
    frame = to_finrl(bars("BTCUSD", hours, 10.0, "H1"))
    assert frame["date"].tolist() == [
        "2024-01-07 23:00:00",
        "2024-01-08 00:00:00",
        "2024-01-08 01:00:00",
    ]
    assert frame["day"].tolist() == [6, 0, 0]  # Sunday, Monday


def test_a_brokers_days_are_dates_on_its_clock():
    """Midnight on ny+7 is 22:00 UTC in winter and 21:00 in summer."""
    opens = ["2024-03-07T22:00", "2024-03-10T21:00", "2024-03-11T21:00"]
    daily = bars("XAUUSD", opens, 10.0)
    frame = to_finrl(daily, clock="ny+7")
    assert frame["date"].tolist() == ["2024-03-08", "2024-03-11", "2024-03-12"]
    assert frame["day"].tolist() == [4, 0, 1]
    (back,) = from_finrl(frame, timeframe="D1", clock="ny+7")
    assert back.fingerprint() == daily.fingerprint()
    assert to_finrl(daily)["date"][0] == "2024-03-07 22:00:00"


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_there_and_back_is_the_same(data):
    """Any symbols, any prices, spread recorded or not, to the last bit."""
    prices = st.floats(1e-3, 1e6, allow_nan=False)
    symbols = data.draw(
        st.lists(st.text("ABZ.-0", min_size=1), min_size=1, max_size=4, unique=True)
    )
    count = data.draw(st.integers(3, 12))
    name, unit = data.draw(st.sampled_from([("D1", "D"), ("H1", "h"), ("M5", "m")]))
    step = np.timedelta64(5 if unit == "m" else 1, unit)
    time = (np.datetime64("2024-02-27", "ns") + step * np.arange(count)).astype(np.int64)
    given_bars = []
    for symbol in sorted(symbols):
        rows = np.array(
            data.draw(st.lists(st.tuples(*[prices] * 4), min_size=count, max_size=count))
        )
        low, opened, close, high = np.sort(rows, axis=1).T
        extra = np.array(data.draw(st.lists(st.integers(0, 50), min_size=count, max_size=count)))
        made = (time, opened, high, low, close, extra * 3.5, extra * 1.0)
        given_bars.append(Bars(symbol, Timeframe[name], *made))
    back = from_finrl(to_finrl(given_bars))
    assert [b.symbol for b in back] == sorted(symbols)
    assert [b.fingerprint() for b in back] == [b.fingerprint() for b in given_bars]


def test_a_recorded_spread_goes_along():
    frame = to_finrl([bars("A", DAYS, 10.0, spread=3.0), bars("B", DAYS, 10.0)])
    assert list(frame.columns) == [*NAMES, "spread"]
    assert [b.spread.tolist() for b in from_finrl(frame)] == [[3.0] * 3, [0.0] * 3]


def test_a_tic_that_is_missing_is_named_and_its_dates_left_out_on_demand():
    panel = Panel([bars("B", DAYS, 10.0), bars("A", DAYS[:1] + DAYS[2:], 10.0)])
    with pytest.raises(DataError, match=r"A lacks 1 of 3 \(first 2024-01-03T00:00:00Z\)") as caught:
        to_finrl(panel)
    assert "B lacks" not in str(caught.value)
    frame = to_finrl(panel, drop_incomplete=True)
    assert frame["date"].tolist() == ["2024-01-02"] * 2 + ["2024-01-05"] * 2
    assert frame["open"].tolist() == [10.0, 10.0, 11.0, 12.0]  # A has its own second bar there
    assert frame.index.tolist() == [0, 0, 1, 1]
    apart = [bars("A", DAYS[:1], 10.0), bars("B", DAYS[1:], 10.0)]
    with pytest.raises(DataError, match="no date on which all of A, B have a bar"):
        to_finrl(apart, drop_incomplete=True)


def test_bars_may_lack_dates_and_an_env_may_not(frame):
    gap = frame.iloc[[0, 1, 3, 4, 5]]  # AAPL lacks Wednesday
    aapl, msft = from_finrl(gap, timeframe="D1")
    assert (len(aapl), len(msft)) == (2, 3)
    assert aapl.open.tolist() == [10.0, 12.0]
    with pytest.raises(DataError, match=r"AAPL lacks 1 of 3 \(first 2024-01-03"):
        finrl_panel(gap, timeframe="D1")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.drop(columns=["tic", "volume"]), "lacks the columns tic, volume; it needs"),
        (lambda f: f.iloc[:0], "lacks rows"),
        (lambda f: f.iloc[[0, 1, 1, 2, 3, 4, 5]], "2024-01-02 MSFT: row stands twice; drop"),
        (
            lambda f: f.iloc[[1, 0, 2, 3, 4, 5]],
            "2024-01-02 AAPL: row is not sorted; use frame.sort",
        ),
        (lambda f: f.iloc[[0, 2, 4, 1, 3, 5]], "2024-01-02 MSFT: row is not sorted"),
        (
            lambda f: f.assign(open=f["open"].mask(f["open"] == 51)),
            "03 MSFT: open nan is no number",
        ),
        (lambda f: f.assign(volume=np.inf), "2024-01-02 AAPL: volume inf is no number"),
        (lambda f: f.assign(low=-1.0), "2024-01-02 AAPL: low -1.0 cannot be"),
        (lambda f: f.assign(close=f["close"] * 0.5), "close 5.5 lies outside low to high; FinRL's"),
        (lambda f: f.assign(date="yesterday"), "a date that cannot be read"),
        (lambda f: f.assign(date=f["date"].mask(f.index == 1)), "no date in row 3"),
    ],
)
def test_a_wrong_frame_is_refused_in_one_sentence(frame, change, says):
    with pytest.raises(DataError) as caught:
        from_finrl(change(frame))
    assert says in str(caught.value)


def test_what_a_frame_cannot_say_is_refused():
    twice = bars("A", ["2024-11-03T05:30", "2024-11-03T06:00", "2024-11-03T06:30"], 10.0, "M30")
    with pytest.raises(DataError, match="America/New_York shows two bars at one time"):
        to_finrl(twice, clock="America/New_York")
    with pytest.raises(DataError, match="no fractions of a second"):
        to_finrl(bars("A", ["2024-01-02T00:00:00.5"], 10.0))
    with pytest.raises(DataError, match="too few bars to tell the timeframe"):
        from_finrl(to_finrl(bars("A", DAYS[:1], 10.0)))


def test_dates_may_be_times_too(frame):
    """As pandas reads them from a CSV, or with their zone, which outranks the clock."""
    expected = [b.fingerprint() for b in from_finrl(frame)]
    times = pd.to_datetime(frame["date"])
    assert [b.fingerprint() for b in from_finrl(frame.assign(date=times))] == expected
    eastern = times.dt.tz_localize("UTC").dt.tz_convert("America/New_York")
    aware = from_finrl(frame.assign(date=eastern), clock="ny+7")
    assert [b.fingerprint() for b in aware] == expected


def test_indicators_come_date_by_date_and_must_be_numbers(frame):
    frame = frame.assign(rsi=np.arange(6.0), macd=-np.arange(6.0))
    values = indicator_columns(frame, ["macd", "rsi"])
    assert values.tolist() == [[[0, -1], [0, 1]], [[-2, -3], [2, 3]], [[-4, -5], [4, 5]]]
    with pytest.raises(DataError, match="lacks the indicators rsi_30"):
        indicator_columns(frame, ["rsi", "rsi_30"])
    with pytest.raises(DataError, match="2024-01-02 AAPL: rsi nan is no number; cut the warm-up"):
        indicator_columns(frame.assign(rsi=frame["rsi"].where(frame["rsi"] > 0)), ["rsi"])
