"""Metrics in words: the rows of the comparison table, for console and page alike.

A cell is a value and a detail in small print (an interval, the dates of a drawdown). What does not
exist is ``n/a``: a flat account has no Sharpe ratio, and 0 would be a claim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mtquant.backtest.curve import Drawdown
from mtquant.backtest.metrics import Metrics
from mtquant.market.clock import utc_text

Cell = tuple[str, str]
NOTHING: Cell = ("n/a", "")


def metric_rows(results: Sequence[Metrics], currency: str) -> list[tuple[str, list[Cell]]]:
    """The comparison table, from the most to the least asked for.

    Args:
        results: One per column.
        currency: Of the account.

    Returns:
        Label and one cell per result; the label of a part begins with spaces.
    """
    money = f"({currency})"
    cells: list[tuple[str, Callable[[Metrics], Cell]]] = [
        ("Net return", lambda m: (f"{m.net_return:+.2%}", "")),
        (f"Final equity {money}", lambda m: (f"{m.final_equity:,.2f}", "ruined" * m.ruined)),
        ("Annual return", lambda m: _cell(m.cagr, "+.2%")),
        ("Annual volatility", lambda m: _cell(m.volatility_annual, ".2%")),
        ("Sharpe", lambda m: _cell(m.sharpe, ".2f", m.sharpe_interval)),
        ("Sortino", lambda m: _cell(m.sortino, ".2f")),
        ("Calmar", lambda m: _cell(m.calmar, ".2f")),
        ("Maximum drawdown", lambda m: (f"{m.max_drawdown.depth:.2%}", _dates(m.max_drawdown))),
        ("Profit factor", lambda m: _cell(m.profit_factor, ".2f")),
        ("Trades", lambda m: (f"{m.trades:,}", "")),
        ("Win rate", lambda m: _cell(m.win_rate, ".1%", m.win_rate_interval)),
        ("Average holding", _holding),
        ("Turnover a year", lambda m: _cell(m.turnover_per_year, ",.1f", unit="x")),
        ("Exposure, mean", lambda m: (f"{m.mean_exposure:,.1%}", "")),
        ("Bars in the market", lambda m: (f"{m.share_in_market:.1%}", "")),
        ("Best bar", lambda m: (f"{m.best_bar.value:+.2%}", "")),
        ("Worst bar", lambda m: (f"{m.worst_bar.value:+.2%}", "")),
        (f"Costs paid {money}", lambda m: (f"{m.costs.total:,.2f}", "")),
        ("    spread", lambda m: (f"{m.costs.spread:,.2f}", "")),
        ("    slippage", lambda m: (f"{m.costs.slippage:,.2f}", "")),
        ("    commission", lambda m: (f"{m.costs.commission:,.2f}", "")),
        ("    swap", lambda m: (f"{m.costs.swap:,.2f}", "")),
    ]
    return [(label, [cell(metrics) for metrics in results]) for label, cell in cells]


def _cell(
    value: float | None, form: str, interval: tuple[float, float] | None = None, unit: str = ""
) -> Cell:
    if value is None:
        return NOTHING
    detail = f"{interval[0]:{form}} to {interval[1]:{form}}" if interval else ""
    return f"{value:{form}}{unit}", detail


def _holding(metrics: Metrics) -> Cell:
    if metrics.average_holding_bars is None or metrics.average_holding_hours is None:
        return NOTHING
    return f"{metrics.average_holding_bars:,.1f} bars", f"{metrics.average_holding_hours:,.1f} h"


def _dates(fall: Drawdown) -> str:
    if fall.peak_time_ns is None or fall.trough_time_ns is None:
        return ""
    peak, trough = _day(fall.peak_time_ns), _day(fall.trough_time_ns)
    back = fall.recovery_time_ns
    return f"{peak} to {trough}\n{'not recovered' if back is None else f'back {_day(back)}'}"


def _day(time_ns: int) -> str:
    return utc_text(time_ns)[:10]


def minute_text(time_ns: int) -> str:
    """A time to the minute, such as ``2024-01-02 03:00``, UTC."""
    return utc_text(time_ns)[:16].replace("T", " ")
