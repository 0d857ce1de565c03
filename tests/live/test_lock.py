"""The lock, pure: what trips mean, what a reset needs, and what it does to a record."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mtquant.config.rules import BreakerConfig
from mtquant.errors import ConfigError, RiskHalt
from mtquant.live.breaker_log import KEPT
from mtquant.live.lock import Reset, Trip, breaker_status, reset, trip_of, waiting_reset
from mtquant.live.record import AccountRecord, rearmed
from mtquant.risk.breaker import LEVEL_1, LEVEL_2, LEVEL_3, NORMAL

MINUTE = 60 * 10**9
NOON = 1_704_196_800 * 10**9  # 2024-01-02 12:00 UTC
HOUR = 60 * MINUTE
LIMITS = BreakerConfig()
MEMORY = {"week_start": 10_000.0, "start_equity": 10_000.0, "losing_run": 0}
RECORD = AccountRecord(NOON, 8_990.0, 8_990.0, 12_000.0, 10_000.0, 19_724, 2, (), MEMORY)
LOCKED = Trip(LEVEL_3, NOON, NOON + HOUR, 8_400.0, "daily loss 16.00% (limit 15.00%)")
ANN = Reset(NOON + 3 * HOUR, "Ann", "feed repaired")


@pytest.mark.parametrize(
    ("level", "minutes", "failed", "events", "told"),
    [
        (NORMAL, 90, 0, [], (None, 0.0, False, True, "NONE")),
        (NORMAL, 90, 2, [LOCKED, replace(ANN, bar_time_ns=1)], (None, 0.0, False, True, "NONE")),
        (NORMAL, 90, 3, [], (None, 0.0, False, False, "HIGH")),
        (LEVEL_1, 12, 0, [replace(LOCKED, level=1)], (1, 12.0, False, True, "WARNING")),
        (LEVEL_2, 60, 0, [replace(LOCKED, level=2)], (1, 60.0, True, False, "HIGH")),
        (LEVEL_3, 59.5, 0, [LOCKED], (1, 59.5, False, False, "CRITICAL")),
        (LEVEL_3, 60, 9, [LOCKED], (1, 60.0, True, False, "CRITICAL")),
        (LEVEL_3, 90, 0, [LOCKED, ANN], (1, 90.0, False, False, "CRITICAL")),
        (LEVEL_3, 90, 0, [ANN, LOCKED], (1, 90.0, True, False, "CRITICAL")),
        (LEVEL_3, -5, 0, [LOCKED], (1, 0.0, False, False, "CRITICAL")),
    ],
)
def test_a_status_by_hand(level, minutes, failed, events, told):
    now = LOCKED.at_ns + int(minutes * MINUTE)
    status = breaker_status(level, events, failed, LIMITS, now)
    at, since, can_reset, can_trade, alert = told
    assert status.triggered_at_ns == (at and LOCKED.at_ns)
    assert (status.minutes_since, status.alert) == (since, alert)
    assert (status.can_reset, status.can_trade) == (can_reset, can_trade)
    assert status.cause == (LOCKED.cause if at else "")
    assert (status.failed_orders, status.cooldown_minutes) == (failed, 60.0)


def test_the_newest_trip_counts_and_a_longer_cooldown_is_kept():
    events = [replace(LOCKED, level=LEVEL_1, at_ns=NOON, cause="less"), LOCKED]
    rules = BreakerConfig(cooldown_minutes=90, max_errors=0)
    status = breaker_status(LEVEL_3, events, 99, rules, LOCKED.at_ns + 89 * MINUTE)
    assert (status.cause, status.can_reset) == (LOCKED.cause, False)
    assert breaker_status(LEVEL_3, events, 99, rules, LOCKED.at_ns + 90 * MINUTE).can_reset


def test_a_reset_keeps_its_words():
    status = breaker_status(LEVEL_3, [LOCKED], 0, LIMITS, LOCKED.at_ns + HOUR)
    made = reset(status, LOCKED.at_ns + HOUR, " Ann  Lee ", "feed\nrepaired")
    assert made == Reset(LOCKED.at_ns + HOUR, "Ann Lee", "feed repaired")


@pytest.mark.parametrize(
    ("level", "minutes", "events", "person", "reason", "error", "told"),
    [
        (3, 59.99, [LOCKED], "Ann", "ok", RiskHalt, "59 minutes ago and its cooldown is 60"),
        (3, 59.99, [LOCKED], "Ann", "ok", RiskHalt, "reset it from 2024-01-02T14:00:00Z on"),
        (3, 90, [LOCKED], " ", "ok", ConfigError, "without a name"),
        (3, 90, [LOCKED], "Ann", "\n", ConfigError, "without a reason"),
        (0, 90, [LOCKED], "Ann", "ok", ConfigError, "at NORMAL; nothing"),
        (3, 90, [LOCKED, ANN], "Bob", "ok", ConfigError, "Ann has reset the breaker already"),
    ],
)
def test_what_a_reset_is_refused_for(level, minutes, events, person, reason, error, told):
    now = LOCKED.at_ns + int(minutes * MINUTE)
    status = breaker_status(level, events, 0, LIMITS, now)
    with pytest.raises(error, match=told):
        reset(status, now, person, reason)


def test_a_trip_voids_the_reset_before_it():
    assert waiting_reset([]) is None
    assert waiting_reset([LOCKED, ANN]) == ANN
    assert waiting_reset([ANN, LOCKED]) is None
    assert waiting_reset([LOCKED, replace(ANN, bar_time_ns=NOON)]) is None


BRAKES = BreakerConfig(
    weekly_loss=0.08,
    weekly_loss_level=2,
    drawdown=0.25,
    start_loss=0.10,
    start_loss_level=2,
    losing_run=4,
    losing_run_level=1,
)


@pytest.mark.parametrize(
    ("limits", "changes", "memory", "cause"),
    [
        (LIMITS, {}, {}, "daily loss 10.10% (limit 10.00%)"),
        (LIMITS, {"equity": 9_480.0, "level": 1}, {}, "daily loss 5.20% (limit 5.00%)"),
        (LIMITS, {"equity": 8_000.0, "level": 3}, {}, "daily loss 20.00% (limit 15.00%)"),
        (BRAKES, {"day_start": 9_100.0}, {}, "weekly loss 10.10% (limit 8.00%)|loss since the sta"),
        (BRAKES, {"day_start": 9e3, "level": 3}, {}, "fall from the peak 25.08% (limit 25.00%)"),
        (BRAKES, {"day_start": 9e3, "level": 1}, {"losing_run": 5}, "5 losses in a row (limit 4)"),
        (LIMITS, {"equity": -3.0, "level": 3}, {}, "equity is -3.00"),
        (LIMITS, {"day_start": 9_000.0, "level": 3}, {}, "a limit was passed in bars that were"),
    ],
)
def test_a_trip_tells_its_cause(limits, changes, memory, cause):
    now = replace(RECORD, **changes, memory={**MEMORY, **memory})
    trip = trip_of(replace(RECORD, level=NORMAL), now, limits, False, NOON + HOUR)
    first, *others = trip.cause.split("; ")
    wanted, *more = cause.split("|")
    assert first.startswith(wanted) and len(others) == len(more)
    assert (trip.level, trip.equity) == (now.level, now.equity)
    assert (trip.bar_time_ns, trip.at_ns) == (NOON, NOON + HOUR)


@pytest.mark.parametrize(
    ("before", "level", "new_day", "trips"),
    [
        (NORMAL, LEVEL_1, False, True),
        (LEVEL_1, LEVEL_1, False, False),
        (LEVEL_1, LEVEL_3, False, True),
        (LEVEL_2, LEVEL_1, True, True),  # a new day began at NORMAL
        (LEVEL_1, NORMAL, True, False),
        (LEVEL_3, LEVEL_3, True, False),  # a new day does not end it
    ],
)
def test_only_a_rise_is_a_trip(before, level, new_day, trips):
    earlier = replace(RECORD, level=before, day=RECORD.day - new_day)
    trip = trip_of(earlier, replace(RECORD, level=level), LIMITS, False, NOON)
    assert (trip is not None) == trips


def test_a_stop_out_is_named():
    trip = trip_of(None, replace(RECORD, level=LEVEL_3), LIMITS, True, NOON)
    assert trip.cause == "the broker closed positions for lack of margin"
    assert trip.words == f"CRITICAL LEVEL_3: {trip.cause}"


# The day's balance was 10,000, the start 9,900 and the highest day's end 10,200.
STATIC = {"fraction": 0.1}
OF_DAYS = {"fraction": 0.05, "kind": "trailing", "high_water": "day_end"}


@pytest.mark.parametrize(
    ("rules", "margin", "equity", "days", "cause"),
    [
        ({"max_daily_loss": {"fraction": 0.03}}, 0.0, 9_700.0, 1, "max_daily_loss"),
        ({"max_drawdown": OF_DAYS}, 0.0, 9_705.0, 1, "max_drawdown"),  # 10,200 - 495
        ({"max_drawdown": OF_DAYS}, 0.2, 9_804.0, 1, "max_drawdown"),  # 10,200 - 396
        ({}, 0.0, 10_890.0, 1, "profit target is reached"),
        ({"max_days": 5}, 0.0, 10_000.0, 6, "max_days are over"),
    ],
)
def test_what_ended_a_challenge_is_named(rules, margin, equity, days, cause):
    whole = {"profit_target": 0.1, "max_drawdown": STATIC, **rules}
    limits = BreakerConfig.model_validate({"rules": whole, "rules_margin": margin})
    marks = {"day_balance": 10_000.0, "challenge_high": 10_200.0, "challenge_days": days}
    memory = {"week_start": 9_900.0, "start_equity": 9_900.0, "losing_run": 0, **marks}
    now = replace(RECORD, level=LEVEL_3, equity=equity, peak=10_900.0, memory=memory)
    assert trip_of(None, now, limits, False, NOON).cause == f"the challenge's {cause}"
    nothing = replace(now, equity=9_900.0, memory=memory | {"challenge_days": 1})
    assert "missed" in trip_of(None, nothing, limits, False, NOON).cause


def test_a_rearmed_record_counts_from_its_equity():
    memory = {"week_start": 1.0, "start_equity": 2.0, "losing_run": 7, "wins": 5, "gain_sum": 3.5}
    again = rearmed(replace(RECORD, memory=memory))
    memory = {"week_start": 8990, "start_equity": 8990, "losing_run": 0, "wins": 5, "gain_sum": 3.5}
    memory |= {"day_balance": 8990, "challenge_high": 8990, "challenge_days": 0}
    assert again == AccountRecord(NOON, 8990, 8990, 8990, 8990, 19_724, NORMAL, (), memory)


def test_cooldown_and_errors_are_no_rules_of_the_kernel():
    assert not set(KEPT) & set(LIMITS.kernel_rules())
    others = BreakerConfig(cooldown_minutes=5, max_errors=9, error_bars=9)
    assert LIMITS.kernel_rules() == others.kernel_rules()
