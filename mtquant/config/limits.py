"""LimitsConfig: the pre-trade checks and gates of an env, one YAML line each.

Every line but ``max_exposure`` is off where it is left out or null. What a check does is said in
:mod:`mtquant.risk.checks`, what a gate does in :mod:`mtquant.risk.gates`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, field_validator, model_validator

from mtquant.errors import ConfigError
from mtquant.market.clock import Mask
from mtquant.market.hours import TradingHours
from mtquant.market.model import Fraction, Frozen, Positive
from mtquant.market.symbols import SymbolSpec
from mtquant.risk.gates import EVERY_SYMBOL, Gates, Prohibition

Count = Annotated[int, Field(ge=1)]
Leverage = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
Symbol = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,15}$")]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What the kernel's rules hold under the name that the YAML gives it; off is 0 there.
_PLAIN = (
    "max_position",
    "max_lots",
    "max_daily_volume_share",
    "max_class_exposure",
    "max_correlation",
    "min_balance",
    "max_positions",
    "order_budget",
    "day_budget",
    "trades_per_day",
    "max_day_trades",
    "day_trade_equity",
    "cooldown_bars",
    "max_holding_bars",
)
_GATES = (
    "max_spread_fraction",
    "max_spread_points",
    "min_volume",
    "min_day_value",
    "min_price",
    "price_band",
)


class ProhibitionConfig(Frozen):
    """One entry of ``prohibited``: from when until when nothing is opened, and why.

    Attributes:
        symbol: Standard name, or ``*`` for all of them.
        begins: ISO 8601 with a zone; ``from`` in YAML.
        until: First moment after it.
        reason: For people.
    """

    symbol: Annotated[str, Field(pattern=r"^([A-Z0-9]{2,15}|\*)$")] = EVERY_SYMBOL
    begins: Annotated[datetime, Field(validation_alias=AliasChoices("from", "begins"))]
    until: datetime
    reason: str

    @field_validator("begins", "until", mode="before")
    @classmethod
    def _aware(cls, value: Any) -> datetime:
        try:
            moment = datetime.fromisoformat(value) if isinstance(value, str) else value
            if isinstance(moment, datetime) and moment.tzinfo is not None:
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):  # a zone may lift it out of the calendar
            pass
        raise ValueError("must be a time with its zone, such as 2024-03-20T18:00:00Z")

    @model_validator(mode="after")
    def _takes_time(self) -> ProhibitionConfig:
        if self.until <= self.begins:
            raise ValueError(f"until {self.until} must lie after from {self.begins}")
        return self

    @property
    def prohibition(self) -> Prohibition:
        """As the gates take it."""
        return Prohibition(self.symbol, _ns(self.begins), _ns(self.until), self.reason)


class LimitsConfig(Frozen):
    """Pre-trade limits; money is account currency, exposures are notional over equity.

    Attributes:
        max_exposure: All symbols together; always on.
        max_position: One symbol.
        max_lots: Lots of one symbol.
        max_daily_volume_share: Lots over the symbol's average volume of a day.
        max_class_exposure: All symbols of one asset class.
        max_correlation: Largest correlation of an order with what is held.
        correlation_bars: Bars of returns that it is measured on.
        on_correlation: Whether a correlated order is remarked on or rejected.
        min_balance: Balance below which nothing is opened.
        max_positions: Symbols held at once.
        order_budget: Notional that one order may open.
        day_budget: Notional that the orders of a broker day may open.
        trades_per_day: Orders of a broker day that open or increase.
        max_day_trades: Round trips within one broker day, in five such days.
        day_trade_equity: They are counted below this equity only; None for any.
        cooldown_bars: Bars without an increase after a round trip that lost.
        max_holding_bars: Bars after which a position is closed.
        leverage: Notional over equity of single symbols, by name.
        max_spread_fraction: Spread over price.
        max_spread_points: Spread in points.
        min_volume: Average volume of a bar, lots.
        min_day_value: Average value traded in a day, the symbol's quote currency.
        min_price: Bid.
        price_band: Change from a close to the next open beyond which nothing is opened there.
        hours: Trading hours on the symbol's clock, written as in ``configs/symbols.yaml``;
            ``{}`` opens nothing.
        prohibited: Times in which nothing is opened.
    """

    max_exposure: Positive = 5.0
    max_position: Positive | None = None
    max_lots: Positive | None = None
    max_daily_volume_share: Fraction | None = None
    max_class_exposure: Positive | None = None
    max_correlation: Fraction | None = None
    correlation_bars: Annotated[int, Field(ge=10, le=10_000)] = 100
    on_correlation: Literal["warn", "reject"] = "warn"
    min_balance: Positive | None = None
    max_positions: Count | None = None
    order_budget: Positive | None = None
    day_budget: Positive | None = None
    trades_per_day: Count | None = None
    max_day_trades: Count | None = None
    day_trade_equity: Positive | None = None
    cooldown_bars: Count | None = None
    max_holding_bars: Count | None = None
    leverage: dict[Symbol, Leverage] = Field(default_factory=dict)
    max_spread_fraction: Fraction | None = None
    max_spread_points: Positive | None = None
    min_volume: Positive | None = None
    min_day_value: Positive | None = None
    min_price: Positive | None = None
    price_band: Fraction | None = None
    hours: dict[str, str] | None = None
    prohibited: tuple[ProhibitionConfig, ...] = ()

    @field_validator("hours")
    @classmethod
    def _readable(cls, hours: dict[str, str] | None) -> dict[str, str] | None:
        if hours is not None:
            open_minutes(hours)
        return hours

    @property
    def named_symbols(self) -> set[str]:
        """Symbols that a limit names."""
        return {*self.leverage, *(one.symbol for one in self.prohibited)} - {EVERY_SYMBOL}

    def rules(self) -> dict[str, float]:
        """The kernel's rules of the checks."""
        options: dict[str, float] = {name: getattr(self, name) or 0 for name in _PLAIN}
        options["use_leverage"] = bool(self.leverage)
        return {
            "max_exposure": self.max_exposure,
            **options,
            "correlation_rejects": self.on_correlation == "reject",
            "checks": any(options.values()),
        }

    def gates(self) -> Gates:
        """What is judged on bars alone."""
        numbers: dict[str, float] = {name: getattr(self, name) or 0.0 for name in _GATES}
        prohibited = tuple(one.prohibition for one in self.prohibited)
        return Gates(**numbers, hours=self.hours, prohibited=prohibited)


def open_minutes(hours: dict[str, str]) -> Mask:
    """The open minutes of a week on nobody's clock, bool ``[10080]``, Sunday first.

    Raises:
        ValueError: A day or a session cannot be read, or two overlap.
    """
    spec = SymbolSpec.model_construct(name="limits", clock="utc", hours=hours)
    try:
        return TradingHours.of(spec).open_minutes
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _ns(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
