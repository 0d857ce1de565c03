"""run_training: data -> features -> lanes -> learning -> selection -> test report -> bundle.

The test split is looked at once, at the very end, by whatever validation has selected.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mtquant.agents.bundle import Bundle, write_bundle
from mtquant.agents.catalogue import CHECKPOINTS
from mtquant.agents.manifest import DataRecord
from mtquant.agents.policy import OnnxPolicy
from mtquant.backtest.compare import compare
from mtquant.backtest.report import Report, report_dict, write_report
from mtquant.backtest.run import run_agent
from mtquant.envs.scenario import Scenario
from mtquant.features.pipeline import code_digest
from mtquant.training.crew import Crew, Order
from mtquant.training.device import on_device
from mtquant.training.export import flat_policy
from mtquant.training.plan import RUNS, Plan, TrainingConfig, plan_resuming, plan_training
from mtquant.training.profile import FEATURES, REST, TEST, Profile, part_of
from mtquant.training.progress import Listener, Silent
from mtquant.training.run import Interrupted, learn_run
from mtquant.training.seeds import (
    Outcome,
    begin,
    deploy_mean,
    deploy_median,
    deploy_only,
    finished_seeds,
    seed_table,
    unfinished,
)

LIBRARIES = (
    "numpy",
    "torch",
    "stable-baselines3",
    "sb3-contrib",
    "gymnasium",
    "onnx",
    "onnxruntime",
    "numba",
)
Now = Callable[[], datetime]


def utc_now() -> datetime:
    """The present; the default clock of trainings."""
    return datetime.now(UTC)


def run_training(
    config: TrainingConfig, *, listener: Listener | None = None, clock: Now = utc_now
) -> Bundle:
    """Train, select, test and write a bundle.

    Args:
        config: What to train.
        listener: Receives the news.
        clock: For the bundle's ``created`` and its ``run.json`` only.

    Raises:
        ConfigError: An unknown name, key or value, or the learner diverged.
        DataError: Too few bars, or bars that contradict the env.
        BundleError: The name is taken.
        Interrupted: The user stopped it; its state is saved.
    """
    listener = listener or Silent()
    profile = Profile() if config.profile else None
    with part_of(profile, REST):
        bundle = _run(plan_training(config), listener, clock, profile)
    for line in profile.lines() if profile else ():
        listener.on_text(line)
    return bundle


def resume_training(
    name: str,
    *,
    out: Path = CHECKPOINTS,
    runs: Path = RUNS,
    listener: Listener | None = None,
    clock: Now = utc_now,
) -> Bundle:
    """Go on with a stopped training; raises as :func:`run_training`.

    Raises:
        DataError: Its state cannot be read, or the bars are no longer those it began with.
    """
    return _run(plan_resuming(name, out, runs), listener or Silent(), clock)


def _run(plan: Plan, listener: Listener, clock: Now, profile: Profile | None = None) -> Bundle:
    started = clock()
    listener.on_text(f"bars     {plan.market.description}")
    for other in plan.market.others:
        listener.on_text(f"also     {other.panel.symbols[0]}, {other.description}")
    plan, scenario, outcome = _learn(plan, listener, profile)
    listener.on_text(outcome.sentence)
    with part_of(profile, TEST):
        report, bundle = _deploy(plan, scenario, outcome, started, clock)
    listener.on_report(report)
    return bundle


def _deploy(
    plan: Plan, scenario: Scenario, outcome: Outcome, started: datetime, clock: Now
) -> tuple[Report, Bundle]:
    """Test what was selected, and write the bundle."""
    policy = outcome.policy
    if policy is None:
        policy = flat_policy(len(scenario.observation_bound()), len(plan.record.env.symbols))
    actor = OnnxPolicy(
        policy, name=plan.record.agent_name, inputs=scenario.inputs, window=scenario.window
    )
    report = _test_report(scenario, actor, outcome)

    def write_files(folder: Path) -> None:
        (folder / "policy.onnx").write_bytes(policy)
        write_report(report, folder)

    created = clock()
    manifest = _manifest(plan, scenario, outcome, report)
    manifest["window"], manifest["state_shape"] = actor.window, actor.state_shape
    manifest["burn_in"] = plan.record.agent.burn_in if actor.state_shape else 0
    manifest["created"] = created.isoformat(timespec="milliseconds")
    return report, write_bundle(plan.out, manifest, write_files, _run_facts(started, created))


def _learn(
    plan: Plan, listener: Listener, profile: Profile | None
) -> tuple[Plan, Scenario, Outcome]:
    if plan.seeds == 1:
        plan, scenario = _prepare(plan, listener, profile)
        learned = learn_run(plan, scenario, listener, profile)
        return plan, scenario, deploy_only(plan.record.seed, learned)
    pending = unfinished(plan) if plan.resumed else list(plan.all_seeds)
    with Crew(min(len(pending), os.cpu_count() or 1)) as crew:
        plan, scenario = _prepare(plan, listener, None)
        orders = [
            Order(plan.of_seed(seed), scenario, plan.resumed, scenario.reward) for seed in pending
        ]
        try:
            crew.train(orders, listener)
        except KeyboardInterrupt:
            raise Interrupted(plan.record.name) from None
    members = finished_seeds(plan)
    if plan.record.agent.learning.ensemble is None:
        return plan, scenario, deploy_median(members)
    return plan, scenario, deploy_mean(members, scenario, plan.record.agent_name)


def _prepare(plan: Plan, listener: Listener, profile: Profile | None) -> tuple[Plan, Scenario]:
    """The features, and the device that learns from them; a resumed run keeps its own."""
    with part_of(profile, FEATURES):
        scenario = Scenario.fit(plan.record.env, plan.market, plan.record.agent.window)
        for one in (scenario, *scenario.others):
            one.features()  # kept, for all seeds
    listener.on_text(f"features {len(scenario.inputs)} columns, warm-up {scenario.first_row} bars")
    agent = plan.record.agent
    if not plan.resumed or agent.device != "auto":
        agent = on_device(agent, scenario, listener)
    plan = replace(plan, record=replace(plan.record, agent=agent))
    if not plan.resumed:
        begin(plan)
    return plan, scenario


def _test_report(scenario: Scenario, actor: OnnxPolicy, outcome: Outcome) -> Report:
    rows = scenario.rows("test")
    # Without the bundle's name: equal trainings give equal reports, whatever they are called.
    return compare(
        run_agent(actor, scenario, rows).ledger,
        scenario,
        rows,
        what="test split",
        agent=actor.name,
        selection=outcome.sentence,
        seeds=seed_table(outcome, scenario),
    )


def _manifest(plan: Plan, scenario: Scenario, outcome: Outcome, report: Report) -> dict[str, Any]:
    record, market = plan.record, plan.market
    time = market.panel.time
    splits = {"history": (int(time[0]), int(time[-1]))}
    for split in ("train", "validation", "test"):
        first, last = scenario.rows(split)
        splits[split] = (int(time[first]), int(time[last]))
    return {
        "schema_version": 1,
        "name": record.name,
        "env": record.env,
        "agent_name": record.agent_name,
        "agent": record.agent,
        "config_id": f"{record.env.config_id}-{record.agent.config_id}",
        "seed": outcome.seed,
        "timesteps": outcome.frames,
        "selection": outcome.sentence,
        "learned": outcome.policy is not None,
        "reward_scale": scenario.reward_scale,
        "inputs": scenario.inputs,
        "pipeline": scenario.pipeline.to_dict(),
        "feature_code": code_digest(),
        "symbols": (*market.specs, *market.context_specs),
        "data": DataRecord(
            source=market.source,
            simulated_seed=market.simulated_seed,
            generator=market.generator,
            fingerprints=market.fingerprints,
            other_fingerprints=market.other_fingerprints,
            splits=splits,
        ),
        "metrics": report_dict(report)["results"],
        "versions": {name: version(name) for name in LIBRARIES},
    }


def _run_facts(started: datetime, finished: datetime) -> dict[str, Any]:
    """What may differ between two equal trainings."""
    return {
        "started": started.isoformat(),
        "finished": finished.isoformat(),
        "seconds": (finished - started).total_seconds(),
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
    }
