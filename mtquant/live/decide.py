"""Strategy: from closed bars and the account's record to targets, a pure function.

No clock, disk or broker: the same bars and record give the same decision. The numbers go the way
they went in training: the same pipeline, the same columns of a tape, the same kernel for marking,
sizing, gates and breaker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtquant.agents.base import Agent, Float32
from mtquant.config.assemble import contracts_of, market_of, warm_up
from mtquant.config.schema import EnvConfig
from mtquant.features.observed import observed_features
from mtquant.features.pipeline import FittedPipeline
from mtquant.live.record import AccountRecord, BrokerBalance, bring_forward, record_of
from mtquant.market.bars import Bars
from mtquant.market.panel import Panel
from mtquant.market.symbols import SymbolSpec
from mtquant.risk.breaker import LEVEL_2, LEVEL_NAMES, limit
from mtquant.risk.checks import REASONS
from mtquant.sim.account import (
    Book,
    Tape,
    account_features,
)
from mtquant.sim.kernel import decide
from mtquant.sim.simulator import account_feature_names
from mtquant.sim.tape import broker_days, rules_row


@dataclass(frozen=True)
class Guard:
    """Why a symbol may not be traded freely now.

    Attributes:
        reason: For journal and console.
        frozen: Nothing may be sent at all; otherwise only reductions.
    """

    reason: str
    frozen: bool


@dataclass(frozen=True)
class Decision:
    """What was decided for one symbol at the close of one bar.

    Attributes:
        symbol: Standard name.
        bar_time_ns: Open of the bar, ns UTC.
        action: What the agent answered.
        held: Signed lot steps held.
        target: Signed lot steps to hold.
        reason: Why the target is what it is.
        reason_code: Of :mod:`mtquant.risk.checks`.
    """

    symbol: str
    bar_time_ns: int
    action: float
    held: int
    target: int
    reason: str
    reason_code: int


@dataclass(frozen=True)
class Outlook:
    """All that one bar led to.

    Attributes:
        record: The account at its close.
        decisions: One per symbol.
        level: Name of the breaker's level.
        price: Bid close of each symbol.
        agent_state: To hand to the next call.
    """

    record: AccountRecord
    decisions: tuple[Decision, ...]
    level: str
    price: tuple[float, ...]
    agent_state: Any


class Strategy:
    """An agent with all that it was trained under."""

    def __init__(
        self,
        agent: Agent,
        pipeline: FittedPipeline,
        env: EnvConfig,
        specs: Sequence[SymbolSpec],
        context_specs: Sequence[SymbolSpec] = (),
    ) -> None:
        """Fix what does not change from bar to bar.

        Args:
            agent: Who decides.
            pipeline: Fitted on the training split.
            env: Account, sizing, costs and limits.
            specs: One per symbol of the env, in its order.
            context_specs: One per symbol that the features read besides.
        """
        self.agent = agent
        self.pipeline = pipeline
        self.env = env
        self.specs = tuple(specs)
        self.context_specs = tuple(context_specs)
        self._contracts = contracts_of(env, specs)
        self._rules = rules_row(env.rules(reward_scale=1.0))

    @property
    def bars_needed(self) -> int:
        """Closed bars of each symbol that a decision reads."""
        return warm_up(self.pipeline, self.env) + self.agent.window - 1

    def decide(
        self,
        bars: Sequence[Bars],
        record: AccountRecord | None,
        found: BrokerBalance,
        guards: Sequence[Guard | None],
        agent_state: Any = None,
        context: Sequence[Bars] = (),
    ) -> Outlook:
        """Decide at the close of the newest bar.

        Args:
            bars: The newest closed bars of each symbol, at least ``bars_needed``.
            record: The account at the last decision.
            found: Where the broker stands now.
            guards: Per symbol what stands against trading, or None.
            agent_state: From the last outlook.
            context: Bars that the features read besides, one per symbol of ``context_specs``.
        """
        panel = Panel(bars, context)
        tape, rows = self._tape(panel, record)
        book = bring_forward(record, found, tape, rows)
        observation = self._observe(book, tape, rows[-1], panel)
        if np.isfinite(observation).all():
            action, agent_state = self.agent.predict(observation, agent_state, deterministic=True)
        else:
            action = np.full(len(self.specs), np.nan, np.float32)
        actions = np.asarray(action, np.float32).reshape(len(self.specs))
        bar_time_ns = int(panel.time[-1])
        decisions = tuple(
            self._decide_symbol(book, tape, rows[-1], s, actions, guards[s], bar_time_ns)
            for s in range(len(self.specs))
        )
        # Only now: what a guard holds back leaves no more room to the symbols decided after it.
        book.positions["target"][0] = [decision.target for decision in decisions]
        return Outlook(
            record=record_of(book, bar_time_ns, found),
            decisions=decisions,
            level=LEVEL_NAMES[int(book.account["level"][0])],
            price=tuple(float(one.close[-1]) for one in bars),
            agent_state=agent_state,
        )

    def _tape(self, panel: Panel, record: AccountRecord | None) -> tuple[Tape, list[int]]:
        """The newest bars as the kernel reads them, and the rows closed since the record."""
        missed = 1
        if record is not None:
            missed = max(int(np.sum(panel.time > record.bar_time_ns)), 1)
        # The ATR of the newest row reads atr_bars + 1 bars; older rows are only marked.
        enough = self.env.sizing.atr_bars + missed
        recent = Panel([bars[-enough - 1 :] for bars in panel.bars])
        tape = Tape(
            market=market_of(self.env, recent, self.specs),
            day=broker_days(recent, self.specs[0]),
            features=np.zeros((len(recent), 0), np.float32),
            contracts=self._contracts,
            rules=self._rules,
        )
        return tape, list(range(len(recent) - missed, len(recent)))

    def _observe(self, book: Book, tape: Tape, t: int, panel: Panel) -> Float32:
        """Features, then the account: float32 ``[O]``."""
        market = observed_features(self.agent, self.pipeline, panel, last=1)
        width = market.shape[1]
        symbols = tuple(spec.name for spec in self.specs)
        account = len(account_feature_names(symbols, self.env.reward.differential))
        observation = np.empty((1, width + account), np.float32)
        observation[:, :width] = market
        account_features(book, tape, 0, t, observation, width)
        row: Float32 = observation[0]
        return row

    def _decide_symbol(
        self,
        book: Book,
        tape: Tape,
        t: int,
        s: int,
        actions: Float32,
        guard: Guard | None,
        bar_time_ns: int,
    ) -> Decision:
        held = int(book.positions["steps"][0, s])
        target = int(decide(book, tape, 0, s, t, actions[s]))
        code = int(book.positions["reason"][0, s])
        reason = REASONS[code]
        if guard is not None:
            guarded = held if guard.frozen else int(limit(LEVEL_2, held, target))
            if guarded != target:
                target, reason = guarded, guard.reason
        return Decision(
            self.specs[s].name, bar_time_ns, float(actions[s]), held, target, reason, code
        )
