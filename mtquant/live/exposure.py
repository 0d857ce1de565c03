"""Exposure: what a symbol's position may be, whatever becomes of the orders without an answer.

    [position + negative unanswered steps, position + positive unanswered steps]

An order that timed out may have been executed, and a fill that history does not show yet may still
come. So its steps count on the side that makes things worse until the outcome is proven.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mtquant.brokers.base import OrderResult, Outcome

_UNPROVEN = (Outcome.AMBIGUOUS, Outcome.PLACED)


@dataclass(frozen=True)
class Exposure:
    """Of one symbol, in signed lot steps.

    Attributes:
        held: At the broker, as far as is proven.
        below: Sum of the unanswered sales, not above 0.
        above: Sum of the unanswered purchases, not below 0.
        moved: What this bar has moved already, or may have, without a sign.
        beyond: What deals lead to and is not shown as the strategy's own.
        missing: Steps, without a sign, that are shown and neither deals nor orders without an
            answer lead to: positions may lag behind what has closed them.
    """

    held: int
    below: int = 0
    above: int = 0
    moved: int = 0
    beyond: int = 0
    missing: int = 0

    @property
    def worst(self) -> int:
        """The largest position, without a sign, that it may come to."""
        return max(abs(self.held + self.below), abs(self.held + self.above))

    @property
    def at_risk(self) -> int:
        """Steps, without a sign, that may be held of the symbol, whosever they are."""
        return self.worst + abs(self.beyond)

    @property
    def reducible(self) -> int:
        """Steps, without a sign, that may be closed without a doubt that they are held."""
        if self.held > 0:
            return max(self.held + self.below - self.missing, 0)
        return max(-(self.held + self.above) - self.missing, 0)

    def reduced_by(self, steps: int) -> bool:
        """Whether an order can only make the position smaller, whatever else is executed."""
        return self.held * steps < 0 and abs(steps) <= self.reducible

    def unproven(self, steps: int) -> Exposure:
        """With one more order that may or may not be executed."""
        return replace(self, below=self.below + min(steps, 0), above=self.above + max(steps, 0))

    def answered(self, steps: int, result: OrderResult) -> Exposure:
        """After the answer to an order of signed ``steps``."""
        if result.outcome in _UNPROVEN:
            return replace(self.unproven(steps), moved=self.moved + abs(steps))
        moved = self.moved + abs(result.steps)
        return replace(self, held=self.held + result.steps, moved=moved)


def exposure_of(held: int, unanswered: Iterable[int], beyond: int = 0) -> Exposure:
    """Of what the broker shows, and the signed lot steps that may still come."""
    exposure = Exposure(held, beyond=beyond)
    for steps in unanswered:
        exposure = exposure.unproven(steps)
    return exposure
