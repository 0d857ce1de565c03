"""BarReport: what one bar led to, for whoever shows it or writes it down."""

from __future__ import annotations

from dataclasses import dataclass

from mtquant.brokers.base import OrderResult
from mtquant.live.decide import Outlook
from mtquant.live.lock import Trip


@dataclass(frozen=True)
class BarReport:
    """What one bar led to, for console and log.

    Attributes:
        outlook: Record, decisions and prices.
        position_lots: Signed lots held at the close, before the orders.
        results: The answers to the orders that were sent.
        events: What did not add up.
        trip: Of the breaker, where its level rose.
        strategy: Whose bar it was.
    """

    outlook: Outlook
    position_lots: tuple[float, ...]
    results: tuple[OrderResult, ...]
    events: tuple[str, ...]
    trip: Trip | None = None
    strategy: str = ""
