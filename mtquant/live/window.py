"""BarWindow: the newest closed bars of one instrument, fetched whole once and then grown.

Asking a terminal for a thousand bars at every bar would be the slowest part of a decision. A few
hours of overlap are asked for each time: enough to see whether anything is missing, and to tell
the two hours apart that a server's clock shows twice in autumn.
"""

from __future__ import annotations

import numpy as np

from mtquant.brokers.base import Broker, Instrument
from mtquant.market.bars import Bars
from mtquant.market.timeframe import Timeframe

_OVERLAP_MINUTES = 180
_FEWEST_OVERLAP = 3


class BarWindow:
    """A cache of ``length`` closed bars."""

    def __init__(self, instrument: Instrument, timeframe: Timeframe, length: int) -> None:
        self._instrument = instrument
        self._timeframe = timeframe
        self._length = length
        self._overlap = max(_FEWEST_OVERLAP, _OVERLAP_MINUTES // timeframe.minutes + 1)
        self._bars: Bars | None = None

    def update(self, broker: Broker, known_ns: int | None = None) -> Bars:
        """The newest closed bars, at most ``length``, fewer where the broker has fewer.

        Args:
            broker: Connected.
            known_ns: See :meth:`mtquant.brokers.base.Broker.closed_bars`.

        Raises:
            BrokerUnavailable: The broker did not answer.
        """
        held, source = self._bars, (self._instrument, self._timeframe)
        if held is not None and len(held):
            fetched = broker.closed_bars(*source, self._overlap, known_ns)
            if len(fetched) and fetched.time[0] <= held.time[-1]:
                self._bars = self._grown(held, fetched)
                return self._bars
        self._bars = broker.closed_bars(*source, self._length, known_ns)
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
        if not len(new):
            return held
        columns = {}
        for (name, old), (_, add) in zip(held.columns(), new.columns(), strict=True):
            column = np.concatenate([old, add])[-self._length :]
            column.flags.writeable = False
            columns[name] = column
        return Bars(held.symbol, held.timeframe, **columns)
