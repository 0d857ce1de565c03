from collections.abc import Callable

import numpy as np
import pytest

from mtquant.errors import DataError
from mtquant.market.bars import Bars
from mtquant.market.clock import DAY_NS, HOUR_NS, Clock
from mtquant.market.hours import TradingHours
from mtquant.market.resample import resample
from mtquant.market.simulated import simulate
from mtquant.market.symbols import SymbolSpec, SymbolTable
from mtquant.market.timeframe import Timeframe

Hourly = Callable[..., Bars]


def test_a_day_by_hand(hourly: Hourly, gold: SymbolSpec) -> None:
    # Server midnight is 22:00 UTC; trading starts at 23:00. Two hours of one day, all of the next,
    # three hours of a third: only the middle one is whole.
    bars = hourly(2 + 1 + 24 + 3, start="2024-01-08T20:00")
    bars = Bars(
        "XAUUSD",
        Timeframe.H1,
        **{
            name: column[TradingHours.of(gold).is_open(bars.time)]
            for name, column in bars.columns()
        },
    )
    day = resample(bars, Timeframe.D1, gold)
    inside = bars[2:25]
    assert len(inside) == 23 and day.when(0) == "2024-01-08T22:00:00Z"
    assert len(day) == 1
    assert day.open[0] == inside.open[0] and day.close[0] == inside.close[-1]
    assert day.high[0] == inside.high.max() and day.low[0] == inside.low.min()
    assert day.volume[0] == inside.volume.sum() and day.spread[0] == 18.0


def test_the_widest_recorded_spread_counts(hourly: Hourly, gold: SymbolSpec) -> None:
    columns = dict(hourly(8, start="2024-01-08T06:00").columns())
    columns["spread"] = np.array([0, 12, 40, 0, 0, 0, 0, 0], float)
    made = resample(Bars("XAUUSD", Timeframe.H1, **columns), Timeframe.H4, gold)
    assert made.when(0) == "2024-01-08T06:00:00Z"
    assert made.spread.tolist() == [40.0, 0.0]


def test_weeks_open_on_sunday_and_months_on_the_first(symbols: SymbolTable) -> None:
    for name in ("XAUUSD", "BTCUSD"):
        spec = symbols[name]
        bars = simulate(spec, Timeframe.H1, 4000, seed=1)
        wall = Clock.parse(spec.clock).from_utc
        weeks = resample(bars, Timeframe.W1, spec)
        assert set(((wall(weeks.time) // DAY_NS + 3) % 7).tolist()) == {6}
        assert set((wall(weeks.time) % DAY_NS).tolist()) == {0}
        months = wall(resample(bars, Timeframe.MN1, spec).time).astype("datetime64[ns]")
        assert (months == months.astype("datetime64[M]")).all() and len(months) >= 4


@pytest.mark.parametrize("name", ["XAUUSD", "EURUSD", "BTCUSD"])
@pytest.mark.parametrize("by", ["M15", "H1", "H4"])
def test_two_steps_give_what_one_gives(symbols: SymbolTable, name: str, by: str) -> None:
    spec = symbols[name]
    bars = simulate(
        spec, Timeframe.M5, 8000, seed=2, start_ns=np.datetime64("2024-03-04", "ns").astype(int)
    )
    direct = resample(bars, Timeframe.D1, spec)
    stepwise = resample(resample(bars, Timeframe[by], spec), Timeframe.D1, spec)
    assert direct.fingerprint() == stepwise.fingerprint()


def test_later_bars_never_change_a_finished_one(gold: SymbolSpec) -> None:
    bars = simulate(gold, Timeframe.M15, 3000, seed=5)
    whole = resample(bars, Timeframe.H4, gold)
    for cut in range(2000, 2040):
        part = resample(bars[:cut], Timeframe.H4, gold)
        assert part.fingerprint() == whole[: len(part)].fingerprint()
        # Nothing is held back either: every period that has ended is there.
        ended = whole.time + 4 * HOUR_NS <= bars.time[cut]
        assert len(part) >= int(ended[: len(part) + 2].sum())


def test_the_repeated_hour_stays_two_hours(symbols: SymbolTable) -> None:
    spec = symbols["BTCUSD"].model_copy(update={"clock": "ny+7"})
    start = np.datetime64("2024-11-03T00:00", "ns").astype(int)
    bars = simulate(symbols["BTCUSD"], Timeframe.M15, 96 * 2, seed=1, start_ns=start)
    hours = resample(bars, Timeframe.H1, spec)
    assert len(hours) == 48 and set(np.diff(hours.time).tolist()) == {HOUR_NS}
    days = resample(bars, Timeframe.D1, spec)
    assert days.when(0) == "2024-11-03T22:00:00Z"


@pytest.mark.parametrize(
    ("source", "target"), [("H1", "M30"), ("H4", "H6"), ("W1", "MN1"), ("M2", "M3")]
)
def test_what_does_not_fit_is_refused(
    hourly: Hourly, gold: SymbolSpec, source: str, target: str
) -> None:
    bars = Bars("XAUUSD", Timeframe[source], **dict(hourly().columns()))
    with pytest.raises(DataError, match=f"{source} bars cannot be resampled to {target}"):
        resample(bars, Timeframe[target], gold)


def test_too_little_for_one_whole_bar(hourly: Hourly, gold: SymbolSpec) -> None:
    with pytest.raises(DataError, match="20 H1 bars make no whole W1 bar"):
        resample(hourly(), Timeframe.W1, gold)
    assert resample(hourly(), Timeframe.H1, gold).fingerprint() == hourly().fingerprint()
