from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mtquant.config.assemble import (
    SMALLEST_SPLIT,
    bars_per_year,
    reward_scale,
    split_rows,
)
from mtquant.config.data import given_market, regenerate, resolve_market, simulated_market
from mtquant.config.load import load_symbols
from mtquant.config.schema import EnvConfig, SplitConfig
from mtquant.errors import DataError
from mtquant.market.bars import Bars
from mtquant.market.clock import utc_text
from mtquant.market.panel import Panel
from mtquant.market.simulated import SimulatedMarket
from mtquant.market.store import Source, Store
from mtquant.market.timeframe import Timeframe

SHARES = st.floats(0.02, 0.4)


def env_of(**changes) -> EnvConfig:
    plain = {"name": "mine", "symbols": ["XAUUSD"], "features": ["returns"]}
    return EnvConfig.model_validate({**plain, **changes})


def test_splits_worked_out_by_hand():
    """10,000 bars: 2,000 test, 1,600 validation, 24 between each, 700 of warm-up."""
    splits = split_rows(10_000, 700, SplitConfig())
    assert splits.train == (700, 6_375)
    assert splits.validation == (6_400, 7_975)
    assert splits.test == (8_000, 9_999)


@given(st.integers(100, 60_000), st.integers(1, 2_000), SHARES, SHARES, st.integers(0, 300))
def test_splits_are_in_order_with_the_embargo_between(bars, warm_up, validation, test, gap):
    config = SplitConfig(validation=validation, test=test, embargo_bars=gap)
    try:
        splits = split_rows(bars, warm_up, config)
    except DataError:
        assume(False)
    for first, last in (splits.train, splits.validation, splits.test):
        assert last - first >= SMALLEST_SPLIT
    assert splits.train[0] == warm_up
    assert splits.validation[0] - splits.train[1] == gap + 1
    assert splits.test[0] - splits.validation[1] == gap + 1
    assert splits.test[1] == bars - 1
    assert splits.test[1] - splits.test[0] + 1 == round(bars * test)


@given(st.integers(1, 1_000), st.integers(1, 2_000), SHARES, SHARES, st.integers(0, 300))
def test_the_number_of_bars_that_is_asked_for_suffices(bars, warm_up, validation, test, gap):
    config = SplitConfig(validation=validation, test=test, embargo_bars=gap)
    with pytest.raises(DataError) as caught:
        split_rows(min(bars, 400), warm_up, config)
    message = str(caught.value)
    needed = int(re.search(r"need (\d+);", message).group(1))
    split_rows(needed, warm_up, config)


def test_no_more_bars_are_asked_for_than_needed():
    with pytest.raises(DataError, match="900 bars are too few: a warm-up of 746 bars") as caught:
        split_rows(900, 746, SplitConfig())
    needed = int(re.search(r"need (\d+);", str(caught.value)).group(1))
    # 0.64 n has to hold the warm-up, 200 bars and the embargo.
    assert needed == pytest.approx((746 + 200 + 25) / 0.64, abs=5)
    with pytest.raises(DataError):
        split_rows(needed - 10, 746, SplitConfig())


def test_bars_per_year_is_the_pace_of_the_data():
    hours = np.arange(24 * 365) * 3_600_000_000_000
    assert bars_per_year(hours) == pytest.approx(8_766)
    assert bars_per_year(hours[:1]) == 1.0


def test_times_are_said_in_utc():
    assert utc_text(1_704_200_400_000_000_000) == "2024-01-02T13:00:00Z"


def quiet(symbol: str = "XAUUSD", timeframe: Timeframe = Timeframe.H1, n: int = 50) -> Bars:
    price = np.full(n, 2000.0)
    time = np.arange(n) * timeframe.nanoseconds
    return Bars(symbol, timeframe, time, price, price, price, price, np.zeros(n), np.zeros(n))


def test_prices_that_never_move_have_no_reward_unit():
    env = env_of()
    market = given_market(env, quiet())
    with pytest.raises(DataError, match="prices never move"):
        reward_scale(env, market.panel, market.specs)


def test_the_reward_unit_by_hand(toy_bars):
    """Fixed at 1.5 times equity: 1.5 times the deviation of the bars' returns."""
    close = np.array([2000.0, 2020.0, 1999.8, 2019.8])
    rows = np.stack([close, close, close, close], axis=1)
    env = env_of(sizing={"method": "fixed_fractional", "notional_fraction": 1.5})
    market = given_market(env, toy_bars(rows, "XAUUSD"))
    expected = 1.5 * np.std(np.diff(close) / close[:-1])
    assert reward_scale(env, market.panel, market.specs) == pytest.approx(expected)
    capped = env_of(
        sizing={"method": "fixed_fractional", "notional_fraction": 1.5},
        limits={"max_exposure": 0.5},
    )
    assert reward_scale(capped, market.panel, market.specs) == pytest.approx(expected / 3)


