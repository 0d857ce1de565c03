"""How a deal changes the account.

Every change of balance goes through ``book_deal``; what a position is charged overnight waits on
the position until it is closed, as in MetaTrader. A netting book keeps one position a symbol; a
hedging book also the tickets that it is made of, all on one side, closed oldest first.
"""

from __future__ import annotations

from mtquant.jit import Record, kernel
from mtquant.sim.account import (
    MOST_TICKETS,
    Book,
    Tape,
    closing_quote,
    on_entry_grid,
    price_of,
    round_money,
    side_of,
    unrealised,
)
from mtquant.sim.costs import commission_of, fill_ticks, paid_ticks, row_before

TRADES_A_BYTE = 255


@kernel
def count_trip(book: Book, i: int, result: float) -> None:
    """Enter a finished round trip into the account's record."""
    account = book.account[i]
    won, since = result > 0.0, account["since_loss"]
    account["trades"] += 1
    account["wins"] += won
    account["gain_sum"] += max(result, 0.0)
    account["loss_sum"] -= min(result, 0.0)
    account["losing_run"] = 0 if won else account["losing_run"] + 1
    account["since_loss"] = since if won else 0


@kernel
def _end_trade(book: Book, i: int, s: int) -> None:
    """Count a finished round trip and clear the position."""
    account, position = book.account[i], book.positions[i, s]
    count_trip(book, i, position["result"])
    account["held_bars"] += min(position["age"], account["bars"])
    if position["born"] == account["day"] and account["day_trades"] & TRADES_A_BYTE < TRADES_A_BYTE:
        account["day_trades"] += 1
    position["age"], position["cap"] = 0, 0
    position["stop"], position["take"] = 0, 0
    position["entry"], position["swap"], position["result"] = 0.0, 0.0, 0.0


@kernel
def _take_from(
    held: Record, steps: int, ticks: int, bar: Record, rules: Record
) -> tuple[float, float]:
    """Reduce a position or ticket; ``(profit, swap)`` of the part that leaves."""
    scale = rules["money_scale"]
    profit = round_money(-steps * (ticks - held["entry"]) * bar["open_value"], scale)
    swap = 0.0
    if held["swap"] != 0.0:
        swap = round_money(held["swap"] * (-steps / held["steps"]), scale)
        held["swap"] = round_money(held["swap"] - swap, scale)
    held["steps"] += steps
    return profit, swap


@kernel
def _add_to(held: Record, steps: int, ticks: int) -> None:
    """Enlarge a position or ticket at a price."""
    before = held["steps"]
    if before == 0:
        held["entry"] = float(ticks)
    else:
        held["entry"] = on_entry_grid((before * held["entry"] + steps * ticks) / (before + steps))
    held["steps"] = before + steps


@kernel
def _write_deal(
    book: Book,
    tape: Tape,
    i: int,
    s: int,
    t: int,
    steps: int,
    paid: tuple[int, int, int],
    reason: int,
    booked: tuple[int, float, float, int],
) -> None:
    """Change the balance and the account's sums by one deal and record it.

    ``paid`` is price, spread and slippage in ticks; ``booked`` closing, profit, swap and ticket.
    """
    account, rules = book.account[i], tape.rules[0]
    contract, bar = tape.contracts[s], tape.market[t, s]
    (ticks, spread, slippage), (closing, profit, swap, ticket) = paid, booked
    size = abs(steps) * bar["open_value"]
    notional = size * ticks
    commission = commission_of(contract, rules, steps, notional)
    money = profit + swap - commission
    book.positions[i, s]["result"] += money
    if money != 0.0:
        account["balance"] = round_money(account["balance"] + money, rules["money_scale"])
    account["traded"] += notional
    account["commission"] += commission
    account["spread_cost"] += size * spread * (steps > 0)
    account["slippage_cost"] += size * slippage
    account["orders_today"] += 1 - closing
    account["spent_today"] += (1 - closing) * notional
    deal = book.deals[i, account["n_deals"]]
    account["n_deals"] += 1
    deal["bar"], deal["symbol"], deal["steps"] = t, s, steps
    deal["closing"], deal["reason"], deal["price"] = closing, reason, price_of(contract, ticks)
    deal["profit"], deal["commission"], deal["swap"] = profit, commission, swap
    deal["ticket"] = ticket


@kernel
def quote(
    book: Book, tape: Tape, i: int, s: int, t: int, steps: int, bid_ticks: int
) -> tuple[int, int, int]:
    """``(price, spread, slippage)`` in ticks of a deal inside bar ``t`` at a bid."""
    contract, bar = tape.contracts[s], tape.market[t, s]
    before = tape.market[row_before(tape, s, t), s]
    factor = book.account[i]["cost_factor"]
    spread, slippage = paid_ticks(contract, tape.rules[0], bar, before, factor, steps)
    return fill_ticks(steps > 0, bid_ticks, spread, slippage), spread, slippage


