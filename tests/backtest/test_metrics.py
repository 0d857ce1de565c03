import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.backtest.curve import bar_returns, drawdowns, monthly_returns
from mtquant.backtest.ledger import Ledger, Trade
from mtquant.backtest.metrics import YEAR_NS, Z_95, summarise, wilson_interval
from mtquant.errors import DataError
from mtquant.market.clock import utc_text
from mtquant.market.timeframe import Timeframe

HOUR = 3_600 * 10**9
START = 1_704_067_200 * 10**9  # 2024-01-01T00:00Z


def ledger_of(equity, start=100.0, step_ns=HOUR, **columns):
    bars = len(equity)
    zero = np.zeros(bars)
    given_columns = {
        "time_ns": START + step_ns * np.arange(bars),
        "equity": np.asarray(equity, dtype=float),
        "position_lots": np.zeros((bars, 1)),
        "price": np.full((bars, 1), 2000.0),
        **dict.fromkeys(("exposure", "spread_cost", "slippage_cost", "commission"), zero),
        **dict.fromkeys(("swap", "traded_notional"), zero),
        **columns,
    }
    return Ledger(("XAUUSD",), Timeframe.H1, start, **given_columns)


def from_returns(returns, start=100.0):
    return ledger_of(start * np.cumprod(1 + np.asarray(returns)), start)


def trade(profit, bars=1, hours=1):
    end = START + hours * HOUR
    return Trade("XAUUSD", "long", START, end, bars, 0.1, 2000.0, 2001.0, profit, 0.5, "signal")


GOLDEN = [110.0, 99.0, 99.0, 118.8]  # returns +10 %, -10 %, 0, +20 %


def test_growth_and_ratios_by_hand():
    numbers = summarise(ledger_of(GOLDEN))
    per_year = 365.25 * 24
    mean, variance = 0.05, (0.05**2 + 0.15**2 + 0.05**2 + 0.15**2) / 3
    assert numbers.bars == 4
    assert numbers.years == pytest.approx(4 / per_year)
    assert numbers.bars_per_year == pytest.approx(per_year)
    assert numbers.net_return == pytest.approx(0.188)
    assert numbers.volatility_annual == pytest.approx(math.sqrt(variance * per_year))
    assert numbers.sharpe == pytest.approx(mean / math.sqrt(variance) * math.sqrt(per_year))
    # One fall of 10 % in four bars: downside deviation 0.05.
    assert numbers.sortino == pytest.approx(math.sqrt(per_year))
    assert (numbers.best_bar.value, numbers.best_bar.time_ns) == (
        pytest.approx(0.2),
        START + 3 * HOUR,
    )
    assert (numbers.worst_bar.value, numbers.worst_bar.time_ns) == (
        pytest.approx(-0.1),
        START + HOUR,
    )


def test_sharpe_error_by_hand():
    # Deviations -.15, -.05, .05, .15 from the mean: no skew, kurtosis 1.64, SR = mean / sd(ddof 1).
    numbers = summarise(ledger_of(GOLDEN))
    sharpe = 0.05 / math.sqrt(0.05 / 3)
    error = math.sqrt((1 + 0.64 / 4 * sharpe**2) / 3) * math.sqrt(365.25 * 24)
    assert numbers.sharpe_standard_error == pytest.approx(error)
    low, high = numbers.sharpe_interval
    assert high - low == pytest.approx(2 * Z_95 * error)
    assert (low + high) / 2 == pytest.approx(numbers.sharpe)


def test_sharpe_error_falls_with_a_skew_to_the_right():
    # The sign of g3 * SR is what a wrong formula gets wrong.
    right = summarise(from_returns([-0.01] * 9 + [0.2]))
    left = summarise(from_returns([0.032] * 9 + [-0.178]))  # the same law mirrored at the mean
    assert right.sharpe == pytest.approx(left.sharpe)
    assert right.sharpe_standard_error < left.sharpe_standard_error


def test_sharpe_error_matches_the_spread_over_samples():
    rng = np.random.default_rng(5)
    samples = [summarise(from_returns(rng.normal(0.002, 0.01, 400))) for _ in range(300)]
    spread = np.std([numbers.sharpe for numbers in samples])
    claimed = np.mean([numbers.sharpe_standard_error for numbers in samples])
    assert claimed == pytest.approx(spread, rel=0.15)


