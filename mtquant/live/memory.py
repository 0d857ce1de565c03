"""An agent's memory from one bar to the next: journalled with the record, or rebuilt from bars.

An episode, a backtest and the first decision of all begin with an empty memory. After a missed bar,
or where the journal holds none, it is what the newest bars leave in an empty one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from mtquant.agents.base import Agent, Float32, Remembers
from mtquant.errors import ConfigError
from mtquant.live.record import AccountRecord

STORED = np.dtype("<f4")


@dataclass(frozen=True)
class Memory:
    """What one agent declares of its memory.

    Attributes:
        name: The agent's.
        shape: Of its state; empty without one.
        burn_in: Bars from which it is rebuilt; 0 without one.
    """

    name: str
    shape: tuple[int, ...]
    burn_in: int

    @classmethod
    def of(cls, agent: Agent) -> Memory:
        """An agent's."""
        if isinstance(agent, Remembers) and agent.state_shape:
            return cls(agent.name, agent.state_shape, agent.burn_in)
        return cls(agent.name, (), 0)

    def stored(self, state: Float32 | None) -> bytes:
        """What the journal keeps of a state.

        Raises:
            ConfigError: The agent remembers something that it does not declare.
        """
        if state is None:
            return b""
        if not self.shape or np.shape(state) != self.shape:
            raise ConfigError(
                f"agent {self.name} returns a state of shape {np.shape(state)} and declares "
                f"{self.shape}; its state_shape must say what is to be remembered across restarts"
            )
        return np.asarray(state, STORED).tobytes()

    def recalled(self, record: AccountRecord | None, before_ns: int | None) -> Float32 | None:
        """The journalled state; None where there is none that the newest bar can follow on.

        Args:
            record: Of the last decision.
            before_ns: Open of the bar before the newest one.
        """
        if record is None or not self.shape or record.bar_time_ns != before_ns:
            return None
        if len(record.agent_state) != STORED.itemsize * prod(self.shape):
            return None
        return np.frombuffer(record.agent_state, STORED).reshape(self.shape).astype(np.float32)
