"""What the four faces show of an account, bar by bar, in one form that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from mtquant.backtest.deals import Deal
from mtquant.sim.account import Book
from mtquant.sim.records import ACCOUNT, POSITION

OF_THE_ACCOUNT = (
    "equity",
    "balance",
    "level",
    "losing_run",
    "trades",
    "orders_today",
    "spent_today",
    "day_trades",
    "since_loss",
    "shed_to",
)
OF_A_POSITION = ("steps", "entry", "swap", "age", "result", "stop", "take")
# A record as one tuple and its fields by place: by name each would be a look-up of its own.
_ACCOUNT = itemgetter(*map(ACCOUNT.names.index, OF_THE_ACCOUNT))
_POSITION = itemgetter(*map(POSITION.names.index, OF_A_POSITION))
_DEALS, _TICKETS = ACCOUNT.names.index("n_deals"), POSITION.names.index("tickets")


class Bar(NamedTuple):
    """The account at the close of a bar, and what was dealt in it."""

    equity: float
    balance: float
    level: int
    losing_run: int
    trades: int
    orders_today: int
    spent_today: float
    day_trades: int
    since_loss: int
    shed_to: float
    steps: int
    entry: float  # ticks
    swap: float
    age: int
    result: float
    stop: int
    take: int
    tickets: tuple[tuple[int, int, float, float], ...]
    deals: tuple[Deal, ...]

    @classmethod
    def of(cls, book: Book) -> Bar:
        """Of lane 0."""
        account, position = book.account[0].item(), book.positions[0, 0].item()
        deals = tuple(Deal.of(deal) for deal in book.deals[0, : account[_DEALS]])
        numbers, held = _ACCOUNT(account), _POSITION(position)
        tickets: list[tuple[int, int, float, float]] = []
        if book.tickets.shape[1] > 0:
            tickets = book.tickets[0, : position[_TICKETS]].tolist()
        elif held[0]:
            tickets = [(0, held[0], held[1], held[2])]
        return cls(*numbers, *held, tuple(tickets), deals)


class Life(NamedTuple):
    """What a face showed, bar by bar."""

    bars: list[Bar]
    seen: list[bytes]  # what each decision was made on
    refused: list[str]  # why the server executed nothing, "" where it did
    rewards: list[float]
    summary: dict[str, Any]


def assert_same(face: str, got: Sequence[Any], expected: Sequence[Any]) -> None:
    """Equal to the last bit; says where the first difference is."""
    for at, (mine, other) in enumerate(zip(got, expected, strict=True)):
        if isinstance(mine, Bar) and mine != other:
            names = [n for n, a, b in zip(mine._fields, mine, other, strict=True) if a != b]
            told = [{n: getattr(bar, n) for n in names} for bar in (mine, other)]
            raise AssertionError(f"{face}, bar {at} after the first: {told[0]} is not {told[1]}")
        assert mine == other, f"{face}, bar {at} after the first: {mine!r} is not {other!r}"
