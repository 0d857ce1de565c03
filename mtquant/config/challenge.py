"""Rules of a trading challenge as proprietary firms publish them, ``configs/rules/*.yaml``.

Equity must reach the profit target before it falls to a floor: that of the day, or that of the
whole challenge. All fractions are of money, 0.05 for 5 %. What a rule means bar by bar is decided
in :mod:`mtquant.risk.challenge`, for the circuit breaker and for a backtest.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from mtquant.errors import ConfigError, one_line, unknown
from mtquant.market.model import Fraction, Frozen, Positive
from mtquant.risk.challenge import (
    BALANCE,
    EQUITY,
    HIGHER,
    STATIC,
    TRAILS_BARS,
    TRAILS_DAYS,
)

if TYPE_CHECKING:
    from mtquant.config.load import Found

FOLDER = "configs/rules"
BASES = {"balance": BALANCE, "equity": EQUITY, "higher": HIGHER}


class DailyLoss(Frozen):
    """The most that one broker day may lose.

    Attributes:
        fraction: Of what ``fraction_of`` names.
        measured_from: What the day began with: its balance, its equity, or the higher of the two.
        fraction_of: ``day``, what ``measured_from`` names, or ``start``, the first balance.
    """

    fraction: Fraction
    measured_from: Literal["balance", "equity", "higher"] = "equity"
    fraction_of: Literal["day", "start"] = "day"


class MaxDrawdown(Frozen):
    """The most that the whole challenge may lose.

    Attributes:
        fraction: Of what ``fraction_of`` names.
        kind: ``static``, a floor below the start, or ``trailing``, one below the highest equity.
        high_water: When a trailing floor follows: at each ``bar`` or at each ``day_end``. Equity
            is held against it at every bar.
        fraction_of: ``start``, a floor at a fixed distance, or ``high_water``.
        locks_at_start: Whether a trailing floor stops rising once it has reached the start.
    """

    fraction: Fraction
    kind: Literal["static", "trailing"] = "static"
    high_water: Literal["bar", "day_end"] = "bar"
    fraction_of: Literal["start", "high_water"] = "start"
    locks_at_start: bool = False

    @model_validator(mode="after")
    def _static_stands_still(self) -> MaxDrawdown:
        plain = MaxDrawdown.model_fields
        trailing = ("high_water", "fraction_of", "locks_at_start")
        moved = [name for name in trailing if getattr(self, name) != plain[name].default]
        if self.kind == "static" and moved:
            raise ValueError(f"a static drawdown has no {moved[0]}; leave it out")
        return self


class RuleSet(Frozen):
    """The rules of one challenge.

    Attributes:
        profit_target: Profit that passes, as a fraction of the start.
        max_drawdown: Limit of the whole challenge.
        max_daily_loss: Limit of a broker day; None for no such rule.
        min_trading_days: Broker days with a fill that there must be.
        consistency: Largest share of the profit that one day may have made; None for no such rule.
        max_days: Broker days with bars until the target must be reached; None for no limit.
    """

    profit_target: Positive
    max_drawdown: MaxDrawdown
    max_daily_loss: DailyLoss | None = None
    min_trading_days: Annotated[int, Field(ge=0)] = 0
    consistency: Fraction | None = None
    max_days: Annotated[int, Field(ge=1, le=10_000)] | None = None

    @model_validator(mode="after")
    def _can_be_passed(self) -> RuleSet:
        if self.max_days is not None and self.max_days < self.min_trading_days:
            raise ValueError(
                f"max_days {self.max_days} leave no room for min_trading_days "
                f"{self.min_trading_days}"
            )
        return self

    def numbers(self, margin: float = 0.0) -> dict[str, float]:
        """What :data:`mtquant.risk.challenge.CHALLENGE_FIELDS` name.

        Args:
            margin: Share of each loss that is kept as a cushion.
        """
        daily, total = self.max_daily_loss, self.max_drawdown
        trails = TRAILS_BARS if total.high_water == "bar" else TRAILS_DAYS
        return {
            "challenge": 1,
            "profit_target": self.profit_target,
            "max_daily_loss": 0.0 if daily is None else daily.fraction,
            "daily_base": EQUITY if daily is None else BASES[daily.measured_from],
            "daily_of_start": daily is not None and daily.fraction_of == "start",
            "max_drawdown": total.fraction,
            "trails": STATIC if total.kind == "static" else trails,
            "drawdown_of_start": total.fraction_of == "start",
            "locks": total.locks_at_start,
            "max_days": self.max_days or 0,
            "rules_margin": margin,
        }


def load_rules(name: str) -> tuple[RuleSet, Found]:
    """The rule set called ``name``, or the one in the YAML file of that path.

    Raises:
        ConfigError: Unknown name (with the nearest), key or value.
    """
    from mtquant.config.load import read_yaml, validate  # it reads envs, which name rule sets

    found = _locate(name)
    return validate(RuleSet, read_yaml(found.path), str(found.path)), found


def _locate(name: str) -> Found:
    from mtquant.config.load import Found, available, find
    from mtquant.market.configuration import is_file

    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not is_file(path):
            raise ConfigError(f"there is no file of rules '{one_line(name)}'")
        return Found(path, "file")
    names = available(FOLDER)
    found = find(f"{FOLDER}/{name}.yaml") if name in names else None
    if found is None:
        raise ConfigError(unknown("rule set", name, names))
    return found
