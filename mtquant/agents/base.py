"""The agent protocol, which is Stable-Baselines3's own, and what an agent gets to see.

An agent declares ``inputs`` (feature names), ``scaled`` (after the scaler, or raw values for rules
such as RSI < 30) and ``window`` (bars at once). Env, backtest and runner build exactly that, then
append the account's own columns.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from mtquant.features.pipeline import FittedPipeline
from mtquant.market.panel import Panel

Float32 = npt.NDArray[np.float32]


@runtime_checkable
class Agent(Protocol):
    """Anything that turns observations into target exposures."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def inputs(self) -> tuple[str, ...] | None:
        """Feature names it reads, in order; None reads every feature of the env."""

    @property
    def scaled(self) -> bool:
        """Whether it reads scaled features or raw ones."""

    @property
    def window(self) -> int:
        """Bars it sees at once, the newest last."""

    def predict(
        self,
        observation: Float32,
        state: Any = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Float32, Any]:
        """The action for one observation.

        Args:
            observation: float32 ``[O]``: features (oldest bar first), then the account.
            state: What the last call returned; None at the start of an episode.
            episode_start: As in SB3; unused by agents without memory.
            deterministic: Whether to act without exploration.

        Returns:
            Target exposure in [-1, 1], float32 ``[S]``, and the next state.
        """


def agent_features(
    agent: Agent, pipeline: FittedPipeline, panel: Panel, last: int | None = None
) -> Float32:
    """The market part of an agent's observations.

    Args:
        agent: Who will look.
        pipeline: Fitted on the training split.
        panel: Closed bars.
        last: With n, only the last n rows are computed.

    Returns:
        float32 ``[T, window * F]``; with a window a view in which each row overlaps the last.
    """
    wanted = None if last is None else last + agent.window - 1
    values = (
        pipeline.transform(panel, wanted)
        if agent.scaled
        else pipeline.raw(panel, wanted).astype(np.float32)
    )
    if agent.inputs is not None:
        values = values[:, pipeline.positions(agent.inputs)]
    values = np.ascontiguousarray(values)
    if agent.window == 1:
        return values
    if last is None:
        head = np.full((agent.window - 1, values.shape[1]), np.nan, np.float32)
        values = np.concatenate([head, values])
    rows, width = values.shape
    return np.lib.stride_tricks.as_strided(
        values, (rows - agent.window + 1, agent.window * width), values.strides, writeable=False
    )
