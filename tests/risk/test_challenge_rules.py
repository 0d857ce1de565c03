"""A challenge's floors and its end, each against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.config.challenge import RuleSet
from mtquant.risk.challenge import (
    CHALLENGE_FIELDS,
    DAILY_LOSS,
    DAYS,
    DRAWDOWN,
    NO_FLOOR,
    PASSED,
    UNDECIDED,
    challenge_end,
    daily_floor,
    total_floor,
)

pytestmark = pytest.mark.nojit

START = 1_000.0


def record(margin: float = 0.0, **rules: object) -> np.void:
    """The kernel's record of a rule set; a target of 10 % and a total loss of 50 % by default."""
    whole = {"profit_target": 0.10, "max_drawdown": {"fraction": 0.5}, **rules}
    row = np.zeros(1, np.dtype(CHALLENGE_FIELDS))
    for name, value in RuleSet.model_validate(whole).numbers(margin).items():
        row[name] = value
    return row[0]


# The day began with equity 1,050 and a balance of 1,100.
@pytest.mark.parametrize(
    ("daily", "margin", "floor"),
    [
        (None, 0.0, NO_FLOOR),
        ({"fraction": 0.04}, 0.0, 1_008.0),  # 1,050 - 42
        ({"fraction": 0.04, "measured_from": "balance"}, 0.0, 1_056.0),  # 1,100 - 44
        ({"fraction": 0.04, "measured_from": "higher"}, 0.0, 1_056.0),
        ({"fraction": 0.04, "fraction_of": "start"}, 0.0, 1_010.0),  # 1,050 - 40
        (
            {"fraction": 0.04, "measured_from": "balance", "fraction_of": "start"},
            0.0,
            1_060.0,
        ),
        ({"fraction": 0.04}, 0.25, 1_018.5),  # 1,050 - 0.75 * 42
    ],
)
def test_the_floor_of_a_day(daily, margin, floor):
    rules = record(margin, max_daily_loss=daily)
    assert daily_floor(rules, START, 1_050.0, 1_100.0) == pytest.approx(floor)


def test_the_higher_of_the_two_may_be_the_equity():
    rules = record(max_daily_loss={"fraction": 0.04, "measured_from": "higher"})
    assert daily_floor(rules, START, 1_100.0, 1_050.0) == pytest.approx(1_056.0)


TRAILING = {"fraction": 0.06, "kind": "trailing"}


@pytest.mark.parametrize(
    ("drawdown", "margin", "high", "floor"),
    [
        ({"fraction": 0.06}, 0.0, 1_200.0, 940.0),  # stands still
        (TRAILING, 0.0, 1_200.0, 1_140.0),  # 1,200 - 60
        (TRAILING | {"fraction_of": "high_water"}, 0.0, 1_200.0, 1_128.0),  # 1,200 * 0.94
        (TRAILING | {"locks_at_start": True}, 0.0, 1_040.0, 980.0),
        (TRAILING | {"locks_at_start": True}, 0.0, 1_200.0, 1_000.0),
        ({"fraction": 0.06}, 0.5, 1_200.0, 970.0),  # 1,000 - 30
        (TRAILING, 0.5, 1_200.0, 1_170.0),
        # The cushion outlasts the lock: half of 60 above the start.
        (TRAILING | {"locks_at_start": True}, 0.5, 1_200.0, 1_030.0),
    ],
)
def test_the_floor_of_the_challenge(drawdown, margin, high, floor):
    assert total_floor(record(margin, max_drawdown=drawdown), START, high) == pytest.approx(floor)


BOTH = {"max_daily_loss": {"fraction": 0.05}, "max_drawdown": {"fraction": 0.10}}


@pytest.mark.parametrize(
    ("rules", "margin", "equity", "day_start", "days", "end"),
    [
        ({}, 0.0, 1_099.99, 1_000.0, 9, UNDECIDED),
        ({}, 0.0, 1_100.0, 1_000.0, 9, PASSED),
        ({}, 0.5, 1_099.99, 1_000.0, 9, UNDECIDED),  # the cushion is of the losses alone
        ({}, 0.0, 500.01, 1_000.0, 9, UNDECIDED),
        ({}, 0.0, 500.0, 1_000.0, 9, DRAWDOWN),  # to touch is to break
        (BOTH, 0.0, 950.0, 1_000.0, 1, DAILY_LOSS),
        (BOTH, 0.0, 950.01, 1_000.0, 1, UNDECIDED),
        (BOTH, 0.2, 960.0, 1_000.0, 1, DAILY_LOSS),  # 80 % of 5 %
        (BOTH, 0.2, 960.01, 1_000.0, 1, UNDECIDED),
        (BOTH, 0.2, 920.0, 940.0, 1, DRAWDOWN),  # 80 % of 10 %; the day's floor is 902.40
        (BOTH, 0.0, 880.0, 1_000.0, 1, DAILY_LOSS),  # through 950 before 900
        (BOTH, 0.0, 880.0, 940.0, 1, DRAWDOWN),  # through 900 before 893
        ({"max_days": 3}, 0.0, 1_000.0, 1_000.0, 3, UNDECIDED),
        ({"max_days": 3}, 0.0, 1_000.0, 1_000.0, 4, DAYS),
        ({"max_days": 3}, 0.0, 2_000.0, 1_000.0, 4, DAYS),  # too late
        ({"min_trading_days": 5, "consistency": 0.2}, 0.0, 1_100.0, 1_000.0, 1, PASSED),
    ],
)
def test_what_ends_a_challenge(rules, margin, equity, day_start, days, end):
    made = record(margin, **rules)
    assert challenge_end(made, START, equity, day_start, day_start, START, days) == end


def test_a_cent_is_told_from_the_noise_of_its_fractions():
    """1,021 less 8 % comes out as 939.3199999999999: at 939.32 it is touched all the same."""
    rules = record(max_daily_loss={"fraction": 0.08})
    assert 1_021.0 - 0.08 * 1_021.0 < 939.32
    assert challenge_end(rules, START, 939.32, 1_021.0, 1_021.0, START, 1) == DAILY_LOSS
    assert challenge_end(rules, START, 939.33, 1_021.0, 1_021.0, START, 1) == UNDECIDED