def test_years_count_the_gaps_of_the_calendar():
    # The same returns on bars that open every second hour hold half as many bars a year.
    dense, sparse = ledger_of(GOLDEN), ledger_of(GOLDEN, step_ns=2 * HOUR)
    assert summarise(sparse).years == pytest.approx(7 * HOUR / YEAR_NS)
    ratio = summarise(dense).sharpe / summarise(sparse).sharpe
    assert ratio == pytest.approx(math.sqrt(7 / 4))


def test_cagr_and_calmar_over_exactly_two_years():
    time_ns = np.array([START, START + round(2 * YEAR_NS) - HOUR])
    numbers = summarise(ledger_of([80.0, 144.0], time_ns=time_ns))
    assert numbers.years == pytest.approx(2)
    assert numbers.cagr == pytest.approx(0.2)
    assert numbers.calmar == pytest.approx(0.2 / 0.2)


def test_drawdown_has_depth_and_dates():
    fall = summarise(ledger_of([110.0, 120.0, 120.0, 90.0, 100.0, 120.0, 130.0])).max_drawdown
    assert fall.depth == pytest.approx(0.25)
    hours = [(t - START) // HOUR for t in (fall.peak_time_ns, fall.trough_time_ns)]
    assert hours == [2, 3]  # the last bar at the peak
    assert fall.recovery_time_ns == START + 5 * HOUR


def test_a_loss_from_the_first_bar_is_a_drawdown_from_the_start_equity():
    fall = summarise(ledger_of([90.0, 80.0, 85.0])).max_drawdown
    assert fall.depth == pytest.approx(0.2)
    assert fall.peak_time_ns == START
    assert fall.recovery_time_ns is None
    assert drawdowns(ledger_of([90.0, 80.0, 85.0])) == pytest.approx([0.1, 0.2, 0.15])


def test_trades_by_hand():
    trades = (trade(30.0, 2, 3), trade(-10.0, 4, 5), trade(0.0, 6, 70), trade(-5.0, 8, 10))
    numbers = summarise(ledger_of(GOLDEN, trades=trades))
    assert numbers.trades == 4
    assert numbers.win_rate == 0.25  # a trade that only pays for itself has not won
    assert numbers.profit_factor == 2.0
    assert numbers.average_holding_bars == 5.0
    assert numbers.average_holding_hours == 22.0


def test_profit_factor_without_a_loss_does_not_exist():
    numbers = summarise(ledger_of(GOLDEN, trades=(trade(1.0),)))
    assert numbers.profit_factor is None
    assert numbers.win_rate == 1.0
    assert numbers.win_rate_interval[0] == pytest.approx(1 / (1 + Z_95**2))
    assert numbers.win_rate_interval[1] == 1.0


def test_wilson_interval_of_the_textbook():
    # 8 of 10: Brown, Cai and DasGupta (2001) give 0.490 to 0.943.
    assert wilson_interval(8, 10) == pytest.approx((0.490, 0.943), abs=5e-4)


@given(st.integers(1, 10_000), st.data())
def test_wilson_interval_holds_the_share(trades, data):
    wins = data.draw(st.integers(0, trades))
    low, high = wilson_interval(wins, trades)
    assert 0 <= low <= wins / trades + 1e-12
    assert wins / trades - 1e-12 <= high <= 1
    assert wilson_interval(trades - wins, trades) == pytest.approx((1 - high, 1 - low))


def test_activity_and_costs_by_hand():
    ledger = ledger_of(
        [100.0, 100.0, 120.0, 80.0],
        traded_notional=np.array([50.0, 0.0, 0.0, 150.0]),
        exposure=np.array([0.5, -1.5, 0.0, 0.0]),
        position_lots=np.array([[0.1], [-0.1], [0.0], [0.0]]),
        spread_cost=np.array([1.0, 0, 0, 2.0]),
        slippage_cost=np.array([0.5, 0, 0, 0]),
        commission=np.array([0.25, 0, 0, 0.25]),
        swap=np.array([0, -3.0, 0, 0]),
    )
    numbers = summarise(ledger)
    assert numbers.turnover_per_bar == pytest.approx(0.5)
    assert numbers.turnover_per_year == pytest.approx(0.5 * 365.25 * 24)
    assert numbers.mean_exposure == 0.5
    assert numbers.share_in_market == 0.5
    assert dataclasses.astuple(numbers.costs) == (3.0, 0.5, 0.5, -3.0, 1.0)


def test_two_symbols_are_in_the_market_when_either_is():
    ledger = dataclasses.replace(
        ledger_of(GOLDEN),
        symbols=("XAUUSD", "EURUSD"),
        position_lots=np.array([[0, 0], [1.0, 0], [0, -1.0], [1.0, 1.0]]),
        price=np.ones((4, 2)),
    )
    assert summarise(ledger).share_in_market == 0.75


@pytest.mark.parametrize("bars", [1, 2, 50])
def test_a_flat_account_has_returns_but_no_ratios(bars):
    numbers = summarise(ledger_of([100.0] * bars))
    assert numbers.net_return == numbers.cagr == numbers.max_drawdown.depth == 0.0
    assert numbers.best_bar.value == numbers.worst_bar.value == 0.0
    assert (numbers.sharpe, numbers.sortino, numbers.calmar) == (None, None, None)
    assert (numbers.win_rate, numbers.profit_factor, numbers.sharpe_interval) == (None, None, None)
    assert numbers.max_drawdown.peak_time_ns is None


def test_one_bar_has_no_deviation():
    numbers = summarise(ledger_of([90.0]))
    assert numbers.net_return == pytest.approx(-0.1)
    assert (numbers.volatility_annual, numbers.sharpe) == (None, None)
    assert numbers.sortino == pytest.approx(-math.sqrt(365.25 * 24))


@pytest.mark.parametrize("size", [0.3, 0.01, 0.0001])
def test_equal_returns_have_no_sharpe_ratio(size):
    # The deviation is nothing but rounding; a ratio of 1e12 would win every comparison.
    numbers = summarise(from_returns([size] * 40))
    assert (numbers.sharpe, numbers.sortino) == (None, None)


def test_a_return_that_cannot_be_compounded_to_a_year_is_absent():
    numbers = summarise(ledger_of([300.0]))
    assert numbers.cagr is None
    assert json.dumps(numbers.to_dict(), allow_nan=False)


def test_ruin_ends_the_returns():
    ledger = ledger_of([50.0, -10.0, 20.0, 40.0])
    numbers = summarise(ledger)
    assert bar_returns(ledger) == pytest.approx([-0.5, -1.2, 0.0, 0.0])
    assert numbers.ruined
    assert numbers.max_drawdown.depth == pytest.approx(1.1)
    assert numbers.net_return == pytest.approx(-0.6)
    assert summarise(ledger_of([50.0, 0.0])).cagr == -1.0
    assert not summarise(ledger_of([50.0])).ruined


def test_dict_is_json_with_readable_times():
    plain = summarise(ledger_of(GOLDEN, trades=(trade(1.0),))).to_dict()
    assert plain["worst_bar"]["time"] == "2024-01-01T01:00:00Z"
    assert plain["max_drawdown"]["peak_time"] == "2024-01-01T00:00:00Z"
    assert plain["profit_factor"] is None
    text = json.dumps(plain, allow_nan=False)
    assert json.loads(text)["win_rate_interval"] == list(plain["win_rate_interval"])


def test_what_is_not_finite_becomes_null():
    ledger = ledger_of(GOLDEN, trades=(trade(math.inf), trade(-1.0)))
    numbers = summarise(ledger)
    assert numbers.profit_factor == math.inf
    assert numbers.to_dict()["profit_factor"] is None


def test_months_compound_to_the_whole():
    day = 24 * HOUR
    ledger = ledger_of([110.0] * 31 + [99.0] * 29 + [198.0], step_ns=day)
    assert monthly_returns(ledger) == pytest.approx(
        {"2024-01": 0.1, "2024-02": -0.1, "2024-03": 1.0}
    )
    ruined = ledger_of([-5.0] * 31 + [10.0], step_ns=day)
    assert monthly_returns(ruined) == {"2024-01": pytest.approx(-1.05), "2024-02": None}


RETURNS = st.lists(
    st.integers(-500, 500).map(lambda points: points / 10_000), min_size=3, max_size=60
)
RATIOS = ("net_return", "cagr", "sharpe", "sortino", "calmar", "turnover_per_year")
RATIOS += ("volatility_annual", "sharpe_standard_error", "profit_factor", "win_rate")


@given(RETURNS, st.floats(1e-3, 1e6))
def test_the_size_of_the_account_changes_no_ratio(returns, size):
    def numbers_at(start):
        equity = from_returns(returns, start).equity
        trades = tuple(trade(start * value) for value in returns)
        return summarise(ledger_of(equity, start, traded_notional=equity / 2, trades=trades))

    small, large = numbers_at(100.0), numbers_at(100.0 * size)
    for name in RATIOS:
        expected = getattr(small, name)
        found = getattr(large, name)
        assert (found is None) == (expected is None), name
        if expected is not None:
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-6), name
    assert large.max_drawdown.depth == pytest.approx(small.max_drawdown.depth, abs=1e-9)


