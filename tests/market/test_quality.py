from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mtquant.errors import DataError
from mtquant.market.bars import Bars
from mtquant.market.clock import Clock
from mtquant.market.quality import check, refuse_errors
from mtquant.market.raw import COLUMNS, Finding, RawBars, Severity
from mtquant.market.repairs import Repairs, repair
from mtquant.market.simulated import simulate
from mtquant.market.symbols import SymbolSpec, SymbolTable
from mtquant.market.timeframe import Timeframe

Hourly = Callable[..., Bars]


def raw_of(bars: Bars) -> RawBars:
    return RawBars.from_bars(bars, "f.csv", Clock.parse("utc"))


def altered(bars: Bars, row: int, **values: float) -> RawBars:
    raw = raw_of(bars)
    columns = {name: getattr(raw, name).copy() for name in values}
    for name, value in values.items():
        columns[name][row] = value
    return replace(raw, **columns)


def found(raw: RawBars, spec: SymbolSpec, now_ns: int | None = None) -> dict[str, Finding]:
    return {finding.code: finding for finding in check(raw, spec, now_ns)}


def test_good_bars_have_no_findings(hourly: Hourly, gold: SymbolSpec) -> None:
    assert check(raw_of(hourly(12)), gold) == []


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"close": np.nan}, "missing_price"),
        ({"open": np.inf}, "missing_price"),
        ({"high": 1990.0}, "high_below_low"),
        ({"high": 2003.5, "close": 2003.75}, "outside_range"),
        ({"low": 2003.75, "high": 2009.0}, "outside_range"),
        ({"low": 0.0}, "non_positive"),
        ({"low": -1.0}, "non_positive"),
        ({"volume": -1.0}, "negative_volume"),
    ],
)
def test_impossible_bars_are_errors_until_they_are_dropped(
    hourly: Hourly, gold: SymbolSpec, values: dict[str, float], code: str
) -> None:
    raw = altered(hourly(), 3, **values)
    findings = found(raw, gold)
    assert findings[code].severity is Severity.ERROR
    assert findings[code].count == 1 and findings[code].place.startswith("f.csv, bar 4 (2024")
    with pytest.raises(DataError, match=r"f.csv, bar 4 .*--drop-bad"):
        refuse_errors(findings.values())
    mended = repair(raw, Repairs(drop_bad=True))
    assert len(mended) == len(raw) - 1
    refuse_errors(check(mended, gold))
    assert found(mended, gold)["repaired"].count == 1


def test_repeats_are_told_from_contradictions(hourly: Hourly, gold: SymbolSpec) -> None:
    bars = hourly()
    twice = raw_of(bars).take(np.array([0, 1, 1, 1, 2, 3]))
    assert found(twice, gold)["duplicate"].count == 2
    assert "conflict" not in found(twice, gold)
    mended = repair(twice, Repairs(drop_duplicates=True))
    assert mended.time.tolist() == bars.time[:4].tolist()
    close = twice.close.copy()
    close[2] += 0.01
    contradicting = replace(twice, close=close)
    codes = found(repair(contradicting, Repairs(drop_duplicates=True)), gold)
    assert codes["conflict"].severity is Severity.ERROR


def test_disorder_is_an_error_and_sorting_cures_it(hourly: Hourly, gold: SymbolSpec) -> None:
    raw = raw_of(hourly(4)).take(np.array([0, 2, 1, 3]))
    finding = found(raw, gold)["order"]
    assert "08:00:00 after 2024-01-08 08:00" not in finding.value and "after" in finding.value
    with pytest.raises(DataError, match="--sort"):
        refuse_errors([finding])
    mended = repair(raw, Repairs(sort=True))
    assert mended.to_bars().fingerprint() == hourly(4).fingerprint()


def test_the_unfinished_bar_and_the_future(hourly: Hourly, gold: SymbolSpec) -> None:
    raw = raw_of(hourly(5))
    last = int(raw.time[-1])
    assert not found(raw, gold, last + 3600 * 10**9)
    assert found(raw, gold, last + 1)["unfinished"].count == 1
    assert found(raw, gold, last - 1)["future"].count == 1
    assert len(repair(raw, Repairs(drop_unfinished=True), last + 1)) == 4
    with pytest.raises(DataError, match="no bar is left"):
        repair(raw, Repairs(drop_unfinished=True), 0)


def test_gaps_count_open_hours_only(hourly: Hourly, gold: SymbolSpec) -> None:
    raw = raw_of(hourly(16))
    kept = np.delete(np.arange(16), [4, 5, 9])
    finding = found(raw.take(kept), gold)["gap"]
    assert finding.count == 2 and "3 bars missing" in finding.what
    assert finding.value.startswith("2 bars after 2024-01-08 09:00")
    assert finding.severity is Severity.WARNING


