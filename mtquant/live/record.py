"""AccountRecord: what a runner must remember of its account from one bar to the next.

Balance, positions, their levels and booked swap come from the broker. Peak, the day's start, the
breaker's level, the age of positions, what a stop has barred and the record of round trips are
known to nobody else, so they are carried here, in the journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mtquant.jit import Record
from mtquant.live.found import BrokerBalance, FoundPosition
from mtquant.risk.breaker import NORMAL
from mtquant.sim.account import Book

# What the kernel's account remembers beside the fields of a record; money moves with deposits.
MONEY = ("week_start", "start_equity", "day_balance", "challenge_high")
COUNTS = (
    "trades",
    "wins",
    "losing_run",
    "orders_today",
    "day_trades",
    "since_loss",
    "challenge_days",
)
SUMS = ("gain_sum", "loss_sum", "mean_return", "square_return", "shed_to", "spent_today")
# What its position remembers while it is held, and what outlives it.
OF_A_POSITION = ("age", "result", "cap", "born")
OF_A_SYMBOL = ("barred_side", "barred_bars")


@dataclass(frozen=True)
class HeldPosition:
    """A position of one symbol after a decision; flat, all but what a stop has barred is 0.

    Attributes:
        steps: Signed lot steps.
        entry: Average price.
        swap: Booked, not yet in the balance, account currency.
        age: Bars since it was opened.
        identifiers: The broker's, of the tickets that it is made of.
        result: Realised by its deals so far, costs included, account currency.
        stop: Where its protective stop should stand from now on, in ticks, 0 for none.
        take: The target, likewise.
        cap: Lot steps that a partial close has left, 0 before.
        born: Broker day on which it was opened.
        barred_side: Sign of the side that a protective stop has closed, until re-entry.
        barred_bars: Bars closed since then.
        seen_stop: Where the broker showed its stop when this was decided.
        seen_take: Where it showed its target.
        beyond: Signed lot steps that the deals say are held of the symbol beyond ``steps``, by
            somebody else or not shown; not 0 where it is flat.
    """

    steps: int = 0
    entry: float = 0.0
    swap: float = 0.0
    age: int = 0
    identifiers: tuple[int, ...] = ()
    result: float = 0.0
    stop: int = 0
    take: int = 0
    cap: int = 0
    born: int = 0
    barred_side: int = 0
    barred_bars: int = 0
    seen_stop: int = 0
    seen_take: int = 0
    beyond: int = 0

    @classmethod
    def of(cls, row: Record, found: FoundPosition) -> HeldPosition:
        """A position of the kernel, as the broker shows it."""
        names = ("stop", "take", *OF_A_POSITION, *OF_A_SYMBOL)
        return cls(
            steps=found.steps,
            entry=found.entry,
            swap=found.swap,
            identifiers=tuple(ticket.identifier for ticket in found.tickets),
            seen_stop=found.shown[0],
            seen_take=found.shown[1],
            beyond=found.beyond,
            **{name: row[name].item() for name in names},
        )


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
        agent_state: What the agent remembers after this bar, see :mod:`mtquant.live.memory`.
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
    agent_state: bytes = b""

    @property
    def drawdown(self) -> float:
        """Fall from the peak, a fraction of it."""
        return max(1.0 - self.equity / self.peak, 0.0) if self.peak > 0.0 else 0.0


def rearmed(record: AccountRecord) -> AccountRecord:
    """The account as a reset leaves it: NORMAL, and every loss is counted from its equity.

    The day's and the week's start, the equity at the beginning and the peak are all set to the
    equity at the record's close, and no run of losses stands: counted from what they were, the
    brake that tripped would trip again at the next bar. What that bar loses is counted already.
    A challenge begins anew.
    """
    counts = {"losing_run": 0, "challenge_days": 0}
    memory = {**record.memory, **dict.fromkeys(MONEY, record.equity), **counts}
    return replace(record, level=NORMAL, day_start=record.equity, peak=record.equity, memory=memory)


def record_of(
    book: Book, bar_time_ns: int, found: BrokerBalance, agent_state: bytes = b""
) -> AccountRecord:
    """The record of a book at the close of a bar, when it has been decided."""
    account = book.account[0]
    return AccountRecord(
        bar_time_ns=bar_time_ns,
        balance=float(account["balance"]),
        equity=float(account["equity"]),
        peak=float(account["peak"]),
        day_start=float(account["day_start"]),
        day=int(account["day"]),
        level=int(account["level"]),
        positions=tuple(map(HeldPosition.of, book.positions[0], found.positions)),
        memory={
            **{name: int(account[name]) for name in COUNTS},
            **{name: float(account[name]) for name in (*MONEY, *SUMS)},
        },
        agent_state=agent_state,
    )
