"""What happens inside a bar: protective stops, targets, the broker's stop-out, swap.

A bar tells no order of its prices, so the worse is taken: all symbols go from the open to the price
that hurts them first, at one pace, and to the one that helps them afterwards. Only an open beyond a
target is known to have come before everything else.
"""

from __future__ import annotations

from math import ceil, floor

from mtquant.jit import Record, kernel
from mtquant.risk.reasons import STOP, STOP_OUT, TAKE_PROFIT
from mtquant.sim.account import (
    MOST_TICKETS,
    Book,
    Tape,
    closing_quote,
    round_money,
    side_of,
    symbols_of,
)
from mtquant.sim.costs import nightly_swap
from mtquant.sim.fills import book_deal, reduce, take_passed
from mtquant.sim.orders import PATH_TOLERANCE
from mtquant.sim.pending import call_off

NEVER = 2.0  # beyond the end of the way


@kernel
def highest(bar: Record) -> int:
    """The highest bid of a bar, in ticks."""
    return bar["open"] + bar["above"]


@kernel
def lowest(bar: Record) -> int:
    """The lowest bid of a bar, in ticks."""
    return bar["open"] - bar["below"]


@kernel
def worst_ticks(position: Record, bar: Record) -> int:
    """The bid inside the bar that hurts the position most."""
    low, high = lowest(bar), highest(bar)
    return low if position["steps"] > 0 else high


@kernel
def best_ticks(position: Record, bar: Record) -> int:
    """The bid inside the bar that helps the position most."""
    low, high = lowest(bar), highest(bar)
    return high if position["steps"] > 0 else low


@kernel
def ask_spread(position: Record, bar: Record) -> int:
    """What lies between the bid and the quote at which the position would close."""
    return closing_quote(position["steps"], bar, 0)


@kernel
def stop_bid(position: Record, bar: Record) -> int:
    """The bid at which the stop fills, the open if that lies beyond; -1 if it is not hit."""
    side, level = side_of(position["steps"]), position["stop"] - ask_spread(position, bar)
    hit = side * (worst_ticks(position, bar) - level) <= 0
    if hit & (position["stop"] != 0):
        return side * min(side * bar["open"], side * level)
    return -1


@kernel
def take_bid(position: Record, bar: Record) -> int:
    """The bid at which the target fills, the open if that is better; -1 if it is not reached."""
    side, level = side_of(position["steps"]), position["take"] - ask_spread(position, bar)
    reached = side * (best_ticks(position, bar) - level) >= 0
    if reached & (position["take"] != 0):
        return side * max(side * bar["open"], side * level)
    return -1


@kernel
def bar_side(position: Record) -> None:
    """Close the side of a position that its stop ends to new ones for a while."""
    position["barred_side"] = side_of(position["steps"])
    position["barred_bars"] = -1  # the stop's own bar does not count


@kernel(rare=True)
def exit_position(
    book: Book, tape: Tape, i: int, s: int, t: int, bid_ticks: int, reason: int
) -> float:
    """Close a position at a bid; returns the money that it moved from the open, bid to bid."""
    position, bar = book.positions[i, s], tape.market[t, s]
    steps = position["steps"]
    if reason == STOP:
        bar_side(position)
    call_off(book, i, s)
    reduce(book, tape, i, s, t, -steps, bid_ticks, reason)
    return steps * (bid_ticks - bar["open"]) * bar["open_value"]


@kernel
def _opening_targets(book: Book, tape: Tape, i: int, t: int) -> float:
    """Close what opens beyond its target; who is flat has neither target nor stop."""
    gross = 0.0
    for s in range(symbols_of(book)):
        position, bar = book.positions[i, s], tape.market[t, s]
        if take_passed(position, bar) and bar["tradable"] != 0:
            gross += exit_position(book, tape, i, s, t, bar["open"], TAKE_PROFIT)
    return gross


@kernel
def _hit_levels(book: Book, tape: Tape, i: int, t: int) -> float:
    """Close what hits its stop, and of the rest what reaches its target."""
    gross = 0.0
    for s in range(symbols_of(book)):
        position, bar = book.positions[i, s], tape.market[t, s]
        if bar["tradable"] != 0:
            bid = stop_bid(position, bar)
            if bid >= 0:
                gross += exit_position(book, tape, i, s, t, bid, STOP)
            else:
                bid = take_bid(position, bar)
                if bid >= 0:
                    gross += exit_position(book, tape, i, s, t, bid, TAKE_PROFIT)
    return gross


@kernel
def _fall(book: Book, tape: Tape, i: int, t: int) -> float:
    """How much equity is lost on the whole way from the open to the worst prices."""
    lost = 0.0
    for s in range(symbols_of(book)):
        position, bar = book.positions[i, s], tape.market[t, s]
        lost -= position["steps"] * (worst_ticks(position, bar) - bar["open"]) * bar["open_value"]
    return lost


@kernel
def least_equity(book: Book, tape: Tape, i: int) -> float:
    """Equity below which the broker closes positions."""
    rules = tape.rules[0]
    if rules["stop_out_money"] > 0.0:
        return rules["stop_out_money"]
    return book.account[i]["open_margin"] * rules["stop_out_level"]


@kernel
def _next_stop(book: Book, tape: Tape, i: int, t: int) -> tuple[float, int]:
    """``(share of the way, symbol)`` of the first protective stop that is hit on it."""
    first, symbol = NEVER, -1
    for s in range(symbols_of(book)):
        position, bar = book.positions[i, s], tape.market[t, s]
        if bar["tradable"] != 0:
            bid = stop_bid(position, bar)
            if bid >= 0:
                whole = worst_ticks(position, bar) - bar["open"]
                way = (bid - bar["open"]) / whole if whole != 0 else 0.0
                if way < first:
                    first, symbol = way, s
    return first, symbol


