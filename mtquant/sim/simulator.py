"""Simulator: lanes of accounts over a tape, the core object under every env and backtest.

Where it has several tapes, each episode of a lane is played on one that the lane has drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mtquant.errors import ConfigError
from mtquant.jit import resolved
from mtquant.sim.account import Tape, empty_book, rearm
from mtquant.sim.custom_reward import CustomReward, Payer
from mtquant.sim.episodes import (
    draw_tape,
    observe,
    open_account,
    reset_batch,
    step_batch,
    step_one,
)
from mtquant.sim.observation import account_feature_names
from mtquant.sim.randomness import seed_lanes
from mtquant.sim.reward import CUSTOM
from mtquant.sim.summary import EpisodeSummary, summarise
from mtquant.sim.target import Target, ask

Observations = npt.NDArray[np.float32]
# As objects, because numpy takes longer to look a type up than to make a small array of it.
FLOAT32, INT64, BOOL = np.dtype(np.float32), np.dtype(np.int64), np.dtype(np.bool_)
Rewards = npt.NDArray[np.float32]
# What a lane's next bar depends on.
KEPT = ("account", "positions", "tickets", "queue", "returns")


class BatchStep(NamedTuple):
    """Result of one step of all lanes.

    Attributes:
        observations: float32 ``[N, O]``; of the new episode where a lane was reset. The buffer is
            reused two steps later.
        rewards: float32 ``[N]``.
        statuses: int64 ``[N]``: RUNNING, TERMINATED or TRUNCATED.
        over: bool ``[N]``: not RUNNING.
        finished: Lane -> (last observation of the old episode, its summary).
    """

    observations: Observations
    rewards: Rewards
    statuses: npt.NDArray[np.int64]
    over: npt.NDArray[np.bool_]
    finished: dict[int, tuple[Observations, EpisodeSummary]]


class Simulator:
    """``lanes`` independent accounts over one tape, or each episode over one of several.

    Attributes:
        others: All tapes but the simulator's own, and their bars per year.
        tapes: All of them, its own first.
        drawn: Which of them each lane is on, int64 ``[N]``.
    """

    def __init__(
        self,
        tape: Tape,
        lanes: int = 1,
        *,
        bars_per_year: float = 6048.0,
        reward: CustomReward | None = None,
        others: Sequence[tuple[Tape, float]] = (),
    ) -> None:
        """Lay out the lanes.

        Args:
            tape: Market and rules.
            lanes: Accounts.
            bars_per_year: Of the market, for annual figures.
            reward: What pays, where the rules say that it is a reward of the user's own.
            others: More tapes, with their bars per year; each episode of a lane draws one.

        Raises:
            ConfigError: The reward cannot be compiled.
        """
        symbols = tape.market.shape[1]
        self.lanes = lanes
        self._load(tape, bars_per_year, others)
        rules = tape.rules[0]
        self.book = empty_book(lanes, symbols, rules)
        self._actions = np.zeros((lanes, symbols), np.float32)
        width = len(account_feature_names(("",) * symbols, bool(rules["adaptation"])))
        self.width = tape.window * tape.features.shape[1] + width
        # Two buffers in turn: SB3 keeps the last observation while the next one is written.
        self._buffers = [np.zeros((lanes, self.width), np.float32) for _ in range(2)]
        self._final = np.zeros((lanes, self.width), np.float32)
        # One lane's rows of these, made once: a view costs as much as the step's entry.
        self._seen, self._one = list(self._final), (symbols,)
        # What people are told of the lane that moved last, see ``episodes.show``.
        self.shown = np.zeros(4 + 2 * symbols)
        if (reward is not None) != (rules["reward_kind"] == CUSTOM):
            raise ConfigError("a reward is handed over where the rules ask for one, and only there")
        self._payer = self._payer_by(reward) if reward is not None else None

    def _payer_by(self, reward: CustomReward) -> Payer:
        tape, mine = self._groups[0]
        return Payer(reward, self.book.account, tape.rules, mine)

    def _load(self, tape: Tape, pace: float, others: Sequence[tuple[Tape, float]]) -> None:
        self.tape, self.others = tape, others
        self.tapes = (tape, *(other for other, _ in others))
        self._paces = (pace, *(other for _, other in others))
        self.drawn = np.zeros(self.lanes, INT64)
        self._sort_lanes()

    @cached_property
    def _step_one(self) -> Any:
        strided = np.zeros((*self._one, 2), np.float32)[:, 0]  # whatever an action's layout is
        arguments = (strided, self._actions, self._final, self.shown)
        return resolved(step_one, self.book, self.tape, 0, *arguments)

    @cached_property
    def _step_batch(self) -> Any:
        outputs = (self._buffers[0], self._final, *self._results())
        return resolved(step_batch, self.book, *self._groups[0], self._actions, *outputs)

    @cached_property
    def _reset_batch(self) -> Any:
        every = np.ones(self.lanes, BOOL)
        return resolved(reset_batch, self.book, self.tape, every, self._buffers[0], False)

    @cached_property
    def _summarise(self) -> Any:
        return resolved(summarise, self.book, 0, self._paces[0])

    def _results(self) -> tuple[Rewards, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Rewards, statuses and whether they are over, of every lane; the caller keeps them."""
        lanes = self.lanes
        return np.empty(lanes, FLOAT32), np.empty(lanes, INT64), np.empty(lanes, BOOL)

    def seed(self, seed: int) -> None:
        """Reseed every lane."""
        seed_lanes(self.book, seed)

    def reset(self, *, stagger: bool = False) -> Observations:
        """Start a new episode in every lane; ``stagger`` spreads their ends."""
        out = self._next_buffer()
        self._restart(np.ones(self.lanes, BOOL), out, stagger)
        return out

    def place(self, lane: int, start: int, end: int, equity: float) -> Observations:
        """Open a flat account with ``equity`` in ``lane`` at the close of bar ``start``."""
        out, tape = self._buffers[0], self._tape_of[lane]
        open_account(self.book, tape, lane, start, end, equity)
        observe(self.book, tape, lane, out)
        return out[lane]

    def rearm(self, lane: int) -> Observations:
        """Reset the circuit breaker of a flat lane at the close it has come to; what is seen then.

        Orders that are still on their way are called off.
        """
        rearm(self.book.account[lane : lane + 1])
        self.book.queue[lane] = 0
        out = self._buffers[0]
        observe(self.book, self._tape_of[lane], lane, out)
        return out[lane]

    def step_lane(
        self, lane: int, action: npt.NDArray[np.float32] | Target
    ) -> tuple[Observations, float, int]:
        """One bar of one lane, without reset.

        Args:
            lane: Which.
            action: ``[S]``, what can be made that, or a target that says more.

        Returns:
            Observation (a view that the next call overwrites), reward and status.
        """
        if isinstance(action, Target):
            action = ask(action, self.book.positions[lane], self._tape_of[lane].rules[0])
        elif getattr(action, "dtype", None) is not FLOAT32 or action.shape != self._one:
            action = np.asarray(action, np.float32).reshape(self._one)
        tape = self._tape_of[lane]
        reward, status = self._step_one(
            self.book, tape, lane, action, self._actions, self._final, self.shown
        )
        if self._payer is not None:
            mine = self._groups[self.drawn[lane]][1]
            reward = float(self._payer.pay(tape.rules, mine, lane, lane + 1)[lane])
        return self._seen[lane], reward, status

    def step(self, actions: npt.NDArray[np.float32]) -> BatchStep:
        """One bar of every lane; finished lanes start their next episode in the same step."""
        moved, ended = self._move(actions)
        if ended:
            for i in moved.over.nonzero()[0].tolist():
                moved.finished[i] = (self._final[i].copy(), self.summary(i))
            self._restart(moved.over, moved.observations, False)
        return moved

    def advance(self, actions: npt.NDArray[np.float32]) -> BatchStep:
        """One bar of every lane, without reset: who goes on beyond the end leaves the tape."""
        return self._move(actions)[0]

    def _move(self, actions: npt.NDArray[np.float32]) -> tuple[BatchStep, int]:
        """One bar of every lane, and how many episodes it ended."""
        ended, out = 0, self._next_buffer()
        rewards, statuses, over = self._results()
        if actions.dtype is not FLOAT32 or not actions.flags.c_contiguous:
            actions = np.ascontiguousarray(actions, np.float32)
        if actions.shape != self._actions.shape:
            raise ValueError(f"actions {actions.shape} must be {self._actions.shape}")
        results = (rewards, statuses, over)
        for tape, mine in self._groups:
            ended += self._step_batch(self.book, tape, mine, actions, out, self._final, *results)
            if self._payer is not None:
                paid = self._payer.pay(tape.rules, mine, 0, self.lanes)
                np.copyto(rewards, paid, casting="same_kind", where=True if mine is None else mine)
        return BatchStep(out, rewards, statuses, over, {}), ended

    def _restart(self, over: npt.NDArray[np.bool_], out: Observations, stagger: bool) -> None:
        """Start new episodes; where there are several tapes, each lane draws its own."""
        if len(self.tapes) > 1:
            draw_tape(self.book, over, len(self.tapes), self.drawn)
            self._sort_lanes()
        for tape, mine in self._groups:
            chosen = over if mine is None else over & mine
            self._reset_batch(self.book, tape, chosen, out, stagger)

    def _sort_lanes(self) -> None:
        """Note the tape of each lane, and each tape with whether a lane is on it; None for all."""
        self._tape_of = [self.tapes[k] for k in self.drawn.tolist()]
        self._groups: list[tuple[Tape, npt.NDArray[np.bool_] | None]] = [(self.tape, None)]
        if len(self.tapes) > 1:
            self._groups = [(tape, self.drawn == k) for k, tape in enumerate(self.tapes)]

    def copy_lanes(
        self, source: Simulator, lanes: npt.NDArray[np.int64], to: npt.NDArray[np.int64]
    ) -> None:
        """Put lanes ``to`` where ``lanes`` of a simulator of the same tapes are."""
        theirs = source._kept()
        for name, ours in self._kept().items():
            ours[to] = theirs[name][lanes]
        if len(self.tapes) > 1:
            self._sort_lanes()

    def summary(self, lane: int = 0) -> EpisodeSummary:
        """The running episode of one lane."""
        pace = self._paces[self.drawn[lane]]
        return EpisodeSummary(*self._summarise(self.book, lane, pace))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Copies of the arrays that a resumed run needs."""
        return {name: array.copy() for name, array in self._kept().items()}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> Observations:
        """Go on from :meth:`state`; returns the observations there."""
        for name, array in self._kept().items():
            array[:] = state[name]
        self._sort_lanes()
        out = self._next_buffer()
        for lane, tape in enumerate(self._tape_of):
            observe(self.book, tape, lane, out)
        return out

    def _kept(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays that say where the lanes are."""
        kept = {name: getattr(self.book, name) for name in KEPT}
        return kept if len(self.tapes) == 1 else {**kept, "drawn": self.drawn}

    def _next_buffer(self) -> Observations:
        self._buffers.reverse()
        return self._buffers[0]
