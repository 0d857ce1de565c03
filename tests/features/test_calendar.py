from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from mtquant.features.calendar import Hour, Session, TimeWindow, Weekday
from mtquant.market.panel import Panel


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def at(bars_of, feature, text):
    panel = Panel([bars_of([1.0], start=ns(text))])
    return feature.compute(panel, {})[0, 0]


def test_hour_is_a_point_on_a_circle(bars_of):
    np.testing.assert_allclose(at(bars_of, Hour(), "2024-01-03T00:00"), [0.0, 1.0], atol=1e-15)
    np.testing.assert_allclose(at(bars_of, Hour(), "2024-01-03T06:00"), [1.0, 0.0], atol=1e-15)
    half = np.sqrt(0.5)
    before_epoch = at(bars_of, Hour(), "1969-12-31T16:30")
    np.testing.assert_allclose(before_epoch, [-0.923880, -0.382683], atol=1e-6)
    np.testing.assert_allclose(at(bars_of, Hour(), "2024-01-03T03:00"), [half, half])


def test_weekday_begins_with_monday_and_holds_all_day(bars_of):
    np.testing.assert_allclose(at(bars_of, Weekday(), "2024-01-01T23:00"), [0.0, 1.0], atol=1e-15)
    friday = 2 * np.pi * 4 / 7
    expected = [np.sin(friday), np.cos(friday)]
    np.testing.assert_allclose(at(bars_of, Weekday(), "2024-01-05T00:00"), expected)
    np.testing.assert_allclose(at(bars_of, Weekday(), "2024-01-05T22:00"), expected)


@pytest.mark.parametrize(
    ("time", "asia", "london", "new_york"),
    [
        ("2024-01-03T00:00", 1, 0, 0),
        ("2024-01-03T08:00", 1, 1, 0),  # winter in London: 08:00
        ("2024-07-03T07:00", 1, 1, 0),  # summer: 07:00 UTC is 08:00
        ("2024-07-03T06:00", 1, 0, 0),
        ("2024-01-03T09:00", 0, 1, 0),
        ("2024-01-03T12:00", 0, 1, 0),
        ("2024-01-03T13:00", 0, 1, 1),
        ("2024-01-03T17:00", 0, 0, 1),
        # 10 to 31 March 2024: New York has changed, London has not.
        ("2024-03-08T12:00", 0, 1, 0),
        ("2024-03-11T12:00", 0, 1, 1),
        ("2024-03-11T16:00", 0, 1, 1),
        ("2024-03-11T07:00", 1, 0, 0),
        ("2024-04-01T07:00", 1, 1, 0),
        ("2024-04-01T16:00", 0, 0, 1),
        # 27 October to 3 November 2024: London has changed back, New York has not.
        ("2024-10-30T12:00", 0, 1, 1),
        ("2024-10-30T07:00", 1, 0, 0),
        ("2024-10-30T21:00", 0, 0, 0),
        ("2024-11-04T21:00", 0, 0, 1),
        ("2024-01-06T13:00", 0, 0, 0),  # Saturday
        ("2024-01-07T23:00", 0, 0, 0),  # Sunday in London, 08:00 on Monday in Tokyo
        ("2024-01-08T00:00", 1, 0, 0),
    ],
)
def test_sessions_follow_each_citys_clock(bars_of, time, asia, london, new_york):
    expected = [asia, london, new_york, london * new_york]
    np.testing.assert_array_equal(at(bars_of, Session(), time), expected)


