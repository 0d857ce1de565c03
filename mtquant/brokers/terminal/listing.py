"""The simulated terminal's calls that list positions, orders and deals."""

from __future__ import annotations

from typing import TypeVar

from mtquant.brokers.terminal.records import TradeDeal, TradeOrder, TradePosition
from mtquant.brokers.terminal.requests import chosen, epoch_seconds, in_group, invalid, unnamed
from mtquant.brokers.terminal.state import TerminalState, api

Entry = TypeVar("Entry", TradeDeal, TradeOrder, TradePosition)


class ListingCalls(TerminalState):
    """``positions_*``, ``orders_*`` and ``history_*``."""

    @api
    def positions_total(self) -> int | None:
        """How many positions are open."""
        return len(self.account.positions())

    @api
    def positions_get(
        self,
        *others: object,
        symbol: str | None = None,
        ticket: int | None = None,
        group: str | None = None,
    ) -> tuple[TradePosition, ...] | None:
        """Open positions; a ticket outranks a symbol, a symbol a group."""
        unnamed(others)
        return _chosen(self.account.positions(), symbol, ticket, group)

    @api
    def orders_total(self) -> int | None:
        """How many orders are working; market orders are executed or refused at once."""
        return len(self.account.pending.shown())

    @api
    def orders_get(
        self,
        *others: object,
        symbol: str | None = None,
        ticket: int | None = None,
        group: str | None = None,
    ) -> tuple[TradeOrder, ...] | None:
        """Working orders; a ticket outranks a symbol, a symbol a group."""
        unnamed(others)
        return _chosen(self.account.pending.shown(), symbol, ticket, group)

    @api
    def history_deals_total(self, date_from: object, date_to: object, /) -> int | None:
        """How many deals lie between two dates."""
        return len(
            self.account.history.deals_between(epoch_seconds(date_from), epoch_seconds(date_to))
        )

    @api
    def history_deals_get(
        self,
        *dates: object,
        group: str | None = None,
        ticket: int | None = None,
        position: int | None = None,
    ) -> tuple[TradeDeal, ...] | None:
        """Deals between two dates, of an order (``ticket``) or of a position."""
        chosen(ticket if position is None else position, group=group)
        if ticket is not None:
            return tuple(d for d in self.account.deals if d.order == ticket)
        if position is not None:
            return tuple(d for d in self.account.deals if d.position_id == position)
        return _grouped(self.account.history.deals_between(*_between(dates)), group)

    @api
    def history_orders_total(self, date_from: object, date_to: object, /) -> int | None:
        """How many past orders lie between two dates."""
        return len(
            self.account.history.orders_between(epoch_seconds(date_from), epoch_seconds(date_to))
        )

    @api
    def history_orders_get(
        self,
        *dates: object,
        group: str | None = None,
        ticket: int | None = None,
        position: int | None = None,
    ) -> tuple[TradeOrder, ...] | None:
        """Past orders between two dates, by ticket, or of a position."""
        chosen(ticket if position is None else position, group=group)
        if ticket is not None:
            return tuple(o for o in self.account.orders if o.ticket == ticket)
        if position is not None:
            return tuple(o for o in self.account.orders if o.position_id == position)
        return _grouped(self.account.history.orders_between(*_between(dates)), group)


def _between(dates: tuple[object, ...]) -> tuple[int, int]:
    if len(dates) != 2:
        raise invalid("Invalid arguments")
    return epoch_seconds(dates[0]), epoch_seconds(dates[1])


def _grouped(entries: list[Entry], group: str | None) -> tuple[Entry, ...]:
    if group is None:
        return tuple(entries)
    return tuple(entry for entry in entries if in_group(entry.symbol, group))


def _chosen(
    entries: tuple[Entry, ...], symbol: str | None, ticket: int | None, group: str | None
) -> tuple[Entry, ...]:
    chosen(ticket, symbol=symbol, group=group)
    if ticket is not None:
        return tuple(entry for entry in entries if entry.ticket == ticket)
    if symbol is not None:
        return tuple(entry for entry in entries if entry.symbol == symbol)
    return entries if group is None else _grouped(list(entries), group)