def test_given_bars_must_be_the_envs():
    two = env_of(symbols=["XAUUSD", "EURUSD"])
    with pytest.raises(DataError, match=r"bars of EURUSD are missing \(given: XAUUSD\)"):
        given_market(two, quiet())
    with pytest.raises(DataError, match="trades H1 bars, given are M15"):
        given_market(env_of(), quiet(timeframe=Timeframe.M15))
    market = given_market(two, [quiet("EURUSD"), quiet("XAUUSD"), quiet("BTCUSD")])
    assert market.panel.symbols == ("XAUUSD", "EURUSD")
    assert given_market(env_of(), Panel([quiet()])).source == "given bars"
    assert market.simulated_seed is None


def test_the_simulated_market_says_so_and_can_be_made_again():
    env = env_of(symbols=["XAUUSD", "EURUSD"])
    market = simulated_market(env, n_bars=300, seed=3)
    assert "simulated" in market.source
    assert market.simulated_seed == 3
    again = regenerate(market.generator, market.specs)
    assert tuple(b.fingerprint() for b in again.bars) == market.fingerprints
    assert "simulated market" in market.description
    with pytest.raises(DataError, match="cannot be made again"):
        regenerate({"XAUUSD": {"law": "other"}}, market.specs)
    with pytest.raises(DataError, match="cannot be made again"):
        regenerate({}, market.specs)


def test_the_store_comes_before_the_simulated_market(tmp_path, monkeypatch):
    monkeypatch.setattr(simulated_market, "__defaults__", (300, 7))
    assert resolve_market(env_of(), data_dir=tmp_path).simulated_seed == 7
    Store(tmp_path).add(quiet(), Source("f.csv", "utc", 50, "first", "last"))
    stored = resolve_market(env_of(), data_dir=tmp_path)
    assert stored.simulated_seed is None
    assert stored.fingerprints == (quiet().fingerprint(),)
    given = resolve_market(env_of(), quiet(n=60), data_dir=tmp_path)
    assert len(given.panel) == 60


def asked_for(warm_up: int, config: SplitConfig) -> int:
    with pytest.raises(DataError) as caught:
        split_rows(300, warm_up, config)
    return int(re.search(r"need (\d+);", str(caught.value)).group(1))


@given(st.integers(1, 2_000), SHARES, SHARES, st.integers(0, 300))
def test_the_number_asked_for_is_at_most_a_twentieth_too_high(warm_up, validation, test, gap):
    config = SplitConfig(validation=validation, test=test, embargo_bars=gap)
    needed = asked_for(warm_up, config)
    split_rows(needed, warm_up, config)
    with pytest.raises(DataError):
        split_rows(int(needed * 0.95), warm_up, config)


def test_no_embargo_is_asked_for_after_the_test_split():
    """A twentieth of the bars has to hold 201; nothing follows it that must be kept apart."""
    config = SplitConfig(validation=0.3, test=0.05, embargo_bars=300)
    needed = asked_for(50, config)
    assert 201 / 0.05 <= needed <= 203 / 0.05
    split_rows(needed, 50, config)
    with pytest.raises(DataError):
        split_rows(int(needed * 0.95), 50, config)


@pytest.mark.parametrize(("timeframe", "bars"), [("H1", 100_000), ("H4", 31_284), ("D1", 5214)])
def test_the_simulated_market_ends_in_the_past(timeframe, bars):
    market = simulated_market(env_of(timeframe=timeframe))
    assert len(market.panel) == bars
    assert market.panel.time[-1] < np.datetime64("2026-01-01", "ns").astype(np.int64)


@pytest.mark.parametrize(
    "change",
    [
        *({"n_bars": n} for n in (10**12, 5_000_001, "many", None, -1, 1e3, float("nan"))),
        *({"seed": seed} for seed in (-1, "x", 1.5)),
        *({"start_ns": ns} for ns in (2**63 - 1, -(2**63), 10**30, "now")),
        *({"drift": float("nan")}, {"timeframe": "H7"}, {"timeframe": 60}, {"surprise": 1}),
    ],
    ids=str,
)
def test_a_hostile_record_of_a_simulated_market_is_refused(change):
    """It may come from a bundle that somebody else has made."""
    spec = load_symbols()["XAUUSD"]
    record = {**SimulatedMarket("XAUUSD", "H1", 50, 1).to_dict(), **change}
    with pytest.raises(DataError, match="cannot be made again") as caught:
        regenerate({"XAUUSD": record}, [spec])
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


@pytest.mark.parametrize("record", [None, 3, "x", [], [1]])
def test_a_record_that_is_none_is_refused(record):
    with pytest.raises(DataError, match="cannot be made again"):
        regenerate({"XAUUSD": record}, [load_symbols()["XAUUSD"]])
