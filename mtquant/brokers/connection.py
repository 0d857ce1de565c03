"""One account of a pool: its connection, its health, and what became of its reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from mtquant.brokers.accounts import AccountEntry
from mtquant.brokers.reading import Reads
from mtquant.errors import BrokerUnavailable, ConfigError, MTQuantError, RiskHalt
from mtquant.market.clock import SECOND_NS

T = TypeVar("T")

CHECK_EVERY_NS = 30 * SECOND_NS
_MILLISECOND_NS = 10**6


@dataclass(frozen=True)
class Health:
    """What the last check of an account found.

    Attributes:
        account: Its name.
        up: Whether it answered, connected and as the right account.
        at_ns: When, ns UTC; 0 before the first check.
        latency_ms: Round trip of one read, milliseconds; 0 where there was no answer.
        problem: Why it is not up, else "".
        repairable: Whether it may come up by itself; a wrong account or entry does not.
    """

    account: str
    up: bool = False
    at_ns: int = 0
    latency_ms: float = 0.0
    problem: str = "not checked yet"
    repairable: bool = True


@dataclass(frozen=True)
class Statistics:
    """An account since the pool began.

    Attributes:
        checks: Health checks.
        failed_checks: Of them, those that found it down.
        reads: Reads that were asked of it.
        failed_reads: Of them, those without an answer after all retries.
        connects: How often a connection was opened.
        up_ns: Time between two checks, the first of which found it up.
        known_ns: Time between the first check and the last.
        latency_sum_ms: Of the checks that found it up.
        latency_max_ms: The longest.
    """

    checks: int = 0
    failed_checks: int = 0
    reads: int = 0
    failed_reads: int = 0
    connects: int = 0
    up_ns: int = 0
    known_ns: int = 0
    latency_sum_ms: float = 0.0
    latency_max_ms: float = 0.0

    @property
    def uptime(self) -> float:
        """Share of the known time in which it was up; NaN before two checks."""
        return self.up_ns / self.known_ns if self.known_ns else float("nan")

    @property
    def latency_mean_ms(self) -> float:
        """Mean latency; NaN before the first good check."""
        good = self.checks - self.failed_checks
        return self.latency_sum_ms / good if good else float("nan")


class AccountConnection:
    """An account that is connected when first needed, and again after it was lost.

    Attributes:
        entry: The account.
        health: As last checked.
        statistics: So far.
    """

    def __init__(
        self, entry: AccountEntry, open_reads: Callable[[], Reads], now_ns: Callable[[], int]
    ) -> None:
        """Do not connect yet.

        Args:
            entry: The account.
            open_reads: Connects and verifies it.
            now_ns: A clock, ns UTC.
        """
        self.entry = entry
        self.health = Health(entry.name)
        self.statistics = Statistics()
        self._open = open_reads
        self._now_ns = now_ns
        self._reads: Reads | None = None

    def due(self) -> bool:
        """Whether the last check is 30 s old or there was none."""
        return not self.health.at_ns or self._now_ns() - self.health.at_ns >= CHECK_EVERY_NS

    def check(self) -> Health:
        """Ask terminal and account, connecting first where needed; never raises for the answer."""
        before, begun = self.health, self._now_ns()
        try:
            latency = self._round_trip()
            self.health = Health(self.entry.name, True, self._now_ns(), latency, "")
        except (BrokerUnavailable, RiskHalt) as problem:
            self._lost(problem, self._now_ns())
        self._count_check(before, begun)
        return self.health

    def read(self, ask: Callable[[Reads], T]) -> T:
        """The answer to one read.

        Raises:
            BrokerUnavailable: There was none, after all retries, or it is not the right account;
                it counts as down.
            ConfigError: What was asked for does not exist there.
        """
        counts = self.statistics
        self.statistics = replace(counts, reads=counts.reads + 1)
        try:
            return ask(self._connected())
        except (BrokerUnavailable, RiskHalt) as problem:
            counts = self.statistics
            self.statistics = replace(counts, failed_reads=counts.failed_reads + 1)
            self._lost(problem, self.health.at_ns)
            raise BrokerUnavailable(str(problem)) from None

    def close(self) -> None:
        """Disconnect."""
        self._drop()

    def _connected(self) -> Reads:
        if self._reads is None:
            try:
                self._reads = self._open()
            except ConfigError as problem:  # of the entry, not of what is asked for
                raise RiskHalt(str(problem)) from None
            counts = self.statistics
            self.statistics = replace(counts, connects=counts.connects + 1)
        return self._reads

    def _round_trip(self) -> float:
        reads = self._connected()
        if not reads.terminal().connected:
            raise BrokerUnavailable(
                f"account '{self.entry.name}': the terminal has lost its server; wait"
            )
        self.entry.refuse_another(reads.account())
        return reads.round_trip_ns / _MILLISECOND_NS

    def _lost(self, problem: MTQuantError, at_ns: int) -> None:
        self._drop()
        repairable = isinstance(problem, BrokerUnavailable)
        self.health = Health(
            self.entry.name, at_ns=at_ns, problem=str(problem), repairable=repairable
        )

    def _drop(self) -> None:
        if self._reads is not None:
            self._reads.close()
            self._reads = None

    def _count_check(self, before: Health, begun_ns: int) -> None:
        counts, now = self.statistics, self.health
        passed = begun_ns - before.at_ns if before.at_ns else 0
        self.statistics = replace(
            counts,
            checks=counts.checks + 1,
            failed_checks=counts.failed_checks + (not now.up),
            known_ns=counts.known_ns + passed,
            up_ns=counts.up_ns + (passed if before.up else 0),
            latency_sum_ms=counts.latency_sum_ms + now.latency_ms,
            latency_max_ms=max(counts.latency_max_ms, now.latency_ms),
        )
