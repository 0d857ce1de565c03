from __future__ import annotations

import numpy as np
import pytest

from mtquant.errors import ConfigError, DataError
from mtquant.features.level import Level
from mtquant.features.pipeline import FeaturePipeline
from mtquant.market.bars import Bars
from mtquant.market.clock import HOUR_NS
from mtquant.market.panel import Panel
from mtquant.market.timeframe import Timeframe


def at(symbol, hours, close):
    time, close = np.array(hours, np.int64) * HOUR_NS, np.array(close, float)
    nothing = np.zeros(time.size)
    return Bars(symbol, Timeframe.H1, time, close, close, close, close, nothing, nothing)


GOLD = at("XAUUSD", [0, 1, 2, 3, 4, 5], [2000.0] * 6)
VIX = at("VIX", [1, 2, 5, 6], [12.0, 13.0, 40.0, 99.0])


def test_the_newest_close_known_at_the_bar_and_nothing_before_the_first():
    """Hours 3 and 4 show the close of hour 2; what opens at hour 6 is never seen."""
    found = Level(of=("VIX",)).compute(Panel([GOLD], [VIX]), {})[:, 0, 0]
    np.testing.assert_array_equal(found, [np.nan, 12.0, 13.0, 13.0, 13.0, 40.0])


@pytest.mark.parametrize("last", [1, 2, 5])
def test_the_last_rows_alone_are_the_same(last):
    panel = Panel([GOLD, at("EURUSD", [0, 2, 4], [1.1] * 3)], [VIX])
    feature = Level(of=("VIX", "EURUSD"))
    whole = feature.compute(panel, {})
    np.testing.assert_array_equal(feature.compute(panel, {}, last), whole[-last:])


def test_an_instrument_without_bars_is_not_known_yet():
    found = Level(of=("VIX",)).compute(Panel([GOLD], [at("VIX", [], [])]), {})
    assert np.isnan(found).all()


def test_names_follow_the_instruments():
    assert FeaturePipeline([{"level": {"of": ["VIX", "US10Y"]}}], ["XAUUSD"]).names == (
        "level_VIX",
        "level_US10Y",
    )


def test_what_cannot_be():
    with pytest.raises(ConfigError, match=r"level has no instruments; say level: \{of:"):
        FeaturePipeline(["level"], ["XAUUSD"])
    with pytest.raises(DataError, match="no bars of 'US10Y'"):
        Level(of=("US10Y",)).compute(Panel([GOLD], [VIX]), {})
    with pytest.raises(ValueError, match="twice"):
        Level(of=("VIX", "VIX"))
