"""A run under the rules of a challenge: what became of it, and what else could have.

One history ends in one way, and often by luck. Whole broker days of the run are therefore drawn
again in blocks (see :mod:`mtquant.backtest.bootstrap`), each day with the sequence of its bars, so
that daily limits keep their meaning; a drawn path begins flat. The standard errors are those of
drawing alone: that the history itself is one of many is not in them.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np

from mtquant.backtest.bootstrap import PATHS, block_bootstrap, block_length
from mtquant.backtest.challenge import (
    FAILURES,
    STATE,
    Days,
    Outcome,
    judge,
    rules_record,
    split_days,
    walk,
)
from mtquant.backtest.curve import equity_path
from mtquant.backtest.halt import halted_for_good
from mtquant.backtest.report_rows import minute_text
from mtquant.backtest.run import BacktestResult
from mtquant.config.challenge import RuleSet
from mtquant.jit import Structured
from mtquant.market.bars import Float
from mtquant.market.clock import Clock, utc_text
from mtquant.risk.challenge import DAYS, PASSED, UNDECIDED

FEWEST_DAYS = 10
BAR_CLOSES = "Equity is known at bar closes: a limit that was touched inside a bar is not seen."


@dataclass(frozen=True)
class Share:
    """Share of the drawn paths.

    Attributes:
        share: In [0, 1].
        standard_error: Of the drawing.
    """

    share: float
    standard_error: float

    def __str__(self) -> str:
        return f"{self.share:.1%} ± {self.standard_error:.1%}"


@dataclass(frozen=True)
class Odds:
    """How drawn paths ended.

    Attributes:
        paths: How many were drawn.
        days: Broker days of a path that nothing decides earlier.
        history_days: Broker days that they were drawn from.
        block_days: Mean length of a block.
        seed: Of the drawing.
        passed: Paths that passed.
        failed: Paths that failed, by rule; only rules of the set.
        undecided: Paths that came to their end.
        median_days_to_pass: Of those that passed, None where none did.
    """

    paths: int
    days: int
    history_days: int
    block_days: float
    seed: int
    passed: Share
    failed: dict[str, Share]
    undecided: Share
    median_days_to_pass: float | None


@dataclass(frozen=True)
class Challenge:
    """A run under a rule set.

    Attributes:
        name: Of the rule set.
        rules: The rules.
        outcome: Of the run itself.
        time_ns: Open of the bar that decided, or of the last one.
        odds: Of the drawn paths; None where the run is too short to draw from.
    """

    name: str
    rules: RuleSet
    outcome: Outcome
    time_ns: int
    odds: Odds | None

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        outcome = {**asdict(self.outcome), "time": utc_text(self.time_ns)}
        return {
            "name": self.name,
            "rules": self.rules.model_dump(mode="json"),
            "outcome": outcome,
            "odds": None if self.odds is None else asdict(self.odds),
        }

    def sentences(self) -> tuple[str, ...]:
        """The same for a reader."""
        odds = f"Fewer than {FEWEST_DAYS} days of trading: too few to draw other paths from."
        if self.odds is not None:
            odds = _odds_text(self.odds)
        return self._outcome_text(), odds, BAR_CLOSES

    def _outcome_text(self) -> str:
        end = self.outcome
        rule = f" by {end.rule}" if end.rule else ""
        side = "target" if end.rule in (None, FAILURES[DAYS]) else "floor"
        best = end.best_day_share
        return (
            f"Rules {self.name}: {end.verdict}{rule} at the close of the bar of "
            f"{minute_text(self.time_ns)} UTC, day {end.days}: equity {end.equity:,.2f}, {side} "
            f"{end.limit:,.2f}, {end.trading_days} trading days"
            f"{'' if best is None else f', best day {best:.0%} of the profit'}."
        )


def _odds_text(odds: Odds) -> str:
    ends = [f"{rule} fails {share}" for rule, share in odds.failed.items()]
    median = odds.median_days_to_pass
    when = "" if median is None else f", half of these within {median:.0f} days"
    return (
        f"Of {odds.paths:,} paths of {odds.days:,} days, drawn in blocks of "
        f"{odds.block_days:.1f} from {odds.history_days:,} days, {odds.passed} pass{when}; "
        f"{', '.join(ends)}; {odds.undecided} stay undecided."
    )


def take_challenge(
    result: BacktestResult,
    rules: RuleSet,
    name: str,
    *,
    paths: int = PATHS,
    block: float | None = None,
    seed: int = 0,
) -> Challenge:
    """A backtest under a rule set.

    Args:
        result: The run; its account begins the challenge.
        rules: What must be met.
        name: Of the rule set.
        paths: Paths to draw.
        block: Mean days of a block; :func:`days_of_a_block` if omitted.
        seed: Of the drawing.
    """
    ledger = result.ledger
    path = equity_path(ledger)
    # The first symbol's clock is the account's, as for the circuit breaker.
    day = Clock.parse(result.scenario.market.specs[0].clock).day_number(ledger.time_ns)
    traded = ledger.traded_notional > 0.0
    begins = np.flatnonzero(np.diff(day, prepend=day[0] - 1))
    balance = balances(result)[begins]
    outcome = judge(path, day, traded, balance, rules)
    days = split_days(path, day, traded, balance)
    alive = int(np.searchsorted(begins, _last_alive(result), side="right"))
    odds = draw_odds(days, rules, alive, paths=paths, block=block, seed=seed)
    return Challenge(name, rules, outcome, int(ledger.time_ns[outcome.row]), odds)


def balances(result: BacktestResult) -> Float:
    """Balance at the start and at each bar's close, from the deals, ``[T + 1]``."""
    ledger, time = result.ledger, result.scenario.market.panel.time
    booked = np.zeros(len(ledger) + 1)
    booked[0] = ledger.start_equity
    if result.deals:
        rows = np.searchsorted(ledger.time_ns, time[[deal.bar for deal in result.deals]])
        money = [deal.profit + deal.swap - deal.commission for deal in result.deals]
        np.add.at(booked, rows + 1, money)
    return np.cumsum(booked)


