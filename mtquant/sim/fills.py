"""How a deal changes the account: fills, stop-out and swap inside one bar.

Every change of balance goes through ``book_deal``; what a position is charged overnight waits on
the position until it is closed, as in MetaTrader.
"""

from __future__ import annotations

from math import ceil, floor

from mtquant.jit import Record, kernel
from mtquant.risk.checks import NO_MONEY, STOP_OUT
from mtquant.sim.account import Book, Tape, price_of, round_money, step_value, unrealised
from mtquant.sim.costs import commission_of, fill_ticks, nightly_swap

PATH_TOLERANCE = 1e-6  # ticks; a level that lies on a tick may come out a hair beside it


@kernel
def book_deal(
    book: Book, tape: Tape, i: int, s: int, t: int, steps: int, price: float, reason: int
) -> None:
    """Change balance and position by one deal at ``price`` and record it.

    ``steps`` either all reduce the position or all increase it.
    """
    account, position = book.account[i], book.positions[i, s]
    contract, bar, rules = tape.contracts[s], tape.market[t, s], tape.rules[0]
    scale, value = rules["money_scale"], step_value(contract, bar)
    held = position["steps"]
    closing = held * steps < 0
    profit = 0.0
    swap = 0.0
    if closing:
        profit = round_money(-steps * (price - position["entry"]) * value, scale)
        if position["swap"] != 0.0:
            swap = round_money(position["swap"] * (-steps / held), scale)
            position["swap"] = round_money(position["swap"] - swap, scale)
    elif held == 0:
        position["entry"] = price
    else:
        position["entry"] = (held * position["entry"] + steps * price) / (held + steps)
    commission = commission_of(contract, rules, steps)
    position["steps"] = held + steps
    position["result"] += profit + swap - commission
    account["balance"] = round_money(account["balance"] + profit + swap - commission, scale)
    _book_costs(account, contract, bar, steps, commission)
    account["traded"] += abs(steps) * price * value
    deal = book.deals[i, account["n_deals"]]
    account["n_deals"] += 1
    deal["bar"], deal["symbol"], deal["steps"] = t, s, steps
    deal["closing"], deal["reason"], deal["price"] = closing, reason, price
    deal["profit"], deal["commission"], deal["swap"] = profit, commission, swap
    if position["steps"] == 0:
        _end_trade(account, position)


@kernel
def _book_costs(
    account: Record, contract: Record, bar: Record, steps: int, commission: float
) -> None:
    """Attribute what the fill lost against the bid: spread for buys, slippage for both."""
    tick = abs(steps) * price_of(contract, 1) * step_value(contract, bar)
    if steps > 0:
        account["spread_cost"] += tick * bar["spread"]
    account["slippage_cost"] += tick * contract["slippage_ticks"]
    account["commission"] += commission


@kernel
def _end_trade(account: Record, position: Record) -> None:
    """Count a finished round trip and clear the position."""
    account["trades"] += 1
    account["held_bars"] += min(position["age"], account["bars"])
    if position["result"] > 0.0:
        account["wins"] += 1
    position["age"] = 0
    position["entry"] = 0.0
    position["swap"] = 0.0
    position["result"] = 0.0


@kernel
def margin_at_open(book: Book, tape: Tape, i: int, t: int) -> tuple[float, float]:
    """``(equity, margin)`` at the open of bar ``t``, account currency."""
    equity = book.account[i]["balance"]
    margin = 0.0
    for s in range(book.positions.shape[1]):
        position, contract, bar = book.positions[i, s], tape.contracts[s], tape.market[t, s]
        if position["steps"] != 0:
            equity += position["swap"] + unrealised(position, contract, bar, bar["open"])
            value = price_of(contract, bar["open"]) * step_value(contract, bar)
            margin += abs(position["steps"]) * value * contract["margin_share"]
    return equity, margin


