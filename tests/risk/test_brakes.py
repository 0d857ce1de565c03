from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.market.clock import Clock
from mtquant.risk.breaker import BRAKE_FIELDS, LEVEL_1, LEVEL_2, LEVEL_3, NORMAL, brake, week_of

pytestmark = pytest.mark.nojit

OFF = {"weekly_loss": 1.0, "drawdown": 1.0, "start_loss": 1.0, "losing_run": 0}


def brakes(**changes: float) -> np.void:
    rules = np.zeros(1, np.dtype(BRAKE_FIELDS))
    levels = {f"{name}_level": LEVEL_3 for name in OFF}
    for name, value in {**OFF, **levels, **changes}.items():
        rules[name] = value
    return rules[0]


# Week 1,000, peak 2,000, start 500; eighths are exact in binary.
@pytest.mark.parametrize(
    ("changes", "equity", "run", "level"),
    [
        ({}, 1.0, 99, NORMAL),
        ({"weekly_loss": 0.125}, 875.1, 0, NORMAL),
        ({"weekly_loss": 0.125}, 875.0, 0, LEVEL_3),  # the limit itself trips
        ({"weekly_loss": 0.125, "weekly_loss_level": LEVEL_1}, 875.0, 0, LEVEL_1),
        ({"drawdown": 0.5}, 1_000.1, 0, NORMAL),
        ({"drawdown": 0.5}, 1_000.0, 0, LEVEL_3),
        ({"drawdown": 0.5, "drawdown_level": LEVEL_2}, 1_000.0, 0, LEVEL_2),
        ({"start_loss": 0.25}, 375.1, 0, NORMAL),
        ({"start_loss": 0.25}, 375.0, 0, LEVEL_3),
        ({"losing_run": 3}, 1_000.0, 2, NORMAL),
        ({"losing_run": 3}, 1_000.0, 3, LEVEL_3),
        ({"losing_run": 3, "losing_run_level": LEVEL_2}, 1_000.0, 7, LEVEL_2),
        # the highest counts
        ({"weekly_loss": 0.125, "weekly_loss_level": LEVEL_2, "drawdown": 0.5}, 800.0, 0, LEVEL_3),
        (
            {"drawdown": 0.5, "losing_run": 1, "losing_run_level": LEVEL_1},
            900.0,
            1,
            LEVEL_3,
        ),
    ],
)
def test_brake(changes, equity, run, level):
    assert brake(brakes(**changes), equity, 1_000.0, 2_000.0, 500.0, run) == level


@pytest.mark.parametrize("base", [10_000.0, 20_000.0, 123_456.0])
@pytest.mark.parametrize("name", ["weekly_loss", "drawdown", "start_loss"])
@pytest.mark.parametrize("percent", range(1, 100))
def test_a_loss_that_is_exactly_its_limit_brakes(name, base, percent):
    rules = brakes(**{name: percent / 100})
    left = round(base * (100 - percent)) / 100
    assert brake(rules, left, base, base, base, 0) == LEVEL_3
    assert brake(rules, left + 0.01, base, base, base, 0) == NORMAL, "a cent less does not"


@given(st.integers(-20_000, 60_000))
def test_a_week_is_monday_to_sunday(day):
    """NumPy knows the weekday: weeks change between its Sundays and Mondays alone."""
    date = np.datetime64("1970-01-01", "D") + day
    monday = bool(np.is_busday(date, weekmask=[1, 0, 0, 0, 0, 0, 0]))
    assert (week_of(day) != week_of(day - 1)) == monday


def test_the_week_is_the_brokers():
    """Sunday 2024-03-03 22:00 UTC is Monday midnight on New York plus seven."""
    hour = np.array(["2024-03-03T21:00", "2024-03-03T22:00"], "datetime64[ns]").astype(np.int64)
    days = Clock.parse("ny+7").day_number(hour)
    assert week_of(int(days[1])) == week_of(int(days[0])) + 1
    utc = Clock.parse("utc").day_number(hour)
    assert week_of(int(utc[1])) == week_of(int(utc[0]))
