"""Instrument: a symbol as one broker trades it, and how its units translate."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from functools import cached_property

from mtquant.errors import DataError
from mtquant.market.hours import TradingHours
from mtquant.market.symbols import SymbolSpec


@dataclass(frozen=True)
class Instrument:
    """A symbol as one broker trades it.

    Attributes:
        spec: The contract.
        broker_name: What the broker calls it.
    """

    spec: SymbolSpec
    broker_name: str

    @cached_property
    def _step(self) -> Decimal:
        return Decimal(str(self.spec.lot_step))

    @cached_property
    def _tick(self) -> tuple[int, int]:
        return self.spec.tick_fraction

    @cached_property
    def hours(self) -> TradingHours:
        """When it trades."""
        return TradingHours.of(self.spec)

    def price(self, ticks: float) -> float:
        """The price of a count of ticks, rounded once."""
        numerator, denominator = self._tick
        return ticks * numerator / denominator

    def ticks(self, price: float) -> int:
        """The whole count of ticks nearest to a price."""
        numerator, denominator = self._tick
        return round(price * denominator / numerator)

    def lots(self, steps: int) -> float:
        """Signed lots of signed lot steps, the nearest float to the exact decimal."""
        return float(self._step * steps)

    def steps(self, volume_lots: float) -> int:
        """Signed lot steps of signed lots.

        Raises:
            DataError: The volume is off the lot grid: the contract is not the broker's.
        """
        steps = Decimal(str(float(volume_lots))) / self._step
        whole = steps.to_integral_value()
        if abs(steps - whole) > Decimal("1e-6"):
            raise DataError(
                f"{self.spec.name}: {volume_lots} lots are no multiple of lot_step "
                f"{self.spec.lot_step}; correct the symbol's contract"
            )
        return int(whole)

    def whole_lots(self, volume_lots: float) -> float:
        """What of a volume is whole lot steps, toward zero: no order can touch the rest."""
        steps = Decimal(str(float(volume_lots))) / self._step
        return self.lots(int(steps.to_integral_value(ROUND_DOWN)))