@kernel
def way_bid(position: Record, bar: Record, way: float) -> int:
    """The bid at a share of the way to the worst price, rounded against the position."""
    path = way * (worst_ticks(position, bar) - bar["open"])
    if position["steps"] > 0:
        return bar["open"] + floor(path + PATH_TOLERANCE)
    return bar["open"] + ceil(path - PATH_TOLERANCE)


@kernel
def _losing_ticket(book: Book, i: int, s: int, quoted: int) -> tuple[float, int]:
    """``(ticks x steps, column)`` of the ticket of a position that has lost most at a quote."""
    least, column = 0.0, -1
    for k in range(book.positions[i, s]["tickets"]):
        ticket = book.tickets[i, s * MOST_TICKETS + k]
        profit = ticket["steps"] * (quoted - ticket["entry"])
        if column < 0 or profit < least:
            least, column = profit, k
    return least, column


@kernel(rare=True)
def _largest_loser(book: Book, tape: Tape, i: int, t: int, way: float) -> tuple[int, int]:
    """``(symbol, column of the ticket)`` of what has lost most money at a share of the way."""
    least, symbol, column = 0.0, -1, 0
    for s in range(symbols_of(book)):
        position, bar = book.positions[i, s], tape.market[t, s]
        if position["steps"] == 0 or bar["tradable"] == 0:
            continue
        quoted = way_bid(position, bar, way) + ask_spread(position, bar)
        k, lost = 0, position["steps"] * (quoted - position["entry"])
        if book.tickets.shape[1] > 0:
            lost, k = _losing_ticket(book, i, s, quoted)
        if symbol < 0 or lost * bar["open_value"] < least:
            least, symbol, column = lost * bar["open_value"], s, k
    return symbol, column


@kernel(rare=True)
def _liquidate(book: Book, tape: Tape, i: int, s: int, column: int, t: int, way: float) -> float:
    """Close the position, or the one ticket of it, that the broker has chosen."""
    position, bar = book.positions[i, s], tape.market[t, s]
    bid = way_bid(position, bar, way)
    if book.tickets.shape[1] == 0:
        return exit_position(book, tape, i, s, t, bid, STOP_OUT)
    steps = book.tickets[i, s * MOST_TICKETS + column]["steps"]
    book_deal(book, tape, i, s, t, -steps, bid, STOP_OUT, column)
    return steps * (bid - bar["open"]) * bar["open_value"]


@kernel
def margin_crossing(book: Book, tape: Tape, i: int, t: int) -> float:
    """Share of the way at which equity falls below what the margin demands, or ``NEVER``."""
    equity, least = book.account[i]["open_equity"], least_equity(book, tape, i)
    fall = _fall(book, tape, i, t)
    if equity - fall >= least or book.account[i]["open_margin"] <= 0.0:
        return NEVER
    return (equity - least) / fall if equity > least else 0.0


@kernel(rare=True)
def _stop_outs(book: Book, tape: Tape, i: int, t: int) -> tuple[float, bool]:
    """The way down event by event, where the margin does not last to its end.

    Stops that lie earlier act earlier and may save the rest; where the margin is crossed the
    largest loser is closed, then the next, until what is left suffices.
    """
    gross, reached, stopped = 0.0, 0.0, False
    for _ in range(book.deals.shape[1]):
        crossing = margin_crossing(book, tape, i, t)
        way, s = _next_stop(book, tape, i, t)
        if s >= 0 and way <= crossing:
            position, bar = book.positions[i, s], tape.market[t, s]
            gross += exit_position(book, tape, i, s, t, stop_bid(position, bar), STOP)
            reached = max(reached, way)
        elif crossing < NEVER:
            reached = max(reached, crossing)
            loser, column = _largest_loser(book, tape, i, t, reached)
            if loser < 0:
                break
            gross += _liquidate(book, tape, i, loser, column, t, reached)
            stopped = True
        else:
            break
    return gross, stopped


@kernel
def inside_bar(book: Book, tape: Tape, i: int, t: int) -> tuple[float, bool]:
    """Stops, targets and stop-out inside bar ``t``, after the fills at its open.

    Returns:
        Money that what was closed had moved since the open, bid to bid, and whether the broker
        has stopped out.
    """
    gross, stopped = 0.0, False
    managed = tape.rules[0]["managed"] != 0
    if managed:
        gross += _opening_targets(book, tape, i, t)
    if margin_crossing(book, tape, i, t) < NEVER:
        lost, stopped = _stop_outs(book, tape, i, t)
        gross += lost
    if managed:
        gross += _hit_levels(book, tape, i, t)
    return gross, stopped


@kernel
def carry(book: Book, tape: Tape, i: int, t: int) -> None:
    """Book the rollovers of bar ``t`` on what survived it."""
    rules, account = tape.rules[0], book.account[i]
    for s in range(symbols_of(book)):
        position, bar, contract = book.positions[i, s], tape.market[t, s], tape.contracts[s]
        if position["steps"] == 0 or bar["nights"] == 0:
            continue
        if book.tickets.shape[1] == 0:
            swap = nightly_swap(contract, bar, rules, position["steps"])
            position["swap"] = round_money(position["swap"] + swap, rules["money_scale"])
            account["swap"] -= swap
        else:
            position["swap"] = 0.0
            for k in range(s * MOST_TICKETS, s * MOST_TICKETS + position["tickets"]):
                ticket = book.tickets[i, k]
                swap = nightly_swap(contract, bar, rules, ticket["steps"])
                ticket["swap"] = round_money(ticket["swap"] + swap, rules["money_scale"])
                position["swap"] += ticket["swap"]
                account["swap"] -= swap
