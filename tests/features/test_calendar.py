from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from mtquant.features.calendar import Hour, Session, Weekday
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