def _last_alive(result: BacktestResult) -> int:
    """Last row before a halt for good: the rest of the run is no trading to draw from."""
    ledger = result.ledger
    halted_ns = halted_for_good(ledger)
    if halted_ns is None:
        return len(ledger) - 1
    held = np.flatnonzero((ledger.position_lots != 0.0).any(axis=1))
    halt = int(np.searchsorted(ledger.time_ns, halted_ns))
    return max(halt, int(held[-1]) if held.size else 0)


def days_of_a_block(days: Days, count: int) -> float:
    """Mean block of the first ``count`` days that keeps what they depend on.

    The longer of :func:`mtquant.backtest.bootstrap.block_length` of the days' returns and of their
    sizes: calm and wild days come in spells even where gains and losses do not.
    """
    returns = days.level[days.first[1 : count + 1] - 1] - 1.0
    return max(block_length(returns), block_length(np.abs(returns)))


def draw_odds(
    days: Days,
    rules: RuleSet,
    count: int,
    *,
    paths: int = PATHS,
    length: int | None = None,
    block: float | None = None,
    seed: int = 0,
) -> Odds | None:
    """How paths of drawn days end under a rule set.

    Args:
        days: An account's days.
        rules: What must be met.
        count: Draw from the first so many days.
        paths: Paths to draw.
        length: Days of a path; the rules' ``max_days`` or ``count`` if omitted.
        block: Mean days of a block; :func:`days_of_a_block` if omitted.
        seed: Of the drawing.

    Returns:
        None where there are fewer than :data:`FEWEST_DAYS` days.
    """
    if count < FEWEST_DAYS:
        return None
    horizon = length or rules.max_days or count
    mean_block = days_of_a_block(days, count) if block is None else block
    rng = np.random.default_rng(seed)
    states = np.zeros(paths, STATE)
    done = 0
    for order in block_bootstrap(count, mean_block, paths, rng, length=horizon):
        walk(days, order, rules_record(rules), states[done : done + len(order)])
        done += len(order)
    passing = states["days"][states["code"] == PASSED]
    return Odds(
        paths=paths,
        days=horizon,
        history_days=count,
        block_days=mean_block,
        seed=seed,
        passed=_share(states, PASSED),
        failed={FAILURES[code]: _share(states, code) for code in _codes(rules)},
        undecided=_share(states, UNDECIDED),
        median_days_to_pass=float(np.median(passing)) if passing.size else None,
    )


def _codes(rules: RuleSet) -> list[int]:
    """Codes of the failures that a rule set knows."""
    return [code for code, rule in FAILURES.items() if getattr(rules, rule) is not None]


def _share(states: Structured, code: int) -> Share:
    share = float((states["code"] == code).mean())
    return Share(share, math.sqrt(share * (1.0 - share) / states.size))
