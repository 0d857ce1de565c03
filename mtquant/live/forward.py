"""From the last record to the present: the kernel's book at the close of the newest bar.

What the broker shows is taken as it is. What it does not know is moved here by the kernel's own
``open_bar`` and ``close_bar`` and, between the two, by the deals of the bar, in the order in which
the kernel makes them: the decision that follows is the one of a backtest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mtquant.jit import Record
from mtquant.live.found import BrokerBalance, Fill, FoundPosition
from mtquant.live.record import MONEY, OF_A_POSITION, OF_A_SYMBOL, AccountRecord, HeldPosition
from mtquant.risk.breaker import LEVEL_3
from mtquant.sim.account import (
    MOST_TICKETS,
    NO_QUEUE,
    Book,
    Tape,
    empty_book,
    entry_ticks,
    mark,
    on_entry_grid,
    round_money,
)
from mtquant.sim.episodes import open_account
from mtquant.sim.fills import TRADES_A_BYTE, count_trip
from mtquant.sim.inside import bar_side
from mtquant.sim.kernel import close_bar, open_bar
from mtquant.sim.reward import fade_moments

MARKED = ("equity", "peak", "day_start", "week_start", "start_equity", "challenge_high")


def bring_forward(
    record: AccountRecord | None,
    found: BrokerBalance,
    tape: Tape,
    rows: Sequence[int],
    opens_ns: npt.NDArray[np.int64],
) -> Book:
    """The kernel's book at the close of the last of ``rows``.

    Args:
        record: The last one; None at the very first bar, which then opens the account.
        found: Where the broker stands now.
        tape: Bars with ``rows``.
        rows: Bars closed since the record, in order; more than one after an outage.
        opens_ns: Opens of the tape's bars, ns UTC.

    Returns:
        One lane, marked, aged and judged by the breaker.
    """
    book = _opened(found, tape, rows[-1])
    account = book.account[0]
    if record is None:
        for name in MARKED:
            account[name] = mark(book, tape, 0, rows[-1])
        return book
    _recall(book, record, found)
    held = [position.steps for position in record.positions]
    balance, scale = record.balance + found.deposit, tape.rules[0]["money_scale"]
    for k, t in enumerate(rows):
        before_bar = float(account["equity"])
        account["balance"] = balance  # of before the bar's deals: with it a day may begin
        open_bar(book, tape, 0, t)
        for fill in _fills_of(found.fills, rows, k, opens_ns):
            held[fill.symbol] = _deal(book, tape, t, held[fill.symbol], fill)
            balance = round_money(balance + fill.money, scale)
        account["balance"] = found.balance
        close_bar(book, tape, 0, t)
        fade_moments(book, tape, 0, before_bar)
    for row in book.positions[0]:
        if row["steps"] == 0:
            _forget(row)
    if found.stopped_out or account["equity"] <= 0.0:
        account["level"] = LEVEL_3
    return book


def _opened(found: BrokerBalance, tape: Tape, t: int) -> Book:
    """A book that holds what the broker shows at the close of bar ``t``, and knows no more."""
    # Live, orders are as late as they are: nothing of the kernel's own is on its way.
    book = empty_book(1, len(found.positions), tape.rules[0])._replace(queue=NO_QUEUE)
    open_account(book, tape, 0, t, t, found.balance)
    for s, position in enumerate(found.positions):
        _hold(book, tape, s, position)
    return book


def _hold(book: Book, tape: Tape, s: int, found: FoundPosition) -> None:
    """Write what the broker holds of a symbol, ticket by ticket."""
    row, contract, cost = book.positions[0, s], tape.contracts[s], 0.0
    for k, one in enumerate(found.tickets):
        entry = entry_ticks(contract, one.entry)
        cost += one.steps * entry
        if k < min(MOST_TICKETS, book.tickets.shape[1]):
            book.account["tickets"] += 1
            row["tickets"] = k + 1
            number = book.account["tickets"][0]
            book.tickets[0, s * MOST_TICKETS + k] = (number, one.steps, entry, one.swap)
    row["steps"], row["swap"] = found.steps, found.swap
    row["stop"], row["take"] = found.stop, found.take
    if found.steps != 0:
        alone = len(found.tickets) == 1
        row["entry"] = entry if alone else on_entry_grid(cost / found.steps)


def _recall(book: Book, record: AccountRecord, found: BrokerBalance) -> None:
    """Write what the record knows; money paid in or out moves what gains are measured from."""
    account, deposit = book.account[0], found.deposit
    for name in ("equity", "peak", "day_start"):
        account[name] = getattr(record, name) + deposit
    for name in MONEY:
        account[name] = account["day_start"]
    account["challenge_high"] = account["peak"]
    for name, value in record.memory.items():
        account[name] = value + deposit if name in MONEY else value
    account["day"], account["level"] = record.day, record.level
    for s, before in enumerate(record.positions):
        row = book.positions[0, s]
        same = _accounted_for(s, before, found)
        for name in (*OF_A_SYMBOL, *OF_A_POSITION) if same else OF_A_SYMBOL:
            row[name] = getattr(before, name)


def _accounted_for(s: int, before: HeldPosition, found: BrokerBalance) -> bool:
    """Whether the deals lead from the record to what is held, or it may be the same position."""
    now = found.positions[s].steps
    dealt = sum(fill.steps for fill in found.fills if fill.symbol == s)
    return before.steps + dealt == now or before.steps * now > 0


def _fills_of(
    fills: Sequence[Fill], rows: Sequence[int], k: int, opens_ns: npt.NDArray[np.int64]
) -> list[Fill]:
    """The deals of the bar ``rows[k]``; the first bar takes older ones, the last newer ones."""
    begins = opens_ns[rows[k]] if k > 0 else -np.inf
    ends = opens_ns[rows[k + 1]] if k + 1 < len(rows) else np.inf
    return [fill for fill in fills if begins <= fill.time_ns < ends]


def _deal(book: Book, tape: Tape, t: int, held: int, fill: Fill) -> int:
    """Remember one deal of bar ``t`` as the kernel does; the signed lot steps held after it."""
    s, account, now = fill.symbol, book.account[0], held + fill.steps
    row, contract = book.positions[0, s], tape.contracts[s]
    if fill.stopped:
        _bar(row, -fill.steps)
    row["result"] += fill.money
    if fill.opens:
        ticks = round(fill.price * int(contract["tick_d"]) / int(contract["tick_n"]))
        account["orders_today"] += 1
        account["spent_today"] += abs(fill.steps) * tape.market[t, s]["open_value"] * ticks
    if held != 0 and held * now <= 0:
        _end_trade(book, row)
    if now != 0 and held * now <= 0:
        row["born"] = account["day"]
    return now


def _bar(row: Record, held: int) -> None:
    """Bar the side of what a stop has closed."""
    steps = int(row["steps"])
    row["steps"] = held
    bar_side(row)
    row["steps"] = steps


def _end_trade(book: Book, row: Record) -> None:
    """Count a finished round trip."""
    account = book.account[0]
    count_trip(book, 0, float(row["result"]))
    if row["born"] == account["day"] and account["day_trades"] & TRADES_A_BYTE < TRADES_A_BYTE:
        account["day_trades"] += 1
    _forget(row)


def _forget(row: Record) -> None:
    """Nothing is left of a position."""
    for name in OF_A_POSITION:
        row[name] = 0
