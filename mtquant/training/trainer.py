"""run_training: data -> features -> lanes -> learning -> selection -> test report -> bundle.

The test split is looked at once, at the very end, by whatever validation has selected.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import configure

from mtquant.agents.bundle import Bundle, DataRecord, write_bundle
from mtquant.agents.catalogue import CHECKPOINTS
from mtquant.agents.policy import OnnxPolicy
from mtquant.backtest.compare import compare
from mtquant.backtest.report import Report, report_dict, write_report
from mtquant.backtest.run import run_agent
from mtquant.envs.scenario import Scenario
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import ConfigError
from mtquant.features.pipeline import code_digest
from mtquant.training.callbacks import ValidationCallback
from mtquant.training.export import flat_policy
from mtquant.training.learner import build_learner
from mtquant.training.plan import RUNS, Plan, TrainingConfig, plan_resuming, plan_training
from mtquant.training.progress import Listener, Silent
from mtquant.training.selection import Selection
from mtquant.training.state import Checkpoint

LIBRARIES = ("numpy", "torch", "stable-baselines3", "gymnasium", "onnx", "onnxruntime", "numba")
Now = Callable[[], datetime]


LARGEST_WEIGHT = 1e6


class Interrupted(Exception):
    """Training was stopped by the user; its state is saved under ``name``."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


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
    return _run(plan_training(config), listener or Silent(), clock)


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


def _run(plan: Plan, listener: Listener, clock: Now) -> Bundle:
    torch.set_num_threads(1)
    started = clock()
    listener.on_text(f"bars     {plan.market.description}")
    scenario = Scenario.fit(plan.record.env, plan.market)
    listener.on_text(f"features {len(scenario.inputs)} columns, warm-up {scenario.first_row} bars")
    model, watch = _learn(plan, scenario, listener)
    selection = watch.selection
    listener.on_text(selection.sentence())
    policy = watch.policy if selection.learned else None
    if policy is None:
        assert model.observation_space.shape is not None
        policy = flat_policy(model.observation_space.shape[0], len(plan.record.env.symbols))
    report = _test_report(plan, scenario, policy, selection)

    def write_files(folder: Path) -> None:
        (folder / "policy.onnx").write_bytes(policy)
        write_report(report, folder)

    created = clock()
    manifest = _manifest(plan, scenario, model.num_timesteps, selection, report)
    manifest["created"] = created.isoformat(timespec="milliseconds")
    bundle = write_bundle(plan.out, manifest, write_files, _run_facts(started, created))
    listener.on_report(report)
    return bundle


def _learn(
    plan: Plan, scenario: Scenario, listener: Listener
) -> tuple[BaseAlgorithm, ValidationCallback]:
    """Train to the end, or to the user's Ctrl-C."""
    record, checkpoint = plan.record, plan.checkpoint
    learning = record.agent.learning
    env = SB3VecEnv(scenario, learning.n_envs)
    model = build_learner(record.agent, env, record.seed)
    model.set_logger(configure(str(plan.folder), ["tensorboard"]))

    def save(watch: ValidationCallback) -> None:
        Checkpoint(record, watch.selection, watch.validated, watch.policy, watch.snapshot).save(
            plan.state
        )

    watch = ValidationCallback(
        scenario,
        every=learning.validate_every,
        total=learning.timesteps,
        name=record.agent_name,
        listener=listener,
        on_checkpoint=save,
    )
    if checkpoint is not None:
        watch.resume(checkpoint)
        if checkpoint.snapshot is not None:
            checkpoint.snapshot.restore(model)
        listener.on_text(f"resumed  at {model.num_timesteps:,} frames")
    try:
        remaining = learning.timesteps - model.num_timesteps
        if remaining > 0:
            model.learn(remaining, callback=watch, reset_num_timesteps=model.num_timesteps == 0)
        watch.finish(model)
    except KeyboardInterrupt:
        save(watch)
        raise Interrupted(record.name) from None
    except ValueError:
        # Not finite, or so large that a deviation of exp(weight) is 0 or infinite.
        if all((weight.abs() < LARGEST_WEIGHT).all() for weight in model.policy.parameters()):
            raise
        raise ConfigError(
            f"agent {record.agent_name}: the network diverged after {model.num_timesteps:,} "
            "frames; lower learning_rate"
        ) from None
    return model, watch


def _test_report(plan: Plan, scenario: Scenario, policy: bytes, selection: Selection) -> Report:
    rows, name = scenario.rows("test"), plan.record.agent_name
    agent = OnnxPolicy(policy, name=name, inputs=scenario.inputs)
    ledger = run_agent(agent, scenario, rows).ledger
    # Without the bundle's name: equal trainings give equal reports, whatever they are called.
    sentence = selection.sentence()
    return compare(ledger, scenario, rows, what="test split", agent=name, selection=sentence)


def _manifest(
    plan: Plan, scenario: Scenario, frames: int, selection: Selection, report: Report
) -> dict[str, Any]:
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
        "seed": record.seed,
        "timesteps": frames,
        "selection": selection.sentence(),
        "learned": selection.learned,
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