@given(RETURNS, st.randoms(use_true_random=False))
def test_the_order_of_bars_changes_the_drawdown_alone(returns, random):
    shuffled = random.sample(returns, len(returns))
    one, other = summarise(from_returns(returns)), summarise(from_returns(shuffled))
    for name in ("net_return", "sharpe", "sortino", "volatility_annual"):
        expected = getattr(one, name)
        if expected is not None:
            assert getattr(other, name) == pytest.approx(expected, rel=1e-6, abs=1e-6), name
    deepest = summarise(from_returns(sorted(returns))).max_drawdown.depth
    shallowest = 1 - min(1.0, *(1 + value for value in returns))
    for numbers in (one, other):
        assert shallowest - 1e-9 <= numbers.max_drawdown.depth <= deepest + 1e-9


@given(RETURNS)
def test_returns_and_dates_are_consistent(returns):
    ledger = from_returns(returns)
    numbers = summarise(ledger)
    assert math.prod(1 + bar_returns(ledger)) - 1 == pytest.approx(numbers.net_return, abs=1e-12)
    assert np.prod([1 + value for value in monthly_returns(ledger).values()]) == pytest.approx(
        1 + numbers.net_return
    )
    fall = numbers.max_drawdown
    assert 0 <= fall.depth < 1
    assert fall.depth == pytest.approx(drawdowns(ledger).max())
    if fall.recovery_time_ns is not None:
        assert fall.peak_time_ns <= fall.trough_time_ns < fall.recovery_time_ns


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"equity": np.ones(3)}, "'equity' has shape"),
        ({"price": np.ones(4)}, "'price' has shape"),
        ({"swap": np.array([0, 0, np.nan, 0])}, "'swap' is not finite at 2024-01-01T02:00:00Z"),
        ({"time_ns": START + np.array([0, 2, 1, 3])}, "times do not increase"),
        ({"start_equity": 0.0}, "start_equity is 0.0"),
        ({"time_ns": np.array([], dtype=np.int64)}, "no bars"),
    ],
)
def test_a_ledger_refuses_what_cannot_be(change, words):
    with pytest.raises(DataError, match=words):
        dataclasses.replace(ledger_of(GOLDEN), **change)


def test_a_ledger_owns_its_columns():
    equity = np.array(GOLDEN)
    ledger = ledger_of(equity)
    equity[0] = 0.0
    assert ledger.equity[0] == 110.0
    with pytest.raises(ValueError, match="read-only"):
        ledger.equity[0] = 1.0


def test_a_price_may_be_missing_before_a_symbols_first_bar():
    price = np.array([[np.nan], [2000.0], [2000.0], [2000.0]])
    assert summarise(ledger_of(GOLDEN, price=price)).net_return == pytest.approx(0.188)


def test_utc_text():
    assert utc_text(START + HOUR) == "2024-01-01T01:00:00Z"
