"""Simulator: lanes of accounts over one tape, the core object under every env and backtest."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mtquant.errors import ConfigError
from mtquant.jit import resolved
from mtquant.sim.account import Tape, empty_book, rearm
from mtquant.sim.custom_reward import CustomReward, Payer
from mtquant.sim.episodes import (
    observe,
    open_account,
    reset_batch,
    restart_finished,
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
    """``lanes`` independent accounts over one tape."""

    def __init__(
        self,
        tape: Tape,
        lanes: int = 1,
        *,
        bars_per_year: float = 6048.0,
        reward: CustomReward | None = None,
    ) -> None:
        """Lay out the lanes.

        Args:
            tape: Market and rules.
            lanes: Accounts.
            bars_per_year: Of the market, for annual figures.
            reward: What pays, where the rules say that it is a reward of the user's own.

        Raises:
            ConfigError: The reward cannot be compiled.
        """
        symbols = tape.market.shape[1]
        self.tape = tape
        self.lanes = lanes
        self.bars_per_year = bars_per_year
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
        self._payer = Payer(reward, self.book.account, tape.rules) if reward is not None else None

    @cached_property
    def _step_one(self) -> Any:
        strided = np.zeros((*self._one, 2), np.float32)[:, 0]  # whatever an action's layout is
        arguments = (strided, self._actions, self._final, self.shown)
        return resolved(step_one, self.book, self.tape, 0, *arguments)

    @cached_property
    def _step_batch(self) -> Any:
        outputs = (self._buffers[0], self._final, *self._results())
        return resolved(step_batch, self.book, self.tape, self._actions, *outputs)

    @cached_property
    def _restart_finished(self) -> Any:
        statuses = self._results()[1]
        return resolved(restart_finished, self.book, self.tape, statuses, self._buffers[0])

    @cached_property
    def _summarise(self) -> Any:
        return resolved(summarise, self.book, 0, self.bars_per_year)

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
        reset_batch(self.book, self.tape, out, stagger)
        return out

    def place(self, lane: int, start: int, end: int, equity: float) -> Observations:
        """Open a flat account with ``equity`` in ``lane`` at the close of bar ``start``."""
        out = self._buffers[0]
        open_account(self.book, self.tape, lane, start, end, equity)
        observe(self.book, self.tape, lane, out)
        return out[lane]

    def rearm(self, lane: int) -> Observations:
        """Reset the circuit breaker of a flat lane at the close it has come to; what is seen then.

        Orders that are still on their way are called off.
        """
        rearm(self.book.account[lane : lane + 1])
        self.book.queue[lane] = 0
        out = self._buffers[0]
        observe(self.book, self.tape, lane, out)
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
            action = ask(action, self.book.positions[lane], self.tape.rules[0])
        elif getattr(action, "dtype", None) is not FLOAT32 or action.shape != self._one:
            action = np.asarray(action, np.float32).reshape(self._one)
        reward, status = self._step_one(
            self.book, self.tape, lane, action, self._actions, self._final, self.shown
        )
        if self._payer is not None:
            reward = float(self._payer.pay(lane, lane + 1)[lane])
        return self._seen[lane], reward, status

    def step(self, actions: npt.NDArray[np.float32]) -> BatchStep:
        """One bar of every lane; finished lanes start their next episode in the same step."""
        moved, ended = self._move(actions)
        if ended:
            for i in moved.over.nonzero()[0].tolist():
                moved.finished[i] = (self._final[i].copy(), self.summary(i))
            self._restart_finished(self.book, self.tape, moved.statuses, moved.observations)
        return moved

    def advance(self, actions: npt.NDArray[np.float32]) -> BatchStep:
        """One bar of every lane, without reset: who goes on beyond the end leaves the tape."""
        return self._move(actions)[0]

    def _move(self, actions: npt.NDArray[np.float32]) -> tuple[BatchStep, int]:
        """One bar of every lane, and how many episodes it ended."""
        book, tape, out = self.book, self.tape, self._next_buffer()
        rewards, statuses, over = self._results()
        if actions.dtype is not FLOAT32 or not actions.flags.c_contiguous:
            actions = np.ascontiguousarray(actions, np.float32)
        if actions.shape != self._actions.shape:
            raise ValueError(f"actions {actions.shape} must be {self._actions.shape}")
        results = (rewards, statuses, over)
        ended = self._step_batch(book, tape, actions, out, self._final, *results)
        if self._payer is not None:
            rewards[:] = self._payer.pay(0, self.lanes)
        return BatchStep(out, rewards, statuses, over, {}), ended

    def copy_lanes(
        self, source: Simulator, lanes: npt.NDArray[np.int64], to: npt.NDArray[np.int64]
    ) -> None:
        """Put lanes ``to`` where ``lanes`` of a simulator of the same tape are."""
        for name in KEPT:
            getattr(self.book, name)[to] = getattr(source.book, name)[lanes]

    def summary(self, lane: int = 0) -> EpisodeSummary:
        """The running episode of one lane."""
        return EpisodeSummary(*self._summarise(self.book, lane, self.bars_per_year))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Copies of the arrays that a resumed run needs."""
        return {name: getattr(self.book, name).copy() for name in KEPT}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> Observations:
        """Go on from :meth:`state`; returns the observations there."""
        for name in KEPT:
            getattr(self.book, name)[:] = state[name]
        out = self._next_buffer()
        for lane in range(self.lanes):
            observe(self.book, self.tape, lane, out)
        return out

    def _next_buffer(self) -> Observations:
        self._buffers.reverse()
        return self._buffers[0]
