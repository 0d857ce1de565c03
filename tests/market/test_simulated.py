import numpy as np
import pytest

from mtquant.errors import ConfigError
from mtquant.market.clock import Clock
from mtquant.market.hours import TradingHours
from mtquant.market.quality import check
from mtquant.market.raw import RawBars, Severity
from mtquant.market.simulated import (
    MONDAY_2015_NS,
    SimulatedHistory,
    SimulatedMarket,
    simulate,
    trading_times,
)
from mtquant.market.symbols import SymbolSpec, SymbolTable
from mtquant.market.timeframe import Timeframe


@pytest.fixture(scope="module")
def history(symbols: SymbolTable) -> SimulatedHistory:
    return SimulatedMarket("XAUUSD", "H1", 50_000, 7).run(symbols["XAUUSD"])


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def test_a_seed_makes_one_market(gold: SymbolSpec) -> None:
    market = SimulatedMarket("XAUUSD", "H1", 500, 7)
    again = SimulatedMarket(**market.to_dict())
    assert market == again
    assert market.bars(gold).fingerprint() == again.bars(gold).fingerprint()
    assert simulate(gold, Timeframe.H1, 500, 8).fingerprint() != market.bars(gold).fingerprint()


@pytest.mark.parametrize("name", ["XAUUSD", "EURUSD", "USDJPY", "BTCUSD", "SPY", "GOOGL"])
@pytest.mark.parametrize("timeframe", ["M5", "H1", "H4", "D1"])
def test_the_bars_pass_the_checks_of_real_ones(
    symbols: SymbolTable, name: str, timeframe: str
) -> None:
    spec = symbols[name]
    bars = simulate(spec, Timeframe[timeframe], 1500, seed=1)
    raw = RawBars.from_bars(bars, "simulated", Clock.parse("utc"))
    findings = {found.code: found for found in check(raw, spec)}
    assert len(bars) == 1500
    assert not [f for f in findings.values() if f.severity is Severity.ERROR]
    assert not {"gap", "outside_hours", "zero_spread", "zero_volume"} & findings.keys()
    ticks = bars.close / spec.tick_size
    assert np.abs(ticks - np.rint(ticks)).max() < 1e-3


