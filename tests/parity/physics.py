"""What protects, delays, rejects and limits the accounts of the four faces, at random.

Drawn from a generator of its own, so that what is added here leaves the instruments as they were.
Rejections and partial fills are training's alone; here they are written into the tape itself, and
every face draws them from the same state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mtquant.config.schema import EnvConfig
from mtquant.envs.scenario import Scenario
from mtquant.features.scaler import Float32
from mtquant.market.symbols import SymbolSpec
from mtquant.sim.account import Tape

Rng = np.random.Generator


@dataclass(frozen=True, eq=False)
class RoughScenario(Scenario):
    """A scenario whose server rejects some orders and fills others in part, in every face."""

    reject: float = 0.0
    partial: float = 0.0

    def tape(
        self,
        features: Float32,
        rows: tuple[int, int],
        *,
        window: int = 1,
        training: bool = False,
    ) -> Tape:
        """A tape with the server's rules."""
        tape = super().tape(features, rows, window=window, training=training)
        tape.rules["reject_probability"] = self.reject
        tape.rules["partial_probability"] = self.partial
        return tape


def with_physics(
    rng: Rng, env: EnvConfig, spec: SymbolSpec, deviation: float, rough: bool
) -> EnvConfig:
    """The env with stops, a book, latency and limits.

    Args:
        rng: Decides.
        env: Of one instrument.
        spec: That instrument.
        deviation: Of the return of one bar.
        rough: Whether its server does not always do as it is told. Then no stop moves: what closes
            a position that a moved stop has no time to protect could be rejected too, and would
            leave the kernel with a stop that no broker has taken.
    """
    hedging = bool(rng.random() < 0.5) and takes_any_volume(spec)
    account = env.account.model_dump() | {"book": "hedging" if hedging else "netting"}
    if rng.random() < 0.2:
        account["stop_out_money"] = env.account.capital * float(rng.uniform(0.3, 0.6))
    still = {"trail_atr": 0.0, "break_even_atr": 0.0, "partial_at": 0.0} if rough else {}
    chosen = {
        "account": account,
        "stops": _stops(rng) | still,
        "execution": {"latency_bars": float(rng.choice([0.0, 0.0, 0.3]))},
        "limits": {"max_exposure": env.limits.max_exposure, **_limits(rng, env, spec, deviation)},
        "breaker": env.breaker.model_dump() | ({"max_errors": 0} if rough else {}),
    }
    return EnvConfig.model_validate(env.model_dump() | chosen)


def roughened(rng: Rng, scenario: Scenario) -> Scenario:
    """The scenario under a server that does not always do as it is told."""
    return RoughScenario(
        scenario.env,
        scenario.market,
        scenario.pipeline,
        scenario.reward_scale,
        reject=float(rng.choice([0.0, 0.15])),
        partial=float(rng.choice([0.1, 0.3])),
    )


def takes_any_volume(spec: SymbolSpec) -> bool:
    """Whether no part of a position is too small to be closed by an order of its own."""
    return spec.lot_min == spec.lot_step


def _stops(rng: Rng) -> dict[str, Any]:
    """One in four accounts has none of them."""

    def sometimes(chance: float, least: float, most: float) -> float:
        return float(rng.uniform(least, most)) if rng.random() < chance else 0.0

    if rng.random() < 0.25:
        return {"atr": 0.0}
    target = sometimes(0.6, 1.5, 6.0)
    return {
        "atr": sometimes(0.85, 2.0, 6.0),
        "target_atr": target,
        "trail_atr": sometimes(0.4, 1.0, 4.0),
        "break_even_atr": sometimes(0.4, 0.5, 2.0),
        "partial_at": sometimes(0.6, 0.2, 0.8) if target else 0.0,
        "partial_share": float(rng.uniform(0.2, 0.8)),
        "reentry_bars": int(rng.choice([0, 1, 5, 24])),
    }


def _limits(rng: Rng, env: EnvConfig, spec: SymbolSpec, deviation: float) -> dict[str, Any]:
    """Each of them now and then, near what the account does without it."""
    capital, exposure = env.account.capital, min(env.limits.max_exposure, 50.0)
    hours = {"mon-sun": "00:00-19:00"}
    year = "2008-01-01T00:00:00Z", "2009-01-01T00:00:00Z"
    offered: dict[str, Any] = {
        "max_position": exposure * rng.uniform(0.3, 1.0),
        "max_class_exposure": exposure * rng.uniform(0.3, 1.0),
        "leverage": {spec.name: float(exposure * rng.uniform(0.3, 1.0))},
        "max_lots": spec.lot_min * int(rng.integers(2, 100)),
        "max_daily_volume_share": float(rng.uniform(0.01, 0.5)),
        "min_balance": capital * rng.uniform(0.5, 0.99),
        "order_budget": capital * exposure * rng.uniform(0.2, 0.8),
        "day_budget": capital * exposure * rng.uniform(0.5, 3.0),
        "trades_per_day": int(rng.integers(1, 5)),
        "max_day_trades": int(rng.integers(2, 20)),
        "cooldown_bars": int(rng.integers(1, 8)),
        "max_holding_bars": int(rng.integers(5, 60)),
        "max_spread_points": spec.typical_spread_points * rng.uniform(1.0, 2.0),
        "min_volume": float(rng.uniform(1.0, 400.0)),
        "price_band": float(min(deviation * rng.uniform(0.3, 3.0), 0.5)),
        "hours": hours,
        "prohibited": ({"from": year[0], "until": year[1], "reason": "first year"},),
    }
    often = {"price_band": 0.3}
    return {name: limit for name, limit in offered.items() if rng.random() < often.get(name, 0.12)}
