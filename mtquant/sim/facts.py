"""What the pre-trade checks are told of an order: one ``ORDER`` record, from account and market."""

from __future__ import annotations

from mtquant.jit import kernel
from mtquant.sim.account import Book, Tape, step_notional, symbols_of
from mtquant.sim.pending import increase, on_its_way, ordered

ONE_BYTE, FIVE_DAYS = 255, 5


@kernel
def tally(book: Book, tape: Tape, i: int, t: int) -> None:
    """Sum up what is held and on its way at the close of bar ``t``, before the first decision."""
    account = book.account[i]
    gross, margin, spent, count, orders = 0.0, 0.0, 0.0, 0, 0
    for s in range(symbols_of(book)):
        position, unit = book.positions[i, s], step_notional(tape.market[t, s])
        planned = position["steps"]
        if book.queue.shape[1] > 0:
            planned, opened, increases = on_its_way(book, i, s, t)
            spent += opened * unit
            orders += increases
        position["planned"] = planned
        notional = abs(planned) * unit
        gross += notional
        margin += notional * tape.contracts[s]["margin_share"]
        count += planned != 0
    account["reserved"], account["reserved_margin"] = gross, margin
    account["reserved_open"] = count
    account["reserved_spent"], account["reserved_orders"] = spent, orders


@kernel
def reserve(book: Book, tape: Tape, i: int, s: int, t: int) -> None:
    """Add what symbol ``s`` was just allowed beyond its plan, and the order that opens it."""
    account, position = book.account[i], book.positions[i, s]
    target, planned = position["target"], position["planned"]
    unit = step_notional(tape.market[t, s])
    opened = increase(ordered(book, i, s, t), target)
    account["reserved_spent"] += opened * unit
    account["reserved_orders"] += opened > 0
    more = max(abs(target) - abs(planned), 0)
    account["reserved"] += more * unit
    account["reserved_margin"] += more * unit * tape.contracts[s]["margin_share"]
    account["reserved_open"] += (more > 0) & (planned == 0)
    position["planned"] = target if more > 0 else planned


@kernel(rare=True)
def _class_gross(book: Book, tape: Tape, i: int, s: int, t: int) -> float:
    """Gross notional of the other symbols of the same asset class."""
    gross = 0.0
    for o in range(symbols_of(book)):
        if o != s and tape.contracts[o]["asset_class"] == tape.contracts[s]["asset_class"]:
            gross += abs(book.positions[i, o]["planned"]) * step_notional(tape.market[t, o])
    return gross


@kernel(rare=True)
def _same_bet(book: Book, tape: Tape, i: int, s: int, t: int, side: int) -> float:
    """Largest correlation with another position, counted positive where both win together."""
    largest, symbols = 0.0, symbols_of(book)
    for o in range(symbols):
        steps = 0 if o == s else book.positions[i, o]["planned"]
        if steps != 0:
            a, b = min(o, s), max(o, s)
            pair = a * symbols - a * (a + 1) // 2 + b - a - 1
            together = float(tape.correlation[t, pair]) * side * (1 if steps > 0 else -1)
            largest = max(largest, together)
    return largest


@kernel(rare=True)
def _recent_day_trades(packed: int) -> int:
    count = 0
    for day in range(FIVE_DAYS):
        count += (packed >> (8 * day)) & ONE_BYTE
    return count


@kernel
def describe(book: Book, tape: Tape, i: int, s: int, t: int, held: int, target: int) -> None:
    """Write into ``book.orders[0]`` what is to be known of going from ``held`` to ``target``."""
    account, position, order = book.account[i], book.positions[i, s], book.orders[0]
    contract, bar, rules = tape.contracts[s], tape.market[t, s], tape.rules[0]
    notional, own = step_notional(bar), abs(position["planned"])
    margin = notional * contract["margin_share"]
    order["held"], order["target"] = held, target
    order["step_notional"], order["step_margin"] = notional, margin
    order["step_lots"], order["leverage"] = contract["step_lots"], contract["leverage"]
    order["equity"], order["balance"] = account["equity"], account["balance"]
    order["others_gross"] = max(account["reserved"] - own * notional, 0.0)
    order["others_margin"] = max(account["reserved_margin"] - own * margin, 0.0)
    order["others_open"] = account["reserved_open"] - (1 if own > 0 else 0)
    order["orders_today"] = account["orders_today"] + account["reserved_orders"]
    order["spent_today"] = account["spent_today"] + account["reserved_spent"]
    order["bars_since_loss"], order["age"] = account["since_loss"], position["age"]
    order["barred"] = bar["barred"]
    if rules["max_daily_volume_share"] > 0.0:
        order["day_volume"] = bar["volume"] / contract["step_lots"] * contract["bars_per_day"]
    if rules["max_day_trades"] > 0:
        order["day_trades"] = _recent_day_trades(account["day_trades"])
    if rules["max_class_exposure"] > 0.0:
        order["others_class"] = _class_gross(book, tape, i, s, t)
    if rules["max_correlation"] > 0.0 and tape.correlation.shape[1] > 0:
        order["correlation"] = _same_bet(book, tape, i, s, t, 1 if target > 0 else -1)
