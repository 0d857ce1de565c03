"""What a training is asked to do, resolved and checked before anything is learned or written."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mtquant.agents.catalogue import CHECKPOINTS, free_name
from mtquant.config.data import DATA_DIR, MarketData, resolve_market
from mtquant.config.load import env_of_symbol, load_agent, load_symbols
from mtquant.config.schema import AgentConfig, EnvConfig, folder_name
from mtquant.envs.scenario import resolve_env
from mtquant.errors import BundleError, ConfigError, DataError
from mtquant.training.learner import learner_class
from mtquant.training.state import Checkpoint, RunRecord, read_checkpoint

RUNS = Path("runs")


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
class Plan:
    """A training with everything resolved.

    Attributes:
        record: Names, configurations, seed and the bars' fingerprints.
        market: The bars.
        out: Folder of bundles.
        runs: Folder of TensorBoard files and resumable states.
        checkpoint: Where to go on from; None begins.
    """

    record: RunRecord
    market: MarketData
    out: Path
    runs: Path
    checkpoint: Checkpoint | None = None

    @property
    def folder(self) -> Path:
        """Of this run's TensorBoard files."""
        return self.runs / self.record.name

    @property
    def state(self) -> Path:
        """Where this run's resumable state lies."""
        return self.folder / "trainer"


def plan_training(config: TrainingConfig) -> Plan:
    """Resolve a training.

    Raises:
        ConfigError: Unknown name, key or value.
        DataError: The bars contradict the env.
        BundleError: The name is taken.
    """
    record = check_training(config)
    market = resolve_market(record.env, config.data, config.data_dir)
    time = market.panel.time
    known = replace(record, fingerprints=market.fingerprints, history=(int(time[0]), int(time[-1])))
    return Plan(known, market, config.out, config.runs)


def check_training(config: TrainingConfig) -> RunRecord:
    """Everything that can be refused without looking at bars; raises as :func:`plan_training`."""
    if config.env is None and config.symbol is None:
        raise ConfigError("say what to trade: a symbol, or an env")
    env = resolve_env(config.env or env_of_symbol(_known(config))[0], config.overrides)
    if config.symbol is not None and config.symbol not in env.symbols:
        raise ConfigError(
            f"env {env.name} trades {', '.join(env.symbols)}, not {config.symbol}; leave one out"
        )
    agent, agent_name = _agent(config)
    if config.seed < 0:
        raise ConfigError(f"seed = {config.seed} must not be negative")
    name = config.name
    if name is None:
        name = free_name(config.out, f"{env.name}-{agent_name}")
    check_places(name, config.out, config.runs)
    return RunRecord(name, env, agent, agent_name, config.seed, str(config.data_dir))


def plan_resuming(name: str, out: Path, runs: Path) -> Plan:
    """Resolve a stopped training.

    Raises:
        ConfigError: There is none of that name.
        DataError: Its state cannot be read, or the bars are no longer those it began with.
        BundleError: The name is taken.
    """
    checkpoint = read_checkpoint(runs, name)
    record = checkpoint.record
    check_places(name, out, runs)
    market = resolve_market(record.env, data_dir=Path(record.data_dir)).between(*record.history)
    if market.fingerprints != record.fingerprints:
        raise DataError(
            f"run '{name}' began with other bars than '{market.source}' holds now; restore them "
            "or start a new training"
        )
    return Plan(record, market, out, runs, checkpoint)


def _known(config: TrainingConfig) -> str:
    return load_symbols()[str(config.symbol)].name


def _agent(config: TrainingConfig) -> tuple[AgentConfig, str]:
    if isinstance(config.agent, AgentConfig):
        agent, name = config.agent, config.agent.kind
    else:
        agent, found = load_agent(config.agent)
        name = found.path.stem
    learner_class(agent.kind)
    if config.timesteps is None:
        return agent, name
    if config.timesteps < 1:
        raise ConfigError(f"timesteps = {config.timesteps}: train at least one frame")
    learning = agent.learning.model_copy(update={"timesteps": config.timesteps})
    return agent.model_copy(update={"learning": learning}), name


def check_places(name: str, out: Path, runs: Path) -> None:
    """Refuse a name or a folder that could not be written to at the end of a long training.

    Raises:
        ConfigError: The name is none for a folder, or a file stands where a folder must go.
        BundleError: The name is taken.
    """
    try:
        folder_name(name)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    for folder in (out, runs):
        for place in (folder, *folder.parents):
            if place.exists() and not place.is_dir():
                raise ConfigError(f"'{place}' is a file where a folder must go; choose another")
    if (out / name).exists():
        raise BundleError(f"'{out / name}' exists already; choose another --name or remove it")
