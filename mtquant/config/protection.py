"""StopsConfig and ExecutionConfig: what protects a position, and how orders reach the market."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from mtquant.market.model import Fraction, Frozen, Multiple, NotNegative

Probability = Annotated[float, Field(ge=0, le=1)]


class StopsConfig(Frozen):
    """Protective stops and targets, see ``docs/physics.md``; distances in ATR, 0 is off.

    The default stop is wide: at full size it loses what the first level of the breaker allows for
    a day. It stands at the broker, where a dead computer leaves it.

    Attributes:
        atr: Distance of the stop from the quote at which a position was last increased.
        target_atr: Distance of the target.
        trail_atr: Distance at which the stop follows the close.
        break_even_atr: Gain at which the stop moves to the entry.
        partial_at: Share of the way to the target at which part of a position is closed, once.
        partial_share: That part.
        reentry_bars: Bars after which a stopped side may be opened again without the action having
            left it; 0 for never.
    """

    atr: Multiple = 5.0
    target_atr: Multiple = 0.0
    trail_atr: Multiple = 0.0
    break_even_atr: Multiple = 0.0
    partial_at: Probability = 0.0
    partial_share: Fraction = 0.5
    reentry_bars: Annotated[int, Field(ge=0)] = 24

    @model_validator(mode="after")
    def _parts_need_a_target(self) -> StopsConfig:
        if self.partial_at and not self.target_atr:
            raise ValueError(
                f"partial_at {self.partial_at} is a share of the way to a target; set target_atr"
            )
        return self

    def rules(self) -> dict[str, float]:
        """The kernel's rules of stops."""
        return {
            "stop_atr": self.atr,
            "take_atr": self.target_atr,
            "trail_atr": self.trail_atr,
            "break_even_atr": self.break_even_atr,
            "partial_at": self.partial_at,
            "partial_share": self.partial_share,
            "reentry_bars": self.reentry_bars,
        }


class ExecutionConfig(Frozen):
    """How orders reach the market.

    Attributes:
        latency_bars: How late they fill everywhere; a fraction fills on the way from open to
            close, whole bars fill an old target.
        randomise_latency: Bounds between which each training episode draws more of it.
        reject_probability: Chance that training rejects an order.
        partial_probability: Chance that training fills only a part of one.
    """

    latency_bars: Annotated[float, Field(ge=0, le=100)] = 0.0
    randomise_latency: tuple[NotNegative, NotNegative] = (0.0, 0.0)
    reject_probability: Probability = 0.0
    partial_probability: Probability = 0.0

    @field_validator("randomise_latency")
    @classmethod
    def _range(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if not bounds[0] <= bounds[1] <= 100:
            raise ValueError(
                f"randomise_latency must be [least, most] up to 100, got {list(bounds)}"
            )
        return bounds

    def rules(self, training: bool) -> dict[str, float]:
        """The kernel's rules of execution."""
        least, most = self.randomise_latency if training else (0.0, 0.0)
        return {
            "latency_least": self.latency_bars + least,
            "latency_most": self.latency_bars + most,
            "reject_probability": self.reject_probability if training else 0.0,
            "partial_probability": self.partial_probability if training else 0.0,
        }
