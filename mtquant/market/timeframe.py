"""MetaTrader's timeframes, M1 to MN1."""

from __future__ import annotations

from enum import Enum

from mtquant.errors import ConfigError, unknown

MINUTE_NS = 60 * 10**9


class Timeframe(Enum):
    """A bar length; the value is its nominal minutes (a month counts 30 days)."""

    M1 = 1
    M2 = 2
    M3 = 3
    M4 = 4
    M5 = 5
    M6 = 6
    M10 = 10
    M12 = 12
    M15 = 15
    M20 = 20
    M30 = 30
    H1 = 60
    H2 = 120
    H3 = 180
    H4 = 240
    H6 = 360
    H8 = 480
    H12 = 720
    D1 = 1440
    W1 = 10080
    MN1 = 43200

    @classmethod
    def parse(cls, name: str) -> Timeframe:
        """The timeframe called ``name``, in any case.

        Raises:
            ConfigError: No such timeframe; names the nearest.
        """
        try:
            return cls[name.strip().upper()]
        except KeyError:
            raise ConfigError(unknown("timeframe", name, cls.__members__)) from None

    @property
    def minutes(self) -> int:
        """Nominal length in minutes."""
        return int(self.value)

    @property
    def nanoseconds(self) -> int:
        """Nominal length in nanoseconds."""
        return self.minutes * MINUTE_NS