def test_gaps_are_the_markets_own(history: SimulatedHistory, gold: SymbolSpec) -> None:
    assert TradingHours.of(gold).is_open(history.bars.time).all()
    steps = set((np.diff(history.bars.time) // (3600 * 10**9)).tolist())
    # The daily break, and the weekend: an hour shorter or longer where the season changes.
    assert {1, 2, 50} <= steps <= {1, 2, 49, 50, 51}


def test_returns_have_fat_tails_and_cluster(history: SimulatedHistory) -> None:
    returns = np.diff(np.log(history.bars.close))
    assert np.mean(returns**4) / np.mean(returns**2) ** 2 > 5
    size = np.abs(returns)
    daily = np.add.reduceat(size, np.arange(0, size.size, 23))
    assert correlation(daily[1:], daily[:-1]) > 0.3  # beyond the day's own rhythm
    assert abs(correlation(returns[1:], returns[:-1])) < 0.05


def test_the_scale_is_the_asset_classs(history: SimulatedHistory) -> None:
    bars = history.bars
    years = (bars.time[-1] - bars.time[0]) / 1e9 / 86400 / 365.25
    annual = np.std(np.diff(np.log(bars.close))) * np.sqrt(len(bars) / years)
    assert 0.12 < annual < 0.20


def test_the_day_has_its_rhythm(history: SimulatedHistory) -> None:
    bars = history.bars
    hour = Clock.parse("America/New_York").from_utc(bars.time) // (3600 * 10**9) % 24
    reach = np.log(bars.high / bars.low)
    asia, new_york = (reach[np.isin(hour, hours)].mean() for hours in ((20, 21, 22), (9, 10, 11)))
    assert new_york > 1.7 * asia


def test_crypto_rests_on_weekends(bitcoin: SymbolSpec) -> None:
    bars = simulate(bitcoin, Timeframe.H1, 20_000, seed=2)
    weekend = (bars.time // (86400 * 10**9) + 3) % 7 >= 5
    reach = np.log(bars.high / bars.low)
    assert reach[weekend].mean() < 0.85 * reach[~weekend].mean()


def test_spreads_widen_at_the_rollover(history: SimulatedHistory, gold: SymbolSpec) -> None:
    bars = history.bars
    hour = Clock.parse(gold.clock).from_utc(bars.time) // (3600 * 10**9) % 24
    assert np.median(bars.spread[hour == 1]) > 2 * np.median(bars.spread[hour == 15])
    assert 0.8 < np.median(bars.spread) / gold.typical_spread_points < 1.25
    assert (bars.spread == np.rint(bars.spread)).all() and bars.spread.min() >= 1


def test_volume_follows_volatility(history: SimulatedHistory) -> None:
    bars = history.bars
    assert correlation(np.log(bars.volume), np.log(bars.high / bars.low)) > 0.5


def belief(history: SimulatedHistory, drift: float, flip: float) -> np.ndarray:
    """Probability of the upward regime after each close, by the filter that knows the law."""
    z = np.clip(np.log(history.bars.close / history.bars.open) / history.sigma, -4, 4)
    likelihood = np.exp(2 * drift * z)
    beliefs, p = np.empty(z.size), 0.5
    for t, ratio in enumerate(likelihood.tolist()):
        p = p * (1 - flip) + (1 - p) * flip
        p = p * ratio / (p * ratio + 1 - p)
        beliefs[t] = p
    return beliefs


def annual_sharpe(history: SimulatedHistory, spec: SymbolSpec, beliefs: np.ndarray) -> float:
    """Net of half the spread and commission, entering at the next open."""
    bars = history.bars
    held, position = 0.0, np.empty(len(bars))
    for t, p in enumerate(beliefs.tolist()):
        held = 1.0 if p > 0.6 else -1.0 if p < 0.4 else held
        position[t] = held
    gain = position[:-2] * np.diff(bars.open)[1:]
    turnover = np.abs(np.diff(position[:-2], prepend=0.0))
    each = bars.spread[1:-1] * spec.point / 2 + spec.commission_per_lot / spec.contract_size
    net = (gain - turnover * each) / bars.open[1:-1]
    years = (bars.time[-1] - bars.time[0]) / 1e9 / 86400 / 365.25
    return float(net.mean() / net.std() * np.sqrt(net.size / years))


def test_the_hidden_regime_is_weak_but_worth_learning(
    history: SimulatedHistory, gold: SymbolSpec
) -> None:
    law = SimulatedMarket("XAUUSD", "H1", 1, 0)
    sharpe = annual_sharpe(history, gold, belief(history, law.drift, law.flip_probability))
    assert 1.0 < sharpe < 3.5  # about 2, within two standard errors of eight years
    agrees = np.sign(np.log(history.bars.close / history.bars.open)) == history.regime
    assert 0.5 < agrees.mean() < 0.56  # one bar alone tells next to nothing


def test_without_drift_there_is_nothing_to_learn(gold: SymbolSpec) -> None:
    blank = SimulatedMarket("XAUUSD", "H1", 50_000, 7, drift=0.0).run(gold)
    assert annual_sharpe(blank, gold, belief(blank, 0.1, 0.01)) < 0.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_bars": 0}, "n_bars >= 1"),
        ({"seed": -1}, "seed >= 0"),
        ({"drift": 2.0}, "must lie in 0..1"),
        ({"timeframe": "W1"}, "simulate D1 or less"),
        ({"law": "other"}, "unknown law 'other'"),
    ],
)
def test_impossible_markets_are_refused(fields: dict[str, object], message: str) -> None:
    good = {"symbol": "XAUUSD", "timeframe": "H1", "n_bars": 10, "seed": 1}
    with pytest.raises(ConfigError, match=message):
        SimulatedMarket(**{**good, **fields})  # type: ignore[arg-type]


def test_another_symbols_contract_is_refused(gold: SymbolSpec) -> None:
    with pytest.raises(ConfigError, match="EURUSD, the contract XAUUSD"):
        SimulatedMarket("EURUSD", "H1", 10, 1).bars(gold)


def test_bars_beyond_the_end_of_time_are_refused(toy_spec):
    with pytest.raises(ConfigError, match="100000 bars of D1 from 2015-01-05 reach beyond"):
        trading_times(toy_spec(), Timeframe.D1, 100_000, MONDAY_2015_NS)
