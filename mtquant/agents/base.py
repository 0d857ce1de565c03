"""The agent protocol: Stable-Baselines3's own ``predict``, and what the agent wants to see.

An agent declares ``inputs`` (feature names), ``scaled`` (after the scaler, or raw values for rules
such as RSI < 30) and ``window`` (bars at once). Env, backtest and runner build exactly that, then
append the account's own columns.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from mtquant.features.observed import Observer
from mtquant.sim.target import Target

Float32 = npt.NDArray[np.float32]


@runtime_checkable
class Remembers(Protocol):
    """What an agent with memory declares besides; live trading journals the memory."""

    @property
    def state_shape(self) -> tuple[int, ...]:
        """Of the float32 array that ``predict`` takes and returns as state; empty without one."""

    @property
    def burn_in(self) -> int:
        """Bars that it is shown, from an empty memory on, where its state was lost."""


@runtime_checkable
class Agent(Observer, Protocol):
    """Anything that turns observations into target exposures."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def predict(
        self,
        observation: Float32,
        state: Any = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Float32 | Target, Any]:
        """The action for one observation.

        Args:
            observation: float32 ``[O]``: features (oldest bar first), then the account.
            state: What the last call returned; None at the start of an episode.
            episode_start: As in SB3; unused by agents without memory.
            deterministic: Whether to act without exploration.

        Returns:
            Target exposure in [-1, 1], float32 ``[S]``, or a :class:`~mtquant.sim.target.Target`
            that says more; and the next state.
        """
