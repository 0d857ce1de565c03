"""A contract as the broker's terminal shows it now, held against ours field by field.

``symbol_info`` does not tell commission, trading hours, clock, margin rate or a typical spread;
those fields are never compared. For metals and currencies it tells base and quote; of an index or
a coin it tells what it likes, so the base is compared for those two alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mtquant.brokers import constants as mt5
from mtquant.errors import ConfigError, DataError
from mtquant.market.configuration import validate
from mtquant.market.rollover import WEEKDAYS
from mtquant.market.symbols import SymbolSpec

#: What an order's size, price and risk follow from: other than trained on, and trading is refused.
CONTRACT_FIELDS = (
    "base",
    "quote",
    "contract_size",
    "tick_size",
    "digits",
    "lot_min",
    "lot_step",
    "margin_mode",
)
#: What a broker changes from week to week: shown, and traded with all the same.
TERMS_FIELDS = (
    "lot_max",
    "volume_limit",
    "swap_mode",
    "swap_long",
    "swap_short",
    "swap_triple_day",
    "stops_level_points",
    "freeze_level_points",
)
LIVE_FIELDS = CONTRACT_FIELDS + TERMS_FIELDS

_MARGIN_MODES = {
    mt5.SYMBOL_CALC_MODE_FOREX: "forex",
    mt5.SYMBOL_CALC_MODE_CFD: "cfd",
    mt5.SYMBOL_CALC_MODE_CFDLEVERAGE: "cfd_leverage",
}
_SWAP_MODES = {
    mt5.SYMBOL_SWAP_MODE_DISABLED: "none",
    mt5.SYMBOL_SWAP_MODE_POINTS: "points",
    mt5.SYMBOL_SWAP_MODE_CURRENCY_DEPOSIT: "money",
    mt5.SYMBOL_SWAP_MODE_INTEREST_CURRENT: "percent",
    mt5.SYMBOL_SWAP_MODE_INTEREST_OPEN: "percent",
}


@dataclass(frozen=True)
class Difference:
    """A field in which two contracts differ."""

    field: str
    ours: Any
    theirs: Any

    def __str__(self) -> str:
        return f"{self.field} is {said(self.theirs)} and not {said(self.ours)}"


def live_spec(info: Any, known: SymbolSpec) -> SymbolSpec:
    """Our contract with every field that the terminal shows taken from it.

    Args:
        info: ``symbol_info`` of the symbol.
        known: What we hold of it; gives the fields that a terminal does not show.

    Raises:
        DataError: The terminal shows a contract that mtquant cannot compute, or no contract at all.
    """
    shows: dict[str, Any] = {
        "quote": info.currency_profit,
        "contract_size": float(info.trade_contract_size),
        "tick_size": float(info.trade_tick_size or info.point),
        "digits": int(info.digits),
        "lot_min": float(info.volume_min),
        "lot_step": float(info.volume_step),
        "lot_max": float(info.volume_max),
        "volume_limit": float(info.volume_limit) or None,  # 0 is none
        "margin_mode": _mode(_MARGIN_MODES, info.trade_calc_mode, "margin mode", known),
        "swap_mode": _mode(_SWAP_MODES, info.swap_mode, "swap mode", known),
        "swap_long": float(info.swap_long),
        "swap_short": float(info.swap_short),
        "swap_triple_day": _triple_day(int(info.swap_rollover3days), known),
        "stops_level_points": float(info.trade_stops_level),
        "freeze_level_points": float(info.trade_freeze_level),
    }
    if known.asset_class in ("forex", "metal"):
        shows["base"] = info.currency_base
    try:
        return validate(SymbolSpec, known.model_dump() | shows, f"{info.name} at the broker")
    except ConfigError as error:
        raise DataError(f"{error}; the terminal shows no contract that can be traded") from None


def differences(
    ours: SymbolSpec, theirs: SymbolSpec, fields: Sequence[str] = LIVE_FIELDS
) -> tuple[Difference, ...]:
    """The fields in which two contracts differ, in the order of ``fields``."""
    pairs = ((name, getattr(ours, name), getattr(theirs, name)) for name in fields)
    return tuple(Difference(name, mine, other) for name, mine, other in pairs if mine != other)


def refuse_other_contract(trained: SymbolSpec, live: SymbolSpec) -> tuple[Difference, ...]:
    """Hold the contract of a bundle's manifest against the live one before anything is traded.

    Args:
        trained: From the manifest.
        live: From :func:`live_spec`.

    Returns:
        The terms that differ and do not forbid trading, for the user to see.

    Raises:
        ConfigError: The contract is another one; names each field.
    """
    wrong = differences(trained, live, CONTRACT_FIELDS)
    if wrong:
        raise ConfigError(
            f"{trained.name} at the broker is not what the bundle was trained on: "
            f"{', '.join(map(str, wrong))}; run `mtquant symbols sync` and train anew"
        )
    return differences(trained, live, TERMS_FIELDS)


def _mode(names: dict[int, str], value: int, what: str, known: SymbolSpec) -> str:
    if value not in names:
        raise DataError(
            f"{known.name}: the broker's {what} {value} is none that mtquant computes; trade "
            "another symbol"
        )
    return names[value]


def _triple_day(day: int, known: SymbolSpec) -> str | None:
    """MetaTrader counts days from Sunday and has no word for *none*; it says 0 then.

    Where weekends book themselves it names a day all the same, which means nothing.
    """
    if known.swap_weekend:
        return known.swap_triple_day
    if not 0 <= day <= 6:
        raise DataError(f"{known.name}: the broker's day of three swaps is {day}, which is no day")
    if day == 0 and known.swap_triple_day is None:
        return None
    return WEEKDAYS[(day - 1) % 7]


def said(value: Any) -> str:
    """A field of a contract for a person."""
    if value is None:
        return "none"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
