import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.market.clock import HOUR_NS, WEEK_NS, Clock
from mtquant.market.rollover import nights_of_week, swap_nights
from mtquant.market.symbols import SymbolTable


def instant(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def nights(spec: object, *times: str) -> list[int]:
    opens = np.array([instant(t) for t in times], np.int64)
    return swap_nights(opens[:-1], opens[1:], spec).tolist()  # type: ignore[arg-type]


def test_each_night_of_a_gold_week_in_winter(symbols: SymbolTable) -> None:
    # Midnight on ny+7 is 22:00 UTC in winter; Wednesday's end books three.
    opens = [f"2024-01-{day:02d}T22:00" for day in range(7, 15)]
    assert nights(symbols["XAUUSD"], *opens) == [1, 1, 3, 1, 1, 0, 0]


def test_the_rollover_belongs_to_the_bar_that_ends_at_it(symbols: SymbolTable) -> None:
    times = ("2024-01-09T20:00", "2024-01-09T21:00", "2024-01-09T22:00", "2024-01-09T23:00")
    assert nights(symbols["EURUSD"], *times) == [0, 1, 0]


def test_the_daily_break_books_its_night_once(symbols: SymbolTable) -> None:
    times = ("2024-01-10T20:00", "2024-01-10T21:00", "2024-01-10T23:00", "2024-01-11T00:00")
    assert nights(symbols["XAUUSD"], *times) == [0, 3, 0]


def test_friday_books_the_weekend_of_an_index(symbols: SymbolTable) -> None:
    assert nights(symbols["US500"], "2024-01-12T21:00", "2024-01-14T23:00") == [3]


def test_crypto_books_every_night_once(symbols: SymbolTable) -> None:
    assert nights_of_week(symbols["BTCUSD"]).tolist() == [1] * 7
    assert nights(symbols["BTCUSD"], "2024-01-12T23:00", "2024-01-15T00:00") == [3]


@pytest.mark.parametrize("name", ["XAUUSD", "EURUSD", "US500", "BTCUSD", "SPY"])
@given(
    start=st.integers(instant("2015-01-01") // HOUR_NS, instant("2030-01-01") // HOUR_NS),
    cuts=st.lists(st.integers(1, 7 * 24 * 60 - 1), max_size=30, unique=True),
)
def test_any_week_holds_seven_nights_however_it_is_cut(
    symbols: SymbolTable, name: str, start: int, cuts: list[int]
) -> None:
    spec = symbols[name]
    clock = Clock.parse(spec.clock)
    begin = start * HOUR_NS
    # A week on the wall clock: 167 or 169 hours where the season changes.
    end = int(clock.locate(clock.from_utc(np.array([begin])) + WEEK_NS).utc[0])
    inner = [begin + cut * 60 * 10**9 for cut in cuts if begin + cut * 60 * 10**9 < end]
    times = np.array(sorted({begin, *inner, end}), np.int64)
    assert swap_nights(times[:-1], times[1:], spec).sum() == 7
