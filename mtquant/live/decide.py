"""Strategy: from closed bars and the account's record to targets, a pure function.

No clock, disk or broker: the same bars and record give the same decision. The numbers go the way
they went in training: the same pipeline, the same columns of a tape, the same kernel for marking,
sizing, gates and breaker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mtquant.agents.base import Agent, Float32
from mtquant.config.assemble import contracts_of, correlation_of, look_back, market_of, warm_up
from mtquant.config.schema import EnvConfig
from mtquant.features.observed import observed_features
from mtquant.features.pipeline import FittedPipeline
from mtquant.jit import Structured
from mtquant.live.answer import Answer, no_answer, sound
from mtquant.live.decision import Decision, Guard
from mtquant.live.forward import bring_forward
from mtquant.live.found import BrokerBalance
from mtquant.live.levels import close_passed
from mtquant.live.memory import Memory
from mtquant.live.record import AccountRecord, record_of
from mtquant.market.bars import Bars
from mtquant.market.panel import Panel
from mtquant.market.symbols import SymbolSpec
from mtquant.risk.breaker import LEVEL_NAMES
from mtquant.risk.gates import read_gates
from mtquant.risk.reasons import ALLOWED, MAX_HOLDING, REASONS, TOO_MANY_TICKETS
from mtquant.risk.verdict import PreTradeChecker
from mtquant.sim.account import MOST_TICKETS, Book, Tape
from mtquant.sim.decisions import decide, decide_all
from mtquant.sim.facts import tally
from mtquant.sim.observation import account_feature_names, account_features
from mtquant.sim.tape import broker_days, rules_row


@dataclass(frozen=True)
class Outlook:
    """All that one bar led to.

    Attributes:
        record: The account at its close.
        decisions: One per symbol.
        level: Name of the breaker's level.
        price: Bid close of each symbol.
        step_value: Of one lot step at that price, account currency.
        faults: What the model was given or gave that no decision may rest on, in words.
    """

    record: AccountRecord
    decisions: tuple[Decision, ...]
    level: str
    price: tuple[float, ...]
    step_value: tuple[float, ...] = ()
    faults: tuple[str, ...] = ()


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
        self._memory = Memory.of(agent)
        self._contracts = contracts_of(env, specs)
        self._rules, self._gates = rules_row(env.rules(reward_scale=1.0)), env.limits.gates()

    @property
    def managed(self) -> bool:
        """Whether it protects its positions by stops or targets."""
        return bool(self._rules["managed"][0])

    @cached_property
    def bars_needed(self) -> int:
        """Closed bars of each symbol that a decision reads."""
        return warm_up(self.pipeline, self.env) + self.agent.window - 1

    @property
    def bars_kept(self) -> int:
        """Closed bars of each symbol from which a lost memory can be rebuilt, too."""
        return self.bars_needed + self._memory.burn_in

    @cached_property
    def _checker(self) -> PreTradeChecker:
        return PreTradeChecker(self._rules[0], self._gates)

    def decide(
        self,
        bars: Sequence[Bars],
        record: AccountRecord | None,
        found: BrokerBalance,
        guards: Sequence[Guard | None],
        context: Sequence[Bars] = (),
        quotes: Sequence[tuple[int, int] | None] = (),
    ) -> Outlook:
        """Decide at the close of the newest bar.

        Args:
            bars: The newest closed bars of each symbol, at least ``bars_needed``, better
                ``bars_kept``.
            record: The account at the last decision.
            found: Where the broker stands now.
            guards: Per symbol what stands against trading, or None.
            context: Bars that the features read besides, one per symbol of ``context_specs``.
            quotes: Per symbol bid and ask now in ticks; None, or none at all, where no stop is
                to be held against them.
        """
        panel = Panel(bars, context)
        tape, rows, opens_ns = self._tape(panel, record)
        book = bring_forward(record, found, tape, rows, opens_ns)
        before_ns = int(panel.time[-2]) if len(panel) > 1 else None
        state = self._memory.recalled(record, before_ns)
        lost = record is not None and state is None
        earlier = self._bars_to_recall(panel) if lost else 0
        seen = self._observe(book, tape, rows[-1], panel, earlier)
        answer, state = self._predict(seen, state, book.positions[0])
        bar_time_ns, actions = int(panel.time[-1]), answer.actions
        checks = self._objections(book, tape, rows[-1], actions, bars)
        decide_all(book, tape, 0, rows[-1], actions[None])
        close_passed(book, found, guards, quotes)
        decisions = tuple(
            self._decision(book, found, s, answer, guards[s], bar_time_ns, checks[s])
            for s in range(len(self.specs))
        )
        # Only now: what a guard holds back leaves no more room to the symbols decided after it.
        book.positions["target"][0] = [decision.target for decision in decisions]
        return Outlook(
            record=record_of(book, bar_time_ns, found, self._memory.stored(state)),
            decisions=decisions,
            level=LEVEL_NAMES[int(book.account["level"][0])],
            price=tuple(float(one.close[-1]) for one in bars),
            step_value=_step_value(tape, rows[-1]),
            faults=answer.faults,
        )

    def step_value(self, bars: Sequence[Bars]) -> tuple[float, ...]:
        """Of one lot step of each symbol at its newest closed bar, account currency."""
        tape, rows, _ = self._tape(Panel(bars), None)
        return _step_value(tape, rows[-1])

    def _bars_to_recall(self, panel: Panel) -> int:
        """Closed bars before the newest from which the memory is rebuilt."""
        held = min(len(bars) for bars in panel.bars)
        return max(min(self._memory.burn_in, held - self.bars_needed), 0)

    def _predict(
        self, seen: Float32, state: Float32 | None, positions: Structured
    ) -> tuple[Answer, Float32 | None]:
        """The answer to the newest observation, and the memory after it.

        What is not finite is not shown: the memory would never lose it again.
        """
        answer = no_answer(len(self.specs), "the observation is not finite")
        for n, observation in enumerate(seen):
            if not np.isfinite(observation).all():
                continue
            said, state = self.agent.predict(observation, state, deterministic=True)
            if n == len(seen) - 1:
                answer = sound(said, positions, self._rules[0])
        return answer, state

    def _tape(
        self, panel: Panel, record: AccountRecord | None
    ) -> tuple[Tape, list[int], npt.NDArray[np.int64]]:
        """The newest bars as the kernel reads them, the rows closed since the record, all opens."""
        missed = 1
        if record is not None:
            missed = max(int(np.sum(panel.time > record.bar_time_ns)), 1)
        # The newest row reads this many bars; older rows are only marked.
        enough = look_back(self.env) + missed
        recent = Panel([bars[-enough - 1 :] for bars in panel.bars])
        market = market_of(self.env, recent, self.specs)
        tape = Tape(
            market=market,
            day=broker_days(recent, self.specs[0]),
            features=np.zeros((len(recent), 0), np.float32),
            contracts=self._contracts,
            rules=self._rules,
            correlation=correlation_of(self.env, market),
        )
        return tape, list(range(len(recent) - missed, len(recent))), recent.time

    def _observe(self, book: Book, tape: Tape, t: int, panel: Panel, earlier: int) -> Float32:
        """The newest observation and ``earlier`` ones, oldest first: float32 ``[earlier + 1, O]``.

        Features, then the account. What the account was at earlier bars nobody has kept; it is
        shown as it stands now.
        """
        market = observed_features(self.agent, self.pipeline, panel, last=earlier + 1)
        width = market.shape[1]
        symbols = tuple(spec.name for spec in self.specs)
        account = len(account_feature_names(symbols, self.env.reward.differential))
        seen = np.empty((earlier + 1, width + account), np.float32)
        seen[:, :width] = market
        account_features(book, tape, 0, t, seen, width)
        seen[1:, width:] = seen[0, width:]
        return seen

    def _objections(
        self, book: Book, tape: Tape, t: int, actions: Float32, bars: Sequence[Bars]
    ) -> list[str]:
        """What the pre-trade checks find against each symbol's order, in words; decides nothing."""
        trial, told = book.copy(), list[str]()
        tally(trial, tape, 0, t)
        for s in range(len(self.specs)):
            trial.orders[0] = 0
            decide(trial, tape, 0, s, t, actions[s])
            told.append(self._objection(trial, s, bars[s], tape.market["volume"][t, s : s + 1]))
        return told

    def _objection(self, book: Book, s: int, bars: Bars, average_volume: Float32) -> str:
        """What they find against the order of the symbol that was decided last."""
        order, overdue = book.orders[0], book.positions["reason"][0, s] == MAX_HOLDING
        if order["target"] == order["held"] and not overdue:
            return ""
        volume = average_volume.astype(np.float64)
        read = read_gates(self._gates, bars, self.specs[s], volume)
        verdict = self._checker.check(order, read)
        told = any(finding.outcome not in ("off", "pass") for finding in verdict.findings)
        return str(verdict) if told else ""

    def _decision(
        self,
        book: Book,
        found: BrokerBalance,
        s: int,
        answer: Answer,
        guard: Guard | None,
        bar_time_ns: int,
        checks: str,
    ) -> Decision:
        position = book.positions[0, s]
        held, target, code = (int(position[name]) for name in ("steps", "target", "reason"))
        reason = answer.reason if answer.reason and code == ALLOWED else REASONS[code]
        full = len(found.positions[s].tickets) >= MOST_TICKETS
        if guard is None and full and held * target > held * held:
            guard = Guard(REASONS[TOO_MANY_TICKETS], frozen=False)
        if guard is not None:
            guarded = guard.allowed(held, target)
            if guarded != target:
                target, reason = guarded, guard.reason
        return Decision(
            self.specs[s].name,
            bar_time_ns,
            float(answer.actions[s]),
            held,
            target,
            reason,
            code,
            checks,
            stop_distance=int(position["stop_distance"]),
            take_distance=int(position["take_distance"]),
        )


def _step_value(tape: Tape, t: int) -> tuple[float, ...]:
    return tuple((tape.market["close"] * tape.market["value"])[t].tolist())
