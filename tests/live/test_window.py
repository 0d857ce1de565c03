from __future__ import annotations

import numpy as np
import pytest

from mtquant.brokers.base import Instrument
from mtquant.live.window import BarWindow
from mtquant.market.bars import Bars
from mtquant.market.clock import SECOND_NS, Clock
from mtquant.market.timeframe import Timeframe


class Feed:
    """A broker whose clock shows an hour twice; counts what is asked for."""

    def __init__(self, bars, clock):
        self.bars, self.clock = bars, Clock.parse(clock)
        self.now, self.asked = 0, []

    def closed_bars(self, instrument, timeframe, count, known_ns=None):
        self.asked.append(count)
        shown = self.bars[max(self.now - count, 0) : self.now]
        wall = self.clock.from_utc(shown.time) // SECOND_NS * SECOND_NS
        columns = dict(shown.columns()) | {"time": self.clock.locate(wall).utc}
        return Bars(shown.symbol, shown.timeframe, **columns)


def bars_from(start, count, timeframe):
    time = np.datetime64(start, "ns").astype(np.int64) + np.arange(count) * timeframe.nanoseconds
    prices = np.arange(count) + 100.0
    return Bars("TOY", timeframe, time, *[prices] * 4, prices, prices)


@pytest.mark.parametrize("timeframe", [Timeframe.M5, Timeframe.M15, Timeframe.H1, Timeframe.H4])
def test_growing_equals_fetching_over_the_hour_that_comes_twice(timeframe):
    feed = Feed(bars_from("2024-11-01T00:00", 1000, timeframe), "ny+7")
    window, length = BarWindow(Instrument(None, "TOY"), timeframe, 60), 60
    for feed.now in range(40, 1000):
        held = window.update(feed)
        expected = feed.bars[max(feed.now - length, 0) : feed.now]
        assert np.array_equal(held.time, expected.time)
        assert np.array_equal(held.close, expected.close)
    assert feed.asked[0] == 60 and max(feed.asked[1:]) < 60


def test_a_gap_beyond_the_overlap_is_fetched_anew():
    feed = Feed(bars_from("2024-06-03T00:00", 500, Timeframe.H1), "utc")
    window = BarWindow(Instrument(None, "TOY"), Timeframe.H1, 60)
    feed.now = 100
    window.update(feed)
    feed.now = 150
    held = window.update(feed)
    assert np.array_equal(held.time, feed.bars[90:150].time)
    assert feed.asked == [60, 4, 60]


def test_nothing_new_changes_nothing():
    feed = Feed(bars_from("2024-06-03T00:00", 100, Timeframe.H1), "utc")
    window = BarWindow(Instrument(None, "TOY"), Timeframe.H1, 60)
    feed.now = 0
    assert len(window.update(feed)) == 0
    feed.now = 70
    assert window.update(feed) is window.update(feed)
