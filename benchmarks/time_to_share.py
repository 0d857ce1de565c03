"""How long until an agent earns a share of a planted market's optimum: seconds of training loop.

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/time_to_share.py [slow_alpha] [--seeds 3]

The agent is the row's own, untouched, with the schedules of its whole file. Every 65,536 frames its
policy is scored on a fresh draw, by the conditional mean beside the optimum's on the same draw;
the first share of 90 % ends it. What counts is the loop: rollouts and updates, from the first
frame on. What does not: drawing the market, building the learner, compiling kernels (a rollout and
an update before the clock starts), scoring, and validation, which is left out here. Seconds are
those of the clock on the wall, and beside them the processor's, which other jobs lengthen little.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from stable_baselines3.common.logger import Logger

from mtquant.agents.policy import OnnxPolicy
from mtquant.config.load import load_agent
from mtquant.config.schema import AgentConfig
from mtquant.envs.scenario import Scenario
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.research.planted import positions_of, score
from mtquant.research.study import FRESH_SEED, best_of
from mtquant.research.study_rows import StudyRow, chosen_rows
from mtquant.training.callbacks import ValidationCallback
from mtquant.training.export import export_policy
from mtquant.training.learner import build_learner
from mtquant.training.progress import Silent

EVERY = 65_536
SCORED_BARS = 60_000
BAR = 20.0


class Race(ValidationCallback):
    """Scores on a fresh draw in place of validating, while the clocks stand still."""

    def __init__(
        self, row: StudyRow, agent: AgentConfig, scenario: Scenario, seed: int, wanted: float
    ) -> None:
        learning = agent.learning.model_copy(update={"validate_every": EVERY})
        super().__init__(
            scenario, learning, name=row.agent, listener=Silent(), on_checkpoint=lambda _: None
        )
        history, self.fresh = row.market.fresh(scenario, SCORED_BARS, FRESH_SEED + seed)
        self.rows = self.fresh.rows("all")
        self.history = history[self.rows[0] : self.rows[1]]
        self.penalty = self.fresh.env.reward.downside_penalty
        self.best = score(self.history, best_of(row).positions(self.history), self.penalty).value
        self.wanted, self.share, self.wall, self.processor = wanted, 0.0, 0.0, 0.0

    def start(self) -> None:
        self._since = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        self.wall += time.perf_counter() - self._since[0]
        self.processor += time.process_time() - self._since[1]

    def _on_step(self) -> bool:
        return self.share < self.wanted

    def validate(self) -> None:
        self.stop()
        content = export_policy(self.model)
        policy = OnnxPolicy(content, name=self.name, inputs=self.fresh.inputs)
        held = positions_of(policy, self.fresh, self.rows)
        self.share = score(self.history, held, self.penalty).value / self.best
        self.validated = self.num_timesteps
        self.start()


def race(row: StudyRow, agent: AgentConfig, seed: int, wanted: float) -> Race:
    """A training until the share is reached, or to the end of its frames."""
    scenario = row.market.scenario(seed)
    watch = Race(row, agent, scenario, seed, wanted)
    for frames in (1, agent.learning.timesteps):
        model: Any = build_learner(agent, SB3VecEnv(scenario, agent.learning.n_envs), seed)
        model.set_logger(Logger(None, []))
        watch.wall = watch.processor = 0.0
        watch.validated, watch.snapshot = 0, None
        watch.start()
        model.learn(frames, callback=watch)
    watch.stop()
    return watch


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("row", nargs="?", default="slow_alpha")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.9)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    row = chosen_rows([chosen.row], None)[0]
    agent = load_agent(row.agent)[0]
    for seed in range(chosen.seeds):
        found = race(row, agent, seed, chosen.share)
        print(
            f"{row.name} seed {seed}: {found.share:.1%} after {found.num_timesteps:,} frames, "
            f"{found.wall:.1f} s of training loop ({found.processor:.1f} s of the processor; "
            f"bar for {chosen.share:.0%}: {BAR:.0f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
