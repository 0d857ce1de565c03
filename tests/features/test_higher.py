from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from mtquant.errors import DataError
from mtquant.features.higher import HigherChannel, HigherTrend
from mtquant.features.returns import average_true_range
from mtquant.market.bars import Bars
from mtquant.market.clock import DAY_NS, HOUR_NS, Clock
from mtquant.market.panel import Panel
from mtquant.market.resample import resample
from mtquant.market.simulated import simulate
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe

SYMBOLS = Path(__file__).parents[2] / "configs" / "symbols.yaml"


def spec_of(name: str, **changes: str) -> SymbolSpec:
    fields = yaml.safe_load(SYMBOLS.read_text(encoding="utf-8"))[name]
    return SymbolSpec(name=name, **{**fields, **changes})


def start_ns(date: str) -> int:
    return int(np.datetime64(date, "ns").astype(np.int64))


def market(name: str, base: str, date: str, size: int, clock: str, holes: float) -> Bars:
    """A simulated market from a date on, some of whose bars are missing."""
    bars = simulate(
        spec_of(name, clock=clock), Timeframe[base], size, seed=7, start_ns=start_ns(date)
    )
    kept = np.random.default_rng(1).random(size) >= holes
    return Bars(bars.symbol, bars.timeframe, **{k: column[kept] for k, column in bars.columns()})


