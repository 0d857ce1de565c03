"""SymbolSpec: what one lot of a symbol is and what holding it costs.

One source for every room: ``configs/symbols.yaml``, or a terminal's ``symbol_info``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from mtquant.errors import ConfigError, shown, unknown
from mtquant.market.model import RESERVED, Finite, Frozen, NotNegative, Positive

AssetClass = Literal["forex", "metal", "crypto", "index", "energy", "stock"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3,5}$")]

MOST_LETTERS = 29  # of a symbol that the MetaTrader5 module takes
# What brokers put into names: XAUUSD.m, US500#, #AAPL, [SP500], BTC/USD, EURUSD_i, Wall Street 30.
_BROKER_SYMBOL = re.compile(r"[A-Za-z0-9#_.\[][A-Za-z0-9#_.\[\]&+@!$^' /-]*")


def broker_symbol(name: str) -> str:
    """``name``, if a broker may call a symbol so.

    Raises:
        ValueError: It cannot be one; says what can.
    """
    plain = _BROKER_SYMBOL.fullmatch(name) and re.search("[A-Za-z0-9]", name)
    climbs = ".." in name or "//" in name or name.startswith((" ", "./")) or name[-1:] in ("/", " ")
    stems = (re.split("[. ]", part)[0].upper() for part in name.split("/"))
    device = any(RESERVED.fullmatch(stem) for stem in stems)
    if not plain or climbs or device or len(name) > MOST_LETTERS:
        raise ValueError(
            f"'{shown(name)}' is no broker's symbol: 1 to {MOST_LETTERS} plain letters, digits and "
            "#_.[]&+@!$^'-, single slashes and spaces inside, and no device of Windows"
        )
    return name


BrokerSymbol = Annotated[str, AfterValidator(broker_symbol)]
BrokerId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,31}$")]


class SymbolSpec(Frozen):
    """Contract data of one symbol, in MetaTrader's terms.

    Attributes:
        name: Standard name, the key in ``configs/symbols.yaml``.
        asset_class: Kind of instrument; decides defaults of checks and features.
        base: Currency or asset bought by a long position.
        quote: Currency of the price and of profit.
        contract_size: Units of ``base`` in one lot.
        tick_size: Smallest change of price; every price is a whole number of ticks.
        digits: Decimals of a quoted price; one *point* is ``10 ** -digits``.
        pip_size: Price change that traders call one pip.
        lot_min: Smallest order, in lots.
        lot_step: Grid of order sizes, in lots.
        lot_max: Largest order, in lots.
        volume_limit: Largest position of one account, in lots; None for any.
        margin_mode: ``forex`` (units of base over leverage), ``cfd_leverage`` (value over
            leverage) or ``cfd`` (full value).
        margin_rate: Multiplies the margin formula.
        swap_mode: ``points`` a lot and night, ``percent`` a year of the position's value
            (360 days), ``money`` a lot and night in account currency, or ``none``.
        swap_long: Credit (+) or charge (-) of a long position, in the unit of ``swap_mode``.
        swap_short: The same for a short position.
        swap_triple_day: Day whose rollover books three nights; None where every night books one.
        swap_weekend: Whether Saturday and Sunday rollovers book a night (crypto).
        commission_per_lot: Account currency, per lot and per side.
        typical_spread_points: Spread where the data has none.
        stops_level_points: Closest distance of a stop from the price.
        freeze_level_points: Distance inside which orders cannot be changed.
        clock: The broker's server clock, see :mod:`mtquant.market.clock`; days, rollovers and
            higher timeframes follow it.
        hours: Trading hours on that clock, ``{"mon-fri": "01:00-24:00"}``.
        brokers: The same symbol's name at each broker.
    """

    name: Annotated[str, Field(pattern=r"^[A-Z0-9]{2,15}$")]
    description: str = ""
    asset_class: AssetClass
    base: Annotated[str, Field(pattern=r"^[A-Z0-9]{2,10}$")]
    quote: Currency
    contract_size: Positive
    tick_size: Positive
    digits: Annotated[int, Field(ge=0, le=10)]
    pip_size: Positive
    lot_min: Positive = 0.01
    lot_step: Positive = 0.01
    lot_max: Positive = 100.0
    volume_limit: Positive | None = None
    margin_mode: Literal["forex", "cfd_leverage", "cfd"] = "forex"
    margin_rate: Positive = 1.0
    swap_mode: Literal["points", "percent", "money", "none"] = "points"
    swap_long: Finite = 0.0
    swap_short: Finite = 0.0
    swap_triple_day: Weekday | None = "wed"
    swap_weekend: bool = False
    commission_per_lot: NotNegative = 0.0
    typical_spread_points: Positive
    stops_level_points: NotNegative = 0.0
    freeze_level_points: NotNegative = 0.0
    clock: str = "ny+7"
    hours: dict[str, str]
    brokers: dict[BrokerId, BrokerSymbol] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _no_device(cls, name: str) -> str:
        if RESERVED.fullmatch(name):
            raise ValueError("Windows can store no file of that name; choose another")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> SymbolSpec:
        if self.lot_min > self.lot_max:
            raise ValueError(f"{self.name}: lot_min {self.lot_min} exceeds lot_max {self.lot_max}")
        if self.volume_limit is not None and self.volume_limit < self.lot_min:
            raise ValueError(
                f"{self.name}: volume_limit {self.volume_limit} is below lot_min {self.lot_min}: "
                "nothing could be held; leave it out for no limit"
            )
        if Fraction(str(self.lot_min)) % Fraction(str(self.lot_step)):
            raise ValueError(
                f"{self.name}: lot_min {self.lot_min} is no multiple of lot_step {self.lot_step}"
            )
        return self

    @property
    def point(self) -> float:
        """Value of one point in price units, MetaTrader's ``10 ** -digits``."""
        return float(Decimal(1).scaleb(-self.digits))

    @property
    def tick_fraction(self) -> tuple[int, int]:
        """``tick_size`` as a whole fraction, so that ``ticks * n / d`` rounds only once."""
        return Decimal(str(self.tick_size)).as_integer_ratio()


