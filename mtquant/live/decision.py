"""What was decided for one symbol at the close of one bar, and what may stand against it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Guard:
    """Why a symbol may not be traded freely now.

    Attributes:
        reason: For journal and console.
        frozen: Nothing may be sent at all; otherwise only reductions.
    """

    reason: str
    frozen: bool


@dataclass(frozen=True)
class Decision:
    """What was decided for one symbol at the close of one bar.

    Attributes:
        symbol: Standard name.
        bar_time_ns: Open of the bar, ns UTC.
        action: What the agent answered.
        held: Signed lot steps held.
        target: Signed lot steps to hold.
        reason: Why the target is what it is.
        reason_code: Of :mod:`mtquant.risk.reasons`.
        checks: What the pre-trade checks have found against it, in words; empty if nothing.
        stop_distance: Ticks from the quote to the stop that an increase sets, 0 for none.
        take_distance: Likewise to its target.
    """

    symbol: str
    bar_time_ns: int
    action: float
    held: int
    target: int
    reason: str
    reason_code: int
    checks: str = ""
    stop_distance: int = 0
    take_distance: int = 0
