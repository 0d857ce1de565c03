"""The parts of an env's configuration that become the kernel's rules.

AccountConfig               money and leverage
SizingConfig, KellyConfig   from an action to lots
CostsConfig                 what a deal costs beside the spread
BreakerConfig               when to stop
RewardConfig                what training is told

How much may be at stake is in :mod:`mtquant.config.limits`.
"""

from __future__ import annotations

from math import sqrt
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from mtquant.config.challenge import RuleSet, load_rules
from mtquant.errors import ConfigError, unknown
from mtquant.market.model import Finite, Fraction, Frozen, Multiple, NotNegative, Positive
from mtquant.risk.breaker import LEVEL_3
from mtquant.risk.challenge import CHALLENGE_FIELDS
from mtquant.risk.sizing import SIZING_METHODS
from mtquant.sim.costs import SLIPPAGE_MODELS
from mtquant.sim.custom_reward import NAME, reward_names
from mtquant.sim.reward import (
    CUSTOM,
    DIFFERENTIAL_DOWNSIDE,
    DIFFERENTIAL_SHARPE,
    REWARDS,
)

Level = Annotated[int, Field(ge=1, le=3)]
Factor = Annotated[float, Field(gt=0, le=1000)]
Commission = Annotated[float, Field(ge=0, le=1e9)]
# Context of a validation: trading needs no reward, so a stored env may name one that is not here.
STORED = {"stored": True}
# Keys of the breaker that the kernel does not know, or not by that name.
NOT_THE_KERNELS = {
    "daily_loss",
    "rules",
    "rules_margin",
    "on_level_3",
    "cooldown_minutes",
    "max_errors",
    "error_bars",
}


class AccountConfig(Frozen):
    """The account.

    Attributes:
        currency: Of money.
        capital: First deposit.
        leverage: Of margins.
        margin_call_level: Equity over margin below which the broker warns; it closes nothing.
        stop_out_level: Equity over margin at which the broker closes positions.
        stop_out_money: Equity at which it does, where the broker counts in money; 0 if not.
        money_digits: Decimals of money.
        book: ``netting``, one position a symbol, or ``hedging``, up to eight tickets of one side.
    """

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    capital: Positive = 10_000.0
    leverage: Annotated[float, Field(ge=1, le=5000)] = 100.0
    margin_call_level: Positive = 1.0
    stop_out_level: Fraction = 0.5
    stop_out_money: NotNegative = 0.0
    money_digits: Annotated[int, Field(ge=0, le=8)] = 2
    book: Literal["netting", "hedging"] = "netting"


class KellyConfig(Frozen):
    """Kelly's fraction and what is believed before the account has a record of its own."""

    fraction: Fraction = 0.25
    max_risk_fraction: Fraction = 0.02
    prior_trades: Positive = 20.0
    prior_win_rate: Annotated[float, Field(gt=0, lt=1)] = 0.55
    prior_payoff: Positive = 1.0

    @property
    def prior_risk(self) -> float:
        """Share of equity at risk before the first round trip."""
        edge = self.prior_win_rate - (1.0 - self.prior_win_rate) / self.prior_payoff
        return min(self.fraction * edge, self.max_risk_fraction)

    @model_validator(mode="after")
    def _would_begin(self) -> KellyConfig:
        if self.prior_risk <= 0.0:
            raise ValueError(
                f"prior_win_rate {self.prior_win_rate} at prior_payoff {self.prior_payoff} is no "
                "edge: nothing would ever be traded; raise either"
            )
        return self