def ends(higher: Bars, clock: Clock) -> np.ndarray:
    """When each higher bar's period is over: its next start on the wall clock."""
    if higher.timeframe.minutes <= 60:
        return higher.time + higher.timeframe.nanoseconds
    length = higher.timeframe.nanoseconds
    shift = 4 * DAY_NS if higher.timeframe is Timeframe.W1 else 0
    wall = clock.from_utc(higher.time) + shift
    return clock.locate((wall // length + 1) * length - shift).utc


def values(feature, bars, last=None):
    return feature.compute(Panel([bars]), {}, last)[:, 0]


# Both changes of New York's clock (10 March, 3 November 2024), Athens' (31 March), and weekends.
CASES = [
    ("XAUUSD", "H1", "D1", "ny+7", "2024-02-20", 5, 0.0),
    ("XAUUSD", "H1", "D1", "ny+7", "2024-10-20", 5, 0.05),
    ("BTCUSD", "H1", "D1", "ny+7", "2024-10-20", 5, 0.0),
    ("BTCUSD", "H1", "D1", "ny+7", "2024-02-20", 3, 0.05),
    ("BTCUSD", "H1", "D1", "utc", "2024-02-20", 1, 0.0),
    ("XAUUSD", "H1", "H4", "ny+7", "2024-10-20", 5, 0.0),
    ("BTCUSD", "M15", "H4", "eet", "2024-03-20", 5, 0.05),
    ("BTCUSD", "M5", "H1", "ny+7", "2024-10-30", 5, 0.05),
    ("XAUUSD", "M5", "D1", "ny+7", "2024-10-28", 4, 0.0),
    ("BTCUSD", "M5", "D1", "ny+7", "2024-10-28", 4, 0.0),
    ("XAUUSD", "H4", "W1", "ny+7", "2024-02-01", 4, 0.0),
]


@pytest.mark.parametrize(
    ("name", "base", "frame", "clock", "date", "n", "holes"), CASES, ids=lambda v: str(v)
)
def test_rows_equal_resampled_bars_that_had_closed(name, base, frame, clock, date, n, holes):
    size = {"M5": 4500, "M15": 2500}.get(base, 1000)
    bars = market(name, base, date, size, clock, holes)
    higher = resample(bars, Timeframe[frame], spec_of(name, clock=clock))
    end = ends(higher, Clock.parse(clock))
    given = {"timeframe": frame, "base": base, "clock": clock}
    channel = HigherChannel(counts=(n,), **given)
    trend = HigherTrend(count=max(n, 2), **given)
    distances, trends = values(channel, bars), values(trend, bars)
    atr = average_true_range(bars, 14)
    first = max(channel.lookback, trend.lookback) - 1
    checked = 0
    # What the file ends in the middle of is not resampled, so the very last rows are left out.
    for row in range(first, int(np.searchsorted(bars.time, higher.time[-1]))):
        known = int(np.searchsorted(end, bars.time[row] + bars.timeframe.nanoseconds, "right"))
        assert known >= max(n, 2)
        high, low = higher.high[known - n : known].max(), higher.low[known - n : known].min()
        close = bars.close[row]
        expected = [(high - close) / atr[row], (close - low) / atr[row]]
        cut = channel.columns[0].high
        assert distances[row].tolist() == np.clip(expected, -cut, cut).tolist()
        closes = higher.close[known - max(n, 2) : known]
        assert trends[row, 0] == pytest.approx(np.log(closes[-1] / closes.mean()), abs=1e-13)
        checked += 1
    assert checked > 150


def test_a_day_by_hand(bars_of):
    # 408 alike hours; then a day (UTC) with extremes 130 and 90 in its first two hours.
    close = np.full(480, 100.0)
    high, low = close + 5.0, close - 5.0
    high[408], low[409] = 130.0, 90.0
    bars = bars_of(close, high=high, low=low)
    atr = average_true_range(bars, 14)
    result = values(HigherChannel(counts=(1,), clock="utc"), bars) * atr[:, None]
    # Hour 408 opens day 17, which closes with hour 431: seen from that row on, for 24 rows.
    np.testing.assert_allclose(result[373:431], 5.0, rtol=1e-12)
    np.testing.assert_allclose(result[431:455], np.tile([30.0, 10.0], (24, 1)), rtol=1e-12)
    np.testing.assert_allclose(result[455:], 5.0, rtol=1e-12)


@pytest.mark.parametrize(
    "feature",
    [HigherChannel(), HigherTrend(), HigherChannel(timeframe="H4"), HigherTrend(timeframe="W1")],
)
def test_the_forming_bar_and_what_comes_later_are_never_seen(feature):
    bars = market("XAUUSD", "H1", "2024-10-01", 1300, "ny+7", 0.02)
    whole = values(feature, bars)
    rng = np.random.default_rng(2)
    for row in [*rng.integers(feature.lookback, len(bars) - 60, 40), len(bars) - 30]:
        wild = {name: np.array(column) for name, column in bars.columns()}
        for name in ("open", "high", "low", "close"):
            wild[name][row + 1 :] *= rng.uniform(0.5, 2.0)
        altered = values(feature, Bars(bars.symbol, bars.timeframe, **wild))
        np.testing.assert_array_equal(altered[: row + 1], whole[: row + 1])


@pytest.mark.parametrize(
    "feature",
    [HigherChannel(clock="ny+7"), HigherTrend(), HigherTrend(timeframe="H4", count=9)],
)
def test_a_live_window_gives_the_bits_of_the_whole_history(feature):
    bars = market("BTCUSD", "H1", "2024-10-01", 1300, "ny+7", 0.0)
    whole = values(feature, bars)
    for row in range(feature.lookback - 1, len(bars), 7):
        window = bars[row - feature.lookback + 1 : row + 1]
        np.testing.assert_array_equal(values(feature, window, last=1)[0], whole[row])


def test_the_repeated_hour_is_two_higher_bars(bars_of):
    # New York goes back at 06:00 UTC on 3 November 2024: 08:00 to 09:00 on ny+7 comes twice.
    hour = np.arange(440) // 4
    bars = bars_of(
        np.full(440, 1000.0),
        timeframe=Timeframe.M15,
        start=start_ns("2024-11-03T06:00") - 100 * HOUR_NS,
        high=1000.0 + hour,
        low=np.full(440, 999.0),
    )
    feature = HigherChannel(counts=(1,), timeframe="H1", base="M15")
    seen = values(feature, bars)[:, 0] * average_true_range(bars, 14)
    rows = np.arange(feature.lookback, 440)
    assert rows[0] < 4 * 98, "hours before and after the change"
    np.testing.assert_allclose(seen[rows], np.where(rows % 4 == 3, hour[rows], hour[rows] - 1))


def test_a_distance_is_negative_beyond_the_channel_and_cut(bars_of):
    close = np.append(np.full(399, 100.0), 5000.0)
    high, low = close + 1.0, close - 1.0
    row = values(HigherChannel(counts=(5,)), bars_of(close, high=high, low=low))[-1]
    # The jump of 4901 weighs 1/14 in its own range: 14 ranges at most, inside the cut of 43.8.
    atr = (2.0 * 13 + 4901.0) / 14
    np.testing.assert_allclose(row, [(101 - 5000) / atr, (5000 - 99) / atr], rtol=1e-9)
    calm = np.append(np.full(380, 100.0), np.full(600, 300.0))
    after = values(HigherChannel(counts=(5,)), bars_of(calm))
    cut = 4.0 * np.sqrt(5 * 24)
    assert np.nanmax(after) == pytest.approx(cut) and HigherChannel().columns[3].high == cut


def test_without_any_closed_bar_the_columns_are_neutral(bars_of):
    # Bars of a minute's distance that claim to be hours never fill a day.
    time = 60 * 10**9 * np.arange(500)
    close = 100.0 + np.arange(500) % 3
    bars = bars_of(close, time=time)
    assert (values(HigherTrend(), bars)[200:] == 0.0).all()
    assert (values(HigherChannel(), bars)[400:] == 0.0).all()
    # A day that ends inside the window and began before it is not whole.
    ending = bars_of(close, time=time + 22 * HOUR_NS)
    assert (values(HigherChannel(clock="utc"), ending)[373:] == 0.0).all()


def test_columns_and_lookbacks():
    assert HigherChannel().names == (
        "higher_high_d1_1",
        "higher_low_d1_1",
        "higher_high_d1_5",
        "higher_low_d1_5",
    )
    assert HigherTrend().names == ("higher_trend_d1_5",)
    # Five days, one forming, and one repeated hour.
    assert HigherTrend().lookback == 6 * 24 + 1
    assert HigherTrend(timeframe="H4", base="M5").lookback == 6 * 48 + 12
    assert HigherTrend(base="M5", count=4).lookback == 5 * 288 + 12


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"base": "M5"}, "5 closed D1 bars take 1740 bars of M5, more than 1500; ask for fewer"),
        ({"base": "H8", "timeframe": "H12"}, "base H8 does not fit into timeframe H12"),
        ({"base": "H4", "timeframe": "H4"}, "base H4 does not fit"),
        ({"clock": "ny7"}, "unknown clock 'ny7'"),
        ({"timeframe": "D2"}, "Input should be"),
    ],
)
def test_mistakes_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        HigherTrend(**params)


def test_bars_that_do_not_fit_are_refused_with_the_cure(bars_of):
    with pytest.raises(DataError, match=r"'higher_trend' makes D1 bars from H1.*got M5; set its"):
        values(HigherTrend(), bars_of(np.ones(500), timeframe=Timeframe.M5))
    with pytest.raises(DataError, match="got D1"):
        values(HigherTrend(), bars_of(np.ones(500), timeframe=Timeframe.D1))
    values(HigherTrend(), bars_of(np.ones(500), timeframe=Timeframe.H4))