class SymbolTable:
    """Specs by standard name, and the way back from a broker's own name."""

    def __init__(self, specs: Iterable[SymbolSpec]) -> None:
        self._specs: Mapping[str, SymbolSpec] = {spec.name: spec for spec in specs}

    @property
    def names(self) -> tuple[str, ...]:
        """Standard names, as listed in the file."""
        return tuple(self._specs)

    def __getitem__(self, name: str) -> SymbolSpec:
        """The spec of a standard name, in any case.

        Raises:
            ConfigError: No such symbol; names the nearest.
        """
        spec = self._specs.get(name.strip().upper())
        if spec is None:
            raise ConfigError(
                unknown("symbol", name, self._specs, cure="(add it to configs/symbols.yaml)")
            )
        return spec

    def broker_name(self, name: str, broker: str) -> str:
        """What ``broker`` calls the standard symbol ``name``.

        Raises:
            ConfigError: No such symbol, or the file does not say what that broker calls it.
        """
        spec = self[name]
        if broker not in spec.brokers:
            cure = "(add its name there under 'brokers' in configs/symbols.yaml)"
            raise ConfigError(unknown(f"broker of {spec.name}", broker, spec.brokers, cure=cure))
        return spec.brokers[broker]

    def standard_name(self, symbol: str, broker: str | None = None) -> str:
        """The standard name of a broker's symbol, such as XAUUSD for ``GOLD.pro``.

        Raises:
            ConfigError: Nobody calls a symbol so, or two symbols are called so.
        """
        wanted = symbol.strip().casefold()
        found = {
            spec.name
            for spec in self._specs.values()
            for owner, theirs in spec.brokers.items()
            if theirs.casefold() == wanted and broker in (None, owner)
        }
        found |= {name for name in self._specs if broker is None and name.casefold() == wanted}
        if len(found) == 1:
            return found.pop()
        known = [theirs for spec in self._specs.values() for theirs in spec.brokers.values()]
        if found:
            raise ConfigError(f"'{symbol}' is ambiguous: {', '.join(sorted(found))}")
        raise ConfigError(unknown("symbol", symbol, {*known, *self._specs}))