@kernel
def fill(book: Book, tape: Tape, i: int, s: int, t: int, steps: int, reason: int) -> int:
    """Execute a market order of ``steps`` signed lot steps at the open of bar ``t``.

    A flip is a reduction to zero plus an increase; if the increase finds no money the reduction
    stands.

    Returns:
        Signed lot steps executed.
    """
    position, contract, bar = book.positions[i, s], tape.contracts[s], tape.market[t, s]
    if steps == 0 or bar["tradable"] == 0:
        return 0
    price = price_of(contract, fill_ticks(contract, steps > 0, bar["open"], bar["spread"]))
    held = position["steps"]
    closing = 0
    if held * steps < 0:
        closing = steps if abs(steps) <= abs(held) else -held
        book_deal(book, tape, i, s, t, closing, price, reason)
    opening = steps - closing
    if opening == 0:
        return steps
    equity, margin = margin_at_open(book, tape, i, t)
    needed = abs(opening) * price * step_value(contract, bar) * contract["margin_share"]
    if margin + needed > equity:
        position["reason"] = NO_MONEY
        return closing
    book_deal(book, tape, i, s, t, opening, price, reason)
    return steps


@kernel
def _worst_ticks(position: Record, bar: Record) -> int:
    """The bid inside the bar that hurts the position most."""
    return bar["low"] if position["steps"] > 0 else bar["high"]


@kernel
def _worst_equity(book: Book, tape: Tape, i: int, t: int) -> float:
    """Equity if every symbol stood at its worst price of bar ``t`` at once."""
    worst = book.account[i]["balance"]
    for s in range(book.positions.shape[1]):
        position, bar = book.positions[i, s], tape.market[t, s]
        if position["steps"] != 0:
            ticks = _worst_ticks(position, bar)
            worst += position["swap"] + unrealised(position, tape.contracts[s], bar, ticks)
    return worst


@kernel
def stop_out(book: Book, tape: Tape, i: int, t: int) -> tuple[float, bool]:
    """Close everything if equity over margin falls below the stop-out level inside bar ``t``.

    The bar's extremes of all symbols are taken together, the cautious reading of a bar. Margin is
    that of the open. The price is where the level is crossed on the way from the open to the
    extreme, the open itself if the bar gaps through, rounded against the account. A symbol without
    a bar cannot be closed now.

    Returns:
        Money that the closed positions moved from open to exit, bid to bid, and whether it
        happened.
    """
    equity, margin = margin_at_open(book, tape, i, t)
    if margin == 0.0:
        return 0.0, False
    least = margin * tape.rules[0]["stop_out_level"]
    worst = _worst_equity(book, tape, i, t)
    if worst >= least:
        return 0.0, False
    way = (equity - least) / (equity - worst) if equity > least else 0.0
    gross = 0.0
    for s in range(book.positions.shape[1]):
        position, contract, bar = book.positions[i, s], tape.contracts[s], tape.market[t, s]
        steps = position["steps"]
        if steps != 0 and bar["tradable"] != 0:
            path = way * (_worst_ticks(position, bar) - bar["open"])
            moved = floor(path + PATH_TOLERANCE) if steps > 0 else ceil(path - PATH_TOLERANCE)
            gross += steps * price_of(contract, moved) * step_value(contract, bar)
            bid = bar["open"] + moved
            price = price_of(contract, fill_ticks(contract, steps < 0, bid, bar["spread"]))
            book_deal(book, tape, i, s, t, -steps, price, STOP_OUT)
    return gross, True


@kernel
def carry(book: Book, tape: Tape, i: int, t: int) -> None:
    """Book the rollovers of bar ``t`` on what survived it."""
    rules = tape.rules[0]
    for s in range(book.positions.shape[1]):
        position, bar = book.positions[i, s], tape.market[t, s]
        if position["steps"] != 0 and bar["nights"] != 0:
            swap = nightly_swap(tape.contracts[s], bar, rules, position["steps"])
            position["swap"] = round_money(position["swap"] + swap, rules["money_scale"])
            book.account[i]["swap"] -= swap
