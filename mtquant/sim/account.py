"""The account of every lane, and how it is marked.

Book    what changes: account, positions, tickets and the deals of the last bar, one row a lane
Tape    what all lanes share and nothing changes: bars in ticks, features, contracts, rules
"""

from __future__ import annotations

from math import floor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mtquant.jit import Record, Structured, kernel
from mtquant.risk.order import ORDER
from mtquant.sim.records import ACCOUNT, DEAL, POSITION, TICKET

Float32 = npt.NDArray[np.float32]

SMALLEST_EQUITY = 1e-9  # denominators stay positive after ruin
MOST_TICKETS = 8  # of one symbol, in a hedging book
# Close, open and be closed again inside the bar, and one to spare.
DEALS_PER_SYMBOL = 4
HEDGED_DEALS_PER_SYMBOL = MOST_TICKETS + 4
# Average prices lie on this grid of a tick, so that they survive the way through a price and back.
ENTRY_GRID = 2.0**20

# Equities, or a balance, that the breaker's losses are counted from.
COUNTED_FROM = (
    *("day_start", "day_balance", "week_start"),
    *("start_equity", "peak", "challenge_high"),
)
NO_WINDOW = np.zeros((0, 0))
NO_QUEUE = np.zeros((0, 0), np.int64)


class Book(NamedTuple):
    """State of ``N`` lanes.

    Attributes:
        account: ``ACCOUNT[N]``.
        positions: ``POSITION[N, S]``.
        deals: ``DEAL[N, 4 S]`` (hedging ``12 S``), of the last bar; ``account["n_deals"]`` are
            valid.
        tickets: ``TICKET[N, 8 S]``, oldest first; no columns in a netting book.
        orders: ``ORDER[1]``, what the checks are told of the order in hand.
        queue: Targets decided in the last bars, int64 ``[N, S (L + 1)]``; no columns without
            latency of whole bars.
        returns: The last ``W`` returns of each lane in a ring, float64 ``[N, W]``; no columns
            unless the reward looks back on them.
        alone: One item where ``S`` is 1: a length of tuples is known to the compiler, see
            :func:`symbols_of`.
    """

    account: Structured
    positions: Structured
    deals: Structured
    tickets: Structured
    orders: Structured
    queue: npt.NDArray[np.int64] = NO_QUEUE
    returns: npt.NDArray[np.float64] = NO_WINDOW
    alone: tuple[bool, ...] = ()

    def copy(self) -> Book:
        """The same state in arrays of its own."""
        ours: dict[str, Any] = {name: array.copy() for name, array in self._arrays().items()}
        return self._replace(**ours)

    def become(self, other: Book) -> None:
        """Take the state of another book of the same shape."""
        theirs = other._arrays()
        for name, array in self._arrays().items():
            array[...] = theirs[name]

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {name: part for name, part in self._asdict().items() if name != "alone"}


class Tape(NamedTuple):
    """What every lane reads and none writes.

    Attributes:
        market: ``BAR[T, S]``.
        day: Broker day of each bar's open, int32 ``[T]``.
        features: Columns that are observed of each bar, float32 ``[T, F]``.
        contracts: ``CONTRACT[S]``.
        rules: ``RULES[1]``.
        correlation: Rolling correlation of each pair of symbols, float32 ``[T, S (S - 1) / 2]``;
            no columns unless a limit reads it.
        window: Bars that an observation holds, the newest last.
    """

    market: Structured
    day: npt.NDArray[np.int32]
    features: npt.NDArray[np.float32]
    contracts: Structured
    rules: Structured
    correlation: npt.NDArray[np.float32] = np.zeros((0, 0), np.float32)
    window: int = 1


def empty_book(lanes: int, symbols: int, rules: Record | None = None) -> Book:
    """A zeroed book.

    Args:
        lanes: Accounts.
        symbols: Of each.
        rules: A row of ``RULES``, which say whether tickets, a queue or a window are kept; None
            for a plain netting book.
    """
    hedging = rules is not None and bool(rules["hedging"])
    latency = 0 if rules is None else int(rules["latency_most"])
    window = 0 if rules is None else int(rules["reward_window"])
    deals = HEDGED_DEALS_PER_SYMBOL if hedging else DEALS_PER_SYMBOL
    return Book(
        account=np.zeros(lanes, ACCOUNT),
        positions=np.zeros((lanes, symbols), POSITION),
        deals=np.zeros((lanes, deals * symbols), DEAL),
        tickets=np.zeros((lanes, MOST_TICKETS * symbols if hedging else 0), TICKET),
        orders=np.zeros(1, ORDER),
        queue=np.zeros((lanes, symbols * (latency + 1) if latency else 0), np.int64),
        returns=np.zeros((lanes, window)),
        alone=(True,) if symbols == 1 else (),
    )


