"""What a ledger was worth, in the field's usual numbers and with their uncertainty.

Ratios are annualised by the bars per year that the tested span really holds, ``T / years``, not by
a constant of the asset class. Returns are simple, per bar, with the flat bars in. A number that
does not exist (the Sharpe ratio of a flat account, the win rate of no trade) is None, never NaN:
whoever prints it has to decide, and JSON stays valid.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from mtquant.backtest.curve import Drawdown, bar_returns, max_drawdown
from mtquant.backtest.ledger import Ledger, Trade
from mtquant.market.bars import Float
from mtquant.market.clock import utc_text

YEAR_NS = 365.25 * 86_400 * 1e9
HOUR_NS = 3_600 * 1e9
Z_95 = NormalDist().inv_cdf(0.975)
# A return is a quotient near 1, less 1: a deviation below this is rounding, not risk.
ROUNDING = 1e-14


@dataclass(frozen=True)
class Costs:
    """Account currency paid over the span; a swap credit is negative."""

    spread: float
    slippage: float
    commission: float
    swap: float
    total: float


@dataclass(frozen=True)
class BarReturn:
    """One bar's simple return of equity."""

    value: float
    time_ns: int


@dataclass(frozen=True)
class Metrics:
    """Numbers of one ledger; fractions, not per cent; None where a number does not exist.

    Attributes:
        bars: Rows of the ledger.
        years: First bar's open to last bar's close, in years of 365.25 days.
        bars_per_year: ``bars / years``.
        start_equity: Account currency.
        final_equity: Account currency.
        ruined: Equity was 0 or less at some close; returns after that count as 0.
        net_return: ``final / start - 1``.
        cagr: Net return compounded to a year; -1 where nothing is left.
        volatility_annual: Standard deviation of bar returns, annualised.
        sharpe: Mean over standard deviation, annualised, no risk-free rate.
        sharpe_standard_error: Of the annual figure, independent bars: Mertens (2002),
            ``sqrt((1 - g3 SR + (g4 - 1)/4 SR^2) / (T - 1))`` per bar, g4 = 3 for the normal law.
        sharpe_interval: 95 %, from that error.
        sortino: Mean over downside deviation (target 0, over all bars), annualised.
        calmar: ``cagr / max_drawdown.depth``.
        max_drawdown: The deepest fall, with its dates.
        profit_factor: Profits over losses of closed trades, net of costs.
        trades: Closed trades.
        win_rate: Share of trades with a profit above 0.
        win_rate_interval: 95 %, Wilson (1927).
        average_holding_bars: Mean of closed trades.
        average_holding_hours: The same on the calendar, weekends included.
        turnover_per_bar: Notional traded over average equity, a bar.
        turnover_per_year: The same, a year.
        mean_exposure: Mean of ``|exposure|``.
        share_in_market: Share of bars that close with a position.
        costs: What was paid, by kind.
        best_bar: Largest bar return.
        worst_bar: Smallest bar return.
    """

    bars: int
    years: float
    bars_per_year: float
    start_equity: float
    final_equity: float
    ruined: bool
    net_return: float
    cagr: float | None
    volatility_annual: float | None
    sharpe: float | None
    sharpe_standard_error: float | None
    sharpe_interval: tuple[float, float] | None
    sortino: float | None
    calmar: float | None
    max_drawdown: Drawdown
    profit_factor: float | None
    trades: int
    win_rate: float | None
    win_rate_interval: tuple[float, float] | None
    average_holding_bars: float | None
    average_holding_hours: float | None
    turnover_per_bar: float | None
    turnover_per_year: float | None
    mean_exposure: float
    share_in_market: float
    costs: Costs
    best_bar: BarReturn
    worst_bar: BarReturn

    def to_dict(self) -> dict[str, object]:
        """Nested plain values for JSON: times as ISO 8601 text, nothing that is not finite."""
        return _plain(dataclasses.asdict(self))


def summarise(ledger: Ledger) -> Metrics:
    """All numbers of a ledger."""
    span_ns = int(ledger.time_ns[-1] - ledger.time_ns[0]) + ledger.timeframe.nanoseconds
    years = span_ns / YEAR_NS
    per_year = len(ledger) / years
    returns = bar_returns(ledger)
    best, worst = int(returns.argmax()), int(returns.argmin())
    return Metrics(
        bars=len(ledger),
        years=years,
        bars_per_year=per_year,
        **_growth(ledger, years),
        **_risk_ratios(returns, per_year),
        **_activity(ledger, per_year),
        **_trade_numbers(ledger.trades),
        costs=_costs(ledger),
        best_bar=BarReturn(float(returns[best]), int(ledger.time_ns[best])),
        worst_bar=BarReturn(float(returns[worst]), int(ledger.time_ns[worst])),
    )


