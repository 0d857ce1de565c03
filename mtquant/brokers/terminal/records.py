"""Result types and array layout of the MetaTrader5 module, as the simulated terminal returns them.

The module's results are C struct sequences: tuples with named fields and ``_asdict()``, without
``_fields`` or ``_replace``, and *not picklable*. Code that passes against something laxer fails
against the real module, so these refuse too.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

import numpy as np

from mtquant.errors import unknown

RATES = np.dtype(
    [
        ("time", "<i8"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("close", "<f8"),
        ("tick_volume", "<u8"),
        ("spread", "<i4"),
        ("real_volume", "<u8"),
    ]
)

TICKS = np.dtype(
    [
        ("time", "<i8"),
        ("bid", "<f8"),
        ("ask", "<f8"),
        ("last", "<f8"),
        ("volume", "<u8"),
        ("time_msc", "<i8"),
        ("flags", "<u4"),
        ("volume_real", "<f8"),
    ]
)

_NOTHING: dict[str, object] = {"": 0, "f": 0.0, "b": False, "s": ""}


class StructSequence(tuple[Any, ...]):
    """A tuple with named, read-only fields.

    Each subclass names its own; ``:f`` marks floats, ``:b`` booleans and ``:s`` texts.
    """

    __slots__ = ()
    _blank: ClassVar[dict[str, object]] = {}

    def __init_subclass__(cls, fields: str) -> None:
        marked = (field.partition(":") for field in fields.split())
        cls._blank = {name: _NOTHING[kind] for name, _, kind in marked}
        cls.__module__ = "builtins"  # as that of the module's own types
        for position, name in enumerate(cls._blank):
            setattr(cls, name, property(itemgetter(position)))

    def __new__(cls, values: Iterable[object]) -> Self:
        """A result of as many values as there are fields."""
        given = tuple(values)
        if len(given) != len(cls._blank):
            raise TypeError(
                f"{cls.__name__}() takes a {len(cls._blank)}-sequence ({len(given)}-sequence given)"
            )
        return tuple.__new__(cls, given)

    @classmethod
    def of(cls, **values: Any) -> Self:
        """A result with these fields and 0, False or "" in all others.

        Raises:
            AttributeError: A name is no field.
        """
        filled = cls._blank | values
        if len(filled) != len(cls._blank):
            name = next(iter(values.keys() - cls._blank.keys()))
            raise AttributeError(unknown(f"field of {cls.__name__}", name, cls._blank))
        return tuple.__new__(cls, filled.values())

    @property
    def n_fields(self) -> int:
        """How many fields there are."""
        return len(self._blank)

    @property
    def n_sequence_fields(self) -> int:
        """How many of them count as items: all."""
        return len(self._blank)

    @property
    def n_unnamed_fields(self) -> int:
        """How many have no name: none."""
        return 0

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._blank, self, strict=True))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
        return f"{type(self).__name__}({fields})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"cannot pickle '{type(self).__name__}' object")

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class Tick(
    StructSequence,
    fields="time bid:f ask:f last:f volume time_msc flags volume_real:f",
):
    """Last quote of a symbol."""

    __slots__ = ()


class OrderSendResult(
    StructSequence,
    fields="retcode deal order volume:f price:f bid:f ask:f comment:s request_id retcode_external "
    "request",
):
    """Answer to ``order_send``."""

    __slots__ = ()


class TradePosition(
    StructSequence,
    fields="ticket time time_msc time_update time_update_msc type magic identifier reason volume:f "
    "price_open:f sl:f tp:f price_current:f swap:f profit:f symbol:s comment:s external_id:s",
):
    """An open position."""

    __slots__ = ()


class BookInfo(
    StructSequence,
    fields="type price:f volume volume_dbl:f",
):
    """One line of a symbol's depth."""

    __slots__ = ()


