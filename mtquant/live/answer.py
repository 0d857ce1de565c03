"""What an agent answered, as far as a decision may rest on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mtquant.agents.base import Float32
from mtquant.errors import ConfigError, one_line
from mtquant.jit import Record, Structured
from mtquant.sim.target import Target, ask

#: Largest action, with room for the rounding of float32.
FULL_SIZE = 1.0 + 1e-6
LONGEST_REASON = 100  # letters


class Answer(NamedTuple):
    """One answer for all symbols.

    Attributes:
        actions: Target exposure, ``[S]``; NaN holds.
        faults: What was wrong with it, in words.
        reason: Why, in the agent's own words; "" where it says nothing.
    """

    actions: Float32
    faults: tuple[str, ...] = ()
    reason: str = ""


def no_answer(symbols: int, fault: str) -> Answer:
    """One that holds everything."""
    return Answer(np.full(symbols, np.nan, np.float32), (f"model: {fault}; held",))


def sound(answer: object, positions: Structured, rules: Record) -> Answer:
    """An agent's answer as one action a symbol; the levels that it asks for are written down.

    Infinite actions hold, larger ones than full size are cut to that, as in training, and anything
    that is no action at all holds.

    Args:
        answer: Whatever it answered.
        positions: ``POSITION[S]``, which the next decision reads.
        rules: Of the strategy.
    """
    symbols, reason, bare = len(positions), "", answer
    try:
        if isinstance(answer, Target):
            bare, reason = answer.exposure, one_line(str(answer.reason), LONGEST_REASON)
            ask(answer, positions, rules)
        asked = np.asarray(bare, np.float32).reshape(symbols)
    except ConfigError as error:
        return no_answer(symbols, str(error))
    except (TypeError, ValueError):
        return no_answer(symbols, f"answered {str(bare)[:60]!r}, not {symbols} numbers")
    endless, large = np.isinf(asked), np.abs(asked) > FULL_SIZE
    if not large.any():
        return Answer(asked, (), reason)
    done = "held" if endless.any() else "cut to it"
    told = f"model: answered {asked[large].tolist()}, beyond full size; {done}"
    return Answer(np.where(endless, np.float32(np.nan), asked.clip(-1.0, 1.0)), (told,), reason)