def test_sessions_agree_with_the_zone_database_hour_by_hour(bars_of):
    start = ns("2021-01-01")
    flags = Session().compute(Panel([bars_of(np.ones(3 * 8766), start=start)]), {})[:, 0]
    hours = {"Asia/Tokyo": (9, 18), "Europe/London": (8, 17), "America/New_York": (8, 17)}
    for k, (zone, (first, end)) in enumerate(hours.items()):
        info = ZoneInfo(zone)
        moments = (
            datetime.fromtimestamp(start // 10**9 + 3600 * h, UTC) for h in range(len(flags))
        )
        local = [moment.astimezone(info) for moment in moments]
        expected = [first <= m.hour < end and m.weekday() < 5 for m in local]
        np.testing.assert_array_equal(flags[:, k], expected, err_msg=zone)
    np.testing.assert_array_equal(flags[:, 3], flags[:, 1] * flags[:, 2])


OPEN, MID, CLOSE, DEAD = range(4)


@pytest.mark.parametrize(
    ("time", "window"),
    [
        ("2024-01-03T07:59", MID),  # winter: London is on UTC, New York five hours behind
        ("2024-01-03T08:00", OPEN),
        ("2024-01-03T09:59", OPEN),
        ("2024-01-03T10:00", MID),
        ("2024-01-03T12:59", MID),
        ("2024-01-03T13:00", OPEN),
        ("2024-01-03T14:59", OPEN),
        ("2024-01-03T15:00", MID),
        ("2024-01-03T19:59", MID),
        ("2024-01-03T20:00", CLOSE),
        ("2024-01-03T21:59", CLOSE),
        ("2024-01-03T22:00", DEAD),
        ("2024-01-03T23:59", DEAD),
        ("2024-01-04T00:00", MID),  # Tokyo is at work, also while it is evening in New York
        ("2024-07-03T07:00", OPEN),  # summer in both
        ("2024-07-03T09:00", MID),
        ("2024-07-03T19:00", CLOSE),
        ("2024-07-03T21:00", DEAD),
        ("2024-07-03T23:59", DEAD),
        ("2024-07-04T00:00", MID),
        # 10 to 31 March 2024: New York has changed, London has not.
        ("2024-03-08T20:00", CLOSE),
        ("2024-03-11T07:00", MID),
        ("2024-03-11T08:00", OPEN),
        ("2024-03-11T12:00", OPEN),
        ("2024-03-11T14:00", MID),
        ("2024-03-11T20:59", CLOSE),
        ("2024-03-11T21:00", DEAD),
        ("2024-04-01T07:00", OPEN),
        # 27 October to 3 November 2024: London has changed back, New York has not.
        ("2024-10-25T07:00", OPEN),
        ("2024-10-28T07:00", MID),
        ("2024-10-28T12:00", OPEN),
        ("2024-10-28T21:00", DEAD),
        ("2024-11-04T12:00", MID),
        ("2024-11-04T21:00", CLOSE),
        ("2024-01-05T21:00", CLOSE),  # Friday
        ("2024-01-05T22:00", DEAD),  # and from there to Monday in Tokyo
        ("2024-01-06T03:00", DEAD),
        ("2024-01-06T13:00", DEAD),
        ("2024-01-07T20:00", DEAD),
        ("2024-01-07T23:00", DEAD),
        ("2024-01-08T00:00", MID),
    ],
)
def test_windows_of_the_day(bars_of, time, window):
    np.testing.assert_array_equal(at(bars_of, TimeWindow(), time), np.arange(4) == window)


def window_by_the_zone_database(moment):
    tokyo, london, york = (
        moment.astimezone(ZoneInfo(zone))
        for zone in ("Asia/Tokyo", "Europe/London", "America/New_York")
    )
    begins = (london, york)
    if any(city.weekday() < 5 and city.hour in (8, 9) for city in begins):
        return OPEN
    if york.weekday() < 5 and york.hour in (15, 16):
        return CLOSE
    if york.weekday() < 5 and york.hour < 17:
        return MID
    return MID if tokyo.weekday() < 5 and tokyo.hour >= 9 else DEAD


def test_one_window_holds_at_every_hour_of_two_years(bars_of):
    start = ns("2023-01-01")
    flags = TimeWindow().compute(Panel([bars_of(np.ones(2 * 8766), start=start)]), {})[:, 0]
    np.testing.assert_array_equal(flags.sum(axis=1), 1.0)
    moments = (datetime.fromtimestamp(start // 10**9 + 3600 * h, UTC) for h in range(len(flags)))
    expected = [window_by_the_zone_database(moment) for moment in moments]
    np.testing.assert_array_equal(flags.argmax(axis=1), expected)
