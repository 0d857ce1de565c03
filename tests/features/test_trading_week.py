from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from mtquant.features.trading_week import Rollover, Weekend, WeekPhase, WeekRemaining
from mtquant.market.panel import Panel
from mtquant.market.timeframe import Timeframe

NEW_YORK = ZoneInfo("America/New_York")


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def at(bars_of, feature, text, timeframe=Timeframe.H1):
    panel = Panel([bars_of([1.0], start=ns(text), timeframe=timeframe)])
    return feature.compute(panel, {})[0, 0]


#: Friday's close and Sunday's opening in UTC, around the year's changes of season.
WEEKENDS = [
    ("2024-03-01T22:00", "2024-03-03T22:00"),
    ("2024-03-08T22:00", "2024-03-10T21:00"),  # New York changes on 10 March
    ("2024-03-15T21:00", "2024-03-17T21:00"),
    ("2024-03-29T21:00", "2024-03-31T21:00"),  # London changes on 31 March
    ("2024-04-05T21:00", "2024-04-07T21:00"),
    ("2024-10-25T21:00", "2024-10-27T21:00"),  # London changes back on 27 October
    ("2024-11-01T21:00", "2024-11-03T22:00"),  # New York changes back on 3 November
    ("2024-11-08T22:00", "2024-11-10T22:00"),
]


def minute_before(text):
    return str(np.datetime64(text, "m") - 1)


@pytest.mark.parametrize(("close", "opening"), WEEKENDS)
def test_the_weekend_follows_new_york_over_every_change_of_season(bars_of, close, opening):
    flags = [
        at(bars_of, Weekend(), text)[0]
        for text in (minute_before(close), close, minute_before(opening), opening)
    ]
    assert flags == [0, 1, 1, 0]
    phases = [at(bars_of, WeekPhase(), text).tolist() for text in (minute_before(opening), opening)]
    assert phases == [[0, 0, 1], [1, 0, 0]]
    shares = [at(bars_of, WeekRemaining(), text)[0] for text in (close, opening)]
    assert shares == [1.0, 1.0]
    last_minute = at(bars_of, WeekRemaining(), minute_before(close), Timeframe.M1)
    np.testing.assert_allclose(last_minute, [1 / 7200, 0.0])
    nights = [at(bars_of, Rollover(), text) for text in (minute_before(close), close)]
    np.testing.assert_allclose(nights, [[1, 1 / 1440], [1, 1]])  # an hour from 16:59 meets 17:00


@pytest.mark.parametrize(
    ("time", "phase"),
    [
        ("2024-01-07T22:00", 0),  # Sunday 17:00 in New York
        ("2024-01-09T21:59", 0),  # Tuesday
        ("2024-01-09T22:00", 1),
        ("2024-01-10T21:59", 1),  # Wednesday
        ("2024-01-10T22:00", 2),
        ("2024-01-12T12:00", 2),
        ("2024-01-13T12:00", 2),
        ("2024-07-09T20:59", 0),
        ("2024-07-09T21:00", 1),
    ],
)
def test_phases_turn_with_the_trading_day(bars_of, time, phase):
    np.testing.assert_array_equal(at(bars_of, WeekPhase(), time), np.arange(3) == phase)


@pytest.mark.parametrize(
    ("time", "timeframe", "share", "bars"),
    [
        ("2024-01-07T22:00", Timeframe.H1, 1.0, 119),  # the week's first bar
        ("2024-01-12T21:00", Timeframe.H1, 1 / 120, 0),  # its last
        ("2024-01-12T20:00", Timeframe.H1, 2 / 120, 1),
        ("2024-01-10T22:00", Timeframe.H1, 48 / 120, 47),
        ("2024-01-10T22:00", Timeframe.M5, 48 / 120, 575),
        ("2024-01-12T20:00", Timeframe.H4, 2 / 120, 0),  # only begins before the close
        ("2024-01-12T16:00", Timeframe.H4, 6 / 120, 1),
        ("2024-01-07T22:00", Timeframe.D1, 1.0, 4),
        ("2024-01-12T22:00", Timeframe.H1, 1.0, 120),  # weekend: the whole next week
        ("2024-01-13T12:00", Timeframe.H1, 1.0, 120),
        ("2024-01-13T22:00", Timeframe.D1, 1.0, 5),
        ("2024-01-13T22:00", Timeframe.W1, 1.0, 0),  # this bar holds the whole next week
        ("2024-03-13T21:00", Timeframe.H1, 48 / 120, 47),  # New York alone in summer
    ],
)
def test_bars_and_share_of_the_week_to_come(bars_of, time, timeframe, share, bars):
    found = at(bars_of, WeekRemaining(), time, timeframe)
    np.testing.assert_allclose(found, [share, np.log1p(bars)])


