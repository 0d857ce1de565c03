"""Lock: what the breaker's trips mean now, and how a person takes one back.

A trip stands until its cooldown is over *and* somebody, by name and for a reason, resets it
(LEVEL_1 and LEVEL_2 also end with the broker's day, where no brake holds them). Everything here is
pure: the journalled events and the present time go in, a status or a refusal comes out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mtquant.config.rules import BreakerConfig
from mtquant.errors import ConfigError, RiskHalt
from mtquant.live.record import AccountRecord
from mtquant.market.clock import utc_text
from mtquant.market.timeframe import MINUTE_NS
from mtquant.risk.breaker import LEVEL_2, LEVEL_3, LEVEL_NAMES, NORMAL, next_day
from mtquant.risk.challenge import (
    CHALLENGE_FIELDS,
    DAILY_LOSS,
    DAYS,
    DRAWDOWN,
    PASSED,
    UNDECIDED,
    challenge_end,
)

#: By level; too many failed orders count as LEVEL_2.
ALERTS = ("NONE", "WARNING", "HIGH", "CRITICAL")
ENDS = {
    PASSED: "the challenge's profit target is reached",
    DAILY_LOSS: "the challenge's max_daily_loss",
    DRAWDOWN: "the challenge's max_drawdown",
    DAYS: "the challenge's max_days are over",
}


@dataclass(frozen=True)
class Trip:
    """A rise of the breaker's level.

    Attributes:
        level: The new one.
        bar_time_ns: Open of the bar at whose close it rose, ns UTC.
        at_ns: When the runner saw it, on the runner's clock.
        equity: At that close, account currency.
        cause: Which limits were passed, by how much.
    """

    level: int
    bar_time_ns: int
    at_ns: int
    equity: float
    cause: str

    @property
    def words(self) -> str:
        """Alert, level and cause in one line."""
        return f"{ALERTS[self.level]} {LEVEL_NAMES[self.level]}: {self.cause}"


@dataclass(frozen=True)
class Reset:
    """A person's decision that trading begins anew.

    Attributes:
        at_ns: When, on the runner's clock.
        person: Who answers for it.
        reason: Why.
        bar_time_ns: Open of the bar at whose close it took effect; None while it waits for one.
        number: Its place in the journal, 0 before it stands there.
    """

    at_ns: int
    person: str
    reason: str
    bar_time_ns: int | None = None
    number: int = 0


@dataclass(frozen=True)
class BreakerStatus:
    """Where the breaker stands.

    Attributes:
        level: At the newest journalled bar.
        triggered_at_ns: When the trip that stands was seen; None where none stands.
        cause: Of that trip.
        minutes_since: Since it was seen, on the clock of the journal; 0 where none stands.
        cooldown_minutes: How many must pass before a reset.
        can_reset: Whether a person may reset it now.
        can_trade: Whether the breaker allows positions to grow.
        alert: One of :data:`ALERTS`.
        failed_orders: Orders that failed, or whose outcome was unknown, within the window.
        reset_by: Who has reset it, where that waits for the next bar.
    """

    level: int
    triggered_at_ns: int | None
    cause: str
    minutes_since: float
    cooldown_minutes: float
    can_reset: bool
    can_trade: bool
    alert: str
    failed_orders: int = 0
    reset_by: str = ""


def too_many(failed_orders: int, rules: BreakerConfig) -> bool:
    """Whether so many orders failed within the window that only reductions are sent."""
    return 0 < rules.max_errors <= failed_orders


def waiting_reset(events: Sequence[Trip | Reset]) -> Reset | None:
    """The reset that takes effect at the next bar.

    A trip that came after a reset is one that the person has not seen: it voids the reset.

    Args:
        events: As journalled, oldest first; the newest is enough.
    """
    newest = events[-1] if events else None
    return newest if isinstance(newest, Reset) and newest.bar_time_ns is None else None


def breaker_status(
    level: int,
    events: Sequence[Trip | Reset],
    failed_orders: int,
    rules: BreakerConfig,
    now_ns: int,
) -> BreakerStatus:
    """The status at one instant.

    Args:
        level: At the newest journalled bar.
        events: As journalled, oldest first.
        failed_orders: Within the last ``rules.error_bars`` bars.
        rules: Cooldown and error limit.
        now_ns: The present on the clock that the events were written with, ns UTC.
    """
    trips = [event for event in events if isinstance(event, Trip)] if level > NORMAL else []
    trip, waiting = (trips[-1] if trips else None), waiting_reset(events)
    minutes = 0.0 if trip is None else max(now_ns - trip.at_ns, 0) / MINUTE_NS
    failing = too_many(failed_orders, rules)
    return BreakerStatus(
        level=level,
        triggered_at_ns=None if trip is None else trip.at_ns,
        cause="" if trip is None else trip.cause,
        minutes_since=minutes,
        cooldown_minutes=rules.cooldown_minutes,
        can_reset=trip is not None and waiting is None and minutes >= rules.cooldown_minutes,
        can_trade=level < LEVEL_2 and not failing,
        alert=ALERTS[max(level, LEVEL_2) if failing else level],
        failed_orders=failed_orders,
        reset_by="" if waiting is None else waiting.person,
    )


def reset(status: BreakerStatus, now_ns: int, person: str, reason: str) -> Reset:
    """A reset to journal.

    Args:
        status: At ``now_ns``.
        now_ns: The present on the journal's clock, ns UTC.
        person: Who answers for it.
        reason: Why trading may begin anew.

    Raises:
        ConfigError: Nobody is named, no reason is given, or there is nothing to reset.
        RiskHalt: The cooldown is not over.
    """
    who, why = " ".join(person.split()), " ".join(reason.split())
    if not who:
        raise ConfigError("a reset without a name is refused; say who answers for it")
    if not why:
        raise ConfigError("a reset without a reason is refused; say why trading may begin anew")
    if status.level == NORMAL or status.triggered_at_ns is None:
        raise ConfigError(f"the breaker is at {LEVEL_NAMES[status.level]}; nothing is to be reset")
    if status.reset_by:
        raise ConfigError(
            f"{status.reset_by} has reset the breaker already; it takes effect at the next bar"
        )
    if not status.can_reset:
        over = status.triggered_at_ns + int(status.cooldown_minutes * MINUTE_NS)
        raise RiskHalt(
            f"{LEVEL_NAMES[status.level]} tripped {int(status.minutes_since)} minutes ago and its "
            f"cooldown is {status.cooldown_minutes:g} minutes; reset it from {utc_text(over)} on"
        )
    return Reset(now_ns, who, why)


def trip_of(
    before: AccountRecord | None,
    now: AccountRecord,
    limits: BreakerConfig,
    stopped_out: bool,
    now_ns: int,
) -> Trip | None:
    """The trip of a bar, or None where the level did not rise.

    Args:
        before: The account at the last journalled bar, after a reset where one took effect.
        now: The account at this bar.
        limits: What it was judged by.
        stopped_out: Whether the broker closed positions for lack of margin.
        now_ns: The present on the runner's clock, ns UTC.
    """
    began = NORMAL if before is None else before.level
    if before is not None and before.day != now.day:
        began = int(next_day(before.level))
    if now.level <= began:
        return None
    cause = _cause(now, limits, stopped_out)
    return Trip(now.level, now.bar_time_ns, now_ns, now.equity, cause)


def _cause(account: AccountRecord, limits: BreakerConfig, stopped_out: bool) -> str:
    """Why the level is what it is; the comparisons are those of :mod:`mtquant.risk.breaker`."""
    if stopped_out:
        return "the broker closed positions for lack of margin"
    if not (account.equity > 0.0 and account.day_start > 0.0):
        return f"equity is {account.equity:,.2f}, {account.day_start:,.2f} at the day's start"
    found = [words for level, words in _passed(account, limits) if level == account.level]
    return "; ".join(found) or "a limit was passed in bars that were missed"


def _passed(account: AccountRecord, limits: BreakerConfig) -> Iterator[tuple[int, str]]:
    """``(level, words)`` of each limit that is passed."""
    equity, memory = account.equity, account.memory
    week, start = memory["week_start"], memory["start_equity"]
    daily = 1.0 - equity / account.day_start
    for level, limit in enumerate(limits.daily_loss, start=1):
        if daily >= limit:
            yield level, f"daily loss {daily:.2%} (limit {limit:.2%})"
    for what, base, limit, level in (
        ("weekly loss", week, limits.weekly_loss, limits.weekly_loss_level),
        ("fall from the peak", account.peak, limits.drawdown, limits.drawdown_level),
        ("loss since the start", start, limits.start_loss, limits.start_loss_level),
    ):
        if base - equity >= limit * base:
            yield level, f"{what} {1.0 - equity / base:.2%} (limit {limit:.2%})"
    run = int(memory["losing_run"])
    if 0 < limits.losing_run <= run:
        yield limits.losing_run_level, f"{run} losses in a row (limit {limits.losing_run})"
    end = _challenge_end(account, limits)
    if end != UNDECIDED:
        yield LEVEL_3, ENDS[end]


def _challenge_end(account: AccountRecord, limits: BreakerConfig) -> int:
    """How the bar has ended the challenge, if there is one and it has."""
    if limits.rules is None:
        return UNDECIDED
    rules = np.zeros(1, CHALLENGE_FIELDS)
    for name, value in limits.rules.numbers(limits.rules_margin).items():
        rules[name] = value
    memory = account.memory
    return challenge_end(
        rules[0],
        memory["start_equity"],
        account.equity,
        account.day_start,
        memory["day_balance"],
        memory["challenge_high"],
        int(memory["challenge_days"]),
    )