def wilson_interval(wins: int, trades: int, z: float = Z_95) -> tuple[float, float]:
    """Score interval of a share (Wilson 1927); holds for few trades and near 0 and 1.

    Args:
        wins: Successes, at most ``trades``.
        trades: Attempts, at least 1.
        z: Normal quantile; 1.96 for 95 %.
    """
    share = wins / trades
    centre = share + z * z / (2 * trades)
    half = z * math.sqrt(share * (1 - share) / trades + (z / (2 * trades)) ** 2)
    scale = 1 + z * z / trades
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _risk_ratios(returns: Float, per_year: float) -> dict[str, Any]:
    """Volatility, Sharpe with its error, Sortino."""
    mean = float(returns.mean())
    deviation = float(returns.std(ddof=1)) if returns.size > 1 else 0.0
    downside = math.sqrt(float(np.square(np.minimum(returns, 0)).mean()))
    annual = math.sqrt(per_year)
    sharpe = _ratio(mean, deviation, ROUNDING)
    error = None if sharpe is None else _sharpe_error(returns, sharpe) * annual
    sharpe = None if sharpe is None else sharpe * annual
    sortino = _ratio(mean, downside, ROUNDING)
    interval = None
    if sharpe is not None and error is not None:
        interval = (sharpe - Z_95 * error, sharpe + Z_95 * error)
    return {
        "volatility_annual": deviation * annual if returns.size > 1 else None,
        "sharpe": sharpe,
        "sharpe_standard_error": error,
        "sharpe_interval": interval,
        "sortino": None if sortino is None else sortino * annual,
    }


def _sharpe_error(returns: Float, sharpe: float) -> float:
    """Standard error of a per-bar Sharpe ratio (Mertens 2002, correcting Lo 2002)."""
    centred = returns - returns.mean()
    squares = centred * centred
    variance = float(squares.mean())
    skew = float((squares * centred).mean()) / variance**1.5
    kurtosis = float((squares * squares).mean()) / variance**2
    factor = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
    return math.sqrt(max(factor, 0.0) / (returns.size - 1))


def _growth(ledger: Ledger, years: float) -> dict[str, Any]:
    """From the start to the end, and the worst fall between."""
    final = float(ledger.equity[-1])
    cagr = _cagr(final / ledger.start_equity, years)
    fall = max_drawdown(ledger)
    return {
        "start_equity": ledger.start_equity,
        "final_equity": final,
        "ruined": bool((ledger.equity <= 0).any()),
        "net_return": final / ledger.start_equity - 1,
        "cagr": cagr,
        "calmar": None if cagr is None else _ratio(cagr, fall.depth),
        "max_drawdown": fall,
    }


def _cagr(growth: float, years: float) -> float | None:
    if growth <= 0:
        return -1.0
    try:
        return math.expm1(math.log(growth) / years)
    except OverflowError:  # A good hour, compounded to a year, has no meaning anyway.
        return None


def _activity(ledger: Ledger, per_year: float) -> dict[str, Any]:
    """How much was traded and held."""
    turnover = _ratio(float(ledger.traded_notional.mean()), float(ledger.equity.mean()))
    return {
        "turnover_per_bar": turnover,
        "turnover_per_year": None if turnover is None else turnover * per_year,
        "mean_exposure": float(np.abs(ledger.exposure).mean()),
        "share_in_market": float((ledger.position_lots != 0).any(axis=1).mean()),
    }


def _costs(ledger: Ledger) -> Costs:
    spread = float(ledger.spread_cost.sum())
    slippage = float(ledger.slippage_cost.sum())
    commission = float(ledger.commission.sum())
    swap = float(ledger.swap.sum())
    return Costs(spread, slippage, commission, swap, total=spread + slippage + commission + swap)


def _trade_numbers(trades: tuple[Trade, ...]) -> dict[str, Any]:
    """Counts and means of the closed trades."""
    count = len(trades)
    if not count:
        absent = ("profit_factor", "win_rate", "win_rate_interval")
        held = ("average_holding_bars", "average_holding_hours")
        return {"trades": 0, **dict.fromkeys(absent + held)}
    profit = np.array([trade.profit for trade in trades])
    wins = int((profit > 0).sum())
    held_ns = np.array([trade.exit_time_ns - trade.entry_time_ns for trade in trades])
    return {
        "trades": count,
        "profit_factor": _ratio(float(profit[profit > 0].sum()), float(-profit[profit < 0].sum())),
        "win_rate": wins / count,
        "win_rate_interval": wilson_interval(wins, count),
        "average_holding_bars": float(np.mean([trade.bars_held for trade in trades])),
        "average_holding_hours": float(held_ns.mean()) / HOUR_NS,
    }


def _ratio(above: float, below: float, rounding: float = 0.0) -> float | None:
    """``above / below``, None where ``below`` is nothing but rounding."""
    return above / below if below > rounding else None


def _plain(record: dict[str, Any]) -> dict[str, object]:
    """The same values in forms that JSON has."""
    plain: dict[str, object] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            value = _plain(value)
        elif name.endswith("time_ns") and value is not None:
            value = utc_text(value)
        elif isinstance(value, float) and not math.isfinite(value):
            value = None
        plain[name.removesuffix("_ns")] = value
    return plain
