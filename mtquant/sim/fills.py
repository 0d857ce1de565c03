"""How a deal changes the account: fills, stop-out and swap inside one bar.

Every change of balance goes through ``book_deal``; what a position is charged overnight waits on
the position until it is closed, as in MetaTrader.
"""

from __future__ import annotations

from math import ceil, floor

from mtquant.jit import Record, kernel
from mtquant.risk.checks import NO_MONEY, STOP_OUT
from mtquant.sim.account import Book, Tape, price_of, round_money, step_value, unrealised
from mtquant.sim.costs import commission_of, fill_ticks, nightly_swap, paid_ticks

PATH_TOLERANCE = 1e-6  # ticks; a level that lies on a tick may come out a hair beside it


@kernel
def quote(
    book: Book, tape: Tape, i: int, s: int, t: int, steps: int, bid_ticks: int
) -> tuple[float, int, int]:
    """``(price, spread ticks, slippage ticks)`` of a deal inside bar ``t`` at a bid."""
    contract, bar, before = tape.contracts[s], tape.market[t, s], tape.market[t - 1, s]
    factor = book.account[i]["cost_factor"]
    spread, slippage = paid_ticks(contract, tape.rules[0], bar, before, factor, steps)
    ticks = fill_ticks(steps > 0, bid_ticks, spread, slippage)
    return price_of(contract, ticks), spread, slippage


@kernel
def book_deal(
    book: Book, tape: Tape, i: int, s: int, t: int, steps: int, bid_ticks: int, reason: int
) -> None:
    """Change balance and position by one deal and record it.

    ``steps`` either all reduce the position or all increase it.
    """
    account, position = book.account[i], book.positions[i, s]
    contract, bar, rules = tape.contracts[s], tape.market[t, s], tape.rules[0]
    price, spread, slippage = quote(book, tape, i, s, t, steps, bid_ticks)
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
    notional = abs(steps) * price * value
    commission = commission_of(contract, rules, steps, notional)
    position["steps"] = held + steps
    position["result"] += profit + swap - commission
    account["balance"] = round_money(account["balance"] + profit + swap - commission, scale)
    account["traded"] += notional
    account["commission"] += commission
    tick = abs(steps) * price_of(contract, 1) * value
    if steps > 0:
        account["spread_cost"] += tick * spread
    account["slippage_cost"] += tick * slippage
    deal = book.deals[i, account["n_deals"]]
    account["n_deals"] += 1
    deal["bar"], deal["symbol"], deal["steps"] = t, s, steps
    deal["closing"], deal["reason"], deal["price"] = closing, reason, price
    deal["profit"], deal["commission"], deal["swap"] = profit, commission, swap
    if position["steps"] == 0:
        _end_trade(book, i, s)


@kernel
def count_trip(book: Book, i: int, result: float) -> None:
    """Enter a finished round trip into the account's record."""
    account = book.account[i]
    account["trades"] += 1
    if result > 0.0:
        account["wins"] += 1
        account["gain_sum"] += result
        account["losing_run"] = 0
    else:
        account["loss_sum"] -= result
        account["losing_run"] += 1


@kernel
def _end_trade(book: Book, i: int, s: int) -> None:
    """Count a finished round trip and clear the position."""
    account, position = book.account[i], book.positions[i, s]
    count_trip(book, i, position["result"])
    account["held_bars"] += min(position["age"], account["bars"])
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
    bid = bar["open"]
    held = position["steps"]
    closing = 0
    if held * steps < 0:
        closing = steps if abs(steps) <= abs(held) else -held
        book_deal(book, tape, i, s, t, closing, bid, reason)
    opening = steps - closing
    if opening == 0:
        return steps
    equity, margin = margin_at_open(book, tape, i, t)
    price, _, _ = quote(book, tape, i, s, t, opening, bid)
    needed = abs(opening) * price * step_value(contract, bar) * contract["margin_share"]
    if margin + needed > equity:
        position["reason"] = NO_MONEY
        return closing
    book_deal(book, tape, i, s, t, opening, bid, reason)
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
            book_deal(book, tape, i, s, t, -steps, bar["open"] + moved, STOP_OUT)
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
