"""Working orders: the bid at which a limit or a stop order fills inside a bar, and the fill.

A limit fills at its price, or at the open where that is better: the market has to come so far that
a market order there, slippage included, would pay no more. A stop becomes a market order at its
price, or at the open where that is worse, and pays slippage on top. Buys wait for the ask, sells
for the bid; the spread of a bar is one value, as everywhere.
"""

from __future__ import annotations

from mtquant.jit import kernel
from mtquant.risk.reasons import ALLOWED
from mtquant.sim.account import Book, Tape
from mtquant.sim.fills import book_deal, quote, reduce
from mtquant.sim.orders import refused


@kernel(rare=True)
def order_bid(
    book: Book, tape: Tape, i: int, s: int, t: int, steps: int, stop: bool, price_ticks: int
) -> int:
    """The bid in ticks at which an order of a price fills in bar ``t``, ahead of any gap.

    Args:
        book: State.
        tape: Market and rules.
        i: Lane.
        s: Symbol.
        t: Bar.
        steps: Signed lot steps of the order.
        stop: Whether it is a stop order, not a limit.
        price_ticks: Its price.
    """
    if stop:
        return price_ticks - tape.market[t, s]["spread"] if steps > 0 else price_ticks
    _, spread, slippage = quote(book, tape, i, s, t, steps, 0)
    return price_ticks - spread - slippage if steps > 0 else price_ticks + slippage


@kernel(rare=True)
def fill_order(
    book: Book, tape: Tape, i: int, s: int, t: int, steps: int, bid_ticks: int
) -> tuple[int, int]:
    """Fill an order at a bid inside bar ``t``; what reduces comes first.

    An increase needs money as a market order does, judged by the equity at the open; its stop and
    target are left to the caller.

    Returns:
        Signed lot steps that closed, and that opened; less than asked where the server refused the
        increase.
    """
    position = book.positions[i, s]
    held, closing = position["steps"], 0
    if held * steps < 0:
        closing = steps if abs(steps) <= abs(held) else -held
        reduce(book, tape, i, s, t, closing, bid_ticks, ALLOWED)
    opening = steps - closing
    if opening == 0:
        return closing, 0
    against = refused(book, tape, i, s, t, opening, bid_ticks)
    if against != 0:
        position["reason"] = against
        return closing, 0
    book_deal(book, tape, i, s, t, opening, bid_ticks, ALLOWED, 0)
    return closing, opening
