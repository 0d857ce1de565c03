"""C6: the server's offset is measured, is the symbol's clock, and changes by an hour in season."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from mtquant.brokers.reading import Pace, Reads
from mtquant.brokers.server_clock import ServerClock, measure, offset_text
from mtquant.errors import RiskHalt
from mtquant.market.clock import HOUR_NS, SECOND_NS, Clock
from mtquant.market.timeframe import MINUTE_NS

EU, US = "Europe/Berlin", "America/New_York"
NEXT = {EU: 1, US: -5}  # winter offsets, hours


def clock_of(zone: str | None, winter_hours: int) -> Clock:
    """A clock with the seasons of a zone (None: no seasons) and that offset in winter."""
    shift = winter_hours - (0 if zone is None else NEXT[zone])
    return Clock(f"{zone} winter {winter_hours:+d}", zone, shift * HOUR_NS)


def true_offset(zone: str | None, winter_hours: int, at: datetime) -> timedelta:
    """What the server shows, told by the standard library and not by our tables."""
    if zone is None:
        return timedelta(hours=winter_hours)
    season = at.astimezone(ZoneInfo(zone)).dst()
    assert season is not None
    return timedelta(hours=winter_hours) + season


def season_changes(zone: str) -> list[datetime]:
    """Every change from 2015 to 2035, to the hour."""
    hour, found = timedelta(hours=1), list[datetime]()
    for n in range((datetime(2036, 1, 1) - datetime(2015, 1, 1)).days):
        day = datetime(2015, 1, 1, tzinfo=UTC) + n * 24 * hour
        if true_offset(zone, 0, day) != true_offset(zone, 0, day + 24 * hour):
            hours = [day + k * hour for k in range(25)]
            offsets = [true_offset(zone, 0, at) for at in hours]
            found += [hours[k] for k in range(1, 25) if offsets[k] != offsets[k - 1]]
    return found


CHANGES = {zone: season_changes(zone) for zone in (EU, US)}


def epoch_ns(moment: datetime) -> int:
    return round(moment.timestamp()) * SECOND_NS


def looks(
    start: datetime, hours: float, every_s: float, rng: np.random.Generator
) -> Iterator[datetime]:
    at = start
    while at < start + timedelta(hours=hours):
        yield at
        at += timedelta(seconds=every_s * rng.uniform(0.5, 1.5))


def shown(at: datetime, offset: timedelta, rng: np.random.Generator, skew_s: float = 0.0) -> int:
    """Server seconds of a tick that is at most half a minute old."""
    return int((at + offset).timestamp() - rng.uniform(0.0, 30.0) + skew_s)


@pytest.mark.parametrize("winter_hours", [0, 1, 2, 3])
@pytest.mark.parametrize("zone", [EU, US, None], ids=str)
def test_C6_every_change_of_season_is_followed(zone, winter_hours):
    rng = np.random.default_rng(winter_hours)
    server = ServerClock(clock_of(zone, winter_hours))
    changes = CHANGES[zone or EU]
    assert len(changes) == 42
    for change in changes:
        measured = 0
        for at in looks(change - timedelta(hours=30), 60, 80 * 60, rng):
            # The feed is looked at twice within a minute, as a loop does.
            for later in (at, at + timedelta(seconds=45)):
                offset = true_offset(zone, winter_hours, later)
                found = server.observe(shown(later, offset, rng), epoch_ns(later))
                assert found in (None, offset // timedelta(microseconds=1) * 1000)
                measured += found is not None
        assert measured > 30


@pytest.mark.parametrize("winter_hours", [0, 1, 2, 3])
def test_C6_a_server_with_other_seasons_is_found_out_within_a_day(winter_hours):
    """The symbol's file says New York, the server keeps Europe's seasons."""
    rng = np.random.default_rng(winter_hours)
    for change in CHANGES[EU]:
        if change.month != 3:
            continue
        # Between the two changes in March the file's clock is an hour ahead of the server's.
        start = change - timedelta(days=10)
        server = ServerClock(clock_of(US, winter_hours))
        with pytest.raises(RiskHalt, match="correct 'clock' of the broker's symbols"):
            for at in looks(start, 1, 45, rng):
                offset = true_offset(EU, winter_hours, at)
                server.observe(shown(at, offset, rng), epoch_ns(at))


SUMMER = datetime(2024, 7, 3, 12, tzinfo=UTC)
AUTUMN = datetime(2024, 11, 3, 6, tzinfo=UTC)  # New York goes back


def follow(server: ServerClock, start: datetime, offset_h: float, minutes: float = 10) -> list:
    rng = np.random.default_rng(1)
    return [
        server.observe(shown(at, timedelta(hours=offset_h), rng), epoch_ns(at))
        for at in looks(start, minutes / 60, 45, rng)
    ]


@pytest.mark.parametrize("jump", [-2.0, -1.0, -0.5, 0.25, 1.0, 2.0, 5.0])
def test_C6_a_change_out_of_season_halts(jump):
    server = ServerClock(Clock.parse("ny+7"))
    assert follow(server, SUMMER, 3)[-1] == 3 * HOUR_NS
    with pytest.raises(RiskHalt):
        follow(server, SUMMER + timedelta(minutes=11), 3 + jump)


@pytest.mark.parametrize("jump", [-2.0, -0.5, 0.5, 1.0])
def test_C6_a_change_in_season_is_one_hour_and_the_right_way(jump):
    server = ServerClock(Clock.parse("ny+7"))
    follow(server, AUTUMN - timedelta(minutes=30), 3)
    with pytest.raises(RiskHalt):
        follow(server, AUTUMN, 3 + jump)
    server = ServerClock(Clock.parse("ny+7"))
    follow(server, AUTUMN - timedelta(minutes=30), 3)
    assert follow(server, AUTUMN, 2)[-1] == 2 * HOUR_NS


def test_C6_an_offset_that_flickers_after_the_season_halts():
    """Two days after the change there is one answer left."""
    server = ServerClock(Clock.parse("ny+7"))
    follow(server, AUTUMN, 2)
    with pytest.raises(RiskHalt):
        follow(server, AUTUMN + timedelta(days=2), 3)


@pytest.mark.parametrize(("hours", "told"), [(15, "outside UTC-12 to UTC"), (40, "outside UTC-12")])
def test_C6_an_impossible_offset_halts_at_the_first_look(hours, told):
    with pytest.raises(RiskHalt, match=told):
        follow(ServerClock(Clock.parse("utc+3")), SUMMER, hours, 0.5)


def test_C6_an_offset_below_the_range_halts_once_the_feed_moves():
    """A first tick that old may be of last week; a second one is new."""
    server = ServerClock(Clock.parse("utc+3"))
    assert follow(server, SUMMER, -13, 0.5) == [None]
    with pytest.raises(RiskHalt, match="outside UTC-12 to UTC"):
        follow(server, SUMMER + timedelta(minutes=1), -13)


def test_a_feed_that_stands_still_tells_nothing():
    server = ServerClock(Clock.parse("ny+7"))
    friday = int((SUMMER + timedelta(hours=3)).timestamp())
    for hours in range(0, 60):
        at = epoch_ns(SUMMER + timedelta(hours=hours))
        assert server.observe(friday, at) == (3 * HOUR_NS if hours == 0 else None)
    assert server.measured is not None and server.measured.at_ns == epoch_ns(SUMMER)


def test_a_tick_of_an_hour_ago_is_not_taken_for_another_offset():
    server = ServerClock(Clock.parse("ny+7"))
    hour_old = int((SUMMER + timedelta(hours=2)).timestamp())
    assert server.observe(hour_old, epoch_ns(SUMMER)) is None


@pytest.mark.parametrize("wrong_s", [-7 * 60, -4 * 60, 4 * 60, 7 * 60])
def test_a_machine_whose_own_clock_is_wrong_is_told(wrong_s):
    server = ServerClock(Clock.parse("utc+3"))
    rng = np.random.default_rng(0)
    with pytest.raises(RiskHalt, match="or this machine's clock"):
        for at in looks(SUMMER, 0.2, 30, rng):
            server.observe(shown(at, timedelta(hours=3), rng, wrong_s), epoch_ns(at))


def test_a_machine_that_is_a_minute_off_is_no_reason_to_stop():
    for wrong_s in (-60, 60):
        server = ServerClock(Clock.parse("utc+3"))
        rng = np.random.default_rng(0)
        for at in looks(SUMMER, 0.2, 30, rng):
            server.observe(shown(at, timedelta(hours=3), rng, wrong_s), epoch_ns(at))
        assert server.measured is not None and server.measured.offset_ns == 3 * HOUR_NS


def test_seldom_looks_measure_by_young_ticks_alone():
    """An hourly loop cannot bound a tick's age, but a tick of this minute confirms the clock."""
    server = ServerClock(Clock.parse("ny+7"))
    found = [follow(server, SUMMER + timedelta(hours=h), 3, 0.5)[0] for h in range(5)]
    assert found == [3 * HOUR_NS] * 5


