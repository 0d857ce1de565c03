"""Validation on the way: every so often a deterministic pass, the selection rule, and scalars."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from mtquant.agents.policy import OnnxPolicy
from mtquant.backtest.run import BacktestResult, run_agent
from mtquant.config.schema import LearningConfig
from mtquant.envs.scenario import Scenario
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.sim.summary import EpisodeSummary
from mtquant.training.export import export_policy
from mtquant.training.progress import Listener
from mtquant.training.schedules import CostRamp, Exploration
from mtquant.training.selection import Score, Selection
from mtquant.training.snapshot import Snapshot
from mtquant.training.state import Checkpoint, RunRecord

SNAPSHOT_FRAMES = 16_384
TRAINING_SCALARS = ("total_return", "sortino", "sharpe", "max_drawdown", "turnover", "exposure")


def score_of(result: BacktestResult) -> Score:
    """The selection's view of a run."""
    equity = np.concatenate([[result.ledger.start_equity], result.equity])
    return Score.of(result.rewards, np.diff(equity) / equity[:-1])


class ValidationCallback(BaseCallback):
    """Validates, selects, logs and reports; keeps the incumbent's policy and the last snapshot.

    Attributes:
        selection: The incumbent's score and how many were tried.
        policy: The incumbent as an ONNX model; None while flat leads.
        validated: Frames of the last validation pass.
        snapshot: The learner between its last two updates; None before the first frame.
        stale: Validation passes since the incumbent was found.
    """

    def __init__(
        self,
        scenario: Scenario,
        learning: LearningConfig,
        *,
        name: str,
        listener: Listener,
        on_checkpoint: Callable[[ValidationCallback], None],
    ) -> None:
        """Watch a run.

        Args:
            scenario: Holds the validation split.
            learning: How long, how often to validate, and what changes on the way.
            name: Of the agent.
            listener: Receives the news.
            on_checkpoint: Called at the beginning and after each pass, to save what a resumed run
                needs.
        """
        super().__init__()
        self.scenario = scenario
        self.every = learning.validate_every
        self.total = learning.timesteps
        self.name = name
        self.listener = listener
        self.on_checkpoint = on_checkpoint
        self.patience = learning.patience
        self.curriculum = learning.curriculum
        self.exploration = learning.exploration
        self.selection = Selection()
        self.policy: bytes | None = None
        self.validated = 0
        self.snapshot: Snapshot | None = None
        self.stale = 0
        self._ramp: CostRamp | None = None
        self._noise: Exploration | None = None
        self._reward: float | None = None

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from where a run stopped."""
        self.selection, self.policy = checkpoint.selection, checkpoint.policy
        self.validated, self.snapshot = checkpoint.validated, checkpoint.snapshot
        self.stale = checkpoint.stale

    def checkpoint(self, record: RunRecord) -> Checkpoint:
        """What a run needs to go on from here."""
        return Checkpoint(
            record, self.selection, self.validated, self.policy, self.snapshot, self.stale
        )

    @property
    def exhausted(self) -> bool:
        """Whether the passes without a new incumbent have used up the patience."""
        return self.patience is not None and self.stale >= self.patience

    def finish(self, model: BaseAlgorithm) -> None:
        """The last pass, if the newest update was not judged yet and patience lasted so long."""
        if self.exhausted:
            # SB3 sees the end in a step, from which nothing is learned any more.
            model.num_timesteps = self.validated
            self.listener.on_text(f"stopped  after {self.stale} passes without a new incumbent")
        elif self.validated < model.num_timesteps:
            self.model = model
            self.num_timesteps = model.num_timesteps
            self.snapshot = Snapshot.take(model, self.snapshot)
            self.validate()

    def _on_training_start(self) -> None:
        """Take up what SB3 resets when learning begins; a new run is on disk from here."""
        if self.curriculum is not None:
            env = self.training_env
            assert isinstance(env, SB3VecEnv)
            self._ramp = CostRamp(self.curriculum, env)
        if self.exploration is not None:
            self._noise = Exploration(self.exploration, self.model)
        if self.snapshot is None:
            self.on_checkpoint(self)
            return
        self.snapshot.restore_noise(self.model)
        if self._ramp is not None:
            self._ramp.resume(self.num_timesteps / self.total)

    def _on_step(self) -> bool:
        return not self.exhausted

    def _on_rollout_start(self) -> None:
        """Between two updates: a snapshot every so often, and a pass where one is due.

        A run that is stopped later goes on from the snapshot and repeats what came after it, so
        that it ends like one that was never stopped.
        """
        for mover in (self._ramp, self._noise, getattr(self.model, "probes", None)):
            if mover is not None:
                mover.move(self.num_timesteps / self.total)
        due = self.num_timesteps // self.every > self.validated // self.every
        taken = self.snapshot.frames if self.snapshot else 0
        if due or self.num_timesteps - taken >= SNAPSHOT_FRAMES:
            self.snapshot = Snapshot.take(self.model, self.snapshot)
        if due:
            self.validate()

    def _on_rollout_end(self) -> None:
        env = self.training_env
        assert isinstance(env, SB3VecEnv)
        self._log_episodes(env.take_finished())
        self.listener.on_progress(self.num_timesteps, self.total, self._reward)

    def validate(self) -> None:
        """One deterministic pass over the validation split."""
        content = export_policy(self.model)
        scenario = self.scenario
        agent = OnnxPolicy(content, name=self.name, inputs=scenario.inputs, window=scenario.window)
        result = run_agent(agent, scenario, scenario.rows("validation"))
        score = score_of(result)
        accepted = self.selection.offer(score, self.num_timesteps)
        self.stale = 0 if accepted else self.stale + 1
        if accepted:
            self.policy = content
        self.validated = self.num_timesteps
        metrics = result.metrics
        values = {
            "net_return": metrics.net_return,
            "sharpe": metrics.sharpe,
            "sortino": metrics.sortino,
            "max_drawdown": metrics.max_drawdown.depth,
            "turnover_per_bar": metrics.turnover_per_bar,
            "exposure": metrics.mean_exposure,
            "mean_reward": score.mean_reward,
            "accepted": float(accepted),
        }
        for key, value in values.items():
            if value is not None:
                self.logger.record(f"validation/{key}", value)
        self.logger.dump(self.num_timesteps)
        self.listener.on_validation(self.num_timesteps, score.mean_reward, metrics.sharpe, accepted)
        self.on_checkpoint(self)

    def _log_episodes(self, episodes: list[EpisodeSummary]) -> None:
        if not episodes:
            return
        rows = [episode._asdict() for episode in episodes]
        for key in TRAINING_SCALARS:
            self.logger.record(f"train_episodes/{key}", float(np.mean([row[key] for row in rows])))
        bars = sum(row["bars"] for row in rows)
        self._reward = sum(row["reward"] for row in rows) / max(bars, 1)
        self.logger.record("train_episodes/mean_reward", self._reward)
        self.logger.record("train_episodes/finished", len(rows))
