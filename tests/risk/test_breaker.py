from __future__ import annotations

import numpy as np
import pytest

from mtquant.risk.breaker import (
    BREAKER_FIELDS,
    LEVEL_1,
    LEVEL_2,
    LEVEL_3,
    LEVEL_NAMES,
    NORMAL,
    limit,
    next_day,
    size_factor,
    trip,
)

pytestmark = pytest.mark.nojit


def losses() -> np.void:
    rules = np.zeros(1, np.dtype(BREAKER_FIELDS))
    # Eighths are exact in binary, so that a loss can stand exactly on its level.
    for name, value in zip(rules.dtype.names, (0.125, 0.25, 0.5, 0.75), strict=True):
        rules[name] = value
    return rules[0]


@pytest.mark.parametrize(
    ("before", "equity", "after"),
    [
        (NORMAL, 1_200.0, NORMAL),
        (NORMAL, 1_000.0, NORMAL),
        (NORMAL, 875.1, NORMAL),
        (NORMAL, 875.0, LEVEL_1),  # the limit itself trips
        (NORMAL, 750.1, LEVEL_1),
        (NORMAL, 750.0, LEVEL_2),
        (NORMAL, 500.1, LEVEL_2),
        (NORMAL, 500.0, LEVEL_3),
        (NORMAL, 0.0, LEVEL_3),
        (NORMAL, -10.0, LEVEL_3),
        (LEVEL_1, 750.0, LEVEL_2),
        (LEVEL_2, 500.0, LEVEL_3),
        # what has tripped stays tripped
        (LEVEL_1, 1_000.0, LEVEL_1),
        (LEVEL_2, 875.0, LEVEL_2),
        (LEVEL_2, 1_000.0, LEVEL_2),
        (LEVEL_3, 750.0, LEVEL_3),
        (LEVEL_3, 2_000.0, LEVEL_3),
        # and what cannot be known is the worst
        (NORMAL, float("nan"), LEVEL_3),
    ],
)
def test_level_of_a_day_that_began_with_1000(before, equity, after):
    assert trip(losses(), before, 1_000.0, equity) == after


@pytest.mark.parametrize("day_start", [10_000.0, 20_000.0, 50_000.0, 123_456.0])
@pytest.mark.parametrize("percent", range(1, 100))
def test_a_loss_that_is_exactly_its_level_trips_it(day_start, percent):
    """1 - 9,000 / 10,000 comes out below 0.1."""
    rules = losses()
    rules["daily_loss_level_1"] = percent / 100
    rules["daily_loss_level_2"] = rules["daily_loss_level_3"] = 1.0
    left = round(day_start * (100 - percent)) / 100
    assert trip(rules, NORMAL, day_start, left) == LEVEL_1
    assert trip(rules, NORMAL, day_start, left + 0.01) == NORMAL, "a cent less does not"


@pytest.mark.parametrize("day_start", [0.0, -5.0])
def test_a_day_that_began_with_nothing_is_over(day_start):
    assert trip(losses(), NORMAL, day_start, 100.0) == LEVEL_3


@pytest.mark.parametrize(
    ("level", "held", "target", "steps"),
    [
        *[(level, h, t, t) for level in (NORMAL, LEVEL_1) for h, t in ((0, 9), (5, -9), (5, 2))],
        # LEVEL_2: towards zero, never past it
        (LEVEL_2, 5, 2, 2),
        (LEVEL_2, 5, 5, 5),
        (LEVEL_2, 5, 9, 5),
        (LEVEL_2, -5, -9, -5),
        (LEVEL_2, -5, -2, -2),
        (LEVEL_2, 5, -2, 0),
        (LEVEL_2, -5, 2, 0),
        (LEVEL_2, 0, 9, 0),
        (LEVEL_2, 0, -9, 0),
        (LEVEL_2, 5, 0, 0),
        # LEVEL_3: zero, whatever is asked
        (LEVEL_3, 5, 5, 0),
        (LEVEL_3, -5, -2, 0),
        (LEVEL_3, 0, 9, 0),
    ],
)
def test_what_a_level_allows(level, held, target, steps):
    assert limit(level, held, target) == steps


def test_only_level_1_shrinks_the_size():
    assert [size_factor(losses(), level) for level in range(4)] == [1.0, 0.75, 1.0, 1.0]


def test_a_new_day_forgives_all_but_level_3():
    assert [next_day(level) for level in range(4)] == [NORMAL, NORMAL, NORMAL, LEVEL_3]
    assert LEVEL_NAMES[LEVEL_3] == "LEVEL_3"