@pytest.mark.parametrize("clock", ["utc", "ny+7", "eet", "utc+3"])
def test_a_terminals_clock_is_measured(make, clock):
    terminal = make([1.0, 1.1, 1.2], clock=clock, start="2024-03-27T12:00")
    terminal.initialize()
    waited: list[float] = []
    pace = Pace(lambda: terminal.now_ns() + MINUTE_NS, waited.append)
    right = ServerClock(Clock.parse(clock))
    expected = int(right.clock.from_utc(np.array([terminal.now_ns()]))[0]) - terminal.now_ns()
    assert measure(right, Reads(terminal, pace), "TOY.x") == expected
    assert 1.0 not in waited, "the first look told"
    late = Pace(lambda: terminal.now_ns() + HOUR_NS, waited.append)
    assert measure(ServerClock(Clock.parse(clock)), Reads(terminal, late), "TOY.x") is None
    assert waited.count(1.0) == 3


def test_offsets_are_written_as_people_do():
    assert [offset_text(m * MINUTE_NS) for m in (0, 330, -150, 180)] == [
        "UTC+0",
        "UTC+5:30",
        "UTC-2:30",
        "UTC+3",
    ]


@pytest.mark.parametrize("none", [0, -5, None])
@pytest.mark.parametrize("first", [True, False])
def test_a_tick_without_a_time_is_no_tick(none, first):
    server, now = ServerClock(Clock.parse("utc")), 1_760_000_000
    seen = []
    for second in range(0, 20, 5):
        if (second == 0) is first or second == 10:
            assert server.observe(none, (now + second) * SECOND_NS) is None
        seen.append(server.observe(now + second, (now + second) * SECOND_NS))
    assert seen == [0] * 4
