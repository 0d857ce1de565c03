"""A market order as the server executes it: legs that reduce, then one that increases.

A hedging book reduces by a leg for each ticket, the oldest first. Each leg may be late, rejected or
filled in part; what follows a leg that was not wholly executed is not sent.
"""

from __future__ import annotations

from math import ceil, floor

from mtquant.jit import Record, kernel
from mtquant.risk.reasons import NO_MONEY, NOT_TRADABLE, PASSED, REJECTED, TOO_MANY_TICKETS
from mtquant.sim.account import MOST_TICKETS, Book, Tape
from mtquant.sim.fills import book_deal, quote, set_stops, stop_passed, take_passed
from mtquant.sim.randomness import uniform

PATH_TOLERANCE = 1e-6  # ticks; a level that lies on a tick may come out a hair beside it


@kernel
def late_bid(account: Record, bar: Record, steps: int) -> int:
    """The bid at which an order fills: the open, or later by the fraction of a bar of latency."""
    part = account["latency"] - int(account["latency"])
    if part == 0.0:
        return bar["open"]
    move = part * (bar["close"] - bar["open"])
    if steps > 0:
        return bar["open"] + ceil(move - PATH_TOLERANCE)
    return bar["open"] + floor(move + PATH_TOLERANCE)


@kernel
def accepted(book: Book, tape: Tape, i: int, s: int, steps: int) -> int:
    """What the server takes of a leg in robustness training: all, a part, or nothing."""
    rules, least = tape.rules[0], tape.contracts[s]["min_steps"]
    if rules["reject_probability"] > 0.0 and uniform(book, i) < rules["reject_probability"]:
        return 0
    if rules["partial_probability"] > 0.0 and uniform(book, i) < rules["partial_probability"]:
        part = int(uniform(book, i) * abs(steps))
        if part < least:
            return 0
        return part if steps > 0 else -part
    return steps


@kernel
def refused(book: Book, tape: Tape, i: int, s: int, t: int, opening: int, bid_ticks: int) -> int:
    """Why the server would not let ``opening`` lot steps be added, or 0."""
    account, position, bar = book.account[i], book.positions[i, s], tape.market[t, s]
    if bar["banded"] != 0:
        return bar["banded"]
    if stop_passed(position, bar) or take_passed(position, bar):
        return PASSED
    if book.tickets.shape[1] > 0 and position["tickets"] >= MOST_TICKETS:
        return TOO_MANY_TICKETS
    ticks, _, _ = quote(book, tape, i, s, t, opening, bid_ticks)
    margin = abs(opening) * ticks * bar["open_value"] * tape.contracts[s]["margin_share"]
    if account["open_margin"] + margin > account["open_equity"]:
        return NO_MONEY
    return 0


@kernel
def close_leg(
    book: Book, tape: Tape, i: int, s: int, t: int, steps: int, column: int, reason: int
) -> int:
    """Reduce a position, in a hedging book the ticket in ``column``; lot steps executed."""
    taken = accepted(book, tape, i, s, steps)
    if taken == 0:
        book.positions[i, s]["reason"] = REJECTED
        return 0
    bid = late_bid(book.account[i], tape.market[t, s], steps)
    book_deal(book, tape, i, s, t, taken, bid, reason, column)
    return taken


@kernel
def open_leg(book: Book, tape: Tape, i: int, s: int, t: int, steps: int, reason: int) -> int:
    """Increase a position and set its stop and target; lot steps executed."""
    position, bar = book.positions[i, s], tape.market[t, s]
    taken = accepted(book, tape, i, s, steps)
    if taken == 0:
        position["reason"] = REJECTED
        return 0
    bid = late_bid(book.account[i], bar, steps)
    against = refused(book, tape, i, s, t, taken, bid)
    if against != 0:
        position["reason"] = against
        return 0
    book_deal(book, tape, i, s, t, taken, bid, reason, 0)
    set_stops(position, bar, bid)
    return taken


@kernel
def _close_legs(book: Book, tape: Tape, i: int, s: int, t: int, steps: int, reason: int) -> int:
    """All legs of a reduction; lot steps executed."""
    if book.tickets.shape[1] == 0:
        return close_leg(book, tape, i, s, t, steps, 0, reason)
    left = steps
    while left != 0:
        held = book.tickets[i, s * MOST_TICKETS]["steps"]
        part = left if abs(left) <= abs(held) else -held
        done = close_leg(book, tape, i, s, t, part, 0, reason)
        left -= done
        if done != part:
            break
    return steps - left


@kernel
def execute(book: Book, tape: Tape, i: int, s: int, t: int, steps: int, reason: int) -> int:
    """Execute a market order of ``steps`` signed lot steps in bar ``t``.

    A flip is a reduction to zero plus an increase; if the increase is refused the reduction
    stands.

    Returns:
        Signed lot steps executed.
    """
    position = book.positions[i, s]
    if tape.market[t, s]["tradable"] == 0:
        position["reason"] = NOT_TRADABLE
        return 0
    held = position["steps"]
    closing = min(max(steps, min(-held, 0)), max(-held, 0))  # those that only reduce
    if closing != 0:
        done = _close_legs(book, tape, i, s, t, closing, reason)
        if done != closing:
            return done
    if steps == closing:
        return steps
    return closing + open_leg(book, tape, i, s, t, steps - closing, reason)
