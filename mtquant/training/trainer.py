"""run_training: data -> features -> lanes -> learning -> selection -> test report -> bundle.

The test split is looked at once, at the very end, by whatever validation has selected.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import configure

from mtquant.agents.bundle import CHECKPOINTS, Bundle, DataRecord, free_name, write_bundle
from mtquant.agents.policy import OnnxPolicy
from mtquant.backtest.report import Provenance, Report, report_dict, write_report
from mtquant.backtest.run import run_agent, run_baselines
from mtquant.config.data import DATA_DIR, MarketData, resolve_market
from mtquant.config.load import env_for_symbol, load_agent
from mtquant.config.schema import AgentConfig, EnvConfig, Name
from mtquant.envs.scenario import Scenario, resolve_env
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import BundleError, ConfigError, DataError
from mtquant.features.pipeline import code_digest
from mtquant.training.callbacks import ValidationCallback
from mtquant.training.export import flat_policy
from mtquant.training.learner import build_learner, learner_class
from mtquant.training.progress import Listener, Silent
from mtquant.training.selection import Selection
from mtquant.training.state import (
    Checkpoint,
    RunRecord,
    read_checkpoint,
    restore_model,
    save_checkpoint,
)

RUNS = Path("runs")
LIBRARIES = ("mtquant", "numpy", "torch", "stable-baselines3", "gymnasium", "onnx", "numba")


class Interrupted(Exception):
    """Training was stopped by the user; its state is saved under ``name``."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True)
class TrainingConfig:
    """One training.

    Attributes:
        symbol: Trade this symbol in the env that is made for it; or give ``env``.
        env: Name, YAML file or configuration of an env.
        agent: Name or YAML file of an agent, or its configuration.
        data: ``Bars``, ``Panel`` or list of ``Bars``; None takes the store, then the simulation.
        timesteps: Frames; None takes the agent's.
        seed: Of everything random in the training.
        name: Of the bundle; None makes one from env and agent.
        out: Folder of bundles.
        runs: Folder of TensorBoard files and resumable states.
        data_dir: Folder of the store.
        overrides: Keys of the env to change.
    """

    symbol: str | None = None
    env: str | EnvConfig | None = None
    agent: str | AgentConfig = "ppo"
    data: Any = None
    timesteps: int | None = None
    seed: int = 0
    name: str | None = None
    out: Path = CHECKPOINTS
    runs: Path = RUNS
    data_dir: Path = DATA_DIR
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Plan:
    """A training with everything resolved."""

    name: str
    env: EnvConfig
    agent: AgentConfig
    agent_name: str
    seed: int
    market: MarketData
    out: Path
    runs: Path
    data_dir: Path
    checkpoint: Checkpoint | None = None

    @property
    def folder(self) -> Path:
        return self.runs / self.name

    @property
    def record(self) -> RunRecord:
        return RunRecord(
            self.name,
            self.env.model_dump(mode="json"),
            self.agent.model_dump(mode="json"),
            self.agent_name,
            self.seed,
            str(self.data_dir),
            self.market.fingerprints,
        )