@pytest.mark.parametrize(
    ("time", "timeframe", "near"),
    [
        ("2024-01-10T21:00", Timeframe.H1, 0),
        ("2024-01-10T22:00", Timeframe.H1, 1),
        ("2024-01-10T23:00", Timeframe.H1, 0),
        ("2024-07-10T20:00", Timeframe.H1, 0),
        ("2024-07-10T21:00", Timeframe.H1, 1),
        ("2024-07-10T22:00", Timeframe.H1, 0),
        ("2024-01-10T21:55", Timeframe.M5, 0),
        ("2024-01-10T22:55", Timeframe.M5, 1),
        ("2024-01-10T23:00", Timeframe.M5, 0),
        ("2024-01-10T20:00", Timeframe.H4, 1),  # reaches over 22:00
        ("2024-01-10T16:00", Timeframe.H4, 0),
        ("2024-01-10T18:00", Timeframe.H4, 0),  # ends with the rollover
        ("2024-01-10T00:00", Timeframe.D1, 1),
    ],
)
def test_a_bar_that_meets_the_rollover_hour(bars_of, time, timeframe, near):
    assert at(bars_of, Rollover(), time, timeframe)[0] == near


def rollover_after(moment):
    """The next 17:00 in New York that is later than a moment."""
    local = moment.astimezone(NEW_YORK)
    day = local.date() + timedelta(days=local.hour >= 17)
    return datetime(day.year, day.month, day.day, 17, tzinfo=NEW_YORK).astimezone(UTC)


def test_days_of_23_and_25_hours_are_divided_exactly(bars_of):
    """Hour by hour over both changes of 2024, on the weekends of symbols that never close."""
    for start in ("2024-03-08T00:00", "2024-11-01T00:00"):
        panel = Panel([bars_of(np.ones(96), start=ns(start))])
        found = Rollover().compute(panel, {})[:, 0]
        for row, time in zip(found, panel.time, strict=True):
            moment = datetime.fromtimestamp(int(time) // 10**9, UTC)
            after = rollover_after(moment)
            local = after.astimezone(NEW_YORK)
            before = (local - timedelta(days=1)).astimezone(UTC)  # on the wall clock
            assert row[0] == (moment.astimezone(NEW_YORK).hour == 17)
            assert row[1] == pytest.approx((after - moment) / (after - before), abs=1e-15)
    assert np.unique(np.round(np.diff(found[:, 1])[np.diff(found[:, 1]) < 0], 6)).tolist() == [
        -0.041667,
        -0.04,
    ]


def test_every_hour_of_two_years_agrees_with_the_zone_database(bars_of):
    start = ns("2023-01-01")
    panel = Panel([bars_of(np.ones(2 * 8766), start=start)])
    weekend, phase, week = (
        feature.compute(panel, {})[:, 0] for feature in (Weekend(), WeekPhase(), WeekRemaining())
    )
    for row, time in enumerate(panel.time):
        local = datetime.fromtimestamp(int(time) // 10**9, UTC).astimezone(NEW_YORK)
        hours = 24 * local.weekday() + local.hour  # since Monday 00:00, as the wall clock has it
        resting = 113 <= hours < 161
        day = (hours + 7) // 24 % 7
        assert weekend[row, 0] == resting
        assert phase[row].argmax() == (0 if day < 2 else 1 if day == 2 else 2)
        left = 120 if resting else (113 - hours) % 168
        assert week[row, 0] == pytest.approx(left / 120)
        assert week[row, 1] == pytest.approx(np.log1p(left - 1 + resting))
    np.testing.assert_array_equal(phase.sum(axis=1), 1.0)


@pytest.mark.parametrize("timeframe", Timeframe)
def test_columns_keep_their_bounds_on_every_timeframe(bars_of, timeframe):
    panel = Panel([bars_of(np.ones(2000), start=ns("2024-02-28T22:01"), timeframe=timeframe)])
    for feature in (Weekend(), WeekPhase(), WeekRemaining(), Rollover()):
        values = feature.compute(panel, {})[:, 0]
        for column, series in zip(feature.columns, values.T, strict=True):
            assert column.low <= series.min() <= series.max() <= column.high, column.name
        np.testing.assert_array_equal(feature.compute(panel, {}, last=7)[:, 0], values[-7:])
