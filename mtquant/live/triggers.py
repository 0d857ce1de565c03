"""Triggers: what makes the kill switch fall by itself; only a person arms it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite

from mtquant.config.live import LiveLimits
from mtquant.live.desk import Desk
from mtquant.live.journal import Journal
from mtquant.live.kill_switch import Form, KillSwitch
from mtquant.live.reconcile import Findings
from mtquant.market.clock import DAY_NS, HOUR_NS, SECOND_NS


@dataclass
class Triggers:
    """Of one runner.

    Attributes:
        switch: What falls.
        journal: Whose counts begin anew when somebody arms the switch.
        limits: What makes it fall.
        desk: What all strategies of the account come to, for limits bind their sum.
        tag: The strategy's, see :mod:`mtquant.live.intents`.
        monotonic_ns: A clock that nobody sets, for time-outs.
    """

    switch: KillSwitch
    journal: Journal
    limits: LiveLimits
    desk: Desk
    tag: int
    monotonic_ns: Callable[[], int]
    _answered_ns: int | None = field(default=None, init=False)

    def started(self, now_ns: int) -> None:
        """Judge how often it has started of late."""
        counts = self.journal.counts  # which begin anew when somebody arms the switch
        starts = counts.starts_since(max(now_ns - HOUR_NS, counts.armed_since(now_ns)))
        if starts > self.limits.starts_per_hour:
            self.switch.kill(Form.REDUCE, f"{starts} starts within an hour")

    def unanswered(self) -> None:
        """The terminal did not answer."""
        now = self.monotonic_ns()
        if self._answered_ns is None:
            self._answered_ns = now
        silent = (now - self._answered_ns) / SECOND_NS
        if silent >= self.limits.connection_lost_seconds:
            self._fall(f"no connection for {silent:.0f} s")

    def found(self, findings: Findings, now_ns: int) -> None:
        """Judge what reconciliation has found."""
        self._answered_ns = self.monotonic_ns()
        limits = self.limits
        if findings.split:
            self.switch.kill(Form.HARD, findings.split)
        if findings.foreign and limits.on_foreign == "halt":
            self.switch.kill(Form.REDUCE, "; ".join(findings.foreign))
        if not isfinite(findings.account.equity):
            self._fall("the account's equity is unknown")
        if self.desk.sent_within(DAY_NS, now_ns) >= limits.orders_per_day:
            self._fall(f"{limits.orders_per_day} orders within a day")
        if self.desk.executed_within(DAY_NS, now_ns) >= limits.executions_per_day:
            self._fall(f"{limits.executions_per_day} trades within a day")

    def valued(self, findings: Findings, step_value: Sequence[float]) -> None:
        """Judge what is held, at account currency per lot step of each symbol."""
        held = [position.steps for position in findings.balance.positions]
        own = sum(abs(steps) * one for steps, one in zip(held, step_value, strict=True))
        value = own + self.desk.others(self.tag).held_value
        if not value <= self.limits.max_position_value:
            self._fall(f"positions are worth {value:,.0f}")

    def _fall(self, reason: str) -> None:
        self.switch.kill(Form[self.limits.on_trigger.upper()], reason)
