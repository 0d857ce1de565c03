"""AccountRecord: what a runner must remember of its account from one bar to the next.

Balance, positions and booked swap come from the broker. Peak, the day's start, the breaker's level,
the age of positions and the record of round trips are known to nobody else, so they are carried
here, in the journal, and moved by the kernel's own ``open_bar`` and ``close_bar``: the observation
is the one of training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mtquant.risk.breaker import LEVEL_3
from mtquant.sim.account import Book, Tape, empty_book, mark
from mtquant.sim.episodes import open_account
from mtquant.sim.fills import count_trip
from mtquant.sim.kernel import close_bar, open_bar
from mtquant.sim.reward import fade_moments

# What the kernel's account remembers beside the fields of a record; money moves with deposits.
MONEY = ("week_start", "start_equity")
COUNTS = ("trades", "wins", "losing_run")
SUMS = ("gain_sum", "loss_sum", "mean_return", "square_return")


@dataclass(frozen=True)
class HeldPosition:
    """A position of one symbol.

    Attributes:
        steps: Signed lot steps; 0 is flat and everything else is 0 too.
        entry: Average price.
        swap: Booked, not yet in the balance, account currency.
        age: Bars since it was opened.
        identifier: The broker's, by which a position is known to be still the same.
        result: Realised by its deals so far, costs included, account currency.
    """

    steps: int = 0
    entry: float = 0.0
    swap: float = 0.0
    age: int = 0
    identifier: int = 0
    result: float = 0.0


@dataclass(frozen=True)
class AccountRecord:
    """The account at the close of one bar; money in account currency.

    Attributes:
        bar_time_ns: Open of that bar, ns UTC.
        balance: The broker's.
        equity: Marked by the kernel at the bar's last bid and spread.
        peak: Highest equity so far.
        day_start: Equity when the broker's day began.
        day: That day's number.
        level: Of the circuit breaker.
        positions: One per symbol.
        memory: Further fields of the kernel's account by name; none in an old record.
    """

    bar_time_ns: int
    balance: float
    equity: float
    peak: float
    day_start: float
    day: int
    level: int
    positions: tuple[HeldPosition, ...]
    memory: Mapping[str, float] = field(default_factory=dict)

    @property
    def drawdown(self) -> float:
        """Fall from the peak, a fraction of it."""
        return max(1.0 - self.equity / self.peak, 0.0) if self.peak > 0.0 else 0.0


@dataclass(frozen=True)
class BrokerBalance:
    """What the broker says, and what happened since the last record.

    Attributes:
        balance: Account currency.
        positions: One per symbol; their ages are not known to the broker.
        deposit: Paid in (or, negative, out) since the last record.
        stopped_out: Whether the broker closed positions for lack of margin since then.
        realised: ``(identifier, money)`` of each deal since then on an own position, oldest first;
            money is profit, swap and commission.
    """

    balance: float
    positions: tuple[HeldPosition, ...]
    deposit: float = 0.0
    stopped_out: bool = False
    realised: tuple[tuple[int, float], ...] = ()


def bring_forward(
    record: AccountRecord | None, found: BrokerBalance, tape: Tape, rows: Sequence[int]
) -> Book:
    """The kernel's book at the close of the last of ``rows``.

    Args:
        record: The last one; None at the very first bar, which then opens the account.
        found: Where the broker stands now.
        tape: Bars with ``rows``.
        rows: Bars closed since the record, in order; more than one after an outage.

    Returns:
        One lane, marked, aged and judged by the breaker.
    """
    book = empty_book(1, len(found.positions))
    account = book.account[0]
    newest = rows[-1]
    open_account(book, tape, 0, newest, newest, found.balance)
    for row, now in zip(book.positions[0], found.positions, strict=True):
        row["steps"], row["entry"], row["swap"] = now.steps, now.entry, now.swap
    if record is None:
        for name in ("equity", "peak", "day_start", *MONEY):
            account[name] = mark(book, tape, 0, newest)
        return book
    # Money paid in or out is neither gain nor loss: it moves what gains are measured from.
    account["equity"] = record.equity + found.deposit
    account["peak"] = record.peak + found.deposit
    account["day_start"] = record.day_start + found.deposit
    account["week_start"] = account["start_equity"] = account["day_start"]
    for name, value in record.memory.items():
        account[name] = value + found.deposit if name in MONEY else value
    account["day"], account["level"] = record.day, record.level
    for row, now, before in zip(book.positions[0], found.positions, record.positions, strict=True):
        same = now.identifier == before.identifier and now.steps * before.steps > 0
        row["age"] = before.age if same else 0
    finished = _settle(book, record, found)
    for t in rows:
        before_bar = float(account["equity"])
        open_bar(book, tape, 0, t)
        for result in finished if t == rows[0] else ():
            count_trip(book, 0, result)
        close_bar(book, tape, 0, t)
        fade_moments(book, tape, 0, before_bar)
    if found.stopped_out or account["equity"] <= 0.0:
        account["level"] = LEVEL_3
    return book


def _settle(book: Book, record: AccountRecord, found: BrokerBalance) -> list[float]:
    """Write what open positions have realised so far; returns the results of those that ended.

    Deals are added one by one, and ended positions are in the order of their last deals, as the
    kernel does it. A position of which no deal is known is left alone: what it was worth cannot
    be said.
    """
    results = {p.identifier: p.result for p in record.positions if p.steps != 0}
    for identifier, money in found.realised:
        results[identifier] = results.pop(identifier, 0.0) + money  # moves to the end
    held = {p.identifier for p in found.positions if p.steps != 0}
    for row, now in zip(book.positions[0], found.positions, strict=True):
        if now.steps != 0:
            row["result"] = results.get(now.identifier, 0.0)
    ended = {identifier for identifier, _ in found.realised} - held
    return [result for identifier, result in results.items() if identifier in ended]


def record_of(book: Book, bar_time_ns: int, found: BrokerBalance) -> AccountRecord:
    """The record of a book at the close of a bar."""
    account = book.account[0]
    return AccountRecord(
        bar_time_ns=bar_time_ns,
        balance=float(account["balance"]),
        equity=float(account["equity"]),
        peak=float(account["peak"]),
        day_start=float(account["day_start"]),
        day=int(account["day"]),
        level=int(account["level"]),
        positions=tuple(
            HeldPosition(
                now.steps,
                now.entry,
                now.swap,
                int(row["age"]),
                now.identifier,
                float(row["result"]),
            )
            for row, now in zip(book.positions[0], found.positions, strict=True)
        ),
        memory={
            **{name: int(account[name]) for name in COUNTS},
            **{name: float(account[name]) for name in (*MONEY, *SUMS)},
        },
    )
