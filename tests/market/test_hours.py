import numpy as np
import pytest

from mtquant.errors import ConfigError
from mtquant.market.clock import Clock
from mtquant.market.hours import TradingHours
from mtquant.market.symbols import SymbolSpec, SymbolTable
from mtquant.market.timeframe import Timeframe


def utc(*texts: str) -> np.ndarray:
    return np.array(texts, "datetime64[ns]").astype(np.int64)


@pytest.mark.parametrize(
    ("symbol", "moment", "is_open"),
    [
        ("XAUUSD", "2024-01-08T22:30", False),  # the daily break, winter
        ("XAUUSD", "2024-01-08T23:00", True),
        ("XAUUSD", "2024-07-08T21:30", False),  # the same break in summer
        ("XAUUSD", "2024-07-08T22:00", True),
        ("EURUSD", "2024-01-07T21:59", False),  # Sunday evening: opens at 22:00 UTC
        ("EURUSD", "2024-01-07T22:00", True),
        ("EURUSD", "2024-01-12T22:00", False),  # Friday evening
        ("BTCUSD", "2024-01-13T12:00", True),
        ("SPY", "2024-07-08T13:29", False),
        ("SPY", "2024-07-08T13:30", True),
        ("SPY", "2024-07-08T20:00", False),
    ],
)
def test_open_and_closed(symbols: SymbolTable, symbol: str, moment: str, is_open: bool) -> None:
    assert TradingHours.of(symbols[symbol]).is_open(utc(moment))[0] == is_open


@pytest.mark.parametrize(
    ("symbol", "timeframe", "times", "missing"),
    [
        ("XAUUSD", "H1", ("2024-01-08T21:00", "2024-01-08T23:00"), 0),  # the break
        ("XAUUSD", "H1", ("2024-01-12T21:00", "2024-01-14T23:00"), 0),  # the weekend
        ("XAUUSD", "H1", ("2024-01-08T20:00", "2024-01-09T01:00"), 3),
        ("XAUUSD", "H1", ("2024-01-08T22:00", "2024-01-09T01:00"), 2),  # from a bar in the break
        ("EURUSD", "H1", ("2024-01-05T20:00", "2024-01-08T00:00"), 3),
        ("BTCUSD", "M5", ("2024-01-13T00:00", "2024-01-14T00:00"), 287),
        ("SPY", "D1", ("2024-01-05T05:00", "2024-01-08T05:00"), 0),
        ("SPY", "D1", ("2024-01-05T05:00", "2024-01-10T05:00"), 2),
        ("EURUSD", "W1", ("2024-01-06T22:00", "2024-01-27T22:00"), 2),
        ("EURUSD", "MN1", ("2023-12-31T22:00", "2024-03-31T21:00"), 2),
    ],
)
def test_missing_bars_are_counted_only_in_open_hours(
    symbols: SymbolTable, symbol: str, timeframe: str, times: tuple[str, str], missing: int
) -> None:
    hours = TradingHours.of(symbols[symbol])
    assert hours.missing_between(utc(*times), Timeframe[timeframe]).tolist() == [missing]


def with_hours(spec: SymbolSpec, hours: dict[str, str]) -> SymbolSpec:
    return spec.model_copy(update={"hours": hours})


def test_several_sessions_and_days_that_wrap(gold: SymbolSpec) -> None:
    hours = TradingHours.of(
        with_hours(gold, {"sun,mon": "22:00-24:00", "fri-sat": "00:00-01:00,02:00-03:00"})
    )
    assert hours.open_minutes.sum() == 2 * 120 + 2 * 120
    assert hours.clock == Clock.parse("ny+7")
    assert hours.open_minutes[:1440].sum() == 120  # Sunday comes first


@pytest.mark.parametrize(
    ("hours", "message"),
    [
        ({"mon-fry": "01:00-24:00"}, "did you mean 'fri'"),
        ({"mon": "1-24"}, "cannot read the trading hours 'mon: 1-24'"),
        ({"mon": "12:00-11:00"}, "cannot read"),
        ({"mon-fri": "01:00-24:00", "wed": "23:00-24:00"}, "overlap"),
    ],
)
def test_bad_hours_are_refused(gold: SymbolSpec, hours: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TradingHours.of(with_hours(gold, hours))