class AccountInfo(
    StructSequence,
    fields="login trade_mode leverage limit_orders margin_so_mode trade_allowed:b trade_expert:b "
    "margin_mode currency_digits fifo_close:b balance:f credit:f profit:f equity:f margin:f "
    "margin_free:f margin_level:f margin_so_call:f margin_so_so:f margin_initial:f "
    "margin_maintenance:f assets:f liabilities:f commission_blocked:f name:s server:s "
    "currency:s company:s",
):
    """The account."""

    __slots__ = ()


class TradeOrder(
    StructSequence,
    fields="ticket time_setup time_setup_msc time_done time_done_msc time_expiration type "
    "type_time type_filling state magic position_id position_by_id reason volume_initial:f "
    "volume_current:f price_open:f sl:f tp:f price_current:f price_stoplimit:f symbol:s "
    "comment:s external_id:s",
):
    """An order, open or of the past."""

    __slots__ = ()


class OrderCheckResult(
    StructSequence,
    fields="retcode balance:f equity:f profit:f margin:f margin_free:f margin_level:f comment:s "
    "request",
):
    """Answer to ``order_check``."""

    __slots__ = ()


class SymbolInfo(
    StructSequence,
    fields="custom:b chart_mode select:b visible:b session_deals session_buy_orders "
    "session_sell_orders volume volumehigh volumelow time digits spread spread_float:b "
    "ticks_bookdepth trade_calc_mode trade_mode start_time expiration_time trade_stops_level "
    "trade_freeze_level trade_exemode swap_mode swap_rollover3days margin_hedged_use_leg:b "
    "expiration_mode filling_mode order_mode order_gtc_mode option_mode option_right bid:f "
    "bidhigh:f bidlow:f ask:f askhigh:f asklow:f last:f lasthigh:f lastlow:f volume_real:f "
    "volumehigh_real:f volumelow_real:f option_strike:f point:f trade_tick_value:f "
    "trade_tick_value_profit:f trade_tick_value_loss:f trade_tick_size:f trade_contract_size:f "
    "trade_accrued_interest:f trade_face_value:f trade_liquidity_rate:f volume_min:f "
    "volume_max:f volume_step:f volume_limit:f swap_long:f swap_short:f margin_initial:f "
    "margin_maintenance:f session_volume:f session_turnover:f session_interest:f "
    "session_buy_orders_volume:f session_sell_orders_volume:f session_open:f session_close:f "
    "session_aw:f session_price_settlement:f session_price_limit_min:f "
    "session_price_limit_max:f margin_hedged:f price_change:f price_volatility:f "
    "price_theoretical:f price_greeks_delta:f price_greeks_theta:f price_greeks_gamma:f "
    "price_greeks_vega:f price_greeks_rho:f price_greeks_omega:f price_sensitivity:f basis:s "
    "category:s currency_base:s currency_profit:s currency_margin:s bank:s description:s "
    "exchange:s formula:s isin:s name:s page:s path:s",
):
    """Contract and quote of a symbol."""

    __slots__ = ()


class TerminalInfo(
    StructSequence,
    fields="community_account:b community_connection:b connected:b dlls_allowed:b trade_allowed:b "
    "tradeapi_disabled:b email_enabled:b ftp_enabled:b notifications_enabled:b mqid:b build "
    "maxbars codepage ping_last community_balance:f retransmission:f company:s name:s "
    "language:s path:s data_path:s commondata_path:s",
):
    """The terminal program."""

    __slots__ = ()


class TradeDeal(
    StructSequence,
    fields="ticket order time time_msc type entry magic position_id reason volume:f price:f "
    "commission:f swap:f profit:f fee:f symbol:s comment:s external_id:s",
):
    """A deal, or a change of balance."""

    __slots__ = ()


class TradeRequest(
    StructSequence,
    fields="action magic order symbol:s volume:f price:f stoplimit:f sl:f tp:f deviation type "
    "type_filling type_time expiration comment:s position position_by",
):
    """A request, with 0 or "" where the dict had no key."""

    __slots__ = ()