class SizingConfig(Frozen):
    """How |action| = 1 becomes lots; see :mod:`mtquant.risk.sizing`.

    ``target_volatility`` is of one bar, or of a year where ``bars_per_year`` is given.
    ``max_volume_share`` caps a position in lots by the average bar volume, None by nothing.
    """

    method: Literal[
        "volatility", "fixed_fractional", "kelly", "volatility_target", "fixed_at_start"
    ] = "volatility"
    risk_fraction: Fraction = 0.02
    atr_bars: Annotated[int, Field(ge=1, le=1000)] = 14
    atr_multiple: Positive = 2.0
    notional_fraction: Positive = 1.0
    rebalance_band: Annotated[float, Field(ge=0, lt=1)] = 0.1
    min_change_steps: Annotated[int, Field(ge=0)] = 0
    kelly: KellyConfig = KellyConfig()
    target_volatility: Positive = 0.01
    bars_per_year: Positive | None = None
    max_volume_share: Positive | None = None

    @property
    def target_per_bar(self) -> float:
        """Deviation of equity over one bar that ``volatility_target`` aims at."""
        return self.target_volatility / sqrt(self.bars_per_year or 1.0)

    def rules(self) -> dict[str, float]:
        """The kernel's rules of sizing."""
        kelly = self.kelly
        return {
            "sizing_method": SIZING_METHODS[self.method],
            "risk_fraction": self.risk_fraction,
            "atr_multiple": self.atr_multiple,
            "notional_fraction": self.notional_fraction,
            "rebalance_band": self.rebalance_band,
            "min_change": self.min_change_steps,
            "kelly_fraction": kelly.fraction,
            "max_risk_fraction": kelly.max_risk_fraction,
            "prior_trades": kelly.prior_trades,
            "prior_win_rate": kelly.prior_win_rate,
            "prior_payoff": kelly.prior_payoff,
            "target_volatility": self.target_per_bar,
            "max_volume_share": self.max_volume_share or 0.0,
        }