@kernel
def book_deal(
    book: Book,
    tape: Tape,
    i: int,
    s: int,
    t: int,
    steps: int,
    bid_ticks: int,
    reason: int,
    column: int,
) -> None:
    """Change balance and position by one deal; equity and margin at the open follow.

    ``steps`` either all reduce the position or all increase it. In a hedging book a reduction
    takes from the ticket in ``column``, 0 for the oldest, and an increase opens a ticket.
    """
    account, position, bar = book.account[i], book.positions[i, s], tape.market[t, s]
    paid = quote(book, tape, i, s, t, steps, bid_ticks)
    balance, held = account["balance"], position["steps"]
    value = bar["open_value"]
    worth = position["swap"] + unrealised(position, bar, bar["open"], value)
    if held == 0:
        position["born"] = account["day"]
    if book.tickets.shape[1] > 0:
        booked = _book_ticket(book, tape, i, s, t, steps, paid[0], s * MOST_TICKETS + column)
    elif held * steps < 0:
        profit, swap = _take_from(position, steps, paid[0], bar, tape.rules[0])
        booked = (1, profit, swap, 0)
    else:
        _add_to(position, steps, paid[0])
        booked = (0, 0.0, 0.0, 0)
    _write_deal(book, tape, i, s, t, steps, paid, reason, booked)
    if position["steps"] == 0:
        _end_trade(book, i, s)
    worth -= position["swap"] + unrealised(position, bar, bar["open"], value)
    account["open_equity"] += account["balance"] - balance - worth
    margin = bar["open"] * value * tape.contracts[s]["margin_share"]
    account["open_margin"] += (abs(position["steps"]) - abs(held)) * margin


@kernel(rare=True)
def _book_ticket(
    book: Book, tape: Tape, i: int, s: int, t: int, steps: int, ticks: int, k: int
) -> tuple[int, float, float, int]:
    """Take ``steps`` from the ticket in ``k`` or open one; ``(closing, profit, swap, number)``."""
    account, position = book.account[i], book.positions[i, s]
    closing, profit, swap = 0, 0.0, 0.0
    if position["steps"] * steps < 0:
        ticket = book.tickets[i, k]
        closing, number = 1, ticket["number"]
        profit, swap = _take_from(ticket, steps, ticks, tape.market[t, s], tape.rules[0])
        if ticket["steps"] == 0:
            position["tickets"] -= 1
            for j in range(k, s * MOST_TICKETS + position["tickets"]):
                book.tickets[i, j] = book.tickets[i, j + 1]
    else:
        account["tickets"] += 1
        number = account["tickets"]
        ticket = book.tickets[i, s * MOST_TICKETS + position["tickets"]]
        position["tickets"] += 1
        ticket["number"], ticket["steps"], ticket["swap"] = number, 0, 0.0
        _add_to(ticket, steps, ticks)
    _sum_tickets(book, i, s)
    return closing, profit, swap, number


@kernel
def reduce(
    book: Book, tape: Tape, i: int, s: int, t: int, steps: int, bid_ticks: int, reason: int
) -> None:
    """Close ``steps`` of a position, in a hedging book ticket by ticket, the oldest first."""
    if book.tickets.shape[1] == 0:
        book_deal(book, tape, i, s, t, steps, bid_ticks, reason, 0)
        return
    while steps != 0:
        held = book.tickets[i, s * MOST_TICKETS]["steps"]
        part = steps if abs(steps) <= abs(held) else -held
        book_deal(book, tape, i, s, t, part, bid_ticks, reason, 0)
        steps -= part


@kernel
def _sum_tickets(book: Book, i: int, s: int) -> None:
    """The position is the sum of its tickets, its entry their average."""
    position, first = book.positions[i, s], s * MOST_TICKETS
    steps, cost, swap = 0, 0.0, 0.0
    for k in range(first, first + position["tickets"]):
        ticket = book.tickets[i, k]
        steps += ticket["steps"]
        cost += ticket["steps"] * ticket["entry"]
        swap += ticket["swap"]
    position["steps"], position["swap"] = steps, swap
    if steps != 0:
        position["entry"] = on_entry_grid(cost / steps)


@kernel
def stop_passed(position: Record, bar: Record) -> bool:
    """Whether the open lies at or beyond the position's own stop."""
    away = closing_quote(position["steps"], bar, bar["open"]) - position["stop"]
    return (position["stop"] != 0) & (side_of(position["steps"]) * away <= 0)


@kernel
def stop_refused(position: Record, contract: Record, bar: Record) -> bool:
    """Whether no broker takes the position's stop at the open: passed, or nearer than allowed."""
    side = side_of(position["steps"])
    quoted = closing_quote(side, bar, bar["open"])
    return side * (quoted - position["stop"]) < max(contract["stops_ticks"], 1)


@kernel
def take_passed(position: Record, bar: Record) -> bool:
    """Whether the open lies at or beyond the position's own target."""
    away = closing_quote(position["steps"], bar, bar["open"]) - position["take"]
    return (position["take"] != 0) & (side_of(position["steps"]) * away >= 0)


@kernel
def set_stops(position: Record, bar: Record, bid_ticks: int) -> None:
    """One stop and one target for the whole position, counted from the quote without slippage."""
    side = side_of(position["steps"])
    quoted = closing_quote(side, bar, bid_ticks)
    stop, take = position["stop_distance"], position["take_distance"]
    position["stop"] = max(quoted - side * stop, 0) if stop != 0 else 0
    position["take"] = max(quoted + side * take, 0) if take != 0 else 0
