from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from mtquant.errors import DataError
from mtquant.market.bars import Bars
from mtquant.market.panel import Panel
from mtquant.market.timeframe import Timeframe

Hourly = Callable[..., Bars]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_frames_in_any_unit_and_zone(hourly: Hourly, unit: str, zone: str | None) -> None:
    bars = hourly()
    frame = bars.to_frame()
    index = pd.DatetimeIndex(frame["time"]).as_unit(unit)
    frame["time"] = index.tz_convert(zone) if zone else index.tz_localize(None)
    again = Bars.from_frame(frame, "XAUUSD", Timeframe.H1)
    assert again.fingerprint() == bars.fingerprint()


def test_what_a_frame_lacks_is_named_or_not_recorded(hourly: Hourly) -> None:
    frame = hourly().to_frame()
    bare = Bars.from_frame(frame.drop(columns=["volume", "spread"]), "XAUUSD", Timeframe.H1)
    assert not bare.volume.any() and not bare.spread.any()
    with pytest.raises(DataError, match="lacks the columns high, low"):
        Bars.from_frame(frame.drop(columns=["high", "low"]), "XAUUSD", Timeframe.H1)


def test_any_change_changes_the_fingerprint(hourly: Hourly) -> None:
    bars = hourly()
    seen = {bars.fingerprint(), bars[:-1].fingerprint()}
    for name, column in bars.columns():
        columns = {key: np.array(values) for key, values in bars.columns()}
        columns[name][-1] = column[-1] + 1
        seen.add(Bars("XAUUSD", Timeframe.H1, **columns).fingerprint())
    seen.add(Bars("XAGUSD", Timeframe.H1, **dict(bars.columns())).fingerprint())
    seen.add(Bars("XAUUSD", Timeframe.M1, **dict(bars.columns())).fingerprint())
    assert len(seen) == 11


def test_bars_are_frozen_and_ordered(hourly: Hourly) -> None:
    bars = hourly()
    with pytest.raises(ValueError, match="read-only"):
        bars.close[0] = 1.0
    columns = dict(bars.columns())
    with pytest.raises(DataError, match="bar 1 opens at 2024-01-08T06:00:00Z, not after"):
        Bars("XAUUSD", Timeframe.H1, **{**columns, "time": np.repeat(bars.time[:1], 20)})
    with pytest.raises(DataError, match="'volume' has shape"):
        Bars("XAUUSD", Timeframe.H1, **{**columns, "volume": bars.volume[:-1]})


def test_later_bars_follow_and_are_as_frozen(hourly: Hourly) -> None:
    bars = hourly()
    again = bars[:12].then(bars[12:])
    assert again.fingerprint() == bars.fingerprint() and len(bars.then(bars[:0])) == len(bars)
    for frozen in (again, again[3:]):
        with pytest.raises(ValueError, match="read-only"):
            frozen.close[0] = 1.0
    with pytest.raises(DataError, match="do not follow those until 2024-01-08T17:00:00Z"):
        bars[:12].then(bars[11:])


def test_a_panel_places_each_symbol_as_of_its_last_bar(hourly: Hourly) -> None:
    gold, euro = hourly(6), hourly(9, symbol="EURUSD")
    euro = Bars("EURUSD", Timeframe.H1, **{k: np.delete(c, [0, 4]) for k, c in euro.columns()})
    panel = Panel([gold, euro])
    assert len(panel) == 9 and panel.symbols == ("XAUUSD", "EURUSD")
    assert panel.tradable.sum(axis=0).tolist() == [6, 7]
    placed = panel.place([b.volume[:, None] for b in panel.bars])[:, :, 0]
    assert placed[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 6, 6, 6]
    assert np.isnan(placed[0, 1]) and placed[1:, 1].tolist() == [2, 3, 4, 4, 6, 7, 8, 9]
    cut = panel[2:5]
    assert (cut.time == panel.time[2:5]).all() and not cut.tradable[2, 1]
    assert (panel.place([b.volume[:, None] for b in panel.bars], last=2)[:, 0, 0] == 6).all()


def test_impossible_panels_are_refused(hourly: Hourly) -> None:
    with pytest.raises(DataError, match="at least one symbol"):
        Panel([])
    with pytest.raises(DataError, match="stands twice"):
        Panel([hourly(), hourly()])
    minutes = Bars("EURUSD", Timeframe.M1, **dict(hourly().columns()))
    with pytest.raises(DataError, match="needs one timeframe"):
        Panel([hourly(), minutes])
    with pytest.raises(DataError, match="non-empty run"):
        Panel([hourly()])[3:3]