class CostsConfig(Frozen):
    """Costs beside the bars' own spread; see :mod:`mtquant.sim.costs`.

    Commission is the sum of its three parts, by lot and side (None takes the symbol's own), by
    deal and as a fraction of the notional. ``randomise`` bounds the factor on spread and slippage
    that each training episode draws.
    """

    slippage: Literal["none", "points", "range", "volume", "sqrt"] = "points"
    slippage_points: Multiple = 1.0
    slippage_coefficient: Multiple = 0.1
    commission_per_lot: Commission | None = None
    commission_per_fill: Commission = 0.0
    commission_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    randomise: tuple[Factor, Factor] = (1.0, 1.0)

    @field_validator("randomise")
    @classmethod
    def _range(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if bounds[0] > bounds[1]:
            raise ValueError(f"randomise must be [least, most], got {list(bounds)}")
        return bounds

    def rules(self, training: bool) -> dict[str, float]:
        """The kernel's rules of costs; those of the contracts are ``contracts_of``'s."""
        drawn = training and self.randomise != (1.0, 1.0)
        return {
            "slippage_model": SLIPPAGE_MODELS[self.slippage],
            "slippage_coefficient": self.slippage_coefficient,
            "commission_per_fill": self.commission_per_fill,
            "commission_fraction": self.commission_fraction,
            "cheapest": self.randomise[0] if drawn else 0.0,
            "dearest": self.randomise[1] if drawn else 0.0,
        }


class BreakerConfig(Frozen):
    """Daily losses, as fractions of the day's starting equity, that trip the three levels.

    Four brakes may be added, each with the level that it trips: ``weekly_loss`` of the week's
    starting equity, ``drawdown`` from the peak, ``start_loss`` of the equity at the beginning (1
    is off), and ``losing_run`` round trips lost one after the other (0 is off). LEVEL_2 closes
    ``shed`` of the exposure it found, the riskiest first.

    ``rules`` is a trading challenge, given by the name of a preset or file and kept whole: what
    ends it, the target too, trips LEVEL_3. ``rules_margin`` is the share of each of its loss
    limits that is kept as a cushion: 0.2 trips at 80 %.

    ``on_level_3`` is for a backtest, where no person decides: ``stay_flat`` to its end, or
    ``reset`` when nothing is held and ``cooldown_minutes`` have passed since the trip.

    Live and paper alone: a person may reset a trip ``cooldown_minutes`` after it, and after
    ``max_errors`` failed orders (0 is off) within ``error_bars`` bars only reductions are sent.
    """

    daily_loss: tuple[Fraction, Fraction, Fraction] = (0.05, 0.10, 0.15)
    shrink: Fraction = 0.75
    shed: Annotated[float, Field(ge=0, le=1)] = 0.5
    weekly_loss: Fraction = 1.0
    weekly_loss_level: Level = LEVEL_3
    drawdown: Fraction = 1.0
    drawdown_level: Level = LEVEL_3
    start_loss: Fraction = 1.0
    start_loss_level: Level = LEVEL_3
    losing_run: Annotated[int, Field(ge=0)] = 0
    losing_run_level: Level = LEVEL_3
    rules: RuleSet | None = None
    rules_margin: Annotated[float, Field(ge=0, lt=1)] = 0.0
    on_level_3: Literal["stay_flat", "reset"] = "stay_flat"
    cooldown_minutes: NotNegative = 60.0
    max_errors: Annotated[int, Field(ge=0)] = 3
    error_bars: Annotated[int, Field(ge=1)] = 24

    @field_validator("daily_loss")
    @classmethod
    def _rising(cls, levels: tuple[float, float, float]) -> tuple[float, float, float]:
        if not levels[0] < levels[1] < levels[2]:
            raise ValueError(f"daily_loss must rise from level to level, got {list(levels)}")
        return levels

    @field_validator("rules", mode="before")
    @classmethod
    def _by_name(cls, rules: Any, info: ValidationInfo) -> Any:
        if info.context == STORED and isinstance(rules, str):
            raise ValueError("a stored env holds the rules themselves and names no file")
        try:
            return load_rules(rules)[0] if isinstance(rules, str) else rules
        except ConfigError as error:
            raise ValueError(str(error)) from None

    def kernel_rules(self) -> dict[str, float]:
        """The kernel's rules of the breaker."""
        daily = {f"daily_loss_level_{k}": loss for k, loss in enumerate(self.daily_loss, start=1)}
        others = self.model_dump(exclude=NOT_THE_KERNELS)
        losses = (self.weekly_loss, self.drawdown, self.start_loss)
        challenge = dict.fromkeys((name for name, _ in CHALLENGE_FIELDS), 0.0)
        if self.rules is not None:
            challenge = self.rules.numbers(self.rules_margin)
        brakes = min(losses) < 1.0 or self.losing_run > 0
        return {**daily, **others, **challenge, "brakes": brakes}


class RewardConfig(Frozen):
    """The reward; see :mod:`mtquant.sim.reward`.

    Attributes:
        kind: Which: one of mtquant's, or one of :mod:`mtquant.sim.custom_reward`, which finds the
            numbers below among its rules.
        downside_penalty: Lambda of ``sortino``.
        window: Bars that ``sortino_ratio`` looks back on.
        risk_free: Return of one bar that ``sortino_ratio`` counts from.
        trade_penalty: What ``sortino_ratio`` charges for a deal.
        adaptation: How much one bar counts in the moments of the differential rewards.
        deviation_floor: Least deviation that a ratio divides by, in units of the reference bar.
        clip: Largest absolute value of a differential reward.
    """

    kind: Annotated[str, Field(pattern=f"^{NAME}$")] = "sortino"
    downside_penalty: NotNegative = 0.05
    window: Annotated[int, Field(ge=2, le=10_000)] = 30
    risk_free: Finite = 0.0
    trade_penalty: NotNegative = 0.003
    adaptation: Annotated[float, Field(gt=0, lt=1)] = 0.01
    deviation_floor: Positive = 0.1
    clip: Positive = 10.0

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str, info: ValidationInfo) -> str:
        if info.context != STORED and kind not in REWARDS and kind not in reward_names():
            raise ValueError(unknown("reward", kind, reward_names()))
        return kind

    @property
    def differential(self) -> bool:
        """Whether the reward keeps fading moments, which the agent then observes."""
        return REWARDS.get(self.kind) in (DIFFERENTIAL_SHARPE, DIFFERENTIAL_DOWNSIDE)

    def rules(self) -> dict[str, float]:
        """The kernel's rules of the reward."""
        return {
            "downside_penalty": self.downside_penalty,
            "reward_kind": REWARDS.get(self.kind, CUSTOM),
            "reward_window": self.window if self.kind == "sortino_ratio" else 0,
            "risk_free": self.risk_free,
            "trade_penalty": self.trade_penalty,
            "adaptation": self.adaptation if self.differential else 0.0,
            "deviation_floor": self.deviation_floor,
            "reward_clip": self.clip,
        }
