"""An agent's memory from one bar to the next: journalled with the record, or rebuilt from bars.

An episode, a backtest and the first decision of all begin with an empty memory. After a missed bar,
or where the journal holds none, it is what the newest bars leave in an empty one.
"""

from __future__ import annotations

import numpy as np

from mtquant.agents.base import Agent, Float32, Remembers
from mtquant.errors import ConfigError
from mtquant.live.record import AccountRecord

STORED = np.dtype("<f4")


def state_shape(agent: Agent) -> tuple[int, ...]:
    """Of an agent's memory; empty without one."""
    return agent.state_shape if isinstance(agent, Remembers) else ()


def burn_in(agent: Agent) -> int:
    """Bars from which an agent's memory is rebuilt; 0 without one."""
    return agent.burn_in if isinstance(agent, Remembers) and agent.state_shape else 0


def stored(agent: Agent, state: Float32 | None) -> bytes:
    """What the journal keeps of a memory.

    Raises:
        ConfigError: The agent remembers something that it does not declare.
    """
    if state is None:
        return b""
    shape = state_shape(agent)
    if not shape or np.shape(state) != shape:
        raise ConfigError(
            f"agent {agent.name} returns a state of shape {np.shape(state)} and declares {shape}; "
            "its state_shape must say what is to be remembered across restarts"
        )
    return np.asarray(state, STORED).tobytes()


def recalled(agent: Agent, record: AccountRecord | None, before_ns: int | None) -> Float32 | None:
    """The journalled memory; None where there is none that the newest bar can follow on.

    Args:
        agent: Whose.
        record: Of the last decision.
        before_ns: Open of the bar before the newest one.
    """
    shape = state_shape(agent)
    if record is None or not shape or record.bar_time_ns != before_ns:
        return None
    if len(record.agent_state) != STORED.itemsize * int(np.prod(shape)):
        return None
    return np.frombuffer(record.agent_state, STORED).reshape(shape).astype(np.float32)
