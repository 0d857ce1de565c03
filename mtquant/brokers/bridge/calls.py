"""The bridge's whitelist: which functions of the MetaTrader5 module it offers, and with what.

One table says it all; routes, checks, documentation and client are made from it. Left out on
purpose: ``Buy``, ``Sell`` and ``Close``, which resend blindly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

LONGEST_TEXT = 29  # UTF-16 units of a symbol or a comment, as the module takes them
LONGEST_GROUP = 256
MOST_ROWS = 1_000_000  # of one call for bars or ticks


class Scope(Enum):
    """What a token allows; ``TRADE`` includes the others."""

    READ = "read"
    TRADE = "trade"
    KILL = "kill"  # to stop trading and to see that it stands still, and nothing else

    def covers(self, needed: Scope) -> bool:
        """Whether a token of this scope may make a call that needs another."""
        return self in (needed, Scope.TRADE)


class Kind(Enum):
    """What an argument is; ``REQUEST`` is the dict of ``order_send``."""

    TEXT = "text"
    GROUP = "group"
    INTEGER = "integer"
    COUNT = "count"
    REAL = "real"
    DATE = "date"
    FLAG = "flag"
    REQUEST = "request"


@dataclass(frozen=True)
class Argument:
    """One argument of a function.

    Attributes:
        name: As the module's documentation calls it.
        kind: What it is.
        required: Whether it may not be left out.
        keyword: Whether the module takes it by name only.
    """

    name: str
    kind: Kind
    required: bool = True
    keyword: bool = False


@dataclass(frozen=True)
class Call:
    """One function.

    Attributes:
        scope: Who may call it.
        arguments: In the module's order.
        fails_as: What it returns on failure, None or False.
        array: Whether it answers with bars or ticks.
    """

    scope: Scope
    arguments: tuple[Argument, ...] = ()
    fails_as: bool | None = None
    array: bool = False

    def bind(self, positional: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by name, as Python would bind them; those that are None are left out.

        Raises:
            TypeError: One too many, unknown, given twice or missing.
        """
        in_order = [argument.name for argument in self.arguments if not argument.keyword]
        if len(positional) > len(in_order):
            raise TypeError(f"takes {len(in_order)} positional arguments, not {len(positional)}")
        bound = dict(zip(in_order, positional, strict=False))
        known = {argument.name for argument in self.arguments}
        for name, value in named.items():
            if name not in known or name in bound:
                raise TypeError(f"got an unexpected argument '{name}'")
            bound[name] = value
        bound = {name: value for name, value in bound.items() if value is not None}
        for argument in self.arguments:
            if argument.required and argument.name not in bound:
                raise TypeError(f"misses argument '{argument.name}'")
        return bound

    def spread(self, bound: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Arguments by name, as the module takes them: in order, and by keyword."""
        given = [argument for argument in self.arguments if argument.name in bound]
        return (
            [bound[argument.name] for argument in given if not argument.keyword],
            {argument.name: bound[argument.name] for argument in given if argument.keyword},
        )


def _optional(name: str, kind: Kind) -> Argument:
    return Argument(name, kind, required=False, keyword=True)


_SYMBOL = Argument("symbol", Kind.TEXT)
_TIMEFRAME = Argument("timeframe", Kind.INTEGER)
_FROM, _TO = Argument("date_from", Kind.DATE), Argument("date_to", Kind.DATE)
_COUNT = Argument("count", Kind.COUNT)
_FLAGS = Argument("flags", Kind.INTEGER)
_ACTION = Argument("action", Kind.INTEGER)
_VOLUME = Argument("volume", Kind.REAL)
_REQUEST = Argument("request", Kind.REQUEST)
_GROUP = _optional("group", Kind.GROUP)
_TICKET = _optional("ticket", Kind.INTEGER)
_SERVER = _optional("server", Kind.GROUP)
_TIMEOUT = _optional("timeout", Kind.INTEGER)
_BY = (_optional("symbol", Kind.TEXT), _TICKET, _GROUP)
_PAST = (
    Argument("date_from", Kind.DATE, required=False),
    Argument("date_to", Kind.DATE, required=False),
    _GROUP,
    _TICKET,
    _optional("position", Kind.INTEGER),
)

CALLS: Mapping[str, Call] = {
    # These three never switch the account and never carry a password: see bridge_session.
    "initialize": Call(
        Scope.READ, (_optional("login", Kind.INTEGER), _SERVER, _TIMEOUT), fails_as=False
    ),
    "login": Call(Scope.READ, (Argument("login", Kind.INTEGER), _SERVER, _TIMEOUT), fails_as=False),
    "shutdown": Call(Scope.READ),
    "version": Call(Scope.READ),
    "terminal_info": Call(Scope.READ),
    "account_info": Call(Scope.READ),
    "symbols_total": Call(Scope.READ),
    "symbols_get": Call(Scope.READ, (Argument("group", Kind.GROUP, required=False),)),
    "symbol_info": Call(Scope.READ, (_SYMBOL,)),
    "symbol_info_tick": Call(Scope.READ, (_SYMBOL,)),
    "symbol_select": Call(
        Scope.READ, (_SYMBOL, Argument("enable", Kind.FLAG, required=False)), fails_as=False
    ),
    "market_book_add": Call(Scope.READ, (_SYMBOL,), fails_as=False),
    "market_book_release": Call(Scope.READ, (_SYMBOL,), fails_as=False),
    "market_book_get": Call(Scope.READ, (_SYMBOL,)),
    "copy_rates_from": Call(Scope.READ, (_SYMBOL, _TIMEFRAME, _FROM, _COUNT), array=True),
    "copy_rates_from_pos": Call(
        Scope.READ, (_SYMBOL, _TIMEFRAME, Argument("start_pos", Kind.COUNT), _COUNT), array=True
    ),
    "copy_rates_range": Call(Scope.READ, (_SYMBOL, _TIMEFRAME, _FROM, _TO), array=True),
    "copy_ticks_from": Call(Scope.READ, (_SYMBOL, _FROM, _COUNT, _FLAGS), array=True),
    "copy_ticks_range": Call(Scope.READ, (_SYMBOL, _FROM, _TO, _FLAGS), array=True),
    "positions_total": Call(Scope.READ),
    "positions_get": Call(Scope.READ, _BY),
    "orders_total": Call(Scope.READ),
    "orders_get": Call(Scope.READ, _BY),
    "history_orders_total": Call(Scope.READ, (_FROM, _TO)),
    "history_orders_get": Call(Scope.READ, _PAST),
    "history_deals_total": Call(Scope.READ, (_FROM, _TO)),
    "history_deals_get": Call(Scope.READ, _PAST),
    "order_calc_margin": Call(
        Scope.READ, (_ACTION, _SYMBOL, _VOLUME, Argument("price", Kind.REAL))
    ),
    "order_calc_profit": Call(
        Scope.READ,
        (
            _ACTION,
            _SYMBOL,
            _VOLUME,
            Argument("price_open", Kind.REAL),
            Argument("price_close", Kind.REAL),
        ),
    ),
    "order_check": Call(Scope.TRADE, (_REQUEST,)),
    "order_send": Call(Scope.TRADE, (_REQUEST,)),
}

SENDING = "order_send"
"""The one function that moves money; it needs an idempotency key."""

KILL, SWITCH = "kill", "switch"
"""The bridge's own two: to let its switch fall, and to look at it."""

REQUEST_KEYS: Mapping[str, Kind] = {
    "action": Kind.COUNT,
    "magic": Kind.COUNT,
    "order": Kind.COUNT,
    "symbol": Kind.TEXT,
    "volume": Kind.REAL,
    "price": Kind.REAL,
    "stoplimit": Kind.REAL,
    "sl": Kind.REAL,
    "tp": Kind.REAL,
    "deviation": Kind.COUNT,
    "type": Kind.COUNT,
    "type_filling": Kind.COUNT,
    "type_time": Kind.COUNT,
    "expiration": Kind.INTEGER,
    "comment": Kind.TEXT,
    "position": Kind.COUNT,
    "position_by": Kind.COUNT,
}
"""Keys of a request; the module ignores all others silently, the bridge refuses them."""
