"""What one episode was worth, from the sums that the kernel keeps while it runs."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

from mtquant.jit import kernel
from mtquant.sim.account import Book


class EpisodeSummary(NamedTuple):
    """What one episode was worth.

    Attributes:
        bars: Steps taken.
        reward: Sum of rewards.
        total_return: Fraction of the starting equity.
        sharpe: Annualised, over all bars, flat ones included; 0 where nothing moved.
        sortino: As ``sharpe`` with the downside deviation below 0.
        max_drawdown: Fraction of the peak.
        trades: Finished round trips.
        win_rate: Share of round trips that ended above their costs; 0 without trades.
        average_holding_bars: Bars per round trip.
        turnover: Notional traded over the starting equity.
        exposure: Mean gross notional over equity.
        costs: Spread, slippage, commission and swap paid, account currency.
    """

    bars: int
    reward: float
    total_return: float
    sharpe: float
    sortino: float
    max_drawdown: float
    trades: int
    win_rate: float
    average_holding_bars: float
    turnover: float
    exposure: float
    costs: float


@kernel
def summarise(
    book: Book, i: int, bars_per_year: float
) -> tuple[int, float, float, float, float, float, int, float, float, float, float, float]:
    """The fields of lane ``i``'s :class:`EpisodeSummary` so far, in their order."""
    account = book.account[i]
    bars, trades = max(account["bars"], 1), max(account["trades"], 1)
    mean = account["return_sum"] / bars
    deviation = sqrt(max(account["return_square_sum"] / bars - mean * mean, 0.0))
    downside = sqrt(account["downside_square_sum"] / bars)
    annual = sqrt(bars_per_year)
    costs = account["spread_cost"] + account["slippage_cost"]
    return (
        account["bars"],
        account["reward_sum"],
        account["equity"] / account["start_equity"] - 1.0,
        annual * mean / deviation if deviation > 0.0 else 0.0,
        annual * mean / downside if downside > 0.0 else 0.0,
        account["max_drawdown"],
        account["trades"],
        account["wins"] / trades,
        account["held_bars"] / trades,
        account["traded"] / account["start_equity"],
        account["exposure_sum"] / bars,
        costs + account["commission"] + account["swap"],
    )
