"""What a training is asked to do, resolved and checked before anything is learned or written."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mtquant.agents.catalogue import CHECKPOINTS, free_name
from mtquant.backtest.report import write_whole
from mtquant.config.data import DATA_DIR, MarketData, training_market
from mtquant.config.load import env_of_symbol, load_agent, load_symbols
from mtquant.config.schema import AgentConfig, EnvConfig
from mtquant.envs.scenario import resolve_env
from mtquant.errors import BundleError, ConfigError, DataError, unknown
from mtquant.market.model import folder_name
from mtquant.training.learner import learner_class
from mtquant.training.state import Checkpoint, RunRecord, read_checkpoint

RUNS = Path("runs")
SEEDS = "seeds.json"
ENSEMBLES = ("mean",)


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
        seeds: How many seeds to train, from ``seed`` on.
        ensemble: ``mean`` deploys the mean of the seeds' actions; None takes the agent's.
        name: Of the bundle; None makes one from env and agent.
        out: Folder of bundles.
        runs: Folder of TensorBoard files and resumable states.
        data_dir: Folder of the store.
        overrides: Keys of the env to change.
        profile: Tell the listener at the end where the time of a single training went.
    """

    symbol: str | None = None
    env: str | EnvConfig | None = None
    agent: str | AgentConfig = "ppo"
    data: Any = None
    timesteps: int | None = None
    seed: int = 0
    seeds: int = 1
    ensemble: str | None = None
    name: str | None = None
    out: Path = CHECKPOINTS
    runs: Path = RUNS
    data_dir: Path = DATA_DIR
    overrides: dict[str, Any] = field(default_factory=dict)
    profile: bool = False


@dataclass(frozen=True)
class Plan:
    """A training with everything resolved.

    Attributes:
        record: Names, configurations, seed and the bars' fingerprints.
        market: The bars.
        out: Folder of bundles.
        runs: Folder of TensorBoard files and resumable states.
        checkpoint: Where to go on from; None begins.
        seeds: How many are trained, from the record's on.
        resumed: Whether the seeds go on from their states.
    """

    record: RunRecord
    market: MarketData
    out: Path
    runs: Path
    checkpoint: Checkpoint | None = None
    seeds: int = 1
    resumed: bool = False

    @property
    def folder(self) -> Path:
        """Of this run's TensorBoard files."""
        return self.runs / self.record.name

    @property
    def state(self) -> Path:
        """Where this run's resumable state lies."""
        return self.folder / "trainer"

    @property
    def all_seeds(self) -> range:
        """Every seed that is trained."""
        return range(self.record.seed, self.record.seed + self.seeds)

    def of_seed(self, seed: int) -> Plan:
        """The training of one of several seeds, in a folder of its own."""
        record = replace(self.record, name=f"seed-{seed}", seed=seed)
        return replace(self, record=record, runs=self.folder, seeds=1)


def plan_training(config: TrainingConfig) -> Plan:
    """Resolve a training.

    Raises:
        ConfigError: Unknown name, key or value.
        DataError: The bars contradict the env.
        BundleError: The name is taken.
    """
    record = check_training(config)
    market = training_market(record.env, config.data, config.data_dir)
    time, fingerprints = market.panel.time, (*market.fingerprints, *market.other_fingerprints)
    known = replace(record, fingerprints=fingerprints, history=(int(time[0]), int(time[-1])))
    return Plan(known, market, config.out, config.runs, seeds=config.seeds)


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
    _check_seeds(config, agent)
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
    checkpoint, asked = None, _read_seeds(runs, name)
    if asked is None:
        checkpoint = read_checkpoint(runs, name)
        asked = checkpoint.record, 1
    record, seeds = asked
    check_places(name, out, runs)
    market = training_market(record.env, data_dir=Path(record.data_dir)).between(*record.history)
    if (*market.fingerprints, *market.other_fingerprints) != record.fingerprints:
        raise DataError(
            f"run '{name}' began with other bars than '{market.source}' holds now; restore them "
            "or start a new training"
        )
    return Plan(record, market, out, runs, checkpoint, seeds, resumed=True)


def write_seeds(plan: Plan) -> None:
    """Note how many seeds a run trains, so that ``--resume NAME`` finds them."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    asked = {"schema_version": 1, "seeds": plan.seeds, "record": plan.record.to_dict()}
    write_whole(plan.folder / SEEDS, json.dumps(asked, indent=2) + "\n")


def _read_seeds(runs: Path, name: str) -> tuple[RunRecord, int] | None:
    """What a run of several seeds was asked for; None where ``name`` is none."""
    place = runs / name / SEEDS
    if place not in runs.glob(f"*/{SEEDS}"):
        return None
    try:
        asked = json.loads(place.read_text(encoding="utf-8"))
        if asked["schema_version"] != 1:
            raise ValueError(f"schema {asked['schema_version']}, this mtquant reads 1")
        return RunRecord.from_dict(asked["record"]), int(asked["seeds"])
    except (ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"'{place}' cannot be read ({type(error).__name__}: {reason}); train again"
        ) from None


def _known(config: TrainingConfig) -> str:
    return load_symbols()[str(config.symbol)].name


def _agent(config: TrainingConfig) -> tuple[AgentConfig, str]:
    if isinstance(config.agent, AgentConfig):
        agent, name = config.agent, config.agent.kind
    else:
        agent, found = load_agent(config.agent)
        name = found.path.stem
    learner_class(agent.kind)
    changes: dict[str, Any] = {}
    if config.timesteps is not None:
        if config.timesteps < 1:
            raise ConfigError(f"timesteps = {config.timesteps}: train at least one frame")
        changes["timesteps"] = config.timesteps
    if config.ensemble is not None:
        changes["ensemble"] = config.ensemble
    learning = agent.learning.model_copy(update=changes)
    return agent.model_copy(update={"learning": learning}), name


def _check_seeds(config: TrainingConfig, agent: AgentConfig) -> None:
    if config.seed < 0:
        raise ConfigError(f"seed = {config.seed} must not be negative")
    if config.seeds < 1:
        raise ConfigError(f"seeds = {config.seeds}: train at least one seed")
    if config.ensemble is not None and config.ensemble not in ENSEMBLES:
        raise ConfigError(unknown("ensemble", config.ensemble, ENSEMBLES))
    if config.ensemble is not None and config.seeds == 1:
        raise ConfigError(f"ensemble {config.ensemble} has nothing to merge; give seeds above 1")
    if config.profile and config.seeds > 1:
        raise ConfigError(f"a profile is of one training, not of {config.seeds}; leave seeds out")
    ensemble = agent.learning.ensemble
    if ensemble and config.seeds > 1 and agent.kind == "ppo_recurrent":
        raise ConfigError(
            f"ensemble {ensemble}: {agent.kind} has a memory, and such policies cannot be merged; "
            "leave it out, and the median seed is deployed"
        )


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
