"""BarWindow: the newest closed bars of one instrument, fetched whole once and then grown.

Asking a terminal for a thousand bars at every bar would be the slowest part of a decision. A few
hours of overlap are asked for each time: enough to see whether anything is missing, and to tell
the two hours apart that a server's clock shows twice in autumn.
"""

from __future__ import annotations

import numpy as np

from mtquant.brokers.base import Broker, Instrument
from mtquant.errors import DataError
from mtquant.market.bars import Bars
from mtquant.market.timeframe import Timeframe

_OVERLAP_MINUTES = 180
_FEWEST_OVERLAP = 3
_COMPARED = 2  # in autumn older ones may lie an hour from where they belong


class BarWindow:
    """A cache of ``length`` closed bars.

    Attributes:
        doubt: What is wrong with the newest look at them, "" for nothing.
    """

    def __init__(self, instrument: Instrument, timeframe: Timeframe, length: int) -> None:
        self._instrument = instrument
        self._timeframe = timeframe
        self._length = length
        self._overlap = max(_FEWEST_OVERLAP, _OVERLAP_MINUTES // timeframe.minutes + 1)
        self._bars: Bars | None = None
        self.doubt = ""

    def update(self, broker: Broker, known_ns: int | None = None) -> Bars:
        """The newest closed bars, at most ``length``, fewer where the broker has fewer.

        Args:
            broker: Connected.
            known_ns: See :meth:`mtquant.brokers.base.Broker.closed_bars`.

        Raises:
            BrokerUnavailable: The broker did not answer.
            DataError: What it answered are no bars.
        """
        self.doubt, held, source = "", self._bars, (self._instrument, self._timeframe)
        if held is not None and len(held):
            fetched = sane(broker.closed_bars(*source, self._overlap, known_ns))
            if len(fetched) and fetched.time[-1] < held.time[-1]:
                self.doubt = "the newest bars are gone"
                return held
            if _revised(held, fetched):
                self.doubt = "bars were revised"
            elif len(fetched) and fetched.time[0] <= held.time[-1]:
                self._bars = self._grown(held, fetched)
                return self._bars
        self._bars = sane(broker.closed_bars(*source, self._length, known_ns))
        return self._bars

    def reaching(self, broker: Broker, since_ns: int, known_ns: int | None = None) -> Bars:
        """As :meth:`update`, and back to ``since_ns`` where the broker's history does.

        A symbol that trades day and night needs more bars for the time that another spans.
        """
        bars = self.update(broker, known_ns)
        while len(bars) == self._length and bars.time[0] > since_ns:
            self._length *= 2
            self._bars = None
            bars = self.update(broker, known_ns)
        return bars

    def _grown(self, held: Bars, fetched: Bars) -> Bars:
        new = fetched[int(np.searchsorted(fetched.time, held.time[-1], side="right")) :]
        return held.then(new)[-self._length :] if len(new) else held


def sane(bars: Bars) -> Bars:
    """Bars whose prices can be prices; their times increase by construction.

    Raises:
        DataError: One has a price that is none, or a high below what it closed at.
    """
    prices = np.stack([bars.open, bars.high, bars.low, bars.close])
    sound = np.isfinite(prices).all(axis=0) & (prices > 0.0).all(axis=0)
    sound &= (bars.high >= prices.max(axis=0)) & (bars.low <= prices.min(axis=0))
    if not sound.all():
        worst = int(np.flatnonzero(~sound)[0])
        shown = ", ".join(f"{price:g}" for price in prices[:, worst])
        raise DataError(
            f"{bars.symbol}: the bar {worst - len(bars)} from the newest is {shown} (open, high, "
            "low, close); wait until the broker repairs it"
        )
    return bars


def _revised(held: Bars, fetched: Bars) -> bool:
    """Whether one of the newest bars that both have differs in a price."""
    end = int(np.searchsorted(fetched.time, held.time[-1], side="right"))
    count = min(_COMPARED, end, len(held))
    if not np.array_equal(held.time[-count:], fetched.time[end - count : end]):
        return False  # a bar more or less is no revision
    return any(
        not np.array_equal(getattr(held, name)[-count:], getattr(fetched, name)[end - count : end])
        for name in ("open", "high", "low", "close")
    )
