import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.errors import ConfigError, DataError
from mtquant.market.clock import DAY_NS, HOUR_NS, Clock

NAMES = ("utc", "ny+7", "eet", "utc+3", "utc-5", "utc+05:30", "Europe/London", "ny-2")


def ns(*texts: str) -> np.ndarray:
    return np.array(texts, "datetime64[ns]").astype(np.int64)


@pytest.mark.parametrize(
    ("clock", "wall", "utc"),
    [
        ("utc", "2024-07-01T12:00", "2024-07-01T12:00"),
        ("ny+7", "2024-01-15T00:00", "2024-01-14T22:00"),
        ("ny+7", "2024-07-15T00:00", "2024-07-14T21:00"),
        ("eet", "2024-03-20T12:00", "2024-03-20T10:00"),  # between the American and European
        ("ny+7", "2024-03-20T12:00", "2024-03-20T09:00"),  # changes the two differ by an hour
        ("utc-5", "2024-07-15T00:00", "2024-07-15T05:00"),
        ("utc+05:30", "2024-07-15T05:30", "2024-07-15T00:00"),
        ("America/New_York", "2024-07-15T09:30", "2024-07-15T13:30"),
    ],
)
def test_wall_time_and_utc_agree_with_the_zone_tables(clock: str, wall: str, utc: str) -> None:
    parsed = Clock.parse(clock)
    assert parsed.to_utc(ns(wall)) == ns(utc)
    assert parsed.from_utc(ns(utc)) == ns(wall)


@given(
    st.sampled_from(NAMES),
    st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=50, unique=True),
)
def test_from_utc_agrees_with_pandas_and_comes_back(name: str, seconds: list[int]) -> None:
    clock = Clock.parse(name)
    utc = np.sort(np.array(seconds, np.int64)) * 10**9
    wall = clock.from_utc(utc)
    if clock.zone is not None:
        theirs = pd.DatetimeIndex(utc.astype("datetime64[ns]"), tz="UTC").tz_convert(clock.zone)
        naive = theirs.tz_localize(None).as_unit("ns").to_numpy().astype(np.int64)
        assert (naive + clock.shift_ns == wall).all()
    located = clock.locate(wall)
    certain = ~located.ambiguous
    assert not located.missing.any()
    assert (located.utc[certain] == utc[certain]).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_reads_back_as_the_same_clock(name: str) -> None:
    assert Clock.parse(Clock.parse(name).name) == Clock.parse(name)


def test_a_skipped_time_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"2024-03-10 02:30:00 on clock America/New_York"):
        Clock.parse("America/New_York").to_utc(ns("2024-03-10T01:30", "2024-03-10T02:30"))


def test_a_doubled_hour_is_told_apart_by_the_order_of_the_rows() -> None:
    clock = Clock.parse("ny+7")
    utc = ns("2024-11-03T04:30") + np.arange(12) * 30 * 60 * 10**9
    wall = clock.from_utc(utc)
    assert (np.diff(wall) < 0).sum() == 1
    assert (clock.to_utc(wall) == utc).all()


def test_a_lone_doubled_hour_is_refused_not_guessed() -> None:
    clock = Clock.parse("America/New_York")
    wall = ns("2024-11-03T00:00", "2024-11-03T01:00", "2024-11-03T02:00")
    with pytest.raises(DataError, match=r"2024-11-03 01:00:00 .* occurred twice"):
        clock.to_utc(wall)
    assert clock.locate(wall).ambiguous.tolist() == [False, True, False]


def test_broker_days_begin_at_17_00_in_new_york_all_year() -> None:
    clock = Clock.parse("ny+7")
    for day in ("2024-03-08", "2024-03-11", "2024-07-01", "2024-11-04"):
        evening = pd.Timestamp(f"{day} 17:00", tz="America/New_York").value
        before, after = clock.day_number(np.array([evening - 1, evening]))
        assert after == before + 1
        assert clock.from_utc(np.array([evening]))[0] % DAY_NS == 0


@pytest.mark.parametrize(
    ("name", "hint"),
    [("nyy+7", "ny[+]7"), ("Europe/Lundon", "Europe/London"), ("utc+19", "14 hours")],
)
def test_an_unknown_clock_names_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        Clock.parse(name)


def test_fixed_clocks_never_change() -> None:
    clock = Clock.parse("utc+3")
    year = ns("2024-01-01")[0] + np.arange(366) * DAY_NS
    assert set((clock.from_utc(year) - year).tolist()) == {3 * HOUR_NS}
