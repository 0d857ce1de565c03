"""From deals to trades: a position from its opening until it was flat again or turned over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mtquant.backtest.ledger import Trade
from mtquant.jit import kernel
from mtquant.market.bars import Float
from mtquant.market.panel import Panel
from mtquant.market.symbols import SymbolSpec
from mtquant.risk.reasons import BREAKER, SHED, STOP, STOP_OUT, TAKE_PROFIT
from mtquant.sim.account import Tape
from mtquant.sim.costs import paid_ticks, row_before

Int64 = npt.NDArray[np.int64]
EXIT_REASONS = {
    STOP_OUT: "stop_out",
    BREAKER: "breaker",
    SHED: "breaker",
    STOP: "stop",
    TAKE_PROFIT: "target",
}


@dataclass(frozen=True)
class Deal:
    """One fill, as the kernel recorded it.

    Attributes:
        bar: Row of the bar in whose open (or stop-out) it was executed.
        symbol: Index of the symbol.
        steps: Signed lot steps, bought or sold.
        closing: Whether it reduced a position.
        reason: Code of :mod:`mtquant.risk.reasons`.
        price: Fill price.
        profit: Realised by a reduction, account currency, before costs.
        commission: Charged, not negative.
        swap: Booked with a reduction; a charge is negative.
        ticket: Number of the ticket in a hedging book, else 0.
    """

    bar: int
    symbol: int
    steps: int
    closing: bool
    reason: int
    price: float
    profit: float
    commission: float
    swap: float
    ticket: int = 0

    @classmethod
    def of(cls, record: Any) -> Deal:
        """From a row of the kernel's deals."""
        bar, symbol, steps, closing, *rest = record.item()
        return cls(bar, symbol, steps, bool(closing), *rest)


@dataclass
class _Open:
    """A position while its deals are read."""

    opened: int
    steps: int = 0
    largest: int = 0
    entry: list[tuple[int, float]] = field(default_factory=list)
    exit: list[tuple[int, float]] = field(default_factory=list)
    profit: float = 0.0
    costs: float = 0.0


def trades_of(
    deals: Sequence[Deal], panel: Panel, specs: Sequence[SymbolSpec], tape: Tape
) -> tuple[Trade, ...]:
    """Closed positions by exit time; one that is still open at the end is no trade yet."""
    trades: list[Trade] = []
    positions: dict[int, _Open] = {}
    for deal, cost in zip(deals, execution_costs(deals, tape).tolist(), strict=True):
        position = positions.setdefault(deal.symbol, _Open(deal.bar))
        position.steps += deal.steps
        position.largest = max(position.largest, abs(position.steps))
        side = position.exit if deal.closing else position.entry
        side.append((abs(deal.steps), deal.price))
        position.profit += deal.profit + deal.swap - deal.commission
        position.costs += deal.commission - deal.swap + cost
        if position.steps == 0:
            trades.append(_trade(positions.pop(deal.symbol), deal, panel, specs[deal.symbol]))
    return tuple(trades)


def execution_costs(deals: Sequence[Deal], tape: Tape) -> Float:
    """Spread (of buys) and slippage of each fill, account currency, float64 ``[D]``."""
    fills = np.array([(deal.bar, deal.symbol, deal.steps) for deal in deals], np.int64)
    costs = np.zeros(len(deals))
    if len(deals):
        _price_execution(tape, fills, costs)
    return costs


@kernel
def _price_execution(tape: Tape, fills: Int64, costs: Float) -> None:
    for n in range(fills.shape[0]):
        t, s, steps = fills[n, 0], fills[n, 1], fills[n, 2]
        bar, before = tape.market[t, s], tape.market[row_before(tape, s, t), s]
        spread, slippage = paid_ticks(tape.contracts[s], tape.rules[0], bar, before, 1.0, steps)
        ticks = slippage + (spread if steps > 0 else 0)
        costs[n] = abs(steps) * ticks * bar["open_value"]


def _trade(position: _Open, last: Deal, panel: Panel, spec: SymbolSpec) -> Trade:
    return Trade(
        symbol=spec.name,
        side="short" if last.steps > 0 else "long",
        entry_time_ns=int(panel.time[position.opened]),
        exit_time_ns=int(panel.time[last.bar]),
        bars_held=last.bar - position.opened,
        volume_lots=position.largest * spec.lot_step,
        entry_price=_mean_price(position.entry),
        exit_price=_mean_price(position.exit),
        profit=position.profit,
        costs=position.costs,
        exit_reason=EXIT_REASONS.get(last.reason, "signal"),
    )


def _mean_price(fills: Sequence[tuple[int, float]]) -> float:
    return sum(steps * price for steps, price in fills) / sum(steps for steps, _ in fills)
