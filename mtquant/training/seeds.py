"""Several seeds of one training: their states on disk, and which policy is deployed.

    runs/NAME/seeds.json                what was asked for
    runs/NAME/seed-K/trainer            the state of seed K, as of a single run
    runs/NAME/seed-K/finished.json      it needs no more training

The median seed by validation is deployed. The best one would be chosen for its luck, and the mean
over seeds would say nothing about it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mtquant.agents.policy import OnnxPolicy
from mtquant.backtest.report import write_whole
from mtquant.backtest.run import run_agent
from mtquant.backtest.seed_table import SeedRow, SeedTable
from mtquant.envs.scenario import Scenario
from mtquant.errors import ConfigError
from mtquant.training.callbacks import score_of
from mtquant.training.ensemble import mean_policy
from mtquant.training.export import flat_policy
from mtquant.training.learn import Learned
from mtquant.training.plan import SEEDS, Plan, write_seeds
from mtquant.training.selection import Selection
from mtquant.training.state import read_checkpoint

FINISHED = "finished.json"


@dataclass(frozen=True)
class Outcome:
    """What a training of one or several seeds deploys.

    Attributes:
        policy: ONNX model; None where it stays flat.
        seed: Of the deployed training; the first where it is a mean.
        frames: Trained for it.
        sentence: What was decided on validation.
        members: Each seed's training; empty for a single one.
        chosen: The deployed seed; None for a mean.
    """

    policy: bytes | None
    seed: int
    frames: int
    sentence: str
    members: Mapping[int, Learned] = field(default_factory=dict)
    chosen: int | None = None


def begin(plan: Plan) -> None:
    """Forget an earlier run of that name, and note how many seeds this one trains."""
    if plan.seeds == 1:
        (plan.folder / SEEDS).unlink(missing_ok=True)
        return
    for seed in plan.all_seeds:
        shutil.rmtree(plan.of_seed(seed).state, ignore_errors=True)
        (plan.of_seed(seed).folder / FINISHED).unlink(missing_ok=True)
    write_seeds(plan)


def mark_finished(plan: Plan, learned: Learned) -> None:
    """Note that one seed's state on disk is its last; ``seconds`` is for people alone."""
    text = json.dumps({"frames": learned.frames, "seconds": learned.seconds})
    write_whole(plan.folder / FINISHED, text + "\n")


def unfinished(plan: Plan) -> list[int]:
    """Seeds that still have to be trained."""
    return [seed for seed in plan.all_seeds if not (plan.of_seed(seed).folder / FINISHED).is_file()]


def seed_checkpoint(plan: Plan) -> Plan:
    """The plan of one seed, going on from its state where there is one.

    Raises:
        DataError: The state cannot be read.
    """
    try:
        return replace(plan, checkpoint=read_checkpoint(plan.runs, plan.record.name))
    except ConfigError:  # it had not come to its first
        return plan


def finished_seeds(plan: Plan) -> dict[int, Learned]:
    """What each seed learned, from its last state.

    Raises:
        DataError: A state cannot be read.
    """
    found = {}
    for seed in plan.all_seeds:
        run = plan.of_seed(seed)
        kept = read_checkpoint(run.runs, run.record.name)
        policy = kept.policy if kept.selection.learned else None
        found[seed] = Learned(policy, kept.selection, kept.validated, 0.0)
    return found


def validation_reward(learned: Learned) -> float:
    """Mean reward per bar of what was selected; flat's is 0."""
    return learned.selection.best.mean_reward if learned.policy is not None else 0.0


def median_seed(rewards: Mapping[int, float]) -> int:
    """The middle one by validation reward; of two in the middle the lower."""
    ordered = sorted(rewards, key=lambda seed: (rewards[seed], seed))
    return ordered[(len(ordered) - 1) // 2]


def deploy_only(seed: int, learned: Learned) -> Outcome:
    """A single training's policy."""
    return Outcome(learned.policy, seed, learned.frames, learned.selection.sentence())


def deploy_median(members: Mapping[int, Learned]) -> Outcome:
    """The median seed's policy."""
    chosen = median_seed({seed: validation_reward(one) for seed, one in members.items()})
    one = members[chosen]
    sentence = f"Seed {chosen} is the median of {_named(members)} by validation reward. "
    return Outcome(
        one.policy, chosen, one.frames, sentence + one.selection.sentence(), members, chosen
    )


def deploy_mean(members: Mapping[int, Learned], scenario: Scenario, name: str) -> Outcome:
    """The mean of all seeds' actions, if it clears on validation what all that were tried set.

    Raises:
        ConfigError: The policies have a memory.
    """
    policy = mean_policy([one.policy for one in members.values()])
    frames = sum(one.frames for one in members.values())
    first, named = min(members), _named(members)
    if policy is None:
        sentence = f"Each of {named} is flat: this bundle stays flat."
        return Outcome(None, first, frames, sentence, members)
    agent = OnnxPolicy(policy, name=name, inputs=scenario.inputs, window=scenario.window)
    score = score_of(run_agent(agent, scenario, scenario.rows("validation")))
    selection = Selection(
        tried=[shocks for one in members.values() for shocks in one.selection.tried]
    )
    kept = selection.offer(score, frames)
    flat = sum(one.policy is None for one in members.values())
    sentence = (
        f"The mean of the actions of {named}, {flat} of them flat, has on validation mean reward "
        f"{score.mean_reward:.5f} per bar and net Sortino {score.sortino:.4f} per bar against a "
        f"hurdle of {selection.hurdle:.4f} set by the {len(selection.tried)} policies tried: "
        + ("it is deployed." if kept else "this bundle stays flat.")
    )
    return Outcome(policy if kept else None, first, frames, sentence, members)


def seed_table(outcome: Outcome, scenario: Scenario) -> SeedTable | None:
    """Each seed on the test split; None for a single training."""
    if not outcome.members:
        return None
    rows = tuple(_row(seed, one, scenario) for seed, one in sorted(outcome.members.items()))
    return SeedTable(rows, outcome.chosen)


def _row(seed: int, learned: Learned, scenario: Scenario) -> SeedRow:
    content = learned.policy
    if content is None:
        content = flat_policy(len(scenario.observation_bound()), len(scenario.env.symbols))
    name = f"seed {seed}"
    agent = OnnxPolicy(content, name=name, inputs=scenario.inputs, window=scenario.window)
    metrics = run_agent(agent, scenario, scenario.rows("test")).metrics
    return SeedRow(
        seed=seed,
        validation_reward=validation_reward(learned),
        frames=learned.selection.best_frames if learned.policy is not None else 0,
        net_return=metrics.net_return,
        sharpe=metrics.sharpe,
        turnover_per_year=metrics.turnover_per_year,
    )


def _named(members: Mapping[int, Learned]) -> str:
    return f"seeds {min(members)} to {max(members)}"
