"""Every planted leak is found, and no honest feature is accused."""

from __future__ import annotations

import inspect
import runpy
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from mtquant.errors import DataError
from mtquant.features.base import BaseFeature, Column
from mtquant.features.leaks import find_leaks
from mtquant.features.registry import FEATURES, make_feature
from mtquant.features.trial_market import FUTURES, telling_rows, trial_panel, with_future
from mtquant.market.panel import Panel


def functions(name: str) -> list:
    """The public functions of a file of features, in order."""
    path = str(Path(__file__).with_name(name))
    found = runpy.run_path(path).items()
    return [f for n, f in found if inspect.isfunction(f) and n[0] != "_"]


class Plugin(BaseFeature):
    """A feature from a function, see the first lines of ``planted_leaks.py``."""

    key: ClassVar[str] = "plugin"
    group: ClassVar[str] = "tests"

    def __init__(self, function):
        self.function = function
        self.takes = dict(inspect.signature(function).parameters)
        self.memory = {}

    columns = property(lambda self: (Column(self.function.__name__, "on trial"),))
    lookback = property(lambda self: self.takes["lookback"].default)

    @property
    def context(self):
        return self.takes["context"].default if "context" in self.takes else ()

    def fit(self, train):
        return self.function.learn(train) if hasattr(self.function, "learn") else {}

    def compute(self, panel, params, last=None):
        own = []
        for bars in panel.bars:
            known = {"panel": panel, "learned": params, "last": last, "memory": self.memory}
            given = {name: known[name] for name in self.takes if name in known}
            values = np.array(self.function(bars, **given), dtype=np.float64)
            values[: self.lookback - 1] = np.nan
            own.append(values[:, None])
        return panel.place(own, last)


def name_of(function) -> str:
    return function.__name__


@pytest.mark.parametrize("function", functions("planted_leaks.py"), ids=name_of)
def test_a_planted_leak_is_found(function):
    assert find_leaks(Plugin(function))


@pytest.mark.parametrize("function", functions("clean_features.py"), ids=name_of)
def test_a_clean_feature_is_not_accused(function):
    assert find_leaks(Plugin(function)) == []


#: What a feature cannot do without.
NEEDED = {"strength": {"against": ["EURUSD", "USDJPY"]}, "level": {"of": ["USDJPY"]}}


@pytest.mark.parametrize("key", FEATURES)
def test_a_shipped_feature_is_not_accused(key):
    assert find_leaks(make_feature(key, NEEDED.get(key)), cuts=1) == []


KINDS = {
    "peek_at_the_years_end": "future",
    "one_bar_more_than_declared": "lookback",
    "newest_rows_from_too_few": "last",
    "noise": "random",
    "first_answers_kept_by_time": "state",
    "labels_by_time": "fit",
    "normalised_in_place": "input",
    "half_of_the_rows": "error",
}


@pytest.mark.parametrize("name", KINDS)
def test_a_finding_names_its_kind(name):
    (function,) = [f for f in functions("planted_leaks.py") if f.__name__ == name]
    assert [leak.kind for leak in find_leaks(Plugin(function))] == [KINDS[name]]


def pair(bars, lookback=2):
    """Two columns, of which the second knows the next close."""
    return np.stack([bars.close, np.append(bars.close[1:], 0.0)], axis=1)


class Pair(Plugin):
    columns = property(lambda self: (Column("honest", "on trial"), Column("leaky", "on trial")))

    def compute(self, panel, params, last=None):
        return panel.place([pair(bars) for bars in panel.bars], last)


def test_a_finding_names_column_row_time_and_values():
    panel = Panel([trial_panel(2).bars[0]])
    (leak,) = find_leaks(Pair(pair), panel)
    assert (leak.kind, leak.column) == ("future", "leaky")
    bars = panel.bars[0]
    row = int(np.searchsorted(bars.time, np.datetime64(leak.time[:-1], "ns").astype(np.int64)))
    assert bars.when(row) == leak.time
    assert f"row {leak.row} ({leak.time}) of 'leaky' of XAUUSD" in leak.sentence
    assert f"changes from {float(bars.close[row + 1])!r} to 0.0 when" in leak.sentence


class Odd(Plugin):
    def compute(self, panel, params, last=None):
        return np.zeros((len(panel), 1))


class Refusing(Plugin):
    @property
    def context(self):
        raise KeyError("no such thing")


def test_wrong_shapes_and_failures_are_findings_and_not_raised():
    assert [leak.kind for leak in find_leaks(Odd(pair))] == ["shape"]
    (leak,) = find_leaks(Refusing(pair))
    assert leak.kind == "error" and "no such thing" in leak.sentence


def test_the_detector_says_the_same_twice_and_takes_given_bars():
    (function,) = [f for f in functions("planted_leaks.py") if f.__name__ == "peek_at_records"]
    panel = trial_panel(300)
    assert find_leaks(Plugin(function), panel) == find_leaks(Plugin(function), panel) != []
    with pytest.raises(DataError, match="give more bars"):
        find_leaks(Plugin(function), panel[:160])


def test_the_trial_market_is_hostile():
    panel = trial_panel(100, ("US500",))
    bars, other, context = panel.bars[0], panel.bars[1], panel.context[0]
    dates = bars.time.astype("datetime64[ns]").astype("datetime64[D]")
    for day in ("2023-12-29", "2024-01-31", "2024-02-29", "2024-03-29", "2024-10-31"):
        assert np.datetime64(day) in dates
    gaps = np.diff(bars.time) // bars.timeframe.nanoseconds
    assert (gaps == 2).sum() > 20 and (gaps > 1000).any()
    still = bars.high == bars.low
    assert still[bars.volume > 0].sum() > 60
    assert (bars.volume == 0).sum() > 100 and (bars.spread == 0).sum() > 100
    assert np.abs(np.diff(np.log(bars.close))).max() > 0.035
    assert not panel.tradable.all(axis=0).any()
    assert len(np.setdiff1d(context.time, other.time)) > 300
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()


@pytest.mark.parametrize("future", FUTURES)
def test_another_future_leaves_the_past_and_changes_what_follows(future):
    panel = trial_panel(50, ("US500",))
    row = len(panel) // 2
    altered = with_future(panel, row, future)
    np.testing.assert_array_equal(altered.time[: row + 1], panel.time[: row + 1])
    for bars in (*panel.bars, *panel.context):
        changed = altered.of(bars.symbol)
        known = int(np.searchsorted(bars.time, panel.time[row], side="right"))
        assert bars[:known].fingerprint() == changed[:known].fingerprint()
        assert bars[known : known + 5].fingerprint() != changed[known : known + 5].fingerprint()


def test_telling_rows_include_the_ends_of_months_and_every_hour_of_the_week():
    panel = trial_panel(10)
    rows = telling_rows(panel, 10, 1)
    hours = panel.time // (3_600 * 10**9)
    month = panel.time.astype("datetime64[ns]").astype("datetime64[M]")
    assert any(month[row] != month[row + 1] for row in rows)
    assert np.array_equal(np.unique(hours[rows] % 168), np.unique(hours[10:-1] % 168))