def rearm(account: Structured) -> None:
    """Reset the breaker of every account of ``ACCOUNT[N]``: NORMAL, losses counted from here.

    Counted from what they were, the same brake would trip again at once; a challenge begins anew.
    """
    for name in COUNTED_FROM:
        account[name] = account["equity"]
    for name in ("level", "losing_run", "challenge_days"):
        account[name] = 0


@kernel
def symbols_of(book: Book) -> int:
    """Of each account; a constant where it is one, so that nothing is left of loops over them."""
    return 1 if len(book.alone) == 1 else book.positions.shape[1]


@kernel
def round_money(amount: float, scale: float) -> float:
    """Half away from zero to ``1 / scale``, as brokers book; half cents survive float noise."""
    rounded = floor(abs(amount) * scale + 0.5 + 1e-9) / scale
    return rounded if amount >= 0.0 else -rounded


@kernel
def price_of(contract: Record, ticks: float) -> float:
    """The price of a count of ticks, rounded once."""
    return ticks * contract["tick_n"] / contract["tick_d"]


@kernel
def on_entry_grid(ticks: float) -> float:
    """The nearest average price that a position can have."""
    return floor(ticks * ENTRY_GRID + 0.5) / ENTRY_GRID


def entry_ticks(contract: Record, price: float) -> float:
    """A position's average price, as a broker shows it, in ticks."""
    return float(on_entry_grid(price * contract["tick_d"] / contract["tick_n"]))


# Which side a lane is on, and whether it is flat, no processor can guess; a wrong guess costs more
# than all that would be skipped. So sides are reckoned with, not branched on.
@kernel
def side_of(steps: int) -> int:
    """1 for a long, else -1."""
    return 2 * (steps > 0) - 1


@kernel
def closing_quote(steps: int, bar: Record, bid_ticks: int) -> int:
    """What a position would close at: a long at the bid, a short at the ask."""
    return bid_ticks + bar["spread"] * (steps <= 0)


@kernel
def unrealised(position: Record, bar: Record, bid_ticks: int, value: float) -> float:
    """Profit of a position if closed now, account currency.

    ``value`` is the bar's at its close or at its open, whichever is now.
    """
    steps = position["steps"]
    return steps * (closing_quote(steps, bar, bid_ticks) - position["entry"]) * value


@kernel
def step_notional(bar: Record) -> float:
    """Notional of one lot step at the bar's close, account currency."""
    return bar["close"] * bar["value"]


@kernel
def gross_notional(book: Book, tape: Tape, i: int, t: int) -> float:
    """Notional of all positions at the close of bar ``t``, account currency."""
    gross = 0.0
    for s in range(symbols_of(book)):
        gross += abs(book.positions[i, s]["steps"]) * step_notional(tape.market[t, s])
    return gross


@kernel
def mark(book: Book, tape: Tape, i: int, t: int) -> float:
    """Equity at the close of bar ``t``: balance, booked swap and unrealised profit."""
    equity = book.account[i]["balance"]
    for s in range(symbols_of(book)):
        position, bar = book.positions[i, s], tape.market[t, s]
        equity += position["swap"] + unrealised(position, bar, bar["close"], bar["value"])
    return equity


@kernel
def margin_at_open(book: Book, tape: Tape, i: int, t: int) -> tuple[float, float]:
    """``(equity, margin)`` at the open of bar ``t``, account currency."""
    equity = book.account[i]["balance"]
    margin = 0.0
    for s in range(symbols_of(book)):
        position, bar = book.positions[i, s], tape.market[t, s]
        value = bar["open_value"]
        equity += position["swap"] + unrealised(position, bar, bar["open"], value)
        a_step = bar["open"] * value * tape.contracts[s]["margin_share"]
        margin += abs(position["steps"]) * a_step
    return equity, margin