def test_bars_outside_hours(hourly: Hourly, gold: SymbolSpec) -> None:
    raw = raw_of(hourly(3, start="2024-01-06T12:00"))  # a Saturday
    assert found(raw, gold)["outside_hours"].count == 3


def test_records_that_say_nothing(hourly: Hourly, gold: SymbolSpec) -> None:
    raw = altered(hourly(10), 2, spread=0, volume=0, open=2000, high=2000, low=2000, close=2000)
    findings = found(raw, gold)
    assert findings["zero_spread"].severity is Severity.WARNING
    assert findings["zero_volume"].count == findings["flat"].count == 1
    nothing = replace(raw, spread=np.zeros(10))
    assert found(nothing, gold)["zero_spread"].severity is Severity.INFO


@pytest.fixture(scope="module")
def market(symbols: SymbolTable) -> Bars:
    return simulate(symbols["BTCUSD"], Timeframe.H1, 5000, seed=3)


def test_a_bad_tick_is_a_spike(market: Bars, bitcoin: SymbolSpec) -> None:
    clean = found(raw_of(market), bitcoin)
    assert "spike" not in clean or clean["spike"].count <= 3
    for values in ({"high": market.close[2000] * 1.4}, {"low": market.close[2000] * 0.6}):
        raw = altered(market, 2000, **values)
        finding = found(raw, bitcoin)["spike"]
        assert finding.severity is Severity.WARNING
        assert "--drop-spikes" in finding.cure
        left = repair(raw, Repairs(drop_spikes=True)).time
        assert market.time[2000] not in left
        assert len(left) >= len(market) - 4


def test_a_whole_bar_that_comes_back_is_a_spike(market: Bars, bitcoin: SymbolSpec) -> None:
    away = market.close[2000] * 1.3
    raw = altered(market, 2000, open=away, high=away, low=away, close=away)
    assert market.time[2000] not in repair(raw, Repairs(drop_spikes=True)).time


def scaled(market: Bars, first: int, factor: float) -> RawBars:
    raw = raw_of(market)
    ratio = np.where(np.arange(len(market)) >= first, factor, 1.0)
    prices = {name: getattr(raw, name) * ratio for name in ("open", "high", "low", "close")}
    return replace(raw, **prices)


def test_a_move_that_stays_is_no_spike(market: Bars, bitcoin: SymbolSpec) -> None:
    before = raw_of(market)
    moved = scaled(market, 2000, 1.2)
    assert repair(moved, Repairs(drop_spikes=True)).time.size >= before.time.size - 3
    assert market.time[2000] in repair(moved, Repairs(drop_spikes=True)).time


def test_a_crash_among_wild_bars_is_no_spike(market: Bars) -> None:
    lows = np.array(market.low)
    lows[1999:2002] *= (0.9, 0.8, 0.9)
    crash = replace(raw_of(market), low=lows)
    assert market.time[2000] in repair(crash, Repairs(drop_spikes=True)).time
    lows[[1999, 2001]] = market.low[[1999, 2001]]
    alone = replace(raw_of(market), low=lows)
    assert market.time[2000] not in repair(alone, Repairs(drop_spikes=True)).time


def test_a_fall_that_half_recovers_is_no_spike(market: Bars) -> None:
    fallen = scaled(market, 2001, 0.9)
    for low, stays in ((0.75, True), (0.4, False)):
        lows = fallen.low.copy()
        lows[2000] = market.close[2000] * low
        left = repair(replace(fallen, low=lows), Repairs(drop_spikes=True)).time
        assert (market.time[2000] in left) == stays


def test_a_wild_bar_at_a_simple_ratio_is_no_split(symbols: SymbolTable) -> None:
    halved = scaled(simulate(symbols["SPY"], Timeframe.D1, 800, seed=4), 400, 0.5)
    high = halved.high.copy()
    high[400] *= 1.6
    assert "split" not in found(replace(halved, high=high), symbols["SPY"])


def test_a_split_has_its_own_finding(symbols: SymbolTable) -> None:
    spec = symbols["SPY"]
    market = simulate(spec, Timeframe.D1, 800, seed=4)
    assert "split" not in found(raw_of(market), spec)
    for factor in (0.5, 1 / 7, 10.0):
        finding = found(scaled(market, 400, factor), spec)["split"]
        assert finding.count == 1 and "bar 401" in finding.place
    assert "split" not in found(scaled(market, 400, 0.55), spec)


def test_repairs_do_nothing_unless_told(hourly: Hourly) -> None:
    raw = raw_of(hourly()).take(np.array([0, 2, 1, 1, 3]))
    untouched = repair(raw, Repairs())
    for name in COLUMNS:
        assert (getattr(untouched, name) == getattr(raw, name)).all()
    assert Repairs(sort=True, drop_bad=True).chosen == ("sort", "drop_bad")