def run_training(
    config: TrainingConfig,
    *,
    listener: Listener | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Bundle:
    """Train, select, test and write a bundle.

    Args:
        config: What to train.
        listener: Receives the news.
        clock: For the bundle's ``created`` and its ``run.json`` only.

    Raises:
        ConfigError: An unknown name, key or value.
        DataError: Too few bars, or bars that contradict the env.
        BundleError: The name is taken.
        Interrupted: The user stopped it; its state is saved.
    """
    return _run(_resolve(config), listener or Silent(), clock)


def resume_training(
    name: str,
    *,
    out: Path = CHECKPOINTS,
    runs: Path = RUNS,
    listener: Listener | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Bundle:
    """Go on with a stopped training; raises as :func:`run_training`.

    Raises:
        DataError: The bars are no longer those it began with.
    """
    checkpoint = read_checkpoint(runs, name)
    record = checkpoint.record
    env, agent = EnvConfig.model_validate(record.env), AgentConfig.model_validate(record.agent)
    market = resolve_market(env, data_dir=Path(record.data_dir))
    if market.fingerprints != record.fingerprints:
        raise DataError(
            f"run '{name}' began with other bars than '{market.source}' holds now; restore them "
            "or start a new training"
        )
    plan = _Plan(
        name, env, agent, record.agent_name, record.seed, market, out, runs,
        Path(record.data_dir), checkpoint,
    )  # fmt: skip
    return _run(plan, listener or Silent(), clock)


def _resolve(config: TrainingConfig) -> _Plan:
    if config.env is None and config.symbol is None:
        raise ConfigError("say what to trade: a symbol, or an env")
    chosen = config.env or env_for_symbol(str(config.symbol))
    env = resolve_env(chosen, config.overrides)
    if config.symbol is not None and config.symbol not in env.symbols:
        raise ConfigError(
            f"env {env.name} trades {', '.join(env.symbols)}, not {config.symbol}; leave one out"
        )
    if isinstance(config.agent, AgentConfig):
        agent, agent_name = config.agent, config.agent.kind
    else:
        agent, found = load_agent(config.agent)
        agent_name = found.path.stem
    learner_class(agent.kind)
    if config.timesteps is not None:
        if config.timesteps < 1:
            raise ConfigError(f"timesteps = {config.timesteps}: train at least one frame")
        learning = agent.learning.model_copy(update={"timesteps": config.timesteps})
        agent = agent.model_copy(update={"learning": learning})
    if config.seed < 0:
        raise ConfigError(f"seed = {config.seed} must not be negative")
    name = config.name or free_name(config.out, f"{env.name}-{agent_name}")
    _check_name(name, config.out)
    market = resolve_market(env, config.data, config.data_dir)
    return _Plan(
        name, env, agent, agent_name, config.seed, market, config.out, config.runs, config.data_dir
    )


def _check_name(name: str, out: Path) -> None:
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise ConfigError(
            f"name '{name}' must be 1 to 64 letters, digits, '.', '_' or '-', and begin with a "
            "letter or digit"
        ) from None
    if (out / name).exists():
        raise BundleError(f"'{out / name}' exists already; choose another --name or remove it")


def _run(plan: _Plan, listener: Listener, clock: Callable[[], datetime]) -> Bundle:
    torch.set_num_threads(1)
    started = clock()
    listener.on_text(f"bars     {plan.market.description}")
    scenario = Scenario.fit(plan.env, plan.market)
    listener.on_text(f"features {len(scenario.inputs)} columns, warm-up {scenario.first_row} bars")
    model, watch = _learn(plan, scenario, listener)
    listener.on_text(watch.selection.sentence())
    width = int(model.observation_space.shape[0])  # type: ignore[index]
    policy = watch.policy or flat_policy(width, len(plan.env.symbols))
    report = _test_report(plan, scenario, policy, watch.selection)

    def write_files(folder: Path) -> None:
        (folder / "policy.onnx").write_bytes(policy)
        write_report(report, folder)

    created = clock()
    manifest = _manifest(plan, scenario, model.num_timesteps, watch.selection, report)
    manifest["created"] = created.isoformat(timespec="milliseconds")
    run = {
        "started": started.isoformat(),
        "finished": created.isoformat(),
        "seconds": (created - started).total_seconds(),
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
    }
    bundle = write_bundle(plan.out, manifest, write_files, run)
    listener.on_report(report)
    return bundle


def _learn(
    plan: _Plan, scenario: Scenario, listener: Listener
) -> tuple[BaseAlgorithm, ValidationCallback]:
    """Train to the end, or to the user's Ctrl-C."""
    learning, checkpoint = plan.agent.learning, plan.checkpoint
    env = SB3VecEnv(scenario, learning.n_envs)
    env.seed(plan.seed)
    model = build_learner(plan.agent, env, plan.seed)
    model.set_logger(configure(str(plan.folder), ["tensorboard"]))

    def save(watch: ValidationCallback) -> None:
        save_checkpoint(plan.folder / "trainer", plan.record, model, watch.selection, watch.policy)

    watch = ValidationCallback(
        scenario,
        every=learning.validate_every,
        total=learning.timesteps,
        name=plan.agent_name,
        listener=listener,
        on_checkpoint=save,
        selection=checkpoint.selection if checkpoint else None,
        policy=checkpoint.policy if checkpoint else None,
    )
    if checkpoint:
        restore_model(checkpoint, model)
        listener.on_text(f"resumed  at {checkpoint.frames:,} frames")
    remaining = learning.timesteps - model.num_timesteps
    try:
        if remaining > 0:
            model.learn(remaining, callback=watch, reset_num_timesteps=checkpoint is None)
            watch.validate()
    except KeyboardInterrupt:
        save(watch)
        raise Interrupted(plan.name) from None
    return model, watch


def _test_report(plan: _Plan, scenario: Scenario, policy: bytes, selection: Selection) -> Report:
    rows = scenario.rows("test")
    agent = OnnxPolicy(policy, name=plan.agent_name, inputs=scenario.inputs)
    flat, hold = run_baselines(scenario, rows)
    market = plan.market
    return Report(
        title=f"{', '.join(plan.env.symbols)} {plan.env.timeframe}: test split",
        bundle="",
        agent=plan.agent_name,
        env=plan.env.name,
        data=Provenance(market.source, " ".join(market.fingerprints), market.simulated_seed),
        ledger=run_agent(agent, scenario, rows).ledger,
        flat=flat,
        buy_and_hold=hold,
        currency=plan.env.account.currency,
        selection=selection.sentence(),
    )


def _manifest(
    plan: _Plan, scenario: Scenario, frames: int, selection: Selection, report: Report
) -> dict[str, Any]:
    time = plan.market.panel.time
    splits = {"history": (int(time[0]), int(time[-1]))}
    for split in ("train", "validation", "test"):
        first, last = scenario.rows(split)
        splits[split] = (int(time[first]), int(time[last]))
    return {
        "schema_version": 1,
        "name": plan.name,
        "env": plan.env,
        "agent_name": plan.agent_name,
        "agent": plan.agent,
        "config_id": f"{plan.env.config_id}-{plan.agent.config_id}",
        "seed": plan.seed,
        "timesteps": frames,
        "selection": selection.sentence(),
        "learned": selection.learned,
        "reward_scale": scenario.reward_scale,
        "inputs": scenario.inputs,
        "pipeline": scenario.pipeline.to_dict(),
        "feature_code": code_digest(),
        "symbols": plan.market.specs,
        "data": DataRecord(
            source=plan.market.source,
            simulated_seed=plan.market.simulated_seed,
            generator=plan.market.generator,
            fingerprints=plan.market.fingerprints,
            splits=splits,
        ),
        "metrics": report_dict(report)["results"],
        "versions": {name: version(name) for name in LIBRARIES if name != "mtquant"},
    }
