"""Target: an agent's answer that says where its trade would be wrong, and why it is made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mtquant.errors import ConfigError
from mtquant.jit import Record, Structured

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Target:
    """What an agent may answer in place of a bare action.

    Distances are fractions of the price, because an agent sees no prices: 0.01 is one percent away.
    They count from the quote at which an increase is filled, and hold for one decision: an agent
    that asks again at each bar trails its stop, which only ever becomes tighter. The env's own
    stop and target stay the farthest that are set.

    Attributes:
        exposure: Target exposure in [-1, 1], ``[S]``; NaN keeps what is held.
        stop: Distance of the protective stop, one for all symbols or ``[S]``; 0 or NaN for the
            env's own.
        take_profit: Of the target, likewise.
        reason: For the journal and a backtest's frame.
    """

    exposure: npt.ArrayLike
    stop: npt.ArrayLike = 0.0
    take_profit: npt.ArrayLike = 0.0
    reason: str = ""


def ask(target: Target, positions: Structured, rules: Record) -> Float32:
    """Write down the levels that a target asks for, for the next decision.

    Args:
        target: The agent's answer.
        positions: ``POSITION[S]`` of the lane.
        rules: Whose stops and targets are the farthest.

    Returns:
        The bare action, ``[S]``.

    Raises:
        ConfigError: A distance is no fraction of a price, or the env protects no positions.
        ValueError: There are not as many exposures as symbols.
    """
    action = np.asarray(target.exposure, np.float32).reshape(positions.shape)
    stop = _fractions("stop", target.stop, positions.shape)
    take = _fractions("take_profit", target.take_profit, positions.shape)
    if not rules["managed"] and (stop.any() or take.any()):
        raise ConfigError(
            "the agent asks for a stop or a target and this env protects no positions; set 'stops: "
            "{atr: 10}' or another distance that is never exceeded"
        )
    positions["asked_stop"], positions["asked_take"] = stop, take
    return action


def _fractions(name: str, asked: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Distances as they were asked for, 0 for none."""
    away = np.asarray(asked, np.float64)
    away = np.where(np.isnan(away), 0.0, away)
    if away.shape not in ((), shape) or not ((away >= 0.0) & (away < 1.0)).all():
        raise ConfigError(
            f"the agent's {name} = {away} must be a fraction of the price, from 0 to below 1, one "
            "for all symbols or one for each"
        )
    return away
