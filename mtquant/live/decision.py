"""What was decided for one symbol at the close of one bar, and what may stand against it."""

from __future__ import annotations

from dataclasses import dataclass

from mtquant.risk.breaker import LEVEL_2, limit


@dataclass(frozen=True)
class Guard:
    """Why a symbol may not be traded freely now.

    Attributes:
        reason: For journal and console.
        frozen: Nothing may be sent at all; otherwise only reductions.
        reducible: Lot steps that are proven to be held, where that is in doubt; None where not.
        silent: The market gives no quotes, so no stop can be held against one.
    """

    reason: str
    frozen: bool
    reducible: int | None = None
    silent: bool = False

    @property
    def unsettled(self) -> bool:
        """Whether stops are left alone too."""
        return self.frozen or self.silent or self.reducible is not None

    def allowed(self, held: int, target: int) -> int:
        """The target that may be gone for, in signed lot steps."""
        if self.frozen:
            return held
        nearer = int(limit(LEVEL_2, held, target))
        if self.reducible is None or abs(held - nearer) <= self.reducible:
            return nearer
        return held - self.reducible if held > 0 else held + self.reducible


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
