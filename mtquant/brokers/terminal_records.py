"""Result types and array layout of the MetaTrader5 module, as the simulated terminal returns them.

The module's results are C struct sequences: tuples with named fields and ``_asdict()``, without
``_fields`` or ``_replace``, and *not picklable*. Code that passes against something laxer fails
against the real module, so these refuse too.
"""

from __future__ import annotations

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

_TEXT_FIELDS = frozenset(
    "bank category comment commondata_path company currency currency_base currency_margin "
    "currency_profit data_path description exchange external_id formula isin language name page "
    "path server symbol".split()
)


class StructSequence(tuple[Any, ...]):
    """A tuple with named, read-only fields; each subclass names its own."""

    __slots__ = ()
    _names: ClassVar[tuple[str, ...]] = ()
    _empty: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, fields: str) -> None:
        cls._names = tuple(fields.split())
        cls._empty = {name: "" if name in _TEXT_FIELDS else 0 for name in cls._names}
        for position, name in enumerate(cls._names):
            setattr(cls, name, property(itemgetter(position)))

    @classmethod
    def of(cls, **values: Any) -> Self:
        """A result with these fields and 0 or "" in all others.

        Raises:
            AttributeError: A name is no field.
        """
        for name in values.keys() - cls._empty.keys():
            raise AttributeError(unknown(f"field of {cls.__name__}", name, cls._names))
        return cls((cls._empty | values).values())

    @property
    def n_fields(self) -> int:
        """How many fields there are."""
        return len(self._names)

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._names, self, strict=True))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
        return f"{type(self).__name__}({fields})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"cannot pickle '{type(self).__name__}' object")

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class Tick(
    StructSequence,
    fields="time bid ask last volume time_msc flags volume_real",
):
    """Last quote of a symbol."""

    __slots__ = ()


class OrderSendResult(
    StructSequence,
    fields="retcode deal order volume price bid ask comment request_id retcode_external request",
):
    """Answer to ``order_send``."""

    __slots__ = ()


class TradePosition(
    StructSequence,
    fields="ticket time time_msc time_update time_update_msc type magic identifier reason volume "
    "price_open sl tp price_current swap profit symbol comment external_id",
):
    """An open position."""

    __slots__ = ()


class AccountInfo(
    StructSequence,
    fields="login trade_mode leverage limit_orders margin_so_mode trade_allowed trade_expert "
    "margin_mode currency_digits fifo_close balance credit profit equity margin "
    "margin_free margin_level margin_so_call margin_so_so margin_initial "
    "margin_maintenance assets liabilities commission_blocked name server currency "
    "company",
):
    """The account."""

    __slots__ = ()


class TradeOrder(
    StructSequence,
    fields="ticket time_setup time_setup_msc time_done time_done_msc time_expiration type "
    "type_time type_filling state magic position_id position_by_id reason volume_initial "
    "volume_current price_open sl tp price_current price_stoplimit symbol comment "
    "external_id",
):
    """An order, open or of the past."""

    __slots__ = ()


class OrderCheckResult(
    StructSequence,
    fields="retcode balance equity profit margin margin_free margin_level comment request",
):
    """Answer to ``order_check``."""

    __slots__ = ()


class SymbolInfo(
    StructSequence,
    fields="custom chart_mode select visible session_deals session_buy_orders "
    "session_sell_orders volume volumehigh volumelow time digits spread spread_float "
    "ticks_bookdepth trade_calc_mode trade_mode start_time expiration_time "
    "trade_stops_level trade_freeze_level trade_exemode swap_mode swap_rollover3days "
    "margin_hedged_use_leg expiration_mode filling_mode order_mode order_gtc_mode "
    "option_mode option_right bid bidhigh bidlow ask askhigh asklow last lasthigh lastlow "
    "volume_real volumehigh_real volumelow_real option_strike point trade_tick_value "
    "trade_tick_value_profit trade_tick_value_loss trade_tick_size trade_contract_size "
    "trade_accrued_interest trade_face_value trade_liquidity_rate volume_min volume_max "
    "volume_step volume_limit swap_long swap_short margin_initial margin_maintenance "
    "session_volume session_turnover session_interest session_buy_orders_volume "
    "session_sell_orders_volume session_open session_close session_aw "
    "session_price_settlement session_price_limit_min session_price_limit_max "
    "margin_hedged price_change price_volatility price_theoretical price_greeks_delta "
    "price_greeks_theta price_greeks_gamma price_greeks_vega price_greeks_rho "
    "price_greeks_omega price_sensitivity basis category currency_base currency_profit "
    "currency_margin bank description exchange formula isin name page path",
):
    """Contract and quote of a symbol."""

    __slots__ = ()


class TerminalInfo(
    StructSequence,
    fields="community_account community_connection connected dlls_allowed trade_allowed "
    "tradeapi_disabled email_enabled ftp_enabled notifications_enabled mqid build maxbars "
    "codepage ping_last community_balance retransmission company name language path "
    "data_path commondata_path",
):
    """The terminal program."""

    __slots__ = ()


class TradeDeal(
    StructSequence,
    fields="ticket order time time_msc type entry magic position_id reason volume price "
    "commission swap profit fee symbol comment external_id",
):
    """A deal, or a change of balance."""

    __slots__ = ()


class TradeRequest(
    StructSequence,
    fields="action magic order symbol volume price stoplimit sl tp deviation type type_filling "
    "type_time expiration comment position position_by",
):
    """A request, with 0 or "" where the dict had no key."""

    __slots__ = ()
